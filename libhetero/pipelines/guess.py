"""From a map or an atomic model to a starting Gaussian mixture."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from libhetero.errors import ConfigurationError, DataError
from libhetero.files import check_folder
from libhetero.io import ImageReader, read_volume, write_gaussians, write_gaussians_pdb
from libhetero.io.fsc import write_fsc
from libhetero.metrics.fsc import resolution
from libhetero.models.gmm.start.fit import (
    WORTH,
    FittedMixture,
    MapToFit,
    compare,
    fit_mixture,
    grow_mixture,
    place_gaussians,
)
from libhetero.models.gmm.start.homogeneous import HomogeneousModel
from libhetero.models.gmm.start.map_support import molecule_mask, reliability, symmetry_agreement
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.run.folder import DataConfig, load_particles
from libhetero.pipelines.run.preparation import SAMPLE, measured, of_finite_images
from libhetero.records import Pose
from libhetero.report.fsc import draw_fsc
from libhetero.simulate.atoms import density_of_atoms
from libhetero.simulate.sources import whole_model
from libhetero.simulate.structures import check_fits
from libhetero.telling.progress import Progress
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig
from libhetero.training.preprocess import PreprocessConfig, sample_indices

LOGGER = logging.getLogger(__name__)
MODEL_SUFFIXES = (".pdb", ".cif", ".ent", ".mmcif")
MODEL_B_FACTOR = 50.0  # Å²
PARTICLE_TRAINING = TrainingConfig(batch_size=32, learning_rate=3e-3, ema_decay=0.99)
LEAST_EPOCHS, LEAST_STEPS = 2, 400
LEAST_SYMMETRY = 0.8  # correlation of a symmetric map with itself, turned


@dataclass(frozen=True)
class GuessConfig:
    """What was asked for.

    Parameters
    ----------
    source : map (.mrc, .map, .hdf, also gzipped) or atomic model (.pdb, .cif, also gzipped),
        whose centre of mass is put at the box centre.
    output : EMAN2 Gaussian text to write; a .pdb, an FSC table and its figure are written beside it.
    count : number of Gaussians; None to add more until they explain no more of the map.
    threshold : density level that holds the molecule; None to find it.
    box_size : pixels; for an atomic model, which has none.
    pixel_size : Å; for an atomic model, or in place of the map's.
    steps : of the last fit.
    seed : of the first choice of voxels.
    max_resolution : Å, detail finer than which is not fitted; None for where the map ends.
    half_maps : two maps of half of the particles each, which say where the map ends; None to take
        those that e2hype_make3d.py wrote beside the map, or else the map's background.
    symmetry : of the map; the mixture is one asymmetric unit.
    views : refine the mixture against projections of the map in all directions at the end.
    particles : list with poses and CTFs to refine the mixture against after that; None for none.
    """

    source: str
    output: str
    count: int | None = None
    threshold: float | None = None
    box_size: int | None = None
    pixel_size: float | None = None
    steps: int = 200
    seed: int = 0
    max_resolution: float | None = None
    half_maps: tuple[str, str] | None = None
    symmetry: str = "c1"
    views: bool = False
    particles: str | None = None

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigurationError(f"--ngauss: expected 1 or more; got {self.count}.")
        if self.steps < 1:
            raise ConfigurationError(f"--niter: expected 1 or more; got {self.steps}.")
        if self.box_size is not None and (self.box_size < 8 or self.box_size % 2):
            raise ConfigurationError(f"--box: expected an even number of at least 8; got {self.box_size}.")
        for name, value in (("--apix", self.pixel_size), ("--maxres", self.max_resolution)):
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name}: expected more than 0; got {value:g}.")
        if not self.output.endswith(".txt"):
            raise ConfigurationError(f"{self.output}: expected a name ending in .txt for the Gaussians.")


def run(config: GuessConfig, progress: Callable[[float], None] | None = None) -> FittedMixture:
    """Fit the mixture, write it, and say how well it explains the map.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    check_folder(config.output)
    advance = progress or (lambda fraction: None)
    goal = _goal(config)
    if config.count is None:
        start = _grown(goal, config.seed).gaussians
        advance(0.5)
    else:
        start = place_gaussians(goal, config.count, config.seed)
    stages = [False, True] if config.views else [False]
    for number, views in enumerate(stages):

        def report(step: int, misfit: float, number: int = number) -> None:
            shown.show(step, f"misfit {misfit:.4f}")
            done = (number + step / config.steps) / len(stages)
            advance(done if config.count else 0.5 + 0.5 * done)

        with Progress("fitting", config.steps, unit="steps") as shown:
            fitted = fit_mixture(goal, start, config.steps, report, views)
        LOGGER.info("%s%s", "against all projections: " if views else "", _described(fitted, goal))
        start = fitted.gaussians
    if config.particles is not None:
        fitted = _refined(config, goal, fitted)
        LOGGER.info("against the particles: %s", _described(fitted, goal))
    _write(config, goal, fitted)
    return fitted


