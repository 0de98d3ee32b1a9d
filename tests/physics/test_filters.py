"""The low-pass filter keeps coarse waves, removes fine ones, leaves the mean."""

import numpy as np
import pytest

from libhetero.physics.filters import lowpass_volume


@pytest.mark.parametrize("cycles, kept", [(0, 1.0), (2, 1.0), (4, 0.5), (6, 0.0)])
def test_waves_pass_or_do_not(cycles, kept):
    n, pixel_size = 16, 2.0
    wave = np.cos(2 * np.pi * cycles * (np.arange(n) - n // 2) / n)
    volume = np.broadcast_to(wave[:, None, None], (n, n, n)).astype(np.float32)
    resolution = n * pixel_size / 4 * 1.05  # half way down the edge at 4 cycles a box
    filtered = np.asarray(lowpass_volume(volume, pixel_size, resolution))
    np.testing.assert_allclose(filtered, kept * volume, atol=0.02)
