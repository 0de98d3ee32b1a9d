"""A starting mixture from a map.

Centres are quantisation centres (k-means) of the molecule's voxels, weighted by the square root of
the density so that a piece that only half of the particles hold gets its share. Position, amplitude
and width of every Gaussian then minimise, by gradient descent,

    Σ_k w(k) |V(k) - G(k)|² / Σ_k w(k) |V(k)|²,     w = C_s / a_s

over the Fourier voxels k of shell s, with C_s the map's reliability there and a_s the root mean square
of |V|: between w = 1, which is the squared error of the densities and all low resolution, and
w = 1 / a², in which faint shells count as much as bright ones. Refined against projections (`views`)
w = C_s / |k|: central slices in all directions, together, hold the voxel k as often as 1 / |k|, so that
this is the mean squared error of all projections without drawing any.

The number of Gaussians, where it is not given, grows to that of the changes which the particles can tell
(`independent_changes`), or until

    explained = Σ_s C_s min(FSC_s / √C_s, 1) / Σ_s C_s

no longer grows: √C_s is the FSC that the map has with the truth, so that a mixture that is as good is
not asked to follow the noise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from scipy.spatial import cKDTree

from libhetero.errors import ConfigurationError, DataError
from libhetero.models.gmm.start.independent_changes import Extent, ParticleInformation, independent_changes
from libhetero.models.gmm.start.map_support import background, smoothed
from libhetero.physics.arrays import Number
from libhetero.physics.correlation import fourier_shell_correlation, shell_index
from libhetero.physics.fourier import hermitian_weight
from libhetero.physics.gaussians import gaussians_to_volume, transform_octants
from libhetero.physics.pytrees import register_record
from libhetero.physics.symmetry import in_unit, symmetric_copies, symmetry_operators
from libhetero.records import Gaussians

MOST_VOXELS = 120_000
LLOYD_ROUNDS = 30
FINEST = 0.6  # of the distance between Gaussians: finer detail is out of their reach
NARROWEST, WIDEST = 1 / 3, 0.75  # voxels; of that distance: wider ones would stand for solvent
FARTHEST = 0.75  # of that distance, along each axis: farther ones would leave the molecule
RATE = 0.1
FEWEST, MOST, GROWTH = 64, 4096, 1.6
ENOUGH = 500  # Gaussians, of all units: with fewer, what the mixture lacks of the map is taken for changes
COARSEST = 2.5  # of the finest detail: distance between the fewest Gaussians tried
SEARCH_STEPS = 50
LOWEST = 2  # shell: 0 is empty and 1 holds DC alone
WORTH = 0.02  # of what can be explained: a larger mixture must add this much


@dataclass(frozen=True, eq=False)
class MapToFit:
    """A map, where its molecule is and how far it can be trusted.

    Parameters
    ----------
    volume : (n, n, n), (z, y, x), origin n // 2.
    pixel_size : Å.
    inside : (n, n, n), voxels of the molecule, see `molecule_mask`.
    trust : (n // 2,), reliability of each shell, see `map_support.reliability`.
    operators : (copies, 3, 3) of its symmetry; a mixture is one asymmetric unit.
    information : of the particles behind it; None where nothing is known of them.
    """

    volume: np.ndarray
    pixel_size: float
    inside: np.ndarray
    trust: np.ndarray
    operators: np.ndarray = field(default_factory=lambda: symmetry_operators("c1"))
    information: ParticleInformation | None = None

    def spacing(self, count: int) -> float:
        """Return the distance between `count` Gaussians that share one asymmetric unit, Å."""
        voxels = np.count_nonzero(self.inside) / (len(self.operators) * count)
        return float(voxels ** (1 / 3) * self.pixel_size)

    def extent(self) -> Extent:
        """Return how large molecule and box are."""
        volume = np.count_nonzero(self.inside) * self.pixel_size**3
        return Extent(volume, len(self.inside) * self.pixel_size, len(self.operators))

    def changes(self) -> float:
        """Return how many Gaussians of one unit can change independently as far as the particles tell; ∞ if unknown."""
        return float("inf") if self.information is None else independent_changes(self.information, self.extent())


@dataclass(frozen=True, eq=False)
class FittedMixture:
    """A mixture and how well it explains its map.

    Parameters
    ----------
    gaussians : of one asymmetric unit, position and sigma in Å.
    correlation : of the two maps, 0 to 1.
    fsc : (n // 2,), of the two maps.
    explained : of what the map's own noise allows, 0 to 1; the module's last equation.
    """

    gaussians: Gaussians
    correlation: float
    fsc: np.ndarray
    explained: float


def place_gaussians(goal: MapToFit, count: int, seed: int) -> Gaussians:
    """Spread `count` Gaussians over the molecule, or over one asymmetric unit of it.

    Parameters
    ----------
    goal : the map.
    count : number of Gaussians.
    seed : of the first choice of voxels.

    Returns
    -------
    sigma half the distance between Gaussians; amplitude the density of the voxels nearest to each.

    Raises
    ------
    DataError : if the molecule has fewer voxels than Gaussians.
    """
    n = goal.volume.shape[0]
    voxels = np.argwhere(goal.inside)
    position = (voxels[:, ::-1] - n // 2) * goal.pixel_size
    unit = in_unit(position, goal.operators)
    voxels, position = voxels[unit], position[unit]
    if len(voxels) < count:
        raise DataError(
            f"the map has {len(voxels)} voxels of molecule; expected at least {count}, one a "
            "Gaussian. Lower --threshold or --ngauss."
        )
    rng = np.random.default_rng(seed)
    level, _ = background(goal.volume)
    density = smoothed(goal.volume, goal.pixel_size)[tuple(voxels.T)] - level
    density = np.maximum(density, 0.01 * max(density.max(), 1e-30))
    chosen = np.arange(len(voxels))
    if len(voxels) > max(MOST_VOXELS, 8 * count):
        chosen = rng.choice(len(voxels), max(MOST_VOXELS, 8 * count), replace=False)
    centres = _quantised(position[chosen], np.sqrt(density[chosen]), count, rng)
    nearest = cKDTree(centres).query(position)[1]
    amplitude = np.bincount(nearest, density, count)
    amplitude = np.maximum(amplitude, 0.05 * amplitude.mean())
    return Gaussians(
        centres.astype(np.float32), amplitude.astype(np.float32), np.full(count, 0.5 * goal.spacing(count), np.float32)
    )


def _quantised(points: np.ndarray, weight: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` centres by Lloyd's rounds of k-means.

    They start as points drawn as densely as the best centres lie, weight^(3/5).
    """
    share = weight**0.6
    drawn = rng.choice(len(points), count, replace=False, p=share / share.sum())
    centres = points[drawn].astype(np.float64)
    for _ in range(LLOYD_ROUNDS):
        distance, nearest = cKDTree(centres).query(points)
        mass = np.bincount(nearest, weight, count)
        sums = [np.bincount(nearest, weight * points[:, axis], count) for axis in range(3)]
        held = mass > 0
        centres[held] = np.stack(sums, axis=1)[held] / mass[held, None]
        centres[~held] = points[np.argsort(distance)[len(points) - int((~held).sum()) :]]
    return centres


def fit_mixture(
    goal: MapToFit,
    start: Gaussians,
    steps: int = 200,
    report: Callable[[int, float], None] | None = None,
    views: bool = False,
) -> FittedMixture:
    """Refine a mixture against a map; see the module's first equation.

    Parameters
    ----------
    goal : the map.
    start : from `place_gaussians`, or any mixture near the map.
    steps : of Adam; each learns positions in units of a voxel, amplitudes and widths as logarithms.
    report : called with (step, misfit of the shells that can be fitted) now and then.
    views : True to compare as all projections would.

    Raises
    ------
    ConfigurationError : if the fit diverges (a sign that map and mixture do not overlap).
    """
    spacing = goal.spacing(len(start.sigma))
    goal_octants = _goal_octants(goal, FINEST * spacing, views)
    limits = (NARROWEST * goal.pixel_size, max(WIDEST * spacing, goal.pixel_size))
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, steps, 0.02), b2=0.99)

    def mixture(raw: Gaussians, limits: tuple[Number, Number]) -> Gaussians:
        sigma = jnp.clip(jnp.exp(raw.sigma), *limits)
        reach = FARTHEST * spacing
        position = start.position + reach * jnp.tanh(raw.position * goal.pixel_size / reach)
        return Gaussians(position, jnp.exp(raw.amplitude), sigma)

    @jax.jit
    def step(
        raw: Gaussians, state: optax.OptState, given: tuple[_Octants, tuple]
    ) -> tuple[Gaussians, optax.OptState, Array]:
        octants, limits = given
        value, gradient = jax.value_and_grad(lambda raw: octants.misfit(mixture(raw, limits), goal.operators))(raw)
        updates, state = optimiser.update(gradient, state, raw)
        return optax.apply_updates(raw, updates), state, value

    raw = Gaussians(
        jnp.zeros_like(start.position),
        jnp.log(start.amplitude * goal_octants.scale(start, goal.operators)),
        jnp.log(start.sigma),
    )
    state = optimiser.init(raw)
    for number in range(steps):
        raw, state, value = step(raw, state, (goal_octants, limits))
        if report is not None and (number % 20 == 19 or number + 1 == steps):
            report(number + 1, float(value))
    return compare(goal, mixture(raw, limits))


