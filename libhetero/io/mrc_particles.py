"""Particles as a bare MRC stack: pixels and pixel size, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import absolute_path
from libhetero.io.entries import Entries
from libhetero.io.images import ImageReader
from libhetero.io.mrc import MrcStack, MrcsWriter
from libhetero.io.stack import missing_image
from libhetero.records import ParticleSet, SourceTable

BLOCK = 256  # images copied at a time


def read_mrcs(path: str | os.PathLike) -> Entries:
    """List every image of a stack.

    Raises
    ------
    DataError : if the stack holds fewer images than its header promises.
    """
    stack = MrcStack(path)
    count = stack.count
    if stack.available < count:
        raise DataError(missing_image(stack, stack.available))
    return Entries(
        names=(absolute_path(path),),
        name_id=np.zeros(count, np.int64),
        image_index=np.arange(count),
        source=SourceTable("mrcs", str(path), np.arange(count)),
        box_size=np.zeros(count, np.int64),
        pixel_size=np.full(count, np.nan),
    )


def write_mrcs(
    path: str | os.PathLike, particles: ParticleSet, images: Iterable[Float[np.ndarray, "count n n"]] | None
) -> None:
    """Write a float32 stack from blocks of images, or from the set's own."""
    blocks = copy_blocks(particles) if images is None else images
    n, pixel_size = particles.uniform_box_size(), particles.uniform_pixel_size()
    with MrcsWriter(path, n, len(particles), pixel_size) as writer:
        for block in blocks:
            writer.write(block)


def copy_blocks(particles: ParticleSet) -> Iterator[Float[np.ndarray, "count n n"]]:
    """Yield the images of a set in order, 256 at a time."""
    with ImageReader(particles) as reader:
        for start in range(0, len(particles), BLOCK):
            yield reader.read(np.arange(start, min(start + BLOCK, len(particles))))
