"""Which particles show none of the molecules.

With E the evidence of a particle for the classes against noise alone (nats) and π the part that is junk, its
probability of being junk is 1 / (1 + exp(E) (1 - π) / π). π is the one of highest likelihood, and 0 unless that is
worth `SIGNIFICANT` nats: a set without junk has none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logsumexp

from libhetero.models.contrast import SIGNIFICANT

STEPS = 100
START, MOST = 0.05, 0.9
CLOSE = 1e-6


def junk_of(
    evidence: Float[np.ndarray, "particles"], counted: Bool[np.ndarray, "particles"]
) -> Float[np.ndarray, "particles"]:
    """Return the probability of each particle of being junk.

    Parameters
    ----------
    evidence : log p(x | classes) - log p(x | noise alone), nats.
    counted : which particles say how much junk there is.
    """
    known = np.asarray(evidence, np.float64)[counted]
    if not len(known):
        return np.zeros(len(evidence))
    share = START
    for _ in range(STEPS):
        before, share = share, min(float(expit(np.log(share) - np.log1p(-share) - known).mean()), MOST)
        if share < CLOSE or abs(share - before) < CLOSE:
            break
    if share < CLOSE:
        return np.zeros(len(evidence))
    mixed = logsumexp(np.stack([np.log1p(-share) + known, np.full(len(known), np.log(share))]), axis=0)
    if mixed.sum() - known.sum() < SIGNIFICANT:
        return np.zeros(len(evidence))
    found: np.ndarray = expit(np.log(share) - np.log1p(-share) - np.asarray(evidence, np.float64))
    return found
