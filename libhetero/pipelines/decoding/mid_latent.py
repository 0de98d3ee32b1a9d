"""`mid_00.txt`: the latent of every particle, as EMAN2's programs read it."""

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
from libhetero.telling.progress import tracked
from libhetero.training import sharding
from libhetero.training.feed import ParticleFeed, feed_batches

WIDEST = 100
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

    def blocks(self, indices: np.ndarray | None = None) -> Iterator[Float[np.ndarray, "block latent"]]:
        """Yield the latents of particles, a block a batch.

        Parameters
        ----------
        indices : places in the particle set, in the order wanted; None for all.
        """
        left = len(self._feed) if indices is None else len(indices)
        for batch in feed_batches(self._feed, self._size, indices):
            latent = self._encode(self._params, jax.device_put(batch, self._cut))
            yield np.asarray(latent)[:left]
            left -= self._size


def write_mid(
    path: Path,
    model: ModelFamily,
    params: Any,
    feed: ParticleFeed,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
    *,
    encoded: Callable[[], None] | None = None,
) -> None:
    """Write index and latent of every particle, latents wider than 100 reduced by PCA.

    Some thousand particles are encoded to find where latents lie, then all of them, once. The basis of
    a reduction is written beside, `mid_00_basis.npz`, to take points back.

    Parameters
    ----------
    path : text file to make.
    batch_size : particles encoded at once.
    progress : called with the fraction done of each pass.
    encoded : called once every particle has been read, before the file is there.
    """
    stream = LatentStream(model, params, feed, batch_size)
    latent, basis = reduce_stream(
        lambda indices: tracked(stream.blocks(indices), len(indices), "encoding", progress=progress), len(feed), WIDEST
    )
    with replacing_set(path.parent, alone=True):
        if encoded is not None:
            encoded()
        if basis is not None:
            with replacing(basis_path(path)) as beside:
                np.savez(beside, mean=basis.mean, directions=basis.directions)
        else:
            remove_stale(path.parent, basis_path(path).name)
        write_latent(path, np.arange(len(feed)), latent)


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
