"""`mid_00.txt`: the latent of every particle, as EMAN2's programs read it; `mid_00_sd.txt`: how well it is known.

Both come of one pass through `model.posterior`, with the contrast and the evidence of every particle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from libhetero.analysis.streaming_pca import LatentBasis, reduce_stream
from libhetero.configuration import ArraySchema
from libhetero.files import remove_stale, replacing, replacing_set
from libhetero.io import write_latent
from libhetero.io.arrays import read_arrays
from libhetero.models.family import ModelFamily
from libhetero.records import PoseChange, Posterior
from libhetero.telling.progress import tracked
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

        Parameters
        ----------
        indices : places in the particle set, in the order wanted; None for all.
        """
        return self._blocks(self._encode, indices)

    def posteriors(self, indices: np.ndarray | None = None) -> Iterator[Posterior]:
        """Yield what the model says of particles, a block a batch, as `blocks` does; arrays of NumPy."""
        return self._blocks(self._posterior, indices)

    def memberships(self) -> Iterator[Float[np.ndarray, "block molecules"]]:
        """Yield how probable it is of all particles to be of each molecule, a block a batch."""
        return self._blocks(self._memberships, None)

    def _blocks(self, compiled: Callable[..., Any], indices: np.ndarray | None) -> Iterator[Any]:
        if self._feed.particles.group is not None:
            yield from self._of_series(compiled, indices)
            return
        left = len(self._feed) if indices is None else len(indices)
        for batch in feed_batches(self._feed, self._size, indices):
            found = compiled(self._params, jax.device_put(batch, self._cut))
            yield jax.tree.map(lambda leaf, left=left: np.asarray(leaf)[:left], found)
            left -= self._size

    def _of_series(self, compiled: Callable[..., Any], indices: np.ndarray | None) -> Iterator[Any]:
        """Yield what is found of particles of several images, for each image.

        Where the images of each stand together in the list, blocks follow it; others come all at the end.
        """
        series, mesh = SeriesFeed(self._feed), sharding.data_mesh(jax.local_devices())
        most = max(self._size // series.views, min(FEWEST, self._size))
        size = sharding.padded_size(min(most, len(series)), mesh)
        wanted = np.arange(len(self._feed)) if indices is None else np.asarray(indices)
        once = len(np.unique(wanted)) == len(wanted)
        done, parts, places = 0, list[Any](), list[np.ndarray]()
        for batch, rows, images in series.batches(size, indices):
            found = compiled(self._params, jax.device_put(batch, self._cut))
            found = jax.tree.map(lambda leaf, rows=rows: np.asarray(leaf)[rows], found)
            if once and not parts and np.array_equal(images, wanted[done : done + len(images)]):
                done += len(images)
                yield found
            else:
                parts.append(found)
                places.append(images)
        if parts:
            where = np.full(len(self._feed), -1)
            where[np.concatenate(places)] = np.arange(sum(map(len, places)))
            rest = where[wanted[done:]]
            yield jax.tree.map(lambda *leaves: np.concatenate(leaves)[rest], *parts)


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
    kept = _Kept()

    def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
        if len(indices) < len(feed):
            yield from tracked(stream.blocks(indices), len(indices), "encoding", progress=progress)
        else:
            kept.clear()
            for block in tracked(stream.posteriors(indices), len(indices), "encoding", _particles_of, progress):
                yield kept.latent_of(block)

    latent, basis = reduce_stream(blocks, len(feed), WIDEST)
    posterior = kept.posterior(latent)
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
        write_latent(path, np.arange(len(feed)), latent)


class _Kept:
    """What a stream of posteriors says of all particles but their latents, which may be too wide to keep."""

    def __init__(self) -> None:
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._poses: list[PoseChange] = []

    def clear(self) -> None:
        """Forget what was kept: a pass over all particles begins."""
        self._rows.clear()
        self._poses.clear()

    def latent_of(self, block: Posterior) -> Float[np.ndarray, "block latent"]:
        """Keep a block, and return its latents; deviations are kept of latents that are written as they are."""
        narrow = block.latent.shape[1] <= WIDEST
        deviation = block.deviation if narrow else np.full((len(block.latent), 1), np.nan)
        self._rows.append((deviation, block.contrast, block.contrast_deviation, block.evidence))
        if block.poses is not None:
            self._poses.append(block.poses)
        return block.latent

    def posterior(self, latent: Float[np.ndarray, "particles latent"]) -> Posterior:
        """Return what was kept of all particles, with their latents as they are written."""
        deviation, contrast, contrast_deviation, evidence = (
            np.concatenate(parts) for parts in zip(*self._rows, strict=True)
        )
        poses = jax.tree.map(lambda *parts: np.concatenate(parts), *self._poses) if self._poses else None
        known = np.broadcast_to(deviation, latent.shape)
        return Posterior(latent, known, contrast, contrast_deviation, evidence, poses)


def _particles_of(block: Posterior) -> int:
    return len(block.contrast)


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
