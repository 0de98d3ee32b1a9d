"""Modes made true to motions of many Å, before any network is trained.

`latent.subspace_fit` takes images for linear in displacements about the consensus. A displacement d turns the phase at
frequency s by up to 2πsd; above a radian the answer saturates, as a sine does, so that modes come out too short, the
consensus itself is smeared along the motion, and what the modes cannot follow looks like further directions, of motion
and of presence. Where motion was found, its modes M and the neutral mixture G are therefore settled:

1. Of each kind, the modes that carry it are kept, those without which the set would be less likely by a material part
   of what it would be without the strongest. Small ones may be what the strong ones leave, and are searched again in 3.
2. Modes of motion and neutral mixture follow the gradient of the misfit

       Σ_i w |T_i P_i G(M z_i) - X_i|² + strain,   z_i drawn from its posterior at the present M and G,

   of the lowest rings first, where phases are small and steps cheap, then of finer ones: expectation maximisation by
   stochastic gradients. Every few steps modes are scaled to where latents have the second moments, 1, that their prior
   says: alone they would grow slowly, and scaled each by itself, two become parallel with latents that cancel.
3. Further directions are searched in what is left, each particle's image taken as linear about its own mixture
   (`latent.normal_equations.About`). What was curvature is explained now; what stands out is added, and settled.
4. A mode stays where particles that were not fitted, one in four, would miss it.

A turn by many Å looks like presence at the ends of its path as much as like motion that is linear in it; begun with
both, modes of presence take of the motion what those of motion would have grown into. So where both kinds were found,
the set is settled from motion alone as well, and the particles that were not fitted say which is likelier: with û, C
mean and covariance of a particle's latent and nuisances, to second order,

    log p(X) = -½ |T P G(M û) - X|² - ½ |û|² + ½ log |C|

Steps cost in proportion to the number of Gaussians, and what is settled is smooth. A mixture of more than `LARGEST` is
therefore settled as one of about `FEWER` that shows the same (`coarser`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from libhetero.models.batch_mean import batch_mean
from libhetero.models.gmm.changes import (
    NEUTRAL_FOLDS,
    NEUTRAL_MOVE,
    Modes,
    adapted,
    modes_in_outputs,
    nearest_pairs,
    start_of_neutral,
    strain,
)
from libhetero.models.gmm.coarser import Coarser
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.directions import SIGNIFICANT, Found, find_directions
from libhetero.models.gmm.latent.low_rank import missed_by
from libhetero.models.gmm.latent.normal_equations import About, Fields, Patches
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.posterior import draw, infer
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.latent.subspace_fit import DRAWS, KIND, MOST_MODES, spread, spreads_of
from libhetero.models.gmm.latent.views import particle_equations
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Batch, Gaussians, Observation
from libhetero.tilts import of_particles, taken

LOGGER = logging.getLogger(__name__)
CARRYING = 0.15  # of what the set misses without the strongest mode of a kind
CURVED = 0.05  # of the strongest motion: what a further one must add, since modes fit no motion whole
PHASE = 1.1  # radians at the edge of the first grid, for what moves
COARSEST = 16  # pixels
STEPS, LAST_STEPS = 120, 60  # on the first grid, and on each of the others
BATCH = 64  # images of a step, fewer where a complex has many units
FEWEST = 8  # particles of a step, where each has many images
HELD = 4  # one particle in so many is not fitted, and judges
BORNE_OUT = 3.0  # nats by which those must miss a mode
MODE, NEUTRAL, FOLD = 0.6, 0.1, 0.02  # Å of modes and of the neutral mixture, e-folds of it: Adam's rates
SETTLING, SETTLED = 0.4, 0.6  # the rates after this part of a grid's steps, as a part of those before
EVERY = 5  # steps between scalings of the modes
MEMORY = 0.9  # of the latents' second moments, for each step
SEARCHES = 2
LARGEST, FEWER = 700, 500  # Gaussians of one unit: more than the first are settled with about the second


@dataclass(frozen=True, eq=False)
class LinearModel:
    """The Gaussians without a network: a neutral mixture, and modes of one kind each.

    Parameters
    ----------
    config : of the model, its layout all that may change.
    imaging : of the set, its neutral mixture the starting one.
    mobile : (N,), 1 for each Gaussian that may change.
    nuisances : of the set, inferred beside the latent; None where none is.
    kinds : "a" or "p" of each mode.
    p : of each mode, as the search that found it has it.

    Parameters that are fitted are `params`, modes and the adaptation of the neutral mixture; `edges` are pairs of
    Gaussians that are next to each other in it, of one shape always, so that nothing is compiled anew for them.
    """

    config: GmmConfig
    imaging: Imaging
    mobile: np.ndarray
    nuisances: Nuisances | None
    kinds: str
    p: np.ndarray

    @property
    def layout(self) -> Layout:
        """All that may change."""
        return self.config.layout

    def neutral(self, params: dict[str, Any]) -> Gaussians:
        """Return the neutral mixture of some parameters."""
        return adapted(jax.tree.map(jnp.asarray, self.imaging.neutral), params["neutral"])

    def edges(self, params: dict[str, Any]) -> Int[np.ndarray, "pairs 2"]:
        """Return each Gaussian with each of its nearest."""
        return nearest_pairs(np.asarray(self.neutral(params).position))

    @property
    def batch(self) -> int:
        """Images of a step."""
        return max(BATCH // len(self.imaging.operators), 8)

    def modes(self, params: dict[str, Any], edges: AnyArray) -> Modes:
        """Return the modes, each in the columns of its kind; 0 for Gaussians that may not change."""
        own = np.array([[column == kind for kind in self.kinds] for column in self.layout.kinds], np.float32)
        outputs = params["modes"] * jnp.asarray(self.mobile)[:, None, None] * own
        return Modes.of(self.config, self.neutral(params), outputs, edges)

    @partial(jax.jit, static_argnums=(0, 1))
    def posterior(self, grid: int, params: dict[str, Any], edges: AnyArray, batch: Batch) -> tuple[Array, Array]:
        """Return mean and precision of each particle's latent and nuisances, as the rings of a grid show them."""
        modes, rank, steps = self.modes(params, edges), len(self.kinds), self.config.newton_steps
        mixtures, seen = jax.vmap(modes.mixture), self.imaging.on(grid)
        shown = replace(self.layout, amplitude="a" in self.kinds)  # not what is 0 for all: to project it takes as long
        return infer(seen, shown, mixtures, modes.tangents, batch, rank, steps, self.nuisances)

    def loss(self, params: dict[str, Any], grid: int, edges: AnyArray, batch: Batch, state: Array) -> Float[Array, ""]:
        """Return the mean misfit at given latents and nuisances, and what strain costs."""
        imaging, modes = self.imaging.on(grid), self.modes(params, edges)
        numbers = np.count_nonzero(self.imaging.root_weight)

        def of_image(image: Array, observation: Observation, own: Array) -> Array:
            misfit, mixture = self._misfit(imaging, modes, image, observation, own)
            return misfit / numbers + self.config.stiffness * strain(modes.neutral, edges, mixture)

        return batch_mean(of_image, batch, state)

    @partial(jax.jit, static_argnums=0)
    def evidence(self, params: dict[str, Any], edges: AnyArray, batch: Batch) -> Float[Array, "particles"]:
        """Return log p(X) of each particle, as the finest grid shows it, but for what is the same for all models.

        Of a particle's images together, where it has several.
        """
        modes = self.modes(params, edges)
        state, precision = self.posterior(self.imaging.grid, params, edges, batch)

        def one(image: Array, observation: Observation, own: Array, precision: Array) -> Array:
            misfit, _ = self._misfit(self.imaging, modes, image, observation, own)
            return -misfit - 0.5 * jnp.sum(own**2) - 0.5 * jnp.linalg.slogdet(precision)[1]

        said, rank = jax.vmap(one)(batch.images, batch.observation, state, precision), len(self.kinds)
        if batch.views == 1:
            return said
        # What is of the latent counts once a particle, and not in each of its images.
        covariance = jnp.linalg.inv(precision)[:, :rank, :rank]
        counted = 0.5 * jnp.sum(state[:, :rank] ** 2, axis=1) - 0.5 * jnp.linalg.slogdet(covariance)[1]
        said = jnp.where(batch.weight > 0, said + counted, 0).reshape(-1, batch.views).sum(axis=1)
        return said - of_particles(counted, batch.views)

    def _misfit(
        self, imaging: Imaging, modes: Modes, image: Array, observation: Observation, own: Array
    ) -> tuple[Float[Array, ""], Gaussians]:
        """Return ½ Σ w |T P G - X|² of one image at its numbers, and G."""
        rank = len(self.kinds)
        mixture = modes.mixture(own[:rank])
        whole = symmetric_copies(mixture, imaging.operators)
        seen = observation if self.nuisances is None else self.nuisances.seen(observation, own[rank:])
        made, target = imaging.whitened(image, whole, whole.amplitude[None], seen)
        return 0.5 * jnp.sum((target - made[0]) ** 2), mixture

    def about(self, params: dict[str, Any]) -> Callable[[Float[Array, "modes"]], tuple[Gaussians, Fields]]:
        """Return what gives the mixture of a latent, and the fields of the modes about it."""
        modes = self.modes(params, self.edges(params))

        def at(z: Array) -> tuple[Gaussians, Fields]:
            mixture = modes.mixture(z)
            displacement, amplitude = modes.tangents(z)
            there = mixture.amplitude[:, None] != 0
            relative = jnp.where(there, amplitude / jnp.where(there, mixture.amplitude[:, None], 1), 0)
            return mixture, Fields(displacement, relative)

        return at

    def with_modes(self, kinds: str, p: np.ndarray) -> LinearModel:
        """Return the same for other modes."""
        return replace(self, kinds=kinds, p=p, config=replace(self.config, latent_size=len(kinds)))


