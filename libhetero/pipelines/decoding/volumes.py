"""From latents to maps, in batches of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from libhetero.physics.filters import lowpass_volume
from libhetero.pipelines.decoding.gaussians import has_mixtures
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians

BATCH = 4  # volumes decoded by one call


def decoded_volumes(
    run: Run, latents: Iterable[Float[np.ndarray, "latent"]], box: int, pixel_size: float, lowpass: float | None = None
) -> Iterator[tuple[Float[np.ndarray, "box box box"], Gaussians | None]]:
    """Yield the map of each latent, and its mixture if the run is of Gaussians.

    Parameters
    ----------
    latents : as the decoder takes them.
    box : voxels.
    pixel_size : Å.
    lowpass : resolution to filter to, Å; None for none.
    """
    model, params = run.model, jax.device_put(run.params)

    def one(representation: Any) -> jax.Array:
        volume = model.volume(representation, box, pixel_size)
        return volume if lowpass is None else lowpass_volume(volume, pixel_size, lowpass)

    @jax.jit
    def decode(params: Any, latent: jax.Array) -> tuple[Any, jax.Array]:
        representations = model.decode(params, latent)
        return representations, jax.lax.map(one, representations)

    latents = iter(latents)
    while group := list(islice(latents, BATCH)):
        padded = np.stack(group + group[-1:] * (BATCH - len(group)))
        representations, volumes = decode(params, padded)
        volumes = np.asarray(volumes)
        keep = jax.tree.map(np.asarray, representations) if has_mixtures(run) else None
        for place in range(len(group)):
            yield volumes[place], None if keep is None else keep.take(place)


def crop_centre(
    volume: Float[np.ndarray, "n n n"], size: int, pixel_size: float
) -> tuple[Float[np.ndarray, "size size size"], tuple[float, float, float]]:
    """Return the voxels about the box's centre, and the origin (x, y, z) in Å of the first of them.

    Voxel n // 2 becomes voxel size // 2. The origin lays the smaller map where it was in the larger
    one, whose own is 0.

    Parameters
    ----------
    volume : (z, y, x).
    size : voxels kept along each side, at most n.
    pixel_size : Å.
    """
    before = len(volume) // 2 - size // 2
    inside = slice(before, before + size)
    return volume[inside, inside, inside], (before * pixel_size,) * 3
