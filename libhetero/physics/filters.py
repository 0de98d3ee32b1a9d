"""Filters of real-space maps."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import fourier_volume, frequencies_3d, real_volume
from libhetero.physics.masks import cosine_edge

EDGE = 0.1


def lowpass_volume(volume: Float[AnyArray, "n n n"], pixel_size: float, resolution: float) -> Float[Array, "n n n"]:
    """Remove what is finer than `resolution`: 1 up to s = 1/d, ½(1 + cos) to 1.1/d, then 0.

    Parameters
    ----------
    volume : (z, y, x).
    pixel_size : Å.
    resolution : d, Å.
    """
    n = volume.shape[-1]
    frequency = np.linalg.norm(frequencies_3d(n), axis=-1) / pixel_size
    cutoff = 1 / resolution
    window = cosine_edge(jnp.asarray(frequency), cutoff, EDGE * cutoff)
    return real_volume(fourier_volume(volume) * window, n)
