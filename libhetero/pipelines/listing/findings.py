"""What a set of particles holds, in words, and what is odd about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from libhetero.io.check import odd_ctf_values, pixel_size_disagreements
from libhetero.io.optics import count_optics_groups
from libhetero.io.tilt_series import ranges
from libhetero.records import ParticleSet
from libhetero.training.contrast import ContrastEstimate

WITHOUT = "; of images that have none, such as noise-free projections, train with --noctf"


def describe(particles: ParticleSet) -> list[tuple[str, str]]:
    """Return what a set holds, as (name, finding)."""
    count, stacks = len(particles), len(np.unique(particles.file_id))
    boxes = ", ".join(f"{box}" for box in np.unique(particles.box_size))
    pixels = ", ".join(f"{pixel:.5g}" for pixel in np.unique(np.round(particles.pixel_size, 5)))
    lines = [
        ("particles", f"{count} in {stacks} stack{'s' if stacks != 1 else ''}"),
        ("box", f"{boxes} pixels"),
        ("pixel size", f"{pixels} Å"),
        ("poses", _describe_pose(particles)),
        ("CTF", _describe_ctf(particles)),
        ("optics groups", str(count_optics_groups(particles))),
    ]
    half = "none"
    if particles.half_set is not None:
        half = " + ".join(str(int((particles.half_set == i).sum())) for i in (0, 1))
    tilts = "none"
    if particles.group is not None:
        groups = len(np.unique(particles.group))
        tilts = ", ".join([f"{groups}, {count / groups:.1f} images each", *ranges(particles)])
    stated = {1: "white (as stated)", -1: "dark (as stated)", 0: "not stated"}[particles.contrast]
    return [*lines, ("half-sets", half), ("tilt groups", tilts), ("contrast", stated)]


def _describe_pose(particles: ParticleSet) -> str:
    if particles.pose is None:
        return "no"
    length = np.linalg.norm(particles.pose.shift, axis=1)
    share = np.max(length / (particles.box_size * particles.pixel_size))
    return f"yes, shifts up to {length.max():.1f} Å ({100 * share:.0f} % of the box)"


def _describe_ctf(particles: ParticleSet) -> str:
    ctf = particles.ctf
    if ctf is None:
        return "no"
    mean = (np.asarray(ctf.defocus_u) + ctf.defocus_v) / 2e4
    flipped = ", images phase-flipped" if particles.phase_flipped else ""
    parts = [f"defocus {mean.min():.2f} to {mean.max():.2f} µm"]
    for name, values, unit in (
        ("", ctf.voltage, " kV"),
        ("Cs ", ctf.spherical_aberration, " mm"),
        ("amplitude contrast ", ctf.amplitude_contrast, ""),
    ):
        parts.append(name + "/".join(f"{value:.3g}" for value in np.unique(values)) + unit)
    if np.any(ctf.phase_shift):
        parts.append(f"phase shift up to {np.degrees(np.abs(ctf.phase_shift).max()):.0f}°")
    named = {
        "magnification": "magnification matrix",
        "beam_tilt": "beam tilt",
        "even_zernike": "even Zernike",
        "odd_zernike": "odd Zernike",
    }
    parts += [name for field, name in named.items() if field in ctf.columns()]
    return f"yes, {', '.join(parts)}{flipped}"


def odd_findings(particles: ParticleSet, contrast: ContrastEstimate) -> list[str]:
    """Return a line for whatever is allowed but odd."""
    lines = pixel_size_disagreements(particles)
    lacking = [name for name, record in (("poses", particles.pose), ("CTF", particles.ctf)) if record is None]
    if lacking:
        flags = " and ".join({"poses": "--poses", "CTF": "--ctf"}[name] for name in lacking)
        lines.append(
            f"{' and '.join(lacking)}: none here, and training needs one for each particle; import the list that names "
            f"this stack, or give cryoDRGN's with {flags}{WITHOUT if lacking == ['CTF'] else ''}"
        )
        lines += _cubes(particles)
    if particles.ctf is not None:
        lines += odd_ctf_values(particles.ctf)
    if particles.pose is not None:
        length = np.abs(particles.pose.shift).max(axis=1)
        far = int((length > 0.25 * particles.box_size * particles.pixel_size).sum())
        if far:
            lines.append(f"poses: {far} particles are shifted by more than a quarter of the box")
    if contrast.sign and particles.contrast and contrast.sign != particles.contrast:
        lines.append("contrast: the images look the opposite of what the list states")
    return lines


def _cubes(particles: ParticleSet) -> list[str]:
    """Return a line for a file that may be a map, by its name and its shape: some programs mark maps as stacks."""
    count = np.bincount(particles.file_id, minlength=len(particles.files))
    box = np.zeros(len(particles.files), int)
    box[particles.file_id] = particles.box_size
    for name, images, side in zip(particles.files, count, box, strict=True):
        if images == side > 1 and Path(name).suffix.lower() in (".mrc", ".map"):
            return [f"{name}: {side} images of {side} pixels, named as maps are; if this is a map, it has no particles"]
    return []
