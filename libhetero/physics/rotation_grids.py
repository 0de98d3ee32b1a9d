"""Rotations spread evenly: over all of SO(3), and about one of them."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

PSI = 1.533751168755204288118041  # the root of x⁴ = x + 4


def even_rotations(spacing: float) -> Float[np.ndarray, "rotations 3 3"]:
    """Return rotations that are about as far from their nearest as a spacing, spread evenly over SO(3).

    With s = i + ½ of n, r = √(s / n), R = √(1 - s / n), α = 2π s / √2 and β = 2π s / ψ, the quaternions
    (r sin α, r cos α, R sin β, R cos β); n is such that each has the volume of a cube of that spacing, 8π² / n.

    Parameters
    ----------
    spacing : radians.

    References
    ----------
    Alexa, Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3), CVPR 2022.
    """
    count = max(1, math.ceil(8 * np.pi**2 / spacing**3))
    place = np.arange(count) + 0.5
    inner, outer = np.sqrt(place / count), np.sqrt(1 - place / count)
    alpha, beta = 2 * np.pi * place / np.sqrt(2), 2 * np.pi * place / PSI
    quaternion = [inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)]
    return Rotation.from_quat(np.stack(quaternion, axis=1)).as_matrix()


def turns_within(radius: float, spacing: float) -> Float[np.ndarray, "turns 3"]:
    """Return rotation vectors of a cubic grid, radians, up to a length, no turn at all among them."""
    return _ball(3, radius, spacing)


def shifts_within(radius: float, spacing: float) -> Float[np.ndarray, "shifts 2"]:
    """Return shifts of a square grid up to a length, none at all among them."""
    return _ball(2, radius, spacing)


def _ball(dimensions: int, radius: float, spacing: float) -> Float[np.ndarray, "points dimensions"]:
    steps = int(radius / spacing + 1e-6)
    along = np.arange(-steps, steps + 1) * spacing
    points = np.stack(np.meshgrid(*[along] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    kept: np.ndarray = points[np.linalg.norm(points, axis=1) <= radius * (1 + 1e-6)]
    return kept
