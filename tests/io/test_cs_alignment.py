"""Poses of a cryoSPARC table: of all particles, or of each class, of which the most probable one counts."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles, write_particles
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs

ANGLES = (0.1, 0.5, 1.2)
POSTERIOR = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0, 0, 1], [0.4, np.nan, 0.6]], "<f4")
BEST = [0, 1, 2, 2]


def turned(angles):
    """R of turns of the image's axes about z."""
    return np.array([[[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angles])


def of_slots(start):
    """Three classes in slots of their own, each at a pixel size and with half-sets of its own."""
    columns = cs_columns()
    for k, angle in enumerate(ANGLES):
        columns |= alignment_columns(f"{start}_{k}", angle=angle, pixel_size=1.0 + k)
        columns |= {f"{start}_{k}/class_posterior": POSTERIOR[:, k], f"{start}_{k}/split": np.full(4, k % 2, "u4")}
    return columns


def in_one(size=(1.0, 2.0, 3.0)):
    """The same in one slot with a row for each class."""
    slots = [alignment_columns("a", angle=angle) for angle in ANGLES]
    return cs_columns() | {
        "alignments3D_multi/pose": np.stack([slot["a/pose"] for slot in slots], axis=1),
        "alignments3D_multi/shift": np.stack([slot["a/shift"] for slot in slots], axis=1),
        "alignments3D_multi/psize_A": np.tile(np.array(size, "<f4"), (4, 1)),
        "alignments3D_multi/split": np.tile(np.array([0, 1, 0], "u4"), (4, 1)),
        "alignments3D_multi/class_posterior": POSTERIOR,
    }


@pytest.mark.parametrize("columns", [of_slots("alignments_class"), of_slots("alignments_class3D"), in_one()])
def test_the_most_probable_class_counts(tmp_path, caplog, columns):
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.rotation, turned(np.array(ANGLES)[BEST]), atol=1e-6)
    np.testing.assert_allclose(particles.pose.shift, np.outer(1.0 + np.array(BEST), [-2, 1]), atol=1e-6)
    np.testing.assert_array_equal(particles.half_set, np.array(BEST) % 2)
    assert "poses are per class (alignments" in caplog.text and "most probable class" in caplog.text


def test_one_pixel_size_and_split_for_all_classes(tmp_path):
    columns = in_one() | {
        "alignments3D_multi/psize_A": np.full(4, 2, "f4"),
        "alignments3D_multi/split": np.ones(4, "u4"),
    }
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.shift, np.tile([-4, 2], (4, 1)))
    np.testing.assert_array_equal(particles.half_set, np.ones(4))


def test_a_consensus_goes_before_classes(tmp_path, caplog):
    columns = of_slots("alignments_class") | alignment_columns("alignments3D", angle=0.3)
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.rotation, turned([0.3] * 4), atol=1e-6)
    assert not caplog.text


def test_a_single_class_needs_no_posterior(tmp_path):
    columns = cs_columns() | alignment_columns("alignments_class_3", angle=0.3)
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.rotation, turned([0.3] * 4), atol=1e-6)


@pytest.mark.parametrize("columns", [of_slots("alignments_class"), in_one()])
def test_classes_without_posterior_are_refused(tmp_path, columns):
    left = {name: values for name, values in columns.items() if not name.endswith("class_posterior")}
    with pytest.raises(DataError, match="3 classes have poses .*no class_posterior"):
        read_particles(save_cs(tmp_path / "a.cs", left), need_images=False)


def test_the_tenth_class_comes_after_the_ninth(tmp_path):
    columns = cs_columns()
    for k in range(11):
        columns |= alignment_columns(f"alignments_class_{k}", angle=k / 10)
        columns[f"alignments_class_{k}/class_posterior"] = np.full(4, float(k == 10), "<f4")
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.rotation, turned([1.0] * 4), atol=1e-6)


@pytest.mark.parametrize("size", [0, -1, np.nan])
def test_shifts_in_pixels_of_no_size_are_refused(tmp_path, size):
    """They would all become 0."""
    columns = cs_columns() | alignment_columns("alignments3D")
    columns["alignments3D/psize_A"] = np.array([3, 3, size, 3], "<f4")
    with pytest.raises(DataError, match=r"psize_A \(in whose pixels shifts are\) above 0"):
        read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)


def test_a_size_that_scales_nothing_may_be_absent(tmp_path):
    """Alignments that no job has filled yet are all 0."""
    columns = cs_columns() | alignment_columns("alignments3D", pixel_size=0)
    columns["alignments3D/shift"] = np.zeros((4, 2), "<f4")
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_array_equal(particles.pose.shift, np.zeros((4, 2)))


def test_the_images_pixel_size_stands_in(tmp_path):
    columns = cs_columns() | alignment_columns("alignments3D")
    del columns["alignments3D/psize_A"]
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_allclose(particles.pose.shift, np.tile([-3, 1.5], (4, 1)))


def test_poses_per_class_are_written_as_one(tmp_path, monkeypatch):
    """So that programs that know alignments3D alone read the poses that were used."""
    monkeypatch.chdir(tmp_path)
    particles = read_particles(save_cs(tmp_path / "a.cs", of_slots("alignments_class")), need_images=False)
    write_particles("again.cs", particles)
    rows = np.load("again.cs")
    np.testing.assert_allclose(rows["alignments3D/pose"][:, 2], np.array(ANGLES)[BEST], atol=1e-6)
    np.testing.assert_array_equal(rows["alignments3D/split"], np.array(BEST) % 2)
    again = read_particles("again.cs", need_images=False)
    np.testing.assert_allclose(again.pose.shift, particles.pose.shift, atol=1e-5)
    np.testing.assert_array_equal(
        rows["alignments_class_1/pose"], particles.source.data.particles["alignments_class_1/pose"]
    )
