"""The folder of a training run: written by refinement, read strictly by everything after it.

config.json     format_version, family, model, training, data
model.npz       geometry and statistics of the model
checkpoints/    parameters and optimiser
log.jsonl, mid_00.txt, ptcls_00.lst, model_00.txt (Gaussian model), loss.png, samples.png
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from libhetero import models
from libhetero.configuration import from_dict, read_json, to_dict, write_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import replacing
from libhetero.io import ImageReader, check_particles, read_particles
from libhetero.models.family import ModelFamily
from libhetero.pipelines.run.image_cache import if_cached
from libhetero.records import Batch, CTFParams, ParticleSet
from libhetero.training.bad_images import BadImages
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.feed import ParticleFeed, ordered_indices, prefetch, reader_threads
from libhetero.training.optimiser import TrainingConfig
from libhetero.training.preprocess import PreprocessConfig

FORMAT_VERSION = 2


@dataclass(frozen=True)
class DataConfig:
    """Which particles, and how their images are prepared.

    Parameters
    ----------
    particles : list or stack; absolute once it is in a run folder.
    datadir : folder that the list's relative paths start from; None for the usual places.
    pixel_size : Å, in place of the files' own; None to use theirs.
    poses, ctf, indices : cryoDRGN .pkl files; None where the list holds them.
    no_ctf : True takes the CTF as 1 everywhere (images without one).
    reference : starting Gaussians (.txt) or a map, as given with --model; None without.
    mask : map that is above 0.5 where Gaussians may change; None for everywhere.
    count : particles in the list, to notice that it has changed; 0 before it is read.
    max_bad : images that are not finite and are left out, before the next one is an error.
    cache : folder for prepared images; None to prepare them in every epoch.
    preprocess : contrast, normalisation and Fourier crop.
    """

    particles: str
    datadir: str | None = None
    pixel_size: float | None = None
    poses: str | None = None
    ctf: str | None = None
    indices: str | None = None
    no_ctf: bool = False
    reference: str | None = None
    mask: str | None = None
    count: int = 0
    max_bad: int = 100
    cache: str | None = None
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)

    def __post_init__(self) -> None:
        if self.max_bad < 0:
            raise ConfigurationError(f"--maxbad {self.max_bad}: expected a number of images, 0 or more.")

    def absolute(self) -> DataConfig:
        """Return the same with absolute paths, to be read from any folder."""
        names = ("particles", "datadir", "poses", "ctf", "indices", "reference", "mask", "cache")
        paths = {name: getattr(self, name) for name in names}
        return dataclasses.replace(
            self, **{name: os.path.abspath(path) for name, path in paths.items() if path is not None}
        )


@dataclass(frozen=True)
class RunConfig:
    """config.json of a run folder.

    Parameters
    ----------
    family : "hype" or "gmm".
    model : configuration of the model, as JSON types.
    training : how it is trained.
    data : which particles.
    format_version : of the folder.
    """

    family: str
    model: dict[str, Any]
    training: TrainingConfig
    data: DataConfig
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Run:
    """A trained run.

    Parameters
    ----------
    folder : the run folder.
    config : what was asked for.
    model : the model, see `libhetero.models.family`.
    params : its parameters (the running average where it was on).
    particles : with poses and CTF.
    """

    folder: Path
    config: RunConfig
    model: ModelFamily
    params: Any
    particles: ParticleSet

    def feed(self) -> ParticleFeed:
        """Return the particles, prepared as they were in training."""
        data, bad = self.config.data, BadImages(self.particles, self.config.data.max_bad)
        feed = ParticleFeed(ImageReader(self.particles), self.particles, data.preprocess, bad)
        return if_cached(feed, data.cache)


def open_run(folder: str | Path) -> Run:
    """Open a run folder for reading.

    Raises
    ------
    ConfigurationError : if config.json is missing, damaged, or has keys this version lacks.
    DataError : if the model, its checkpoint or the particles are missing or do not fit.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = models.build(config.family, config.model, read_arrays(folder))
    shapes = jax.eval_shape(model.init, jax.random.key(config.training.seed))
    with CheckpointFolder(folder / "checkpoints") as checkpoints:
        params = checkpoints.restore_params(shapes, config.training)
    return Run(folder, config, model, params, load_particles(config.data))


