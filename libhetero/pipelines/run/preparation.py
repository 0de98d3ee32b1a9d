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
from libhetero.models.gmm.further import read_coarsely
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
READ_BYTES = 2**26  # of images, at a time


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
    return of_finite_images(drawn_from(feed).batch(trained_on[_sampled(config, feed, len(trained_on))]))


def further_of(config: RunConfig, feed: ParticleFeed, trained_on: Int[np.ndarray, " particles"]) -> Batch | None:
    """Return the particles that are searched besides those of `sample_of`, with the low rings of their images.

    Images are read a block at a time, so that as many are searched however large they are.

    Parameters
    ----------
    config, feed, trained_on : as of `sample_of`.

    Returns
    -------
    as `models.create` takes them; None where the sample is all that is searched. Images that are not finite have weight
    0.

    Raises
    ------
    DataError : for an image that cannot be read, or one too many that is not finite.
    """
    drawn = drawn_from(feed)
    most = config.model.further_size(feed.box_size, SAMPLE, drawn.views)
    others = np.delete(np.arange(len(trained_on)), _sampled(config, feed, len(trained_on)))
    chosen = trained_on[others[sample_indices(len(others), most, config.training.seed)]]
    if not len(chosen):
        return None
    block = max(READ_BYTES // (4 * drawn.views * feed.box_size**2), 1)
    return read_coarsely(drawn.batch(chosen[start : start + block]) for start in range(0, len(chosen), block))


def _sampled(config: RunConfig, feed: ParticleFeed, count: int) -> Int[np.ndarray, " sampled"]:
    """Return the places, among those that are trained on, of the particles of `sample_of`."""
    most = config.model.sample_size(feed.box_size, SAMPLE, drawn_from(feed).views)
    return sample_indices(count, min(most, count), config.training.seed)


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