@register_record
@dataclass(frozen=True, eq=False)
class _Octants:
    """A map's transform and its weights as `transform_octants` has them, in a box of m voxels."""

    target: Float[Array, "half 2 2 2 half half"]
    weight: Float[Array, "half 1 2 2 half half"]
    pixel_size: Float[Array, ""]

    def made(self, gaussians: Gaussians, operators: np.ndarray) -> Array:
        """Return the same octants of a mixture and its symmetric copies."""
        whole = symmetric_copies(gaussians, operators)
        return transform_octants(whole, 2 * (self.target.shape[-1] - 1), self.pixel_size)

    def misfit(self, gaussians: Gaussians, operators: np.ndarray) -> Array:
        """Return the module's first equation."""
        return jnp.sum(self.weight * (self.made(gaussians, operators) - self.target) ** 2)

    def scale(self, gaussians: Gaussians, operators: np.ndarray) -> float:
        """Return the factor of all amplitudes that fits best.

        Raises
        ------
        ConfigurationError : if it is not positive.
        """
        whole = jax.tree.map(jnp.asarray, gaussians)
        made = jax.jit(lambda octants, one: octants.made(one, operators))(self, whole)
        cross = float(jnp.sum(self.weight * made * self.target))
        if not np.isfinite(cross) or cross <= 0:
            raise ConfigurationError(
                "the Gaussians do not overlap the map (correlation not above 0); "
                "is the contrast inverted? Give a map with bright protein, or another --threshold."
            )
        return cross / float(jnp.sum(self.weight * made**2))


