"""What is no change of a molecule: its volume stronger or weaker, shifted and turned by little, as modes.

With the density ρ of the volume V(k) = ∫ ρ(r) exp(-2πi k·r) dr, r and 1/k in boxes, and P = ∫ r ρ exp(-2πi k·r) dr,

    ∂V / ∂d = -2πi k V                     shifted by d
    ∂V / ∂ω = -2πi k · (ω × P)             turned by ω radians about the origin, as ∇·(ω × r) = 0

so that an image whose contrast and pose are off by little has weights in V and in these six, whatever its view.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex

from libhetero.models.hype.latent.grid import FourierGrid, masked

CONTRAST = 0.15  # one standard deviation
SHIFT = 0.01  # of the box; twice this and twice `TURN` is the most that `residuals` takes off
TURN = float(np.radians(2))
COUNT = 7


def nuisance_modes(
    volumes: Complex[np.ndarray, "volumes points"], grid: FourierGrid
) -> Complex[np.ndarray, "volumes points 7"]:
    """Return the modes of volumes, one standard deviation of each: contrast, shifts along x, y, z, turns about x, y, z.

    Parameters
    ----------
    volumes : confined, on the grid.
    grid : of them.
    """
    index = np.indices(grid.shape).reshape(3, -1) - np.array([[0], [grid.reach], [grid.reach]])
    slope = (-2j * np.pi * index / grid.oversampling).astype(np.complex64)  # -2πi k
    along = (np.fft.fftfreq(grid.edge) * grid.oversampling).astype(np.float32)
    place = along[None, None, :], along[:, None, None], along[None, :, None]  # x, y, z on the axes y, z, x
    moment = [
        np.asarray(masked(jnp.asarray(volumes), jnp.broadcast_to(one, (grid.edge,) * 3), grid.reach)) for one in place
    ]
    modes = [CONTRAST * volumes, *(SHIFT * slope[axis] * volumes for axis in range(3))]
    for axis in range(3):
        second, third = (axis + 1) % 3, (axis + 2) % 3  # (e × P) has -P of the third along the second, and back
        modes.append(TURN * (slope[third] * moment[second] - slope[second] * moment[third]))
    return np.stack(modes, axis=2).astype(np.complex64)
