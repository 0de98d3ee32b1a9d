"""Whether the particles bear out that a region changes, and how: the variance of its changes against none.

A particle says of the changes c of some columns (a region's amplitude, its displacement, the contrast of the whole)
what its normal equations hold, g = H c + e with e ~ N(0, H). Over the set c ~ N(m, C), so that

    g ~ N(H m, H + H C H),      w = (1 + H C)⁻¹ (g - H m),      K = (1 + H C)⁻¹ H

and where C is right, w has the covariance K. With the variance of one region set to 0 and all else fitted, its rows
of w have more than K exactly if it changes: the score of that variance along a direction a is

    S = Σ_i (aᵀ w_i)² - aᵀ K_i a,      variance 2 Σ_i (aᵀ K_i a)² if nothing changes

and Q = Σ (aᵀ w)² / unit is as good as a χ² of ν degrees of freedom, of the same mean and variance.

The region was found in the same particles, though: of all patterns in which noise could vary, it is one in which it
varies much. Q is therefore held against the largest eigenvalue of a Wishart matrix of q independent columns and ν
samples, the most that any pattern of q patches shows in noise (Tracy and Widom's law). What p-value comes of it holds
for whatever pattern was chosen, by whatever way.

No model is trained for this. Contrast and pose of a particle are columns of their own, fitted beside the regions: a
region that only follows them has no evidence. Amplitude is judged with all motion left to each particle (and motion
with all amplitude, displacement with all rotation), so that none passes for another.

References
----------
Lin, Biometrika 84 (1997) 309 (score tests of variance components); Satterthwaite, Biometrics 2 (1946) 110 (the
scaled χ²); Johnstone, Ann. Stat. 29 (2001) 295 (the largest eigenvalue); Chiani, J. Multivar. Anal. 129 (2014) 69
(its law by a shifted gamma).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import gamma

WHOLE = 0  # region of the columns that are of the whole molecule
AMPLITUDE, MOTION, TURN = "amplitude", "motion", "turn"
FREE = {AMPLITUDE: 0.25, MOTION: 25.0, TURN: 25.0}  # variance of what is left to each particle: relative², Å²
START = {AMPLITUDE: 0.05, MOTION: 1.0, TURN: 1.0}  # variance that the fit begins with
STEPS, AGAIN = 15, 4  # of expectation maximisation, of all and without one region
MOST_FITTED = 1024  # particles that variances are fitted to
GAMMA = gamma(46.446, loc=-9.84801, scale=0.186054)  # Tracy and Widom's law of real matrices, within 1e-3
LEAST_SEEN = 1e-3  # part of what the best seen direction of a block is seen by: others say nothing


@dataclass(frozen=True, eq=False)
class Equations:
    """What particles say of the changes of regions and of the whole.

    Parameters
    ----------
    hessian, gradient : H and g of every particle.
    kind : of each column, "amplitude" (relative), "motion" or "turn" (Å).
    region : of each column, from 1; 0 for the whole: contrast, shift and rotation.
    """

    hessian: Float[np.ndarray, "particles columns columns"]
    gradient: Float[np.ndarray, "particles columns"]
    kind: np.ndarray
    region: Int[np.ndarray, "columns"]

    def of(self, columns: Bool[np.ndarray, "columns"]) -> Equations:
        """Return those of some columns, no other column changing."""
        return Equations(
            self.hessian[:, columns][:, :, columns], self.gradient[:, columns], self.kind[columns], self.region[columns]
        )

    def few(self, most: int) -> Equations:
        """Return those of at most so many particles, spread over all."""
        every = slice(None, None, max(1, -(-len(self.gradient) // most)))
        return replace(self, hessian=self.hessian[every], gradient=self.gradient[every])

    def without(self, columns: Bool[np.ndarray, "columns"]) -> Equations:
        """Return those of the other columns, these being anything of variance `FREE` in each particle."""
        kept = self.of(~columns)
        if not columns.any():
            return kept
        inner = self.hessian[:, columns][:, :, columns] + np.diag([1 / FREE[kind] for kind in self.kind[columns]])
        beside = self.hessian[:, columns][:, :, ~columns]
        solved = np.linalg.solve(inner, beside).swapaxes(1, 2)
        return replace(
            kept,
            hessian=kept.hessian - solved @ beside,
            gradient=kept.gradient - (solved @ self.gradient[:, columns, None])[..., 0],
        )


@dataclass(frozen=True)
class Evidence:
    """What speaks for one kind of change of one region.

    Parameters
    ----------
    change : standard deviation over the particles, relative amplitude or Å, along the direction that is seen best.
    null : the change that nothing reaches in all but one of a hundred sets.
    p_value : of as much in nothing, in whatever pattern shows most.
    halves : the change in each half-set, along the direction of the other half.
    """

    change: float
    null: float
    p_value: float
    halves: tuple[float, float]

    @property
    def agreement(self) -> float:
        """The smaller change of the two half-sets over the larger; 0 where one of them shows none."""
        low, high = sorted(self.halves)
        return low / high if low > 0 else 0.0


def region_evidence(
    equations: Equations, half: Bool[np.ndarray, "particles"], patches: int, level: float
) -> dict[tuple[int, str], Evidence]:
    """Return what speaks for each kind of change, "amplitude" and "motion", of each region, by region and kind.

    Parameters
    ----------
    equations : with columns of both kinds; of the whole in region 0.
    half : which particles are of the second half-set.
    patches : independent patches of the molecule, of which a region can be made.
    level : p-value that counts, for `Evidence.null`.
    """
    present = equations.without(equations.kind != AMPLITUDE)
    bodies = equations.without(equations.kind == AMPLITUDE)
    moving = bodies.without((bodies.kind == TURN) & (bodies.region != WHOLE))
    found = {}
    for kind, said, looks in ((AMPLITUDE, present, patches), (MOTION, moving, 3 * patches)):
        few = said.few(MOST_FITTED)
        whole = fit_variances(few, STEPS)
        for region in np.unique(said.region[said.region != WHOLE]).tolist():
            others = fit_variances(few, AGAIN, whole, few.region == region)
            seen = [scores(said, others, said.region == region)]
            if kind == MOTION:
                seen += _scores_of_turn(bodies, others, region)
            tests = [evidence_of(*one, half, looks, level) for one in seen]
            found[region, kind] = min(tests, key=lambda test: (test.p_value, -test.change))
    return found


def _scores_of_turn(bodies: Equations, covariance: np.ndarray, region: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return w and K of a region's rotation, those of the other regions left to each particle; [] for no body.

    Parameters
    ----------
    bodies : equations of all displacements and rotations.
    covariance : C of all but the regions' rotations.
    """
    turns = (bodies.kind == TURN) & (bodies.region != WHOLE)
    said = bodies.without(turns & (bodies.region != region))
    own = (said.kind == TURN) & (said.region == region)
    if not own.any():
        return []
    whole = np.zeros((len(own), len(own)))
    whole[np.ix_(~own, ~own)] = covariance
    return [scores(said, whole, own)]


