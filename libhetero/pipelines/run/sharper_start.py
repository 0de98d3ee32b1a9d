"""Starting Gaussians fitted anew where listed poses are off: to a map at the poses that the first search solves for.

A map of images at wrong poses is blurred, and so are the Gaussians that were fitted to it; training, which changes them
little, ends with what they lack. The first search learns how far poses are off, and solves for the pose of each image
beside the latent. Images of the sample at these poses make a map, and the Gaussians are fitted to it from where they
are. Of G so fitted and G as given, the one is taken that explains more of images that are not in the map, one particle
in `HELD`, at the same poses:

    explained = (Σ_i Σ_k w Re[m_i* x_i])² / Σ_i Σ_k w |m_i|²,     m_i = T_i P_i G

with x_i the transform of an image, w the weight of each Fourier pixel, T_i and P_i its CTF and projection; in the map
and in these sums each image counts by the probability that it is no junk. So Gaussians of an atomic model, or of a
better map than the sample's, stay. Where Gaussians move, no one map is right, and the
mixture is settled against the images (`models.gmm.motions`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.errors import UserError
from libhetero.models.family import MixtureFamily
from libhetero.models.gmm.start.fit import MapToFit, fit_mixture
from libhetero.models.gmm.start.map_support import molecule_mask, reliability
from libhetero.physics.fourier import dft_image, half_plane
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed, power
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.reconstruction.backproject import reconstruct
from libhetero.records import Batch, Gaussians, Observation, Pose
from libhetero.tilts import images_alone, taken
from libhetero.training.preprocess import fourier_crop

LOGGER = logging.getLogger(__name__)
TOGETHER = 64  # images, each at all poses of a symmetric complex
HELD = 4  # one particle in so many is not in the map
LARGEST_MAP = 128  # voxels: a sample does not tell finer detail
LEAST_BLUR = 0.1  # pixels d: less takes less than ½ (π d)², 5 %, off a map at Nyquist
LEAST_AMPLITUDE = 1e-3  # of the mean: the fit takes logarithms


def sharper_start(
    model: MixtureFamily, gaussians: Gaussians, sample: Batch, symmetry: str, box_size: int, pixel_size: float
) -> Gaussians | None:
    """Return Gaussians fitted to a map of the sample at solved poses; None where the given ones are to stay.

    Parameters
    ----------
    model : as the first search has left it.
    gaussians : that it began from, Å.
    sample : particles that it was searched on, with whole images.
    symmetry : point group of the complex.
    box_size, pixel_size : of the images, pixels and Å.
    """
    if model.blur < LEAST_BLUR * pixel_size:
        return None
    operators = symmetry_operators(symmetry)
    together = max(TOGETHER // (sample.views * len(operators)), 1)
    images, of_particle = _at_solved_poses(model, sample, together)
    held = of_particle % HELD == HELD - 1
    if not held.any():
        return None
    try:
        goal = _map_of(_rows(images, np.flatnonzero(~held)), operators, box_size, pixel_size)
        least = LEAST_AMPLITUDE * float(np.mean(np.abs(gaussians.amplitude)))
        start = replace(gaussians, amplitude=np.maximum(gaussians.amplitude, least))
        fitted = jax.tree.map(np.asarray, fit_mixture(goal, start).gaussians)
    except UserError as error:
        LOGGER.info("no map can be made of the sample at the poses solved for, and the given Gaussians stay: %s", error)
        return None
    judges, weight = _rows(images, np.flatnonzero(held)), np.asarray(model.ring_weight)
    (given, _), (found, scale) = (
        _explained(one, operators, judges, weight, box_size, pixel_size) for one in (gaussians, fitted)
    )
    LOGGER.info(
        "poses are off: Gaussians fitted to a map of the sample at the poses solved for explain %.3g times as much of "
        "images that are not in it%s",
        found / max(given, 1e-30),
        "" if found > given else ", and the given ones stay",
    )
    if not found > given:
        return None
    return replace(fitted, amplitude=(fitted.amplitude * (scale / model.image_scale)).astype(np.float32))


def _at_solved_poses(model: MixtureFamily, sample: Batch, together: int) -> tuple[Batch, Int[np.ndarray, "images"]]:
    """Return the images of a sample, each by itself, at the poses solved for, and the particle of each.

    Their weights are the probabilities that they are no junk. So many particles are worked on together.
    """
    views = sample.views
    count = len(sample.weight) // views
    params = model.init(jax.random.key(0))
    solve = jax.jit(model.solved_poses)
    rotation, shift, shown = (np.array(array) for array in (sample.pose.rotation, sample.pose.shift, sample.weight))
    for start in range(0, count, together):
        some = np.arange(start, start + together) % count  # the last ones are filled up, for one program
        pose, junk = solve(params, taken(sample, some))
        rows = slice(start * views, min(start + together, count) * views)
        for whole, part in zip((rotation, shift), (pose.rotation, pose.shift), strict=True):
            whole[rows] = np.asarray(part)[: len(whole[rows])]
        shown[rows] *= 1 - np.asarray(junk)[: len(shown[rows])]
    there = np.flatnonzero(np.asarray(sample.weight) > 0) if views > 1 else np.arange(count)
    images = images_alone(replace(sample, pose=Pose(rotation=rotation, shift=shift)))
    return replace(images, weight=shown[there].astype(np.float32)), there // views


def _map_of(images: Batch, operators: Float[np.ndarray, "copies 3 3"], box_size: int, pixel_size: float) -> MapToFit:
    """Return the map of some images, cropped to `LARGEST_MAP`.

    Raises
    ------
    DataError : if no molecule stands out of it.
    """
    n = min(box_size, LARGEST_MAP)
    coarse = pixel_size * box_size / n

    def cropped() -> Iterator[Batch]:
        for part in _parts(images):
            yield replace(part, images=fourier_crop(np.asarray(part.images), n))

    made = reconstruct(cropped(), n, coarse, operators=operators if len(operators) > 1 else None)
    inside = molecule_mask(made.volume, coarse)
    halves = (np.asarray(made.half_maps[0]), np.asarray(made.half_maps[1]))
    return MapToFit(made.volume, coarse, inside, reliability(made.volume, inside, halves), operators)


def _explained(
    gaussians: Gaussians,
    operators: Float[np.ndarray, "copies 3 3"],
    images: Batch,
    weight: Float[np.ndarray, "n half"],
    n: int,
    pixel_size: float,
) -> tuple[float, float]:
    """Return the module's equation, and the factor of the projections that fits best."""
    whole, frequencies = symmetric_copies(jax.tree.map(jnp.asarray, gaussians), operators), half_plane(n, pixel_size)

    def one(image: Array, observation: Observation, counted: Array) -> tuple[Array, Array]:
        made = observed(project_gaussians(whole, observation.pose, n, pixel_size), observation, frequencies)
        along = jnp.real(jnp.conj(made) * dft_image(image))
        return counted * jnp.sum(weight * along), counted * jnp.sum(weight * power(made))

    together = jax.jit(lambda part: jax.lax.map(lambda each: one(*each), part))
    cross = square = 0.0
    for part in _parts(images):
        sums = together((part.images, part.observation, part.weight))
        cross, square = cross + float(np.sum(sums[0])), square + float(np.sum(sums[1]))
    return max(cross, 0.0) ** 2 / max(square, 1e-30), cross / max(square, 1e-30)


def _rows(images: Batch, rows: Int[np.ndarray, "chosen"]) -> Batch:
    return jax.tree.map(lambda array: np.asarray(array)[rows], images)


def _parts(images: Batch) -> Iterator[Batch]:
    """Yield a few images at a time, always as many: those that fill up the last part have no weight."""
    count = len(images.weight)
    for start in range(0, count, TOGETHER):
        some = np.arange(start, start + TOGETHER)
        part = _rows(images, some % count)
        yield replace(part, weight=(part.weight * (some < count)).astype(np.float32))
