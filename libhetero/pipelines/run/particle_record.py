"""Which particles a run was trained on, told again wherever its list is read: rows join by identity, not by number.

`particles.npz` is written when a run begins: the names of its stacks, stack and image of every particle, and how each
was seen, coarsely (some forty bytes a particle before compression). A list that has been sorted anew, replaced or cut
since then names other particles in the same rows, and latents, classes and truths of the run are not theirs.

A particle is a stack and an image in it. Stacks may move: a stack that is no longer where it was is the one of the
same name, and of the same folders above it as far as these tell stacks apart.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from libhetero.configuration import ArraySchema
from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io import read_particles
from libhetero.io.arrays import read_arrays
from libhetero.io.paths import stacks_known
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.seen import SAME_CTF, WORDS, at_full_strength, changed, exposed_since, of_another_set, seen
from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)
RECORD, LIST = "particles.npz", "ptcls_00.lst"
SCHEMA = {
    "names": ArraySchema("int", ("letters",), least=0, below=256),
    "file_id": ArraySchema("int", ("particles",), least=0),
    "image_index": ArraySchema("int", ("particles",), least=0),
    "pixel_size": ArraySchema("float", ("particles",)),
    "rotation": ArraySchema("float", ("particles", 3, 3), optional=True),
    "shift": ArraySchema("float", ("particles", 2), optional=True),
    "ctf": ArraySchema("float", ("particles", "parameters"), optional=True),
    "group": ArraySchema("int", ("particles",), least=0, optional=True),
}
SAME_PIXEL = 1e-3  # relative, as other programs round it


@dataclass(frozen=True, eq=False)
class ParticleRecord:
    """What a run says of its particles.

    Parameters
    ----------
    names : of the stacks, absolute when they were read.
    file_id : index into `names`.
    image_index : from 0.
    pixel_size : Å; None where it was not kept.
    seen : rotation (particles, 3, 3), shift (particles, 2) in Å and parameters of the CTF, as `seen` returns them;
        without what was not kept.
    group : particle that each image shows, of tilt series, from 0; None where each shows its own.
    """

    names: tuple[str, ...]
    file_id: Int[np.ndarray, "particles"]
    image_index: Int[np.ndarray, "particles"]
    pixel_size: np.ndarray | None
    seen: dict[str, np.ndarray]
    group: Int[np.ndarray, "particles"] | None = None


def write_record(folder: Path, particles: ParticleSet) -> None:
    """Write which particles a run is trained on."""
    names = b"\0".join(os.fsencode(name) for name in particles.files)
    group = {} if particles.group is None else {"group": np.asarray(particles.group, np.int64)}
    with replacing(Path(folder) / RECORD) as beside:
        np.savez_compressed(
            beside,
            names=np.frombuffer(names, np.uint8),
            file_id=np.asarray(particles.file_id, np.int32),
            image_index=np.asarray(particles.image_index, np.int64),
            pixel_size=np.asarray(particles.pixel_size, np.float32),
            **seen(particles) | group,  # type: ignore[arg-type]  # none is called allow_pickle
        )


def particles_of_run(folder: Path, data: DataConfig, *, to_train: bool = False) -> ParticleSet:
    """Read the particles of a run, and check that they are those that it was trained on.

    Parameters
    ----------
    to_train : whether training goes on with them, which then may not be seen otherwise than before. Elsewhere poses
        and CTF that were refined since are told, and taken.

    Raises
    ------
    DataError : as `load_particles`, and where a row of the list is another particle, naming the first.
    """
    from libhetero.pipelines.run.particles import load_particles  # with JAX, for which a record alone has no use

    record = record_of(Path(folder))
    with stacks_known(() if record is None else record.names):
        particles = load_particles(data)
    if record is None:
        LOGGER.warning(
            "%s: neither %s nor %s tells which particles this run was trained on; that %s still lists them in that "
            "order is taken on trust.",
            folder,
            RECORD,
            LIST,
            data.particles,
        )
        return particles
    _check_images(particles, record, f"{data.particles}", Path(folder))
    particles = at_full_strength(record.seen, particles)
    _check_seen(particles, record, f"{data.particles}", to_train)
    return particles


def followed(record: ParticleRecord, particles: ParticleSet) -> ParticleRecord:
    """Return a record in which stacks that are no longer where they were have the names of those of a list.

    A stack that is still there is itself, whatever the list has under the same name elsewhere.
    """
    places = _followed(record, particles, in_order=False)
    names = [particles.files[place] if place >= 0 else name for place, name in zip(places, record.names, strict=True)]
    return dataclasses.replace(record, names=tuple(names))


def check_set(record: ParticleRecord, rows: Int[np.ndarray, "chosen"], particles: ParticleSet, where: str) -> None:
    """Refuse particles that have names and numbers of these rows of a record, and are seen as only another set is.

    Raises
    ------
    DataError : where orientation and defocus of most of them are far from what they were.
    """
    then = {name: values[rows] for name, values in record.seen.items()}
    _refuse_another_set(then, seen(particles), where, "Give the list that these results are of.")


def record_of(folder: Path) -> ParticleRecord | None:
    """Return the record of a run; of one of before, what its first list says; None where neither can be read.

    Raises
    ------
    DataError : for a record that is damaged.
    """
    if (folder / RECORD).exists():
        arrays = read_arrays(folder / RECORD, SCHEMA, "restore it, or remove it to take the list on trust")
        names = tuple(os.fsdecode(name) for name in arrays["names"].astype(np.uint8).tobytes().split(b"\0"))
        if arrays["file_id"].max(initial=0) >= len(names):
            raise DataError(f"{folder / RECORD}: file_id: names a stack that is not there; restore or remove it.")
        told = {name: arrays[name] for name in WORDS if name in arrays}
        if "ctf" in told and told["ctf"].shape[1] < len(SAME_CTF):
            raise DataError(
                f"{folder / RECORD}: ctf: expected {len(SAME_CTF)} parameters or more, found {told['ctf'].shape[1]}; "
                "restore or remove it."
            )
        image, group = (arrays["file_id"], arrays["image_index"]), arrays.get("group")
        return ParticleRecord(names, *image, arrays["pixel_size"], told, group)
    try:
        listed = read_particles(folder / LIST, need_images=False)
    except DataError as error:
        LOGGER.debug("%s", error)
        return None
    return ParticleRecord(listed.files, listed.file_id, listed.image_index, None, {})


def _check_images(particles: ParticleSet, record: ParticleRecord, where: str, folder: Path) -> None:
    """Refuse a list of which a row is another image than it was."""
    if len(particles) != len(record.file_id):
        raise DataError(
            f"{where}: holds {len(particles)} particles; {folder} was trained on {len(record.file_id)}. Restore the "
            "list, or train a new run."
        )
    expected = _followed(record, particles)[record.file_id]
    same = (expected == particles.file_id) & (record.image_index == particles.image_index)
    if same.all():
        return
    row = int(np.flatnonzero(~same)[0])
    found = f"image {particles.image_index[row]} of {particles.files[int(particles.file_id[row])]}"
    was = f"image {record.image_index[row]} of {record.names[int(record.file_id[row])]}"
    order = " The particles are the same in another order." if _same_set(expected, record, particles) else ""
    raise DataError(
        f"{where}: particle {row} (from 0) is {found}; {folder} was trained with {was} there.{order} Restore the list "
        "as it was, or train a new run."
    )


def _same_set(expected: np.ndarray, record: ParticleRecord, particles: ParticleSet) -> bool:
    then = np.lexsort((record.image_index, expected))
    now = np.lexsort((particles.image_index, particles.file_id))
    return bool(
        np.array_equal(expected[then], particles.file_id[now])
        and np.array_equal(record.image_index[then], particles.image_index[now])
    )


def _followed(record: ParticleRecord, particles: ParticleSet, in_order: bool = True) -> Int[np.ndarray, "stacks"]:
    """Return which of the stacks at hand each recorded one is; -1 for one that none can be.

    Parameters
    ----------
    in_order : whether the particles should be those recorded, row by row, which tells stacks apart where folders do
        not. Of any others, only stacks that are no longer where they were are looked for by their last parts.
    """
    place = {name: number for number, name in enumerate(particles.files)}
    recorded = set(record.names)
    moved = [number for name, number in place.items() if name not in recorded]
    tails = _Tails([particles.files[number] for number in moved])
    first = np.full(len(record.names), -1)
    if in_order:
        used, rows = np.unique(record.file_id, return_index=True)
        first[used] = particles.file_id[rows]
    followed = np.full(len(record.names), -1)
    for number, name in enumerate(record.names):
        if name in place:
            followed[number] = place[name]
            continue
        if not in_order and os.path.exists(name):
            continue
        alike = {moved[one] for one in tails.most_alike(name)}
        if len(alike) == 1:
            followed[number] = alike.pop()
        elif first[number] in alike:  # folders do not tell them apart
            followed[number] = first[number]
    return followed


class _Tails:
    """Paths by their last parts.

    Parameters
    ----------
    paths : in an order that their numbers follow.
    """

    def __init__(self, paths: list[str]) -> None:
        self._tree: dict[str, Any] = {}
        for number, path in enumerate(paths):
            branch = self._tree
            for part in _parts(path):
                branch = branch.setdefault(part, {"": []})
                branch[""].append(number)

    def most_alike(self, path: str) -> list[int]:
        """Return the paths that share most of their last parts with this one; none where not even the name is."""
        branch, found = self._tree, []
        for part in _parts(path):
            if part not in branch:
                break
            branch = branch[part]
            found = branch[""]
        return found


def _parts(path: str) -> Iterator[str]:
    return (part for part in reversed(path.split(os.sep)) if part)


def _check_seen(particles: ParticleSet, record: ParticleRecord, where: str, to_train: bool) -> None:
    """Refuse another pixel size and what is seen as only another set is; tell poses and CTFs that have changed, or
    refuse them where training goes on."""
    pixel, count = record.pixel_size, len(particles)
    if pixel is not None and not np.allclose(particles.pixel_size, pixel, rtol=SAME_PIXEL):
        raise DataError(
            f"{where}: pixels of {particles.pixel_size[0]:.4g} Å; the run was trained with {pixel[0]:.4g} Å. Restore "
            "the list, or train a new run."
        )
    now = seen(particles)
    _refuse_another_set(record.seen, now, where, "Restore both, or train a new run.")
    if exposed_since(record.seen, particles):
        line = f"{where}: states the exposure of each image, by which images fade; the run was trained without."
        if to_train:
            raise DataError(f"{line} Train a new run.")
        LOGGER.warning("%s Latents that are written are of images that do not fade; train a new run for these.", line)
        now["ctf"] = now["ctf"][:, :-1]
    rows_of = changed(record.seen, now)
    rows = np.flatnonzero(np.any([*rows_of.values()], axis=0)) if rows_of else np.zeros(0, int)
    if not len(rows):
        return
    what = " and ".join(WORDS[name] for name, of_this in rows_of.items() if of_this.any())
    line = f"{where}: {what} of {len(rows)} of {count} particles, first of particle {rows[0]} (from 0),"
    if to_train:
        raise DataError(f"{line} have changed since the run began. Restore the list, or train a new run.")
    LOGGER.warning(
        "%s have changed since training. Latents that are written are of the old ones, images are read with the new; "
        "train a new run for these.",
        line,
    )


def _refuse_another_set(then: dict[str, np.ndarray], now: dict[str, np.ndarray], where: str, remedy: str) -> None:
    others = of_another_set(then, now)
    if others is not None and 2 * others.sum() > len(others):
        raise DataError(
            f"{where}: names the same stacks as before, but orientation and defocus of {others.sum()} of "
            f"{len(others)} particles are far from what they were: list and stacks are of another set. {remedy}"
        )