def fit_variances(
    equations: Equations,
    steps: int,
    start: Float[np.ndarray, "columns columns"] | None = None,
    none: Bool[np.ndarray, "columns"] | None = None,
) -> Float[np.ndarray, "columns columns"]:
    """Return C by expectation maximisation, the whole molecule's changes independent of the regions'.

        S = (1 + C H)⁻¹ C,   c = m + S (g - H m),   m ← mean of c,   C ← mean of (c - m)² + S

    Parameters
    ----------
    equations : of the columns fitted.
    steps : of expectation and maximisation.
    start : C to begin with; None for some for each column.
    none : columns that do not change.
    """
    hessian, gradient = equations.hessian.astype(np.float64), equations.gradient.astype(np.float64)
    one = np.eye(gradient.shape[1])
    part = np.where(equations.region == WHOLE, -1, 0)
    contrast = equations.kind == AMPLITUDE
    together = (part[:, None] == part) & ((contrast[:, None] == contrast) | (part == 0))
    if start is None:
        start = np.diag([START[kind] for kind in equations.kind])
    if none is not None:
        together = together & ~none[:, None] & ~none
    covariance, mean = start * together, np.zeros(len(one))
    for _ in range(steps):
        spread = np.linalg.solve(one + covariance @ hessian, np.broadcast_to(covariance, hessian.shape))
        changes = (spread @ (gradient - hessian @ mean)[..., None])[..., 0]
        mean = mean + changes.mean(axis=0)
        covariance = (np.cov(changes, rowvar=False, bias=True).reshape(one.shape) + spread.mean(axis=0)) * together
        covariance = (covariance + covariance.T) / 2
    return covariance


