"""From what a list says to a ParticleSet: stacks found, headers read, units made ours.

A list speaks of stacks by name, of shifts in pixels, Å or boxes, and may leave the box and the
pixel size to the headers of the stacks. `Entries` is what the list said; `assemble` adds the rest.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.configuration.limits import MOST_PIXEL
from libhetero.errors import DataError
from libhetero.io.images import open_stack
from libhetero.io.paths import resolve_paths
from libhetero.io.stack import Stack, missing_image
from libhetero.records import CTFParams, ParticleEstimates, ParticleSet, Pose, SourceTable

logger = logging.getLogger(__name__)
Name = TypeVar("Name", str, int)

WHOLE_STACKS = ("mrcs", "txt")  # lists that name stacks and number no image


@dataclass(frozen=True, eq=False)
class Entries:
    """What a list of particles says.

    Parameters
    ----------
    names : stacks as written in the list, each once.
    name_id : index into `names`.
    image_index : 0-based.
    box_size : pixels, 0 where the list does not say.
    pixel_size : Å, NaN where the list does not say.
    rotation : model to image, or None.
    shift : in `shift_unit`, or None.
    shift_unit : "pixel", "angstrom" or "box" (fraction of the box).
    group : particle that each image shows, of a tilt series, from 0; None for single images.
    tilt : degrees, of the stage, of a tilt series; None where the list does not say.
    estimates : contrast and junk that a run found, where the list carries both for every particle; None otherwise.
    extent : Å, length of the box whatever it is binned to; NaN or None where nobody says.
    numbered : whether the list says which image of the stack; None for all.
    """

    names: tuple[str, ...]
    name_id: Int[np.ndarray, "particles"]
    image_index: Int[np.ndarray, "particles"]
    source: SourceTable
    box_size: Int[np.ndarray, "particles"]
    pixel_size: Float[np.ndarray, "particles"]
    rotation: Float[np.ndarray, "particles 3 3"] | None = None
    shift: Float[np.ndarray, "particles 2"] | None = None
    shift_unit: str = "pixel"
    ctf: CTFParams | None = None
    contrast: int = 0
    phase_flipped: bool = False
    half_set: Int[np.ndarray, "particles"] | None = None
    group: Int[np.ndarray, "particles"] | None = None
    tilt: Float[np.ndarray, "particles"] | None = None
    estimates: ParticleEstimates | None = None
    extent: Float[np.ndarray, "particles"] | None = None
    numbered: Bool[np.ndarray, "particles"] | None = None


def assemble(
    entries: Entries,
    source: str | os.PathLike,
    datadir: str | os.PathLike | None = None,
    pixel_size: float | None = None,
    need_images: bool = True,
) -> ParticleSet:
    """Return the particle set that a list describes.

    Parameters
    ----------
    entries : what the list said.
    source : the list, to find stacks beside it and to name it in errors.
    datadir : folder of the stacks; None to look beside the list and in the current folder.
    pixel_size : Å, overrides list and headers (shifts keep their number of pixels); None otherwise.
    need_images : False to take the list's word where a stack is not at hand.

    Raises
    ------
    DataError : for a stack that is missing or too short, or a pixel size nobody knows.
    """
    files, file_id = _files(entries, source, datadir, need_images)
    box, header_pixel = _from_headers(entries, files, file_id, need_images)
    stated = entries.pixel_size
    if entries.extent is not None:
        stated = np.where(np.isfinite(entries.extent), entries.extent / np.maximum(box, 1), stated)
    pixel = np.where(np.isfinite(stated) & (stated > 0), stated, header_pixel)
    if pixel_size is not None:
        pixel = np.full(len(file_id), float(pixel_size))
    unknown = np.flatnonzero(~(pixel > 0))
    if len(unknown):
        raise DataError(
            f"{files[file_id[unknown[0]]]}: the header holds no pixel size and {source} gives "
            f"none; give it in Å with --apix."
        )
    supposed = (pixel == 1) & ~(stated > 0)
    if pixel_size is None and supposed.any():
        logger.warning(
            "%s: pixel size 1 Å by its header alone, which programs write that know none; check it, and give it with "
            "--apix.",
            files[file_id[int(np.argmax(supposed))]],
        )
    if pixel.max(initial=0.0) > MOST_PIXEL:
        raise DataError(f"{source}: pixel size {pixel.max():g} Å; expected at most {MOST_PIXEL:g}. Mend the list.")
    pose = None
    if entries.rotation is not None:
        shift = _shift_angstrom(entries, box, pixel, pixel_size is not None)
        pose = Pose(rotation=entries.rotation.astype(np.float32), shift=shift.astype(np.float32))
    return ParticleSet(
        files=files,
        file_id=file_id,
        image_index=np.asarray(entries.image_index, np.int64),
        box_size=box,
        pixel_size=pixel.astype(np.float64),
        pose=pose,
        ctf=entries.ctf,
        contrast=entries.contrast,
        phase_flipped=entries.phase_flipped,
        half_set=entries.half_set,
        group=entries.group,
        tilt=entries.tilt,
        source=entries.source,
        estimates=entries.estimates,
    )


def _files(
    entries: Entries, source: str | os.PathLike, datadir: str | os.PathLike | None, need: bool
) -> tuple[tuple[str, ...], Int[np.ndarray, "particles"]]:
    """Resolve every name in use; two names of one file become one."""
    used = np.unique(entries.name_id)
    place: dict[str, int] = {}
    renumber = np.zeros(len(entries.names), np.int64)
    for i, path in zip(used, resolve_paths([entries.names[i] for i in used], source, datadir, need), strict=True):
        renumber[i] = place.setdefault(path, len(place))
    return tuple(place), renumber[entries.name_id]


def _from_headers(
    entries: Entries, files: tuple[str, ...], file_id: Int[np.ndarray, "particles"], need: bool
) -> tuple[Int[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return box size (the list's word first) and the headers' pixel size."""
    highest, bare = np.full(len(files), -1), np.zeros(len(files), bool)
    np.maximum.at(highest, file_id, entries.image_index)
    if entries.numbered is not None:
        bare[file_id[~entries.numbered]] = True
    whole = entries.source.format in WHOLE_STACKS
    boxes, pixels, maplike = np.zeros(len(files), np.int64), np.zeros(len(files)), []
    for i, path in enumerate(files):
        if not need and not os.path.exists(path):
            continue
        stack = open_stack(path)
        _check_kind(stack, bool(bare[i]), whole)
        if stack.looks_like_map:
            maplike.append(path)
        _check_count(stack, int(highest[i]))
        boxes[i], pixels[i] = stack.shape[1], stack.pixel_size
        stack.close()
    if maplike:
        logger.warning(
            "%s: a cube, by its header a map%s; read as images, as the list numbers them. Names in .mrcs say so.",
            maplike[0],
            f" (so are {len(maplike) - 1} more)" if len(maplike) > 1 else "",
        )
    stated = np.asarray(entries.box_size, np.int64)
    return np.where(stated > 0, stated, boxes[file_id]), pixels[file_id]


