"""Particle sets: of one imaginary stack, and of two stacks on disk with every record filled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from libhetero.io import MrcsWriter
from libhetero.records import ParticleSet, Pose
from tests.making.optics import optics, varied_optics

BOX = 16
PIXEL = 2.5


def make_particles(count: int, box: int = BOX, pixel_size: float = 2.0) -> ParticleSet:
    """Return particles in one imaginary stack, seen from one side, shifted, with CTFs."""
    random = np.random.default_rng(0)
    defocus = 15000 + 5000 * random.random(count)
    return ParticleSet(
        files=("imaginary.mrcs",),
        file_id=np.zeros(count, int),
        image_index=np.arange(count),
        box_size=np.full(count, box),
        pixel_size=np.full(count, pixel_size),
        pose=Pose(rotation=np.tile(np.eye(3), (count, 1, 1)), shift=random.normal(size=(count, 2))),
        ctf=optics(defocus, 0.0, float, defocus_angle=0.3),
    )


def sample_particles(folder: Path, count: int = 11) -> tuple[ParticleSet, np.ndarray]:
    """Write two stacks; return particles out of order from both, with every record filled, and their images."""
    rng = np.random.default_rng(7)
    files, stacks = [], []
    for name, images in (("first.mrcs", 8), ("second.mrcs", 6)):
        stack = rng.normal(size=(images, BOX, BOX)).astype(np.float32)
        with MrcsWriter(folder / name, BOX, images, PIXEL) as writer:
            writer.write(stack)
        files.append(str(folder / name))
        stacks.append(stack)
    file_id = rng.integers(0, 2, count)
    index = np.array([rng.integers(0, len(stacks[i])) for i in file_id])
    images = np.stack([stacks[i][j] for i, j in zip(file_id, index, strict=True)])
    rotation = Rotation.random(count, random_state=3).as_matrix().astype(np.float32)
    shift = rng.normal(size=(count, 2)).astype(np.float32) * 5
    return ParticleSet(
        files=tuple(files),
        file_id=file_id,
        image_index=index,
        box_size=np.full(count, BOX),
        pixel_size=np.full(count, PIXEL),
        pose=Pose(rotation=rotation, shift=shift),
        ctf=varied_optics(count),
        half_set=np.arange(count) % 2,
        group=np.arange(count) // 3,
    ), images
