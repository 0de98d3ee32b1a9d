"""What poses are off by: the text file, and the lists that hold both poses."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.io import read_particles, write_particles
from libhetero.io.cs_table import read_table as read_cs_table
from libhetero.io.pose_changes import (
    at_given_poses,
    at_refined_poses,
    changed_pose,
    composed,
    pose_figures,
    read_pose_changes,
    write_pose_changes,
)
from libhetero.io.star import read_table as read_star_table
from libhetero.pipelines.listing.columns import list_column
from libhetero.records import PoseChange
from tests.making.particles import sample_particles

COUNT = 11


@pytest.fixture(scope="module")
def change():
    random = np.random.default_rng(2)
    return PoseChange(
        turn=random.normal(0, 0.03, (COUNT, 3)),
        shift=random.normal(0, 2.0, (COUNT, 2)),
        turn_deviation=random.uniform(0.005, 0.02, (COUNT, 3)),
        shift_deviation=random.uniform(0.3, 0.9, (COUNT, 2)),
    )


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    made, _ = sample_particles(tmp_path_factory.mktemp("stacks"), COUNT)
    return dataclasses.replace(made, group=None)


def test_a_table_comes_back(tmp_path, change):
    write_pose_changes(tmp_path / "poses.txt", change)
    found = read_pose_changes(tmp_path / "poses.txt", COUNT)
    for name, values in vars(change).items():
        np.testing.assert_allclose(getattr(found, name), values, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (1, "0 1 2 3", "numbers after lines|columns"),
        (1, "4 0 0 0 0 0 1 1 1 1 1", "expected 11 from 0"),
        (1, "0 200 0 0 0 0 1 1 1 1 1", "a turn above 180 degrees"),
        (1, "0 0 0 0 0 0 1 1 1 1 -1", "standard deviation below 0"),
        (1, "0 nan 0 0 0 0 1 1 1 1 1", "not finite"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, change, line, text, said):
    path = tmp_path / "poses.txt"
    write_pose_changes(path, change)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:line], text, *lines[line + 1 :]]))
    with pytest.raises(DataError, match=said):
        read_pose_changes(path, COUNT)
    with pytest.raises(DataError, match=r"more than|from 0 to"):
        write_pose_changes(path, change)
        read_pose_changes(path, COUNT - 1)


def test_refined_poses_are_turned_in_the_frame_of_the_image(particles, change):
    refined = at_refined_poses(particles, change)
    expected = Rotation.from_rotvec(change.turn).as_matrix() @ particles.pose.rotation
    np.testing.assert_allclose(refined.pose.rotation, expected, atol=1e-6)
    np.testing.assert_allclose(refined.pose.shift, particles.pose.shift + change.shift, atol=1e-5)
    assert refined.given.pose is particles.pose
    some = refined.take(np.array([3, 1]))
    np.testing.assert_array_equal(some.given.change.turn, change.turn[[3, 1]])
    np.testing.assert_array_equal(at_given_poses(some).pose.rotation, particles.pose.rotation[[3, 1]])
    assert at_given_poses(particles) is particles
    with pytest.raises(DataError, match="no pose"):
        at_refined_poses(dataclasses.replace(particles, pose=None), change)


@pytest.mark.parametrize("ending", ["star", "cs", "lst"])
@pytest.mark.parametrize("source", [None, "star", "cs", "lst"])
def test_lists_are_at_the_refined_poses_and_keep_the_given_ones(tmp_path, particles, change, ending, source):
    if source is not None:
        write_particles(tmp_path / f"source.{source}", particles)
        particles = read_particles(tmp_path / f"source.{source}")
    refined = at_refined_poses(particles, change)
    path = tmp_path / f"refined.{ending}"
    write_particles(path, refined)
    found = read_particles(path)
    np.testing.assert_allclose(found.pose.rotation, refined.pose.rotation, atol=1e-4)
    np.testing.assert_allclose(found.pose.shift, refined.pose.shift, atol=2e-3)
    figures = pose_figures(change)
    np.testing.assert_allclose(list_column(found, "pose_turn").astype(float), figures["PoseTurn"], atol=1e-3)
    np.testing.assert_allclose(list_column(found, "pose_shift").astype(float), figures["PoseShift"], atol=1e-3)
    given = given_of(path, ending)
    np.testing.assert_allclose(given, particles.pose.rotation, atol=1e-4)


def given_of(path, ending):
    """Return the rotations that a list says were given, as its users' programs would read them."""
    if ending == "star":
        table = read_star_table(path)
        names = [f"libheteroGivenAngle{name}" for name in ("Rot", "Tilt", "Psi")]
        rot, tilt, psi = (table.number(name, np.arange(COUNT)) for name in names)
        return Rotation.from_euler("ZYZ", np.stack([-psi, -tilt, -rot], axis=1), degrees=True).as_matrix()
    if ending == "cs":
        rows = read_cs_table(path).particles
        return Rotation.from_rotvec(rows["libhetero/given_pose"]).inv().as_matrix()
    values = [line.split("\t")[2] for line in path.read_text().splitlines() if not line.startswith("#")]

    texts = [json.loads(value)["hetero_given_projection"]["matrix"] for value in values]
    return np.array([json.loads(text) for text in texts]).reshape(COUNT, 3, 4)[:, :, :3]


def test_two_changes_after_each_other_are_one(particles, change):
    random = np.random.default_rng(4)
    far = dataclasses.replace(change, turn=Rotation.random(COUNT, random_state=3).as_rotvec(), shift=9 * change.shift)
    then = dataclasses.replace(change, turn_deviation=random.uniform(0.1, 0.2, (COUNT, 3)))
    both = composed(far, then)
    expected = changed_pose(changed_pose(particles.pose, far), then)
    found = changed_pose(particles.pose, both)
    np.testing.assert_allclose(found.rotation, expected.rotation, atol=1e-5)
    np.testing.assert_allclose(found.shift, expected.shift, atol=1e-4)
    np.testing.assert_array_equal(both.turn_deviation, then.turn_deviation)
    assert np.linalg.norm(both.turn, axis=1).max() <= np.pi + 1e-9
