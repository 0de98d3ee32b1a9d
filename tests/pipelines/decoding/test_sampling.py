"""Particles that stand for a whole set."""

import numpy as np

from libhetero.pipelines.decoding.sampling import spread_indices


def test_particles_are_evenly_spread() -> None:
    np.testing.assert_array_equal(spread_indices(10, 3), [0, 3, 6])
    np.testing.assert_array_equal(spread_indices(3, 100), [0, 1, 2])
