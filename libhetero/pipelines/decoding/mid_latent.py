"""`mid_00.txt`: the latent of every particle, as EMAN2's programs read it; `mid_00_sd.txt`: how well it is known.

Both come of one pass through `model.posterior`, with the contrast and the evidence of every particle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.streaming_pca import LatentBasis, reduce_stream
from libhetero.configuration import ArraySchema
from libhetero.files import remove_stale, replacing, replacing_set
from libhetero.io import write_latent
from libhetero.io.arrays import read_arrays
from libhetero.models.family import ModelFamily
from libhetero.records import Posterior
from libhetero.telling.progress import tracked
from libhetero.tilts import one_image_each
from libhetero.training import sharding
from libhetero.training.feed import ParticleFeed, feed_batches
from libhetero.training.series import SeriesFeed

WIDEST = 100
FEWEST = 8  # particles encoded at once, where each has several images
BASIS = {"mean": ArraySchema("float", ("latent",)), "directions": ArraySchema("float", ("columns", "latent"))}


class LatentStream:
    """Encodes particles in order, on all devices of this process, compiled once.

    Parameters
    ----------
    model, params : of the run.
    feed : the particles.
    batch_size : particles encoded at once.
    """

    def __init__(self, model: ModelFamily, params: Any, feed: ParticleFeed, batch_size: int) -> None:
        mesh = sharding.data_mesh(jax.local_devices())
        whole, self._cut = sharding.replicated(mesh), sharding.over_batch(mesh)
        self._size = sharding.padded_size(min(batch_size, max(len(feed), 1)), mesh)
        self._params = jax.device_put(params, whole)
        self._feed = feed
        self._encode = jax.jit(model.encode, in_shardings=(whole, self._cut), out_shardings=self._cut)
        self._posterior = jax.jit(model.posterior, in_shardings=(whole, self._cut), out_shardings=self._cut)
        self._memberships = jax.jit(lambda params, batch: model.memberships(batch), in_shardings=(whole, self._cut))

    def blocks(self, indices: np.ndarray | None = None) -> Iterator[Float[np.ndarray, "block latent"]]:
        """Yield the latents of particles, a block a batch.

        Where particles have several images, at most one latent of each particle is held at a time, and only of those
        whose images do not stand together among the ones wanted.

        Parameters
        ----------
        indices : places in the particle set, in the order wanted; None for all.
        """
        return self._blocks(self._encode, indices)

    def memberships(self) -> Iterator[Float[np.ndarray, "block molecules"]]:
        """Yield how probable it is of all particles to be of each molecule, a block a batch."""
        return self._blocks(self._memberships, None)

    def distinct(self, particles: np.ndarray) -> Iterator[Float[np.ndarray, "block latent"]]:
        """Yield the latents of particles, one row of each, however many images it has.

        Parameters
        ----------
        particles : places among the distinct particles, as `one_image_each` numbers them, in the order wanted.
        """
        if self._feed.particles.group is None:
            yield from self._of_images(self._encode, particles)
            return
        for found, _ in self._of_series(self._encode, particles):
            yield found[:: self._feed.rows[0].shape[1]]

    def posteriors(self) -> Iterator[tuple[Posterior, Int[np.ndarray, "images"], Int[np.ndarray, "block"]]]:
        """Yield what the model says of all images, a block a batch, as arrays of NumPy.

        Beside each block are the places of its images in the particle set, and the row of one image of each of its
        particles. Particles come in the order of their first image, each with all of its images.
        """
        if self._feed.particles.group is None:
            start = 0
            for found in self._of_images(self._posterior, None):
                every = np.arange(len(found.contrast))
                yield found, start + every, every
                start += len(every)
            return
        places, there = self._feed.rows
        for found, particles in self._of_series(self._posterior, np.arange(len(places))):
            rows = np.flatnonzero(there[particles])
            count = np.count_nonzero(there[particles], axis=1)
            yield (
                jax.tree.map(lambda leaf, rows=rows: leaf[rows], found),
                places[particles].ravel()[rows],
                np.cumsum(count) - count,
            )

    def _blocks(self, compiled: Callable[..., Any], indices: np.ndarray | None) -> Iterator[np.ndarray]:
        if self._feed.particles.group is None:
            yield from self._of_images(compiled, indices)
            return
        of = one_image_each(self._feed.particles)[1]
        wanted = of if indices is None else of[np.asarray(indices, np.int64)]
        distinct, first, rank = np.unique(wanted, return_index=True, return_inverse=True)
        order = np.argsort(first)
        found = self._of_series(compiled, distinct[order])
        yield from _repeated(
            (rows[:: self._feed.rows[0].shape[1]] for rows, _ in found), _inverse(order)[rank], self._size
        )

    def _of_images(self, compiled: Callable[..., Any], indices: np.ndarray | None) -> Iterator[Any]:
        left = len(self._feed) if indices is None else len(indices)
        for batch in feed_batches(self._feed, self._size, indices):
            found = compiled(self._params, jax.device_put(batch, self._cut))
            yield jax.tree.map(lambda leaf, left=left: np.asarray(leaf)[:left], found)
            left -= self._size

    def _of_series(
        self, compiled: Callable[..., Any], particles: np.ndarray
    ) -> Iterator[tuple[Any, Int[np.ndarray, "block"]]]:
        """Yield what is found of particles of several images, `views` rows of each, and which particles they are."""
        series, mesh = SeriesFeed(self._feed), sharding.data_mesh(jax.local_devices())
        most = max(self._size // series.views, min(FEWEST, self._size))
        size = sharding.padded_size(min(most, len(series)), mesh)
        for batch, index in series.in_order(particles, size):
            found = compiled(self._params, jax.device_put(batch, self._cut))
            rows = len(index) * series.views
            yield jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[:rows], found), index


def _inverse(order: Int[np.ndarray, "count"]) -> Int[np.ndarray, "count"]:
    """Return where each place comes in an order."""
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _repeated(
    blocks: Iterable[Float[np.ndarray, "block columns"]], rank: Int[np.ndarray, "rows"], most: int
) -> Iterator[Float[np.ndarray, "some columns"]]:
    """Yield rows as often as they are wanted, each kept from when it comes to when it is last wanted.

    Parameters
    ----------
    blocks : the rows, in the order in which they are first wanted.
    rank : the place of each row that is wanted among those of `blocks`.
    most : rows yielded at once.
    """
    last = np.zeros(rank.max(initial=-1) + 1, np.int64)
    np.maximum.at(last, rank, np.arange(len(rank)))
    needed = np.maximum.accumulate(rank)
    held: dict[int, np.ndarray] = {}
    known, done = 0, 0
    for block in blocks:
        held.update((known + place, row.copy()) for place, row in enumerate(block))
        known += len(block)
        while done < (end := min(done + most, int(np.searchsorted(needed, known)))):
            wanted = rank[done:end].tolist()
            yield np.stack([held[row] for row in wanted])
            for row in set(wanted):
                if last[row] < end:
                    del held[row]
            done = end


def write_mid(
    path: Path,
    model: ModelFamily,
    params: Any,
    feed: ParticleFeed,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
    *,
    encoded: Callable[[Posterior], None] | None = None,
) -> None:
    """Write index and latent of every particle, latents wider than 100 reduced by PCA.

    Some thousand particles are encoded to find where latents lie, then all of them, once. The basis of
    a reduction is written beside, `mid_00_basis.npz`, to take points back; where the model knows the latents'
    standard deviations, they are in `mid_00_sd.txt`, in the same layout.

    Parameters
    ----------
    path : text file to make.
    batch_size : particles encoded at once.
    progress : called with the fraction done of each pass.
    encoded : given what is known of every particle, once all have been read, to write what belongs to it; the
        latent's own part is what the files here hold.
    """
    stream = LatentStream(model, params, feed, batch_size)
    first, of = one_image_each(feed.particles)
    kept = _Kept()

    def blocks(particles: np.ndarray) -> Iterator[np.ndarray]:
        everything = len(particles) == len(first)
        latents = kept.latents(stream.posteriors()) if everything else stream.distinct(particles)
        yield from tracked(latents, len(particles), "encoding", progress=progress)

    latent, basis = reduce_stream(blocks, len(first), WIDEST)
    posterior = kept.posterior(latent[of])
    with replacing_set(path.parent, alone=True):
        if encoded is not None:
            encoded(posterior)
        if np.isfinite(posterior.deviation).all():
            write_latent(deviation_path(path), np.arange(len(feed)), posterior.deviation)
        else:
            remove_stale(path.parent, deviation_path(path).name)
        if basis is not None:
            with replacing(basis_path(path)) as beside:
                np.savez(beside, mean=basis.mean, directions=basis.directions)
        else:
            remove_stale(path.parent, basis_path(path).name)
        write_latent(path, np.arange(len(feed)), posterior.latent)


class _Kept:
    """What a stream of posteriors says of all images but their latents, which may be too wide to keep."""

    def __init__(self) -> None:
        self._rows: list[Posterior] = []
        self._images: list[np.ndarray] = []

    def latents(
        self, stream: Iterable[tuple[Posterior, Int[np.ndarray, "images"], Int[np.ndarray, "block"]]]
    ) -> Iterator[Float[np.ndarray, "block latent"]]:
        """Keep what a stream says, from its beginning, and yield the latents of distinct particles.

        Deviations are kept of latents that are written as they are.
        """
        self._rows.clear()
        self._images.clear()
        for block, images, one_each in stream:
            narrow = block.latent.shape[1] <= WIDEST
            deviation = block.deviation if narrow else np.full((len(images), 1), np.nan)
            self._rows.append(replace(block, latent=deviation, deviation=deviation))
            self._images.append(images)
            yield block.latent[one_each]

    def posterior(self, latent: Float[np.ndarray, "images latent"]) -> Posterior:
        """Return what was kept of all images, with their latents as they are written."""
        order = _inverse(np.concatenate(self._images))
        kept = jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *self._rows)
        return replace(kept, latent=latent, deviation=np.broadcast_to(kept.deviation, latent.shape))


def deviation_path(path: Path) -> Path:
    """Return where the standard deviations of a file of latents lie."""
    return path.with_name(f"{path.stem}_sd{path.suffix}")


def basis_path(path: Path) -> Path:
    """Return where the basis of a file of latents lies."""
    return path.with_name(f"{path.stem}_basis.npz")


def read_basis(path: Path) -> LatentBasis | None:
    """Read the basis of a file of latents; None if they were not reduced.

    Raises
    ------
    DataError : if it is damaged.
    """
    place = basis_path(Path(path))
    if not place.exists():
        return None
    return LatentBasis(**read_arrays(place, BASIS, "remove mid_00.txt, from which it is made anew"))
