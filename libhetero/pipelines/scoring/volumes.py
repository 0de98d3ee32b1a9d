"""Decoded volumes against the true ones, between the floor and the bound.

The floor is one consensus map, backprojected from all images, given to every particle; the bound is the
backprojection of each true class. Both see the images that the model saw.

Where particles of a class are turned, each has a true map of its own. The most that classes can reach is then a limit
of its own, "still", and the bound is told all angles: see `piecewise`.
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
from libhetero.pipelines.scoring.following import Following
from libhetero.pipelines.scoring.piecewise import joined
from libhetero.pipelines.scoring.subject import Subject
from libhetero.pipelines.scoring.true_maps import Target, TrueClasses
from libhetero.pipelines.scoring.truth import Truth
from libhetero.reconstruction.backproject import reconstruct

FIXED_SHARE = 0.25  # of the highest value of any true map: the fixed level unless one is given
SUBJECTS = ("model", "floor", "bound")


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
        particles, latents = subject.particles, subject.latents
        chosen = spread_indices(len(particles), self.images)
        true = TrueClasses(subject, truth, places, self.mass)
        label = true.label
        targets = {k: true.unturned(k) for k in np.unique(label[chosen]).tolist()}
        level = self.level
        if level is None:
            level = FIXED_SHARE * max(float(target.volume.max()) for target in targets.values())

        def against(volume: np.ndarray, target: Target) -> dict[str, float]:
            return compare(volume, target, self.mask, level, subject.pixel_size)

        everything = spread_indices(len(particles), min(self.limit, len(particles)))
        consensus = self._backproject(subject, everything)
        progress(0.2)
        limits: dict[str, dict[int, dict[str, float]]] = {"floor": {}, "still": {}, "bound": {}}
        for done, k in enumerate(targets):
            found = self._limits(subject, true, chosen[label[chosen] == k], consensus, targets[k], against)
            for name, rows in found.items():
                limits[name] |= rows
            progress(0.2 + 0.4 * (done + 1) / len(targets))
        moving = {k for k in targets if true.moves(k)}
        following = {true.molecule(k): Following(self.mask) for k in sorted(moving)}
        decoded: list[dict[str, float]] = []
        for done, (i, volume) in enumerate(zip(chosen.tolist(), subject.volumes(chosen, self.batch_size), strict=True)):
            k = int(label[i])
            target = true.own(i) if k in moving else targets[k]
            decoded.append(against(volume, target))
            if k in moving:
                areas = (row["fsc_auc"] for row in (decoded[-1], limits["still"][i], limits["bound"][i]))
                following[true.molecule(k)].add(volume, target.volume, targets[k].volume, *areas)
            progress(0.6 + 0.4 * (done + 1) / len(chosen))
        scores: dict[str, Any] = {"model": summarise(decoded)}
        for name in limits if following else ("floor", "bound"):
            scores[name] = summarise([limits[name][i] for i in chosen.tolist()])
        if following:
            latent = None if latents is None else latents(self.batch_size)
            scores["following"] = {str(k): true.followed(k, one, chosen, latent) for k, one in following.items()}
        return {
            "images": len(chosen),
            "classes": len(targets),
            "consensus_images": len(everything),
            "level_fixed": float(level),
            **scores,
            **gap(scores),
        }

    def _limits(
        self,
        subject: Subject,
        true: TrueClasses,
        members: np.ndarray,
        consensus: np.ndarray,
        target: Target,
        against: Callable[[np.ndarray, Target], dict[str, float]],
    ) -> dict[str, dict[int, dict[str, float]]]:
        """Return the metrics of floor, class and bound by particle, for the chosen particles of one class."""
        k = int(true.label[members[0]])
        images = np.flatnonzero(true.label == k)
        if not true.moves(k):
            floor, bound = against(consensus, target), against(self._backproject(subject, images), target)
            rows = {"floor": floor, "still": bound, "bound": bound}
            return {name: dict.fromkeys(members.tolist(), row) for name, row in rows.items()}
        still = self._backproject(subject, images)
        moving = joined(subject, images, *true.pieces(k), true.angles, self.batch_size)
        limits: dict[str, dict[int, dict[str, float]]] = {"floor": {}, "still": {}, "bound": {}}
        for i in members.tolist():
            own = true.own(i)
            for name, volume in (("floor", consensus), ("still", still), ("bound", moving(i))):
                limits[name][i] = against(volume, own)
        return limits

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
