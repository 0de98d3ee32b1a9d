"""Where particles were picked and with which optics, as the table behind a set says: what both .star and .cs hold.

rlnMicrographName and location/micrograph_path are one thing; so are rlnOpticsGroup and ctf/exp_group_id, but for the
numbers: RELION's count from 1 in each file, cryoSPARC's are names.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pandas as pd
from jaxtyping import Integer, Shaped

from libhetero.io.cs_columns import names_of
from libhetero.io.cs_table import CsTable
from libhetero.io.optics import optics_groups
from libhetero.io.star import StarTable
from libhetero.records import ParticleSet

CS_PATH, CS_GROUPS = "location/micrograph_path", ("ctf/exp_group_id", "location/exp_group_id")

StarRows = tuple[StarTable, Integer[np.ndarray, "particles"]]
CsRows = tuple[CsTable, Integer[np.ndarray, "particles"]]


def cs_micrographs(found: CsRows | None) -> Shaped[np.ndarray, "particles"] | None:
    """Return the micrograph of each row of a .cs by its name (text objects); None where it does not say."""
    if found is None or CS_PATH not in names_of(found[0].particles):
        return None
    names = np.array([as_text(name) for name in found[0].particles[CS_PATH][found[1]].tolist()], object)
    return names if all(names) else None


def cs_exposures(found: CsRows | None) -> Integer[np.ndarray, "particles"] | None:
    """Return the exposure group of each row of a .cs; None where it does not say."""
    held = () if found is None else names_of(found[0].particles)
    column = next((name for name in CS_GROUPS if name in held), None)
    return None if found is None or column is None else found[0].particles[column][found[1]].astype(np.int64)


def by_exposure(
    group: Integer[np.ndarray, "particles"], exposures: Integer[np.ndarray, "particles"]
) -> tuple[Integer[np.ndarray, "parts"], Integer[np.ndarray, "particles"]]:
    """Part optics groups by exposure group: the group of each part, in the order of exposures; each particle's part."""
    pairs, part = np.unique(np.stack([exposures, group], axis=1), axis=0, return_inverse=True)
    return pairs[:, 1], part.ravel()


def exposure_names(part: Integer[np.ndarray, "particles"], exposures: Integer[np.ndarray, "particles"]) -> list[str]:
    """Return a name for each part of `by_exposure`, by its exposure group: RELION joins lists by these names."""
    _, first = np.unique(part, return_index=True)
    own = exposures[first]
    times = pd.Series(own).groupby(own).cumcount()
    return [f"exposureGroup{i}" + (f"_{again + 1}" if again else "") for i, again in zip(own, times, strict=True)]


def exposure_ids(particles: ParticleSet, found: StarRows | None) -> Integer[np.ndarray, "particles"]:
    """Return an exposure group for each particle, given the .star behind the set: never one for unlike optics.

    The number is made of the optics themselves (what `optics_groups` parts by) and of the name or number of RELION's
    optics group, so that it is the same in every list of these particles, and no two lists give one to unlike optics.
    """
    values, group = optics_groups(particles)
    named = None
    if found is not None:
        named = found[0].column("rlnOpticsGroupName", found[1])
        named = found[0].column("rlnOpticsGroup", found[1]) if named is None else named
    pairs = pd.DataFrame({"group": group, "name": "" if named is None else named})
    numbers = {}
    for one, name in pairs.drop_duplicates().itertuples(index=False):
        digest = hashlib.blake2b(values[one].astype("<f8").tobytes() + os.fsencode(str(name)), digest_size=4).digest()
        numbers[one, name] = int.from_bytes(digest, "little") % 2**31
    return np.array([numbers[pair] for pair in pairs.itertuples(index=False, name=None)], np.int64)


def occurrences(particles: ParticleSet, found: StarRows | None) -> Integer[np.ndarray, "particles"]:
    """Return how often the list named each particle's image before it: of a .star, in the whole list."""
    if found is not None:
        names = found[0].particles["rlnImageName"]
        before = names.groupby(names).cumcount().to_numpy()[found[1]]
    else:
        before = np.zeros(len(particles), np.int64)
    seen = pd.DataFrame({"file": particles.file_id, "index": particles.image_index, "before": before})
    return before + seen.groupby(["file", "index", "before"]).cumcount().to_numpy()


def as_text(value: bytes | str) -> str:
    """Return a path of a .cs as text, without the ">" of an export."""
    return (os.fsdecode(value) if isinstance(value, bytes) else value).removeprefix(">")
