"""Is what a model says of its own certainty true: probabilities of classes, deviations of latents and contrasts?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

SURE = 0.9  # probability from which a class counts as sure


def right_where_sure(
    probability: Float[np.ndarray, "particles"], right: Bool[np.ndarray, "particles"], sure: float = SURE
) -> dict[str, float]:
    """Return how many particles are called with a probability of at least `sure`, and how many of them rightly.

    Calibrated probabilities are right as often as they say: "right" is "expected", within √(p (1 - p) / n).

    Parameters
    ----------
    probability : of each particle's class, 0 to 1.
    right : whether the particle is of that class.
    sure : probability that counts as sure.

    Returns
    -------
    "sure", a share of the particles; "right" and "expected", the share of these that is rightly called and their mean
    probability; both NaN where there are none.
    """
    chosen = np.asarray(probability) >= sure
    if not chosen.any():
        return {"sure": 0.0, "right": float("nan"), "expected": float("nan")}
    return {
        "sure": float(chosen.mean()),
        "right": float(np.mean(right[chosen])),
        "expected": float(np.mean(probability[chosen])),
    }


def errors_over_deviations(
    latent: Float[np.ndarray, "particles latent"],
    deviation: Float[np.ndarray, "particles latent"],
    truth: Float[np.ndarray, "particles"],
) -> Float[np.ndarray, "particles"]:
    """Return (t - t̂) / σ of a true number of each particle: presence of a piece, or its angle.

        t̂ = a + b·z, the least-squares fit of t by the latents z;   σ² = Σ_j b_j² s_j²

    Latents have no unit of their own: the fit takes them to that of the truth. Where z are the means and s the
    deviations of the posterior of what t is a linear function of, b is that function and the errors have a deviation
    of 1. Correlations between latents in the posterior are left out of σ.

    Parameters
    ----------
    latent, deviation : z and s.
    truth : t.
    """
    table = np.column_stack([np.ones(len(latent)), np.asarray(latent, np.float64)])
    fit = np.linalg.lstsq(table, np.asarray(truth, np.float64), rcond=None)[0]
    spread = np.sqrt(np.asarray(deviation, np.float64) ** 2 @ fit[1:] ** 2)
    return (truth - table @ fit) / np.maximum(spread, np.finfo(np.float64).tiny)
