"""Regions judged by their own signals: merged, split, dissolved, and their members weighed again.

A clustering in a plane sees each Gaussian by itself. Once there are regions, each has a signal, the
mean change of its members, in which private noise has averaged out, and more can be told:

- c_ir = mean over j in r, j ≠ i, of S_ij: what Gaussian i changes in common with region r;
- C_rs = mean over i in r of c_is: what regions have in common, ρ_rs = C_rs / √(C_rr C_ss);
- b_i = √diag(C) C⁻¹ c_i: how much of each region's signal Gaussian i carries, so that a Gaussian at
  a border, into which a decoder lets the neighbouring piece leak, and regions whose errors are
  correlated, are told apart.

Two regions of one signal (ρ > 0.8) are one. A region that falls into groups of different signals is
several. A region whose signal is a sum of stronger ones' is their border. A region that changes much
less than the others is part of the core.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.density import NOISE, drop_small, linkage_tree
from libhetero.analysis.embedding import unit_rows

SAME = 0.8  # correlation of two regions above which they are one
APART = 0.5  # mean correlation of two groups within a region below which they are two
SUM_OF_OTHERS = 0.8  # part of a region's variance above which it is a sum of stronger ones
FULL = 80  # percentile of the members of a region that counts as full
RIDGE = 0.02
ROUNDS = 12


@dataclass(frozen=True)
class Refinement:
    """When a Gaussian, or a region, counts.

    Parameters
    ----------
    min_size : fewest Gaussians of a region.
    assign : least correlation, without private noise, of a Gaussian with its region.
    least_share : a Gaussian that carries less than this fraction of what full members of its region
        do belongs to no region.
    weak : a region whose full members change less than this fraction of what those of the strong
        regions do is part of the core.
    least : size of change below which a region is part of the core, in place of `weak`; None for
        `weak`.
    restructure : whether to merge, split, dissolve and move members; False takes the groups as
        they are and only adds Gaussians of none to them.
    """

    min_size: int
    assign: float
    least_share: float
    weak: float
    least: float | None = None
    restructure: bool = True


def refine_regions(
    similarity: Float[np.ndarray, "gaussians gaussians"],
    points: Float[np.ndarray, "gaussians columns"],
    label: Int[np.ndarray, "gaussians"],
    rules: Refinement,
) -> Int[np.ndarray, "gaussians"]:
    """Return regions that hold together, from a first grouping; -1 for Gaussians of none.

    Parameters
    ----------
    similarity : S, as for `find_regions`, of the Gaussians that change.
    points : unit vectors whose inner products are their correlations without private noise.
    label : first grouping, -1 for none.
    rules : when to do what.
    """
    off = np.array(similarity, np.float64)
    np.fill_diagonal(off, 0)
    label = drop_small(label, rules.min_size)
    if rules.restructure:
        label = _restructured(off, points, label, rules)
    elif label.max(initial=NOISE) >= 0:
        label = np.where(label == NOISE, _assign(off, points, label, rules), label)
    return _set_weak_aside(off, label, rules)


def _restructured(off: np.ndarray, points: np.ndarray, label: np.ndarray, rules: Refinement) -> np.ndarray:
    """Split once, then merge, dissolve and weigh the members until nothing changes."""
    label = _split(points, label, rules.min_size)
    seen: set[bytes] = set()
    while label.max(initial=NOISE) >= 0 and label.tobytes() not in seen and len(seen) < ROUNDS:
        seen.add(label.tobytes())
        label = _dissolve_sums(off, _merge(off, label))
        label = drop_small(_assign(off, points, label, rules), rules.min_size)
    return label


def _split(points: np.ndarray, label: np.ndarray, min_size: int) -> np.ndarray:
    """Cut regions, and the Gaussians of none, where average linkage finds groups less correlated."""
    from scipy.cluster.hierarchy import fcluster

    cut = np.full(len(label), NOISE)
    for region in range(NOISE, int(label.max(initial=NOISE)) + 1):
        inside = np.flatnonzero(label == region)
        if len(inside) < min_size:
            continue
        distance = np.clip(1 - points[inside] @ points[inside].T, 0, 2)
        parts = fcluster(linkage_tree(distance), 1 - APART, criterion="distance") - 1
        parts = drop_small(parts, min_size)
        if region != NOISE and parts.max() < 1 and np.mean(parts == 0) > 0.5:
            parts = np.zeros_like(parts)  # one region still, and what strays is weighed later
        cut[inside] = np.where(parts == NOISE, NOISE, parts + cut.max() + 1)
    return cut


def _merge(off: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Join the two regions of most similar signals while these are one signal."""
    total, number = _totals(off, label)
    name = np.arange(len(number))
    while len(number) > 1:
        correlation = _correlation(_common(total, number))
        np.fill_diagonal(correlation, -1)
        first, second = sorted(np.unravel_index(correlation.argmax(), correlation.shape))
        if correlation[first, second] < SAME:
            break
        for axis in (0, 1):
            total = np.swapaxes(total, 0, axis)
            total[first] += total[second]
            total = np.swapaxes(np.delete(total, second, axis=0), 0, axis)
        number[first] += number[second]
        number = np.delete(number, second)
        name = np.where(name == second, first, name - (name > second))
    return np.where(label == NOISE, NOISE, name[label])