def batches(run: Run, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the particles in order as NumPy batches of one shape, the last padded at weight 0.

    An image that is not finite is zeros at weight 0, too, in its place.

    Parameters
    ----------
    indices : places in `run.particles`, in the order wanted; None for all.
    """
    return feed_batches(run.feed(), batch_size, indices)


def feed_batches(feed: ParticleFeed, batch_size: int, indices: np.ndarray | None = None) -> Iterator[Batch]:
    """Yield the particles of a feed in order; see `batches`."""
    chosen = np.arange(len(feed)) if indices is None else np.asarray(indices)
    pieces = (chosen[places] for places in ordered_indices(len(chosen), batch_size))
    return prefetch(lambda index: feed.batch(index, batch_size), pieces, threads=reader_threads())


def listed(data: DataConfig) -> ParticleSet:
    """Read the particles that a configuration names, as their files say and without a check."""
    return read_particles(
        data.particles,
        datadir=data.datadir,
        pixel_size=data.pixel_size,
        poses=data.poses,
        ctf=data.ctf,
        indices=data.indices,
    )


def load_particles(data: DataConfig) -> ParticleSet:
    """Read the particles of a run and check that they can be trained on.

    Raises
    ------
    DataError : no particles, poses or CTF, several box or pixel sizes, or an odd box.
    """
    particles = listed(data)
    if len(particles) == 0:
        raise DataError(f"{data.particles}: holds no particles; expected at least one.")
    if data.count not in (0, len(particles)):
        raise DataError(
            f"{data.particles}: holds {len(particles)} particles, but the run was trained on "
            f"{data.count}; restore the list, or train a new run."
        )
    if particles.pose is None:
        raise DataError(
            f"{data.particles}: the particles have no poses (orientations); expected one each. "
            "Refine them first, or give cryoDRGN's with --poses."
        )
    if data.no_ctf:
        particles = dataclasses.replace(particles, ctf=unit_ctf(len(particles)), phase_flipped=False)
    if particles.ctf is None:
        raise DataError(
            f"{data.particles}: the particles have no CTF parameters; expected one set each. "
            "Estimate them first, give cryoDRGN's with --ctf, or use --noctf for images without."
        )
    check_particles(particles, need_pose=True, need_ctf=True)
    _check_box(particles, data)
    particles.uniform_pixel_size()
    return particles


def listed_particles(particles: ParticleSet, data: DataConfig) -> ParticleSet:
    """Return the particles as a list should name them: without the CTF of 1 that `no_ctf` gave."""
    return dataclasses.replace(particles, ctf=None) if data.no_ctf else particles


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


def write_config(folder: Path, config: RunConfig) -> None:
    """Write config.json."""
    write_json(Path(folder) / "config.json", to_dict(config))


def read_config(folder: Path) -> RunConfig:
    """Read config.json; an unknown or missing key is an error."""
    path = Path(folder) / "config.json"
    values = read_json(path)
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise ConfigurationError(
            f"{path}: format_version is {version}; this version reads {FORMAT_VERSION}. Use the version that wrote it."
        )
    missing = {item.name for item in dataclasses.fields(RunConfig)} - set(values)
    if missing:
        raise ConfigurationError(f"{path}: lacks {', '.join(sorted(missing))}; restore the file.")
    try:
        return from_dict(RunConfig, values)
    except (ConfigurationError, TypeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def write_arrays(folder: Path, model: ModelFamily) -> None:
    """Write model.npz beside its place and rename it there."""
    with replacing(Path(folder) / "model.npz") as beside:
        np.savez(beside, **model.arrays())


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read model.npz."""
    path = Path(folder) / "model.npz"
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; is {folder} a run folder?") from None
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged ({error}); train the run again.") from error
