"""Decoded volumes against the true ones, between the floor and the bound.

The floor is one consensus map, backprojected from all images, given to every particle; the bound is the
backprojection of each true class. Both see the images that the model saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.metrics.chamfer import chamfer_distance
from libhetero.metrics.fsc import fsc_area, masked_fsc, normalised_area
from libhetero.metrics.threshold import above, level_for_mass, offset_to_truth, scale_to_truth
from libhetero.metrics.viou import volumetric_iou
from libhetero.physics.masks import soft_sphere
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.maps.masks import mask_in_box
from libhetero.pipelines.scoring.subject import Subject
from libhetero.pipelines.scoring.truth import Truth, map_in_box
from libhetero.reconstruction.backproject import reconstruct

FIXED_SHARE = 0.25  # of the highest value of any true map: the fixed level unless one is given
SUBJECTS = ("model", "floor", "bound")


@dataclass(frozen=True, eq=False)
class Target:
    """The true map of a class and the levels at which it is compared.

    Parameters
    ----------
    volume : (n, n, n), in the run's box.
    mass : Da, or None.
    """

    volume: np.ndarray
    mass: float | None


def fsc_mask(mask: str, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"] | None:
    """Return the mask of the FSC in the images' box.

    Parameters
    ----------
    mask : "none", "sphere" for a soft ball inside the box, or a map with values 0 to 1.
    n : box, voxels.
    pixel_size : Å.

    Raises
    ------
    DataError : if there is no such map, or it does not fit.
    """
    if mask == "none":
        return None
    if mask == "sphere":
        return np.asarray(soft_sphere(n, n / 2 - n / 16, n / 16))
    return mask_in_box(mask, n, pixel_size)


def compare(
    volume: np.ndarray, target: Target, mask: np.ndarray | None, level: float, pixel_size: float
) -> dict[str, float]:
    """Return every volume metric of one volume against its truth.

    The volume is first fitted to the truth by least squares: its offset for the FSC, which needs
    no scale, and scale and offset for the real-space metrics. Levels are set by the truth.

    Parameters
    ----------
    volume : (n, n, n).
    target : the truth.
    mask : for the FSC; None for none.
    level : the fixed level, in the truth's unit.
    pixel_size : Å.
    """
    fsc = masked_fsc(offset_to_truth(volume, target.volume), target.volume, mask)
    scores = {"fsc_auc": fsc_area(fsc), "fsc_auc_normalised": normalised_area(fsc)}
    fitted = scale_to_truth(volume, target.volume)
    levels = {"fixed": level}
    if target.mass is not None:
        levels["mass"] = level_for_mass(target.volume, target.mass, pixel_size)
    for name, cut in levels.items():
        found, true = above(fitted, cut), above(target.volume, cut)
        scores[f"viou_{name}"] = volumetric_iou(found, true)
        scores[f"chamfer_{name}"] = chamfer_distance(found, true, pixel_size)
    return scores


def summarise(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean, median, standard deviation and count of every metric over particles.

    A Chamfer distance that does not exist (nothing above the level) is left out; the count says so.
    """
    summary = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], np.float64)
        values = values[np.isfinite(values)]
        summary[name] = {
            "mean": float(values.mean()) if len(values) else float("nan"),
            "median": float(np.median(values)) if len(values) else float("nan"),
            "std": float(values.std()) if len(values) else float("nan"),
            "count": len(values),
        }
    return summary


@dataclass(frozen=True, eq=False)
class VolumeScore:
    """How volumes are to be scored.

    Parameters
    ----------
    images : particles whose own volume is scored.
    batch_size : images read at once.
    limit : most images of the consensus.
    mask : (n, n, n) or None.
    level : fixed level in the truth's unit; None for a quarter of the highest true value.
    mass : Da for every class; None takes the truth's.
    """

    images: int
    batch_size: int
    limit: int
    mask: np.ndarray | None
    level: float | None
    mass: float | None

    def score(
        self, subject: Subject, truth: Truth, places: np.ndarray, progress: Callable[[float], None]
    ) -> dict[str, Any]:
        """Return the metrics of model, floor and bound.

        Parameters
        ----------
        subject : whose volumes are scored.
        truth : of the particles.
        places : (N,) place of each particle in the truth.
        progress : told the fraction done.
        """
        n, pixel_size = subject.box_size, subject.pixel_size
        chosen = spread_indices(len(subject.particles), self.images)
        label = truth.known(truth.labels, "labels")[places]
        targets = {k: self._target(truth, places, label, k, n, pixel_size) for k in np.unique(label[chosen]).tolist()}
        level = self.level
        if level is None:
            level = FIXED_SHARE * max(float(target.volume.max()) for target in targets.values())

        def against(volume: np.ndarray, k: int) -> dict[str, float]:
            return compare(volume, targets[k], self.mask, level, pixel_size)

        everything = spread_indices(len(subject.particles), min(self.limit, len(subject.particles)))
        consensus = self._backproject(subject, everything)
        progress(0.2)
        floor = {k: against(consensus, k) for k in targets}
        bound = {}
        for done, k in enumerate(targets):
            bound[k] = against(self._backproject(subject, np.flatnonzero(label == k)), k)
            progress(0.2 + 0.4 * (done + 1) / len(targets))
        rows = []
        for done, volume in enumerate(subject.volumes(chosen, self.batch_size)):
            rows.append(against(volume, int(label[chosen[done]])))
            progress(0.6 + 0.4 * (done + 1) / len(chosen))
        scores = {
            "model": summarise(rows),
            "floor": summarise([floor[int(k)] for k in label[chosen]]),
            "bound": summarise([bound[int(k)] for k in label[chosen]]),
        }
        return {
            "images": len(chosen),
            "classes": len(targets),
            "consensus_images": len(everything),
            "level_fixed": float(level),
            **scores,
            **gap(scores),
        }

    def _target(self, truth: Truth, places: np.ndarray, label: np.ndarray, k: int, n: int, pixel_size: float) -> Target:
        place = int(places[np.flatnonzero(label == k)[0]])
        true = truth.map(place)
        mass = truth.mass(true) if self.mass is None else self.mass
        return Target(map_in_box(true, truth.pixel_size, n, pixel_size), mass)

    def _backproject(self, subject: Subject, indices: np.ndarray) -> np.ndarray:
        stream = subject.batches(self.batch_size, indices)
        return reconstruct(stream, subject.box_size, subject.pixel_size).volume


def gap(scores: dict[str, Any]) -> dict[str, float]:
    """Return where the model's mean FSC_AUC lies between floor (0) and bound (1), and its ratio to the bound."""
    model, floor, bound = (scores[name]["fsc_auc"]["mean"] for name in SUBJECTS)
    span = bound - floor
    return {
        "gap_closed": (model - floor) / span if span > 0 else float("nan"),
        "ratio_to_bound": model / bound if bound > 0 else float("nan"),
    }
