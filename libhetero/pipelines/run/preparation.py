"""What must be known of the images before training: contrast and deviation, from a fixed sample.

Images that are not finite are left out of all of it.
"""

from __future__ import annotations

import dataclasses
import logging

import jax
import numpy as np
from jaxtyping import Int

from libhetero.errors import DataError
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.records import Batch
from libhetero.tilts import taken
from libhetero.training.configuration import PreprocessConfig
from libhetero.training.contrast import Projector, estimate_contrast
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import estimate_deviation, sample_indices
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)
SAMPLE = 256


def measured(feed: ParticleFeed, contrast: int | None, seed: int, project: Projector | None = None) -> ParticleFeed:
    """Settle contrast and deviation from a fixed sample of the images, and say what was found.

    Parameters
    ----------
    feed : the particles, prepared but for these two.
    contrast : the user's decision, None to follow the images.
    seed : of the sample.
    project : projector of a white model on the stored grid, None for a blob.

    Raises
    ------
    DataError : for an image that cannot be read, one too many that is not finite, or constant ones.
    """
    chosen = sample_indices(len(feed), SAMPLE, seed)
    plain = dataclasses.replace(feed, config=PreprocessConfig(normalise="none"))
    estimate = estimate_contrast(of_finite_images(plain.batch(chosen)), plain.pixel_size, project)
    LOGGER.info(estimate.describe())
    if contrast is not None:
        if estimate.sign == -contrast:
            LOGGER.warning(
                "protein will be %s after %s; the images say the opposite",
                "dark",
                "--invert" if contrast < 0 else "--noinvert",
            )
        sign = contrast
    else:
        sign = estimate.sign or feed.particles.contrast or 1
        if sign < 0:
            LOGGER.warning("images are inverted to make protein white; --noinvert leaves them")
    config = dataclasses.replace(feed.config, contrast=sign)
    if config.normalise == "set":
        deviation = estimate_deviation(feed.reader, len(feed), config, seed=seed, bad=feed.bad)
        config = dataclasses.replace(config, deviation=deviation)
    return dataclasses.replace(feed, config=config)


def sample_of(config: RunConfig, feed: ParticleFeed, trained_on: Int[np.ndarray, " particles"]) -> Batch:
    """Return the particles that the model's statistics are measured on.

    Parameters
    ----------
    config : of the run.
    feed : all of its particles.
    trained_on : places of those that are trained on.

    Raises
    ------
    DataError : if the image of none is finite.
    """
    drawn = drawn_from(feed)
    most = config.model.sample_size(feed.box_size, SAMPLE, drawn.views)
    chosen = sample_indices(len(trained_on), min(most, len(trained_on)), config.training.seed)
    return of_finite_images(drawn.batch(trained_on[chosen]))


def of_finite_images(batch: Batch) -> Batch:
    """Return the particles of a batch whose images are finite, one of them at least where each has several.

    Raises
    ------
    DataError : if there are none.
    """
    kept = np.asarray(batch.weight) > 0
    if not kept.any():
        raise DataError(f"none of {len(kept)} sampled particle images is finite; expected most. Write the stack again.")
    if kept.all():
        return batch
    if batch.views > 1:
        return taken(batch, np.flatnonzero(kept.reshape(-1, batch.views).any(axis=1)))
    return jax.tree.map(lambda array: array[kept], batch)
