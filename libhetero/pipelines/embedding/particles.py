"""Particles in a plane by their latents, and in classes.

Classes by latents (at most 100 numbers, after PCA) are those of a mixture of Gaussians, found by it or begun by
k-means. HDBSCAN works on the plane: density is hardly defined in a hundred dimensions, where it calls most
particles noise and takes hours.
"""

from __future__ import annotations

import logging
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.classes import hdbscan_classes
from libhetero.analysis.embedding import principal_plane, umap_plane
from libhetero.analysis.latent_classes import Classes, classes_of
from libhetero.pipelines.decoding.class_files import LIST_ENDINGS, remove_class_files, write_class_lists, write_classes
from libhetero.pipelines.decoding.mid_latent import LatentStream
from libhetero.pipelines.decoding.particle_findings import latent_deviations, particle_weights
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.telling.progress import tracked
from libhetero.telling.waiting import working
from libhetero.tilts import mean_of_images, one_image_each

LOGGER = logging.getLogger(__name__)
PARTICLE_CLASSES = "classes_particles.txt"
FEWEST, SHARE = 10, 1000  # particles of a class that HDBSCAN finds: so many, or one in a thousand of all


def plane_of_latents(
    latent: Float[np.ndarray, "particles columns"], method: str, neighbours: int, min_distance: float, seed: int
) -> Float[np.ndarray, "particles 2"]:
    """Return where every particle lies, and say how much of the latents two principal components hold.

    Parameters
    ----------
    latent : of the particles, reduced.
    method : "umap" or "pca".
    neighbours, min_distance, seed : UMAP's.
    """
    centred = latent - latent.mean(axis=0)
    plane = principal_plane(latent)
    explained = float((plane**2).sum() / max(float((centred**2).sum()), 1e-30))
    LOGGER.info(
        "latent of %d numbers, %.1f%% of its variance in the first two principal components",
        latent.shape[1],
        100 * explained,
    )
    if method == "umap":
        LOGGER.info("UMAP of %d particles, %d neighbours", len(latent), neighbours)
        with working(LOGGER.info, f"UMAP of {len(latent)} particles"):
            plane = umap_plane(latent, neighbours, min_distance, seed)
    return plane


def classes_by_latents(
    run: Run, latent: Float[np.ndarray, "particles columns"], classes: int | None, seed: int, batch_size: int
) -> Classes:
    """Return the class of every particle and how probable it is, and say what was found.

    Where training began with several molecules (`libhetero.models.hype.start`), these are the classes, unless a number
    of them is asked for: what the network adds to an image's latent goes with its noise and its view, too. Of other
    latents, their own deviations count where the run knows them, and a particle by what it is not junk.

    Parameters
    ----------
    run : for what it says of each particle besides.
    latent : of the particles, reduced.
    classes : how many; None for as many as are told apart.
    seed : of starting centres.
    batch_size : particles read at once, where they are.

    Raises
    ------
    DataError : if a file of the run's is damaged.
    """
    first, of = one_image_each(run.particles)
    if classes is None and (molecules := _molecules(run, latent, batch_size)) is not None:
        LOGGER.info(
            "%d classes: the molecules that training began with; %.1f%% of particles are at least 90%% sure",
            molecules.count,
            100 * np.mean(molecules.probability[first] >= 0.9),
        )
        return molecules
    deviations, weight = latent_deviations(run), particle_weights(run)
    deviations = None if deviations is None else deviations[first]
    weight = None if weight is None else mean_of_images(weight, of)
    with working(LOGGER.info, f"classes of {len(first)} particles by {latent.shape[1]} latent numbers"):
        found = classes_of(latent[first], deviations, classes, seed=seed, weight=weight)
    found = found.of_images(of)
    if classes is None and found.count == 1:
        why = "one blob" if found.components == 1 else "a continuum, or too few particles between which to see a dip"
        LOGGER.info("particles are not told apart by their latents: 1 class (%s)", why)
        return found
    LOGGER.info(
        "%d classes by %d of %d latent numbers, %d Gaussians; %.1f%% of particles are at least 90%% sure, %.1f%% less "
        "than 50%%",
        found.count,
        found.directions,
        latent.shape[1],
        found.components,
        100 * np.mean(found.probability >= 0.9),
        100 * np.mean(found.probability < 0.5),
    )
    return found


def _molecules(run: Run, latent: Float[np.ndarray, "particles columns"], batch_size: int) -> Classes | None:
    """Return the molecules that particles are of; None where training did not begin with several."""
    stream = LatentStream(run.model, run.params, run.feed(), batch_size)
    blocks = stream.memberships()
    if (first := next(blocks)).shape[1] < 2:
        return None
    likeliest = [
        (block.argmax(axis=1), block.max(axis=1)) for block in tracked(chain([first], blocks), len(latent), "sorting")
    ]  # of each block alone: all probabilities of many particles and molecules would not fit in memory
    label, sure = (np.concatenate(column) for column in zip(*likeliest, strict=True))
    used, label = np.unique(label, return_inverse=True)
    if len(used) < 2:
        return None
    first, _ = one_image_each(run.particles)
    place = np.bincount(label[first], latent[first, 0]) / np.bincount(label[first])
    number = np.argsort(np.argsort(place, kind="stable"), kind="stable")
    return Classes(number[label], np.minimum(sure, 1).astype(np.float64), len(used), len(used), latent.shape[1])


def classes_in_the_plane(plane: Float[np.ndarray, "particles 2"], min_size: int | None) -> Int[np.ndarray, "particles"]:
    """Return the class of every particle by HDBSCAN, -1 for those between the islands.

    Parameters
    ----------
    plane : where the particles lie.
    min_size : fewest particles of a class; None for a thousandth of all, at least 10.
    """
    least = min_size or max(FEWEST, len(plane) // SHARE)
    with working(LOGGER.info, f"HDBSCAN of {len(plane)} particles"):
        label = hdbscan_classes(plane, least)
    LOGGER.info(
        "HDBSCAN finds %d classes of at least %d particles in the plane; %.1f%% are in none",
        label.max() + 1,
        least,
        100 * np.mean(label < 0),
    )
    return label


def write_particle_classes(
    run: Run,
    label: Int[np.ndarray, "particles"],
    lists: bool,
    probability: Float[np.ndarray, "particles"] | None = None,
) -> Path:
    """Write the table of classes into the run folder, and a list for each if wanted; return the table.

    Lists of an earlier call are removed: they would be of other classes.

    Parameters
    ----------
    label : class of every particle, -1 for none.
    lists : whether to write them.
    probability : of the class being right, a third column; None where nobody knows.
    """
    remove_class_files(run.folder, "class", *LIST_ENDINGS)
    table = run.folder / PARTICLE_CLASSES
    write_classes(table, np.arange(len(label)), label, list_digest(run.particles), probability)
    LOGGER.info("wrote %s", table)
    if lists:
        count = write_class_lists(run, label, "class")
        which = f"each of {count} classes" if count > 1 else "the one class that there is"
        LOGGER.info("wrote the particles of %s as lists", which)
    return table
