"""Which particles show none of the molecules.

With E the evidence of a particle for the classes against noise alone (nats) and π the part that is junk, its
probability of being junk is 1 / (1 + exp(E) (1 - π) / π). π is the one of highest likelihood, and 0 unless that is
worth `SIGNIFICANT` nats: a set without junk has none.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit

from libhetero.models.contrast import SIGNIFICANT, ContrastPrior, junk_given_evidence

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
    prior = ContrastPrior(junk=_share(np.asarray(evidence, np.float64)[counted]))
    return np.asarray(junk_given_evidence(evidence, prior), np.float64)


def _share(evidence: Float[np.ndarray, "particles"]) -> float:
    """Return π, the part that is junk."""
    if not len(evidence):
        return 0.0
    share = START
    for _ in range(STEPS):
        before, share = share, min(float(expit(logit(share) - evidence).mean()), MOST)
        if share < CLOSE or abs(share - before) < CLOSE:
            break
    if share < CLOSE:
        return 0.0
    gain = np.logaddexp(np.log1p(-share), np.log(share) - evidence).sum()
    return share if gain >= SIGNIFICANT else 0.0