def settle_motions(
    config: GmmConfig,
    imaging: Imaging,
    sample: Batch,
    subspaces: tuple[Subspace, ...],
    nuisances: Nuisances | None,
    seed: int = 0,
    mobile: Bool[np.ndarray, "points"] | None = None,
) -> tuple[Gaussians, Subspace]:
    """Return the neutral mixture and the subspace about it, settled where there is motion and the same where not.

    Parameters
    ----------
    config : of the model: what may change, against which stiffness, and how many modes there must be, 0 for any number.
        Where both kinds may change and some stand out, modes are settled as for any number, and the strongest are
        kept, or the strongest of what is left added, until there are as many.
    imaging : neutral mixture, scale and weights, on the grid that the subspaces were found on.
    sample : particles that they were found on.
    subspaces : mean and modes, one account of the set or several (`latent.subspace_fit.find_subspaces`).
    nuisances : inferred beside the latent; None where none is.
    seed : of k-means, batches and draws.
    mobile : (N,) bool, which Gaussians may change; None for all.

    Returns
    -------
    a neutral mixture that holds the mean change, and the subspace, the modes of the stronger kind first, in falling
    order of strength; of several accounts, the one that particles which were not fitted say is likeliest.
    """
    if "p" not in subspaces[0].kinds:
        return imaging.neutral, subspaces[0]
    moves = np.ones(len(imaging.neutral.sigma), bool) if mobile is None else np.asarray(mobile, bool)
    run = Settling(sample, seed)
    if len(moves) <= LARGEST:
        return _likeliest(config, imaging, subspaces, nuisances, run, moves)
    fewer = Coarser.of(imaging, moves, FEWER, seed)
    LOGGER.info("motions are settled with %d Gaussians in the place of %d", len(fewer.coarse.sigma), len(moves))
    gathered = tuple(fewer.gathered(subspace) for subspace in subspaces)
    found = _likeliest(config, fewer.coarse_imaging, gathered, nuisances, run, fewer.coarse_mobile)
    return fewer.spread(*found)


