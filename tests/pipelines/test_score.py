"""Scores of models that know the truth, and the program on a trained run."""

import json
import os

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import write_gaussians, write_latent, write_volume
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.pipelines import score
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.scoring.gaussians import true_displacement
from libhetero.pipelines.scoring.labels import score_labels
from libhetero.pipelines.scoring.regions import score_classes
from libhetero.pipelines.scoring.true_maps import TrueMaps
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from libhetero.records import Gaussians
from programs.e2hype_refine import main as refine
from programs.e2hype_score import main
from tests.making.commands import HYPE
from tests.making.oracles import BOX, PIXEL, VolumeOracle, gaussian_run, run_of, simulated, volume_run


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("score") / "mixture", "mixture", 192)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("score") / "assembly", "assembly", 64)


@pytest.fixture(scope="module")
def motion(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("score") / "motion", "motion", 16, max_angle=np.radians(30.0))


def scored(monkeypatch, run, truth, **options):
    """Score a run that is in memory."""
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    config = score.ScoreConfig(str(run.folder), str(truth.folder), **options)
    return score.run(config)


def test_a_perfect_mixture(monkeypatch, tmp_path, mixture):
    run = volume_run(tmp_path / "run", mixture)
    result = scored(monkeypatch, run, mixture, images=12, json=str(tmp_path / "s.json"))
    volumes = result.values["volumes"]
    largest = (BOX / 2 - 1) / BOX
    assert volumes["images"] == 12 and volumes["classes"] == 3
    assert volumes["model"]["fsc_auc"]["mean"] == pytest.approx(largest, abs=1e-4)
    assert volumes["model"]["fsc_auc_normalised"]["mean"] == pytest.approx(1, abs=1e-3)
    floor, bound = (volumes[name]["fsc_auc"]["mean"] for name in ("floor", "bound"))
    assert floor < bound < largest and volumes["gap_closed"] > 1
    assert any("above the bound" in line for line in result.lines)
    for level in ("mass", "fixed"):
        assert volumes["model"][f"viou_{level}"]["mean"] == 1
        assert volumes["model"][f"chamfer_{level}"]["mean"] == 0
        assert volumes["floor"][f"viou_{level}"]["mean"] < volumes["bound"][f"viou_{level}"]["mean"]
    assert result.values["labels"]["kmeans"]["ari"] == 1
    assert json.loads((tmp_path / "s.json").read_text()) == result.values
    text = "\n".join(result.lines)
    for word in ("FSC_AUC, model", "soft ball", "½ (mean A→B", "k = 3", "gap floor"):
        assert word in text


def test_wrong_volumes_are_below_the_floor(monkeypatch, tmp_path, mixture):
    run = volume_run(tmp_path / "run", mixture, (mixture.labels + 1) % 3)
    values = scored(monkeypatch, run, mixture, images=6, mask="none").values
    assert values["volumes"]["gap_closed"] < 0
    assert values["labels"]["kmeans"]["ari"] == 1, "renamed classes are as good"


def test_latents_older_than_the_checkpoint_are_encoded_again(monkeypatch, tmp_path, mixture):
    run = volume_run(tmp_path / "run", mixture)
    noise = np.random.default_rng(1).normal(size=(len(mixture.labels), 3))
    write_latent(run.folder / "mid_00.txt", np.arange(len(noise)), noise)
    os.utime(run.folder / "mid_00.txt", (1, 1))
    (run.folder / "checkpoints" / "5").mkdir(parents=True)
    values = scored(monkeypatch, run, mixture, images=0).values
    assert values["labels"]["kmeans"]["ari"] == 1


def test_a_mask_file_is_used(monkeypatch, tmp_path, mixture):
    run = volume_run(tmp_path / "run", mixture)
    mask = np.zeros((BOX,) * 3, np.float32)
    mask[4:12, 4:12, 4:12] = 1
    write_volume(tmp_path / "mask.mrc", mask, PIXEL)
    found = [
        scored(monkeypatch, run, mixture, images=3, mask=name).values["volumes"]["bound"]["fsc_auc"]
        for name in (str(tmp_path / "mask.mrc"), "none")
    ]
    assert found[0] != found[1]


def test_a_perfect_assembly(monkeypatch, tmp_path, assembly):
    run = gaussian_run(tmp_path / "run", assembly)
    neutral = run.model.neutral
    piece = assembly.piece[::7]
    write_gaussians(run.folder / "regions.txt", neutral, BOX, PIXEL, group=piece)
    for region in (1, 2):
        table = np.stack([np.arange(64), assembly.states[:, region]], axis=1)
        np.savetxt(run.folder / f"classes_region_{region:02d}.txt", table, fmt="%d")
    values = scored(monkeypatch, run, assembly, images=0).values
    for row in values["gaussians"]["amplitude"].values():
        assert row["all"] == row["optional"] == 1
        assert 0.5 < row["always_present"] < 1
    regions = values["gaussians"]["regions"]
    assert regions["ari"] == 1 and regions["recovered"] == regions["pieces"] == 2
    assert regions["match"] == [0, 1, 2] and regions["regions"] == 2
    assert values["gaussians"]["classes"] == {"accuracy": 1.0, "pieces": [1.0, 1.0]}
    assert values["labels"]["classes_region_02.txt"]["piece"] == 2
    assert values["labels"]["classes_region_02.txt"]["ari"] == 1
    assert "volumes" not in values