def _check_kind(stack: Stack, bare: bool, whole: bool) -> None:
    """Refuse what is no stack of particle images, or one of several that are named without a number.

    Parameters
    ----------
    bare : some image is named by the stack alone.
    whole : the list is one of stacks, with all their images.
    """
    if stack.holds_volume or (stack.looks_like_map and (bare or whole)):
        stack.close()
        raise DataError(
            f"{stack.path}: holds a volume ({stack.count} × {stack.shape[0]} × {stack.shape[1]} by its header), not a "
            f"stack of images; expected particles. A stack that only looks like one is read under a name in .mrcs."
        )
    if bare and stack.count > 1:
        stack.close()
        raise DataError(
            f"{stack.path}: a stack of {stack.count} images, named without the number of one; expected "
            f"000001@stack, one row an image. A list of subtomograms or tilt stacks needs a row for each tilt."
        )


def _check_count(stack: Stack, highest: int) -> None:
    if highest >= stack.reach:
        stack.close()
        raise DataError(missing_image(stack, highest if highest >= stack.count else stack.reach))


def _shift_angstrom(
    entries: Entries, box: Int[np.ndarray, "particles"], pixel: Float[np.ndarray, "particles"], overridden: bool
) -> Float[np.ndarray, "particles 2"]:
    """Return shifts in Å; an overriding pixel size keeps their number of pixels."""
    shift = np.zeros((len(pixel), 2)) if entries.shift is None else entries.shift
    if entries.shift_unit == "pixel":
        return shift * pixel[:, None]
    if entries.shift_unit == "box":
        return shift * (box * pixel)[:, None]
    stated = entries.pixel_size
    if overridden:
        ratio = np.where(np.isfinite(stated) & (stated > 0), pixel / stated, 1.0)
        return shift * ratio[:, None]
    return shift


def unique_names(names: Iterable[Name]) -> tuple[tuple[Name, ...], Int[np.ndarray, "names"]]:
    """Return the distinct names (or numbers) in order of first use, and the index of each into them."""
    place: dict[Name, int] = {}
    name_id = np.array([place.setdefault(name, len(place)) for name in names], np.int64)
    return tuple(place), name_id
