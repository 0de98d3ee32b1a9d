"""Images predicted by volumes of other images: densities, what volumes are off by, and contrast integrated over."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid
from libhetero.models.hype.latent.predictive import (
    FOLDS,
    Folded,
    Sorted,
    against_all,
    against_some,
    judged_by,
    own_joint,
    predicted,
    predictors_of,
    shells_of,
)
from libhetero.models.hype.latent.volumes import signal_power, sums_of
from tests.making.slices import molecules, slices

GRID = FourierGrid(3, 1.0, 0.4)
COUNT, CLASSES = 90, 3
LABEL = np.arange(COUNT) % CLASSES
SURE = 1e-4  # spread of contrast: none


@pytest.fixture(scope="module")
def folded():
    seen = on_grid(slices(LABEL, molecules(CLASSES), ring=3, strength=1.5), GRID)
    return Folded.of(seen, signal_power(sums_of(seen, LABEL, CLASSES), GRID))


@pytest.fixture
def now():
    return Sorted(LABEL, np.ones(COUNT, np.float32), SURE)


def test_the_likelihood_is_that_of_the_image_under_the_volume_and_what_it_is_off_by():
    """log CN(x; α τ V, 1 + τ² v) - log CN(x; 0, 1), pixel by pixel."""
    random = np.random.default_rng(1)
    image, volume = (random.normal(size=(*shape, 2)) @ [1, 1j] for shape in ((7,), (7, 2)))
    transfer, variance = random.normal(size=7), random.uniform(0.1, 3, (7, 2))
    found = predicted(*map(jnp.asarray, (image, transfer, volume.real, volume.imag, variance)))
    linear, square, rest = map(np.asarray, found)
    for contrast in (0.0, 1.0, -0.7):
        wide = 1 + transfer[:, None] ** 2 * variance
        off = np.abs(image[:, None] - contrast * transfer[:, None] * volume) ** 2
        expected = (np.abs(image[:, None]) ** 2 - off / wide - np.log(wide)).sum(axis=0)
        np.testing.assert_allclose(contrast * linear - contrast**2 / 2 * square + rest, expected, rtol=1e-4)


def test_no_image_speaks_for_itself(folded, now):
    """What predicts the images of a part stays where these are others."""
    other = np.asarray(folded.seen.image).copy()
    other[folded.fold == 1] *= -3
    changed = replace(folded, seen=replace(folded.seen, image=jnp.asarray(other)))
    before, after = (list(one.predictors(now, CLASSES)) for one in (folded, changed))
    for fold in range(FOLDS):
        same = np.array_equal(before[fold].real, after[fold].real)
        assert same == (fold == 1)
    assert sorted(np.concatenate([rows for rows, _ in folded.parts])) == list(range(COUNT))


def test_images_are_of_the_class_that_predicts_them(folded, now):
    found = against_all(folded, now, CLASSES)
    assert np.mean(found.label == LABEL) > 0.97
    np.testing.assert_allclose(own_joint(folded, now)[found.label == LABEL], found.joint[found.label == LABEL, 0])
    left = replace(now, label=np.where(LABEL == 2, -1, LABEL))
    assert np.all(own_joint(folded, left)[LABEL == 2] == 0)


def test_all_classes_and_some_agree_and_the_likeliest_is_first(folded):
    contrast = np.random.default_rng(1).uniform(0.7, 1.3, COUNT).astype(np.float32)
    now = Sorted(LABEL, contrast, 0.2)
    some = against_some(folded, now, np.tile(np.arange(CLASSES), (COUNT, 1)))
    assert np.all(np.diff(some.joint, axis=1) <= 0)
    for count in (1, 2, 3):
        few = against_all(folded, now, count)
        np.testing.assert_array_equal(few.candidate, some.candidate[:, :count])
        np.testing.assert_allclose(few.joint, some.joint[:, :count], rtol=1e-6)


def test_classes_without_images_take_none(folded, now):
    moved = replace(now, label=np.where(LABEL == 1, 0, LABEL))
    assert 1 not in against_all(folded, moved, CLASSES).label
    np.testing.assert_allclose(now.shares(4)[:3], np.log(1 / 3), rtol=1e-6)
    assert now.shares(4)[3] < -1e20


def test_what_volumes_are_off_by_is_told_by_images_that_they_were_not_made_of(folded):
    """Volumes off by noise of a known variance in each shell; classes of more images are off by less."""
    random = np.random.default_rng(5)
    shell = shells_of(GRID)
    power = np.array([9.0, 6.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0])[shell]
    true = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1])
    volumes = (random.normal(size=(2, GRID.size, 2)) @ [1, 1j]) * np.sqrt(power / 2)
    count, pixels, label = 4000, 40, np.arange(4000) % 2
    inside = np.flatnonzero((GRID.radius <= 3) & (GRID.radius > 0.5))
    point = np.stack([random.choice(inside, pixels, replace=False) for _ in range(count)])
    transfer = random.uniform(0.5, 1.5, (count, pixels))
    noise, off = (random.normal(size=(count, pixels, 2)) @ [1, 1j] / np.sqrt(2) for _ in range(2))
    values = volumes[label[:, None], point] + off * np.sqrt(true[shell[point]])
    seen = OnGrid(
        GRID,
        jnp.asarray(point),
        jnp.asarray(transfer * values + noise, jnp.complex64),
        jnp.asarray(transfer, jnp.float32),
    )
    found = predictors_of(volumes.astype(np.complex64), np.array([50, 50]), seen, label, power)
    np.testing.assert_allclose(found.variance[1:4, 0], true[1:4], rtol=0.1)
    np.testing.assert_allclose(found.variance[1:4, 1], found.variance[1:4, 0])
    more = predictors_of(volumes.astype(np.complex64), np.array([25, 75]), seen, label, power)
    assert np.all(more.variance[1:4, 0] > found.variance[1:4, 0])
    assert np.all(more.variance[1:4, 1] < found.variance[1:4, 1])
    least = predictors_of(volumes.astype(np.complex64), np.array([50, 50]), seen, label, power, 0.5)
    assert np.all(least.variance[1:4] >= 0.5 * np.array([6.0, 4.0, 2.0])[:, None] * (1 - 1e-6))


def test_volumes_of_all_images_are_for_others(folded, now):
    others = on_grid(slices(LABEL, molecules(CLASSES), ring=3, strength=1.5, seed=9), GRID)
    found = judged_by(others, folded.whole(now, CLASSES), now.shares(CLASSES), SURE, 2)
    assert found.candidate.shape == (COUNT, 2) and np.mean(found.label == LABEL) > 0.97


def test_contrast_is_integrated_over(folded):
    """∫ N(α; 1, s²) p(x | V, α) dα by quadrature, and the mean of α under it."""
    spread, image = 0.3, 5
    now = Sorted(LABEL, np.ones(COUNT, np.float32), spread)
    found = against_some(folded, now, np.full((COUNT, 1), 2))
    predictors = list(folded.predictors(now, CLASSES))[folded.fold[image]]
    at, x, tau = (np.asarray(part)[image] for part in (folded.seen.point, folded.seen.image, folded.seen.transfer))
    mean = predictors.real[at, 2] + 1j * predictors.imaginary[at, 2]
    alpha = np.linspace(-2, 4, 6001)
    rest = np.abs(x[:, None] - alpha * (tau * mean)[:, None]) ** 2
    wide = 1 + tau**2 * predictors.variance[predictors.shell[at], 2]
    log = (np.abs(x) ** 2 - np.log(wide)).sum() - (rest / wide[:, None]).sum(axis=0)
    weight = np.exp(-0.5 * ((alpha - 1) / spread) ** 2) / np.sqrt(2 * np.pi) / spread * np.exp(log - log.max())
    expected = np.log(weight.sum() * (alpha[1] - alpha[0])) + log.max() + now.shares(CLASSES)[2]
    assert found.joint[image, 0] == pytest.approx(expected, abs=5e-3)
    assert found.contrast[image] == pytest.approx((alpha * weight).sum() / weight.sum(), abs=1e-3)
    assert found.square[image, 0] == pytest.approx((alpha**2 * weight).sum() / weight.sum(), abs=1e-3)


def test_images_of_strong_signal_have_finite_likelihoods():
    """Variances of the lowest rings are thousands of times the noise: their product must not be infinite."""
    label = np.arange(40) % 2
    seen = on_grid(slices(label, molecules(2), ring=3, strength=300.0), GRID)
    strong = Folded.of(seen, np.full(GRID.size, 1e8, np.float32))
    for few in (label, np.where(np.arange(40) < 38, 0, 1)):  # a class of two images covers hardly a point
        assert np.isfinite(against_all(strong, Sorted(few, np.ones(40, np.float32), 0.05), 2).joint).all()