def _refined(config: GuessConfig, goal: MapToFit, fitted: FittedMixture) -> FittedMixture:
    """Return the mixture as it explains the particles best, all of them by the same one."""
    data = DataConfig(config.particles)
    particles = load_particles(data)
    whole = symmetric_copies(jax.tree.map(np.asarray, fitted.gaussians), goal.operators)
    box, stored = particles.uniform_box_size(), particles.uniform_pixel_size()

    def project(pose: Pose) -> jax.Array:
        return project_gaussians(whole, pose, box, stored)

    bad = BadImages(particles, data.max_bad)
    preprocess = measured(PreprocessConfig(), particles, None, config.seed, project, bad)
    feed = ParticleFeed(ImageReader(particles), particles, preprocess, bad)
    sample = of_finite_images(feed.batch(sample_indices(len(feed), SAMPLE, config.seed)))
    model = HomogeneousModel.from_data(
        fitted.gaussians, goal.operators, sample, feed.box_size, feed.pixel_size, config.max_resolution or 0.0
    )
    steps = -(-len(feed) // PARTICLE_TRAINING.batch_size)
    epochs = max(LEAST_EPOCHS, -(-LEAST_STEPS // steps))
    LOGGER.info("%s: %d particles, %d epochs of %d steps", config.particles, len(feed), epochs, steps)
    training = dataclasses.replace(PARTICLE_TRAINING, epochs=epochs, seed=config.seed)
    result = train(model, model.init(), feed, training)
    LOGGER.info(
        "misfit of the particles %.5f before and %.5f after (1: noise and what the start leaves)",
        float(result.losses[:steps].mean()),
        float(result.losses[-steps:].mean()),
    )
    return compare(goal, jax.device_get(model.mixture(result.params)))


def _grown(goal: MapToFit, seed: int) -> FittedMixture:
    """Return the smallest mixture that explains as much as larger ones, telling every size."""
    tried = []

    def report(count: int, fitted: FittedMixture) -> None:
        tried.append(count)
        LOGGER.info(_described(fitted, goal))

    grown = grow_mixture(goal, seed, report)
    count = len(grown.gaussians.sigma)
    if count == tried[-1]:
        LOGGER.info("%d Gaussians are taken, the most there may be for this map", count)
    else:
        LOGGER.info(
            "%d Gaussians are taken: %d explain less than %.2g%% more of the map", count, tried[-1], 100 * WORTH
        )
    return grown


def _described(fitted: FittedMixture, goal: MapToFit) -> str:
    half, end = (resolution(fitted.fsc, level, goal.pixel_size) for level in (0.5, 0.143))
    return (
        f"{len(fitted.gaussians.sigma)} Gaussians explain {100 * fitted.explained:.1f}% of the map: "
        f"FSC 0.5 at {half:.3g} Å, 0.143 at {end:.3g} Å, correlation {fitted.correlation:.4f}"
    )


def _goal(config: GuessConfig) -> MapToFit:
    """Read the map, find its molecule and where it ends."""
    operators = symmetry_operators(config.symmetry)
    volume, pixel_size = _volume(config)
    n = volume.shape[0]
    inside = molecule_mask(volume, pixel_size, config.threshold)
    halves, told = _half_maps(config, volume.shape)
    trust = reliability(volume, inside, halves)
    if config.max_resolution is not None:
        frequency = np.arange(n // 2) / (n * pixel_size)
        beyond = frequency > 1 / config.max_resolution
        if beyond[2:].all():
            raise ConfigurationError(
                f"--maxres {config.max_resolution:g}: leaves none of the map's {n * pixel_size:.0f} Å "
                f"box; expected less than {n * pixel_size / 2:.0f} Å."
            )
        trust[beyond] = 0
        told = told if trust[~beyond][-1] == 0 else "--maxres"
    if not trust[2:].any():
        raise DataError(
            f"{config.source}: nothing of the map can be trusted ({told}); expected half-maps that agree, "
            "or a molecule that stands out of the background. Give others with --halfmaps, or --threshold."
        )
    end = n * pixel_size / max(np.count_nonzero(trust) - 1, 1)
    LOGGER.info(
        "%s: box %d, %.4g Å per voxel; the molecule fills %.1f%% of it, detail to %.3g Å (%s)",
        config.source,
        n,
        pixel_size,
        100 * inside.mean(),
        end,
        told,
    )
    if len(operators) > 1:
        agreement = symmetry_agreement(volume, pixel_size, operators)
        if agreement < LEAST_SYMMETRY:
            LOGGER.warning(
                "%s: turned by an operator of %s it correlates with itself by only %.2f; check the "
                "symmetry, and that its axes and centre are the box's",
                config.source,
                config.symmetry,
                agreement,
            )
    return MapToFit(volume, pixel_size, inside, trust, operators)


def _half_maps(config: GuessConfig, shape: tuple[int, ...]) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Return half-maps, given or found beside the map, and what says where the map ends."""
    paths = config.half_maps
    if paths is None:
        source = Path(config.source)
        beside = tuple(source.with_name(f"{source.stem}_half{number}{source.suffix}") for number in (1, 2))
        if _is_model(config.source) or not all(path.is_file() for path in beside):
            return None, "from its background"
        paths = tuple(str(path) for path in beside)
    volumes = tuple(read_volume(path, config.pixel_size)[0] for path in paths)
    for path, volume in zip(paths, volumes, strict=True):
        if volume.shape != shape:
            raise DataError(
                f"{path}: box {'×'.join(map(str, volume.shape[::-1]))}; expected the map's, {shape[0]}. "
                "Give the half-maps of this map."
            )
        _check_finite(path, volume)
    return volumes, f"from {Path(paths[0]).name} and {Path(paths[1]).name}"


def _write(config: GuessConfig, goal: MapToFit, fitted: FittedMixture) -> None:
    """Write the unit as text, the whole complex as pseudo-atoms, and the FSC."""
    n, pixel_size = goal.volume.shape[0], goal.pixel_size
    output = Path(config.output)
    write_gaussians(output, fitted.gaussians, n, pixel_size)
    centre = n // 2 * pixel_size  # where viewers, which start at a corner, see it
    copies, count = len(goal.operators), len(fitted.gaussians.sigma)
    write_gaussians_pdb(
        output.with_suffix(".pdb"),
        symmetric_copies(fitted.gaussians, goal.operators),
        chain=np.repeat(np.arange(copies), count),
        origin=(centre,) * 3,
    )
    allowed = np.sqrt(goal.trust)
    write_fsc(
        output.with_name(f"{output.stem}_fsc.txt"),
        {"FSC of map and Gaussians": fitted.fsc, "FSC of map and truth, expected": allowed},
        pixel_size,
    )
    draw_fsc(
        output.with_name(f"{output.stem}_fsc.png"),
        {f"map and {count * copies} Gaussians": fitted.fsc, "what the map's noise allows": allowed},
        pixel_size,
    )
    LOGGER.info("wrote %s, .pdb, _fsc.txt and _fsc.png", output)


def _is_model(source: str) -> bool:
    return source.lower().removesuffix(".gz").endswith(MODEL_SUFFIXES)


def _check_finite(path: str, volume: np.ndarray) -> None:
    if not np.isfinite(volume).all():
        raise DataError(f"{path}: the map holds NaN or infinite voxels; expected numbers.")


def _volume(config: GuessConfig) -> tuple[np.ndarray, float]:
    if _is_model(config.source):
        if config.box_size is None or config.pixel_size is None:
            raise ConfigurationError(
                f"{config.source}: an atomic model has no box; expected --box and --apix, those of the particles."
            )
        model = whole_model(config.source, MODEL_B_FACTOR)
        check_fits(model, config.box_size * config.pixel_size, config.source)
        return density_of_atoms(model.atoms, config.box_size, config.pixel_size), config.pixel_size
    if config.box_size is not None:
        raise ConfigurationError(
            f"--box {config.box_size}: a map has its own box; leave it out (it is for atomic models)."
        )
    volume, pixel_size = read_volume(config.source, config.pixel_size)
    if len(set(volume.shape)) > 1 or volume.shape[0] % 2:
        raise DataError(
            f"{config.source}: the map is {volume.shape[2]}×{volume.shape[1]}×{volume.shape[0]}; "
            "expected a cube with an even side. Clip or pad it."
        )
    _check_finite(config.source, volume)
    return volume, pixel_size
