"""The same particle in several lists: one of the same image, that is of the same stack and number.

Tables of cryoSPARC state a uid for each particle, by which it is the same though its images were extracted anew; where
all lists are such tables, they say what is the same. All rows of an image (symmetry expansion) go together; in a table
of cryoSPARC they have uids of their own, and name that of the particle beside it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Integer

from libhetero.errors import DataError
from libhetero.io.cs_columns import names_of
from libhetero.records import ParticleSet

UIDS = ("sym_expand/src_uid", "uid")  # columns of a .cs, of which the first that there is tells particles apart
FROM_WHOLE = "Choose from the whole list itself."  # what to do where a list has an image several times
ONE_LIST = "Compare runs of one list, in one order."


@dataclass(frozen=True, eq=False)
class Images:
    """Where the images of a list lie.

    Parameters
    ----------
    files : stacks.
    file_id : index into `files`.
    image_index : place in the stack, from 0.
    uid : cryoSPARC's numbers of the particles, after a symmetry expansion of those that were expanded; None where the
        list states none.
    """

    files: tuple[str, ...]
    file_id: Integer[np.ndarray, "particles"]
    image_index: Integer[np.ndarray, "particles"]
    uid: Integer[np.ndarray, "particles"] | None = None

    @classmethod
    def of(cls, particles: ParticleSet) -> Images:
        """Return those of a particle set."""
        source, uid = particles.source, None
        if source is not None and source.format == "cs":
            rows = source.data.particles
            column = next((name for name in UIDS if name in names_of(rows)), None)
            uid = None if column is None else rows[column][source.rows]
        return cls(particles.files, particles.file_id, particles.image_index, uid)


def image_numbers(lists: Sequence[Images]) -> list[Int[np.ndarray, "_"]]:
    """Return a number for each particle of each list, which all that are of one image share."""
    if not lists:
        return []
    if all(one.uid is not None for one in lists):
        keys = np.concatenate([np.asarray(one.uid, np.uint64) for one in lists])
        _, numbers = np.unique(keys, return_inverse=True)
    else:
        place: dict[str, int] = {}
        of_files = [
            np.array([place.setdefault(os.path.realpath(file), len(place)) for file in one.files] or [0], np.int64)
            for one in lists
        ]
        stacks = np.concatenate([file[one.file_id] for file, one in zip(of_files, lists, strict=True)])
        index = np.concatenate([np.asarray(one.image_index, np.int64) for one in lists])
        _, numbers = np.unique(stacks * (index.max(initial=0) + 1) + index, return_inverse=True)
    return np.split(numbers.ravel(), np.cumsum([len(one.file_id) for one in lists])[:-1])


def places_in(
    numbers: Int[np.ndarray, "particles"], whole: Int[np.ndarray, "others"], names: tuple[str, str], remedy: str
) -> Int[np.ndarray, "particles"]:
    """Return the row of another list that each particle is in; -1 for particles that are not there.

    Parameters
    ----------
    numbers, whole : of the images, as `image_numbers` gives them.
    names : of the list and of the other, for messages.
    remedy : sentence that says what to do where rows of the other list cannot be told apart by their images.

    Raises
    ------
    DataError : where an image that is looked for stands in the other list several times and the lists differ.
    """
    if np.array_equal(numbers, whole):
        return np.arange(len(whole))
    order = np.argsort(whole, kind="stable")
    first = np.searchsorted(whole, numbers, sorter=order)
    found = order[np.minimum(first, max(len(whole) - 1, 0))] if len(whole) else np.zeros(len(numbers), np.int64)
    there = whole[found] == numbers if len(whole) else np.zeros(len(numbers), bool)
    times = np.searchsorted(whole, numbers, side="right", sorter=order) - first
    if np.any(times > 1):
        row = int(np.argmax(times > 1))
        raise DataError(
            f"{names[1]}: names the image of particle {row} (from 0) of {names[0]} {times[row]} times (symmetry "
            f"expansion?), so that its rows are not told apart by their images; expected once. {remedy}"
        )
    return np.where(there, found, -1)


def shared(numbers: Int[np.ndarray, "particles"], others: Int[np.ndarray, "others"]) -> Bool[np.ndarray, "particles"]:
    """Return which particles have an image that another list has, too."""
    return np.isin(numbers, others)
