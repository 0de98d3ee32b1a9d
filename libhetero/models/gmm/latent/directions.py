"""Directions in which a sample's particles change, one after the other, each with a p-value.

Given what is known of the changes (`low_rank`, B and mean), what is left of particle i and how much of it noise leaves,

    e_i = (1 + H_i B Bᵀ)⁻¹ (g_i - H_i mean),   cov e_i = V_i = H_i - H_i B C_i Bᵀ H_i

so that in the metric of V = mean V_i the matrix S = V^-½ mean(e_i e_iᵀ) V^-½ is 1 but for chance where nothing else
changes. A direction that stands out raises an eigenvalue: the score test of its variance. How large the largest
eigenvalue is by chance, with these poses, CTFs and weights, is what the same B and draws of noise in the place of
the images give (a parametric bootstrap; `Equations.noise`), of which a Gumbel distribution makes a p-value, for all
directions together. Where the noise is larger than its weights say, all eigenvalues are; they are divided by the
median's excess, and what is missed without a mode is held against draws that are as much larger. Where images differ
in their noise, the equations know it (`noise_power`).

What stands out is fitted (expectation maximisation), and what is left is tested again, until nothing stands out.

References
----------
Gumbel (1958); for the test, Rao's score test of a variance, here of the most favourable direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.models.gmm.latent.low_rank import (
    LowRank,
    expected,
    fit_modes,
    fit_nuisances,
    log_likelihood,
    missed_without,
)
from libhetero.models.gmm.latent.normal_equations import Equations

SIGNIFICANT = 1e-3  # of a search for one more direction in what is left
FAINTEST = 1e-3  # of the most visible combination of columns: fainter ones are not looked at
STEPS = 5  # of expectation maximisation after each addition
ROUNDS = 8
EULER = 0.5772156649
NUISANCE_START = np.array([0.1, 0.5, 0.5, 0.01, 0.01, 0.01])  # relative, Å, Å, radians
NUISANCE_STEPS = 60


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What is left of the changes, in the metric of what noise leaves.

    Parameters
    ----------
    value : eigenvalues, falling, divided by `excess`.
    direction : (P, values), of each a change of variance 1 in the metric.
    chance : largest eigenvalue of each draw of noise.
    excess : how much larger the median eigenvalue is than that of noise, of those that so many particles can show;
        1 at least.
    p : of each value, the chance that noise gives one as large anywhere.
    """

    value: np.ndarray
    direction: np.ndarray
    chance: np.ndarray
    excess: float
    p: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """Directions that stand out, and what tells them.

    Parameters
    ----------
    model : known directions and modes.
    gain : log-likelihood that the modes add to that of a mean change, which all particles have alike, nats.
    p : of each mode.
    strength : of each mode, mean over particles of the signal's variance over the noise's.
    missed : of each mode, the log-likelihood lost without it, nats.
    """

    model: LowRank
    gain: float
    p: np.ndarray
    strength: np.ndarray
    missed: np.ndarray

    @classmethod
    def nothing(cls, model: LowRank) -> Found:
        """Return that nothing stands out."""
        return cls(model, 0.0, np.zeros(0), np.zeros(0), np.zeros(0))


def nothing_changes(equations: Equations) -> LowRank:
    """Return the changes of a set that has none, but for its nuisances; their spreads are learnt."""
    count = equations.nuisances + equations.fields
    known = np.zeros((equations.columns, count))
    start = np.concatenate([NUISANCE_START[: equations.nuisances], np.ones(equations.fields)])
    known[np.diag_indices(count)] = start
    model = LowRank(known, np.zeros((equations.columns, 0)), np.zeros(equations.columns))
    return fit_nuisances(equations, model, NUISANCE_STEPS) if count else model


def spectrum(equations: Equations, model: LowRank, columns: Int[np.ndarray, "columns"], seed: int = 0) -> Spectrum:
    """Return what some columns still show once a model of the changes is taken off.

    Parameters
    ----------
    equations : of the sample, with draws of noise.
    model : what is known.
    columns : where a further direction may lie.
    seed : of the draws' latents.
    """
    found, directions = expected(equations, model), model.directions.astype(np.float32)
    weighed = found.seen @ found.covariance
    left = found.rest - np.einsum("ipq,iq->ip", weighed, found.rest @ directions)
    explained = np.tensordot(weighed[:, columns], found.seen[:, columns], axes=([0, 2], [0, 2]))
    count = len(left)
    noise = (equations.hessian[:, columns[:, None], columns].sum(axis=0, dtype=np.float64) - explained) / count
    values, vectors = np.linalg.eigh(noise)
    kept = values > FAINTEST * values[-1]
    whiten = vectors[:, kept] / np.sqrt(values[kept])
    value, vector = _eigen(left[:, columns] @ whiten)
    draws = np.random.default_rng(seed).standard_normal((*equations.noise.shape[:2], directions.shape[1]))
    said = equations.noise + draws.astype(np.float32) @ found.seen.transpose(0, 2, 1)
    said = said - (said @ directions) @ weighed.transpose(0, 2, 1)
    chance = np.stack([_eigen(said[:, draw, columns] @ whiten)[0] for draw in range(said.shape[1])])
    shown = min(count, len(value))  # eigenvalues beyond the number of particles are 0
    excess = max(1.0, float(np.median(value[:shown]) / np.median(chance[:, :shown])))
    direction = np.zeros((equations.columns, len(value)))
    direction[columns] = whiten @ vector
    value = value / excess
    return Spectrum(value, direction, chance[:, 0], excess, gumbel_tail(value, chance[:, 0]))