def _likeliest(
    config: GmmConfig,
    imaging: Imaging,
    subspaces: tuple[Subspace, ...],
    nuisances: Nuisances | None,
    run: Settling,
    moves: Bool[np.ndarray, "points"],
) -> tuple[Gaussians, Subspace]:
    """Return what `settle_motions` does, settled with the Gaussians of `imaging`."""
    accounts = [_settled(config, imaging, subspace, nuisances, run, moves) for subspace in subspaces]
    said = likelihoods([run.evidence(model, params) for model, params, _ in accounts]) if len(accounts) > 1 else [0.0]
    for (model, _, _), evidence in zip(accounts, said, strict=True):
        if evidence < max(said):
            LOGGER.info(
                "%s: log-likelihood lower by %.5g, of particles not fitted", _told(model.kinds), max(said) - evidence
            )
    model, params, subspace = accounts[int(np.argmax(said))]
    LOGGER.info("settled: %s", _told(model.kinds))
    return jax.tree.map(np.asarray, model.neutral(params)), run.as_subspace(model, params, subspace)


def _settled(
    config: GmmConfig,
    imaging: Imaging,
    subspace: Subspace,
    nuisances: Nuisances | None,
    run: Settling,
    moves: Bool[np.ndarray, "points"],
) -> tuple[LinearModel, dict[str, Any], Subspace]:
    """Return one account, settled, with the subspace it began from and the spreads of nuisances now."""
    asked, number = config.layout.linear, config.latent_size
    # How many modes, and of which kind: where none stands out, there is nothing to choose among.
    decided = number > 0 and (len(asked.letters) == 1 or not np.any(subspace.p < SIGNIFICANT))
    config = replace(config, vary=asked.letters, latent_size=subspace.rank)
    subspace = subspace.in_layout(asked)
    model = LinearModel(config, imaging, moves.astype(np.float32), nuisances, subspace.kinds, subspace.p)
    params = {"modes": jnp.asarray(modes_in_outputs(config, subspace)), "neutral": start_of_neutral(subspace)}
    if not decided:
        model, params = run.carrying(model, params)
    grids = rising_grids(imaging, subspace, moves)
    LOGGER.info("settling %s on grids of %s pixels", _told(model.kinds), ", ".join(map(str, grids)))
    for place, grid in enumerate(grids):
        params = run.refined(model, params, grid, LAST_STEPS if place else STEPS)
    for _ in range(0 if decided else SEARCHES):
        before = model
        model, params, spreads = run.searched(model, params)
        subspace = replace(subspace, nuisances=spreads)
        if model is not before:
            LOGGER.info("settling %s with what stands out beside", _told(model.kinds))
            params = run.refined(model, params, imaging.grid, LAST_STEPS)
        model, params = run.judged(model, params)
        if model is before:
            break
    if number and len(model.kinds) != number:
        model, params = run.numbered(model, params, number)
    return model, params, subspace


