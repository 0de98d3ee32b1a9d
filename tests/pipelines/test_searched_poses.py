"""Classifications that search for poses: of lists without any, about the list's, and from a map; what is refused."""

import contextlib
import dataclasses
import io
import shutil

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.errors import DataError
from libhetero.io import read_particles, read_volume, write_particles, write_volume
from libhetero.io.pose_changes import read_pose_changes
from libhetero.pipelines.classifying.record import open_classification
from libhetero.pipelines.classifying.so_far import SO_FAR
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.run.starting_classes import starting_classes
from libhetero.records import PoseChange

COUNT = 160
QUIET = "--nomaps --seed 1"


@pytest.fixture(scope="module")
def folder(load_program, tmp_path_factory):
    """One molecule, at poses that are off by about 14 degrees and a pixel, and the list without poses."""
    folder = tmp_path_factory.mktemp("searched")
    options = f"--structures 1 --n {COUNT} --box 20 --apix 8 --snr 4 --pose_error 14 --shift_error 6 --seed 3"
    assert load_program("e2hype_simulate.py").main(["mixture", str(folder / "set"), *options.split()]) == 0
    listed = read_particles(folder / "set/particles.star")
    write_particles(folder / "set/bare.star", dataclasses.replace(listed, pose=None, source=None))
    return folder


@pytest.fixture
def program(load_program, folder, monkeypatch, capsys):
    """Run a program beside the set; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def run(name, words):
        code = load_program(f"e2hype_{name}.py").main(words.split())
        return code, *capsys.readouterr()

    return run


def off(folder, rotation):
    """Return by how much rotations are off, degrees."""
    truth = np.load(folder / "set/truth/rotation.npy")
    return np.degrees(Rotation.from_matrix(np.asarray(rotation) @ np.swapaxes(truth, 1, 2)).magnitude())


@pytest.fixture(scope="module")
def kept(load_program, folder):
    """A call that fails after its search for poses, which is known here: the poses and what it wrote and said."""
    random = np.random.default_rng(0)
    turn, shift = random.normal(0, 0.1, (COUNT, 3)), random.normal(0, 5, (COUNT, 2))
    change = PoseChange(turn=turn, shift=shift, turn_deviation=0 * turn, shift_deviation=0 * shift)

    def nothing(*_, **__):
        raise DataError("the images show nothing.")

    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.chdir(folder)
        patch.setattr("libhetero.pipelines.classifying.steps.searched_poses", lambda *_, **__: change)
        patch.setattr("libhetero.pipelines.classifying.steps.classify_particles", nothing)
        words = f"set/particles.star near --search_poses 35 {QUIET}"
        assert load_program("e2hype_classify.py").main(words.split()) == 1
    shutil.copytree(folder / "near", folder / "failed")
    return change, said.getvalue()


def test_poses_are_kept_where_what_follows_them_fails(program, folder, kept):
    """The next call in the folder is no other's."""
    change, err = kept
    told = "The poses found before are kept: near/ptcls_so_far.lst lists all particles at them, to go on from"
    assert f"the images show nothing. {told} with --refine_poses and another output." in err
    code, _, err = program("classify", f"failed/ptcls_so_far.lst failed --refine_poses {QUIET}")
    assert code == 1 and "failed: holds failed/ptcls_so_far.lst, which is replaced there" in err
    names = {path.name for path in (folder / "failed").iterdir()}
    assert names == {"poses_so_far.txt", "ptcls_so_far.lst", "ptcls_so_far.star"} <= set(SO_FAR)
    given, listed = (read_particles(folder / name) for name in ("set/particles.star", "failed/ptcls_so_far.star"))
    expected = Rotation.from_rotvec(change.turn).as_matrix() @ given.pose.rotation
    np.testing.assert_allclose(listed.pose.rotation, expected, atol=1e-4)
    np.testing.assert_allclose(listed.pose.shift, given.pose.shift + change.shift, atol=1e-3)
    np.testing.assert_allclose(
        read_pose_changes(folder / "failed/poses_so_far.txt", COUNT).turn, change.turn, atol=1e-6
    )