def scores(
    equations: Equations, covariance: Float[np.ndarray, "columns columns"], block: Bool[np.ndarray, "columns"]
) -> tuple[Float[np.ndarray, "particles block"], Float[np.ndarray, "particles block block"]]:
    """Return w and K of some columns, the mean change taken off: w ~ N(0, K) where C is right.

    Parameters
    ----------
    covariance : C.
    block : the columns wanted.
    """
    hessian, gradient = equations.hessian.astype(np.float64), equations.gradient.astype(np.float64)
    both = np.concatenate([gradient[..., None], hessian], axis=-1)
    solved = np.linalg.solve(np.eye(len(covariance)) + hessian @ covariance, both)
    slope, seen = solved[..., 0], solved[..., 1:]
    mean = np.linalg.pinv(seen.sum(axis=0), hermitian=True) @ slope.sum(axis=0)
    slope = slope - seen @ mean
    return slope[:, block], seen[:, block][:, :, block]


def evidence_of(
    slope: Float[np.ndarray, "particles block"],
    seen: Float[np.ndarray, "particles block block"],
    half: Bool[np.ndarray, "particles"],
    looks: int,
    level: float,
) -> Evidence:
    """Return the evidence from w and K of one block.

    Parameters
    ----------
    slope, seen : w and K.
    half : which particles are of the second half-set.
    looks : independent columns of the kind, q.
    level : as for `region_evidence`.
    """
    total = Score.of(slope, seen, best_direction(slope, seen))
    halves = [
        Score.of(slope[part], seen[part], best_direction(slope[~part], seen[~part])).change for part in (~half, half)
    ]
    middle, width = wishart_edge(total.freedom, looks)
    p_value = GAMMA.sf((total.square - middle) / width)
    enough = middle + width * GAMMA.isf(level)
    null = replace(total, square=float(enough)).change
    return Evidence(total.change, null, float(p_value), (halves[0], halves[1]))


@dataclass(frozen=True)
class Score:
    """The score of a variance along one direction.

    Parameters
    ----------
    square : Q, χ² of `freedom` degrees where nothing changes.
    freedom : ν.
    unit : variance that a Q one larger speaks for, relative² or Å².
    """

    square: float
    freedom: float
    unit: float

    @classmethod
    def of(cls, slope: np.ndarray, seen: np.ndarray, direction: np.ndarray) -> Score:
        """Return that of w and K along a direction."""
        square = float(np.sum((slope @ direction) ** 2))
        expected = np.einsum("nij,i,j->n", seen, direction, direction)
        total, second = float(expected.sum()), float(expected @ expected)
        return cls(square * total / second, total**2 / second, float(direction @ direction) / total)

    @property
    def change(self) -> float:
        """Standard deviation of the change along the direction; 0 where there is less than in nothing."""
        return float(np.sqrt(max(self.square - self.freedom, 0.0) * self.unit))


def wishart_edge(samples: float, columns: int) -> tuple[float, float]:
    """Return middle and width of the law of the largest eigenvalue of a white Wishart matrix (Johnstone 2001)."""
    roots = np.sqrt(max(samples - 1, 1.0)), np.sqrt(columns)
    return float(sum(roots) ** 2), float(sum(roots) * (1 / roots[0] + 1 / roots[1]) ** (1 / 3))


def best_direction(
    slope: Float[np.ndarray, "particles block"], seen: Float[np.ndarray, "particles block block"]
) -> Float[np.ndarray, "block"]:
    """Return the direction a of largest score in the unit of what is seen, aᵀ (mean of K) a = 1."""
    values, vectors = np.linalg.eigh(seen.mean(axis=0))
    kept = values > LEAST_SEEN * values[-1]
    root = vectors[:, kept] / np.sqrt(values[kept])
    more = (slope.T @ slope - seen.sum(axis=0)) / len(slope)
    return root @ np.linalg.eigh(root.T @ more @ root)[1][:, -1]
