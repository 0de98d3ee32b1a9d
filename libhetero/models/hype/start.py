"""Where CryoHype begins: classes of a mixture, solved for, as a volume for each image and a token of its encoder.

`latent.class_search` finds the classes, on low rings. Volumes of the same particles' classes on all rings that memory
allows, V_k, have principal components U about their mean, in which class k is at c_k. For an image x, with the
probability p_k of each class given it (`latent.classes`),

    z = Σ_k p_k c_k,        V_start = mean + U z

is its volume before anything is trained, Σ p_k V_k but for components that were left out; z tells the encoder which
molecule it sees. Its first numbers, the components', have unit variance over the particles. Where images of a class
bear out that it changes within (`latent.within`), its modes, on low rings, are further columns of U, and the image's
weights in them, p_k w_k, further numbers of z. The neural field adds what is missing (`model`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, reduce
from operator import add
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from libhetero.configuration import ArraySchema
from libhetero.errors import DataError
from libhetero.models.hype.latent.central import CentralSlices, central_slices, disc_pixels, joined, whitened
from libhetero.models.hype.latent.class_search import (
    BALL,
    HIGHEST_RING,
    LEAST_PARTICLES,
    MOST_RANK,
    Mixture,
    find_classes,
)
from libhetero.models.hype.latent.classes import joint_likelihood, judged_against
from libhetero.models.hype.latent.grid import FourierGrid, nearest_points, on_grid
from libhetero.models.hype.latent.normal_equations import equations_of, parts_of
from libhetero.models.hype.latent.subspace import components
from libhetero.models.hype.latent.volumes import sums_of, volumes_of
from libhetero.models.hype.latent.within import WithinClasses, tables_of, weights_within
from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import dft_image, frequencies_2d, ring_index
from libhetero.records import Batch, Observation

LOGGER = logging.getLogger(__name__)
OVERSAMPLING = (1.5, 1.25, 1.0)  # of the grid of volumes: the finest on which all rings fit into memory
MOST_SUMS = 2**30  # bytes of the sums over the images of some classes, of which there are two at a time
SUM_BYTES = 24
MOST_TABLE = 2**26  # bytes of mean and components, which compiled programs hold
MOST_CHANGING = 48  # classes that may change within, those of which images say most
BLOCK = 1024  # particles cut into slices at once
PREFIX = "start_"
WITHIN = "changing", "within", "modes"  # stored where classes change within


@dataclass(frozen=True, eq=False)
class Start:
    """Classes, and volumes of them.

    Parameters
    ----------
    ring, oversampling : of the grid on which images are told apart.
    table : its mean and modes, real and imaginary parts beside each other, times √2 (`latent.normal_equations`).
    vectors, squares : of each class, (1, m) and what meets the normal equations (`latent.classes`).
    share : logarithm of each class's part of the particles.
    spread : of contrast.
    noise : by ring 0 … n // 2, power of a Fourier pixel of `fourier_image` / n.
    place : c.
    volume_ring, volume_oversampling : of the volumes' grid.
    volume_scale : of the volumes.
    volumes : real and imaginary parts of mean and components U on the volumes' grid over their scale, half precision.
    changing : which classes change within; None for none.
    within : their volumes and modes on the grid on which images are told apart (`latent.within.tables_of`).
    modes : the same modes, class by class, as `volumes`, on that grid.
    """

    ring: float
    oversampling: float
    table: Float[np.ndarray, "points columns_twice"]
    vectors: Float[np.ndarray, "columns classes"]
    squares: Float[np.ndarray, "pairs classes"]
    share: Float[np.ndarray, "classes"]
    spread: float
    noise: Float[np.ndarray, "rings"]
    place: Float[np.ndarray, "classes rank"]
    volume_ring: float
    volume_oversampling: float
    volume_scale: float
    volumes: Float[np.ndarray, "volume_points 2 rank_and_mean"]
    changing: Int[np.ndarray, "changing"] | None = None
    within: Float[np.ndarray, "points changing columns_twice"] | None = None
    modes: Float[np.ndarray, "points 2 modes"] | None = None

    @classmethod
    def of_particles(
        cls, sample: Batch, n: int, pixel_size: float, noise: Float[np.ndarray, "rings"], seed: int
    ) -> Start | None:
        """Find the classes of particles and their volumes; None where the images show nothing.

        Parameters
        ----------
        sample : particles, all of a set or as many as memory holds.
        n : box, pixels.
        pixel_size : Å.
        noise : by ring, power of a Fourier pixel of `fourier_image` / n.
        seed : of the search.
        """
        shown = np.asarray(sample.weight) > 0
        if np.count_nonzero(shown) < LEAST_PARTICLES:
            return None
        sample = sample if shown.all() else jax.tree.map(lambda leaf: leaf[shown], sample)
        low = joined(list(_blocks(sample, n, pixel_size, HIGHEST_RING, noise)))
        mixture = find_classes(low, seed=seed)
        if mixture.empty.all():
            LOGGER.info("the images show nothing that their poses agree on; the network begins from nothing")
            return None
        label, within = mixture.labels(low), mixture.changes(low, MOST_CHANGING, seed)
        mixture = mixture.shown()
        LOGGER.info("%d molecule(s) in %d particles to begin with", len(mixture.classes), np.count_nonzero(label >= 0))
        if len(within):
            LOGGER.info(
                "%d of them change within: weights in %d modes of each are told of every image (log-likelihood of an "
                "image higher by %s)",
                len(within),
                within.modes.shape[2],
                ", ".join(f"{gain:.2g}" for gain in within.gain),
            )
        grid = largest_grid(n / 2 - 1, len(mixture.classes))
        fine = FourierGrid(grid.ring, OVERSAMPLING[0], BALL)
        parts, together = [], most_classes(fine)
        for first in range(0, len(mixture.classes), together):
            own = np.where((label >= first) & (label < first + together), label - first, -1)
            count = min(together, len(mixture.classes) - first)
            parts.append(_volumes(_blocks(sample, n, pixel_size, grid.ring, noise), own, count, fine))
        return cls._of(mixture, np.concatenate(parts), label, within, fine, grid, noise)

    @classmethod
    def _of(
        cls,
        mixture: Mixture,
        volumes: Complex[np.ndarray, "classes points"],
        label: Int[np.ndarray, "particles"],
        within: WithinClasses,
        fine: FourierGrid,
        grid: FourierGrid,
        noise: np.ndarray,
    ) -> Start:
        """Return the start of classes that have volumes on a fine grid, kept on another."""
        count = np.bincount(label[label >= 0], minlength=len(volumes))
        mean, modes, place = components(volumes, np.maximum(count, 1.0), min(len(volumes) - 1, MOST_RANK))
        found = jnp.asarray(np.concatenate([mean[:, None], modes], axis=1).T)
        found = found if grid == fine else fine.resampled(found, grid)
        columns = _read_between_points(found, grid)
        scale = max(float(np.abs(columns).max()), 1e-30)
        told = judged_against(mixture.classes)
        return cls(
            ring=float(mixture.grid.ring),
            oversampling=float(mixture.grid.oversampling),
            table=np.asarray(parts_of(mixture.subspace.table)),
            vectors=told.vectors,
            squares=told.squares,
            share=told.share,
            spread=mixture.spread,
            noise=np.asarray(noise, np.float32),
            place=place.astype(np.float32),
            volume_ring=float(grid.ring),
            volume_oversampling=float(grid.oversampling),
            volume_scale=scale,
            volumes=_in_half_precision(columns, scale),
            **_stored(within, mixture.grid, scale),
        )

    @property
    def rank(self) -> int:
        """Length of z."""
        return self.place.shape[1] + (0 if self.modes is None else self.modes.shape[2])

    @cached_property
    def grid(self) -> FourierGrid:
        """On which images are told apart."""
        return FourierGrid(self.ring, self.oversampling, BALL)

    @cached_property
    def volume_grid(self) -> FourierGrid:
        """Of the volumes."""
        return FourierGrid(self.volume_ring, self.volume_oversampling, BALL)

    def told(self, image: Float[Array, "n n"], observation: Observation, pixel_size: float) -> Float[Array, "rank"]:
        """Return z of one image."""
        n = image.shape[0]
        pixels = disc_pixels(n, self.ring)
        frequency = frequencies_2d(n).reshape(-1, 2)[pixels]
        in_angstrom, deviation = frequency / pixel_size, np.sqrt(self.noise)[ring_index(n).reshape(-1)[pixels]]
        plane, passed = whitened(dft_image(image).reshape(-1)[pixels] / n, observation, in_angstrom, deviation)
        whole = np.rint(frequency * n).astype(np.float32)
        point, turned = nearest_points(observation.pose.rotation, whole, self.oversampling, self.grid.reach)
        plane = jnp.where(turned, jnp.conj(plane), plane)
        gradient, hessian = equations_of(point, plane, passed, jnp.asarray(self.table))
        joint = joint_likelihood(gradient[None], hessian[None], self.vectors, self.squares, self.share, self.spread)
        probability = jax.nn.softmax(joint[0])
        z = jnp.matmul(probability, jnp.asarray(self.place))
        if self.within is None or self.changing is None:
            return z
        weights = weights_within(point, plane, passed, self.within, self.spread)
        return jnp.concatenate([z, (probability[self.changing][:, None] * weights).ravel()])

    def at(self, z: Float[AnyArray, "rank"], frequencies: Float[AnyArray, "points 3"]) -> Complex[Array, "points"]:
        """Return V_start of a place at frequencies in cycles per box, 0 beyond its rings."""
        count = self.place.shape[1]
        columns = self.volume_grid.interpolated(self.volumes, frequencies)
        parts = self.volume_scale * jnp.matmul(columns, jnp.concatenate([jnp.ones(1), z[:count]]))
        if self.modes is not None:
            columns = self.grid.interpolated(self.modes, frequencies)
            parts = parts + self.volume_scale * jnp.matmul(columns, z[count:])
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
        both = [PREFIX + name for name in WITHIN]
        needed = names if any(name in arrays for name in both) else [name for name in names if name not in both]
        for name in needed:
            if name not in arrays:
                raise DataError(f"{name}: is missing; expected it beside {', '.join(sorted(set(names) & set(arrays)))}")
        found = {field.name: arrays[PREFIX + field.name] for field in fields(cls) if PREFIX + field.name in needed}
        values: dict[str, Any] = {name: float(value) if value.ndim == 0 else value for name, value in found.items()}
        start = cls(**values)
        columns = len(start.vectors)
        fitting = {
            "table": (start.grid.size, 2 * columns),
            "squares": (columns * (columns + 1) // 2, len(start.place)),
            "volumes": (start.volume_grid.size, 2, start.place.shape[1] + 1),
        }
        if start.within is not None and start.changing is not None:
            fitting["within"] = (start.grid.size, len(start.changing), start.within.shape[2])
            fitting["modes"] = (start.grid.size, 2, len(start.changing) * (start.within.shape[2] // 2 - 1))
        for name, shape in fitting.items():
            if found[name].shape != shape:
                raise DataError(f"{PREFIX}{name}: expected {shape}, got {found[name].shape}")
        return start


def schema() -> dict[str, ArraySchema]:
    """Return what `Start.arrays` stores."""
    ring = ArraySchema("float", least=1, below=1000)
    shapes: dict[str, tuple[int | str, ...]] = {
        "table": ("start points", "start columns, twice"),
        "vectors": ("start columns", "start classes"),
        "squares": ("start pairs", "start classes"),
        "share": ("start classes",),
        "noise": ("rings",),
        "place": ("start classes", "start rank"),
        "volumes": ("start volume points", 2, "start rank and mean"),
    }
    found = {name: ArraySchema("float", shape) for name, shape in shapes.items()}
    found["within"] = ArraySchema("float", ("start points", "start changing", "start sides"), optional=True)
    found["modes"] = ArraySchema("float", ("start points", 2, "start weights"), optional=True)
    found["changing"] = ArraySchema("int", ("start changing",), least=0, below="start classes", optional=True)
    finer = ArraySchema("float", least=1, below=10)
    found |= {"ring": ring, "volume_ring": ring, "oversampling": finer, "volume_oversampling": finer}
    found |= dict.fromkeys(("spread", "volume_scale"), ArraySchema("float", least=0))
    return {PREFIX + name: one for name, one in found.items()}


def largest_grid(ring: float, classes: int) -> FourierGrid:
    """Return the finest grid for which the components of all rings fit into memory; else the coarsest, cut.

    Parameters
    ----------
    ring : the highest that there is.
    classes : whose volumes there will be.
    """
    columns = min(classes, MOST_RANK + 1)

    def fits(grid: FourierGrid) -> bool:
        return grid.size * columns * 4 <= MOST_TABLE

    coarsest, rings = OVERSAMPLING[-1], np.arange(np.ceil(ring) - 1, HIGHEST_RING, -1)
    whole = [FourierGrid(ring, finer, BALL) for finer in OVERSAMPLING]
    cut = [FourierGrid(float(one), coarsest, BALL) for one in rings]
    return next(filter(fits, whole + cut), FourierGrid(min(ring, HIGHEST_RING), coarsest, BALL))


def most_classes(grid: FourierGrid) -> int:
    """Return of how many classes the sums are held at once, of half-sets in rows of which `few_sizes` are compiled."""
    return max((size // 2 for size in (4, 16, 64, 256) if size * grid.size * SUM_BYTES <= MOST_SUMS), default=1)


def _stored(within: WithinClasses, grid: FourierGrid, scale: float) -> dict[str, Any]:
    """Return the fields of a start that say what changes within classes; none where none does."""
    if not len(within):
        return {}
    columns = _read_between_points(jnp.asarray(np.moveaxis(within.modes, 2, 1).reshape(-1, grid.size)), grid)
    table = tables_of(within.volume, within.modes)
    return {"changing": within.number, "within": table, "modes": _in_half_precision(columns, scale)}


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


def _volumes(
    slices: Iterator[CentralSlices], label: Int[np.ndarray, "particles"], classes: int, grid: FourierGrid
) -> Complex[np.ndarray, "classes points"]:
    """Return the volume of each class, its images added up a block at a time."""
    labels = np.split(label, np.arange(BLOCK, len(label), BLOCK))
    sums = (sums_of(on_grid(block, grid), own, classes) for block, own in zip(slices, labels, strict=True))
    return volumes_of(reduce(add, sums), grid)


def _blocks(sample: Batch, n: int, pixel_size: float, ring: float, noise: np.ndarray) -> Iterator[CentralSlices]:
    """Yield the slices of a sample, blocks of one size, for which everything is compiled once; the last is cut."""
    count = len(sample.weight)
    size = min(BLOCK, count)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], sample)
        yield central_slices(batch, n, pixel_size, ring, noise).take(np.arange(min(size, count - start)))
