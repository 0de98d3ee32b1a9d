"""The particles that a configuration names: read, checked, their images prepared."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import ImageReader, check_particles, read_particles
from libhetero.io.check import other_table
from libhetero.io.tilt_series import (
    apart,
    as_stated,
    describe_series,
    faded_once,
    is_thinned,
    least_exposed,
    thinned,
    tilted_less,
    together,
    weighted_by,
    with_exposure,
)
from libhetero.pipelines.run.data import DataConfig, ParticleListConfig
from libhetero.records import CTFParams, ParticleSet, Pose
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)


def listed(data: ParticleListConfig) -> ParticleSet:
    """Read the particles that a configuration names, as their files say and without a check.

    Of tilt series those images that it asks for, with exposures and weights as it asks.

    Raises
    ------
    DataError : where they cannot be read, or where what is asked of tilt series is not known of them.
    """
    return _as_asked(_read(data), data)


def _read(data: ParticleListConfig) -> ParticleSet:
    return read_particles(
        data.particles,
        datadir=data.datadir,
        pixel_size=data.pixel_size,
        poses=data.poses,
        ctf=data.ctf,
        indices=data.indices,
        passthrough=data.passthrough,
    )


def _as_asked(particles: ParticleSet, data: ParticleListConfig, once: bool = False) -> ParticleSet:
    """Return tilt series with the exposures, weights and images that are asked for; other sets as they are.

    Exposures come first, as they are counted over all images of a particle.

    Parameters
    ----------
    once : whether no dose may count twice, and tilts count at all, as where images are looked at
        (`libhetero.io.tilt_series.faded_once`, `thinned`).
    """
    if data.dose is not None:
        particles = with_exposure(particles, data.dose)
    particles = weighted_by(particles, data.dose_weighting)
    if once:
        particles = _thinned(faded_once(particles), data)
    if data.most_tilted is not None:
        particles = tilted_less(particles, data.most_tilted)
    if data.least_exposed is not None:
        particles = least_exposed(particles, data.least_exposed)
    alone = particles.group is not None and len(np.unique(particles.group)) == len(particles)
    return apart(particles) if alone or data.tilts == "apart" else particles


def _thinned(particles: ParticleSet, data: ParticleListConfig) -> ParticleSet:
    found = thinned(particles)
    if found is not particles:
        LOGGER.info(
            "%s: tells tilts and no factors of the CTF (rlnCtfScalefactor); an image counts by the cosine of its tilt",
            data.particles,
        )
    return found


def load_particles(data: DataConfig) -> ParticleSet:
    """Read the particles of a run and check that they can be trained on.

    Raises
    ------
    DataError : no particles, poses or CTF, several box or pixel sizes, or an odd box.
    """
    particles = _as_asked(_read(data), data, once=not data.no_ctf)
    if len(particles) == 0:
        raise DataError(f"{data.particles}: holds no particles; expected at least one.")
    if data.count not in (0, len(particles)):
        raise DataError(
            f"{data.particles}: holds {len(particles)} particles, but the run was trained on "
            f"{data.count}; restore the list, or train a new run."
        )
    if particles.pose is None and data.absent_poses:
        particles = dataclasses.replace(particles, pose=unturned(len(particles)))
    if particles.pose is None:
        raise DataError(
            f"{data.particles}: the particles have no poses (orientations); expected one each. "
            f"Refine them first, {other_table(particles)}give cryoDRGN's with --poses, or search for them "
            "(e2hype_classify.py --search_poses 180)."
        )
    if data.no_ctf:
        stated = None if particles.ctf is None else particles.ctf.magnification
        ctf = dataclasses.replace(unit_ctf(len(particles)), magnification=stated)
        particles = dataclasses.replace(particles, ctf=ctf, phase_flipped=False)
    if particles.ctf is None:
        raise DataError(
            f"{data.particles}: the particles have no CTF parameters; expected one set each. "
            f"Estimate them first, {other_table(particles)}give cryoDRGN's with --ctf, "
            "or use --noctf for images without."
        )
    check_particles(particles, need_pose=True, need_ctf=True)
    if particles.group is not None:
        LOGGER.info("%s: %s", data.particles, describe_series(particles))
    _check_box(particles, data)
    try:
        particles.uniform_pixel_size()
    except DataError as error:
        raise DataError(f"{data.particles}: {error}") from None
    return particles


def feed_of(particles: ParticleSet, data: DataConfig) -> ParticleFeed:
    """Return particles with their images prepared as a configuration says."""
    return ParticleFeed(ImageReader(particles), particles, data.preprocess, BadImages(particles, data.max_bad))


def listed_particles(particles: ParticleSet, data: DataConfig) -> ParticleSet:
    """Return the particles as a list should name them: without the CTF of 1 that `no_ctf` gave, with the B-factors,
    exposures, factors of the CTF and series that their list states."""
    particles = together(particles)
    if data.no_ctf:
        return dataclasses.replace(particles, ctf=None)
    if data.dose is not None or data.dose_weighting != "list":
        return as_stated(particles)
    ctf = particles.ctf
    if particles.group is None or ctf is None or (ctf.exposure is not None and not is_thinned(particles)):
        return particles
    stated = as_stated(particles).ctf  # where B-factors say exposures, too, images were seen without these
    if stated is None:
        return particles
    exposure = stated.exposure if ctf.exposure is None else ctf.exposure
    return dataclasses.replace(particles, ctf=dataclasses.replace(ctf, exposure=exposure, scale=stated.scale))


def _check_box(particles: ParticleSet, data: DataConfig) -> None:
    box = data.preprocess.box_size or particles.uniform_box_size()
    if box % 2:
        raise DataError(
            f"{data.particles}: the box is {box} pixels, odd; expected an even one. "
            f"Crop it in Fourier space with --box {box - 1}."
        )
    if box > particles.uniform_box_size():
        raise ConfigurationError(
            f"--box {box} is larger than the particles' {particles.uniform_box_size()} pixels; expected at most that."
        )


def unturned(count: int) -> Pose:
    """Return poses of no turn and no shift."""
    rotation = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    return Pose(rotation=rotation, shift=np.zeros((count, 2), np.float32))


def is_unturned(pose: Pose) -> bool:
    """Return whether poses are those of a list that has none."""
    return bool(np.all(np.asarray(pose.rotation) == np.eye(3)) and not np.any(pose.shift))


def unit_ctf(count: int) -> CTFParams:
    """Return CTFs that are 1 at every frequency: no defocus, amplitude contrast 1."""
    zero, one = np.zeros(count), np.ones(count)
    return CTFParams(
        defocus_u=zero,
        defocus_v=zero,
        defocus_angle=zero,
        voltage=300 * one,
        spherical_aberration=zero,
        amplitude_contrast=one,
        phase_shift=zero,
        b_factor=zero,
        scale=one,
    )
