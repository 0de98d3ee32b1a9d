"""Images predicted by the other images of a class: identities, a slow twin, and contrast integrated over."""

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid
from libhetero.models.hype.latent.predictive import Sorted, against_all, against_some, class_tables
from tests.making.slices import molecules, slices

GRID = FourierGrid(3, 1.0, 0.4)
COUNT, PIXELS, CLASSES = 60, 20, 4
LABEL = np.arange(COUNT) % CLASSES
SURE = 1e-4  # spread of contrast: none


@pytest.fixture(scope="module")
def drawn():
    """Images whose pixels are at points of their own: then the likelihood is the ratio of two evidences."""
    random = np.random.default_rng(2)
    point = np.stack([random.permutation(GRID.size)[:PIXELS] for _ in range(COUNT)])
    image = random.normal(size=(COUNT, PIXELS, 2)) @ [1, 1j]
    transfer = random.normal(size=(COUNT, PIXELS))
    return OnGrid(GRID, jnp.asarray(point), jnp.asarray(image, jnp.complex64), jnp.asarray(transfer, jnp.float32))


@pytest.fixture(scope="module")
def inverse():
    return np.random.default_rng(4).uniform(0.2, 2.0, GRID.size).astype(np.float32)


def tables_of(seen, label, inverse, contrast=None):
    contrast = np.ones(len(label)) if contrast is None else contrast
    return class_tables(seen, label, CLASSES, inverse, contrast)


def test_the_likelihood_of_an_image_is_what_it_adds_to_the_evidence(drawn, inverse):
    """log p(x | images) = log p(images, x) - log p(images), by the chain rule, of its own class and of the others."""
    now = Sorted(LABEL, np.ones(COUNT), SURE)
    every = np.tile(np.arange(CLASSES), (COUNT, 1))
    found = against_some(drawn, tables_of(drawn, LABEL, inverse), now, every)
    likelihood = np.empty((COUNT, CLASSES))
    own = found.candidate == LABEL[:, None]
    prior = np.where(own, now.own_shares()[:, None], now.shares(CLASSES)[found.candidate])
    np.put_along_axis(likelihood, found.candidate, found.joint - prior, 1)
    for image in (0, 17, 42):
        without = np.where(np.arange(COUNT) == image, -1, LABEL)
        before = tables_of(drawn, without, inverse).evidence()
        for one in range(CLASSES):
            inside = np.where(np.arange(COUNT) == image, one, LABEL)
            added = tables_of(drawn, inside, inverse).evidence()[one] - before[one]
            assert likelihood[image, one] == pytest.approx(added, abs=2e-3)


def test_evidence_against_a_slow_twin(drawn, inverse):
    """log N(x; 0, 1 + τ t τᵀ) - log N(x; 0, 1) of the stacked pixels at each point."""
    point, image, transfer = (np.asarray(part) for part in (drawn.point, drawn.image, drawn.transfer))
    total = 0.0
    for at in range(GRID.size):
        hit = (point == at) & (LABEL == 1)[:, None]
        x, tau = image[hit].astype(complex), transfer[hit].astype(float)
        covariance = np.eye(len(x)) + np.outer(tau, tau) / inverse[at]
        gain = np.vdot(x, x).real - np.vdot(x, np.linalg.solve(covariance, x)).real
        total += gain - np.linalg.slogdet(covariance)[1]
    assert tables_of(drawn, LABEL, inverse).evidence()[1] == pytest.approx(total, rel=1e-4)


def test_two_classes_as_one_are_their_images_together(drawn, inverse):
    tables = tables_of(drawn, LABEL, inverse)
    together = tables_of(drawn, np.where(LABEL == 3, 1, LABEL), inverse).evidence()[1]
    assert tables.joined_evidence(np.array([1]), np.array([3]))[0] == pytest.approx(together, rel=1e-5)


