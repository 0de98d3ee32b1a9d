"""What a run starts with: a new one is checked and measured, a stored one opened again."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from libhetero import models
from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import ImageReader, read_gaussians, read_volume, write_gaussians, write_particles
from libhetero.models.family import ModelFamily
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.run.configuration import MODEL_CONFIGS, RefineConfig, new_config, resumed_config
from libhetero.pipelines.run.folder import RunConfig, read_arrays, write_arrays, write_config
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.particles import listed_particles, load_particles
from libhetero.pipelines.run.preparation import SAMPLE, measured, of_finite_images
from libhetero.pipelines.run.reference import reference_projector
from libhetero.records import Batch, Gaussians, ParticleSet
from libhetero.training import sharding
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
SUBSPACE_SAMPLE = 4096  # particles
MASK_LEVEL = 0.5
SAMPLE_BYTES = 2**28  # of their images


@dataclass(frozen=True, eq=False)
class RunStart:
    """What a run starts with.

    Parameters
    ----------
    config : its configuration, complete.
    particles : as listed.
    feed : their images, prepared.
    model : measured on a sample of them.
    gaussians : the starting mixture of a new run; None for CryoHype.
    """

    config: RunConfig
    particles: ParticleSet
    feed: ParticleFeed
    model: ModelFamily
    gaussians: Gaussians | None

    def write(self, name: str | None, new_folder: Callable[[], Path] | None) -> Path:
        """Make the run folder and fill it with all but what training writes.

        Parameters
        ----------
        name : of the folder; None to ask `new_folder` for one.
        """
        with _new_folder(name, new_folder) as folder:
            if sharding.is_writer():
                write_arrays(folder, self.model)
                listed = listed_particles(self.particles, self.config.data)
                write_particles(folder / "ptcls_00.lst", listed)
                if self.gaussians is not None:
                    box_size, pixel_size = self.feed.box_size, self.feed.pixel_size
                    write_gaussians(folder / "model_00.txt", self.gaussians, box_size, pixel_size)
                write_config(folder, self.config)  # last: what holds it has all of a run
        return folder


def prepare(config: RefineConfig) -> RunStart:
    """Check everything, measure the particles and make the model; nothing is written."""
    run_config = new_config(config)
    particles = load_particles(run_config.data)
    symmetry = run_config.model.get("symmetry", "c1")
    project = reference_projector(run_config.data.reference, particles, symmetry)
    bad = BadImages(particles, run_config.data.max_bad)
    preprocess = measured(
        run_config.data.preprocess, particles, config.contrast, run_config.training.seed, project, bad
    )
    data = dataclasses.replace(run_config.data.absolute(), preprocess=preprocess, count=len(particles))
    feed = ParticleFeed(ImageReader(particles), particles, preprocess, bad)
    gaussians = _starting_gaussians(run_config, feed)
    mobile = _mobile(run_config, gaussians)
    model = models.create(
        run_config.family,
        from_dict(MODEL_CONFIGS[run_config.family], run_config.model),
        box_size=feed.box_size,
        pixel_size=feed.pixel_size,
        sample=_sample(feed, run_config),
        gaussians=gaussians,
        mobile=mobile,
        seed=run_config.training.seed,
    )
    _check_finite(model)
    run_config = dataclasses.replace(run_config, data=data, model=to_dict(model.config))
    _check_alike(run_config, model)
    return RunStart(run_config, particles, feed, model, gaussians)


def settled(config: RefineConfig) -> RefineConfig:
    """Return what a requeued run has to do: go on in its folder if it has begun, or begin it."""
    if not config.requeue or config.resume is not None:
        return config
    begun = seen_by_writer(Path(config.folder) / "config.json")
    return dataclasses.replace(config, folder=None, resume=config.folder) if begun else config


def seen_by_writer(path: Path) -> bool:
    """Return whether process 0 sees the file: it may have made it since, or another one may not see it yet."""
    return sharding.said_by_writer(lambda: str(path.exists())) == "True"


def reopen(config: RefineConfig) -> RunStart:
    """Open the run of `config.resume` again, if nothing that was asked for contradicts it."""
    stored = resumed_config(config)
    particles = load_particles(stored.data)
    bad = BadImages(particles, stored.data.max_bad)
    feed = ParticleFeed(ImageReader(particles), particles, stored.data.preprocess, bad)
    model = models.build(stored.family, stored.model, read_arrays(Path(config.resume)))
    return RunStart(stored, particles, feed, model, None)


def _sample(feed: ParticleFeed, config: RunConfig) -> Batch:
    """Return the particles that the model's statistics are measured on; more for Gaussians' subspace."""
    most = SAMPLE
    if config.family == "gmm" and config.model["encoder"] == "posterior":
        most = max(SAMPLE, min(SUBSPACE_SAMPLE, SAMPLE_BYTES // (4 * feed.box_size**2)))
    training, _ = split(len(feed), config.training)
    LOGGER.info("measuring %d particles", min(most, len(training)))
    chosen = training[sample_indices(len(training), most, config.training.seed)]
    return of_finite_images(feed.batch(chosen))


def _check_finite(model: ModelFamily) -> None:
    """Refuse a model whose statistics are not numbers, before it is trained."""
    for name, array in model.arrays().items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"the model's {name} is not finite; expected numbers. Compare the starting model "
                "(position, width) with the particles (box, pixel size)."
            )


def _check_alike(config: RunConfig, model: ModelFamily) -> None:
    """Refuse to train where processes have measured different models, as different processors may."""
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode())
    for name, array in sorted(model.arrays().items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    own = digest.hexdigest()
    if sharding.said_by_writer(lambda: own) != own:
        raise ConfigurationError(
            "this process has measured another model than process 0; expected the same on all. Start all on "
            "processors of one kind, with the same command."
        )


def _starting_gaussians(config: RunConfig, feed: ParticleFeed) -> Gaussians | None:
    if config.family != "gmm" or config.data.reference is None:
        return None
    path = config.data.reference
    if not path.endswith(".txt"):
        raise DataError(
            f"{path}: a Gaussian model starts from Gaussians; expected a .txt. Make one from this "
            "map with e2hype_guess_n.py."
        )
    return read_gaussians(path, feed.box_size, feed.pixel_size)


def _mobile(config: RunConfig, gaussians: Gaussians | None) -> np.ndarray | None:
    """Return which Gaussians the mask lets change: those of which a symmetric copy lies in it."""
    path = config.data.mask
    if path is None or gaussians is None:
        return None
    mask, pixel_size = read_volume(path)
    if len(set(mask.shape)) > 1:
        raise DataError(f"{path}: the mask is {mask.shape[2]}×{mask.shape[1]}×{mask.shape[0]}; expected a cube.")
    operators = symmetry_operators(config.model["symmetry"])
    position = np.asarray(symmetric_copies(gaussians, operators).position)
    voxel = np.rint(position[:, ::-1] / pixel_size).astype(int) + mask.shape[0] // 2
    inside = np.all((voxel >= 0) & (voxel < mask.shape[0]), axis=1)
    inside &= mask[tuple(np.where(inside[:, None], voxel, 0).T)] > MASK_LEVEL
    mobile = inside.reshape(len(operators), -1).any(axis=0)
    if not mobile.any():
        raise DataError(
            f"{path}: 0 of {len(mobile)} Gaussians lie where it is above {MASK_LEVEL}; expected some. "
            "Compare box, pixel size and origin with those of the particles."
        )
    LOGGER.info("%s: %d of %d Gaussians may change", path, np.count_nonzero(mobile), len(mobile))
    return mobile


@contextlib.contextmanager
def _new_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Iterator[Path]:
    """Make the run folder; remove it if what a run needs cannot be written into it."""
    existed = name is not None and Path(name).exists()
    folder = Path(sharding.said_by_writer(lambda: str(_make_folder(name, new_folder))))
    with locked(folder):
        if sharding.is_writer():
            _refuse_a_run(folder)  # which another process may have begun meanwhile
        try:
            yield folder
        except BaseException:
            if not existed and sharding.is_writer():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _make_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Path:
    if name is None:
        if new_folder is None:
            raise ConfigurationError("no run folder was named; expected one.")
        return Path(new_folder())
    folder = Path(name)
    _refuse_a_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _refuse_a_run(folder: Path) -> None:
    if (folder / "config.json").exists():
        raise ConfigurationError(
            f"{folder}: already holds a run; go on with --resume {folder}, or name another folder."
        )
