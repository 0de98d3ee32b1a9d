"""Which particles there are."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.pipelines.decoding.latents import check_indices


def test_particles_are_numbered_from_0_to_one_less_than_there_are() -> None:
    np.testing.assert_array_equal(check_indices(np.array([4, 0]), 5, "--particles"), [4, 0])
    for wrong in (5, -1):
        with pytest.raises(
            ConfigurationError, match=f"--particles: there is no particle {wrong}; there are 5, .* 0 to 4"
        ):
            check_indices(np.array([0, wrong]), 5, "--particles")
