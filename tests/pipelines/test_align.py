"""Lists of particles in which a region stands still, through the program."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from libhetero.io import ImageReader, read_gaussians, read_particles, read_volume, write_gaussians, write_latent
from libhetero.metrics.amplitude import closest_atoms
from libhetero.metrics.fsc import masked_fsc
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.pipelines.aligning.motions import learnt_spread
from libhetero.records import Gaussians, Observation
from libhetero.training.configuration import PreprocessConfig
from tests.making.oracles import BOX, PIXEL, gaussian_run, refining_run, simulated
from tests.reference.eman2_files import check_folder

COUNT = 300


@pytest.fixture(scope="module")
def simulated_motion(tmp_path_factory):
    """A motion of two pieces and a core, without noise."""
    folder = tmp_path_factory.mktemp("motion")
    return simulated(folder / "set", "motion", COUNT, rmsd=3.0)


@pytest.fixture
def aligned(load_program, tmp_path, monkeypatch, capsys, simulated_motion):
    """Run the program on a run whose Gaussians do what the atoms do, segmented as the truth is."""
    truth = simulated_motion
    monkeypatch.chdir(tmp_path)
    run = gaussian_run(tmp_path / "hype_00", truth)
    write_latent(run.folder / "mid_00.txt", np.arange(COUNT), np.arange(float(COUNT))[:, None])
    piece = truth.piece[closest_atoms(run.model.neutral.position, truth.position)[0]]
    write_gaussians(run.folder / "regions.txt", run.model.neutral, BOX, PIXEL, group=piece)
    opened = {"run": run}
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: opened["run"])
    module = load_program("e2hype_align.py")

    def program(*arguments):
        code = module.main(["hype_00", *map(str, arguments)])
        return code, *capsys.readouterr()

    return program, opened, piece


def true_pose(truth, pose, piece, i):
    """Return the pose of a piece in particle i: the molecule's after the turn about the hinge."""
    document = truth.document
    turn = np.asarray(axis_angle_to_matrix(np.array(document.axes[piece]), np.asarray(truth.angles[i, piece])))
    step = np.array(document.hinges[piece]) - turn @ np.array(document.hinges[piece])
    return pose.rotation[i] @ turn, pose.shift[i] + (pose.rotation[i] @ step)[:2]


def test_each_piece_has_the_pose_at_which_it_is_seen(aligned, simulated_motion):
    """That of the molecule, turned about the piece's hinge by its angle: to rounding."""
    program, _, _ = aligned
    code, out, err = program()
    assert code == 0, err
    assert check_folder("hype_00/aligned") == {"region_01.lst", "region_02.lst"}
    assert "region 1: turns by" in out + err and "region_01, region_02" in out
    listed = read_particles(str(simulated_motion.folder.parent / "particles.star"))
    for piece in (1, 2):
        for ending in (".star", ".lst"):
            found = read_particles(f"hype_00/aligned/region_{piece:02d}{ending}")
            assert np.array_equal(found.image_index, listed.image_index)
            for i in range(0, COUNT, 37):
                rotation, shift = true_pose(simulated_motion, listed.pose, piece, i)
                np.testing.assert_allclose(found.pose.rotation[i], rotation, atol=2e-3)
                np.testing.assert_allclose(found.pose.shift[i], shift, atol=0.05)
    table = np.loadtxt("hype_00/aligned/region_01_motion.txt")
    angle = np.linalg.norm(table[:, 1:4], axis=1)
    np.testing.assert_allclose(angle, np.degrees(np.abs(simulated_motion.angles[:, 1])), atol=0.02)
    assert table.shape == (COUNT, 8) and table[:, 7].max() < 0.01
    lines = Path("hype_00/aligned/motion.bild").read_text().splitlines()
    arrows = np.array([line.split()[1:7] for line in lines if line.startswith(".arrow")], float)
    assert sum(line.startswith(".color") for line in lines) == 2 and 10 < len(arrows) <= 60
    document, (begin, end) = simulated_motion.document, np.split(arrows - BOX // 2 * PIXEL, 2, axis=1)
    for piece in (1, 2):  # a piece turns about its hinge: points go across its axis
        own = slice(None, 30) if piece == 1 else slice(-30, None)
        way = (end - begin)[own] / np.linalg.norm((end - begin)[own], axis=1, keepdims=True)
        axis = np.array(document.axes[piece]) / np.linalg.norm(document.axes[piece])
        assert np.median(np.abs(way @ axis)) < 0.1


def test_the_map_of_a_region_is_sharp_where_it_stands_still(aligned, simulated_motion, load_program, capsys):
    program, _, _ = aligned
    assert program("--region", 2)[0] == 0
    make3d = load_program("e2hype_make3d.py").main
    assert make3d(["hype_00/aligned/region_02.star", "piece.mrc"]) == 0
    assert make3d([str(simulated_motion.folder.parent / "particles.star"), "consensus.mrc"]) == 0
    piece = read_volume(simulated_motion.folder / "piece_02.mrc")[0]
    mask = np.clip(10 * (piece / piece.max() - 0.05), 0, 1).astype(np.float32)
    rest = simulated_motion.map(0)
    error = [
        float(np.sum(1 - masked_fsc(read_volume(name)[0], rest, mask)[3:7])) for name in ("piece.mrc", "consensus.mrc")
    ]
    assert error[0] < 0.5 * error[1], error
    assert not Path("hype_00/aligned/region_01.star").exists()


def test_lists_of_before_go_and_the_core_is_asked_for(aligned):
    program, _, _ = aligned
    assert program()[0] == 0
    code, out, _ = program("--region", "0,2", "--output", "hype_00/aligned")
    assert code == 0 and "region_00, region_02" in out
    assert not list(Path("hype_00/aligned").glob("region_01*"))


def test_subtracted_images_show_the_region_alone(aligned, simulated_motion):
    """As the Gaussians say: what is left is the image of the truth less the projection of the others' Gaussians."""
    program, opened, piece = aligned
    run = opened["run"]
    preprocess = PreprocessConfig(deviation=2.0, contrast=-1, box_size=12)
    model = dataclasses.replace(run.model, box_size=12, pixel_size=PIXEL * BOX / 12, image_scale=0.1)
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, preprocess=preprocess))
    opened["run"] = dataclasses.replace(run, model=model, config=config)
    code, _, err = program("--region", 1, "--subtract")
    assert code == 0, err
    found = read_particles("hype_00/aligned/region_01.star")
    assert found.files[0].endswith("hype_00/aligned/region_01_subtracted.mrcs")
    chosen = np.array([3, 77])
    pose, ctf = run.particles.poses_and_ctfs()
    for i in chosen:
        mixture = Gaussians(run.model.position[i], (piece != 1) * run.model.amplitude[i], run.model.neutral.sigma)
        observation = jax.tree.map(lambda leaf, i=i: leaf[i], Observation(pose=pose, ctf=ctf))
        plane = observed(project_gaussians(mixture, observation.pose, BOX, PIXEL), observation, half_plane(BOX, PIXEL))
        signal = -2.0 * 0.1 * (BOX / 12) ** 2 * np.asarray(real_image(plane, BOX))
        left = ImageReader(run.particles).read(np.array([i])) - ImageReader(found).read(np.array([i]))
        np.testing.assert_allclose(left[0], signal, atol=1e-4 * np.abs(signal).max())
    Path("hype_00/aligned/region_02_class_00.lst").write_text("of a segmentation")
    code, _, err = program("--region", 1)
    stack = Path("hype_00/aligned/region_01_subtracted.mrcs")
    assert code == 0 and f"{stack}: is of an earlier call, and is kept" in err and stack.exists()
    assert Path("hype_00/aligned/region_02_class_00.lst").exists()
    opened["run"] = dataclasses.replace(opened["run"], particles=found)  # trained on the subtracted images
    before = stack.read_bytes()
    code, _, err = program("--region", 1, "--subtract")
    assert code == 1 and "holds images that" in err and err.count("\n") == 1 and stack.read_bytes() == before
    image = dataclasses.replace(preprocess, normalise="image")
    config = dataclasses.replace(run.config, data=dataclasses.replace(run.config.data, preprocess=image))
    opened["run"] = dataclasses.replace(run, config=config)
    code, _, err = program("--subtract")
    assert code == 1 and "--normalise set" in err and err.count("\n") == 1