def likelihoods(evidence: Sequence[Float[np.ndarray, "particles"]]) -> list[float]:
    """Return the log-likelihood of each account of some particles: of those whose evidence all accounts can tell.

    Parameters
    ----------
    evidence : of each account, one number a particle, not finite where its latent was not found.
    """
    told = np.isfinite(evidence).all(axis=0)
    return [float(np.sum(one[told], dtype=np.float64)) for one in evidence]


def _told(kinds: str) -> str:
    """Return how many modes of each kind there are, in words."""
    if not kinds:
        return "no direction"
    return " and ".join(f"{kinds.count(kind)} direction(s) of {KIND[kind]}" for kind in "ap" if kind in kinds)


def rising_grids(
    imaging: Imaging, subspace: Subspace, mobile: Bool[np.ndarray, "points"] | None = None
) -> tuple[int, ...]:
    """Return even numbers of pixels, each about √2 of the one before, up to the grid of the search.

    On the first the phase π m d / L is `PHASE` at most, m being its pixels and L the box in Å; not coarser than
    `COARSEST`. d, the displacement of what moves, is √(Σ d_j⁴ / Σ d_j²): few Gaussians that go far count as many.

    Parameters
    ----------
    mobile : (N,) bool, which Gaussians may change; None for all.
    """
    position = subspace.layout.columns()[0]
    square = np.sum(subspace.modes[:, position].astype(np.float64) ** 2, axis=(1, 2))
    square = square if mobile is None else square[mobile]
    moved = np.sqrt(np.sum(square**2) / max(np.sum(square), 1e-12))
    first = PHASE * imaging.box_size * imaging.pixel_size / (np.pi * max(moved, 1e-3))
    grids = [imaging.grid]
    while 2 * round(grids[0] / np.sqrt(2) / 2) >= max(first, COARSEST):
        grids.insert(0, 2 * round(grids[0] / np.sqrt(2) / 2))
    return tuple(grids)


@dataclass(frozen=True, eq=False)
class DirectionsLeft:
    """Directions of one kind in what modes leave of the particles.

    Parameters
    ----------
    found : on patches.
    outputs : (N, F, r), the same as modes of all Gaussians, in the units of `LinearModel`'s.
    nuisances : spreads that the particles show now.
    """

    found: Found
    outputs: np.ndarray
    nuisances: Nuisances


