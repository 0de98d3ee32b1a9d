"""Toy runs are validated: what is in both half-sets and in no null set is supported, and the page says why."""

import dataclasses
import json
import os
import re
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from libhetero.analysis.constant import shared_change
from libhetero.analysis.regions import Regions
from libhetero.errors import ConfigurationError
from libhetero.io import write_latent
from libhetero.io.particle_findings import ParticleFindings
from libhetero.pipelines import validate
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.validate import ValidateConfig
from libhetero.pipelines.validating import examination, imaging, nulls, structure, volumes
from libhetero.pipelines.validating.halves import HalfModel
from libhetero.pipelines.validating.record import NullSets, read_validation
from libhetero.records import GivenPoses, Pose, PoseChange
from tests.making.runs import ToyGaussians, field_run, gaussian_run

COUNT = 300


def grouped(similarity, config):
    """Find regions without a plane: Gaussians whose changes are correlated."""
    size = shared_change(similarity, 5)
    moving = size > 0.02
    scale = np.where(moving, size, np.inf)
    _, name = connected_components(similarity / np.outer(scale, scale) > 0.5)
    found = np.unique(name[moving], return_inverse=True)[1]
    label = np.zeros(len(size), int)
    label[moving] = 1 + found
    plane = np.zeros((len(size), 2), np.float32)
    return Regions(label, size, 0.02, plane, 1.0, None, None, int(label.max()), 1.0, 1.0)


def half_models(lost=None):
    """Return what stands in for training: the run's own model, its latents noisy; the second half loses a piece."""

    def train(run, number, members, folder, progress=None):
        whole = folder / f"half{number}" / "whole"
        whole.mkdir(parents=True)
        latent = np.loadtxt(run.folder / "mid_00.txt")[:, 1:]
        latent = latent + 0.05 * np.random.default_rng(number).normal(size=latent.shape)
        if number == 2 and lost is not None:
            latent[:, lost] = 0.0
        write_latent(whole / "mid_00.txt", np.arange(len(latent)), latent)
        return HalfModel(members, dataclasses.replace(run, folder=whole))

    return train


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A Gaussian run of three pieces with classes, whose half-sets and null sets cost nothing."""
    run, piece, states = gaussian_run(tmp_path, COUNT)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    monkeypatch.setattr(structure, "find_regions", grouped)
    monkeypatch.setattr(examination.half, "train_half", half_models(lost=2))
    monkeypatch.setattr(examination, "_null_sets", lambda run, config: 19)

    def search(run, sets, feature, contrast, seed, progress, folder):
        return NullSets((0,) * (sets - 1) + (1,), (0.0,) * (sets - 1) + (0.1,), feature)

    monkeypatch.setattr(nulls, "search_nulls", search)
    return run, piece, states


def test_verdicts_follow_from_half_sets_and_nulls(toy, tmp_path, load_program, capsys):
    run, piece, states = toy
    write_classes(tmp_path / "classes_region_01.txt", np.arange(COUNT), states[:, 0].astype(int))
    assert load_program("e2hype_validate.py").main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    found = read_validation(tmp_path)
    label = structure.regions_of_run(run, structure_of_toy(run))
    lost = [one.region for one in found.regions if (label[piece == 3] == one.region).all()]
    assert [one.verdict for one in found.regions] == [
        "doubtful" if one.region in lost else "supported" for one in found.regions
    ]
    assert len(found.regions) == 3 and len(lost) == 1
    assert found.halves.regions == (3, 2) and found.halves.agreement[1] == 1.0 > found.halves.agreement[0]
    np.testing.assert_allclose(found.halves.canonical, [1, 1], atol=0.05)
    assert found.nulls.with_directions == 1 and found.regions[0].false_positive == pytest.approx(1 / 20)
    assert {one.property for one in found.following} >= {"defocus", "listed shift", "half-set", "place in the list"}
    assert {one.coordinate for one in found.following} == {
        *(f"{kind} {k}" for kind in ("latent", "region") for k in (1, 2, 3))
    }
    assert [one.label for one in found.volumes] == [0, 1] and min(one.difference for one in found.volumes) > 0.9
    assert "2 of 3 region(s) supported, 1 doubtful, 0 not supported" in said.out
    assert "half-sets of 150 and 150 particles: two trainings, about as long as" in said.out
    page = (tmp_path / "validation" / "index.html").read_text()
    targets = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert targets == {"nulls.png", "half_sets.png", "imaging.png", "class_volumes.png"}
    assert all((tmp_path / "validation" / target).exists() for target in targets)
    assert "found again in one of the half-sets" in page and "doubtful" in page


@pytest.mark.parametrize(
    ("number", "code", "who"), [(signal.SIGTERM, 143, "as the system asked"), (signal.SIGINT, 130, "by Ctrl-C")]
)
def test_a_validation_that_is_stopped_says_what_is_kept(
    toy, tmp_path, load_program, capsys, monkeypatch, number, code, who
):
    folder = tmp_path / "validation"
    before = signal.signal(number, signal.default_int_handler)

    def train(run, half, members, where, progress=None):
        (folder / f"half{half}" / "checkpoints" / "40").mkdir(parents=True)
        if half == 1:
            (folder / "half1" / "mid_00.txt").write_text("0 0\n")
            return
        os.kill(os.getpid(), number)
        time.sleep(20)

    monkeypatch.setattr(examination.half, "train_half", train)
    try:
        assert load_program("e2hype_validate.py").main([str(tmp_path)]) == code
    finally:
        signal.signal(number, before)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"e2hype_validate.py: stopped {who}; kept in {folder}: half-set 1, trained; half-set 2, trained to step 40. "
        "The same command goes on from there."
    )
    assert not (folder / "index.html").exists()


def structure_of_toy(run):
    """Return how a toy's Gaussians change over all particles."""
    latent = np.loadtxt(run.folder / "mid_00.txt")[:, 1:].astype(np.float32)
    return structure.structure_of(run, latent, "amplitude", 64, 4.0)


