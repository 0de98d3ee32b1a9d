"""What must be known of the images before training: contrast and deviation, from a fixed sample."""

from __future__ import annotations

import dataclasses
import logging

from libhetero.io import ImageReader
from libhetero.records import ParticleSet
from libhetero.training.contrast import Projector, estimate_contrast
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig, estimate_deviation, sample_indices

LOGGER = logging.getLogger(__name__)
SAMPLE = 256


def measured(
    config: PreprocessConfig,
    particles: ParticleSet,
    contrast: int | None,
    seed: int,
    project: Projector | None = None,
) -> PreprocessConfig:
    """Settle contrast and deviation from a fixed sample of the images, and say what was found.

    Parameters
    ----------
    contrast : the user's decision, None to follow the images.
    project : projector of a white model on the stored grid, None for a blob.
    """
    reader = ImageReader(particles)
    chosen = sample_indices(len(particles), SAMPLE, seed)
    plain = ParticleFeed(reader, particles, PreprocessConfig(normalise="none"))
    estimate = estimate_contrast(plain.batch(chosen), plain.pixel_size, project)
    LOGGER.info(estimate.describe())
    if contrast is not None:
        if estimate.sign == -contrast:
            LOGGER.warning(
                "protein will be %s after %s; the images say the opposite",
                "dark", "--invert" if contrast < 0 else "--noinvert",
            )  # fmt: skip
        sign = contrast
    else:
        sign = estimate.sign or particles.contrast or 1
        if sign < 0:
            LOGGER.warning("images are inverted to make protein white; --noinvert leaves them")
    config = dataclasses.replace(config, contrast=sign)
    if config.normalise == "set":
        deviation = estimate_deviation(reader, len(particles), config, seed=seed)
        config = dataclasses.replace(config, deviation=deviation)
    return config