def test_mistakes(aligned):
    program, opened, _ = aligned
    code, _, err = program("--region", 7)
    assert code == 1 and "--region 7: " in err and "holds 0, 1, 2; expected some of these" in err
    assert err.count("\n") == 1 and not Path("hype_00/aligned").exists()
    regions = opened["run"].folder / "regions.txt"
    assert len(read_gaussians(regions, BOX, PIXEL).sigma)
    regions.unlink()
    code, _, err = program()
    assert code == 1 and "Find them first: e2hype_segment.py hype_00" in err and err.count("\n") == 1


def rotation_error(found, truth, listed, piece):
    """Return the root mean square angle (degrees) between poses and those of a piece."""
    true = [true_pose(truth, listed.pose, piece, i)[0] for i in range(COUNT)]
    trace = np.einsum("pij,pij->p", np.asarray(found.pose.rotation), np.array(true))
    return float(np.degrees(np.sqrt(np.mean(np.arccos(np.clip((trace - 1) / 2, -1, 1)) ** 2))))


def test_refined_poses_are_nearer_to_the_truth(aligned, simulated_motion):
    """Of Gaussians that go half of the way; and the table says by how much, and how sure that is."""
    program, opened, _ = aligned
    listed = opened["run"].particles
    opened["run"] = refining_run(Path("hype_00"), simulated_motion, sluggish=0.5)
    errors = {}
    for name, flags in (("decoded", ()), ("refined", ("--refine",))):
        code, out, err = program("--region", 1, "--output", name, *flags)
        assert code == 0, err
        errors[name] = rotation_error(read_particles(f"{name}/region_01.star"), simulated_motion, listed, 1)
    assert "region 1: refined by" in out + err
    assert errors["refined"] < 0.75 * errors["decoded"], (errors, out + err)
    table = np.loadtxt("refined/region_01_motion.txt")
    assert table.shape == (COUNT, 18) and np.all(table[:, 13:] > 0)
    assert np.loadtxt("decoded/region_01_motion.txt") == pytest.approx(table[:, :8], abs=1e-4)


def test_spreads_are_learnt_whatever_they_were_looked_for_with():
    """Of images that say little each: the spreads that particles were drawn with, from wider and narrower ones."""
    random = np.random.default_rng(3)
    true, count = np.array([1.3, 0.02]), 4000
    units = np.repeat(true, [2, 3])
    drawn = units * random.normal(size=(count, 5))
    root = random.normal(size=(count, 5, 5)) / np.sqrt(5) / units[:, None]  # of what an image says, as noise as signal
    said = root @ np.swapaxes(root, 1, 2)
    towards = np.einsum("pij,pj->pi", said, drawn) + np.einsum("pij,pj->pi", root, random.normal(size=(count, 5)))
    for first in (true, 4 * true, 0.5 * true):
        scale = np.repeat(first, [2, 3])
        covariance = np.linalg.inv(scale[:, None] * said * scale + np.eye(5))
        mean = np.einsum("pij,pj->pi", covariance, scale * towards)
        np.testing.assert_allclose(learnt_spread(first, mean, covariance), true, rtol=0.1)