def _goal_octants(goal: MapToFit, finest: float, views: bool) -> _Octants:
    """Return the map's transform and weights, cropped to what can be fitted.

    Shells beyond `finest` Å and those that are not trusted are left out.
    """
    n = goal.volume.shape[0]
    end = min(int(np.ceil(n * goal.pixel_size / finest)), int(np.count_nonzero(goal.trust)))
    m = int(np.clip(2 * (end + 1), min(n, 16), n))
    fourier = np.fft.rfftn(np.fft.ifftshift(goal.volume - goal.volume.mean()))
    shells = shell_index(n)
    square = np.abs(fourier) ** 2 * hermitian_weight(n)
    power = np.bincount(shells.reshape(-1), square.reshape(-1), n // 2 + 1)
    count = np.bincount(shells.reshape(-1), minlength=n // 2 + 1)
    amplitude = np.sqrt(np.maximum(power / np.maximum(count, 1), 1e-12 * power.max()))
    of_shell = np.zeros(n // 2 + 1)  # shell n // 2 holds the corners
    of_shell[1:-1] = goal.trust[1:] / (np.arange(1, n // 2) if views else amplitude[1:-1])
    weight = of_shell[shells] * hermitian_weight(n)
    weight[0, 0, 0] = 0  # the mean of a map says nothing
    weight /= np.sum(weight * np.abs(fourier) ** 2)
    half, signs = np.arange(m // 2 + 1), np.array([1, -1])
    z, sign_z, sign_y, y, x = np.ix_(half, signs, signs, half, half)
    place = (z * sign_z % n, y * sign_y % n, x)
    # Shells end inside m // 2; a voxel with kz or ky = 0 stands in two octants and counts in one.
    twice = ((sign_z < 0) & (z == 0)) | ((sign_y < 0) & (y == 0))
    weight = np.where((shells[place] < m // 2) & ~twice, weight[place], 0)
    found = fourier[place]
    return _Octants(
        jnp.asarray(np.stack([found.real, found.imag], axis=1), jnp.float32),
        jnp.asarray(weight[:, None], jnp.float32),
        jnp.asarray(goal.pixel_size * n / m, jnp.float32),
    )


def compare(goal: MapToFit, mixture: Gaussians) -> FittedMixture:
    """Return the mixture, its amplitudes on the map's scale, with how well it explains the map."""
    n = goal.volume.shape[0]
    whole = symmetric_copies(jax.tree.map(jnp.asarray, mixture), goal.operators)
    made = np.asarray(jax.jit(lambda one: gaussians_to_volume(one, n, goal.pixel_size))(whole), np.float64)
    target = np.asarray(goal.volume, np.float64) - goal.volume.mean()
    centred = made - made.mean()
    overlap, power = float(np.vdot(centred, target)), float(np.vdot(centred, centred))
    correlation = overlap / np.sqrt(power * float(np.vdot(target, target)))
    amplitude = np.asarray(mixture.amplitude) * np.float32(overlap / power)
    gaussians = Gaussians(np.asarray(mixture.position), amplitude, np.asarray(mixture.sigma))
    level = jnp.asarray(target + made.mean(), jnp.float32)  # the mean of a map is not fitted
    fsc = np.asarray(_compiled_fsc()(level, jnp.asarray(made, jnp.float32)))
    trust = np.asarray(goal.trust, np.float64)[LOWEST:]
    reached = np.clip(fsc[LOWEST:] / np.sqrt(np.maximum(trust, 1e-6)), 0, 1)
    explained = float(np.sum(trust * reached) / max(np.sum(trust), 1e-12))
    return FittedMixture(gaussians, float(correlation), fsc, explained)


@functools.cache
def _compiled_fsc() -> Callable[[Array, Array], Array]:
    return jax.jit(fourier_shell_correlation)


def grow_mixture(
    goal: MapToFit, seed: int, report: Callable[[int, FittedMixture], None] | None = None
) -> FittedMixture:
    """Fit more and more Gaussians, up to those that can change, until 1.6 times as many explain less than 2 % more.

    Parameters
    ----------
    goal : the map.
    seed : see `place_gaussians`.
    report : called with (number, the fit) for each size.

    Returns
    -------
    the smallest mixture that is as good, after a short fit; `fit_mixture` goes on from it.
    """

    def fitted(count: int) -> FittedMixture:
        found = fit_mixture(goal, place_gaussians(goal, count, seed), SEARCH_STEPS)
        if report is not None:
            report(count, found)
        return found

    counts = sizes(goal)
    best = fitted(next(counts))
    for count in counts:
        larger = fitted(count)
        if larger.explained - best.explained < WORTH:
            break
        best = larger
    return best


def sizes(goal: MapToFit) -> Iterator[int]:
    """Yield the numbers of Gaussians to try, each 1.6 times the last, up to 4096.

    The first are 2.5 times as far apart as the map's finest detail; at least 64, or of a symmetric
    molecule, as many fewer as it has units, but 16. The last leave two voxels to each, and are as many as can change,
    or 500 (of all units) where the particles tell fewer.
    """
    n, copies = goal.volume.shape[0], len(goal.operators)
    fewest = max(FEWEST // copies, 16)
    told = int(min(max(goal.changes(), ENOUGH // copies, fewest), MOST))
    largest = max(min(told, int(goal.inside.sum()) // (2 * copies)), 1)
    end = n / max(np.count_nonzero(goal.trust), 1)  # voxels
    unit = int(goal.inside.sum()) / copies
    count = float(min(max(unit / (COARSEST * end) ** 3, fewest), largest))
    while count * GROWTH**0.5 < largest:
        yield int(count)
        count *= GROWTH
    yield largest
