"""How far the volumes of the particles of one molecule follow its motion."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.metrics.change import ChangeSums, first_component
from libhetero.metrics.fsc import fsc_area, masked_fsc
from libhetero.metrics.motion import rank_correlation
from libhetero.metrics.threshold import offset_to_truth
from libhetero.physics.fourier import crop_volume

COARSE = 32  # voxels to which volumes are Fourier cropped for their principal component


def area_with(volume: np.ndarray, true: np.ndarray, mask: np.ndarray | None) -> float:
    """Return FSC_AUC of a volume and a true map, (n, n, n), both masked, the volume offset to the true one."""
    return fsc_area(masked_fsc(offset_to_truth(volume, true), true, mask))


class Following:
    """Takes the volumes of a molecule's particles one by one.

    Parameters
    ----------
    mask : for the FSC and for what changes; None for none.
    """

    def __init__(self, mask: np.ndarray | None) -> None:
        self._mask = mask
        self._change = ChangeSums()
        self._areas: list[tuple[float, ...]] = []
        self._coarse: list[np.ndarray] = []

    def add(
        self, volume: np.ndarray, true: np.ndarray, unturned: np.ndarray, own: float, still: float, bound: float
    ) -> None:
        """Add one particle.

        Parameters
        ----------
        volume : (n, n, n), that the particle is given.
        true : of its own conformation.
        unturned : the same with all angles 0, their mean.
        own, still, bound : FSC_AUC with `true` of the volume, of the backprojection of all images of the class, and of
            that which knows their angles.
        """
        self._areas.append((own, area_with(volume, unturned, self._mask), still, bound))
        weight = 1.0 if self._mask is None else self._mask
        self._change.add(weight * volume, weight * true)
        coarse = np.asarray(crop_volume(volume, min(len(volume), COARSE)))
        self._coarse.append(coarse.reshape(-1).astype(np.float32))

    def scores(
        self, angles: Float[np.ndarray, "chosen pieces"], latents: tuple[np.ndarray, np.ndarray] | None
    ) -> dict[str, Any]:
        """Return how far the volumes follow.

        Parameters
        ----------
        angles : of the particles that were added, radians.
        latents : of all particles of the molecule, with their angles; None where there are none.

        Returns
        -------
        "images"; "own" and "unturned", mean FSC_AUC of a particle's volume with its own true map and with the unturned
        one; "still" and "bound", of the two backprojections with the own true map; "correlation" and "extent" as in
        `libhetero.metrics.change`; "rho_volumes" and "rho_latents", |ρ| of the first principal component and the angle
        of each piece that turns.
        """
        own, unturned, still, bound = np.mean(self._areas, axis=0).tolist()
        component = first_component(np.stack(self._coarse))
        found: dict[str, Any] = {
            "images": len(self._areas),
            "own": own,
            "unturned": unturned,
            "still": still,
            "bound": bound,
            "correlation": self._change.correlation,
            "extent": self._change.extent,
            "rho_volumes": _with_angles(component, angles),
        }
        if latents is not None:
            found["rho_latents"] = _with_angles(first_component(latents[0].astype(np.float64)), latents[1])
        return found


def _with_angles(component: np.ndarray, angles: np.ndarray) -> list[float]:
    """Return |ρ| with the angle of each piece that turns."""
    return [rank_correlation(component, angle) for angle in angles.T if angle.any()]
