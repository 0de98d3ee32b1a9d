"""Is a particle junk: a probability against the truth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score

CALLED = 0.5  # probability above which a particle is called junk


def detection(probability: Float[np.ndarray, "particles"], truth: Bool[np.ndarray, "particles"]) -> dict[str, float]:
    """Return how well probabilities find what is true of some particles.

    Parameters
    ----------
    probability : 0 to 1.
    truth : whether it is so.

    Returns
    -------
    "called", the share with a probability above ½; "recall", how many of the true ones these hold; "precision", how
    many of these are true; "auc", the area under the curve of recall against false alarms, which needs no ½. Those
    that do not exist, for want of true, false or called particles, are NaN.
    """
    probability, truth = np.asarray(probability), np.asarray(truth, bool)
    called = probability > CALLED
    hits = float(np.count_nonzero(called & truth))
    both = truth.any() and not truth.all()
    return {
        "called": float(called.mean()),
        "recall": hits / truth.sum() if truth.any() else float("nan"),
        "precision": hits / called.sum() if called.any() else float("nan"),
        "auc": float(roc_auc_score(truth, probability)) if both else float("nan"),
    }
