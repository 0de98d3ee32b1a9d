"""Particles of several images: one class by all of them, found where each alone says too little."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.class_search import LOW, find_classes, most_particles
from libhetero.models.hype.latent.classes import integrated_likelihood
from libhetero.models.hype.latent.grid import WIDTHS, FourierGrid, on_grid, one_pixel_a_point
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.residuals import fewer_where_wide
from libhetero.models.hype.latent.volumes import sums_of
from tests.making.slices import molecules, slices

VIEWS, COUNT = 5, 160
TRUTH = np.arange(COUNT) % 2
GRID = FourierGrid(5, 1.0, 0.4)


def series(strength: float) -> CentralSlices:
    return replace(slices(np.repeat(TRUTH, VIEWS), molecules(2), ring=5, strength=strength), views=VIEWS)


@pytest.fixture(scope="module")
def seen():
    """Particles of five images, of one of which nothing is known."""
    made = series(1.0)
    made.image[3 * VIEWS], made.transfer[3 * VIEWS] = 0, 0
    return made


def test_particles_are_counted_and_taken_whole(seen):
    assert len(seen) == COUNT and len(on_grid(seen, GRID)) == COUNT and seen.shown.all()
    some = seen.take(np.array([7, 2]))
    assert len(some) == 2 and some.views == VIEWS
    np.testing.assert_array_equal(some.image[:VIEWS], seen.image[7 * VIEWS : 8 * VIEWS])
    assert len(seen.within(3)) == COUNT and seen.at(seen.rotation, np.zeros((len(seen.rotation), 2))).views == VIEWS
    assert not replace(seen, transfer=0 * seen.transfer).shown.any()
    assert most_particles() > most_particles(VIEWS * 20) > 1000


def test_equations_of_a_particle_are_the_sums_of_its_images(seen):
    """Pixels of one point are one, which says the same of every volume: g, H, and the sums of classes."""
    alone, together = on_grid(replace(seen, views=1), GRID), on_grid(seen, GRID)
    assert together.point.shape[1] < 0.9 * VIEWS * alone.point.shape[1]
    random = np.random.default_rng(0).normal(size=(2, GRID.size, 3)).astype(np.float32)
    table = jnp.asarray(random[0] + 1j * random[1])
    one, all_of_it = normal_equations(alone, _hermitian(table)), normal_equations(together, _hermitian(table))
    for found, each in ((all_of_it.gradient, one.gradient), (all_of_it.hessian, one.hessian)):
        each = np.asarray(each).reshape(COUNT, VIEWS, -1).sum(axis=1)
        np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-3 * np.abs(each).max())


def _hermitian(table):
    """Return values at the points with those of kx = 0 conjugate to each other."""
    table = np.array(table)
    width = 2 * GRID.reach + 1
    plane = table[: width * width]
    table[: width * width] = (plane + plane[::-1].conj()) / 2
    return jnp.asarray(table)


def test_few_programs_are_compiled_for_blocks_of_particles(seen):
    """Blocks whose particles meet at different points have one of few widths."""
    width = {on_grid(seen.take(np.arange(start, start + 8)), GRID).point.shape[1] for start in range(0, COUNT, 8)}
    pixels = VIEWS * len(seen.within(GRID.ring).frequencies)
    assert len(width) <= 3 and all(one % -(-pixels // WIDTHS) == 0 for one in width) and max(width) <= 1.2 * pixels
    merged = on_grid(seen, GRID)
    assert merged.merged and one_pixel_a_point(merged) is merged and not on_grid(seen, GRID, False).merged
    assert fewer_where_wide(1024, 226) == 1024 and fewer_where_wide(1024, 4096) == 64 and fewer_where_wide(4, 9999) == 1


@pytest.mark.parametrize("merged", [True, False])
def test_sums_of_classes_are_those_of_all_images(seen, merged):
    alone, together = on_grid(replace(seen, views=1), GRID), on_grid(seen, GRID, merged)
    of_images = sums_of(alone, np.repeat(TRUTH, VIEWS), 2).whole()
    of_particles = sums_of(together, TRUTH, 2).whole()
    whole = GRID.size - (2 * GRID.reach + 1) ** 2  # points of kx > 0; of kx = 0 one of two stands for both
    for found, expected in ((of_particles.weight, of_images.weight), (of_particles.numerator, of_images.numerator)):
        np.testing.assert_allclose(
            found[..., -whole:], expected[..., -whole:], rtol=1e-4, atol=1e-4 * np.abs(expected).max()
        )
    np.testing.assert_allclose(of_particles.weight.sum(), of_images.weight.sum(), rtol=1e-5)


def test_all_images_of_a_particle_tell_its_class_where_one_says_too_little(monkeypatch):
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", (LOW,))
    faint = series(0.1)
    found = find_classes(faint, seed=1)
    assert found.molecules == 2
    assert adjusted_rand_score(TRUTH, found.labels(faint)) > 0.9
    alone = found.shown().judge(replace(faint, views=1)).label
    assert adjusted_rand_score(np.repeat(TRUTH, VIEWS), alone) < 0.8


def test_a_particle_has_one_contrast_for_all_of_its_images():
    """l and q are sums over them, so that its contrast is integrated over once."""
    linear, square = np.array([1.0, 0.5, -0.2]), np.array([2.0, 1.0, 0.5])
    once = integrated_likelihood(linear.sum(), square.sum(), 0.3, np)
    spread = np.linspace(-5, 5, 4001)
    prior = np.exp(-0.5 * spread**2) / np.sqrt(2 * np.pi)
    contrast = 1 + 0.3 * spread
    all_images = np.exp(sum(contrast * a - 0.5 * contrast**2 * b for a, b in zip(linear, square, strict=True)))
    assert once == pytest.approx(np.log(np.trapezoid(all_images * prior, spread)), abs=1e-6)
