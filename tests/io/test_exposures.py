"""Exposure before an image, as lists state it, and up to its middle, as the signal fades by it."""

import numpy as np
import pytest

from libhetero.io.exposures import exposure_before, exposure_to_middle, own_exposure


def series(particles: int = 3, tilts: int = 5, dose: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the exposure before each image of some tilt series, and the particle that each shows."""
    return np.tile(dose * np.arange(tilts), particles), np.repeat(np.arange(particles), tilts)


def test_half_of_the_images_own_exposure_is_added_and_taken_off_again() -> None:
    before, particle = series()
    middle = exposure_to_middle(before, particle)
    np.testing.assert_allclose(middle, before + 1.5)
    np.testing.assert_array_equal(exposure_before(middle, particle), before)
    np.testing.assert_allclose(exposure_to_middle(before, particle, own=2.0), before + 1)
    np.testing.assert_allclose(exposure_before(before + 1, particle, own=2.0), before)


@pytest.mark.parametrize("kept", [[0, 3, 4], [0, 1, 4], [2, 3]])
def test_rows_in_any_order_and_series_with_gaps_have_the_same_own_exposure(kept: list[int]) -> None:
    before, particle = series()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(np.arange(15) % 5, kept)))
    assert own_exposure(before[rows], particle[rows]) == 3.0
    middle = exposure_to_middle(before[rows], particle[rows])
    np.testing.assert_allclose(exposure_before(middle, particle[rows]), before[rows])


def test_images_listed_twice_and_one_odd_particle_do_not_count() -> None:
    before, particle = series()
    before[4:6] += 0.5  # the last image of a particle began later, the first of the next too
    assert own_exposure(np.tile(before, 2), np.tile(particle, 2)) == 3.0


def test_single_images_have_none_of_their_own() -> None:
    before = np.array([0.0, 6.0, 12.0])
    np.testing.assert_array_equal(exposure_to_middle(before, np.arange(3)), before)
    np.testing.assert_array_equal(exposure_before(before, np.arange(3)), before)
    assert own_exposure(np.zeros(0), np.zeros(0, int)) == 0
