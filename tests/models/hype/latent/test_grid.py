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


def test_moments_are_i_times_the_gradient_of_the_transform():
    points, molecule = points_of(GRID), [part[0] for part in molecules(1)]
    volume = transform(molecule, points, 0.06).astype(np.complex64)
    support = np.ones((GRID.edge,) * 3, np.float32)
    found = np.asarray(GRID.with_moments(jnp.asarray(volume), support))
    np.testing.assert_allclose(found[0], np.asarray(GRID.unsmoothed(volume[None]))[0], atol=1e-4)
    assert not np.asarray(GRID.with_moments(jnp.asarray(volume), 0 * support)).any()
    step, shown = 1e-3, GRID.radius < 0.9 * GRID.ring
    smooth = np.asarray(GRID.interpolated(np.stack([found[1:].real.T, found[1:].imag.T], axis=1), points[shown]))
    for axis in range(3):
        off = step * np.eye(3)[axis]
        gradient = (transform(molecule, points + off, 0.06) - transform(molecule, points - off, 0.06)) / (2 * step)
        between = 1j * gradient[shown]
        assert np.linalg.norm(smooth[:, 0, axis] + 1j * smooth[:, 1, axis] - between) < 0.25 * np.linalg.norm(between)


def test_a_volume_in_space_is_centred_on_the_first_voxel_and_grids_follow_each_other_in_a_table():
    points = points_of(GRID)
    one = np.array([[0.2, 0.0, -0.1]]), np.ones(1)
    volume = transform(one, points, 0.06).astype(np.complex64)
    seen = np.asarray(GRID.in_space(volume))
    highest = np.array(np.unravel_index(seen.argmax(), seen.shape))
    along = np.fft.fftfreq(GRID.edge) * GRID.oversampling
    np.testing.assert_allclose(along[highest], [0.0, -0.1, 0.2], atol=GRID.oversampling / GRID.edge)  # y, z, x
    table = np.stack([volume.real, volume.imag], axis=1)[:, :, None]
    both = np.concatenate([0 * table, table])
    chosen = points[(GRID.radius < 4) & (GRID.radius > 1)][:20]
    np.testing.assert_allclose(
        GRID.interpolated(both, chosen, GRID.size), GRID.interpolated(table, chosen), rtol=1e-6, atol=1e-6
    )
    assert not np.asarray(GRID.interpolated(both, chosen)).any()


def test_a_volume_of_any_box_and_pixel_is_read_at_the_points():
    """Blobs on a grid of other edges and voxels, by the transform of blobs."""
    shown = molecules(1, reach=0.15)
    (position, weight), width, pixel = [part[0] for part in shown], 0.05, 1 / 34
    along = [(np.arange(edge) - edge // 2) * pixel for edge in (30, 33, 28)]
    z, y, x = np.meshgrid(*along, indexing="ij")
    places = np.stack([x, y, z], axis=-1)[..., None, :] - position
    volume = (weight * np.exp(-(places**2).sum(-1) / (2 * width**2))).sum(-1) * (
        pixel / np.sqrt(2 * np.pi) / width
    ) ** 3
    found = GRID.of_volume(volume + 0.3 * volume.max(), pixel)  # with a background
    expected = transform((position, weight), points_of(GRID), width)
    inside = GRID.radius < 6
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.01 * np.abs(expected).max())
