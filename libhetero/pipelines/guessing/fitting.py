"""Gaussians fitted to a map, as many as explain more of it and can change, and refined against particles."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import jax
import numpy as np

from libhetero.metrics.fsc import described_resolution
from libhetero.models.gmm.noise import mean_transfer_power
from libhetero.models.gmm.start.fit import (
    SEARCH_STEPS,
    WORTH,
    FittedMixture,
    MapToFit,
    compare,
    fit_mixture,
    grow_mixture,
    place_gaussians,
    sizes,
)
from libhetero.models.gmm.start.homogeneous import HomogeneousModel
from libhetero.models.gmm.start.independent_changes import by_images
from libhetero.models.gmm.start.map_support import signal_power
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetric_copies
from libhetero.pipelines.guess import GuessConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.particles import feed_of, load_particles
from libhetero.pipelines.run.preparation import SAMPLE, measured, of_finite_images
from libhetero.records import Pose
from libhetero.telling.progress import Progress
from libhetero.training.configuration import TrainingConfig
from libhetero.training.feed import ParticleFeed
from libhetero.training.loop import train
from libhetero.training.preprocess import sample_indices

LOGGER = logging.getLogger(__name__)
PARTICLE_TRAINING = TrainingConfig(batch_size=32, learning_rate=3e-3, ema_decay=0.99)
LEAST_EPOCHS, LEAST_STEPS = 2, 400


def fitted_to_map(config: GuessConfig, goal: MapToFit, advance: Callable[[float], None]) -> FittedMixture:
    """Return the mixture that explains the map best, telling every stage.

    Parameters
    ----------
    config : how many Gaussians, and how long they are fitted.
    goal : the map.
    advance : called with the fraction done.
    """
    if config.count is None:
        start = _grown(told_by_images(config, goal), config.seed).gaussians
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
    return fitted


def refined_to_particles(listed: str, config: GuessConfig, goal: MapToFit, fitted: FittedMixture) -> FittedMixture:
    """Return the mixture as it explains the particles best, all of them by the same one.

    Parameters
    ----------
    listed : the particle list.
    config : how.
    goal : the map, to say how well the mixture explains it still.
    fitted : to the map.
    """
    feed, model = _images(listed, config, goal, fitted)
    steps = -(-len(feed) // PARTICLE_TRAINING.batch_size)
    epochs = max(LEAST_EPOCHS, -(-LEAST_STEPS // steps))
    LOGGER.info("%s: %d particles, %d epochs of %d steps", listed, len(feed), epochs, steps)
    training = dataclasses.replace(PARTICLE_TRAINING, epochs=epochs, seed=config.seed)
    result = train(model, model.init(), feed, training)
    LOGGER.info(
        "misfit of the particles %.5f before and %.5f after (1: noise and what the start leaves)",
        float(result.losses[:steps].mean()),
        float(result.losses[-steps:].mean()),
    )
    refined = compare(goal, jax.device_get(model.mixture(jax.device_put(result.params))))
    LOGGER.info("against the particles: %s", _described(refined, goal))
    return refined


def _images(
    listed: str, config: GuessConfig, goal: MapToFit, fitted: FittedMixture
) -> tuple[ParticleFeed, HomogeneousModel]:
    """Return the particles of a list and the mixture at their scale, with their noise."""
    data = DataConfig(listed, tilts="apart")  # nothing differs between particles here
    particles = load_particles(data)
    whole = symmetric_copies(jax.tree.map(np.asarray, fitted.gaussians), goal.operators)
    box, stored = particles.uniform_box_size(), particles.uniform_pixel_size()

    def project(pose: Pose) -> jax.Array:
        return project_gaussians(whole, pose, box, stored)

    feed = measured(feed_of(particles, data), None, config.seed, project)
    sample = of_finite_images(feed.batch(sample_indices(len(feed), SAMPLE, config.seed)))
    finest = config.max_resolution or 0.0
    return feed, HomogeneousModel.from_data(
        fitted.gaussians, goal.operators, sample, feed.box_size, feed.pixel_size, finest
    )


def told_by_images(config: GuessConfig, goal: MapToFit) -> MapToFit:
    """Return the goal with what the particles' images tell, where there are images and no half-maps."""
    if config.particles is None or goal.information is None or goal.information.measured:
        return goal
    coarse = fit_mixture(goal, place_gaussians(goal, next(sizes(goal)), config.seed), SEARCH_STEPS)
    feed, model = _images(config.particles, config, goal, coarse)
    sample = of_finite_images(feed.batch(sample_indices(len(feed), SAMPLE, config.seed)))
    n, width = feed.box_size, feed.box_size * feed.pixel_size
    seen = mean_transfer_power(sample.observation, n, feed.pixel_size) * model.ring_weight[0, : n // 2]
    shells = (np.arange(len(goal.trust)) - 0.5) / goal.extent().box
    power = signal_power(goal.volume, goal.trust) * np.interp(shells, np.arange(n // 2) / width, seen, right=0.0)
    information = by_images(model.scale**2 * power, goal.extent(), len(feed), width)
    return dataclasses.replace(goal, information=information)


def _grown(goal: MapToFit, seed: int) -> FittedMixture:
    """Return the smallest mixture that explains as much as larger ones and as can change, telling every size."""
    tried = []

    def report(count: int, fitted: FittedMixture) -> None:
        tried.append(count)
        LOGGER.info(_described(fitted, goal))

    grown = grow_mixture(goal, seed, report)
    LOGGER.info(why_so_many(goal, len(grown.gaussians.sigma), tried[-1]))
    return grown


def why_so_many(goal: MapToFit, count: int, last: int) -> str:
    """Return why so many Gaussians are taken.

    Parameters
    ----------
    count : of Gaussians that are taken.
    last : tried.
    """
    found, changes = goal.information, goal.changes()
    if count < last:
        return f"{count} Gaussians are taken: {last} explain less than {100 * WORTH:.2g}% more of the map"
    if found is None or changes > count + 1:
        return f"{count} Gaussians are taken, the most there may be for this map"
    what = "as many" if changes >= count else str(int(changes))
    return (
        f"{count} Gaussians are taken: {found.particles:.0f} particles tell {what} independent changes, {found.source}"
    )


def _described(fitted: FittedMixture, goal: MapToFit) -> str:
    half, end = (described_resolution(fitted.fsc, level, goal.pixel_size) for level in (0.5, 0.143))
    return (
        f"{len(fitted.gaussians.sigma)} Gaussians explain {100 * fitted.explained:.1f}% of the map: "
        f"FSC 0.5 at {half}, 0.143 at {end}, correlation {fitted.correlation:.4f}"
    )
