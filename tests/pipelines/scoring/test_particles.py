"""Contrast, junk and deviations of latents against a truth that knows them, and what regions say of pieces."""

from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import write_latent
from libhetero.pipelines.decoding.particle_findings import FINDINGS
from libhetero.pipelines.regions.record import KindRecord, RegionRecord, RegionsRecord, write_record
from libhetero.pipelines.scoring.gaussians import chosen_particles
from libhetero.pipelines.scoring.particles import score_deviations, score_particles
from libhetero.pipelines.scoring.regions import score_classes, score_kinds, score_regions
from libhetero.pipelines.scoring.table import table
from libhetero.pipelines.scoring.truth import Truth, TruthDocument
from tests.making.particles import make_particles

COUNT = 400
PLACES = np.arange(COUNT)[::-1].copy()  # the run has the particles the other way round
RANDOM = np.random.default_rng(0)
CONTRAST = RANDOM.normal(1, 0.2, COUNT)
JUNK = np.arange(COUNT) % 10 == 0
STATES = np.stack([np.ones(COUNT), RANDOM.integers(0, 2, COUNT), np.ones(COUNT)], axis=1).astype(np.uint8)
ANGLES = np.stack([np.zeros(COUNT), np.zeros(COUNT), RANDOM.uniform(-0.2, 0.2, COUNT)], axis=1)


def truth_of(**known: object) -> Truth:
    """Return a truth of three pieces, the core, one that comes and goes and one that turns."""
    document = TruthDocument("assembly", COUNT, 16, 4.0)
    place, piece = np.zeros((3, 3), np.float32), np.arange(3)
    return Truth(
        Path("truth"), "assembly", 16, 4.0, COUNT, STATES[:, 1], STATES, ANGLES, place, piece, document, **known
    )


def write_particles(folder, contrast, deviation, junk) -> None:
    rows = [np.arange(COUNT), contrast[PLACES], deviation, np.zeros(COUNT), junk[PLACES]]
    np.savetxt(folder / "particles_00.txt", np.stack(rows, axis=1), header="index …")


def test_contrast_and_junk(tmp_path) -> None:
    truth = truth_of(contrast=np.where(JUNK, 0, CONTRAST).astype(np.float32), junk=JUNK)
    assert score_particles(tmp_path / FINDINGS, truth, PLACES) == {}
    error = 0.05 * RANDOM.normal(size=COUNT)
    write_particles(tmp_path, 3 * np.where(JUNK, 0.1, CONTRAST + error), np.full(COUNT, 0.15), np.where(JUNK, 0.9, 0.1))
    scores = score_particles(tmp_path / FINDINGS, truth, PLACES)
    assert scores["junk"] == {"called": 0.1, "recall": 1.0, "precision": 1.0, "auc": 1.0}
    assert scores["contrast"]["correlation"] == pytest.approx(np.hypot(0.2, 0.05) ** -1 * 0.2, abs=0.02)
    assert scores["contrast"]["z"] == pytest.approx(1, abs=0.1), "a common scale is no error"
    assert scores["contrast"]["true_spread"] == pytest.approx(0.2, abs=0.02)
    kept = chosen_particles(truth, PLACES, COUNT)
    assert len(kept) == 360 and not JUNK[PLACES[kept]].any() and len(chosen_particles(truth, PLACES, 10)) == 10
    text = "\n".join(table({"run": "r", "family": "gmm", "truth": "t", "kind": "assembly", "particles": 4, **scores}))
    assert "contrast, correlation" in text and "AUC" in text


def test_a_table_that_is_not_of_the_run(tmp_path) -> None:
    np.savetxt(tmp_path / "particles_00.txt", np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"particles_00.txt: 3 particles.*; expected 400"):
        score_particles(tmp_path / FINDINGS, truth_of(), PLACES)


def test_deviations_of_latents(tmp_path) -> None:
    told = np.stack([STATES[PLACES, 1] - 0.5, ANGLES[PLACES, 2] / 0.2], axis=1)
    latent = told + 0.1 * RANDOM.normal(size=told.shape)
    assert score_deviations(tmp_path, truth_of(), np.ones(3, bool), np.arange(COUNT), PLACES) is None
    write_latent(tmp_path / "mid_00.txt", np.arange(COUNT), latent)
    write_latent(tmp_path / "mid_00_sd.txt", np.arange(COUNT), np.full(told.shape, 0.1))
    scores = score_deviations(tmp_path, truth_of(), np.ones(3, bool), np.arange(COUNT), PLACES)
    assert set(scores["each"]) == {"presence 1", "angle 2"} and scores["z"] == pytest.approx(1, abs=0.1)
    write_latent(tmp_path / "mid_00_sd.txt", np.arange(COUNT), np.full((COUNT, 3), 0.1))
    with pytest.raises(DataError, match="3 deviations of 400 particles; expected those of the 2"):
        score_deviations(tmp_path, truth_of(), np.ones(3, bool), np.arange(COUNT), PLACES)


def test_kinds_of_regions_and_a_core_that_is_one(tmp_path) -> None:
    piece = np.repeat(np.arange(3), 20)
    region = np.array([0, 3, 1, 2])[np.concatenate([np.repeat([0, 1], 10), piece[20:] + 1])]
    scores = score_regions(region, piece, truth_of())
    assert scores["match"] == [0, 1, 2] and scores["recovered"] == 2
    assert scores["extra"] == scores["core"] == 1, "half of the core"
    assert score_kinds(tmp_path, scores, truth_of()) is None
    nothing = KindRecord("Å", 0.0, 0.0, 1.0, (0.0, 0.0), 0.0)
    kinds = ("amplitude", "both", "motion")
    regions = [RegionRecord(k, 10, 0.1, kind, nothing, nothing, 0.0, 1.0) for k, kind in enumerate(kinds, 1)]
    write_record(tmp_path, RegionsRecord(3, "auto", 60, COUNT, regions=tuple(regions)))
    found = score_kinds(tmp_path, scores, truth_of())
    assert found == {"right": 1, "of": 2, "kinds": ["amplitude", "both", "motion"]}


def test_classes_that_say_how_sure_they_are(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("libhetero.pipelines.scoring.regions.list_digest", lambda particles: None)
    index, there = np.arange(COUNT), STATES[PLACES, 1].astype(int)
    label, sure = there.copy(), np.where(index < 200, 0.95, 0.6)
    label[:20] = 1 - label[:20]
    np.savetxt(tmp_path / "classes_region_01.txt", np.stack([index, label, sure], axis=1), fmt="%d %d %.3f")
    monkeypatch.setattr("libhetero.pipelines.scoring.regions.read_classes", lambda path, *_: (index, label))
    relative = np.repeat(there[:, None], 3, axis=1).astype(float)
    scores = score_classes(
        tmp_path, np.arange(3), [0, 1, 2], relative, index, make_particles(COUNT), STATES[PLACES], truth_of()
    )
    assert scores["accuracy"] == pytest.approx(0.95) and len(scores["pieces"]) == 1
    assert scores["sure"] == {"sure": 0.5, "right": pytest.approx(0.9), "expected": pytest.approx(0.95)}