def _eigen(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of mean x xᵀ, the largest first."""
    values, vectors = np.linalg.eigh((rows.T @ rows).astype(np.float64) / len(rows))
    return values[::-1], vectors[:, ::-1]


def gumbel_tail(value: Float[np.ndarray, "values"], largest: Float[np.ndarray, "draws"]) -> Float[np.ndarray, "values"]:
    """Return the chance that the largest of a draw is at least a value.

    P(x) = 1 - exp(-exp(-(x - μ) / β)), with mean and standard deviation of the draws' largest values; its upper
    tail is longer than that of the largest eigenvalue of noise, so that p-values err upwards.
    """
    scale = max(float(np.std(largest, ddof=1)), 1e-9) * np.sqrt(6) / np.pi
    place = float(np.mean(largest)) - EULER * scale
    return -np.expm1(-np.exp(np.clip(-(np.asarray(value) - place) / scale, -700, 700)))


def gain_of(value: Float[np.ndarray, "values"], count: int) -> Float[np.ndarray, "values"]:
    """Return the log-likelihood that a direction with these eigenvalues adds over `count` particles, nats."""
    value = np.maximum(value, 1)
    return 0.5 * count * (value - 1 - np.log(value))


def find_directions(
    equations: Equations, kinds: str, most: int, model: LowRank | None = None, *, forced: bool = False
) -> Found:
    """Return the directions of some kinds of change that stand out.

    Parameters
    ----------
    equations : of the sample.
    kinds : of the patches' columns in which to look.
    most : modes.
    model : what is known before, modes among it that are fitted first; None for `nothing_changes`.
    forced : whether there must be `most` modes, whether they stand out or not.
    """
    nothing = nothing_changes(equations) if model is None or model.rank else model
    alike = fit_modes(equations, nothing, np.ones(equations.columns), STEPS)  # changes of the mean are no direction
    columns, model = equations.of_patches(kinds), alike if model is None or not model.rank else model
    if model.rank:
        model = fit_modes(equations, model, typical_variance(model.modes, equations, columns), STEPS)
    for _ in range(ROUNDS):
        seen = spectrum(equations, model, columns)
        new = np.flatnonzero((seen.p < SIGNIFICANT) | forced)[: most - model.rank]
        if not len(new):
            break
        model = _with_directions(equations, model, columns, seen, new)
    if not model.rank:
        return Found.nothing(nothing)
    return _judged(equations, model, columns, log_likelihood(equations, alike), forced)


def _with_directions(
    equations: Equations, model: LowRank, columns: np.ndarray, seen: Spectrum, new: np.ndarray
) -> LowRank:
    """Add directions to the modes and fit all."""
    added = seen.direction[:, new] * np.sqrt(np.maximum(seen.value[new] - 1, 0.01))
    modes = np.concatenate([model.modes, added], axis=1)
    start = LowRank(model.known, modes, model.mean)
    return fit_modes(equations, start, typical_variance(modes, equations, columns), STEPS)


def typical_variance(
    modes: Float[np.ndarray, "all modes"], equations: Equations, columns: Int[np.ndarray, "columns"]
) -> Float[np.ndarray, "all"]:
    """Return the variance of modes before anything is seen: their mean square by kind, next to 0 elsewhere."""
    variance = np.full(equations.columns, 1e-10)
    for kind in set(equations.kinds):
        alike = np.intersect1d(equations.of_patches(kind), columns)
        if len(alike) and modes.shape[1]:
            variance[alike] = max(float(np.mean(modes[alike] ** 2)), 1e-10)
    return variance


def _judged(equations: Equations, model: LowRank, columns: np.ndarray, base: float, forced: bool) -> Found:
    """Order modes by strength, leave out those that the likelihood does not miss, and give each its p-value."""
    while model.rank:
        said, count = expected(equations, model), len(equations.gradient)
        missed = missed_without(said)[-model.rank :]
        weakest = int(np.argmin(missed))
        seen = spectrum(equations, model.without(weakest), columns)
        chance = gain_of(seen.excess * seen.chance, count)
        p = gumbel_tail(missed, chance)
        if forced or p[weakest] < SIGNIFICANT:
            typical = equations.hessian.mean(axis=0, dtype=np.float64)
            strength = np.einsum("pr,pq,qr->r", model.modes, typical, model.modes)
            order = np.argsort(-strength)
            ordered = LowRank(model.known, model.modes[:, order], model.mean)
            gain = max(float(said.likelihood.sum()) - base, 1e-9)
            return Found(ordered, gain, p[order], strength[order], missed[order])
        model = model.without(weakest)
        model = fit_modes(equations, model, typical_variance(model.modes, equations, columns), STEPS)
    return Found.nothing(model)
