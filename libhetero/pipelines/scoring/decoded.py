"""The volumes that a run gives its particles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from libhetero.pipelines.run.folder import Run, batches


def decode_volumes(run: Run, indices: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the decoded volume of each particle at `indices`, (n, n, n) in the images' box."""
    model = run.model
    encode = jax.jit(model.encode)

    @jax.jit
    def volume(params: Any, latent: jax.Array) -> jax.Array:
        one = jax.tree.map(lambda leaf: leaf[0], model.decode(params, latent[None]))
        return model.volume(one, model.box_size, model.pixel_size)

    for start, batch in zip(range(0, len(indices), batch_size), batches(run, batch_size, indices), strict=True):
        latent = encode(run.params, batch)
        for place in range(min(len(indices) - start, batch_size)):
            yield np.asarray(volume(run.params, latent[place]))
