"""A simulated set on disk: stack, lists and truth, in a folder that appears when complete.

    OUT/particles.mrcs  particles.star  particles.lst
    OUT/truth/truth.json and, by kind, labels.txt, states.npy, angles.npy, atoms.npz, *.mrc

The memory needed does not depend on the number of particles: images come in blocks, and lists
and tables are written some thousand rows at a time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.configuration import write_json
from libhetero.errors import DataError
from libhetero.io import MrcsWriter, write_particles, write_volume
from libhetero.io.atomic import writing_error
from libhetero.records import ParticleSet
from libhetero.simulate.simulation import Simulation, Truth

FORMAT_VERSION = 1
ROWS = 4096  # particles whose metadata are held at a time

Progress = Callable[[int, int], None]


def write_simulation(
    folder: str | os.PathLike,
    simulation: Simulation,
    *,
    block_size: int = 256,
    threads: int = 1,
    progress: Progress | None = None,
    details: dict[str, Any] | None = None,
) -> Path:
    """Render a set and write it with its truth.

    Parameters
    ----------
    folder : to make; it must not exist, or be empty.
    simulation : what to render.
    block_size : particles a block; changes nothing in the result.
    threads : blocks rendered at the same time.
    progress : called with (particles done, particles in all).
    details : further entries of truth.json, such as where the structures came from.

    Returns
    -------
    The folder.

    Raises
    ------
    DataError : if the folder holds files already, cannot be written, or the disk is full;
        nothing is left then.
    """
    folder = Path(os.path.abspath(folder))
    with _appearing(folder) as beside:
        variance = simulation.signal_variance()
        imaging = simulation.imaging
        deviation = 0.0 if imaging.snr is None else float(np.sqrt(variance / imaging.snr))
        truth = beside / "truth"
        truth.mkdir()
        _write_images(beside, simulation, deviation, block_size, threads, progress)
        _write_tables(beside, folder, simulation)
        names = _write_structures(truth, simulation)
        noise = {"signal_variance": variance, "noise_standard_deviation": deviation}
        said = {**_describe(simulation, names), **noise, **(details or {})}
        write_json(truth / "truth.json", said)
    return folder


def _describe(simulation: Simulation, names: list[str]) -> dict[str, Any]:
    """Return what truth.json says of a simulation; names of its structures or of its pieces."""
    imaging, states = simulation.imaging, simulation.states
    said = {
        "format_version": FORMAT_VERSION,
        "kind": simulation.kind,
        "particles": imaging.particles,
        "box_size": imaging.final_box,
        "pixel_size": imaging.final_pixel_size,
        "seed": imaging.seed,
        "snr": imaging.snr,
        "snr_box_size": imaging.box_size,
        "snr_pixel_size": imaging.pixel_size,
        "contrast": imaging.contrast,
        "ctf": imaging.ctf is not None or simulation.ctf_table is not None,
        "structures": simulation.structures,
    }
    if simulation.kind == "mixture":
        return {**said, "structure_names": names}
    bodies = simulation.load_bodies(0)
    said["pieces"] = len(bodies)
    said["piece_names"] = names
    if simulation.kind == "assembly":
        return {**said, "probability": states.probability}
    said["max_angle"] = states.max_angle
    said["hinges"] = [[float(x) for x in body.hinge] for body in bodies]
    said["axes"] = [[float(x) for x in body.axis] for body in bodies]
    return said


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `folder`; rename it when the block ends well, else remove it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: exists already; choose another name or remove it.")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir()
        yield beside
        os.replace(beside, folder)
    except OSError as error:
        raise writing_error(folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_images(
    beside: Path,
    simulation: Simulation,
    deviation: float,
    block_size: int,
    threads: int,
    progress: Progress | None,
) -> None:
    imaging = simulation.imaging
    count, done = imaging.particles, 0
    path = beside / "particles.mrcs"
    if progress is not None:
        progress(0, count)
    with MrcsWriter(path, imaging.final_box, count, imaging.final_pixel_size) as writer:
        for block in simulation.blocks(deviation, block_size, threads):
            writer.write(block.images, block.index)
            done += len(block.index)
            if progress is not None:
                progress(done, count)


def _write_tables(beside: Path, folder: Path, simulation: Simulation) -> None:
    """Write the lists and the per-particle truth in the order of the particles."""
    count, kind = simulation.imaging.particles, simulation.kind
    structure = simulation.structure_of_particles()
    star, lst = _RowFile(beside / "particles.star"), _RowFile(beside / "particles.lst")
    states, angles, labels = None, None, None
    if kind != "motion":
        labels = open(beside / "truth" / "labels.txt", "w", encoding="ascii")
    for start in range(0, count, ROWS):
        index = np.arange(start, min(start + ROWS, count), dtype=np.int32)
        drawn = simulation.truth(index, structure[index])
        particles = _particle_set(folder, simulation, index, drawn)
        star.append(particles)
        lst.append(particles)
        if labels is not None:
            rows = np.stack([index, drawn.label], axis=1)
            np.savetxt(labels, rows, fmt="%d")
        bodies = drawn.present.shape[1]
        if kind == "assembly":
            states = _table(states, beside / "truth" / "states.npy", np.uint8, (count, bodies))
            states[index] = drawn.present
        if kind == "motion":
            angles = _table(angles, beside / "truth" / "angles.npy", np.float32, (count, bodies))
            angles[index] = drawn.angle
    star.close()
    lst.close()
    if labels is not None:
        labels.close()


def _table(
    found: np.memmap | None, path: Path, dtype: type, shape: tuple[int, int]
) -> np.memmap:
    """Open a .npy file of this shape on disk at the first call."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape) if found is None else found


