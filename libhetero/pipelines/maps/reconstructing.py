"""A map of some particles, with half-maps and their correlation."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from libhetero.files import remove_stale, replacing_set
from libhetero.io import write_volume
from libhetero.io.fsc import write_fsc
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.maps.postprocess import LOCAL_RESOLUTION, SHARPENED
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.pipelines.run.preparation import measured
from libhetero.reconstruction.backproject import Reconstruction, reconstruct
from libhetero.reconstruction.deformed import Deformation
from libhetero.records import Batch, ParticleSet
from libhetero.telling.progress import tracked
from libhetero.telling.waiting import working
from libhetero.tilts import distinct_among, one_image_each
from libhetero.training.feed import ParticleFeed, fitting_batches

LOGGER = logging.getLogger(__name__)
FURTHER = SHARPENED, LOCAL_RESOLUTION
SEED = 0  # of the sample that contrast and deviation are measured on


def listed_feed(data: DataConfig, contrast: int | None) -> ParticleFeed:
    """Return the particles of a list, their contrast measured on a sample.

    Parameters
    ----------
    data : which particles.
    contrast : 1 or -1 to decide it, None to estimate it.

    Raises
    ------
    UserError : one line on what is wrong with the list or its images.
    """
    return measured(feed_of(load_particles(data), data), contrast, SEED)


def reconstruct_some(
    feed: ParticleFeed,
    indices: Int[np.ndarray, "chosen"],
    batch_size: int,
    symmetry: str,
    what: str,
    progress: Callable[[float], None] | None = None,
    weights: Float[np.ndarray, "particles"] | None = None,
    deformation: Deformation | None = None,
) -> Reconstruction:
    """Reconstruct some particles of a feed; the half-sets are theirs where they are of both.

    The maps' grey scale is that of the stack, whatever the feed divides images by: projected, at a pose and with its
    CTF, the map is the signal of the image (after contrast and background), as RELION's subtraction takes it.

    Parameters
    ----------
    indices : places in the feed.
    batch_size : images inserted at once.
    symmetry : of the structure, "c4" …
    what : a few words for the progress.
    progress : called with the fraction done.
    weights : of each place in the feed; None for 1.
    deformation : how the particles move, see `libhetero.reconstruction.deformed`; None for particles at rest.
    """
    stream = tracked(
        fitting_batches(feed, batch_size, indices),
        len(indices),
        what,
        lambda batch: int(np.count_nonzero(batch.weight)),
        progress,
    )
    half_set = half_set_among(feed.particles, indices)
    operators = symmetry_operators(symmetry)
    with ExitStack() as solving:

        def images() -> Iterator[Batch]:
            yield from stream
            solving.enter_context(working(LOGGER.info, f"{what}: maps of the sums, and FSC of the half-maps"))

        made = reconstruct(
            images(),
            feed.box_size,
            feed.pixel_size,
            half_set,
            operators=operators,
            weights=weights,
            deformation=deformation,
        )
    if feed.particles.group is not None:
        made = dataclasses.replace(made, particles=distinct_among(feed.particles, indices))
    return made.scaled(feed.config.grey_scale)


def half_set_among(particles: ParticleSet, indices: Int[np.ndarray, "chosen"]) -> Int[np.ndarray, "particles"] | None:
    """Return the half-set of each place, for some of these; None to take single images alternately.

    They are the list's where the chosen ones are of both. Otherwise every other particle among the chosen ones is of
    one half-set, with all of its images.
    """
    half_set = particles.half_set
    if half_set is not None and len(np.unique(half_set[indices])) < 2:
        LOGGER.warning("all particles are of one half-set; every other one is taken instead.")
        half_set = None
    if half_set is None and particles.group is not None:
        half_set = np.zeros(len(particles), np.int64)
        half_set[indices] = np.unique(one_image_each(particles)[1][indices], return_inverse=True)[1] % 2
    return half_set


def write_maps(
    output: Path,
    made: Reconstruction,
    pixel_size: float,
    curves: Mapping[str, Float[np.ndarray, "shells"]] | None = None,
    further: Mapping[str, Float[np.ndarray, "n n n"]] | None = None,
) -> None:
    """Write map, half-maps, and a table of the half-maps' correlation and others.

    Parameters
    ----------
    output : the map, .mrc or .hdf; the rest is written beside it.
    made : the map.
    pixel_size : Å.
    curves : further columns of the table.
    further : maps by name, of `FURTHER`, for OUT_NAME.mrc; an earlier one that is not among them goes.
    """
    with replacing_set(output.parent):
        write_volume(output, made.volume, pixel_size, particles=made.particles)
        for number, half_map in enumerate(made.half_maps):
            name = output.with_name(f"{output.stem}_half{number + 1}{output.suffix}")
            write_volume(name, half_map, pixel_size)
        for kind in FURTHER:
            name = output.with_name(f"{output.stem}_{kind}{output.suffix}")
            if further is None or kind not in further:
                remove_stale(output.parent, name.name)
            else:
                write_volume(name, further[kind], pixel_size)
        name = output.with_name(f"{output.stem}_fsc.txt")
        write_fsc(name, {"FSC of the half-maps": made.fsc, **(curves or {})}, pixel_size)
