"""What particles are judged by: classes in a subspace, or, where they are more than its directions, their volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import logsumexp

from libhetero.models.hype.latent.classes import EMPTY, EQUAL, LEAST_SPREAD, Classes, Judged, judge
from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.predictive import (
    Folded,
    Predicted,
    Predictors,
    Sorted,
    against_all,
    against_some,
    in_order_of,
    judged_by,
)
from libhetero.models.hype.latent.subspace import Subspace
from libhetero.models.hype.latent.volumes import places_among

LIKELY = 32  # classes of an image of which it is told how probable they are
MOST_SPREAD = 1.0  # of contrast


@dataclass(frozen=True, eq=False)
class InSubspace:
    """Classes in a subspace.

    Parameters
    ----------
    subspace : of the volumes.
    classes : in it.
    """

    subspace: Subspace
    classes: Classes

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def log_share(self) -> Float[np.ndarray, "classes"]:
        """Logarithm of the part of the particles in each class."""
        return np.log(np.maximum(self.classes.share, 1e-30)).astype(np.float32)

    @property
    def directions(self) -> int:
        """How many the subspace has."""
        return self.classes.mean.shape[1]

    def kept(self, kept: Bool[np.ndarray, "classes"]) -> InSubspace:
        """Return the same of some classes."""
        classes = self.classes
        share = classes.share[kept] / classes.share[kept].sum()
        parts = classes.mean[kept], classes.covariance[kept], share, classes.evidence[kept]
        return replace(self, classes=Classes(*parts))

    def judge(self, seen: OnGrid, spread: float, molecule: Int[np.ndarray, "classes"] | None) -> Judged:
        """Return the most probable class of particles; arguments as of `classes.judge`."""
        return judge(normal_equations(seen, self.subspace.table), self.classes, spread, molecule)

    def judge_searched(self, molecule: Int[np.ndarray, "classes"] | None) -> None:
        """Return None: particles that the classes were found in are judged as others are."""


@dataclass(frozen=True, eq=False)
class ByVolumes:
    """Classes as their volumes predict images.

    Parameters
    ----------
    predictors : volumes made of all particles that were searched.
    log_share : logarithm of the part of these in each class.
    found : what each of these is by volumes that it is not in.
    folded, now : of which the classes are, and the places that remain of them.
    """

    predictors: Predictors
    log_share: Float[np.ndarray, "classes"]
    found: Predicted
    folded: Folded
    now: Sorted

    @classmethod
    def of(cls, folded: Folded, now: Sorted) -> ByVolumes:
        """Return the judge of particles in classes, each of which has some."""
        classes = int(now.label.max()) + 1
        found = against_all(folded, now, LIKELY)
        return cls(folded.whole(now, classes), now.shares(classes), found, folded, now)

    def __len__(self) -> int:
        return len(self.log_share)

    @property
    def directions(self) -> int:
        """None: no subspace is needed."""
        return 0

    def kept(self, kept: Bool[np.ndarray, "classes"]) -> ByVolumes:
        """Return the same of some classes."""
        of, chosen = self.predictors, np.flatnonzero(kept)
        parts = of.real[:, chosen], of.imaginary[:, chosen], of.variance[:, chosen], of.shell
        rest = logsumexp(self.log_share[chosen])
        now = replace(self.now, label=places_among(self.now.label, chosen))
        found, there = self.found, kept[self.found.candidate]
        candidate = places_among(found.candidate.ravel(), chosen).reshape(there.shape)
        joint = np.where(there, found.joint - rest, EMPTY)
        found = in_order_of(joint, np.maximum(candidate, 0), joint, found.strength, found.square)
        lost = np.flatnonzero(~there.any(axis=1))
        if len(lost):  # of images whose likely classes are gone the others are asked
            found = _put(found, lost, against_all(self.folded, now, there.shape[1]))
        return ByVolumes(
            Predictors(*parts), (self.log_share[chosen] - rest).astype(np.float32), found, self.folded, now
        )

    def judge(self, seen: OnGrid, spread: float, molecule: Int[np.ndarray, "classes"] | None) -> Judged:
        """Return the most probable class of particles that no volume is made of; arguments as of `classes.judge`."""
        return _judged(judged_by(seen, self.predictors, self.log_share, spread, LIKELY), molecule)

    @property
    def predicted(self) -> Float[np.ndarray, "particles"]:
        """log p(x | class) - log p(x | noise alone) of each of the latter particles in its likeliest class."""
        return self.found.joint[:, 0] - self.log_share[self.found.label]

    def judge_searched(self, molecule: Int[np.ndarray, "classes"] | None) -> Judged:
        """Return the same of the particles that the classes were found in, by volumes that each is not in."""
        return _judged(self.found, molecule)


def with_contrasts(folded: Folded, now: Sorted) -> tuple[Folded, Sorted]:
    """Return slices and classes with the contrasts that images say of themselves in their classes, and their spread.

    Images are compared with volumes that take all for equally strong: what contrasts are off by would go into the
    volumes, and from there into the contrasts. These are 1 on the average; what is not is the volumes' scale.
    """
    even = replace(now, contrast=np.ones_like(now.contrast))
    linear, square, told = _own(folded, even)
    if not told.any():
        return folded, now
    mean, spread = mean_and_spread(linear[told], square[told])
    contrast = (linear * spread**2 + mean) / (square * spread**2 + 1) / mean
    now = Sorted(now.label, contrast.astype(np.float32), spread / mean)
    return to_scale(folded, now), now


def to_scale(folded: Folded, now: Sorted) -> Folded:
    """Return slices whose volumes have the scale at which images of these classes say of a contrast of 1."""
    linear, square, told = _own(folded, now)
    if not told.any():
        return folded
    return replace(folded, scale=folded.scale * mean_and_spread(linear[told], square[told])[0])


def _own(
    folded: Folded, now: Sorted
) -> tuple[Float[np.ndarray, "particles"], Float[np.ndarray, "particles"], Bool[np.ndarray, "particles"]]:
    """Return l and q of each image in its own class, and whether it shows that at all."""
    found = against_some(folded, now, np.maximum(now.label, 0)[:, None])
    linear, square = found.equations(now.spread)
    return linear[:, 0], square[:, 0], (found.joint[:, 0] > 0) & (now.label >= 0)


def mean_and_spread(linear: Float[np.ndarray, "images"], square: Float[np.ndarray, "images"]) -> tuple[float, float]:
    """Return the mean m and the standard deviation s of contrast of highest likelihood.

    With l ~ N(m q, q + s² q²), the mean of a given s is Σ l / (1 + s² q) over Σ q / (1 + s² q); and s is where

        Σ (l - m q)² / (1 + s² q)² = Σ q / (1 + s² q).

    Parameters
    ----------
    linear, square : l and q of each image (`predictive`).
    """

    def mean(variance: float) -> float:
        wide = 1 + variance * square
        return float((linear / wide).sum() / (square / wide).sum())

    def excess(variance: float) -> float:
        wide = 1 + variance * square
        return float((((linear - mean(variance) * square) / wide) ** 2 - square / wide).sum())

    least, most = LEAST_SPREAD**2, MOST_SPREAD**2
    if excess(least) <= 0:
        variance = least
    else:
        variance = most if excess(most) >= 0 else float(brentq(excess, least, most, xtol=1e-3 * least))
    return mean(variance), float(np.sqrt(variance))


def _put(found: Predicted, rows: Int[np.ndarray, "rows"], other: Predicted) -> Predicted:
    """Return what was found, of some images what else was; classes that this lacks are as improbable as can be."""
    parts = []
    for name, missing in (("candidate", 0), ("joint", EMPTY), ("strength", 1.0), ("square", 1.0)):
        value, more = getattr(found, name).copy(), getattr(other, name)[rows]
        value[rows] = missing
        value[rows, : more.shape[1]] = more
        parts.append(value)
    return Predicted(*parts)


def _judged(found: Predicted, molecule: Int[np.ndarray, "classes"] | None) -> Judged:
    """Return what is known of particles as `classes.judge` does, their likely classes alone told apart."""
    total = logsumexp(found.joint, axis=1)
    together = np.exp(found.joint - total[:, None])
    if molecule is not None:
        own = molecule[found.candidate]
        together = np.stack(
            [(together * (own == own[:, one, None])).sum(axis=1) for one in range(own.shape[1])], axis=1
        )
    best = together >= together.max(axis=1, keepdims=True) * (1 - EQUAL)
    place = np.argmax(np.where(best, found.joint, -np.inf), axis=1)[:, None]
    values = found.candidate, together, found.strength, found.square
    label, probability, contrast, square = (np.take_along_axis(part, place, axis=1)[:, 0] for part in values)
    parts = np.minimum(probability, 1), contrast, square, total
    return Judged(label.astype(np.int32), *(part.astype(np.float32) for part in parts))