def _particle_set(
    folder: Path, simulation: Simulation, index: np.ndarray, drawn: Truth
) -> ParticleSet:
    imaging, count = simulation.imaging, len(index)
    return ParticleSet(
        files=(str(folder / "particles.mrcs"),),
        file_id=np.zeros(count, np.int64),
        image_index=index.astype(np.int64),
        box_size=np.full(count, imaging.final_box),
        pixel_size=np.full(count, imaging.final_pixel_size),
        pose=drawn.pose,
        ctf=drawn.ctf,
        contrast=imaging.contrast,
        half_set=index.astype(np.int64) % 2,
    )


class _RowFile:
    """A list written some rows at a time: parts by `write_particles`, joined under one header."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".part{path.suffix}")
        self._rows = path.with_name(f".rows{path.suffix}")
        self._header: list[str] | None = None
        self._longest = 0

    def append(self, particles: ParticleSet) -> None:
        """Add the rows of some particles."""
        write_particles(self._part, particles)
        with open(self._part, encoding="utf-8") as part, open(self._rows, "a") as rows:
            lines = part.read().splitlines()
            start = self._first_row(lines)
            if self._header is None:
                self._header = lines[:start]
            for line in filter(str.strip, lines[start:]):
                self._longest = max(self._longest, len(line.rstrip()))
                rows.write(line.rstrip() + "\n")

    def close(self) -> None:
        """Put header and rows together; the lines of a .lst all get one length."""
        header, width = list(self._header or []), 0
        if self.path.suffix == ".lst":
            width = self._longest + 4
            header[-1] = f"# {width + 1}"
        with open(self.path, "w") as whole, open(self._rows) as rows:
            whole.writelines(f"{line}\n" for line in header)
            for line in rows:
                whole.write(line[:-1].ljust(width) + "\n")
        self._part.unlink()
        self._rows.unlink()

    def _first_row(self, lines: list[str]) -> int:
        if self.path.suffix == ".lst":
            return 3
        labels = [i for i, line in enumerate(lines) if line.startswith("_rln")]
        return labels[-1] + 1


def _write_structures(truth: Path, simulation: Simulation) -> list[str]:
    """Write the true maps at the images' final box, and the atoms; return the parts' names."""
    n, pixel_size = simulation.imaging.final_box, simulation.imaging.final_pixel_size
    if simulation.kind == "mixture":
        names = []
        for k in range(simulation.structures):
            structure = simulation.load_structure(k)
            names.append(structure.names[0])
            volume = structure.map(None, n, pixel_size)
            write_volume(truth / f"map_{k:03d}.mrc", volume, pixel_size)
        return names
    structure = simulation.load_structure(0)
    full = np.zeros((n, n, n), np.float32)
    for k in range(len(structure.names)):
        volume = structure.map(k, n, pixel_size)
        full += volume
        if simulation.kind == "assembly":
            write_volume(truth / f"piece_{k:02d}.mrc", volume, pixel_size)
    write_volume(truth / "full.mrc", full, pixel_size)
    points = structure.points()
    np.savez(
        truth / "atoms.npz", position=points.position, weight=points.weight, piece=points.piece
    )
    return list(structure.names)
