"""Runs and classifications that refine poses: what they write, what they are trained with, and what is refused."""

import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.io import read_particles, write_particles
from libhetero.io.pose_changes import at_refined_poses, read_pose_changes
from libhetero.pipelines.run.folder import open_run
from tests.reference.eman2_files import check_folder, read_log

COUNT, BOX, PIXEL = 128, 16, 8.0
SIZES = "--preset small --niter 1 --batchsz 32 --seed 1 --refine_poses --path"
TINY = {
    "hype": "--set inr_width=16 --set dim=16 --set coordinates=40",
    "gmm": "--model gmm.txt --decoder mlp --set mlp_width=16",
}


@pytest.fixture(scope="module")
def folder(load_program, tmp_path_factory):
    """A set of two molecules whose poses are off by about 8 degrees and a pixel."""
    folder = tmp_path_factory.mktemp("posed")
    options = f"--structures 2 --n {COUNT} --box {BOX} --apix {PIXEL:g} --snr 4 --pose_error 8 --shift_error 6 --seed 3"
    simulate = load_program("e2hype_simulate.py")
    assert simulate.main(["mixture", str(folder / "set"), *options.split()]) == 0
    (folder / "gmm.txt").write_text("0.1 0.05 0 3 4\n-0.1 0 0.1 3 4\n0 -0.1 -0.05 3 4\n0.05 0.1 -0.1 3 4\n")
    return folder


@pytest.fixture
def program(load_program, folder, monkeypatch, capsys):
    """Run a program beside the set; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def run(name, words):
        code = load_program(f"e2hype_{name}.py").main(words.split())
        return code, *capsys.readouterr()

    return run


def errors(folder, pose):
    """Return by how much poses are off, degrees and Å."""
    rotation, shift = (np.load(folder / f"set/truth/{name}.npy") for name in ("rotation", "shift"))
    turn = Rotation.from_matrix(np.asarray(pose.rotation) @ rotation.transpose(0, 2, 1)).magnitude()
    return np.degrees(turn), np.linalg.norm(pose.shift - shift, axis=1)


@pytest.fixture(scope="module")
def gaussians(load_program, folder):
    """A run of Gaussians on the set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = f"set/particles.star {SIZES} gmm {TINY['gmm']}"
        assert load_program("e2hype_refine.py").main(words.split()) == 0
    return folder / "gmm"


def test_classes_are_found_at_refined_poses_and_lists_hold_both(program, folder):
    code, _, err = program("classify", "set/particles.star found --refine_poses --nomaps --seed 1")
    assert code == 0, err
    change = read_pose_changes(folder / "found/poses.txt", COUNT)
    listed, given = read_particles(folder / "found/class_00.star"), read_particles(folder / "set/particles.star")
    rows = listed.image_index
    expected = Rotation.from_rotvec(change.turn[rows]).as_matrix() @ given.pose.rotation[rows]
    np.testing.assert_allclose(listed.pose.rotation, expected, atol=1e-4)
    np.testing.assert_allclose(listed.pose.shift, given.pose.shift[rows] + change.shift[rows], atol=1e-3)
    assert "libheteroGivenAngleRot" in (folder / "found/class_00.star").read_text()
    assert (folder / "found/poses.png").exists() and "poses.png" in (folder / "found/index.html").read_text()
    truth = [part[rows] for part in errors(folder, given.pose)]
    shifted = np.linalg.norm(listed.pose.shift - np.load(folder / "set/truth/shift.npy")[rows], axis=1)
    assert np.median(shifted) < 0.85 * np.median(truth[1])
    assert len(read_particles(folder / "found/ptcls_refined.star")) == COUNT
    assert check_folder("found") >= {"class_00.lst", "ptcls_refined.lst"} and check_folder("set") == {"particles.lst"}
    assert read_log(".eman2log.txt")[-1][0][4:5] == "/"  # the time of the end
    assert program("classify", "set/particles.star found --nomaps --seed 1")[0] == 0
    assert not (folder / "found/poses.txt").exists() and not (folder / "found/poses.png").exists()


