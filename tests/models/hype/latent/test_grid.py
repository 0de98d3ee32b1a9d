"""The Fourier grid: nearest points, and what a ball keeps of a volume."""

import jax.numpy as jnp
import numpy as np

from libhetero.models.hype.latent.grid import FourierGrid, few_sizes, on_grid
from tests.making.slices import molecules, points_of, slices, transform

GRID = FourierGrid(6, 1.5, 0.4)


def test_slices_take_the_nearest_point_and_its_conjugate_beyond_the_half_space():
    shown = molecules(1)
    seen = slices(np.zeros(20, int), shown)
    placed = on_grid(seen, GRID)
    wanted = seen.frequencies @ seen.rotation[:, :2]
    turned = wanted[..., 0] < 0
    wanted = np.where(turned[..., None], -wanted, wanted)
    off = points_of(GRID)[np.asarray(placed.point)] - wanted
    assert np.abs(off).max() <= 0.5 / GRID.oversampling + 1e-4
    np.testing.assert_array_equal(placed.image, np.where(turned, seen.image.conj(), seen.image))
    np.testing.assert_allclose(placed.scaled(np.full(20, 2.0)).transfer, 2 * seen.transfer)
    assert placed.half.sum() == 10 and len(set(placed.half[::2])) == 2


def test_a_ball_keeps_what_is_in_it_and_nothing_else():
    points = points_of(GRID)
    inside = np.array([[[0.1, -0.2, 0.05], [-0.15, 0.1, 0.2]]]), np.ones((1, 2))
    outside = np.array([[[0.55, 0.3, -0.45]]]), np.ones((1, 1))
    volumes = np.stack([transform([part[0] for part in one], points, 0.06) for one in (inside, outside)])
    kept = np.asarray(GRID.confined(jnp.asarray(volumes, jnp.complex64)))
    shown = GRID.radius <= GRID.ring
    assert np.linalg.norm((kept - volumes)[0, shown]) < 0.05 * np.linalg.norm(volumes[0, shown])
    assert np.linalg.norm(kept[1]) < 0.05 * np.linalg.norm(volumes[1])
    np.testing.assert_allclose(GRID.radius, np.linalg.norm(points, axis=1))


def test_few_sizes_hold_every_number():
    assert [few_sizes(count) for count in (0, 1, 5, 64, 65, 200)] == [4, 4, 16, 64, 128, 256]
