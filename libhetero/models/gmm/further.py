"""More particles than the full images of fit in memory, for searches: what these compare of an image is kept.

A search for what changes sees the low rings of images on a small grid (`latent.subspace.Imaging`). Of particles beyond
those whose full images are held, images of `SEARCHED_BOX` pixels with the same Fourier coefficients there are enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.contrast import junk_probability
from libhetero.models.gmm.latent.subspace import low_rings
from libhetero.models.gmm.noise import Measured, contrast_estimator
from libhetero.physics.fourier import dft_image, real_image, ring_index
from libhetero.records import Batch, Gaussians

SUBSPACE_GRID = 44  # pixels; pieces that change together are large
SEARCHED_BOX = SUBSPACE_GRID + 4  # pixels of images that keep all rings of that grid


def seen_coarsely(batch: Batch) -> Batch:
    """Return particles with images of `SEARCHED_BOX` pixels, as many Å wide, where theirs are larger.

    Their Fourier coefficients are those of the images, not scaled; those at Nyquist are not kept.
    """
    if batch.images.shape[-1] <= SEARCHED_BOX:
        return batch
    return replace(batch, images=np.asarray(_coarse(batch.images)))


@jax.jit
def _coarse(images: Float[Array, "batch n n"]) -> Float[Array, "batch m m"]:
    return jax.lax.map(lambda image: real_image(dft_image(image, SEARCHED_BOX), SEARCHED_BOX), images, batch_size=64)


def read_coarsely(blocks: Iterable[Batch]) -> Batch:
    """Return the particles of all blocks, at least one, with images as of `seen_coarsely`."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(seen_coarsely, blocks))


def searched_sample(
    neutral: Gaussians, measured: Measured, further: Batch | None, n: int, pixel_size: float, judged: bool
) -> Batch:
    """Return the particles that changes are searched in: those that were measured, and those further ones not junk.

    Parameters
    ----------
    neutral : the whole complex, Å.
    measured : of the particles whose full images are held.
    further : as of `read_coarsely`; None for none.
    n, pixel_size : of the full images, pixels and Å.
    judged : whether junk is looked for.
    """
    if further is None:
        return measured.sample
    if judged and measured.contrast.junk:
        weight = coarse_weight(measured.ring_weight)
        estimator = contrast_estimator(neutral, SEARCHED_BOX, pixel_size * n / SEARCHED_BOX)
        seen = estimator(measured.scale, weight, (further.images, further.observation))
        shown = np.asarray(junk_probability(*seen, measured.contrast)) <= 0.5
        further = replace(further, weight=(further.weight * shown).astype(np.float32))
    first = seen_coarsely(measured.sample)
    return jax.tree.map(lambda one, other: np.concatenate([one, other]), first, further)


def coarse_weight(ring_weight: Float[np.ndarray, "n half"]) -> Float[np.ndarray, "m half2"]:
    """Return weights of Fourier pixels for images as of `seen_coarsely`, 0 from Nyquist on."""
    return low_rings(ring_weight, SEARCHED_BOX) * (ring_index(SEARCHED_BOX) < SEARCHED_BOX // 2).astype(np.float32)