def test_cryohype_is_trained_at_the_poses_that_it_has_refined(program, folder):
    run = folder / "hype"
    assert program("refine", f"set/particles.star {SIZES} hype {TINY['hype']}")[0] == 0
    opened = open_run(run)
    change = read_pose_changes(run / "poses.txt", COUNT)
    given = read_particles(folder / "set/particles.star")
    np.testing.assert_allclose(opened.particles.pose.shift, given.pose.shift + change.shift, atol=1e-3)
    before, after = errors(folder, given.pose), errors(folder, opened.particles.pose)
    assert np.median(after[1]) < 0.85 * np.median(before[1])
    listed = read_particles(run / "ptcls_00.lst")
    np.testing.assert_allclose(listed.pose.shift, opened.particles.pose.shift, atol=1e-3)
    assert "hetero_given_projection" in (run / "ptcls_00.lst").read_text() and (run / "poses.png").exists()
    code, _, err = program("refine", f"--resume {run} --niter 2")
    assert code == 0 and "changed since" not in err
    copy = folder / "hype_damaged"
    shutil.copytree(run, copy)
    (copy / "poses.txt").unlink()
    code, _, err = program("embed", f"{copy} --method pca")
    assert code == 1 and "poses.txt: no such file; expected the poses that the run was trained with" in err


def test_gaussians_write_the_poses_that_they_solve_for(program, folder, gaussians):
    run = gaussians
    change = read_pose_changes(run / "poses_00.txt", COUNT)
    given, listed = read_particles(folder / "set/particles.star"), read_particles(run / "ptcls_00.lst")
    np.testing.assert_allclose(listed.pose.shift, given.pose.shift + change.shift, atol=1e-3)
    assert change.shift.any() and (change.shift_deviation > 0).all() and (change.turn_deviation > 0).all()
    np.testing.assert_allclose(open_run(run).particles.pose.shift, given.pose.shift, atol=1e-6)  # solved for anew
    code, _, err = program("embed", f"{run} --classes 2 --method pca --lists")
    assert code == 0, err
    some = read_particles(run / "class_00.lst")
    np.testing.assert_allclose(some.pose.shift, listed.pose.shift[some.image_index], atol=1e-3)
    assert check_folder(run) >= {"ptcls_00.lst", "class_00.lst", "mid_00.txt", "mid_00_sd.txt", "model_00.txt"}


def test_a_latent_that_is_not_solved_for_has_no_poses(program):
    words = "set/particles.star --model gmm.txt --decoder mlp --encoder network --nmid 2 --refine_poses --path none"
    code, _, err = program("refine", words)
    assert code == 1 and "--refine_poses" in err and "--encoder posterior" in err


def test_changes_are_not_added_to_other_poses_than_they_were_found_for(program, folder, gaussians, tmp_path):
    """The list that a run was trained on is replaced by one at the refined poses: nothing is turned twice."""
    run = gaussians
    copy, kept = tmp_path / "gmm", (folder / "set/particles.star").read_text()
    shutil.copytree(run, copy)
    refined = at_refined_poses(
        read_particles(folder / "set/particles.star"), read_pose_changes(run / "poses_00.txt", COUNT)
    )
    try:
        write_particles(folder / "set/particles.star", refined)
        code, _, err = program("embed", f"{copy} --classes 2 --method pca --lists")
    finally:
        (folder / "set/particles.star").write_text(kept)
    assert code == 1 and "poses_00.txt: changes of other poses than" in err


@pytest.mark.parametrize("damage", ["", "0 1 2 3\n", "nan"])
def test_damaged_poses_of_a_run_are_told_in_one_line(program, gaussians, tmp_path, damage):
    copy = tmp_path / "gmm"
    shutil.copytree(gaussians, copy)
    (copy / "poses_00.txt").write_text(damage)
    code, _, err = program("embed", f"{copy} --classes 2 --method pca --lists")
    told = [line for line in err.splitlines() if "poses_00.txt" in line]
    assert code == 1 and len(told) == 1 and "Traceback" not in err


def test_a_run_that_did_not_refine_poses_does_not_begin_to(program, folder):
    words = f"set/particles.star {SIZES} plain {TINY['gmm']}".replace(" --refine_poses", "")
    assert program("refine", words)[0] == 0
    code, _, err = program("refine", "--resume plain --niter 2 --refine_poses")
    assert code == 1 and "--refine_poses is False, asked for True" in err
    assert not (folder / "plain/poses_00.txt").exists()


def test_a_dry_run_refines_nothing_and_says_so(program, folder):
    code, out, err = program("refine", f"set/particles.star {SIZES} dry {TINY['hype']} --dry_run")
    assert code == 0 and "poses are refined before training; here they are left out" in out + err
    assert not (folder / "dry").exists()
