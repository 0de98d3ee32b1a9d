"""Classes into which a molecule that changes was cut, joined again.

Images of a molecule that moves are sorted into as many classes as differ clearly, though it has no states. Of two
classes a and b that some images could be of either, the volume V and the modes U (`residuals`) of both together are
made of the images of one half-set, and have to account for those of the other:

    one that changes    log ∫ N(w; m, S) p(x | V + U w) dw
    two that change     log Σ_k π_k ∫ N(w; m_k, S_k) p(x | V + U w) dw          k = 1, 2, in the same modes
    two volumes         log [π_a p(x | V_a) + π_b p(x | V_b)]

m, S and π by expectation maximisation over those images. The two are one molecule where the first predicts images
better than two volumes do, by `CERTAIN` standard errors, and where the second does not find two states: a part of at
least `BETWEEN` of the images is of the less probable of its two distributions. Of two states that are d standard
deviations apart this is Φ(-d/2), 0.4 % at d = 5.3; of weights spread evenly along a line it is 4 %, along an arc
somewhat less. Two molecules are better predicted by two volumes. Joined classes are tried with others in the next
round.

A pair is tried where it has `LEAST_IMAGES` images, `LEAST_OF_EACH` of them in either class. The volumes of smaller
classes hold so much noise that modes of both predict images better than they do, whatever is in them: of a set of a
thousand molecules in which nothing moves, 50 images each, 26 of 958 classes became two molecules where 80 images of a
pair were enough, and the adjusted Rand index fell from 0.847 to 0.722. With 300, a molecule that moves, of 600 images,
stayed cut into five classes; with 240 it is one, and no two of the 958 are.

The other account is by the two volumes also where classes were joined before, not by those of all classes that they are
made of: these predict images of a large swing better than one volume and a few modes do, and it would stay cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import logsumexp

from libhetero.models.hype.latent.grid import OnGrid
from libhetero.models.hype.latent.merges import Contrast, nearest_pairs, unsure
from libhetero.models.hype.latent.residuals import FACTORS, MOST_POINTS, RANK, Residuals, fewer_where_wide, gains_of
from libhetero.models.hype.latent.volumes import Sums, signal_power, solved, sums_of

CERTAIN = 4.0
LEAST_IMAGES, LEAST_OF_EACH = 240, 50  # of two classes that may be one molecule
BETWEEN = 4e-3
UNSURE = 5e-4  # part of the images of two classes that are sorted at random between them, at least
ROUNDS = 12
MOST_IMAGES = 2000  # of each class in each half-set
FEWEST_OF_MANY = 200  # where each has many pixels
MOST_TOGETHER = 8000  # images of pairs that are tried at once, but for the largest pair
STEPS = 25  # in which distributions of weights are settled
LEAST_SPREAD = 1e-2  # images' worth of a covariance of 1, that each begins with


def molecules_of(
    seen: OnGrid, label: Int[np.ndarray, "particles"], classes: int, contrast: Contrast, seed: int
) -> Int[np.ndarray, "classes"]:
    """Return the molecule that each class is of, numbered in the order of their first classes.

    Parameters
    ----------
    seen : slices.
    label : class of each particle, -1 for none.
    classes : how many.
    contrast : of the particles.
    seed : of the modes to begin with.
    """
    molecule, seen = np.arange(classes), seen.scaled(contrast.estimate)
    if classes < 2:
        return molecule
    tried: set[frozenset[frozenset[int]]] = set()
    for _ in range(ROUNDS):
        own = np.append(molecule, -1)[label]
        members = [frozenset(np.flatnonzero(molecule == one).tolist()) for one in range(molecule.max() + 1)]
        sums, count = sums_of(seen, own, len(members)), np.bincount(own[own >= 0], minlength=len(members))
        pairs = near_volumes(sums)
        pairs = pairs[[frozenset((members[first], members[second])) not in tried for first, second in pairs]]
        pairs = pairs[(count[pairs].sum(axis=1) >= LEAST_IMAGES) & (count[pairs].min(axis=1) >= LEAST_OF_EACH)]
        pairs = pairs[unsure(seen, own, pairs, sums, contrast.spread) > UNSURE]
        between = between_both(seen, own, pairs, sums, seed)
        target, used = np.arange(len(members)), set[int]()
        for one in np.argsort(-between):
            first, second = (int(each) for each in pairs[one])
            if between[one] < BETWEEN:
                tried.add(frozenset((members[first], members[second])))
            elif not {first, second} & used:
                used |= {first, second}
                target[second] = first
        if not used or molecule.max() == 0:
            break
        molecule = np.unique(target[molecule], return_inverse=True)[1]
    return molecule


def between_both(
    seen: OnGrid, label: Int[np.ndarray, "particles"], pairs: Int[np.ndarray, "pairs 2"], sums: Sums, seed: int
) -> Float[np.ndarray, "pairs"]:
    """Return the part of the images of two classes that is of the less probable of two distributions of weights.

    It is 0 where one volume that changes does not predict images better than two volumes do.

    Parameters
    ----------
    seen : slices, the contrast of each particle in its transfer.
    label : class of each particle, -1 for none.
    pairs : of classes.
    sums : of the classes.
    seed : of the modes to begin with.
    """
    signal, count = signal_power(sums, seen.grid), np.bincount(label[label >= 0], minlength=len(sums.weight))
    together = fewer_where_wide(MOST_TOGETHER, seen.point.shape[1])
    images = np.cumsum(np.minimum(count, 2 * _most(seen))[pairs].sum(axis=1)) // together
    points = np.arange(len(pairs)) * 2 * seen.grid.size // MOST_POINTS
    found: list[float] = []
    for part in np.split(pairs, np.flatnonzero(np.diff(images) + np.diff(points)) + 1 if len(pairs) else []):
        halves = [_accounts(seen, label, part, sums, half, signal, seed) for half in (0, 1)] if len(part) else []
        found += [_between(*both) for both in zip(*halves, strict=True)]
    return np.array(found)


def near_volumes(sums: Sums) -> Int[np.ndarray, "pairs 2"]:
    """Return pairs of classes whose volumes differ least, at the points that images are near to."""
    weight = np.sqrt(sums.weight.sum(axis=(0, 1)))
    whole = sums.whole()
    known = np.maximum(whole.weight[:, 0] + whole.weight.mean(axis=0), 1e-30)
    volumes = whole.numerator[:, 0] / known * weight
    return nearest_pairs(np.concatenate([volumes.real, volumes.imag], axis=1))


@dataclass(frozen=True, eq=False)
class _Account:
    """What is said of images of two classes by what was made of others, nats against noise alone.

    Parameters
    ----------
    volumes : by two volumes.
    one : by one volume and modes with one distribution of the weights.
    less : probability of the less probable of two distributions.
    """

    volumes: Float[np.ndarray, "images"]
    one: Float[np.ndarray, "images"]
    less: Float[np.ndarray, "images"]


def _between(*halves: _Account) -> float:
    """Return what `between_both` does, of one pair."""
    gain = np.concatenate([half.one - half.volumes for half in halves])
    fitted = 0.5 * len(halves) * RANK * (RANK + 3) / 2  # nats that mean and covariance gain of nothing
    if gain.mean() - fitted / len(gain) <= CERTAIN * gain.std(ddof=1) / np.sqrt(len(gain)):
        return 0.0
    return float(np.concatenate([half.less for half in halves]).mean())


def _accounts(
    seen: OnGrid, label: np.ndarray, pairs: np.ndarray, sums: Sums, half: int, signal: np.ndarray, seed: int
) -> list[_Account]:
    """Return what volumes and modes made of one half-set say of the images of the other, for each pair."""
    made, other = (
        [[_some(_most(seen), label == one, seen.half == each) for one in pair] for pair in pairs]
        for each in (half, 1 - half)
    )
    sums = Sums(sums.numerator[:, half, None], sums.weight[:, half, None])
    apart = solved(sums.take(pairs.ravel()), seen.grid, signal)[:, 0]
    both = solved(sums.of_pairs(*pairs.T), seen.grid, signal)[:, 0]
    single = _residuals(seen, [np.concatenate(pair) for pair in other for _ in (0, 1)], apart)
    images = _residuals(seen, list(map(np.concatenate, other)), both)
    modes = _residuals(seen, list(map(np.concatenate, made)), both).modes(signal, seed)
    gradient, hessian = images.equations(modes)
    gains = gains_of(gradient, hessian)
    found = []
    for place, (one, two) in enumerate(other):
        rows, first = images.owner == place, np.arange(len(one) + len(two)) < len(one)
        share = np.log((np.array([[len(one)], [len(two)]]) + 1) / (len(first) + 2))
        volume = np.stack([single.explained[single.owner == 2 * place + part] for part in (0, 1)])
        factor = FACTORS[int(gains[:, rows].sum(axis=1).argmax())]
        equations = factor * gradient[rows], factor**2 * hessian[rows]
        one_part = _with_weights(*equations, np.ones((1, len(first))))[0]
        less = _with_weights(*equations, np.stack([first, ~first]))[1].min(axis=0)
        found.append(_Account(np.logaddexp(*(volume + share)), images.explained[rows] + one_part, less))
    return found


def _most(seen: OnGrid) -> int:
    """Return how many particles of a class are looked at in each half-set."""
    return max(fewer_where_wide(MOST_IMAGES, seen.point.shape[1]), FEWEST_OF_MANY)


def _some(most: int, *conditions: Bool[np.ndarray, "particles"]) -> Int[np.ndarray, "some"]:
    """Return the particles that meet conditions, of many some that lie evenly among them, `most` or fewer."""
    rows = np.flatnonzero(np.all(conditions, axis=0))
    return rows[:: max(1, -(-len(rows) // most))]


def _residuals(seen: OnGrid, rows: list[np.ndarray], volumes: np.ndarray) -> Residuals:
    """Return what each volume leaves of the images in its rows."""
    return Residuals(seen, np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(one) for one in rows]), volumes)


def _with_weights(
    gradient: Float[np.ndarray, "images modes"],
    hessian: Float[np.ndarray, "images modes modes"],
    begun: Float[np.ndarray, "parts images"] | Bool[np.ndarray, "parts images"],
) -> tuple[Float[np.ndarray, "images"], Float[np.ndarray, "parts images"]]:
    """Return what modes add for images, the distribution of their weights settled on them, and the part each is of.

    Parameters
    ----------
    gradient, hessian : g and H of the images in the modes.
    begun : which images each part of the distribution begins with, nine parts in ten.
    """
    parts, unit = len(begun), np.eye(gradient.shape[1])
    member = begun if parts == 1 else np.where(begun, 0.9, 0.1 / (parts - 1))
    weight, covariance = _posterior(gradient, hessian, np.zeros(len(unit)), unit)[:2]
    posterior = [(weight, covariance) for _ in begun]
    for _ in range(STEPS):
        joint = []
        for place, of_part in enumerate(member):
            weight, covariance = posterior[place]
            total = of_part.sum() + LEAST_SPREAD
            mean = (of_part @ weight) / total
            off = weight - mean
            spread = np.einsum("n,nij->ij", of_part, covariance + off[:, :, None] * off[:, None]) + LEAST_SPREAD * unit
            weight, covariance, likelihood = _posterior(gradient, hessian, mean, spread / total)
            posterior[place] = weight, covariance
            joint.append(likelihood + np.log((of_part.sum() + 1) / (len(gradient) + parts)))
        all_parts = logsumexp(joint, axis=0)
        member = np.exp(np.stack(joint) - all_parts)
    return all_parts, member


def _posterior(
    gradient: np.ndarray, hessian: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and covariance of the weights of images under N(m, S), and log ∫ N(w; m, S) exp(gᵀw - ½ wᵀHw) dw."""
    inverse = np.linalg.inv(spread)
    system = hessian + inverse
    covariance = np.linalg.inv(system)
    side = gradient + inverse @ mean
    weight = np.einsum("nij,nj->ni", covariance, side)
    determinant = np.linalg.slogdet(system)[1] + np.linalg.slogdet(spread)[1]
    return weight, covariance, 0.5 * ((side * weight).sum(axis=1) - determinant - mean @ inverse @ mean)
