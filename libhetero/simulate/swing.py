"""How far pieces must turn for a wanted mean RMSD of the atoms.

A point at distance r from its piece's axis is displaced by 2 r sin(|θ| / 2) when the piece turns
by θ, so with A points in all and S_k = Σ_{i in piece k} r_i² / A, a particle's RMSD from the unturned
structure is

    RMSD(θ) = √( Σ_k 4 S_k sin²(θ_k / 2) )

and its mean over angles uniform in ± m grows with m up to half a turn.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from libhetero.errors import ConfigurationError
from libhetero.simulate.structures import Hinges, PointTable

DRAWS = 2**16  # of angles; the mean is then right to about 0.2 %


def mean_rmsd(spread: Float[np.ndarray, "pieces"], max_angle: float, deviates: Float[np.ndarray, "n pieces"]) -> float:
    """Return the mean over draws of the RMSD from the unturned structure, Å.

    Parameters
    ----------
    spread : S_k of every moving piece, Å².
    max_angle : radians; the angles are `deviates` times this.
    deviates : uniform in ± 1.
    """
    return float(np.sqrt(4 * np.sin(0.5 * max_angle * deviates) ** 2 @ spread).mean())


def spread_about_axes(points: PointTable, hinges: Hinges) -> Float[np.ndarray, "pieces"]:
    """Return S_k, Å², of the pieces with a hinge, in their order."""
    spread = []
    for k, (hinge, axis) in sorted(hinges.items()):
        arm = points.position[points.piece == k].astype(np.float64) - hinge
        along = arm @ (axis / np.linalg.norm(axis))
        spread.append((np.sum(arm**2) - np.sum(along**2)) / len(points.position))
    return np.array(spread)


def angle_for_rmsd(points: PointTable, hinges: Hinges, rmsd: float) -> float:
    """Return the largest angle (radians) whose uniform turns displace the points by `rmsd` on average.

    Parameters
    ----------
    points : of the whole structure; every one counts equally.
    hinges : hinge (3,) in Å and axis (3,) of every piece that turns.
    rmsd : Å, mean over particles of the root mean square over points.

    Raises
    ------
    ConfigurationError : if nothing turns, or not even half a turn displaces the points so far.
    """
    spread = spread_about_axes(points, hinges)
    deviates = np.random.default_rng(0).uniform(-1, 1, (DRAWS, len(spread)))
    most = mean_rmsd(spread, math.pi, deviates)
    if not 0 < rmsd < most:
        raise ConfigurationError(
            f"--rmsd: expected more than 0 and less than {most:.2f} Å, what half a turn of every piece "
            f"gives; got {rmsd:g}."
        )
    return float(brentq(lambda angle: mean_rmsd(spread, angle, deviates) - rmsd, 0.0, math.pi))
