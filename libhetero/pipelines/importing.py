"""Importing particles: read any list, check it, say what it holds, write a project list.

The project list (.lst) keeps, for each particle, the file and row it came from, so that exporting
it again (.star, .cs) gives back every column and the original images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from libhetero.errors import ConfigurationError
from libhetero.io import ImageReader, check_particles, write_particles
from libhetero.io.check import odd_ctf_values, pixel_size_disagreements
from libhetero.io.optics import count_optics_groups
from libhetero.pipelines.run.folder import DataConfig, listed, unit_ctf
from libhetero.records import Batch, ParticleSet, Pose
from libhetero.training.contrast import ContrastEstimate, estimate_contrast
from libhetero.training.preprocess import restore_signs

SAMPLE = 200  # particles looked at for the contrast
SAMPLE_PIXELS = 16_000_000  # and no more pixels than this
FORMATS = (".lst", ".star", ".cs")


@dataclass(frozen=True)
class ImportConfig:
    """What to import, and what to write.

    Parameters
    ----------
    data : the particles: .star, .cs, .lst, .hdf, .mrcs or .txt, and cryoDRGN's files.
    output : list to write (.lst, .star or .cs); None for `<name>.lst` in the current folder.
    """

    data: DataConfig
    output: str | None = None

    def __post_init__(self) -> None:
        pixel_size = self.data.pixel_size
        if pixel_size is not None and not 0.01 <= pixel_size <= 1000:
            raise ConfigurationError(f"pixel size {pixel_size:g} Å; expected 0.01 to 1000.")
        output = self.output_path()
        if output.suffix not in FORMATS:
            raise ConfigurationError(f"{output}: expected a name ending in {', '.join(FORMATS)}.")
        if output.exists() and output.samefile(self.data.particles):
            raise ConfigurationError(f"{output}: this is the input itself; choose another --output.")

    def output_path(self) -> Path:
        """Return the list to write."""
        return Path(self.output or f"{Path(self.data.particles).stem}.lst")


@dataclass(frozen=True)
class ImportReport:
    """What was found.

    Parameters
    ----------
    output : the list written.
    lines : (name, finding) in the order to print them.
    warnings : one line each.
    contrast : estimate from the images.
    """

    output: Path
    lines: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    contrast: ContrastEstimate


def run(config: ImportConfig) -> ImportReport:
    """Read, check and write particles.

    Raises
    ------
    DataError : one line for the first thing that is wrong with the particles.
    """
    particles = listed(config.data)
    check_particles(particles, need_pose=False, need_ctf=False)
    contrast = look_at_contrast(particles)
    write_particles(config.output_path(), particles)
    return ImportReport(
        output=config.output_path(),
        lines=tuple(describe(particles)),
        warnings=tuple(_warnings(particles, contrast)),
        contrast=contrast,
    )


def look_at_contrast(particles: ParticleSet) -> ContrastEstimate:
    """Estimate the contrast from a spread sample of the particles of the first box and pixel size.

    Raises
    ------
    DataError : when an image of the sample is not finite.
    """
    alike = (particles.box_size == particles.box_size[0]) & (particles.pixel_size == particles.pixel_size[0])
    places = np.flatnonzero(alike)
    n, pixel_size = int(particles.box_size[0]), float(particles.pixel_size[0])
    count = int(np.clip(SAMPLE_PIXELS // n**2, 2, SAMPLE))
    places = places[np.unique(np.linspace(0, len(places) - 1, count).astype(int))]
    sample = particles.take(places)
    if sample.pose is None:
        rotation = np.broadcast_to(np.eye(3, dtype=np.float32), (len(sample), 3, 3))
        sample = dataclasses.replace(sample, pose=Pose(rotation=rotation, shift=np.zeros((len(sample), 2))))
    if sample.ctf is None:
        sample = dataclasses.replace(sample, ctf=unit_ctf(len(sample)), phase_flipped=False)
    with ImageReader(sample, check_finite=True) as reader:
        images = reader.read(np.arange(len(sample)))
    if sample.phase_flipped:
        images = restore_signs(images, sample.ctf, pixel_size)
    weight = np.ones(len(sample), np.float32)
    batch = Batch(images, sample.pose, sample.ctf, places.astype(np.int32), weight)
    return estimate_contrast(batch, pixel_size)


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
        tilts = f"{groups}, {count / groups:.1f} images each"
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
    return f"yes, {', '.join(parts)}{flipped}"


def _warnings(particles: ParticleSet, contrast: ContrastEstimate) -> list[str]:
    lines = pixel_size_disagreements(particles)
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
