"""A simulated particle set: structures, states and imaging put together, block by block.

Everything is told image by image; where each particle has a tilt series, its images follow each other (`tilts`).

Particles are drawn and rendered by compiled functions in chunks of fixed size: compiled for another
size, the same sum may be rounded another way. So a particle's image and what is said of it are the
same to the bit whatever the block size and the number of threads, on processors of one instruction
set. Nothing here grows with particles × pixels.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Shaped

from libhetero.physics.observation import seen_through
from libhetero.records import CTFParams, Observation, Pose
from libhetero.simulate.bodies import Body, PreparedBodies, prepare_bodies, project_bodies
from libhetero.simulate.configuration import ImagingConfig, StateConfig
from libhetero.simulate.imaging import add_noise, ctf_from, ctf_of_table, observe, particle_key, pose_from
from libhetero.simulate.nuisances import Nuisances, draw_nuisances, locally, micrograph_of
from libhetero.simulate.states import MovingStructures, assign_structures, state_from, state_number
from libhetero.simulate.structures import Structure
from libhetero.simulate.tilts import faded, key_of_image, own_shift, tilted

CHUNK = 32  # particles rendered by one call of the compiled function
DRAWN = 1024  # particles drawn without rendering by one call
SIGNAL_SAMPLE = 1024  # particles whose noise-free images give the signal variance


@dataclass(frozen=True, eq=False)
class Block:
    """Some particles with the truth about them; NumPy arrays of leading axis particles.

    Parameters
    ----------
    index : (b,) int32, place of each image in the set.
    images : (b, n, n) float32.
    pose : of each particle, as its image has it.
    ctf : of each particle, as its image has it; None when the images carry none.
    label : (b,) int32, structure (mixture) or number of the state (assembly).
    present : (b, bodies) uint8.
    angle : (b, bodies) float32, radians.
    nuisances : what the list tells instead, and what else was drawn; None where all is off.
    """

    index: Int[np.ndarray, "particles"]
    images: Float[np.ndarray, "particles n n"]
    pose: Pose
    ctf: CTFParams | None
    label: Int[np.ndarray, "particles"]
    present: Shaped[np.ndarray, "particles bodies"]
    angle: Float[np.ndarray, "particles bodies"]
    nuisances: Nuisances | None = None


@dataclass(frozen=True)
class SignalSums:
    """Number of pixels of noise-free images, their sum and the sum of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: SignalSums) -> SignalSums:
        return SignalSums(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def variance(self) -> float:
        """Variance over all pixels."""
        return self.squares / self.count - (self.total / self.count) ** 2


@dataclass(frozen=True, eq=False)
class Truth:
    """What was drawn for some particles, as in `Block` but without images."""

    pose: Pose
    ctf: CTFParams | None
    label: Int[np.ndarray, "particles"]
    present: Shaped[np.ndarray, "particles bodies"]
    angle: Float[np.ndarray, "particles bodies"]
    nuisances: Nuisances | None = None

    @property
    def listed_pose(self) -> Pose:
        """The pose that the list tells."""
        return self.pose if self.nuisances is None else self.nuisances.listed_pose

    @property
    def listed_ctf(self) -> CTFParams | None:
        """The CTF that the list tells."""
        return self.ctf if self.nuisances is None else self.nuisances.listed_ctf


@dataclass(frozen=True, eq=False)
class Simulation:
    """Everything that determines a simulated set.

    Parameters
    ----------
    kind : "assembly", "motion" or "mixture".
    imaging : poses, CTF, noise, boxes.
    states : presence and motion of the bodies.
    structures : number of structures; 1 unless a mixture.
    load_structure : gives structure k.
    load_bodies : gives the bodies of structure k at `imaging.pixel_size`, the core first.
    ctf_table : CTF parameters to draw from, leading axis (rows,); None to use `imaging.ctf`.
    moving : which structures of a mixture move; None where none does.
    """

    kind: str
    imaging: ImagingConfig
    states: StateConfig
    structures: int
    load_structure: Callable[[int], Structure]
    load_bodies: Callable[[int], list[Body]]
    ctf_table: CTFParams | None = None
    moving: MovingStructures | None = None

    def structure_of_particles(self) -> Int[np.ndarray, "particles"]:
        """Return the structure of every particle, (particles,) int32."""
        return assign_structures(self.imaging.seed, self.imaging.particles, self.structures)

    def structure_of_images(self) -> Int[np.ndarray, "images"]:
        """Return the structure that every image shows, (images,) int32."""
        return np.repeat(self.structure_of_particles(), self.imaging.images_each)

    def truth(self, index: Int[np.ndarray, "some"], structure: Int[np.ndarray, "some"]) -> Truth:
        """Return what was drawn for the images at `index` without rendering them.

        Parameters
        ----------
        index : (b,) int32.
        structure : (b,), of each, from `structure_of_images`.
        """
        parts = [self._drawn(*chunks) for chunks in zip(_chunks(index, DRAWN), _chunks(structure, DRAWN), strict=True)]
        pose, ctf, present, angle, nuisances = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        present = present.astype(np.uint8)
        label = structure if self.kind == "mixture" else state_number(present)
        return Truth(pose, ctf, label.astype(np.int32), present, angle, nuisances)

    def signal_sums(self, k: int) -> SignalSums:
        """Return the sums over noise-free images of structure k with CTF, before cropping, all of contrast 1.

        They are those of its first particles, the same ones every time, untilted and before any exposure.
        """
        share = -(-SIGNAL_SAMPLE // self.structures)
        index = np.flatnonzero(self.structure_of_particles() == k)[:share].astype(np.int32)
        uncropped = dataclasses.replace(self, imaging=dataclasses.replace(self.imaging, crop=None, tilts=None))
        sums = SignalSums()
        for block in uncropped.render(k, self.prepared(k), index, 0.0, signal_alone=True):
            images = block.images.astype(np.float64)
            sums += SignalSums(images.size, float(images.sum()), float(np.square(images).sum()))
        return sums

    def noise_deviation(self, signal_variance: float) -> float:
        """Return the standard deviation of the noise per pixel before cropping; 0 for none.

        Parameters
        ----------
        signal_variance : of the noise-free images of all structures, from their `signal_sums`.
        """
        if self.imaging.snr is None:
            return 0.0
        return float(np.sqrt(signal_variance / self.imaging.snr))

    def work(self, size: int) -> list[tuple[int, Int[np.ndarray, "block"]]]:
        """Return every image's structure and index in blocks of at most `size` of one structure.

        They come structure by structure, and in each by index: the (b,) int32 of each block.
        """
        structure = self.structure_of_images()
        order = np.argsort(structure, kind="stable").astype(np.int32)
        ends = np.cumsum(np.bincount(structure, minlength=self.structures))
        by_structure = np.split(order, ends[:-1])
        return [(k, block) for k, own in enumerate(by_structure) for block in _chunks(own, size)]

    def render(
        self,
        k: int,
        bodies: PreparedBodies,
        index: Int[np.ndarray, "some"],
        noise_deviation: float,
        threads: int = 1,
        signal_alone: bool = False,
    ) -> Iterator[Block]:
        """Render images of one structure, some at a time.

        Parameters
        ----------
        k : the structure.
        bodies : from `prepared(k)`.
        index : (b,) int32, images of its particles.
        noise_deviation : from `noise_deviation()`.
        threads : chunks rendered at the same time; changes no image.
        signal_alone : True for images of contrast 1 of all particles, junk among them.
        """
        render = partial(self._chunk, k, bodies, np.float32(noise_deviation), np.bool_(signal_alone))
        return _in_order(render, _chunks(index, CHUNK), threads)

    def prepared(self, k: int) -> PreparedBodies:
        """Return the bodies of structure k in one of few box sizes: each size is compiled anew."""
        step = max(2, self.imaging.box_size // 8 * 2) if self.kind == "mixture" else 2
        return prepare_bodies(self.load_bodies(k), step)

    @property
    def bodies(self) -> int:
        """Number of bodies that are drawn for a particle: the most that a structure has."""
        if self.kind != "mixture":
            return len(self.load_structure(0).names)
        return 1 if self.moving is None else self.moving.bodies

    def _max_angle(self, structure: Any) -> Any:
        """Return the largest angles of structures of a mixture, float32; None where none moves."""
        return None if self.moving is None else np.asarray(self.moving.max_angle, np.float32)[structure]

    def _drawn(self, index: np.ndarray, structure: np.ndarray) -> Any:
        """Return what is drawn for at most `DRAWN` images."""
        max_angle = self._max_angle(_padded(structure, DRAWN))
        drawn = _draw_all(
            _padded(index, DRAWN), self._seed, self.ctf_table, max_angle, self._compiled, self.states, self.bodies
        )
        return _trimmed(drawn, len(index))

    @property
    def _seed(self) -> np.uint32:
        """The seed as compiled functions take it, whose numbers have a sign where they do not say otherwise."""
        return np.uint32(self.imaging.seed)

    @property
    def _compiled(self) -> ImagingConfig:
        """What of the imaging is compiled in: sets that differ in the rest share the code."""
        return dataclasses.replace(self.imaging, particles=1, seed=0, snr=None, contrast=1)

    def _chunk(
        self, structure: int, bodies: PreparedBodies, deviation: np.float32, alone: np.bool_, index: np.ndarray
    ) -> Block:
        rendered = _render(
            _padded(index, CHUNK),
            self._seed,
            bodies,
            deviation,
            alone,
            self.ctf_table,
            self._max_angle(structure),
            self._compiled,
            self.states,
            self.bodies,
        )
        images, pose, ctf, present, angle, nuisances = _trimmed(rendered, len(index))
        images = self.imaging.contrast * images
        present = present.astype(np.uint8)
        mixture = self.kind == "mixture"
        label = np.full(len(index), structure) if mixture else state_number(present)
        return Block(index, images, pose, ctf, label.astype(np.int32), present, angle, nuisances)


def _chunks(index: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut into parts of this size, the last one shorter."""
    return [index[start : start + size] for start in range(0, len(index), size)]


def _padded(chunk: np.ndarray, size: int) -> np.ndarray:
    """Repeat the last index until the chunk is full."""
    return np.pad(chunk, (0, size - len(chunk)), mode="edge")


def _trimmed(results: Any, count: int) -> Any:
    """Return the results of the first particles, as NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], results)


def _draw(
    index: Any,
    seed: Any,
    table: CTFParams | None,
    max_angle: Any,
    imaging: ImagingConfig,
    states: StateConfig,
    bodies: int,
) -> tuple[Pose, CTFParams | None, Any, Any, Nuisances | None, Any]:
    """Draw pose, CTF, presence, angles and nuisances of one image, and the key of its noise."""
    width, asked, tilts = imaging.box_size * imaging.pixel_size, imaging.nuisances, imaging.tilts
    max_shift = 0.05 * width if imaging.max_shift is None else imaging.max_shift
    rank = index % imaging.images_each
    key = particle_key(seed, index // imaging.images_each)
    own = key if tilts is None else key_of_image(key, rank)
    key_drawn, key_noise = jax.random.split(key)[0], jax.random.split(own)[1]
    deviates = jax.random.uniform(key_drawn, (8 + 2 * bodies,))
    if tilts is not None:
        deviates = deviates.at[3:5].set(own_shift(own))
    micrograph = None if asked.micrographs is None else micrograph_of(seed, key, asked.micrographs)
    optics = deviates[5:8] if micrograph is None else micrograph.optics
    ctf = None
    if table is not None:
        ctf = ctf_of_table(optics[0], table)
    elif imaging.ctf is not None:
        ctf = ctf_from(optics, imaging.ctf)
    if micrograph is not None and ctf is not None:
        ctf = locally(ctf, key)
    if tilts is not None and ctf is not None:
        ctf = faded(ctf, rank, tilts)
    present, angle = state_from(deviates[8:].reshape(2, bodies), states, max_angle)
    pose = pose_from(deviates[:5], max_shift, asked.views)
    nuisances = draw_nuisances(key, own, pose, ctf, micrograph, asked) if asked.any else None
    if tilts is not None:
        pose = tilted(pose, rank, tilts)
        if nuisances is not None:
            nuisances = dataclasses.replace(nuisances, listed_pose=tilted(nuisances.listed_pose, rank, tilts))
    return pose, ctf, present, angle, nuisances, key_noise


@partial(jax.jit, static_argnums=(4, 5, 6))
def _draw_all(
    index: Any,
    seed: Any,
    table: CTFParams | None,
    max_angle: Any,
    imaging: ImagingConfig,
    states: StateConfig,
    bodies: int,
) -> tuple[Pose, CTFParams | None, Any, Any, Nuisances | None]:
    """Draw for many particles, of structures with these largest angles, without the keys of the noise."""
    return jax.vmap(lambda i, angle: _draw(i, seed, table, angle, imaging, states, bodies)[:5])(index, max_angle)


@partial(jax.jit, static_argnums=(7, 8, 9))
def _render(
    index: Any,
    seed: Any,
    bodies: PreparedBodies,
    deviation: Any,
    alone: Any,
    table: CTFParams | None,
    max_angle: Any,
    imaging: ImagingConfig,
    states: StateConfig,
    drawn: int,
) -> tuple[Any, Pose, CTFParams | None, Any, Any, Nuisances | None]:
    """Render a chunk of particles with noise of this standard deviation, with the contrast of each or (alone) 1.

    States are drawn for as many bodies as any structure has; this one takes the first.
    """
    count = bodies.centre.shape[0]
    moves = states.max_angle > 0 or (max_angle is not None and count > 1)

    def one(index: Any) -> tuple[Any, Pose, CTFParams | None, Any, Any, Nuisances | None]:
        pose, ctf, present, angle, nuisances, key = _draw(index, seed, table, max_angle, imaging, states, drawn)
        turned = angle[:count] if moves else None
        box, pixel_size = imaging.box_size, imaging.pixel_size
        seen = pose if ctf is None else seen_through(pose, ctf)[0]
        projection = project_bodies(bodies, present[:count], turned, seen, box, pixel_size, imaging.final_box)
        image, own = observe(projection, Observation(pose=pose, ctf=ctf), imaging), deviation
        if nuisances is not None:
            image, own = image * jnp.where(alone, 1.0, nuisances.contrast), deviation * nuisances.noise
        return add_noise(image, key, own, imaging), pose, ctf, present, angle, nuisances

    return jax.vmap(one)(index)


def _in_order(render: Callable[[np.ndarray], Block], chunks: list[np.ndarray], threads: int) -> Iterator[Block]:
    """Map over the chunks with some threads, a few chunks ahead, results in order."""
    if threads <= 1:
        yield from map(render, chunks)
        return
    waiting: deque[Future[Block]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for chunk in chunks:
            waiting.append(pool.submit(render, chunk))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
