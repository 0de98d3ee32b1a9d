"""Tilt series on disk: a stack, and lists of its images as several programs write them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from libhetero.io import MrcsWriter
from libhetero.records import ParticleSet
from tests.making.particles import BOX, PIXEL, make_particles

DOSE = 3.0  # e⁻/Å² an image
TILTS = (0.0, 3.0, -3.0, 6.0)  # degrees, in the order in which they were taken
HEADER = """\
data_

loop_
_rlnImageName
_rlnDetectorPixelSize
_rlnMagnification
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
"""


def write_stack(folder: Path, count: int) -> None:
    """Write stack.mrcs of so many images, each of its number."""
    with MrcsWriter(folder / "stack.mrcs", BOX, count, PIXEL) as writer:
        writer.write(np.arange(count, dtype=np.float32)[:, None, None] + np.zeros((BOX, BOX), np.float32))


def write_star(folder: Path, labels: str, rows: list[str], name: str = "list.star") -> Path:
    """Write a list of a stack's images with the columns given, a text of values for each image; return it."""
    own = "".join(f"_{label}\n" for label in labels.split())
    lines = [
        f"{place + 1:06d}@stack.mrcs {PIXEL} 10000 300 2.7 0.1 {15000 + 100 * place} 15000 10 10 20 30 {row}"
        for place, row in enumerate(rows)
    ]
    (folder / name).write_text(HEADER + own + "\n".join(lines) + "\n")
    write_stack(folder, len(rows))
    return folder / name


def warp_star(folder: Path, particles: tuple[int, ...] = (4, 3, 1), name: str = "list.star") -> Path:
    """Write a list as Warp and M do, of particles of so many tilts; half-sets by particle."""
    rows = [
        f"series_{one} {-4 * DOSE * (place + 1):.2f} {np.cos(np.radians(TILTS[place])):.4f} {one % 2 + 1}"
        for one, count in enumerate(particles)
        for place in range(count)
    ]
    return write_star(folder, "rlnGroupName rlnCtfBfactor rlnCtfScalefactor rlnRandomSubset", rows, name)


def relion_star(folder: Path, particles: tuple[int, ...] = (4, 3, 1), name: str = "list.star") -> Path:
    """Write a list of RELION's labels, a row a tilt image, of particles of so many tilts."""
    rows = [
        f"TS_01/{one + 1} {TILTS[place]} {DOSE * place}"
        for one, count in enumerate(particles)
        for place in range(count)
    ]
    return write_star(folder, "rlnTomoParticleName rlnTomoNominalStageTiltAngle rlnMicrographPreExposure", rows, name)


def tilt_series(group: list[int], **ctf: object) -> ParticleSet:
    """Return a set without files of images of these particles; `ctf` are fields of its CTFs, a number each image."""
    particles = make_particles(len(group))
    arrays = {name: None if value is None else np.array(value, np.float32) for name, value in ctf.items()}
    return dataclasses.replace(
        particles,
        group=np.array(group),
        ctf=dataclasses.replace(particles.ctf, **arrays),  # type: ignore[arg-type]
    )