def test_classes_of_regions_that_are_wrong_or_missing(monkeypatch, tmp_path, assembly):
    """Region 1 holds the second piece, inverted class names; the first piece has no region."""
    run = gaussian_run(tmp_path / "run", assembly)
    group = np.where(assembly.piece[::7] == 2, 1, 0)
    write_gaussians(run.folder / "regions.txt", run.model.neutral, BOX, PIXEL, group=group)
    with pytest.raises(DataError, match="though regions.txt has this region"):
        scored(monkeypatch, run, assembly, images=0)
    path = run.folder / "classes_region_01.txt"
    table = np.stack([np.arange(64), 1 - assembly.states[:, 2].astype(int)], axis=1)
    table[:4, 1] = -1
    np.savetxt(path, table, fmt="%d")
    result = scored(monkeypatch, run, assembly, images=0)
    assert result.values["gaussians"]["classes"]["pieces"] == [0.5, 60 / 64]
    assert result.values["gaussians"]["regions"]["match"] == [0, -1, 1]
    assert "classes of regions: accuracy" in "\n".join(result.lines)
    np.savetxt(path, table[:50], fmt="%d")
    with pytest.raises(DataError, match="names 50 particles; expected those of the run"):
        scored(monkeypatch, run, assembly, images=0)


def test_classes_of_another_list_are_neither_labels_nor_those_of_a_region(tmp_path, assembly):
    run = gaussian_run(tmp_path / "run", assembly)
    every, path = np.arange(64), run.folder / "classes_region_01.txt"
    region, relative = np.ones(4, np.int64), np.ones((64, 4), np.float32)

    def of_regions():
        score_classes(run.folder, region, [0, 1, 1], relative, every, run.particles, assembly.states, assembly)

    for call in (of_regions, lambda: score_labels(run, assembly, every, 0, 64)):
        write_classes(path, every, every % 2, list_digest(run.particles))
        call()
        write_classes(path, every, every % 2, "0" * 16)
        with pytest.raises(DataError, match="classes_region_01.txt: its classes are of another list"):
            call()


def test_a_sluggish_assembly_is_all_present(monkeypatch, tmp_path, assembly):
    run = gaussian_run(tmp_path / "run", assembly, sluggish=0.3)
    amplitude = scored(monkeypatch, run, assembly, images=0).values["gaussians"]["amplitude"]
    for row in amplitude.values():
        assert row["all"] == pytest.approx(row["always_present"])


def test_perfect_and_absent_motion(monkeypatch, tmp_path, motion):
    perfect, still = (
        scored(monkeypatch, gaussian_run(tmp_path / name, motion, amount), motion, images=0).values
        for name, amount in (("perfect", 1.0), ("still", 0.0))
    )
    assert perfect["gaussians"]["motion"]["rmsd"] == pytest.approx(0, abs=1e-4)
    found = still["gaussians"]["motion"]
    assert found["rmsd"] == found["rmsd_without_motion"] > 1
    assert "volumes" not in perfect and "labels" not in perfect


def test_coordinates_of_regions_follow_angles(monkeypatch, tmp_path, motion):
    """Region 1 is the second piece, with a coordinate that falls with its angle; piece 1 has none."""
    run = gaussian_run(tmp_path / "run", motion)
    group = np.where(motion.piece[::7] == 2, 1, 0)
    write_gaussians(run.folder / "regions.txt", run.model.neutral, BOX, PIXEL, group=group)
    coordinates = np.stack([-(motion.angles[:, 2] ** 3), motion.angles[:, 1]], axis=1)
    order = np.random.default_rng(0).permutation(len(coordinates))
    write_latent(run.folder / "embed_region_01.txt", order, coordinates[order])
    result = scored(monkeypatch, run, motion, images=0)
    angles = result.values["gaussians"]["angles"]
    assert angles["pieces"] == [0.0, pytest.approx(1)] and angles["least"] == 0
    assert result.values["gaussians"]["regions"]["recovered"] == 1
    assert "least |rho|" in "\n".join(result.lines)


