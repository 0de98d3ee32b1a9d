"""Copies of the images of a run less the signal of all but one region, as its Gaussians are decoded.

    X' = X - α s T P(R, t) G',      G' the particle's mixture without the region

with α the particle's contrast, s the scale of the images, and T what the optics make of a projection, odd aberrations
and flipped phases included: X' is of the kind that X is, and its list says the same of it. Of a symmetric complex each
image is copied once for every unit, less all but the region of that unit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.errors import ConfigurationError
from libhetero.files import require_space
from libhetero.io import ImageReader, MrcsWriter
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import recorded, seen_through, transfer
from libhetero.physics.symmetry import symmetric_copies
from libhetero.pipelines.aligning.files import SUBTRACTED, region_name
from libhetero.pipelines.aligning.motions import RegionMotion, contrasts, operators_of
from libhetero.pipelines.decoding.gaussians import mixture_model, stream_mixtures
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians, Observation
from libhetero.telling.progress import tracked

Signal = Callable[[Gaussians, np.ndarray, Observation], Float[Array, "batch n n"]]


def check_subtraction(folder: Path, run: Run, regions: Sequence[int]) -> None:
    """Refuse what `write_subtracted` could not write, before anything long is done.

    Parameters
    ----------
    folder : that is to hold the stacks.
    regions : whose.

    Raises
    ------
    ConfigurationError : where each image was divided by a number of its own, so that the signal's scale is not known,
        or where a stack would take the place of the run's own images.
    DiskError : where there is not room enough.
    """
    if run.config.data.preprocess.normalise == "image":
        raise ConfigurationError(
            f"--subtract: {run.folder} divided each image by its own deviation (--normalise image), so that the scale "
            "of its signal is not known; expected --normalise set. Leave --subtract out, or train a new run."
        )
    own = {os.path.realpath(file) for file in run.particles.files}
    for region in regions:
        path = folder / f"{region_name(region)}{SUBTRACTED}"
        if os.path.realpath(path) in own:
            raise ConfigurationError(
                f"--subtract: {path} holds images that {run.folder} was trained on; expected another folder. Name one "
                "with --output."
            )
    images = len(run.particles) * len(regions) * len(operators_of(run))
    require_space(folder, 4 * run.particles.uniform_box_size() ** 2 * images, "subtracted images", "free some")


def write_subtracted(
    folder: Path,
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    label: Int[np.ndarray, "gaussians"],
    motions: Sequence[RegionMotion],
    batch_size: int,
) -> list[Path]:
    """Write region_NN_subtracted.mrcs for each region, all particles in the order of the run, unit after unit of a
    symmetric complex; return the paths.

    Parameters
    ----------
    latent : of every particle.
    label : region of each Gaussian.
    motions : of the regions.
    batch_size : images in hand at once.
    """
    preparation, particles = run.config.data.preprocess, run.particles
    box, pixel_size = particles.uniform_box_size(), particles.uniform_pixel_size()
    grey = preparation.contrast * preparation.grey_scale * (box / run.model.box_size) ** 2
    scale = np.float32(grey * mixture_model(run).image_scale)
    signal, units = _signal_of_rest(run, box, pixel_size, scale), len(operators_of(run))
    reader, contrast = ImageReader(particles), contrasts(run)
    pose, ctf = particles.poses_and_ctfs()
    paths = []
    for motion in motions:
        paths.append(folder / f"{region_name(motion.region)}{SUBTRACTED}")
        member = np.asarray(label == motion.region, np.float32)
        with MrcsWriter(paths[-1], box, units * len(particles), pixel_size) as writer:
            for unit in range(units):
                others = 1 - np.concatenate([member * (place == unit) for place in range(units)])
                start, what = 0, f"region {motion.region}: subtracting"
                blocks = stream_mixtures(run, latent, batch_size)
                for block in tracked(blocks, len(particles), what, lambda one: len(one.sigma)):
                    rows = np.arange(start, start + len(block.sigma))
                    start += len(rows)
                    seen = Observation(pose=pose.take(rows), ctf=ctf.take(rows), contrast=contrast[rows])
                    writer.write(reader.read(rows) - np.asarray(signal(block, others, seen)))
    return paths


def _signal_of_rest(run: Run, box: int, pixel_size: float, scale: np.float32) -> Signal:
    """Return what gives the signal of decoded mixtures in their images, as these are stored, without a region.

    Which Gaussians are not of it is told of those of the whole complex, unit after unit.

    Parameters
    ----------
    box, pixel_size : of the stored images.
    scale : from projections to stored images.
    """
    operators = operators_of(run)
    frequencies, flipped = half_plane(box, pixel_size), run.particles.phase_flipped

    def one(mixture: Gaussians, others: Array, seen: Observation) -> Float[Array, "n n"]:
        pose = seen.pose if seen.ctf is None else seen_through(seen.pose, seen.ctf)[0]
        whole = symmetric_copies(mixture, operators)
        rest = Gaussians(whole.position, whole.amplitude * others, whole.sigma)
        plane = recorded(project_gaussians(rest, pose, box, pixel_size), seen, frequencies)
        if flipped:
            plane = plane * jnp.where(transfer(seen, frequencies) < 0, -1, 1)
        return scale * real_image(plane, box)

    return jax.jit(jax.vmap(one, in_axes=(0, None, 0)))
