"""The classes of a mixture: how many molecules, which image is of which, and images of none."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.models.hype.latent import class_search
from libhetero.models.hype.latent.class_search import STAGES, find_classes, known_mixture
from libhetero.models.hype.latent.classes import Classes, class_sums, judge, posterior, settled
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.judges import ByVolumes
from libhetero.models.hype.latent.junk import junk_of
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.merges import Contrast, held_out_likelihood, join_classes, near_pairs
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.predictive import Sorted, judged_by
from libhetero.models.hype.latent.regrouping import folded_by
from libhetero.models.hype.latent.splits import split_classes
from libhetero.models.hype.latent.subspace import principal_subspace, spanned, with_residual_modes
from libhetero.models.hype.latent.volumes import class_volumes
from tests.making.slices import molecules, slices, transform

COUNT = 240
LABEL = np.arange(COUNT) % 3
GRID = FourierGrid(5, 1.5, 0.4)


@pytest.fixture(scope="module")
def mixed():
    random = np.random.default_rng(5)
    label = np.where(np.arange(COUNT) % 10 == 9, -1, LABEL)
    contrast = 1 + 0.2 * random.normal(size=COUNT)
    return label, slices(label, molecules(3), ring=5, strength=1.2, contrast=contrast)


@pytest.fixture(scope="module")
def clean():
    return on_grid(slices(LABEL, molecules(3), ring=5, strength=1.2), GRID)


def test_molecules_are_found_and_images_of_none_are_in_no_class(mixed):
    label, seen = mixed
    done = []
    found = find_classes(seen, seed=1, progress=done.append)
    shown = label >= 0
    assert adjusted_rand_score(label[shown], found.judged.label[shown]) > 0.95
    assert (~found.empty).sum() == 3
    judged = found.shown().judge(seen)
    junk = junk_of(judged.evidence, np.ones(COUNT, bool))
    assert np.mean((junk > 0.5) == ~shown) > 0.97
    assert adjusted_rand_score(label[shown], judged.label[shown]) > 0.95
    assert 0.1 < found.spread < 0.3
    assert done[-1] == pytest.approx(1) and np.all(np.diff(done) > 0)


def test_a_molecule_that_moves_is_one_and_its_images_are_its(monkeypatch):
    """One weight evenly along a change of molecule 0, beside molecule 1; every class of the former has its number."""
    label = np.repeat([0, 1], [600, 200])
    seen = slices(label, molecules(2), ring=5, strength=0.8)
    (position, amplitude), sign = (part[0] for part in molecules(1, seed=9)), np.repeat([1, -1], 6)
    weight = np.random.default_rng(3).uniform(-1.7, 1.7, 600)
    for place in range(600):
        points = seen.frequencies @ seen.rotation[place, :2]
        change = transform((position, amplitude * sign), points)
        seen.image[place] += (weight[place] * seen.transfer[place] * change).astype(np.complex64)
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", STAGES[:1])
    found = find_classes(seen, seed=1)
    assert found.molecules == 2 < len(found.judges)
    assert np.mean(found.labels(seen) == found.labels(seen)[0]) == pytest.approx(0.75, abs=0.02)
    assert adjusted_rand_score(label, found.labels(seen)) > 0.95
    judged = found.shown().judge(seen)
    assert adjusted_rand_score(label, judged.label) > 0.95 and judged.probability[:600].min() > 0.9
    np.testing.assert_array_equal(found.parted(np.arange(2)).molecule, found.molecule)
    apart = found.parted(np.zeros(0, np.int64))
    assert apart.molecules == len(found.judges) == len(set(apart.molecule))


def test_an_image_is_of_the_molecule_whose_classes_together_are_the_most_probable(clean):
    """Three classes of one molecule, which share an image, are more than one class of another that has most of it."""
    subspace = spanned(class_volumes(clean, LABEL, 3), np.full(3, COUNT / 3), 2)
    equations = normal_equations(clean, subspace.table)
    classes, judged = settled(equations, LABEL, 3, 0.05)
    share, flat = np.array([0.15, 0.15, 0.15, 0.55]), np.zeros((4, *classes.covariance.shape[1:]))
    same = Classes(np.repeat(classes.mean[:1], 4, axis=0), flat, share, np.zeros(4))
    one, together = judge(equations, same, 0.05), judge(equations, same, 0.05, np.array([0, 0, 0, 1]))
    assert (one.label == 3).all() and (together.label == 3).all()
    assert together.probability == pytest.approx(0.55, abs=1e-3)
    tilted = replace(same, share=np.array([0.2, 0.2, 0.2, 0.4]))
    one, together = judge(equations, tilted, 0.05), judge(equations, tilted, 0.05, np.array([0, 0, 0, 1]))
    assert (one.label == 3).all() and (together.label < 3).all()
    assert together.probability == pytest.approx(0.6, abs=1e-3)


def test_classes_that_are_known_are_taken_as_they_are(mixed):
    """Molecule 1 in two parts, numbers with gaps, one image said to be of another molecule than it shows."""
    label, seen = mixed
    inside = np.flatnonzero(label >= 0)
    told = label[inside] * 3
    told[0] = 3
    part = np.where((told == 3) & (inside % 2 == 0), 7, 4)
    contrast, square = np.full(len(inside), 0.9), np.full(len(inside), 0.85)
    known = KnownClasses(told, part, contrast, square, 0.2)
    mixture = known_mixture(seen.take(inside), known, seed=1)
    assert len(mixture.judges) == 4 and mixture.molecules == 3 and not mixture.empty.any()
    np.testing.assert_array_equal(mixture.labels(seen.take(inside)) * 3, told)
    np.testing.assert_allclose(mixture.contrast(seen.take(inside)), 0.9)
    np.testing.assert_allclose(np.exp(mixture.judges.log_share).sum(), 1, rtol=1e-5)
    judged = mixture.judge(seen)
    assert adjusted_rand_score(label[inside], judged.label[inside]) > 0.95
    assert mixture.spread == 0.2 and set(judged.part) == set(range(4))


def test_one_molecule_is_one_class():
    found = find_classes(slices(np.zeros(160, int), molecules(1), ring=5, strength=1.2), seed=2)
    assert len(found.judges) == 1 and not found.empty.any()


def test_one_molecule_is_one_class_however_many_images_there_are():
    seen = on_grid(slices(np.zeros(3000, int), molecules(1), ring=3, strength=1.2), FourierGrid(3, 1.5, 0.4))
    equations = normal_equations(seen, principal_subspace(seen, 3, seed=0).table)
    classes, judged = settled(equations, np.arange(3000) % 2, 6, 0.05)
    assert len(classes) == 2  # each sorted by its own noise
    assert join_classes(seen, judged.label, np.array([[0, 1]]), Contrast(judged.contrast, judged.spread))[1] == 1


def test_three_molecules_of_a_few_images_each_are_found():
    label = np.arange(75) % 3
    found = find_classes(slices(label, molecules(3), ring=4, strength=5.0), seed=1)
    assert adjusted_rand_score(label, found.judged.label) > 0.95 and not found.empty.any()


def test_what_the_span_of_the_classes_lacks_is_found_in_what_they_leave(clean):
    together = np.zeros(COUNT, int)
    volumes = class_volumes(clean, together, 1)
    subspace = with_residual_modes(spanned(volumes, np.array([240.0]), 1), clean, together, volumes, 4, seed=0)
    assert subspace.modes.shape[1] == 4
    equations = normal_equations(clean, subspace.table)
    classes, judged = settled(equations, together, 1, 0.05)
    assert split_classes(equations, classes, judged)[1] == 1


def test_one_molecule_in_two_classes_is_joined_and_two_molecules_are_not(clean):
    halved = np.where((LABEL == 0) & (np.arange(COUNT) % 2 == 0), 3, LABEL)
    contrast = Contrast(np.ones(COUNT), 0.05)
    pairs = np.array([(one, two) for two in range(4) for one in range(two)])
    label, joined = join_classes(clean, halved, pairs, contrast)
    assert joined == 1 and adjusted_rand_score(LABEL, label) == 1
    assert join_classes(clean, LABEL, pairs[:3], contrast)[1] == 0
    assert join_classes(clean, LABEL, pairs[:3], contrast, most=2)[1] == 1
    assert join_classes(clean, LABEL, pairs[:0], contrast)[1] == 0


def test_two_strengths_of_one_molecule_are_joined():
    strong = np.arange(160) % 2 == 0
    seen = slices(np.zeros(160, int), molecules(1), ring=5, strength=1.2, contrast=np.where(strong, 1.3, 0.8))
    label, joined = join_classes(
        on_grid(seen, GRID), strong.astype(np.int64), np.array([[0, 1]]), Contrast(np.ones(160), 0.25)
    )
    assert joined == 1 and not label.any()


def test_two_molecules_in_one_class_are_split_and_one_is_not(clean):
    subspace = spanned(class_volumes(clean, LABEL, 3), np.full(3, COUNT / 3), 2)
    equations = normal_equations(clean, subspace.table)
    classes, judged = settled(equations, np.minimum(LABEL, 1), 1, 0.05)
    label, split = split_classes(equations, classes, judged)
    assert split == 1 and adjusted_rand_score(LABEL, label) > 0.95
    classes, judged = settled(equations, LABEL, 3, 0.05)
    assert split_classes(equations, classes, judged)[1] == 0
    sums = class_sums(equations, LABEL)
    np.testing.assert_array_equal(near_pairs(posterior(sums), sums), [[0, 1], [0, 2], [1, 2]])


def test_a_class_of_noise_predicts_no_other_noise(mixed):
    label, seen = mixed
    placed = on_grid(seen, GRID)
    predicted = held_out_likelihood(placed, np.where(label < 0, 3, label), Contrast(np.ones(COUNT), 0.2))
    total = np.bincount(np.where(label < 0, 3, label), predicted)
    assert (total[:3] > 100).all() and total[3] < 0


def test_a_set_without_junk_has_none():
    random = np.random.default_rng(0)
    assert not junk_of(random.normal(40, 5, 200), np.ones(200, bool)).any()
    mixed = np.concatenate([random.normal(40, 5, 180), random.normal(-20, 3, 20)])
    junk = junk_of(mixed, np.ones(200, bool))
    assert (junk[:180] < 0.01).all() and (junk[180:] > 0.99).all()
    assert not junk_of(mixed, np.zeros(200, bool)).any()


@pytest.fixture(scope="module")
def small():
    """Slices of eight molecules of twelve faint images each, in their classes."""
    label = np.repeat(np.arange(8), 12)
    seen = on_grid(slices(label, molecules(8), ring=5, strength=0.27), FourierGrid(5, 1.0, 0.4))
    now = Sorted(label, np.ones(len(label), np.float32), 0.05)
    return folded_by(seen, now), now


def test_small_classes_are_judged_empty_by_all_images_but_their_own(small):
    """Half of twelve images make too little of one molecule's volume; two parts of three do not."""
    folded, now = small
    halves = held_out_likelihood(folded.confined, now.label, Contrast(now.contrast, now.spread))
    assert class_search._empty(halves, now.label, 8).any()
    found = class_search._by_volumes(folded, now)
    assert len(found.judges) == 8 and not found.empty.any()


