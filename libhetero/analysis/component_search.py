"""How many components a mixture of particles has: trees of clusters, mixtures started there, splits and merges.

The number is that of best

    score = log-likelihood over that of one Gaussian - what the numbers of the model cost,

comparable between numbers of components and between the directions along which they are told apart: beyond these, all
are one Gaussian of variance 1. Few components cost ½ log n for each number, as in the Bayesian information criterion.
The mean of one of many is known from its own n_k particles, not from all: where it may be anywhere in N(0, 1) and
particles are about it as σ², the integral over the mean costs

    ½ (1 - σ² + log(1 + n_k / σ²))

along each direction, besides ½ log n for the weight and ½ log(1 + n_k / n_0) for the scale, drawn towards 1 by n_0
particles. For a hundred classes of sixty particles that is hardly more than half of ½ log n a number, which leaves the
smallest and nearest of them to their neighbours. It holds from √n components on, where log n is twice log n_k: of few
classes it would find the tails as well, along directions that tell no classes apart.

A mixture of many classes looks like one Gaussian
along every single direction, so nothing can be found by halving; Ward's tree of the particles is cut at each number
instead, and made anew in the metric of the classes found (distances over the spread within them), which does not drown
in directions of noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.measured import Measured, discriminants
from libhetero.analysis.mixture import PRIOR_PARTICLES, Mixture, Seen, fit_mixture, start_mixture

LARGEST_TREE = 4000  # points that Ward's tree is of
FINENESS = 1.3  # ratio of the numbers tried
FEWEST_PARTICLES = 5  # of a component, on the average
ROUNDS = 4  # trees in ever better metrics
REFINEMENTS = 8
SCREENED, POLISHED = 6, 12  # steps of expectation maximisation
OVERDONE = 3  # numbers in a row that are worse, and far worse, than the best


@dataclass(frozen=True, eq=False)
class Found:
    """A mixture and how good it is.

    Parameters
    ----------
    score : nats gained on one Gaussian, less what its numbers cost.
    directions : along which its components differ.
    seen : particles along these.
    mixture : of them.
    member : most probable component of each particle.
    many : by what means cost in a mixture of many components.
    """

    score: float
    directions: Float[np.ndarray, "columns kept"]
    seen: Seen
    mixture: Mixture
    member: Int[np.ndarray, "particles"]
    many: bool = False

    @property
    def components(self) -> int:
        """How many."""
        return len(self.mixture.weight)


@dataclass(frozen=True, eq=False)
class _Cost:
    """What components cost.

    Parameters
    ----------
    count : particles, n.
    variance : σ² along each direction.
    many : whether means are known from their own particles alone.
    """

    count: float
    variance: Float[np.ndarray, "columns"]
    many: bool

    @classmethod
    def of(cls, seen: Seen, mixture: Mixture, many: bool) -> _Cost:
        """Return the costs of a mixture of particles."""
        return cls(float(seen.weight.sum()), mixture.shape + seen.error.mean(axis=0), many)

    def component(self, size: Float[np.ndarray, "components"]) -> Float[np.ndarray, "components"]:
        """Return the cost of components of so many particles."""
        if not self.many:
            return np.full(len(size), 0.5 * np.log(self.count) * (len(self.variance) + 2))
        mean = np.maximum(1 - self.variance, 0).sum() + np.log1p(np.divide.outer(size, self.variance)).sum(axis=-1)
        cost: np.ndarray = 0.5 * (mean + np.log(self.count) + np.log1p(size / PRIOR_PARTICLES))
        return cost

    def mixture(self, weight: Float[np.ndarray, "components"]) -> float:
        """Return the cost of a mixture over that of one Gaussian."""
        return float(self.component(weight * self.count).mean() * (len(weight) - 1))


def most_probable(seen: Seen, mixture: Mixture) -> Int[np.ndarray, "particles"]:
    """Return the most probable component of each particle."""
    parts = [
        mixture.log_joint(seen.points[rows], seen.error[group]).argmax(axis=1)
        for group, rows in seen.blocks(len(mixture.weight))
    ]
    return np.concatenate(parts)


def fit_components(
    measured: Measured,
    member: Int[np.ndarray, "particles"],
    steps: int,
    rounds: int = 2,
    least: int = 0,
    many: bool = False,
) -> Found | None:
    """Return the mixture fitted from given components; None if nothing tells these apart.

    Parameters
    ----------
    measured : particles.
    member : component of each to start from, 0 … without gaps.
    steps : of expectation maximisation, in each round.
    rounds : how many times the directions are found.
    least : directions kept at least.
    many : score by what means cost in a mixture of many components.
    """
    components = int(member.max()) + 1
    for _ in range(rounds):
        directions = discriminants(measured, member, components, least)
        if not directions.shape[1]:
            return None
        seen = measured.along(directions)
        mixture, likelihood = fit_mixture(seen, start_mixture(seen, member, components), steps)
        member = most_probable(seen, mixture)
    columns = directions.shape[1]
    count = float(seen.weight.sum())
    single = -0.5 * float(seen.weight @ np.square(seen.points).sum(axis=1)) - 0.5 * count * columns * np.log(2 * np.pi)
    cost = _Cost.of(seen, mixture, many).mixture(mixture.weight)
    return Found(likelihood - single - cost, directions, seen, mixture, member, many)


def find_components(measured: Measured, most: int, seed: int) -> Found | None:
    """Return the mixture of best score; None if one Gaussian is as good.

    Parameters
    ----------
    measured : particles.
    most : components at most.
    seed : of the small clusters that the tree is of.
    """
    most = min(most, int(measured.weight.sum()) // FEWEST_PARTICLES)
    spread = 1 / np.linalg.norm(measured.whitening.matrix, axis=0)
    metric = measured.points * spread  # the latents themselves, turned
    best: Found | None = None
    for attempt in range(ROUNDS):
        before = best.score if best else 0.0
        tree = _Tree.of(metric, seed + attempt)
        numbers = _numbers(2, most, FINENESS) if best is None else _around(best.components, most)
        best = _screened(measured, tree, numbers, best)
        if best is None:
            return None
        best = _refined(measured, best, most, seed)
        if attempt + 1 < ROUNDS and not best.many and best.components**2 > measured.weight.sum():
            best = _as_one_of_many(best)
        elif best.score <= before + 1:
            break
        metric = best.seen.points / np.sqrt(best.mixture.shape + best.seen.error.mean(axis=0))
    return best


def _as_one_of_many(found: Found) -> Found:
    """Return the mixture with the score of one of many components."""
    few, many = (_Cost.of(found.seen, found.mixture, one).mixture(found.mixture.weight) for one in (False, True))
    return replace(found, score=found.score + few - many, many=True)


@dataclass(frozen=True, eq=False)
class _Tree:
    """Ward's tree of small clusters, and which of these each particle is in."""

    links: np.ndarray
    cluster: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, seed: int) -> _Tree:
        from scipy.cluster.hierarchy import linkage
        from sklearn.cluster import MiniBatchKMeans

        if len(points) <= LARGEST_TREE:
            return cls(linkage(points, "ward"), np.arange(len(points)))
        small = MiniBatchKMeans(
            LARGEST_TREE, init="random", n_init=1, batch_size=2 * LARGEST_TREE, max_iter=6, random_state=seed
        ).fit(points.astype(np.float32))
        used, cluster = np.unique(small.labels_, return_inverse=True)
        return cls(linkage(small.cluster_centers_[used], "ward"), cluster)

    def cut(self, number: int) -> np.ndarray:
        """Return the cluster of each particle, of at most `number`."""
        from scipy.cluster.hierarchy import fcluster

        return (fcluster(self.links, number, "maxclust") - 1)[self.cluster]


