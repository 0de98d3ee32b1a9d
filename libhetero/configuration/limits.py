"""Limits that options of several programs share: what libraries take, and what no set, map or machine goes beyond.

They are far outside of what is of use. What a machine at hand can hold is looked for where the work begins
(`libhetero.files.require_memory`, `require_space`).
"""

from __future__ import annotations

MOST_SEED = 2**32 - 1  # NumPy and scikit-learn take no more, and JAX's keys hold no more
MOST_PARTICLES = 2**31 - 1  # what the header of a stack can count
MOST_SIMULATED = 10**7  # images
MOST_BATCH = 2**16  # particles
MOST_CLASSES = 10_000
MOST_VOLUMES = 100_000  # written by one call
MOST_EPOCHS = 10**6
MOST_STEPS = 10**9
MOST_PROCESSES = 2**16
MOST_THREADS = 1024  # of one machine, and its processes
MOST_MEMORY = 1e5  # GiB

MOST_TILTS = 10_000  # images of a tilt series
MOST_DOSE = 1e4  # e-/Å², of one image

MOST_BOX = 4096  # pixels or voxels along each side
LEAST_PIXEL, MOST_PIXEL = 0.01, 1000.0  # Å
MOST_LENGTH = 1e6  # Å: a resolution, a shift, a diameter
MOST_DEFOCUS = 1e6  # Å, either sign
MOST_DENSITY = 1e12  # of a level, either sign, in whatever unit a map has
MOST_MASS = 1e6  # kDa

MOST_GAUSSIANS = 2**20
MOST_PIECES = 100
MOST_LATENTS = 1024  # numbers a particle
MOST_WIDTH = 2**16  # of a layer, and its parts
MOST_LAYERS = 1024
MOST_LIFT = 512  # points along each side
MOST_WEIGHT = 1e6  # of a term of the loss