@dataclass(frozen=True, eq=False)
class Settling:
    """The steps of `settle_motions` on one sample.

    Parameters
    ----------
    sample : particles.
    seed : of k-means, batches and draws.
    """

    sample: Batch
    seed: int
    _last: list[Any] = field(default_factory=list)  # model and parameters that `states` was asked for, and the answer

    def states(self, model: LinearModel, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and precision of every particle's latent and nuisances on the finest grid."""
        if self._last and self._last[0] is model and self._last[1] is params:
            return self._last[2]
        self._last[:] = [model, params, self._states(model, params)]
        return self._last[2]

    def _states(self, model: LinearModel, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        edges = model.edges(params)
        grid, views = model.imaging.grid, self.sample.views
        parts = [
            [np.asarray(part)[: kept * views] for part in model.posterior(grid, params, edges, batch)]
            for batch, kept in self._batches(np.arange(len(self.used)), model.batch)
        ]
        means, precisions = zip(*parts, strict=True)
        return np.concatenate(means), np.concatenate(precisions)

    def evidence(self, model: LinearModel, params: dict[str, Any]) -> Float[np.ndarray, "held"]:
        """Return log p(X) of the particles that are not fitted, but for what is the same for all models."""
        edges = model.edges(params)
        batches = self._batches(np.flatnonzero(self.held), model.batch)
        return np.concatenate([np.asarray(model.evidence(params, edges, batch))[:kept] for batch, kept in batches])

    def _batches(self, particles: Int[np.ndarray, "chosen"], images: int) -> Iterator[tuple[Batch, int]]:
        """Yield some particles in batches of one shape, for which everything is compiled once, and how many count."""
        size = max(images // self.sample.views, 1)
        for start in range(0, len(particles), size):
            chosen = particles[np.arange(start, start + size) % len(particles)]
            yield taken(self.sample, chosen), min(size, len(particles) - start)

    @property
    def used(self) -> Bool[np.ndarray, "particles"]:
        """Which particles have an image that counts."""
        return np.any((np.asarray(self.sample.weight) > 0).reshape(-1, self.sample.views), axis=1)

    @property
    def held(self) -> Bool[np.ndarray, "particles"]:
        """Which particles are not fitted: what they miss of a mode is not what their own noise has put there."""
        held = np.zeros(len(self.used), bool)
        held[np.flatnonzero(self.used)[HELD - 1 :: HELD]] = True
        return held

    def missed(
        self, model: LinearModel, states: tuple[np.ndarray, np.ndarray], of: Bool[np.ndarray, "particles"] | None = None
    ) -> Float[np.ndarray, "modes"]:
        """Return what particles would miss without each mode, nats, given `states`; all, or those told."""
        mean, precision = (of_particles(each, self.sample.views) for each in states)
        rows = self.used & (True if of is None else of)
        covariance = np.linalg.inv(precision[rows].astype(np.float64))
        return missed_by(mean[rows], covariance)[: len(model.kinds)]

    def carrying(self, model: LinearModel, params: dict[str, Any]) -> tuple[LinearModel, dict[str, Any]]:
        """Keep the modes that carry their kind, one of each at least."""
        missed, kept = self.missed(model, self.states(model, params)), np.zeros(len(model.kinds), bool)
        for kind in sorted(set(model.kinds)):
            own = _places(model.kinds, kind)
            most = missed[own].max()
            kept[own] = missed[own] >= (CARRYING * most if most > 0 else most)
        return _with_modes(model, params, np.flatnonzero(kept))

    def judged(self, model: LinearModel, params: dict[str, Any]) -> tuple[LinearModel, dict[str, Any]]:
        """Leave out modes that particles which were not fitted do not bear out, or the curvature of others."""
        while model.kinds:
            states = self.states(model, params)
            said, missed = self.missed(model, states, self.held), self.missed(model, states)
            moving, doubted = _places(model.kinds, "p"), said < BORNE_OUT
            doubted[moving] |= missed[moving] < CURVED * max(missed[moving], default=0.0)
            if not doubted.any():
                break
            least = min(np.flatnonzero(doubted), key=lambda mode: missed[mode])
            model, params = _with_modes(model, params, np.delete(np.arange(len(model.kinds)), least))
        return model, params

    def refined(self, model: LinearModel, params: dict[str, Any], grid: int, steps: int) -> dict[str, Any]:
        """Return modes and neutral mixture after some steps on one grid; one that is not finite changes nothing."""
        optimiser, rates = optax.scale_by_adam(b2=0.95), _rates(model, params)
        rank, edges = len(model.kinds), model.edges(params)

        @jax.jit
        def step(params: Any, state: Any, batch: Batch, key: Array, rate: Array) -> tuple[Any, Any, Array]:
            mean, precision = model.posterior(grid, params, edges, batch)
            drawn = draw(mean, precision, key, rank, batch.views)
            slopes = jax.grad(model.loss)(params, grid, edges, batch, drawn)
            whole = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((drawn, slopes))]))
            updates, then = optimiser.update(slopes, state)
            moved = jax.tree.map(lambda value, slope, own: value - rate * own * slope, params, updates, rates)
            params, state = jax.tree.map(lambda new, old: jnp.where(whole, new, old), (moved, then), (params, state))
            latent = drawn[:, :rank]
            return params, state, jnp.where(whole, latent.T @ latent / len(latent), jnp.eye(rank))

        key = jax.random.fold_in(jax.random.key(self.seed), grid)
        state, random = optimiser.init(params), np.random.default_rng([self.seed, grid])
        used, one = np.flatnonzero(self.used & ~self.held), np.eye(rank, dtype=np.float32)
        second: np.ndarray = one
        size = max(model.batch // self.sample.views, FEWEST // len(model.imaging.operators), 1)
        for number in range(steps):
            batch = taken(self.sample, random.choice(used, size, replace=len(used) < size))
            rate = 1.0 if number < SETTLED * steps else SETTLING
            params, state, now = step(params, state, batch, jax.random.fold_in(key, number), rate)
            second = MEMORY * second + (1 - MEMORY) * np.asarray(now)
            if number % EVERY == EVERY - 1:
                params, second = params | {"modes": _scaled(model, params["modes"], second)}, one
        return params

    def searched(self, model: LinearModel, params: dict[str, Any]) -> tuple[LinearModel, dict[str, Any], Nuisances]:
        """Add the directions that stand out in what is left; return also the spreads of the nuisances now."""
        states = self.states(model, params)
        most = max(self.missed(model, states)[_places(model.kinds, "p")], default=0.0)
        kinds, p, modes = model.kinds, [model.p], [np.asarray(params["modes"])]
        for kind in (letter for letter in "ap" if letter in model.layout.letters):
            left = self._left(model, params, kind, max(MOST_MODES - len(kinds), 0))
            spreads = left.nuisances
            new = np.flatnonzero(left.found.missed >= (CURVED * most if kind == "p" else 0.0))
            LOGGER.info("%s: %d more direction(s) in what is left", KIND[kind], len(new))
            kinds, p, modes = kinds + kind * len(new), [*p, left.found.p[new]], [*modes, left.outputs[:, :, new]]
        if len(kinds) == len(model.kinds):
            return model, params, spreads
        params = params | {"modes": jnp.asarray(np.concatenate(modes, axis=2))}
        return model.with_modes(kinds, np.concatenate(p)), params, spreads

    def _left(
        self, model: LinearModel, params: dict[str, Any], kind: str, most: int, *, forced: bool = False
    ) -> DirectionsLeft:
        """Return the directions of one kind in what the modes leave, as `find_directions` does."""
        imaging = replace(model.imaging, neutral=jax.tree.map(np.asarray, model.neutral(params)))
        about = About(model.about(params), self.states(model, params)[0][:, : len(model.kinds)])
        layout = Layout.of(kind)
        patch = Patches.of(imaging.neutral.position, model.mobile > 0, layout, self.seed).together
        equations = particle_equations(imaging, self.sample, patch, layout, about=about, draws=DRAWS, seed=self.seed)
        found = find_directions(equations, kind, most, forced=forced)
        change = spread(equations, patch, kind, found.model.modes)
        position, amplitude, _ = model.layout.columns()
        outputs = np.zeros((len(patch), len(model.layout.kinds), found.model.rank), np.float32)
        if model.layout.position:
            outputs[:, position] = change.displacement / model.config.displacement_scale
        if model.layout.amplitude:
            outputs[:, amplitude] = change.amplitude[:, None]
        return DirectionsLeft(found, outputs, spreads_of(equations, found.model, model.config.refine_poses))

    def numbered(self, model: LinearModel, params: dict[str, Any], count: int) -> tuple[LinearModel, dict[str, Any]]:
        """Keep the `count` modes that would be missed most, or add as many of what is left, the strongest, and settle.

        Whether they stand out is not asked.
        """
        missing = count - len(model.kinds)
        LOGGER.info("%s; %d direction(s) were asked for", _told(model.kinds), count)
        if missing < 0:
            missed = self.missed(model, self.states(model, params))
            return _with_modes(model, params, np.sort(np.argsort(-missed)[:count]))
        kinds = [kind for kind in "ap" if kind in model.layout.letters]
        left = [self._left(model, params, kind, missing, forced=True) for kind in kinds]
        kind = np.repeat(kinds, [one.found.model.rank for one in left])
        strongest = np.argsort(-np.concatenate([one.found.strength for one in left]))[:missing]
        outputs = np.concatenate([one.outputs for one in left], axis=2)[:, :, strongest]
        p = np.concatenate([one.found.p for one in left])[strongest]
        params = params | {"modes": jnp.concatenate([params["modes"], outputs], axis=2)}
        model = model.with_modes(model.kinds + "".join(kind[strongest]), np.concatenate([model.p, p]))
        return model, self.refined(model, params, model.imaging.grid, LAST_STEPS)

    def as_subspace(self, model: LinearModel, params: dict[str, Any], before: Subspace) -> Subspace:
        """Return the modes in the columns and units of a subspace, about a mean of 0, in their order."""
        rank = len(model.kinds)
        letters = Layout.of(model.kinds or "p")
        if not rank:
            nothing = np.zeros((len(model.mobile), len(letters.kinds), 0), np.float32)
            return replace(
                before,
                layout=letters,
                mean=nothing.sum(2),
                modes=nothing,
                kinds="",
                p=np.zeros(0),
                strength=np.zeros(0),
            )
        precision = of_particles(self.states(model, params)[1], self.sample.views)[self.used]
        strength = np.diagonal(precision, axis1=1, axis2=2).mean(axis=0, dtype=np.float64)[:rank] - 1
        total = {kind: strength[_places(model.kinds, kind)].sum() for kind in set(model.kinds)}
        order = sorted(range(rank), key=lambda mode: (-total[model.kinds[mode]], -strength[mode]))
        position, amplitude, _ = model.layout.columns()
        modes = np.asarray(model.modes(params, model.edges(params)).outputs)[:, :, order]
        given = letters.chosen(
            position=[modes[:, position] * model.config.displacement_scale], amplitude=[modes[:, amplitude]]
        )
        found = np.concatenate(given, axis=1).astype(np.float32)
        return replace(
            before,
            layout=letters,
            mean=np.zeros(found.shape[:2], np.float32),
            modes=found,
            kinds="".join(model.kinds[mode] for mode in order),
            p=model.p[order],
            strength=strength[order],
        )


def _places(kinds: str, kind: str) -> Int[np.ndarray, "modes"]:
    return np.flatnonzero([one == kind for one in kinds])


def _with_modes(
    model: LinearModel, params: dict[str, Any], kept: Int[np.ndarray, "kept"]
) -> tuple[LinearModel, dict[str, Any]]:
    """Return the model with some of its modes; the same where that is all, for which everything is compiled."""
    if len(kept) == len(model.kinds):
        return model, params
    kinds = "".join(model.kinds[mode] for mode in kept)
    return model.with_modes(kinds, model.p[kept]), params | {"modes": params["modes"][..., kept]}


def _scaled(model: LinearModel, modes: Array, second: np.ndarray) -> Array:
    """Return modes that take latents of these second moments to the same changes by latents of second moments 1.

    Modes of one kind are mixed with each other alone.
    """
    for kind in sorted(set(model.kinds)):
        own = _places(model.kinds, kind)
        modes = modes.at[..., own].set(modes[..., own] @ np.linalg.cholesky(second[np.ix_(own, own)]))
    return modes


def _rates(model: LinearModel, params: dict[str, Any]) -> dict[str, Any]:
    """Return Adam's rate for every parameter, in its own unit.

    Modes of presence are linear, and stay as they were found: steps as large for what images hardly tell as for what
    they do would spread them over what is near.
    """
    moves = np.array(
        [MODE / model.config.displacement_scale * (kind == "p") for kind in model.layout.kinds], np.float32
    )
    neutral = {"position": NEUTRAL / NEUTRAL_MOVE, "amplitude": FOLD / NEUTRAL_FOLDS, "sigma": FOLD / NEUTRAL_FOLDS}
    return {
        "modes": jnp.broadcast_to(moves[:, None], params["modes"].shape),
        "neutral": {name: jnp.full_like(value, neutral[name]) for name, value in params["neutral"].items()},
    }
