"""Lists and truth of a simulated set, a row an image, some thousand at a time.

particles.star  particles.lst        every image; those of a tilt series beside each other, in the order taken
particles_0010.star  …lst            those of the first 10 structures, of the same stack
truth/labels.txt, states.npy, angles.npy    by the kind of set
truth/rotation.npy …                        what each image has, where the list may tell something else (`of_images`)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from libhetero.io.lst import write_lst
from libhetero.io.optics import optics_groups
from libhetero.io.star_writer import write_star
from libhetero.records import ParticleSet
from libhetero.simulate.nuisances import micrograph_names
from libhetero.simulate.simulation import Simulation, Truth

ROWS = 4096  # images whose metadata are held at a time, or those of one particle


def write_tables(beside: Path, folder: Path, simulation: Simulation, subsets: Sequence[int] = ()) -> None:
    """Write the lists and the per-particle truth in the order of the particles.

    Parameters
    ----------
    beside : where to write; it has a folder `truth`.
    folder : where the set will lie, which the lists name.
    simulation : what is simulated.
    subsets : for each number K, lists of the particles of the first K structures too.
    """
    structure = simulation.structure_of_images()
    stems = [*((k, f"particles_{k:04d}") for k in subsets), (simulation.structures, "particles")]
    optics = _optics_of_lists(folder, simulation, structure, [k for k, _ in stems])
    lists = [
        (k, _RowFile(beside / f"{stem}.{suffix}", optics.get(k))) for k, stem in stems for suffix in ("star", "lst")
    ]
    with contextlib.ExitStack() as files:
        truth = _TruthFiles(beside / "truth", simulation, files)
        for index, drawn in _drawn(simulation, structure):
            particles, names = _particle_set(folder, simulation, index, drawn), _micrographs(drawn)
            for k, rows in lists:
                chosen = np.flatnonzero(structure[index] < k)
                rows.append(particles.take(chosen), None if names is None else names[chosen])
            truth.append(index, drawn)
    for _, rows in lists:
        rows.close()


def _drawn(simulation: Simulation, structure: np.ndarray) -> Iterator[tuple[np.ndarray, Truth]]:
    """Yield the images, some whole particles' at a time, (b,) int32, with what was drawn for them."""
    count, each = simulation.imaging.images, simulation.imaging.images_each
    rows = max(1, ROWS // each) * each
    for start in range(0, count, rows):
        index = np.arange(start, min(start + rows, count), dtype=np.int32)
        yield index, simulation.truth(index, structure[index])


def _optics_of_lists(
    folder: Path, simulation: Simulation, structure: np.ndarray, firsts: Sequence[int]
) -> dict[int, np.ndarray]:
    """Return the optics groups of each list by its number of structures; empty where there is one.

    Parameters
    ----------
    folder, simulation : as in `write_tables`.
    structure : (images,) of every image.
    firsts : for each number K, a list has the particles of the first K structures.
    """
    if simulation.ctf_table is None:
        return {}
    found: dict[int, list[np.ndarray]] = {k: [] for k in firsts}
    for index, drawn in _drawn(simulation, structure):
        values, group = optics_groups(_particle_set(folder, simulation, index, drawn))
        for k, parts in found.items():
            parts.append(values[np.unique(group[structure[index] < k])])
    return {k: np.unique(np.concatenate(parts), axis=0) for k, parts in found.items()}


def _particle_set(folder: Path, simulation: Simulation, index: np.ndarray, drawn: Truth) -> ParticleSet:
    imaging, count = simulation.imaging, len(index)
    particle, tilts = index.astype(np.int64) // imaging.images_each, imaging.tilts
    return ParticleSet(
        files=(str(folder / "particles.mrcs"),),
        file_id=np.zeros(count, np.int64),
        image_index=index.astype(np.int64),
        box_size=np.full(count, imaging.final_box),
        pixel_size=np.full(count, imaging.final_pixel_size),
        pose=drawn.listed_pose,
        ctf=drawn.listed_ctf,
        contrast=imaging.contrast,
        half_set=particle % 2,
        group=None if tilts is None else particle,
        tilt=None if tilts is None else np.asarray(tilts.angles)[index % tilts.count],
    )


def _micrographs(drawn: Truth) -> np.ndarray | None:
    """Return the names of the particles' micrographs, (b,) text; None where there are none."""
    number = None if drawn.nuisances is None else drawn.nuisances.micrograph
    return None if number is None else np.array(micrograph_names(number), object)


class _TruthFiles:
    """labels.txt, states.npy, angles.npy by the kind of set, and those of `of_images`, written in order.

    Parameters
    ----------
    folder : the set's `truth`.
    simulation : what is simulated.
    files : closes them in the end.
    """

    def __init__(self, folder: Path, simulation: Simulation, files: contextlib.ExitStack) -> None:
        self._kind, self._count = simulation.kind, simulation.imaging.images
        self._moving = simulation.kind == "motion" or bool(simulation.states.moving or simulation.moving)
        self._folder, self._files = folder, files
        self._tables: dict[str, BinaryIO] = {}
        if self._kind != "motion":
            labels = open(folder / "labels.txt", "w", encoding="ascii")  # noqa: SIM115 (the stack closes it)
            self._labels = files.enter_context(labels)

    def append(self, index: np.ndarray, drawn: Truth) -> None:
        """Add the rows of some particles, which follow those before."""
        if self._kind != "motion":
            np.savetxt(self._labels, np.stack([index, drawn.label], axis=1), fmt="%d")
        if self._kind == "assembly":
            self._append("states", drawn.present.astype(np.uint8))
        if self._moving:
            self._append("angles", drawn.angle.astype(np.float32))
        for name, rows in of_images(drawn).items():
            self._append(name, rows)

    def _append(self, name: str, rows: np.ndarray) -> None:
        """Add rows to a table: a file, not mapped memory, in which a full disk kills a process."""
        if name not in self._tables:
            table = self._files.enter_context(open(self._folder / f"{name}.npy", "wb"))  # noqa: SIM115
            described = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
            shape = (self._count, *rows.shape[1:])
            np.lib.format.write_array_header_1_0(table, {**described, "shape": shape})
            self._tables[name] = table
        self._tables[name].write(np.ascontiguousarray(rows).tobytes())


def of_images(drawn: Truth) -> dict[str, np.ndarray]:
    """Return what the images of some particles have, by the name of its file; nothing where lists are right.

    rotation (b, 3, 3), shift (b, 2) in Å, defocus (b, 2) in Å (u, v), contrast (b,) with 0 for junk, noise (b,),
    junk (b,) 0 or 1, micrograph (b,) from 0.
    """
    nuisances = drawn.nuisances
    if nuisances is None:
        return {}
    found: dict[str, Any] = {"rotation": drawn.pose.rotation, "shift": drawn.pose.shift}
    if drawn.ctf is not None:
        found["defocus"] = np.stack([drawn.ctf.defocus_u, drawn.ctf.defocus_v], axis=1)
    found = {**found, "contrast": nuisances.contrast, "noise": nuisances.noise}
    arrays = {name: np.asarray(rows, np.float32) for name, rows in found.items()}
    arrays["junk"] = np.asarray(nuisances.junk, np.uint8)
    if nuisances.micrograph is not None:
        arrays["micrograph"] = np.asarray(nuisances.micrograph, np.int32)
    return arrays


class _RowFile:
    """A list written some rows at a time: parts, joined under one header.

    Parameters
    ----------
    path : of the list, .star or .lst.
    optics : of the whole list, from `optics_groups`; None where the first part has all.
    """

    def __init__(self, path: Path, optics: np.ndarray | None) -> None:
        self.path, self._optics = path, optics
        self._part = path.with_name(f".part{path.suffix}")
        self._rows = path.with_name(f".rows_{path.name}")
        self._rows.unlink(missing_ok=True)  # of an interrupted program
        self._header: list[str] | None = None
        self._longest = 0

    def append(self, particles: ParticleSet, micrographs: np.ndarray | None) -> None:
        """Add the rows of some particles, and the names of their micrographs where there are any."""
        if len(particles) == 0:
            return
        if self.path.suffix == ".lst":
            write_lst(self._part, particles)
        else:
            write_star(self._part, particles, self._optics, micrographs)
        with open(self._part, encoding="utf-8") as part, open(self._rows, "a", encoding="utf-8") as rows:
            lines = part.read().split("\n")
            start = self._first_row(lines)
            if self._header is None:
                self._header = lines[:start]
            for line in filter(str.strip, lines[start:]):
                self._longest = max(self._longest, len(line.rstrip().encode()))
                rows.write(line.rstrip() + "\n")

    def close(self) -> None:
        """Put header and rows together; the lines of a .lst all get one length."""
        header, width = list(self._header or []), 0
        if self.path.suffix == ".lst":
            width = self._longest + 4
            header[-1] = f"# {width + 1}"
        with open(self.path, "wb") as whole, open(self._rows, "rb") as rows:
            whole.writelines(f"{line}\n".encode() for line in header)
            for line in rows:
                whole.write(line[:-1].ljust(width) + b"\n")
        self._part.unlink(missing_ok=True)
        self._rows.unlink()

    def _first_row(self, lines: list[str]) -> int:
        if self.path.suffix == ".lst":
            return 3
        labels = [i for i, line in enumerate(lines) if line.startswith("_rln")]
        return labels[-1] + 1
