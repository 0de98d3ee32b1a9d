"""Images that show one particle, as the tilts of a series do: which belong together.

A particle is told by a number of each image (`ParticleSet.group`); its images have one latent. In a `Batch` each has
the same number of rows, `views`, so that whatever is of a particle and not of an image is a sum over an axis.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.records import Batch, ParticleSet

Rows = TypeVar("Rows")


def rows_of_particles(
    group: Int[np.ndarray, "images"],
) -> tuple[Int[np.ndarray, "particles views"], Bool[np.ndarray, "particles views"]]:
    """Return places of each particle's images, in their order, and which of these there are.

    Particles come in the order of their first image. One of fewer images than others repeats its first.

    Parameters
    ----------
    group : number of the particle that each image shows; in any order.
    """
    _, first, of, count = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first[of], kind="stable")
    count = count[np.argsort(first)]
    starts = np.cumsum(count) - count
    view = np.arange(count.max(initial=0))
    there = view < count[:, None]
    return order[starts[:, None] + np.where(there, view, 0)], there


def rows_of_views(particles: Int[np.ndarray, "particles"], views: int) -> Int[np.ndarray, "rows"]:
    """Return the rows of some particles of a batch."""
    return (np.asarray(particles)[:, None] * views + np.arange(views)).ravel()


def of_particles(rows: Rows, views: int) -> Rows:
    """Return of rows of images, those of one particle alike, one for each particle.

    Parameters
    ----------
    rows : arrays whose first axis is images.
    views : images of each particle.
    """
    return rows if views == 1 else jax.tree.map(lambda leaf: leaf[::views], rows)


def of_images(particles: Rows, views: int) -> Rows:
    """Return what each particle has, for each of its images."""
    return particles if views == 1 else jax.tree.map(lambda leaf: jnp.repeat(leaf, views, axis=0), particles)


def by_particle(rows: Rows, views: int) -> Rows:
    """Return rows of images as (particles, views, …)."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, views, *leaf.shape[1:]), rows)


def taken(batch: Batch, particles: Int[np.ndarray, "particles"]) -> Batch:
    """Return some particles of a batch, each with all of its images."""
    rows = rows_of_views(particles, batch.views)
    return jax.tree.map(lambda leaf: leaf[rows], batch)


def images_alone(batch: Batch) -> Batch:
    """Return the images of a batch as if each showed a particle of its own, without padding where there are several."""
    if batch.views == 1:
        return batch
    there = np.flatnonzero(np.asarray(batch.weight))
    return replace(jax.tree.map(lambda leaf: leaf[there], batch), views=1)


def one_image_each(particles: ParticleSet) -> tuple[Int[np.ndarray, "distinct"], Int[np.ndarray, "images"]]:
    """Return the place of the first image of each particle, and which of the particles each image shows.

    What is known of particles, such as their latents, is counted once each, and given to their images again.
    """
    if particles.group is None:
        every = np.arange(len(particles))
        return every, every
    _, first, of = np.unique(particles.group, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return first[order], place[of]


def distinct_among(particles: ParticleSet, images: Int[np.ndarray, "images"]) -> int:
    """Return how many particles some images of a set show."""
    return len(one_of_each(particles, images))


def one_of_each(particles: ParticleSet, images: Int[np.ndarray, "images"]) -> Int[np.ndarray, "particles"]:
    """Return one image of each particle that some images show."""
    if particles.group is None:
        return images
    return images[np.unique(np.asarray(particles.group)[images], return_index=True)[1]]


def mean_of_images(values: Float[np.ndarray, "images"], of: Int[np.ndarray, "images"]) -> Float[np.ndarray, "distinct"]:
    """Return the mean of each particle's images; `of` as in `one_image_each`."""
    return np.bincount(of, values) / np.bincount(of)
