"""The volumes that a run gives its particles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from libhetero.pipelines.decoding.mid_latent import LatentStream
from libhetero.pipelines.run.folder import Run


def decode_volumes(run: Run, indices: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the decoded volume of each particle at `indices`, (n, n, n) in the images' box.

    Parameters
    ----------
    indices : places in the particle set; of a tilt series, of images, whose particle is encoded with all of its own.
    batch_size : images encoded at once.
    """
    model = run.model
    stream = LatentStream(model, run.params, run.feed(), max(min(batch_size, len(indices)), 1))

    @jax.jit
    def volume(params: Any, latent: jax.Array) -> jax.Array:
        one = jax.tree.map(lambda leaf: leaf[0], model.decode(params, latent[None]))
        return model.volume(one, model.box_size, model.pixel_size)

    for latents in stream.blocks(indices):
        for latent in latents:
            yield np.asarray(volume(run.params, latent))