def _numbers(least: int, most: int, ratio: float) -> list[int]:
    numbers, number = [], float(least)
    while number <= most:
        numbers.append(int(number))
        number = max(number + 1, number * ratio)
    return numbers


def _around(number: int, most: int) -> list[int]:
    return sorted({int(round(number * ratio)) for ratio in np.geomspace(0.75, 1.6, 7)} & set(range(2, most + 1)))


def _screened(measured: Measured, tree: _Tree, numbers: list[int], best: Found | None) -> Found | None:
    """Return the best of the tree's cuts, or what was best before."""
    worse = 0
    for number in numbers:
        found = fit_components(measured, tree.cut(number), SCREENED, rounds=1, many=best is not None and best.many)
        if found is not None and found.score > (best.score if best else 0.0):
            best, worse = found, 0
        elif best is not None:
            worse += found is None or found.score < 0.8 * best.score
        if worse >= OVERDONE:
            break
    return best


def _refined(measured: Measured, best: Found, most: int, seed: int) -> Found:
    """Return the mixture after splits and merges of components, as long as they raise the score."""
    polished = fit_components(measured, _renumbered(best.member), POLISHED, many=best.many)
    if polished is not None and polished.score > best.score:
        best = polished
    for attempt in range(REFINEMENTS):
        member = _rearranged(best, most, seed + attempt)
        if np.array_equal(member, best.member):
            break
        found = fit_components(measured, _renumbered(member), POLISHED, many=best.many)
        if found is None or found.score <= best.score:
            break
        best = found
    return best


