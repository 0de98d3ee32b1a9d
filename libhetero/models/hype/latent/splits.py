"""Classes split in two where the evidence for two is higher.

The members of a class pull its mean each their own way; along the directions in which they disagree most, the class is
halved and refined by expectation maximisation, and the halves kept if

    log p(first) + log p(second) - log p(both) > log (n choose n₁) + log N

the right side being what it takes to say which of the n members are of the first, and that there is one class more
among N particles.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import gammaln

from libhetero.models.hype.latent.classes import Classes, ClassSums, Judged, posterior
from libhetero.models.hype.latent.normal_equations import Equations

DIRECTIONS = 8  # in which members may disagree
STARTS = 3  # ways to halve
STEPS = 12
LEAST = 5  # particles of a class
MOST_MEMBERS = 2000  # that a split is decided by; the others follow when classes are settled
CLEAR = 50.0  # odds beyond which a side is sure, nats


def split_classes(equations: Equations, classes: Classes, judged: Judged) -> tuple[Int[np.ndarray, "particles"], int]:
    """Return classes of the particles, those split whose evidence asks for it, and how many were.

    Parameters
    ----------
    equations : of the particles.
    classes : that they are in.
    judged : the particles.
    """
    label, number = judged.label.copy(), len(classes)
    order = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[order], np.arange(len(classes) + 1))
    for one in range(len(classes)):
        members = order[edges[one] : edges[one + 1]]
        members = members[:: -(-len(members) // MOST_MEMBERS)] if len(members) else members
        gradient, hessian = equations.whole(members)
        gradient = gradient * judged.contrast[members, None]
        hessian = hessian * judged.square[members, None, None]
        side = _halved(gradient, hessian, classes.mean[one], len(label))
        if side is not None:
            label[members[side]] = number
            number += 1
    return label, number - len(classes)


def _halved(
    gradient: Float[np.ndarray, "members columns"],
    hessian: Float[np.ndarray, "members columns columns"],
    mean: Float[np.ndarray, "rank"],
    particles: int,
) -> Bool[np.ndarray, "members"] | None:
    """Return which members are of the second of two classes; None if one class is as good."""
    count = len(gradient)
    if count < 2 * LEAST:
        return None
    pull = (gradient - hessian @ np.concatenate([[1], mean]).astype(np.float32))[:, 1:]
    typical = hessian[:, 1:, 1:].mean(axis=0) + np.eye(len(mean), dtype=np.float32)
    moved = np.linalg.solve(typical, pull.T).T
    moved -= moved.mean(axis=0)
    left, _, directions = np.linalg.svd(moved, full_matrices=False)
    basis = directions[:DIRECTIONS].T
    local = pull @ basis, basis.T @ (hessian[:, 1:, 1:] @ basis)
    best, gained = None, 0.0
    alone = _evidence(gradient, hessian, np.ones((1, count)))
    for start in range(min(STARTS, basis.shape[1])):
        side = _refined(*local, left[:, start] > np.median(left[:, start]))
        second = int(side.sum())
        if min(second, count - second) < LEAST:
            continue
        both = _evidence(gradient, hessian, np.stack([~side, side]))
        gain = both - alone - cost_of_two(count - second, second, particles)
        if gain > gained:
            best, gained = side, gain
    return best


def cost_of_two(first: Any, second: Any, particles: int) -> Any:
    """Return log (n choose n₁) + log N, what two classes cost beyond one.

    Parameters
    ----------
    first, second : members of each; numbers, or arrays of them.
    particles : N.
    """
    return gammaln(first + second + 1) - gammaln(first + 1) - gammaln(second + 1) + np.log(particles)


def _evidence(gradient: np.ndarray, hessian: np.ndarray, of: np.ndarray) -> float:
    """Return the log evidence of some classes of the same members."""
    weight, columns = of.astype(np.float32), hessian.shape[1]
    total = (weight @ hessian.reshape(len(hessian), -1)).reshape(-1, columns, columns).astype(np.float64)
    sums = ClassSums((weight @ gradient).astype(np.float64), total, weight.sum(axis=1).astype(np.float64))
    return float(posterior(sums).evidence.sum())


def _refined(pull: np.ndarray, hessian: np.ndarray, side: np.ndarray) -> Bool[np.ndarray, "members"]:
    """Return the sides after expectation maximisation of two classes along a few directions."""
    weight = np.where(side, 0.9, 0.1)
    prior = np.eye(pull.shape[1])
    for _ in range(STEPS):
        scores = []
        for part in (1 - weight, weight):
            precision = np.tensordot(part, hessian, 1) + prior
            centre, covariance = np.linalg.solve(precision, part @ pull), np.linalg.inv(precision)
            square = np.outer(centre, centre) + covariance
            scores.append(pull @ centre - 0.5 * (hessian * square).sum(axis=(1, 2)) + np.log(part.mean() + 1e-9))
        before, weight = weight, 1 / (1 + np.exp(np.clip(scores[0] - scores[1], -CLEAR, CLEAR)))
        if np.abs(weight - before).max() < 1e-2:
            break
    return weight > 0.5
