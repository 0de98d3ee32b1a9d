"""A model that the particles can be compared with: Gaussians or a map."""

from __future__ import annotations

import jax.numpy as jnp

from libhetero.errors import DataError
from libhetero.io import read_gaussians, read_volume
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.slices import prepare_volume, project_volume
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import ParticleSet
from libhetero.training.contrast import Projector

PIXEL_TOLERANCE = 0.02


def reference_projector(path: str | None, particles: ParticleSet, symmetry: str = "c1") -> Projector | None:
    """Return the projector of a reference on the grid of the stored images, without CTF.

    Parameters
    ----------
    path : Gaussians (.txt) or a map; None gives None.
    particles : give box and pixel size.
    symmetry : of the complex that Gaussians are one unit of.

    Raises
    ------
    DataError : if the map's box or pixel size is not that of the particles.
    """
    if path is None:
        return None
    n, pixel_size = particles.uniform_box_size(), particles.uniform_pixel_size()
    if path.endswith(".txt"):
        unit = read_gaussians(path, n, pixel_size)
        gaussians = symmetric_copies(unit, symmetry_operators(symmetry))
        return lambda pose: project_gaussians(gaussians, pose, n, pixel_size)
    volume, found = read_volume(path)
    if volume.shape != (n, n, n):
        raise DataError(
            f"{path}: the map is {volume.shape[2]}×{volume.shape[1]}×{volume.shape[0]}; expected "
            f"the particles' box, {n}. Clip or resample it."
        )
    if abs(found / pixel_size - 1) > PIXEL_TOLERANCE:
        raise DataError(
            f"{path}: the map's pixel size is {found:.4g} Å; expected the particles' "
            f"{pixel_size:.4g} Å. Resample it, or correct one with --apix."
        )
    transform = prepare_volume(jnp.asarray(volume))
    return lambda pose: project_volume(transform, pose, n, pixel_size)
