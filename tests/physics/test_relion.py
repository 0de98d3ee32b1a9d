"""Agreement with projections written by RELION, of which the volume is not at hand."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import starfile

from libhetero.physics.fourier import fourier_image, frequencies_2d, phase_ramp, real_image
from libhetero.physics.rotations import euler_to_matrix
from tests.reference.shared_data import read_mrc, shared_file

N = 64


def read(name):
    """The images and the table of particles of one RELION set."""
    table = starfile.read(shared_file("formats", "relion31", f"{name}.star"), always_dict=True)
    images = read_mrc("formats", "relion31", f"{name}.mrcs")
    return images.astype(np.float64), list(table.values())[-1]


def central_line(image, direction):
    """The transform of an image at 1 … 19 Fourier pixels along a unit vector (x, y)."""
    axis = np.arange(N) - N // 2
    phase = direction[0] * axis[None, :] + direction[1] * axis[:, None]
    return np.array([np.sum(image * np.exp(-2j * np.pi * k * phase / N)) for k in range(1, 20)])


def test_common_lines_agree():
    """Two slices of one volume share the line along z'_i × z'_j: only the right rotations find it."""
    images, rotations = [], []
    for name in ("rln_proj_64", "rln_proj_64_centered"):
        stack, table = read(name)
        angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy()
        images.extend(stack)
        rotations.extend(np.asarray(euler_to_matrix(jnp.radians(angles)), np.float64))
    found = []
    for i, j in itertools.combinations(range(len(images)), 2):
        line = np.cross(rotations[i][2], rotations[j][2])
        line /= np.linalg.norm(line)
        first = central_line(images[i], (rotations[i] @ line)[:2])
        second = central_line(images[j], (rotations[j] @ line)[:2])
        power = np.linalg.norm(first) * np.linalg.norm(second)
        found.append(np.vdot(first, second).real / power)
    assert len(found) == 36 and min(found) > 0.98


@pytest.mark.parametrize("place", range(4))
def test_shift_is_minus_the_origin(place):
    """The shifted image is the centred one moved by -rlnOrigin (pixels in this file)."""
    centred, _ = read("rln_proj_64_centered")
    shifted, table = read("rln_proj_64_shifted")
    shift = -table[["rlnOriginX", "rlnOriginY"]].to_numpy()[place]
    ramp = phase_ramp(frequencies_2d(N), jnp.asarray(shift, jnp.float32))
    moved = real_image(fourier_image(jnp.asarray(centred[place], jnp.float32)) * ramp, N)
    assert np.corrcoef(np.ravel(moved), shifted[place].ravel())[0, 1] > 0.999999
