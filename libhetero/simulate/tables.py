"""Lists and per-particle truth of a simulated set, some thousand rows at a time.

    particles.star  particles.lst        every particle
    particles_0010.star  …lst            those of the first 10 structures, of the same stack
    truth/labels.txt, states.npy, angles.npy    by the kind of set
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libhetero.io import write_particles
from libhetero.records import ParticleSet
from libhetero.simulate.simulation import Simulation, Truth

ROWS = 4096  # particles whose metadata are held at a time


def write_tables(
    beside: Path, folder: Path, simulation: Simulation, subsets: Sequence[int] = ()
) -> None:
    """Write the lists and the per-particle truth in the order of the particles.

    Parameters
    ----------
    beside : where to write; it has a folder `truth`.
    folder : where the set will lie, which the lists name.
    simulation : what is simulated.
    subsets : for each number K, lists of the particles of the first K structures too.
    """
    count, kind = simulation.imaging.particles, simulation.kind
    structure = simulation.structure_of_particles()
    stems = [*((k, f"particles_{k:04d}") for k in subsets), (simulation.structures, "particles")]
    lists = [(k, _RowFile(beside / f"{stem}.{x}")) for k, stem in stems for x in ("star", "lst")]
    states, angles, labels = None, None, None
    if kind != "motion":
        labels = open(beside / "truth" / "labels.txt", "w", encoding="ascii")
    for start in range(0, count, ROWS):
        index = np.arange(start, min(start + ROWS, count), dtype=np.int32)
        drawn = simulation.truth(index, structure[index])
        particles = _particle_set(folder, simulation, index, drawn)
        for k, rows in lists:
            rows.append(particles.take(np.flatnonzero(structure[index] < k)))
        if labels is not None:
            np.savetxt(labels, np.stack([index, drawn.label], axis=1), fmt="%d")
        bodies = drawn.present.shape[1]
        if kind == "assembly":
            states = _table(states, beside / "truth" / "states.npy", np.uint8, (count, bodies))
            states[index] = drawn.present
        if kind == "motion":
            angles = _table(angles, beside / "truth" / "angles.npy", np.float32, (count, bodies))
            angles[index] = drawn.angle
    for _, rows in lists:
        rows.close()
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
        self._rows = path.with_name(f".rows_{path.name}")
        self._rows.unlink(missing_ok=True)  # of an interrupted program
        self._header: list[str] | None = None
        self._longest = 0

    def append(self, particles: ParticleSet) -> None:
        """Add the rows of some particles."""
        if len(particles) == 0:
            return
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
        self._part.unlink(missing_ok=True)
        self._rows.unlink()

    def _first_row(self, lines: list[str]) -> int:
        if self.path.suffix == ".lst":
            return 3
        labels = [i for i, line in enumerate(lines) if line.startswith("_rln")]
        return labels[-1] + 1