def _renumbered(member: np.ndarray) -> np.ndarray:
    return np.unique(member, return_inverse=True)[1]


def _rearranged(found: Found, most: int, seed: int) -> np.ndarray:
    """Return components after all splits, and merges of others, that should raise the score."""
    cost = _Cost.of(found.seen, found.mixture, found.many)
    member, split = found.member.copy(), set()
    following = found.components
    for component, rows in _splits(found, cost, seed):
        if following >= most:
            break
        member[rows] = following
        split.add(component)
        following += 1
    for first, second in _merges(found.mixture, cost):
        if not {first, second} & split:
            member[member == second] = first
    return member


def _splits(found: Found, cost: _Cost, seed: int) -> list[tuple[int, np.ndarray]]:
    """Return components that are better as two, and the particles of the second."""
    from sklearn.cluster import KMeans

    scaled = found.seen.points / np.sqrt(found.mixture.shape + found.seen.error.mean(axis=0))
    order = np.argsort(found.member, kind="stable")
    edges = np.searchsorted(found.member[order], np.arange(found.components + 1))
    splits = []
    for component in range(found.components):
        rows = order[edges[component] : edges[component + 1]]
        if len(rows) < 2 * FEWEST_PARTICLES:
            continue
        inside = scaled[rows]
        second = KMeans(2, n_init=1, max_iter=20, random_state=seed).fit_predict(inside) == 1
        sizes = np.array([len(rows) - second.sum(), second.sum(), len(rows)], float)
        if _gain_of_split(inside, second) > cost.component(sizes) @ [1, 1, -1]:
            splits.append((component, rows[second]))
    return splits


def _gain_of_split(inside: np.ndarray, second: np.ndarray) -> float:
    """Return what two Gaussians of one scale gain in likelihood on one, particles being in one of them each."""
    count, columns = inside.shape
    part = second.mean()
    if min(part, 1 - part) * count < 3:
        return -np.inf
    apart = inside[second].mean(axis=0) - inside[~second].mean(axis=0)
    whole = float(np.square(inside - inside.mean(axis=0)).sum())
    rest = whole - count * part * (1 - part) * float(apart @ apart)
    prior = FEWEST_PARTICLES * columns
    scales = np.array([(rest + prior), (whole + prior)]) / (count * columns + prior)
    exponent = -0.5 * count * columns * np.log(scales) - 0.5 * np.array([rest, whole]) / scales
    return float(exponent[0] - exponent[1] + count * (part * np.log(part) + (1 - part) * np.log(1 - part)))


def _merges(mixture: Mixture, cost: _Cost) -> list[tuple[int, int]]:
    """Return pairs of components, each in one pair at most, that are better as one."""
    mean = mixture.mean / np.sqrt(mixture.shape)
    size = np.maximum(mixture.weight * cost.count, 1e-9)
    square = np.square(mean).sum(axis=1)
    distance = np.maximum(square[:, None] - 2 * mean @ mean.T + square, 0) / np.sqrt(
        mixture.scale[:, None] * mixture.scale
    )
    both = size[:, None] + size
    sizes = np.geomspace(both.min(), both.max(), 200)
    saved = cost.component(size)
    saved = saved[:, None] + saved - np.interp(both, sizes, cost.component(sizes))
    alone = size * np.log(size)
    gain = saved - 0.5 * size[:, None] * size / both * distance - (alone[:, None] + alone - both * np.log(both))
    first, second = np.nonzero(np.triu(gain > 0, 1))
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for place in np.argsort(-gain[first, second]):
        pair = int(first[place]), int(second[place])
        if not taken & set(pair):
            pairs.append(pair)
            taken |= set(pair)
    return pairs
