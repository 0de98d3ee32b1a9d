"""Reading and writing what the field's programs read and write; NumPy only.

Everything inside the library is in Å, radians, kV, mm and our pose convention; conversions happen
here and nowhere else. One format per file.
"""

from libhetero.io.atoms import Atoms, read_atoms
from libhetero.io.check import check_particles
from libhetero.io.gaussians import read_gaussians, write_gaussians, write_gaussians_pdb
from libhetero.io.hdf import HdfWriter
from libhetero.io.images import ImageReader
from libhetero.io.latent import read_latent, write_latent
from libhetero.io.mrc import MrcsWriter
from libhetero.io.particles import read_particles, write_particles
from libhetero.io.volume import read_volume, write_volume

__all__ = [
    "Atoms",
    "HdfWriter",
    "ImageReader",
    "MrcsWriter",
    "check_particles",
    "read_atoms",
    "read_gaussians",
    "read_latent",
    "read_particles",
    "read_volume",
    "write_gaussians",
    "write_gaussians_pdb",
    "write_latent",
    "write_particles",
    "write_volume",
]
