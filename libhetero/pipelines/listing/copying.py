"""Copying the images of a list into a stack of its own, which other programs can open."""

from __future__ import annotations

import dataclasses
import logging
import os

import numpy as np

from libhetero.errors import ConfigurationError
from libhetero.files import absolute_path
from libhetero.io import write_particles
from libhetero.io.star import with_images
from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)


def copy_images(particles: ParticleSet, path: str) -> ParticleSet:
    """Write the images of a set to a stack, in order, and return the set that lies there.

    A set that was read from a .star keeps its other columns. Of other tables they are left out: what they say may
    be true of other images than these, as of those that these were binned from.

    Parameters
    ----------
    particles : of one box and pixel size.
    path : the .mrcs file to make.

    Raises
    ------
    ConfigurationError : if the stack is one that the images lie in.
    DataError : if they have several boxes or pixel sizes, or cannot be read.
    """
    if os.path.exists(path) and any(os.path.samefile(path, file) for file in particles.files if os.path.exists(file)):
        raise ConfigurationError(f"--stack: {path} holds images of the list itself; expected another name.")
    write_particles(path, particles)
    return placed_in(particles, path)


def placed_in(particles: ParticleSet, path: str) -> ParticleSet:
    """Return a set whose images lie in a stack of their own, in order; with their columns as `copy_images` says."""
    place = np.arange(len(particles))
    source = particles.source
    if source is not None and source.format == "star":
        table = with_images(source.data, source.rows, [f"{i + 1:06d}@{path}" for i in place])
        source = dataclasses.replace(source, data=table, rows=place)
    elif source is not None:
        if source.format in ("lst", "cs"):
            LOGGER.warning("%s: its other columns are left out, as the images are copies", source.data.path)
        source = None
    return dataclasses.replace(
        particles, files=(absolute_path(path),), file_id=np.zeros_like(place), image_index=place, source=source
    )
