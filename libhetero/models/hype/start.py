"""Where CryoHype begins: classes of a mixture, solved for, as a volume for each image and a token of its encoder.

`latent.class_search` finds the classes, on low rings, unless they are known already (`latent.known`). Volumes of the
same particles' classes on all rings that memory allows, V_k, have principal components U about their mean, in which
class k is at c_k. For an image x, or all images of a particle, with the probability p_k of each class given it
(`latent.classes`),

    z = Σ_k p_k c_k,        V_start = mean + U z

is its volume before anything is trained, Σ p_k V_k but for components that were left out; z tells the encoder which
molecule it sees. Its first numbers, the components', have unit variance over the particles. Classes into which one
molecule was cut (`latent.continua`) have its volume and place in common. Where images of a molecule bear out that it
changes (`latent.within`), its modes are further columns of U, on low rings to tell images' weights w by and on all
rings (`latent.mode_volumes`) for their volumes, and p w, p the probability of the molecule, further numbers of z. The
neural field adds what is missing (`model`).

Of more molecules than `MOST_RANK` components can tell apart, what the components leave of each is kept beside them, and
the probabilities of all molecules are the last numbers of z, which the encoder is not told. With c the first numbers
of z, the components',

    V_start = mean + U c + Σ_k p_k (V_k - mean - U c_k),      k the `LIKELIEST` molecules of the largest p_k

which is Σ p_k V_k where no more molecules than these are probable. Others count by their components alone: a latent
whose p is spread over many, such as the mean of many latents or one taken back from principal coordinates, has nearly
the volume mean + U c.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Shaped

from libhetero.configuration import ArraySchema
from libhetero.errors import DataError
from libhetero.models.hype.latent.central import CentralSlices, central_slices, disc_pixels, joined, whitened
from libhetero.models.hype.latent.class_search import (
    BALL,
    HIGHEST_RING,
    LEAST_PARTICLES,
    MOST_RANK,
    find_classes,
    known_mixture,
)
from libhetero.models.hype.latent.classes import integrated_likelihood, joint_likelihood, judged_against
from libhetero.models.hype.latent.grid import FourierGrid, nearest_points, on_grid
from libhetero.models.hype.latent.judges import ByVolumes, InSubspace
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.mode_volumes import BYTES, mode_sums, mode_volumes
from libhetero.models.hype.latent.normal_equations import equations_of, parts_of
from libhetero.models.hype.latent.predictive import predicted, shells_of
from libhetero.models.hype.latent.subspace import components
from libhetero.models.hype.latent.volumes import places_among, sums_of, volumes_of
from libhetero.models.hype.latent.within import WithinClasses, tables_of, weights_within
from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import dft_image, frequencies_2d, ring_index
from libhetero.records import Batch, Observation
from libhetero.tilts import taken

LOGGER = logging.getLogger(__name__)
OVERSAMPLING = (1.5, 1.25, 1.0)  # of the grid of volumes: the finest on which all rings fit into memory
MOST_SUMS = 2**30  # bytes of the sums over the images of some classes, of which there are two at a time
SUM_BYTES = 24
MOST_TABLE = 2**26  # bytes of mean and components, which compiled programs hold
MOST_VOLUMES = 2**28  # bytes of mean, components and what these leave of each molecule, where that is kept
LIKELIEST = 16  # molecules of which it is then read for a particle
MOST_CHANGING = 48  # classes that may change within, those of which images say most
BLOCK = 1024  # images cut into slices at once
PREFIX = "start_"
WITHIN = "changing", "within", "modes"  # stored where molecules change
IN_SUBSPACE = "table", "vectors", "squares"  # stored, or else the following
BY_VOLUMES = "told_volumes", "told_scale", "told_variance"
Pixels = tuple[Int[Array, "pixels"], Complex[Array, "pixels"], Float[Array, "pixels"]]
SINCE = "modes_ring", "modes_oversampling", "molecule"  # not stored by versions before


@dataclass(frozen=True, eq=False)
class Start:
    """Classes, and volumes of them.

    Parameters
    ----------
    ring, oversampling : of the grid on which images are told apart.
    share : logarithm of each class's part of the particles.
    spread : of contrast.
    noise : by ring 0 … n // 2, power of a Fourier pixel of `fourier_image` / n.
    place : c, of the molecule of each class.
    volume_ring, volume_oversampling : of the volumes' grid.
    volume_scale : of the volumes.
    volumes : real and imaginary parts of mean and components U, and of many molecules of V_k - mean - U c_k of every
        one, on the volumes' grid over their scale, half precision.
    changing : which molecules change; None for none.
    within : their volumes and modes on the grid on which images are told apart (`latent.within.tables_of`).
    modes : of theirs, molecule by molecule, as `volumes`.
    modes_ring, modes_oversampling : of the grid of `modes`; None for that on which images are told apart.
    molecule : that each class is of; None for that of its own number.
    table : mean and modes of the subspace that classes are in, real and imaginary parts beside each other, times √2
        (`latent.normal_equations`); None where classes are told apart by their volumes.
    vectors, squares : of each class in it, (1, m) and what meets the normal equations (`latent.classes`).
    told_volumes : by which classes are told apart where they are more than a subspace has directions for
        (`latent.predictive`), real and imaginary parts over their scale, half precision; None for a subspace.
    told_scale : of these volumes.
    told_variance : what they are off by, by shell of frequencies.
    """

    ring: float
    oversampling: float
    share: Float[np.ndarray, "classes"]
    spread: float
    noise: Float[np.ndarray, "rings"]
    place: Float[np.ndarray, "classes rank"]
    volume_ring: float
    volume_oversampling: float
    volume_scale: float
    volumes: Float[np.ndarray, "volume_points 2 mean_and_columns"]
    changing: Int[np.ndarray, "changing"] | None = None
    within: Float[np.ndarray, "points changing columns_twice"] | None = None
    modes: Float[np.ndarray, "mode_points 2 modes"] | None = None
    modes_ring: float | None = None
    modes_oversampling: float | None = None
    molecule: Int[np.ndarray, "classes_that_share"] | None = None
    table: Float[np.ndarray, "points columns_twice"] | None = None
    vectors: Float[np.ndarray, "columns classes"] | None = None
    squares: Float[np.ndarray, "pairs classes"] | None = None
    told_volumes: Float[np.ndarray, "points 2 classes"] | None = None
    told_scale: float | None = None
    told_variance: Float[np.ndarray, "shells classes"] | None = None

    @classmethod
    def of_particles(
        cls,
        sample: Batch,
        n: int,
        pixel_size: float,
        noise: Float[np.ndarray, "rings"],
        seed: int,
        known: KnownClasses | None = None,
    ) -> Start | None:
        """Find the classes of particles and their volumes; None where the images show nothing.

        Parameters
        ----------
        sample : particles, all of a set or as many as memory holds, each of one image or of several.
        n : box, pixels.
        pixel_size : Å.
        noise : by ring, power of a Fourier pixel of `fourier_image` / n.
        seed : of the search.
        known : classes of all images of the list, by the places that `sample.index` says; None to search for them.

        Raises
        ------
        DataError : where too few of the particles are in a class that is known.
        """
        chosen = _chosen(sample, known)
        if chosen is None:
            return None
        particles = _Particles(chosen, n, pixel_size, noise)
        low = joined(list(particles.blocks(HIGHEST_RING)))
        mixture = find_classes(low, seed=seed) if known is None else known_mixture(low, known.of(chosen), seed)
        if mixture.empty.all():
            LOGGER.info("the images show nothing that their poses agree on; the network begins from nothing")
            return None
        within = mixture.changes(low, MOST_CHANGING, seed)
        mixture = mixture.parted(within.number)
        label = mixture.labels(low)
        LOGGER.info("%d molecule(s) in %d particles to begin with", mixture.molecules, np.count_nonzero(label >= 0))
        _tell(within)
        grid = largest_grid(n / 2 - 1, *_kept(mixture.molecules))
        fine, many = FourierGrid(grid.ring, OVERSAMPLING[0], BALL), _are_many(mixture.molecules)
        made = grid if many else fine  # memory would not hold many on the finer one
        volumes = _volumes(particles, label, mixture.molecules, fine, made)
        modes_grid = largest_grid(grid.ring, max(within.modes.shape[2] * len(within), 1), MOST_TABLE)
        contrast = mixture.contrast(low)
        weights, covariance = within.weights(on_grid(low, mixture.grid).scaled(contrast), label)
        about = np.asarray(_on_grid_of(jnp.asarray(volumes[within.number]), made, modes_grid))
        each = places_among(label, within.number), weights, covariance, contrast
        modes = _modes(particles, *each, about, modes_grid, mixture.grid.ring)

        count = np.bincount(label[label >= 0], minlength=len(volumes))
        mean, columns, place = components(volumes, np.maximum(count, 1.0), min(len(volumes) - 1, MOST_RANK))
        mixture = mixture.shown()
        parts = [mean[None], columns.T]
        if many:
            volumes -= mean
            volumes -= place @ columns.T
            parts.append(volumes)
        found = _on_grid_of(jnp.asarray(np.concatenate(parts)), made, grid)
        shown = _read_between_points(found, grid)
        of = mixture.molecule

        scale = max(float(np.abs(shown).max()), 1e-30)
        return cls(
            ring=float(mixture.grid.ring),
            oversampling=float(mixture.grid.oversampling),
            share=mixture.judges.log_share,
            spread=mixture.spread,
            noise=np.asarray(noise, np.float32),
            place=place[of].astype(np.float32),
            volume_ring=float(grid.ring),
            volume_oversampling=float(grid.oversampling),
            volume_scale=scale,
            volumes=_in_half_precision(shown, scale),
            **_stored(within, modes, modes_grid, of, scale),
            **_stored_judges(mixture.judges),
        )

    @property
    def rank(self) -> int:
        """Length of z."""
        return self.told_rank + (self.molecules if self.whole else 0)

    @property
    def told_rank(self) -> int:
        """How many of the numbers of z, the first, the encoder is told."""
        return self.place.shape[1] + (0 if self.modes is None else self.modes.shape[2])

    @property
    def whole(self) -> bool:
        """Whether what the components leave of each molecule is kept beside them."""
        return self.volumes.shape[2] > self.place.shape[1] + 1

    @cached_property
    def grid(self) -> FourierGrid:
        """On which images are told apart."""
        return FourierGrid(self.ring, self.oversampling, BALL)

    @cached_property
    def volume_grid(self) -> FourierGrid:
        """Of the volumes."""
        return FourierGrid(self.volume_ring, self.volume_oversampling, BALL)

    @cached_property
    def modes_grid(self) -> FourierGrid:
        """Of the modes."""
        if self.modes_ring is None or self.modes_oversampling is None:
            return self.grid
        return FourierGrid(self.modes_ring, self.modes_oversampling, BALL)

    @property
    def molecules(self) -> int:
        """How many there are."""
        return len(self.place) if self.molecule is None else int(self.molecule.max()) + 1

    def memberships(self, pixels: Pixels) -> Float[Array, "molecules"]:
        """Return the probability of each molecule, given a particle's pixels."""
        return self._together(self._judged(pixels))

    def told(self, pixels: Pixels) -> Float[Array, "rank"]:
        """Return z of a particle, given its pixels."""
        probability = self._judged(pixels)
        z, together = jnp.matmul(probability, jnp.asarray(self.place)), self._together(probability)
        if self.within is not None and self.changing is not None:
            weights = weights_within(*pixels, self.within, self.spread)
            z = jnp.concatenate([z, (together[self.changing][:, None] * weights).ravel()])
        return jnp.concatenate([z, together]) if self.whole else z

    def _together(self, probability: Float[Array, "classes"]) -> Float[Array, "molecules"]:
        """Return the probabilities of molecules, those of their classes together."""
        if self.molecule is None:
            return probability
        found: Array = jax.ops.segment_sum(probability, jnp.asarray(self.molecule), self.molecules)
        return found

    def _judged(self, pixels: Pixels) -> Float[Array, "classes"]:
        """Return the probability of each class, given a particle's pixels."""
        if self.table is None or self.vectors is None or self.squares is None:
            return jax.nn.softmax(self._against_volumes(*pixels) + self.share)
        gradient, hessian = equations_of(*pixels, jnp.asarray(self.table))
        joint = joint_likelihood(gradient[None], hessian[None], self.vectors, self.squares, self.share, self.spread)
        return jax.nn.softmax(joint[0])

    def _against_volumes(self, point: Array, image: Array, transfer: Array) -> Float[Array, "classes"]:
        """Return log p(x | class) - log p(x | noise alone) of each class by its volume, given a particle's pixels."""
        volumes, shell = jnp.asarray(self.told_volumes)[point], jnp.asarray(shells_of(self.grid))[point]
        real, imaginary = ((self.told_scale or 1.0) * volumes[:, part].astype(jnp.float32) for part in range(2))
        linear, square, rest = predicted(image, transfer, real, imaginary, jnp.asarray(self.told_variance)[shell])
        found: Array = integrated_likelihood(linear, square, self.spread, jnp) + rest
        return found

    def pixels_of_images(
        self,
        images: Float[Array, "views n n"],
        observation: Observation,
        weight: Float[Array, "views"],
        pixel_size: float,
    ) -> Pixels:
        """Return those of a particle of several images, one after the other; of weight 0 they say nothing."""
        point, plane, passed = jax.vmap(partial(self.pixels, pixel_size=pixel_size))(images, observation)
        there = weight[:, None] > 0
        return point.ravel(), jnp.where(there, plane, 0).ravel(), jnp.where(there, passed, 0).ravel()

    def pixels(self, image: Float[Array, "n n"], observation: Observation, pixel_size: float) -> Pixels:
        """Return points on the grid, x and τ of a particle's image."""
        n = image.shape[0]
        pixels = disc_pixels(n, self.ring)
        frequency = frequencies_2d(n).reshape(-1, 2)[pixels]
        in_angstrom, deviation = frequency / pixel_size, np.sqrt(self.noise)[ring_index(n).reshape(-1)[pixels]]
        plane, passed = whitened(dft_image(image).reshape(-1)[pixels] / n, observation, in_angstrom, deviation)
        whole = np.rint(frequency * n).astype(np.float32)
        point, turned = nearest_points(observation.pose.rotation, whole, self.oversampling, self.grid.reach)
        return point, jnp.where(turned, jnp.conj(plane), plane), passed

    def at(self, z: Float[AnyArray, "rank"], frequencies: Float[AnyArray, "points 3"]) -> Complex[Array, "points"]:
        """Return V_start of a place at frequencies in cycles per box, 0 beyond its rings.

        V_start = mean + U c + Σ p_k (V_k - mean - U c_k), the sum over the `LIKELIEST` molecules where there are many;
        where there are few there is no sum. In both cases with the modes of those that change.
        """
        count, chosen, weight = self.place.shape[1], None, z[: self.place.shape[1]]
        if self.whole:
            probability, likeliest = jax.lax.top_k(z[self.told_rank :], min(LIKELIEST, self.molecules))
            chosen = jnp.concatenate([jnp.arange(1 + count), 1 + count + likeliest])
            weight = jnp.concatenate([weight, probability])
        columns = self.volume_grid.interpolated(self.volumes, frequencies, columns=chosen)
        parts = self.volume_scale * jnp.matmul(columns, jnp.concatenate([jnp.ones(1), weight]))
        if self.modes is not None:
            columns = self.modes_grid.interpolated(self.modes, frequencies)
            parts = parts + self.volume_scale * jnp.matmul(columns, z[count : self.told_rank])
        return jax.lax.complex(parts[:, 0], parts[:, 1])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is stored."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {PREFIX + name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Start | None:
        """Restore a start; None where none was stored.

        Raises
        ------
        DataError : if a part is missing, or parts do not fit each other.
        """
        names = [PREFIX + field.name for field in fields(cls)]
        if not any(name in arrays for name in names):
            return None
        missing = {PREFIX + name for name in WITHIN} if not any(PREFIX + name in arrays for name in WITHIN) else set()
        missing |= {PREFIX + name for name in (IN_SUBSPACE if PREFIX + BY_VOLUMES[0] in arrays else BY_VOLUMES)}
        missing |= {PREFIX + name for name in SINCE} - set(arrays)
        needed = [name for name in names if name not in missing]
        for name in needed:
            if name not in arrays:
                raise DataError(f"{name}: is missing; expected it beside {', '.join(sorted(set(names) & set(arrays)))}")
        found = {field.name: arrays[PREFIX + field.name] for field in fields(cls) if PREFIX + field.name in needed}
        values: dict[str, Any] = {name: float(value) if value.ndim == 0 else value for name, value in found.items()}
        start = cls(**values)
        columns = 1 + start.place.shape[1] + (start.molecules if start.whole else 0)
        fitting: dict[str, tuple[int, ...]] = {"volumes": (start.volume_grid.size, 2, columns)}
        if start.vectors is not None:
            columns = len(start.vectors)
            fitting["table"] = start.grid.size, 2 * columns
            fitting["squares"] = columns * (columns + 1) // 2, len(start.place)
        else:
            fitting["told_volumes"] = start.grid.size, 2, len(start.place)
            fitting["told_variance"] = int(shells_of(start.grid).max()) + 1, len(start.place)
        if start.within is not None and start.changing is not None:
            fitting["within"] = (start.grid.size, len(start.changing), start.within.shape[2])
            fitting["modes"] = (start.modes_grid.size, 2, len(start.changing) * (start.within.shape[2] // 2 - 1))
        if start.molecule is not None:
            fitting["molecule"] = (len(start.place),)
        for name, shape in fitting.items():
            if found[name].shape != shape:
                raise DataError(f"{PREFIX}{name}: expected {shape}, got {found[name].shape}")
        return start


def schema(names: Collection[str]) -> dict[str, ArraySchema]:
    """Return what `Start.arrays` stores.

    Parameters
    ----------
    names : of the arrays that there are; they say by what classes are told apart.
    """
    ring = ArraySchema("float", least=1, below=1000)
    shapes: dict[str, tuple[int | str, ...]] = {
        "share": ("start classes",),
        "noise": ("rings",),
        "place": ("start classes", "start rank"),
        "volumes": ("start volume points", 2, "start mean and columns"),
    }
    found = {name: ArraySchema("float", shape) for name, shape in shapes.items()}
    judges: dict[str, tuple[int | str, ...]] = {
        "table": ("start points", "start columns, twice"),
        "vectors": ("start columns", "start classes"),
        "squares": ("start pairs", "start classes"),
        "told_volumes": ("start points", 2, "start classes"),
        "told_scale": (),
        "told_variance": ("start shells", "start classes"),
    }
    stored = BY_VOLUMES if PREFIX + BY_VOLUMES[0] in names else IN_SUBSPACE
    found |= {name: ArraySchema("float", judges[name], least=None if judges[name] else 0) for name in stored}
    found["within"] = ArraySchema("float", ("start points", "start changing", "start sides"), optional=True)
    found["modes"] = ArraySchema("float", ("start mode points", 2, "start weights"), optional=True)
    found["changing"] = ArraySchema("int", ("start changing",), least=0, below="start classes", optional=True)
    found["molecule"] = ArraySchema("int", ("start classes",), least=0, below="start classes", optional=True)
    found["modes_ring"] = ArraySchema("float", least=1, below=1000, optional=True)
    found["modes_oversampling"] = ArraySchema("float", least=1, below=10, optional=True)
    finer = ArraySchema("float", least=1, below=10)
    found |= {"ring": ring, "volume_ring": ring, "oversampling": finer, "volume_oversampling": finer}
    found |= dict.fromkeys(("spread", "volume_scale"), ArraySchema("float", least=0))
    return {PREFIX + name: one for name, one in found.items()}


def largest_grid(ring: float, columns: int, most: int) -> FourierGrid:
    """Return the finest grid for which so many volumes of all rings fit into memory; else the coarsest, cut.

    Parameters
    ----------
    ring : the highest that there is.
    columns : volumes that are kept.
    most : bytes that they may take.
    """

    def fits(grid: FourierGrid) -> bool:
        return grid.size * columns * 4 <= most

    coarsest, rings = OVERSAMPLING[-1], np.arange(np.ceil(ring) - 1, HIGHEST_RING, -1)
    whole = [FourierGrid(ring, finer, BALL) for finer in OVERSAMPLING]
    cut = [FourierGrid(float(one), coarsest, BALL) for one in rings]
    return next(filter(fits, whole + cut), FourierGrid(min(ring, HIGHEST_RING), coarsest, BALL))


def most_classes(grid: FourierGrid) -> int:
    """Return of how many classes the sums are held at once, of half-sets in rows of which `few_sizes` are compiled."""
    return max((size // 2 for size in (4, 16, 64, 256) if size * grid.size * SUM_BYTES <= MOST_SUMS), default=1)


def _stored(
    within: WithinClasses,
    modes: Complex[np.ndarray, "changing points modes"],
    grid: FourierGrid,
    molecule: Int[np.ndarray, "classes"],
    scale: float,
) -> dict[str, Any]:
    """Return the fields of a start that say which molecule each class is of and what changes.

    Of molecules nothing where each class is the one of its number.
    """
    found: dict[str, Any] = {}
    if not np.array_equal(molecule, np.arange(len(molecule))):
        found["molecule"] = molecule
    if len(within):
        columns = _read_between_points(jnp.asarray(np.moveaxis(modes, 2, 1).reshape(-1, grid.size)), grid)
        found |= {"changing": within.number, "within": tables_of(within.volume, within.modes)}
        found["modes"] = _in_half_precision(columns, scale)
        found |= {"modes_ring": float(grid.ring), "modes_oversampling": float(grid.oversampling)}
    return found


def _stored_judges(judges: InSubspace | ByVolumes) -> dict[str, Any]:
    """Return the fields of a start by which classes are told apart."""
    if isinstance(judges, InSubspace):
        told = judged_against(judges.classes)
        table = np.asarray(parts_of(judges.subspace.table))
        return {"table": table, "vectors": told.vectors, "squares": told.squares}
    volumes = judges.predictors.real + 1j * judges.predictors.imaginary
    scale = max(float(np.abs(volumes).max()), 1e-30)
    return {
        "told_volumes": _in_half_precision(volumes, scale),
        "told_scale": scale,
        "told_variance": judges.predictors.variance.astype(np.float32),
    }


def _tell(within: WithinClasses) -> None:
    """Say which molecules change within, if any do."""
    if len(within):
        LOGGER.info(
            "%d of them change within: weights in %d modes of each are told of every image (log-likelihood of an "
            "image higher by %s)",
            len(within),
            within.modes.shape[2],
            ", ".join(f"{gain:.2g}" for gain in within.gain),
        )


def _are_many(molecules: int) -> bool:
    """Return whether there are more molecules than components can tell apart."""
    return molecules > MOST_RANK + 1


def _kept(molecules: int) -> tuple[int, int]:
    """Return how many volumes are kept of so many molecules, and the bytes that they may take."""
    return (1 + MOST_RANK + molecules, MOST_VOLUMES) if _are_many(molecules) else (molecules, MOST_TABLE)


def _on_grid_of(volumes: Complex[Array, "volumes points"], grid: FourierGrid, other: FourierGrid) -> Array:
    return volumes if grid == other else grid.resampled(volumes, other)


def _read_between_points(
    volumes: Complex[Array, "volumes points"], grid: FourierGrid
) -> Complex[np.ndarray, "points volumes"]:
    """Return confined volumes as `FourierGrid.interpolated` is to read them.

    Maps are read at the points of a grid that is as coarse as theirs: there nothing is smoothed.
    """
    return np.asarray(grid.unsmoothed(volumes) if grid.oversampling > 1 else volumes).T


def _in_half_precision(
    columns: Complex[np.ndarray, "points volumes"], scale: float
) -> Float[np.ndarray, "points 2 volumes"]:
    return (np.stack([columns.real, columns.imag], axis=1) / scale).astype(np.float16)


def _chosen(sample: Batch, known: KnownClasses | None) -> Batch | None:
    """Return the particles of a sample that classes are of: those with an image, and in a class where that is known.

    None where they are too few to search in.
    """
    shown = np.asarray((np.asarray(sample.weight) > 0).reshape(-1, sample.views).any(axis=1))
    if known is not None:
        shown = shown & (known.of(sample).label >= 0)
    if (count := np.count_nonzero(shown)) < LEAST_PARTICLES:
        if known is not None:
            raise DataError(
                f"{count} of {len(shown)} sampled particles are in a class that training begins with; expected at "
                f"least {LEAST_PARTICLES}. Leave --classes out, or give more particles."
            )
        return None
    return sample if shown.all() else taken(sample, np.flatnonzero(shown))


@dataclass(frozen=True, eq=False)
class _Particles:
    """A sample of a set, cut into slices block by block.

    Parameters
    ----------
    sample, n, pixel_size, noise : as of `Start.of_particles`.
    """

    sample: Batch
    n: int
    pixel_size: float
    noise: Float[np.ndarray, "rings"]

    def __len__(self) -> int:
        return len(self.sample.weight) // self.sample.views

    @property
    def block(self) -> int:
        """Particles cut at once."""
        return min(max(BLOCK // self.sample.views, 1), len(self))

    def blocks(self, ring: float) -> Iterator[CentralSlices]:
        """Yield slices up to a ring, in blocks of one size, for which everything is compiled once; the last is cut."""
        for rows, count in self._rows(np.arange(len(self))):
            yield self._slices(rows, ring).take(np.arange(count))

    def blocks_of(
        self, ring: float, place: Int[np.ndarray, "particles"], *parts: Shaped[np.ndarray, "particles *_"]
    ) -> Iterator[tuple[CentralSlices, Int[np.ndarray, "block"], list[np.ndarray]]]:
        """Yield slices of the particles that have a place, these places, and what else is known of them.

        All blocks have one size; the last is filled up with particles of place -1.

        Parameters
        ----------
        ring : the highest, cycles per box.
        place : of each particle, -1 for none. Where none has one, there is a block without any.
        parts : with a row for each particle.
        """
        chosen = np.flatnonzero(place >= 0)
        for rows, count in self._rows(chosen if len(chosen) else np.zeros(1, np.int64)):
            there = np.arange(len(rows)) < count
            yield self._slices(rows, ring), np.where(there, place[rows], -1), [part[rows] for part in parts]

    def _rows(self, rows: Int[np.ndarray, "rows"]) -> Iterator[tuple[Int[np.ndarray, "block"], int]]:
        """Yield the rows of each block, the last filled up with its last, and how many they are without that."""
        size = self.block
        for start in range(0, len(rows), size):
            own = rows[start : start + size]
            yield np.pad(own, (0, size - len(own)), mode="edge"), len(own)

    def _slices(self, rows: Int[np.ndarray, "block"], ring: float) -> CentralSlices:
        return central_slices(taken(self.sample, rows), self.n, self.pixel_size, ring, self.noise)


def _volumes(
    particles: _Particles, label: Int[np.ndarray, "particles"], molecules: int, grid: FourierGrid, made: FourierGrid
) -> Complex[np.ndarray, "molecules points"]:
    """Return the volume of each molecule, its images added up a block at a time.

    Parameters
    ----------
    particles, label : of all molecules, and the molecule of each, -1 for none.
    molecules : how many.
    grid : on which volumes are solved for.
    made : at whose points they are returned.
    """
    found, together = [], most_classes(grid)
    for first in range(0, molecules, together):
        chosen = np.arange(first, min(first + together, molecules))
        blocks = particles.blocks_of(grid.ring, places_among(label, chosen))
        sums = reduce(add, (sums_of(on_grid(one, grid, False), own, len(chosen)) for one, own, _ in blocks))
        found.append(np.asarray(_on_grid_of(jnp.asarray(volumes_of(sums, grid)), grid, made)))
    return np.concatenate(found)


def _modes(
    particles: _Particles,
    owner: Int[np.ndarray, "particles"],
    weights: Float[np.ndarray, "particles modes"],
    covariance: Float[np.ndarray, "particles modes modes"],
    contrast: Float[np.ndarray, "particles"],
    volumes: Complex[np.ndarray, "changing points"],
    grid: FourierGrid,
    known: float,
) -> Complex[np.ndarray, "changing points modes"]:
    """Return the modes of molecules that change on all rings of a grid.

    Parameters
    ----------
    particles : of all molecules.
    owner : which of those that change each is of, -1 for none of them.
    weights, covariance, contrast : of each.
    volumes : of those that change.
    grid : of volumes and modes.
    known : the highest ring that the weights were found on.
    """
    found = [np.zeros((0, grid.size, weights.shape[1]), np.complex64)]
    together = max(1, MOST_SUMS // (BYTES * weights.shape[1] * grid.size))
    for first in range(0, len(volumes), together):
        chosen = np.arange(first, min(first + together, len(volumes)))
        blocks = particles.blocks_of(grid.ring, places_among(owner, chosen), weights, covariance, contrast)
        sums = (
            mode_sums(on_grid(block, grid, False).scaled(strength), own, mean, spread, volumes[chosen], known)
            for block, own, (mean, spread, strength) in blocks
        )
        found.append(mode_volumes(reduce(add, sums), grid, known))
    return np.concatenate(found)
