"""Classes of particles that one region tells apart, against the presence of one piece.

Classes have no names. A class is called present when the region's mean amplitude, averaged over the
class, is at least the midpoint of the 5th and the 95th percentile over particles; the truth has no
say in it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

RANGE = (5.0, 95.0)  # percentiles whose midpoint tells present from absent
UNMATCHED = 0.5  # accuracy of a piece without a region: a coin
NO_CLASS = -1


def present_classes(
    amplitude: Float[np.ndarray, "particles"], label: Int[np.ndarray, "particles"]
) -> Bool[np.ndarray, "particles"]:
    """Return whether the class of each particle is one where the region is present.

    Parameters
    ----------
    amplitude : mean over the region's Gaussians of decoded ÷ reference amplitude.
    label : class of each particle; -1 for none, which is never present.
    """
    midpoint = np.percentile(amplitude, RANGE).mean()
    present = np.zeros(len(label), bool)
    for name in np.unique(label[label != NO_CLASS]):
        inside = label == name
        present[inside] = amplitude[inside].mean() >= midpoint
    return present


def rightly_called(
    amplitude: Float[np.ndarray, "particles"],
    label: Int[np.ndarray, "particles"],
    state: Integer[np.ndarray, "particles"],
) -> Bool[np.ndarray, "particles"]:
    """Return of which particles their class says rightly whether the piece is there.

    Parameters
    ----------
    amplitude, label : as `present_classes` takes them; a particle in no class counts as wrong.
    state : 1 where the piece is in the particle.
    """
    right = present_classes(amplitude, label) == np.asarray(state, bool)
    return right & (label != NO_CLASS)


def class_accuracy(
    amplitude: Float[np.ndarray, "particles"],
    label: Int[np.ndarray, "particles"],
    state: Integer[np.ndarray, "particles"],
) -> float:
    """Return the share of particles whose class says rightly whether the piece is there; see `rightly_called`."""
    return float(np.mean(rightly_called(amplitude, label, state)))
