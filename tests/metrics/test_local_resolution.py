"""Local resolution is that of the half-maps where one looks; without anything in common, the window's width tells."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.metrics.local_resolution import (
    BYTES,
    _in_windows,
    hann_window,
    interpolated,
    local_resolution,
    window_width,
)
from libhetero.physics.correlation import shell_index

N, PIXEL = 48, 2.0
FINE, COARSE = 12, 6  # shells up to which half-maps agree, right and left


@pytest.fixture(scope="module")
def found() -> np.ndarray:
    """Local resolution of half-maps that agree to 8 Å at x > 0 and to 16 Å at x < 0."""
    random = np.random.default_rng(0)
    common, *own = random.normal(size=(3, N, N, N))
    right = np.arange(N) >= N // 2

    def up_to(volume: np.ndarray, shell: int) -> np.ndarray:
        return np.fft.irfftn(np.fft.rfftn(volume) * (shell_index(N) <= shell), s=volume.shape, axes=(0, 1, 2))

    halves = []
    for noise in own:
        sides = [up_to(common, shell) + (noise - up_to(noise, shell)) for shell in (COARSE, FINE)]
        halves.append(np.where(right, sides[1], sides[0]))
    return local_resolution(1e5 * np.array(halves, np.float32), PIXEL, 8.0)


def test_each_side_has_its_own_resolution(found: np.ndarray) -> None:
    middle = slice(N // 4, 3 * N // 4)
    left, right = found[middle, middle, 8:14], found[middle, middle, -14:-8]
    np.testing.assert_allclose(np.median(left), N * PIXEL / COARSE, rtol=0.2)
    np.testing.assert_allclose(np.median(right), N * PIXEL / FINE, rtol=0.2)
    assert found.shape == (N, N, N) and found.dtype == np.float32


def test_what_has_nothing_in_common_is_about_as_coarse_as_the_window() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 24, 24, 24)).astype(np.float32)
    told = local_resolution(noise, PIXEL, 8.0)
    width = window_width(24, PIXEL, 8.0) * PIXEL
    assert told.max() <= width and np.median(told) > 0.5 * width


def test_maps_that_are_equal_reach_the_last_shell_of_a_window_and_empty_ones_none() -> None:
    same = np.repeat(np.random.default_rng(2).normal(size=(1, 24, 24, 24)).astype(np.float32), 2, axis=0)
    width = window_width(24, PIXEL, 8.0)
    np.testing.assert_allclose(local_resolution(same, PIXEL, 8.0), width * PIXEL / (width // 2 - 1), rtol=1e-5)
    np.testing.assert_allclose(local_resolution(0 * same, PIXEL, 8.0), width * PIXEL / 1.5)


def test_a_window_is_even_fits_the_box_and_is_soft() -> None:
    assert [window_width(256, 1.0, finest) for finest in (1.0, 4.0, 100.0)] == [12, 28, 256]
    window = hann_window(12)
    assert window[6, 6, 6] == window.max() == 1.0 and window[0].max() == 0.0


def test_wide_windows_take_no_more_memory_than_narrow_ones() -> None:
    width = 96
    shapes = [((2, 2 * width, 2 * width, 2 * width), jnp.float32), ((64, 3), jnp.int32), ((width,) * 3, jnp.float32)]
    lowered = _in_windows.lower(*(jax.ShapeDtypeStruct(*one) for one in shapes))
    assert lowered.compile().memory_analysis().temp_size_in_bytes < BYTES


def test_voxels_between_points_are_interpolated_a_section_at_a_time() -> None:
    coarse = np.add.outer(np.add.outer(9.0 * np.arange(10), 3.0 * np.arange(10)), np.arange(10.0))
    tracemalloc.start()
    found = interpolated(coarse, 64, 7)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    along = np.minimum(np.arange(64) / 7, 9)
    np.testing.assert_allclose(found, 9 * along[:, None, None] + 3 * along[:, None] + along, rtol=1e-6)
    assert peak < 2 * found.nbytes