def test_poses_far_off_are_searched_about_the_lists_and_refined(program, folder, kept, caplog):
    """In the folder of a call that failed, of which nothing is left."""
    code, out, err = program("classify", f"set/particles.star near --search_poses 35 {QUIET}")
    assert code == 0, err
    assert out.rstrip().endswith("e2hype_refine.py near/ptcls_refined.lst --classes near")
    given, found = (read_particles(folder / name) for name in ("set/particles.star", "near/ptcls_refined.star"))
    assert np.median(off(folder, given.pose.rotation)) > 11
    assert np.median(off(folder, found.pose.rotation)) < 8
    change = read_pose_changes(folder / "near/poses.txt", COUNT)
    expected = Rotation.from_rotvec(change.turn).as_matrix() @ given.pose.rotation
    np.testing.assert_allclose(found.pose.rotation, expected, atol=1e-4)
    np.testing.assert_allclose(found.pose.shift, given.pose.shift + change.shift, atol=1e-3)
    assert (change.turn_deviation > 0).all()
    opened = open_classification(folder / "near").feed.particles
    np.testing.assert_allclose(opened.pose.rotation, found.pose.rotation, atol=1e-4)
    assert "searched" in (folder / "near/index.html").read_text()
    assert not list((folder / "near").glob("*so_far*"))
    for name, of_before in (("set/particles.star", True), ("near/ptcls_refined.star", False)):
        data = DataConfig(particles=name, classes="near")
        caplog.clear()
        known = starting_classes(data, load_particles(data))
        assert len(known) == COUNT and (known.label >= 0).any()
        assert ("give near/ptcls_refined.lst in place of that list" in caplog.text) == of_before


def test_a_list_without_poses_has_them_from_a_map_of_any_grid_and_scale(program, folder):
    volume, pixel = read_volume(folder / "set/truth/map_000.mrc")
    write_volume(folder / "start.mrc", 1e-3 * volume[1:, :, 2:], pixel)
    words = f"set/bare.star mapped --search_poses 180 --reference start.mrc {QUIET}"
    code, _, err = program("classify", words)
    assert code == 0, err
    found = read_particles(folder / "mapped/ptcls_refined.star")
    assert np.median(off(folder, found.pose.rotation)) < 8
    opened = open_classification(folder / "mapped").feed.particles
    np.testing.assert_allclose(opened.pose.shift, found.pose.shift, atol=1e-3)
    text = (folder / "mapped/ptcls_refined.star").read_text()
    assert "Given" not in text and not (folder / "mapped/poses.png").exists(), "there were no poses before"
    code, _, err = program("make3d", "mapped/ptcls_refined.lst again.mrc")
    assert code == 0 and (folder / "again.mrc").exists(), err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("set/bare.star no --nomaps", ["bare.star: the particles have no poses", "--search_poses 180"]),
        ("set/bare.star no --search_poses 20", ["bare.star: the particles have no poses", "--search_poses 180"]),
        ("set/particles.star no --search_poses 20 --reference flat.mrc", ["flat.mrc: shows nothing within"]),
        (
            "set/particles.star no --search_poses 20 --reference bare.mrc",
            ["bare.mrc: the header holds no pixel size; w"],
        ),
        ("set/particles.star no --reference start.mrc", ["--reference", "--search_poses"]),
        ("set/particles.star no --search_poses 20 --reference none.mrc", ["none.mrc"]),
        ("set/particles.star no --search_poses 200", ["--search_poses", "180"]),
        ("set/particles.star no --search_poses 0", ["--search_poses"]),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(program, folder, words, told):
    write_volume("flat.mrc", np.full((20, 20, 20), 3.0), 8.0)
    write_volume("bare.mrc", np.ones((20, 20, 20)), 8.0)
    with mrcfile.open("bare.mrc", "r+") as file:
        file.voxel_size = 0
    code, _, err = program("classify", words)
    assert code in (1, 2) and all(part in err for part in told) and "Traceback" not in err
    assert not (folder / "no").exists()