def _run_of_true_maps(folder, truth, chosen, own):
    """Return a run that gives the chosen particles their own true maps, or each the unturned one of its class."""
    true = TrueMaps(truth)
    maps = np.stack([true(i) if own else truth.map(i) for i in chosen])
    label = np.zeros(truth.particles, int)
    label[chosen] = np.arange(len(chosen))
    run = run_of(VolumeOracle(maps, label), folder, truth.folder.parent)
    write_latent(folder / "mid_00.txt", np.arange(truth.particles), np.hstack([truth.angles, 0 * truth.angles]))
    return run


@pytest.mark.parametrize("kind", ["motion", "mixture"])
def test_volumes_that_follow_a_motion_and_that_do_not(monkeypatch, tmp_path, kind, motion):
    truth, moving = motion, {"0"}
    if kind == "mixture":
        truth = simulated(tmp_path / "set", kind, 48, moving=(2,), max_angle=0.6)
        moving = {"1"}
    chosen = np.arange(0, truth.particles, truth.particles // 16)[:16]
    follows, stays = (
        scored(monkeypatch, _run_of_true_maps(tmp_path / f"{own}", truth, chosen, own), truth, images=16)
        for own in (True, False)
    )
    assert "How far volumes follow" in "\n".join(follows.lines)
    follows, stays = (result.values["volumes"] for result in (follows, stays))
    assert follows["following"].keys() == stays["following"].keys() == moving
    found, other = (volumes["following"][next(iter(moving))] for volumes in (follows, stays))
    assert found["correlation"] == pytest.approx(1, abs=1e-3) and found["extent"] == pytest.approx(1, abs=1e-3)
    assert found["own"] > found["unturned"] + 0.005 and found["own"] > found["still"]
    assert max(found["rho_volumes"]) > 0.5 and max(found["rho_latents"]) > 0.5
    assert len(found["rho_volumes"]) == 2
    assert other["correlation"] == other["extent"] == 0 and other["unturned"] > other["own"] + 0.005
    assert other["still"] == found["still"] and found["own"] > other["bound"] == found["bound"] > found["still"]
    areas = [follows[name]["fsc_auc"]["mean"] for name in ("model", "bound", "still", "floor")]
    assert areas == sorted(areas, reverse=True)


def test_true_displacement_turns_about_the_hinge(motion):
    atom = np.flatnonzero(motion.piece == 1)[:4]
    angle = np.zeros((1, 3), np.float32)
    angle[0, 1] = 0.4
    matrix = np.asarray(axis_angle_to_matrix(np.array(motion.document.axes[1]), np.array(0.4)))
    hinge = np.array(motion.document.hinges[1])
    expected = (motion.position[atom] - hinge) @ matrix.T + hinge - motion.position[atom]
    np.testing.assert_allclose(true_displacement(motion, atom, angle)[0], expected, atol=1e-3)


def test_particles_are_found_by_their_place_in_the_stack(tmp_path, mixture):
    run = volume_run(tmp_path / "run", mixture)
    chosen = run.particles.take(np.array([7, 3, 99]))
    np.testing.assert_array_equal(places_in_truth(chosen, mixture), [7, 3, 99])


def test_mistakes_are_one_line(monkeypatch, tmp_path, mixture, assembly):
    run = volume_run(tmp_path / "run", mixture)
    with pytest.raises(ConfigurationError, match=r"holds no truth.json"):
        open_truth(tmp_path)
    with pytest.raises(ConfigurationError, match="--images: expected 0 to 2147483647; got -1"):
        score.ScoreConfig("hype_00", images=-1)
    with pytest.raises(DataError, match="expected particles of one simulated stack"):
        places_in_truth(run.particles, assembly)
    table = np.array([[500, 0]])
    np.savetxt(run.folder / "classes.txt", table, fmt="%d")
    with pytest.raises(ConfigurationError, match="there is no particle 500"):
        scored(monkeypatch, run, mixture, images=0)
    broken = gaussian_run(tmp_path / "gaussians", assembly)
    few = Gaussians(np.zeros((2, 3)), np.ones(2), np.ones(2))
    write_gaussians(broken.folder / "regions.txt", few, BOX, PIXEL, group=np.zeros(2, int))
    with pytest.raises(DataError, match="2 Gaussians; expected the model's"):
        scored(monkeypatch, broken, assembly, images=0)


def test_the_program_on_a_trained_run(tmp_path, monkeypatch, capsys, mixture):
    monkeypatch.chdir(tmp_path)
    stack = str(mixture.folder.parent / "particles.star")
    assert refine([stack, *HYPE, "--niter", "1", "--batchsz", "48", "--noinvert"]) == 0
    assert main(["hype_00", "--images", "3", "--json", "score.json"]) == 0
    printed = capsys.readouterr().out
    assert "FSC_AUC, model" in printed and "k-means" in printed
    values = json.loads((tmp_path / "score.json").read_text())
    assert values["kind"] == "mixture" and values["family"] == "hype"
    assert values["volumes"]["images"] == 3
    assert main(["hype_00", "--truth", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
