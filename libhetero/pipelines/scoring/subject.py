"""Whose volumes are scored: those of a run, or the maps of a classification."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import DataError
from libhetero.io import read_volume
from libhetero.pipelines.classifying.record import Sorted
from libhetero.pipelines.decoding.class_files import class_names
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.run.folder import LATENTS, Run, batches
from libhetero.pipelines.scoring.decoded import decode_volumes
from libhetero.records import Batch, ParticleSet
from libhetero.training.feed import fitting_batches


@dataclass(frozen=True, eq=False)
class Subject:
    """What is scored.

    Parameters
    ----------
    particles : all of them.
    box_size : of the images, pixels.
    pixel_size : Å.
    batches : gives, for a batch size and places, the images.
    volumes : gives, for places and a batch size, the volume of each particle there, (n, n, n).
    latents : gives, for a batch size, the latent of each particle, (particles, numbers); None where there are none.
    """

    particles: ParticleSet
    box_size: int
    pixel_size: float
    batches: Callable[[int, Int[np.ndarray, "chosen"]], Iterator[Batch]]
    volumes: Callable[[Int[np.ndarray, "chosen"], int], Iterator[Float[np.ndarray, "n n n"]]]
    latents: Callable[[int], Float[np.ndarray, "particles numbers"]] | None = None


def of_run(run: Run) -> Subject:
    """Return a run as what is scored."""
    model, encoded = run.model, (run.folder / LATENTS).exists()
    return Subject(
        run.particles,
        model.box_size,
        model.pixel_size,
        partial(batches, run),
        partial(decode_volumes, run),
        partial(particle_latents, run) if encoded else None,
    )


def of_classification(found: Sorted) -> Subject:
    """Return a classification as what is scored: a particle's volume is the map of its class."""
    feed, volumes = found.feed, partial(_class_maps, found)
    return Subject(feed.particles, feed.box_size, feed.pixel_size, partial(fitting_batches, feed), volumes)


def _class_maps(found: Sorted, indices: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the map of each particle's class; of one in no class, the mean of all."""
    names = class_names(found.label)
    size = np.bincount(found.label[found.label >= 0])
    mean = sum(size[one] * _map(found, name) for one, name in names.items()) / size.sum()
    for one in found.label[indices].tolist():
        yield np.asarray(mean, np.float32) if one < 0 else _map(found, names[one])


def _map(found: Sorted, name: str) -> np.ndarray:
    path = found.folder / f"{name}.mrc"
    if not path.is_file():
        raise DataError(f"{path}: no such map; classify without --nomaps, or score with --images 0.")
    return read_volume(path)[0]
