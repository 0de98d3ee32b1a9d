"""Classes into which a molecule that changes was cut are one molecule; two molecules, and two states, are not."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent.continua import (
    BETWEEN,
    LEAST_IMAGES,
    LEAST_OF_EACH,
    UNSURE,
    _with_weights,
    between_both,
    molecules_of,
)
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.merges import Contrast, unsure
from libhetero.models.hype.latent.volumes import sums_of
from tests.making.slices import molecules, slices, transform

RING, EACH = 5.0, 160
GRID = FourierGrid(RING, 1.5, 0.4)
KNOWN = Contrast(np.ones(3 * EACH), 0.05)


def along(weight, other, seed=0):
    """Return slices of a molecule at places along one change, and of another where `other` says so."""
    made = slices(np.where(other, 1, 0), molecules(2), RING, strength=1.0, seed=seed)
    (position, amplitude), sign = (part[0] for part in molecules(1, seed=9)), np.repeat([1, -1], 6)
    mode = position, 0.7 * amplitude * sign
    for place in np.flatnonzero(~other):
        points = made.frequencies @ made.rotation[place, :2]
        made.image[place] += (weight[place] * made.transfer[place] * transform(mode, points)).astype(np.complex64)
    return on_grid(made, GRID)


@pytest.fixture(scope="module")
def places():
    """Places that lie evenly along the change, in two classes; the third class is another molecule."""
    weight = np.random.default_rng(3).uniform(-1.7, 1.7, 3 * EACH)
    return weight, np.where(np.arange(3 * EACH) < 2 * EACH, weight > 0, 2).astype(np.int64)


def test_a_continuum_that_was_cut_is_one_molecule_and_another_molecule_is_not(places):
    weight, label = places
    seen = along(weight, label == 2)
    np.testing.assert_array_equal(molecules_of(seen, label, 3, KNOWN, seed=0), [0, 0, 1])
    none = np.where(label == 1, -1, label)
    np.testing.assert_array_equal(molecules_of(seen, np.maximum(none - (none == 2), -1), 2, KNOWN, seed=0), [0, 1])


def test_two_states_are_two_molecules_whatever_else_changes(places):
    """As far apart as the continuum is long; a change in common does not make them one."""
    _, label = places
    random, state = np.random.default_rng(4), np.where(label == 1, 1.7, -1.7)
    inside = label < 2
    pair, contrast = np.array([[0, 1]]), Contrast(np.ones(inside.sum()), 0.05)
    for spread in (0.0, 0.2):
        seen = along(state + spread * random.normal(size=len(state)), label == 2).take(np.flatnonzero(inside))
        own = label[inside]
        assert between_both(seen, own, pair, sums_of(seen, own, 2), seed=0)[0] < BETWEEN
        np.testing.assert_array_equal(molecules_of(seen, own, 2, contrast, seed=0), [0, 1])


def test_two_molecules_whose_images_can_hardly_be_sorted_are_two(places):
    """As weak as that one image in twenty is sorted into the wrong class, where chance alone makes many unsure."""
    _, label = places
    inside = np.flatnonzero(label < 2)
    seen = on_grid(slices(label[inside], molecules(2), RING, strength=0.12), GRID)
    part = unsure(seen, label[inside], np.array([[0, 1]]), sums_of(seen, label[inside], 2), KNOWN.spread)[0]
    assert 0.03 < part < 0.12, part
    contrast = Contrast(np.ones(len(inside)), 0.05)
    np.testing.assert_array_equal(molecules_of(seen, label[inside], 2, contrast, seed=0), [0, 1])


def test_classes_of_a_few_images_are_left_as_they_are(places):
    weight, label = places
    few = np.flatnonzero(label < 2)[: LEAST_IMAGES - 1]
    seen = along(weight, label == 2).take(few)
    np.testing.assert_array_equal(molecules_of(seen, label[few], 2, Contrast(np.ones(len(few)), 0.05), seed=0), [0, 1])
    lone = np.array([0, *np.ones(len(few) - 1, np.int64)])
    assert 0 <= between_both(seen, lone, np.array([[0, 1]]), sums_of(seen, lone, 2), seed=0)[0] <= 0.5


def test_a_class_of_a_few_images_is_not_taken_into_a_large_one(places):
    """Cut off one end of a continuum, just below and just at the least number of images."""
    weight, label = places
    inside = np.flatnonzero(label < 2)
    ordered, seen = inside[np.argsort(weight[inside])], along(weight, label == 2)
    for few, found in ((LEAST_OF_EACH - 1, [0, 1]), (LEAST_OF_EACH, [0, 0])):
        own = (np.arange(len(ordered)) >= len(ordered) - few).astype(np.int64)
        contrast = Contrast(np.ones(len(ordered)), 0.05)
        np.testing.assert_array_equal(molecules_of(seen.take(ordered), own, 2, contrast, seed=0), found)


def test_a_large_swing_that_was_cut_many_times_is_one_molecule():
    """A part of a molecule turns by 120 degrees, which a few modes follow worse than volumes of all pieces would."""
    classes, each = 5, 160
    angle = np.sort(np.random.default_rng(0).uniform(-60, 60, classes * each))
    made = slices(np.full(len(angle), -1), molecules(1), ring=6.0, strength=0.8)
    still = [part[0] for part in molecules(1, seed=4)]
    position, amplitude = (part[0] for part in molecules(1, blobs=6, seed=8))
    turning = 0.5 * position + [0.12, 0, 0.05]
    for place, one in enumerate(angle):
        points = made.frequencies @ made.rotation[place, :2]
        turned = Rotation.from_euler("z", one, degrees=True).apply(turning), amplitude
        both = transform(still, points) + transform(turned, points)
        made.image[place] += (made.transfer[place] * both).astype(np.complex64)
    label, contrast = np.arange(len(angle)) // each, Contrast(np.ones(len(angle)), 0.05)
    found = molecules_of(on_grid(made, FourierGrid(6.0, 1.5, 0.4)), label, classes, contrast, seed=0)
    np.testing.assert_array_equal(found, np.zeros(classes))


def test_pairs_are_tried_a_few_at_a_time_with_the_same_outcome(places, monkeypatch):
    weight, label = places
    seen = along(weight, label == 2)
    pairs, sums = np.array([[0, 1], [0, 2], [1, 2]]), sums_of(seen, label, 3)
    whole = between_both(seen, label, pairs, sums, seed=0)
    monkeypatch.setattr("libhetero.models.hype.latent.continua.MOST_TOGETHER", 1)
    np.testing.assert_allclose(between_both(seen, label, pairs, sums, seed=0), whole, atol=1e-3)


def test_none_and_one_class_are_as_many_molecules(places):
    weight, label = places
    seen = along(weight, label == 2)
    assert molecules_of(seen, np.full(len(label), -1), 0, KNOWN, seed=0).shape == (0,)
    assert list(molecules_of(seen, np.zeros(len(label), np.int64), 1, KNOWN, seed=0)) == [0]


def test_images_are_unsure_where_classes_meet(places):
    weight, label = places
    seen = along(weight, label == 2)
    sums = sums_of(seen, label, 3)
    part = unsure(seen, label, np.array([[0, 1], [0, 2], [1, 2]]), sums, KNOWN.spread)
    assert part[0] > UNSURE and part[0] > 5 * part[1:].max()
    assert unsure(seen, label, np.zeros((0, 2), np.int64), sums, KNOWN.spread).shape == (0,)


def test_weights_of_one_distribution_are_integrated_over():
    """Against a sum over a fine grid of one weight, with the mean and the variance that were settled on."""
    random = np.random.default_rng(0)
    hessian = random.uniform(2, 6, 400)
    true = 0.8 + 0.5 * random.normal(size=400)
    gradient = hessian * true + np.sqrt(hessian) * random.normal(size=400)
    found, member = _with_weights(gradient[:, None], hessian[:, None, None], np.ones((1, 400)))
    assert (member == 1).all()
    grid = np.linspace(-4, 5, 3001)
    best = -np.inf
    for mean in np.linspace(0.7, 0.9, 9):
        for deviation in np.linspace(0.4, 0.6, 9):
            prior = np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)
            inside = np.exp(gradient[:, None] * grid - 0.5 * hessian[:, None] * grid**2) @ prior * (grid[1] - grid[0])
            best = max(best, np.log(inside).sum())
    assert found.sum() == pytest.approx(best, abs=0.1)


def test_two_distributions_find_two_states():
    random = np.random.default_rng(1)
    state = np.repeat([-3.0, 3.0], 150)
    gradient = 9 * state + 3 * random.normal(size=300)
    hessian = np.full((300, 1, 1), 9.0)
    first = (state < 0) ^ (np.arange(300) % 5 == 0)
    halves = np.stack([first, ~first])
    found, member = _with_weights(gradient[:, None], hessian, halves)
    assert np.mean((member[0] > 0.5) == (state < 0)) > 0.99 and member.min(axis=0).mean() < 2e-3
    assert found.sum() > _with_weights(gradient[:, None], hessian, np.ones((1, 300)))[0].sum() + 100
