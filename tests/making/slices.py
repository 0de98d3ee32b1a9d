"""Central slices of molecules made of blobs, through an oscillating transfer, with noise of variance 1."""

import numpy as np
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent.central import CentralSlices, disc_pixels
from libhetero.physics.fourier import frequencies_2d

BOX = 24


def molecules(count, blobs=12, reach=0.24, seed=0):
    """Return positions in parts of the box, and weights, of the blobs of some molecules."""
    random = np.random.default_rng(seed)
    return random.uniform(-reach, reach, (count, blobs, 3)), random.uniform(0.5, 1.5, (count, blobs))


def transform(molecule, points, width=0.03):
    """Return the Fourier transform of one molecule at points, cycles per box."""
    position, weight = molecule
    phase = np.exp(-2j * np.pi * points @ position.T)
    return (phase * weight).sum(-1) * np.exp(-2 * (np.pi * width) ** 2 * (points**2).sum(-1))


def slices(label, shown, ring=6.0, strength=1.0, contrast=None, seed=0):
    """Return slices of particles of some molecules; of those of label -1, noise alone."""
    random = np.random.default_rng(seed)
    frequencies = np.rint(frequencies_2d(BOX).reshape(-1, 2)[disc_pixels(BOX, ring)] * BOX).astype(np.float32)
    rotation = Rotation.random(len(label), random_state=seed).as_matrix().astype(np.float32)
    radius = np.linalg.norm(frequencies, axis=1)
    transfer = strength * np.sin(0.6 + np.outer(random.uniform(0.02, 0.06, len(label)), radius**2))
    noise = random.normal(size=(2, *transfer.shape)) @ np.eye(len(radius)) / np.sqrt(2)
    image = noise[0] + 1j * noise[1]
    factor = np.ones(len(label)) if contrast is None else contrast
    for place, one in enumerate(label):
        if one >= 0:
            points = frequencies @ rotation[place, :2]
            image[place] += factor[place] * transfer[place] * transform([part[one] for part in shown], points)
    return CentralSlices(image.astype(np.complex64), transfer.astype(np.float32), rotation, frequencies)


def points_of(grid):
    """Return the points of a grid, cycles per box."""
    index = np.indices(grid.shape).reshape(3, -1).T
    return (index - [0, grid.reach, grid.reach]) / grid.oversampling