def test_it_is_told_how_many_classes_are_parts_of_molecules_that_change(small, monkeypatch, caplog):
    found = class_search._by_volumes(*small)
    monkeypatch.setattr(class_search, "molecules_of", lambda *_: np.array([0, 1, 0, 2, 3, 1, 0, 4]))
    with caplog.at_level(logging.INFO):
        assert class_search._of_molecules(small[0].confined, found, seed=0).molecules == 5
    assert caplog.messages == ["5 of 8 classes are parts of 2 molecule(s) that change"]


def test_all_particles_are_judged_with_the_spread_that_is_told():
    """Those that were searched, too: their contrasts are those of others, but for the noise of their volumes."""
    contrast = 1 + 0.3 * np.random.default_rng(5).normal(size=COUNT)
    seen = on_grid(slices(LABEL, molecules(3), ring=5, strength=1.2, contrast=contrast), FourierGrid(5, 1.0, 0.4))
    now = Sorted(LABEL, np.ones(COUNT, np.float32), 0.05)
    found = class_search._by_volumes(folded_by(seen, now), now)
    assert found.spread == pytest.approx(0.3, abs=0.06)
    assert isinstance(found.judges, ByVolumes) and found.judges.now.spread == found.spread
    other = judged_by(seen, found.judges.predictors, found.judges.log_share, found.spread, 3).contrast
    assert np.corrcoef(found.judged.contrast, other)[0, 1] > 0.99
    assert found.judged.spread == pytest.approx(found.spread, abs=0.02)