def test_a_quick_look_leaves_regions_doubtful_and_takes_those_of_the_segmentation(toy, tmp_path, caplog):
    run, piece, _ = toy
    table = np.column_stack([np.zeros((160, 5)), np.where(piece == 1, 1, 0)])
    np.savetxt(tmp_path / "regions.txt", table)
    defocus = np.where(np.loadtxt(tmp_path / "mid_00.txt")[:, 1] > -0.5, 2e4, 1e4) + 1.0 * np.arange(COUNT)
    ctf = dataclasses.replace(run.particles.ctf, defocus_u=defocus, defocus_v=defocus)
    object.__setattr__(run, "particles", dataclasses.replace(run.particles, ctf=ctf))
    found = validate.run(ValidateConfig(str(tmp_path), skip_halves=True)).found
    assert found.halves is None and found.volumes == ()
    (region,) = found.regions
    assert region.gaussians == np.sum(piece == 1) and region.verdict == "not supported"
    assert region.follows == "defocus" and region.reasons[0].startswith("follows the defocus (R²")
    assert "region 1 follows the defocus" in caplog.text


def test_a_half_set_that_shows_no_direction_supports_nothing(toy, tmp_path, monkeypatch):
    run, piece, states = toy
    write_classes(tmp_path / "classes_region_01.txt", np.arange(COUNT), states[:, 0].astype(int))
    still = ToyGaussians(np.asarray(run.model.neutral.position), np.zeros_like(piece))
    still.config = SimpleNamespace(latent_size=0)
    trained = half_models()

    def train(run, number, members, folder, progress=None):
        found = trained(run, number, members, folder)
        return found if number == 1 else HalfModel(members, dataclasses.replace(found.whole, model=still))

    monkeypatch.setattr(examination.half, "train_half", train)
    found = validate.run(ValidateConfig(str(tmp_path))).found
    assert found.halves.canonical == () and found.halves.predicted == (0.0, 0.0)
    assert found.halves.regions == (3, 0) and len(found.regions) == 3
    assert all(one.overlap[1] == 0 and one.coordinate == 0 and one.verdict != "supported" for one in found.regions)
    assert all(one.difference in (None, 0.0) for one in found.volumes)


def test_memory_of_the_covariance_can_be_raised(toy, tmp_path):
    with pytest.raises(ConfigurationError, match="GiB are allowed. Raise --memory, or segment the run with --feature"):
        validate.run(ValidateConfig(str(tmp_path), memory=1e-6, skip_halves=True))
    assert validate.run(ValidateConfig(str(tmp_path), memory=1.0, skip_halves=True)).found.regions