def _dissolve_sums(off: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Free the members of regions that are sums of stronger ones, one region at a time."""
    common = _common(*_totals(off, label))
    kept = np.arange(len(common))
    while len(kept) > 1:
        explained = _explained_by_stronger(common[np.ix_(kept, kept)])
        if explained.max() < SUM_OF_OTHERS:
            break
        kept = np.delete(kept, explained.argmax())
    name = np.full(len(common), NOISE)
    name[kept] = np.arange(len(kept))
    return np.where(label == NOISE, NOISE, name[label])


def _assign(off: np.ndarray, points: np.ndarray, label: np.ndarray, rules: Refinement) -> np.ndarray:
    """Give every Gaussian to the region whose signal it carries most of, if enough of it."""
    carried = _carried(off, label)
    full = np.maximum(_full(carried, label), 1e-30)
    centres = [points[label == region].mean(axis=0) for region in range(len(full))]
    alike = points @ unit_rows(np.stack(centres)).T
    each, best = np.arange(len(carried)), carried.argmax(axis=1)
    enough = carried[each, best] >= rules.least_share * full[best]
    return np.where(enough & (alike[each, best] >= rules.assign), best, NOISE)


def _set_weak_aside(off: np.ndarray, label: np.ndarray, rules: Refinement) -> np.ndarray:
    """Free the members of regions that change little beside the others.

    Last of all: until then such a region holds the Gaussians of a fluctuating core together, which
    would otherwise join the region they are least unlike.
    """
    if label.max(initial=NOISE) < 0:
        return label
    strength = _full(_carried(off, label), label)
    least = rules.least
    if least is None:
        least = rules.weak * (strength**3).sum() / (strength**2).sum()  # a mean of the strong ones
    name = np.where(strength >= least, np.arange(len(strength)), NOISE)
    return drop_small(np.where(label == NOISE, NOISE, name[label]), rules.min_size)


def _members(label: np.ndarray) -> np.ndarray:
    return (label[:, None] == np.arange(int(label.max(initial=NOISE)) + 1)).astype(np.float64)


def _totals(off: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of S over pairs of regions, without i = j, and the regions' sizes."""
    member = _members(label)
    return member.T @ off @ member, member.sum(axis=0)


def _common(total: np.ndarray, number: np.ndarray) -> np.ndarray:
    pairs = np.outer(number, number) - np.diag(number)
    return total / np.maximum(pairs, 1)


def _correlation(common: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.maximum(np.diag(common), 1e-30))
    return common / np.outer(scale, scale)


def _carried(off: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return b, (N, K), in the unit of the change; a small ridge where signals are nearly one."""
    member = _members(label)
    number = member.sum(axis=0)
    in_common = (off @ member) / np.maximum(number - member, 1)
    common = _common(member.T @ off @ member, number)
    scale = np.sqrt(np.maximum(np.diag(common), 1e-30))
    ridge = _correlation(common) + RIDGE * np.eye(len(common))
    return np.linalg.solve(ridge, (in_common / scale).T).T


def _full(carried: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return what full members of each region carry of its signal: their 80th percentile."""
    regions = range(carried.shape[1])
    return np.array([np.percentile(carried[label == one, one], FULL) for one in regions])


def _explained_by_stronger(common: np.ndarray) -> np.ndarray:
    """Return the part of each region's variance that sums of stronger regions explain.

    Positive sums of all stronger ones; of those at least twice as strong, any sums: what
    overcompensates at the border of a piece changes against it, and less.
    """
    from scipy.optimize import nnls

    values, vectors = np.linalg.eigh(_correlation(common))
    signal = vectors * np.sqrt(np.maximum(values, 0))  # rows with these inner products
    strength = np.sqrt(np.maximum(np.diag(common), 0))
    explained = np.zeros(len(signal))
    for region, own in enumerate(signal):
        variance = max(float(own @ own), 1e-30)
        stronger = signal[strength > strength[region]].T
        if stronger.shape[1] > 1:
            explained[region] = 1 - nnls(stronger, own)[1] ** 2 / variance
        stronger = signal[strength > 2 * strength[region]].T
        if stronger.size:
            rest = own - stronger @ np.linalg.lstsq(stronger, own, rcond=None)[0]
            explained[region] = max(explained[region], 1 - float(rest @ rest) / variance)
    return explained
