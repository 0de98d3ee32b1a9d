"""A small particle set, made here, that every format is tested with."""

import numpy as np
from scipy.spatial.transform import Rotation

from libhetero.io import MrcsWriter
from libhetero.records import CTFParams, ParticleSet, Pose

BOX = 16
PIXEL = 2.5


def sample_particles(folder, count=11):
    """Particles out of order from two stacks, with every record filled, and their images."""
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
        ctf=sample_ctf(count),
        half_set=np.arange(count) % 2,
        group=np.arange(count) // 3,
    ), images


def sample_ctf(count):
    """CTFs with astigmatism, a phase shift, a B-factor and a scale."""
    rng = np.random.default_rng(8)
    defocus = rng.uniform(8000, 25000, count)
    columns = {
        "defocus_u": defocus,
        "defocus_v": defocus - rng.uniform(0, 500, count),
        "defocus_angle": rng.uniform(-1.5, 1.5, count),
        "voltage": np.full(count, 300.0),
        "spherical_aberration": np.full(count, 2.7),
        "amplitude_contrast": np.full(count, 0.1),
        "phase_shift": rng.uniform(0, 2.5, count),
        "b_factor": rng.uniform(0, 80, count),
        "scale": rng.uniform(0.8, 1.2, count),
    }
    return CTFParams(**{name: column.astype(np.float32) for name, column in columns.items()})


def assert_same_pose(first, second):
    """Equal to what the digits of a text format hold."""
    np.testing.assert_allclose(first.rotation, second.rotation, atol=2e-6)
    np.testing.assert_allclose(first.shift, second.shift, atol=2e-5)


def assert_same_ctf(first, second):
    """Equal to what the digits of a text format hold."""
    for name in first.__dataclass_fields__:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=2e-6, atol=2e-6, err_msg=name)
