"""Particles of several images, as the tilts of a series are: batches of whole particles.

What training draws from are particles. Each takes as many rows of a batch as the particle of most images has, so that
every batch has one shape; what a particle lacks is padding, repeats of its first image at weight 0. The order is one
permutation of the particles an epoch (`libhetero.training.order`), also of large sets: the images of a particle lie
together on the disk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from libhetero.records import Batch
from libhetero.tilts import one_image_each
from libhetero.training.feed import ParticleFeed, ordered_indices, prefetch, reader_threads


@dataclass(frozen=True, eq=False)
class SeriesFeed:
    """Particles of several images; a `Feed` of the training, whose places are of particles.

    Parameters
    ----------
    images : the feed of all images, which says which particle each shows.
    """

    images: ParticleFeed

    def __len__(self) -> int:
        return len(self.images.rows[0])

    @property
    def views(self) -> int:
        """Rows of a batch that a particle takes."""
        return self.images.rows[0].shape[1]

    @property
    def box_size(self) -> int:
        """Box of the images that the model sees, pixels."""
        return self.images.box_size

    @property
    def pixel_size(self) -> float:
        """Pixel size of the images that the model sees, Å."""
        return self.images.pixel_size

    def batch(self, index: Int[np.ndarray, "count"], size: int | None = None) -> Batch:
        """Return the particles at `index`, each with all of its images.

        Parameters
        ----------
        index : places of particles.
        size : particles of the batch, at least `count`; default `count`.

        Raises
        ------
        DataError : for an image that cannot be read, or one too many that is not finite.
        """
        rows, there = (part[np.asarray(index, np.int64)] for part in self.images.rows)
        read, finite = self.images.prepared(rows[there])
        place = np.zeros(rows.shape, np.int64)
        place[there] = np.arange(len(read))
        place = np.where(there, place, place[:, :1])
        weight = np.zeros(rows.shape, bool)
        weight[there] = finite
        length = self.views * (len(rows) if size is None else size)
        batch = self.images.assembled(rows.ravel(), read[place.ravel()], weight.ravel(), length)
        return dataclasses.replace(batch, views=self.views)

    def batches(
        self, size: int, images: Int[np.ndarray, "images"] | None = None
    ) -> Iterator[tuple[Batch, Int[np.ndarray, "rows"], Int[np.ndarray, "rows"]]]:
        """Yield particles in batches of one shape, each batch with the rows of it that are images of the list, and
        their places in the list.

        Parameters
        ----------
        size : particles of a batch.
        images : places of images whose particles are wanted, with all images of these; None for all.
        """
        wanted = np.arange(len(self))
        if images is not None:
            wanted = np.unique(one_image_each(self.images.particles)[1][np.asarray(images, np.int64)])
        for batch, particles in self.in_order(wanted, size):
            rows, there = (part[particles].ravel() for part in self.images.rows)
            yield batch, np.flatnonzero(there), rows[there]

    def in_order(
        self, particles: Int[np.ndarray, "particles"], size: int
    ) -> Iterator[tuple[Batch, Int[np.ndarray, "some"]]]:
        """Yield particles in the order given, in batches of one shape, each batch with the places of its particles.

        Parameters
        ----------
        particles : places of those wanted.
        size : particles of a batch.
        """
        pieces = [particles[places] for places in ordered_indices(len(particles), size)]
        yield from zip(
            prefetch(lambda index: self.batch(index, size), pieces, threads=reader_threads()), pieces, strict=True
        )


def drawn_from(feed: ParticleFeed) -> ParticleFeed | SeriesFeed:
    """Return what training draws from: particles, each of one image or of several."""
    return feed if feed.particles.group is None else SeriesFeed(feed)