def test_a_run_that_found_no_direction_is_told_in_one_line(toy, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(examination, "particle_latents", lambda run, batch: np.zeros((COUNT, 0), np.float32))
    caplog.set_level("INFO")
    result = validate.run(ValidateConfig(str(tmp_path)))
    assert "no direction of change was found; there is nothing to validate" in caplog.text
    assert result.lines[0] == "No region changes: there is none to support."
    assert result.found.halves is None and result.found.nulls is None and result.page.exists()


def test_a_run_without_gaussians_is_tested_where_that_applies(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    write_latent(tmp_path / "mid_00.txt", np.arange(50), np.random.default_rng(0).normal(size=(50, 3)))
    monkeypatch.setattr(examination.half, "train_half", half_models())
    with pytest.raises(ConfigurationError, match=r"^--nulls 5: .*\(CryoHype\) has made no search"):
        validate.run(ValidateConfig(str(tmp_path), nulls=5))
    result = validate.run(ValidateConfig(str(tmp_path)))
    assert result.found.regions == () and result.found.nulls is None and len(result.found.halves.canonical) == 3
    assert json.loads(result.record.read_text())["family"] == "hype"


def test_a_run_that_is_none_or_not_finished_is_refused(tmp_path, load_program, capsys):
    program = load_program("e2hype_validate.py")
    assert program.main([str(tmp_path)]) == 1
    (tmp_path / "config.json").write_text("{}")
    assert program.main([str(tmp_path)]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "config.json: no such file; is this a run folder?" in first
    assert "not finished, mid_00.txt is not there" in second and f"--resume {tmp_path}." in second
    with pytest.raises(ConfigurationError, match="has not|no such file"):
        read_validation(tmp_path)


def test_images_of_one_particle_are_no_further_evidence(toy, tmp_path, monkeypatch, load_program, capsys):
    """Latents of 60 particles of 5 images follow nothing, and those of the half-sets have nothing in common."""
    run, *_ = toy
    group = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 5))
    particles = dataclasses.replace(run.particles, group=group, half_set=(np.arange(60) % 2)[group])
    object.__setattr__(run, "particles", particles)
    monkeypatch.setattr(examination, "has_mixtures", lambda run: False)
    write_latent(tmp_path / "mid_00.txt", np.arange(COUNT), np.random.default_rng(1).normal(size=(60, 3))[group])

    def train(run, number, members, folder, progress=None):
        whole = folder / f"half{number}" / "whole"
        whole.mkdir(parents=True)
        latent = np.random.default_rng(10 + number).normal(size=(60, 3))[group]
        write_latent(whole / "mid_00.txt", np.arange(COUNT), latent)
        return HalfModel(members, dataclasses.replace(run, folder=whole))

    monkeypatch.setattr(examination.half, "train_half", train)
    assert load_program("e2hype_validate.py").main([str(tmp_path)]) == 0
    assert "half-sets of 30 and 30 particles" in capsys.readouterr().out
    found = read_validation(tmp_path)
    assert found.particles == 60 and found.halves.particles == (30, 30)
    assert max(found.halves.canonical) < 0.4 and max(found.halves.predicted) < 0.1
    assert {one.property for one in found.following} >= {"half-set", "defocus"}
    assert min(one.p_value for one in found.following) > 0.05


def test_properties_are_those_of_the_list_and_of_the_particles(tmp_path):
    run = field_run(tmp_path)
    junk = np.where(np.arange(50) % 10 == 0, 1.0, 0.0)
    findings = ParticleFindings(np.linspace(0.5, 1.5, 50), np.zeros(50), np.zeros(50), junk)
    assert set(imaging.properties_of(run.particles, findings)) == {
        "place in the list",
        "direction of view",
        "in-plane angle",
        "listed shift",
        "defocus",
        "contrast",
    }, "without astigmatism, half-sets and micrographs where there are none"
    np.testing.assert_array_equal(imaging.strength_of(findings), np.where(junk > 0, 0, findings.contrast))


@pytest.mark.parametrize("solved_with_the_latent", [True, False])
def test_latents_that_follow_the_change_of_poses_are_told(tmp_path, solved_with_the_latent):
    """The change along an axis of the molecule, with the latent or before training; and the shift that is listed."""
    run, random, count = field_run(tmp_path), np.random.default_rng(2), 400
    particles = run.particles.take(random.integers(50, size=count))
    rotation = Rotation.random(count, random_state=1).as_matrix()
    turn, shift, listed = random.normal(size=(count, 3)), random.normal(size=(count, 2)), random.normal(size=(count, 2))
    change = PoseChange(turn=turn, shift=shift, turn_deviation=turn, shift_deviation=shift)
    pose, zero, poses = Pose(rotation=rotation, shift=listed), np.zeros(count), change
    if solved_with_the_latent:
        particles = dataclasses.replace(particles, pose=pose, given=None)
    else:
        refined, poses = Pose(rotation=rotation, shift=listed + shift), None
        particles = dataclasses.replace(particles, pose=refined, given=GivenPoses(pose, change))
    properties = imaging.properties_of(particles, ParticleFindings(zero, zero, zero, zero, poses))
    in_molecule = np.einsum("nji,nj->ni", rotation, turn)[:, 1]
    latents = np.column_stack([in_molecule + random.normal(size=count), listed[:, 0], random.normal(size=count)])
    found = imaging.followed(properties, ("turned", "shifted", "nothing"), latents, np.arange(count), 0)
    assert [worst and worst[0] for worst in map(found.worst, range(3))] == ["change of the pose", "listed shift", None]


def test_contrasts_of_null_sets_are_freed_of_the_noise_of_their_estimates():
    random = np.random.default_rng(0)
    true = 1 + 0.2 * random.normal(size=2000)
    seen = true + 0.2 * random.normal(size=2000)
    found = imaging.strength_of(ParticleFindings(seen, np.full(2000, 0.2), np.zeros(2000), np.zeros(2000)))
    assert np.std(found) < 0.17 < 0.27 < np.std(seen) and abs(found.mean() - 1) < 0.02


def test_classes_in_one_half_set_alone_are_not_compared(tmp_path):
    run = field_run(tmp_path)
    pair = tuple(HalfModel(np.arange(start, 50, 2), run) for start in (0, 1))
    label = np.array([0, 1] * 10 + [2] * 29 + [-1])
    members = volumes._in_both(label, pair)
    assert list(members) == [2]
    np.testing.assert_array_equal(members[2][0], np.arange(20, 49, 2))