def test_all_classes_and_some_agree_and_the_likeliest_is_first(drawn, inverse):
    contrast = np.random.default_rng(1).uniform(0.7, 1.3, COUNT)
    tables, now = tables_of(drawn, LABEL, inverse, contrast), Sorted(LABEL, contrast, 0.2)
    some = against_some(drawn, tables, now, np.tile(np.arange(CLASSES), (COUNT, 1)))
    assert np.all(np.diff(some.joint, axis=1) <= 0)
    for count in (1, 2, 3):  # of all classes, images asked again are those that are likeliest by themselves
        few = against_all(drawn, tables, now, count)
        np.testing.assert_array_equal(few.candidate, some.candidate[:, :count])


def test_contrast_is_integrated_over(drawn, inverse):
    """∫ N(α; 1, s²) p(x | N, a, α) dα by quadrature, and the mean of α under it."""
    spread, image = 0.3, 5
    label = np.where(np.arange(COUNT) == image, -1, LABEL)
    tables = tables_of(drawn, label, inverse)
    now = Sorted(LABEL, np.zeros(COUNT), spread)  # a contrast of 0: nothing to take out
    found = against_some(drawn, tables, now, np.full((COUNT, 1), 2))
    at, x, tau = (np.asarray(part)[image] for part in (drawn.point, drawn.image, drawn.transfer))
    full = np.asarray(tables.weight)[at, 2] + inverse[at]
    mean = np.asarray(tables.numerator)[at, 2] @ [1, 1j] / full
    alpha = np.linspace(-2, 4, 6001)
    rest = np.abs(x[:, None] - alpha * (tau * mean)[:, None]) ** 2
    variance = 1 + tau**2 / full
    log = (np.abs(x) ** 2 - np.log(variance)).sum() - (rest / variance[:, None]).sum(axis=0)
    prior = np.exp(-0.5 * ((alpha - 1) / spread) ** 2) / np.sqrt(2 * np.pi) / spread
    weight = prior * np.exp(log)
    step = alpha[1] - alpha[0]
    own = LABEL[image] == 2
    expected = np.log(weight.sum() * step) + (now.own_shares()[image] if own else now.shares(CLASSES)[2])
    assert found.joint[image, 0] == pytest.approx(expected, abs=1e-3)
    assert found.contrast[image] == pytest.approx((alpha * weight).sum() / weight.sum(), abs=1e-3)
    assert found.square[image] == pytest.approx((alpha**2 * weight).sum() / weight.sum(), abs=1e-3)


def test_classes_without_images_take_none(drawn, inverse):
    label = np.where(LABEL == 3, 0, LABEL)
    found = against_all(drawn, tables_of(drawn, label, inverse), Sorted(label, np.ones(COUNT), SURE), CLASSES)
    assert 3 not in found.label


def test_images_of_strong_signal_have_finite_likelihoods():
    """Variances of the lowest rings are thousands of times the noise: their product must not be infinite."""
    label = np.arange(40) % 2
    seen = on_grid(slices(label, molecules(2), ring=3, strength=300.0), GRID)
    inverse = np.full(GRID.size, 1e-8, np.float32)
    tables = class_tables(seen, label, 2, inverse, np.ones(40))
    found = against_all(seen, tables, Sorted(label, np.ones(40), 0.05), 2)
    assert np.isfinite(found.joint).all()
    few = np.where(np.arange(40) < 38, 0, 1)  # a class of two images, which cover hardly a point
    tables = class_tables(seen, few, 2, inverse, np.ones(40))
    assert np.isfinite(against_all(seen, tables, Sorted(few, np.ones(40), 0.05), 2).joint).all()


def test_an_image_does_not_count_in_the_part_of_its_own_class():
    now = Sorted(np.array([0, 0, 0, 1]), np.ones(4), SURE)
    np.testing.assert_allclose(now.shares(3)[:2], np.log([3 / 4, 1 / 4]), rtol=1e-6)
    np.testing.assert_allclose(now.own_shares(), np.log([2 / 4, 2 / 4, 2 / 4, 0.5 / 4]), rtol=1e-6)
    assert now.shares(3)[2] < -1e20
