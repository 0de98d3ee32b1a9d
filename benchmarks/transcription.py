"""The published equations written down plainly in JAX: what benchmarks/speed.py compares with.

Nothing is reordered. The decoder projects values after it has gathered the neighbours, encodes offsets
for every particle, interpolates all channels by gathering and weighting, and ends with one dense
layer on the joined levels. The projector takes complex exponentials of both axes over the whole plane.
Parameters are those of the library's `PublishedDecoder`, so that both can be held against each
other; shapes are (batch, points, neighbours, channels).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from libhetero.models.gmm.decoder.topology import Level
from libhetero.physics.rotations import rotate_points
from libhetero.records import Gaussians, Pose


def decode(
    params: dict[str, Any], latent: Float[Array, "batch latent"], levels: tuple[Level, ...]
) -> Float[Array, "batch gaussians outputs"]:
    """Return the raw changes as the published decoder computes them.

    Parameters
    ----------
    params : of the library's `PublishedDecoder`; `weight` may carry a bias.
    latent : one row a particle.
    levels : points, neighbours and interpolation of each level.
    """
    hidden = jax.nn.relu(_dense(latent, params["latent_hidden"]))
    features = _dense(hidden, params["points"]).reshape(len(latent), len(levels[0].points), -1)
    joined = []
    for number, level in enumerate(levels):
        own = params[f"level_{number}"]
        attended = _attend(features, level, own)
        both = jnp.concatenate([features, attended], axis=-1)
        features = features + _dense(_dense(both, own["mix"]), own["out"])
        joined.append(_interpolate(features, level.to_gaussians))
        if number + 1 < len(levels):
            features = _interpolate(features, level.to_next)
    return 0.5 * _dense(jnp.concatenate(joined, axis=-1), params["change"])


def _attend(features: Array, level: Level, params: dict[str, Any]) -> Array:
    query = _dense(features, params["query"])
    key = _dense(features, params["key"])[:, level.neighbours]
    offsets = jnp.zeros((len(features), 1, 1, 1)) + level.offsets
    encoding = _dense(jax.nn.relu(_dense(offsets, params["offset_hidden"])), params["offset"])
    relation = jax.nn.relu(query[:, :, None] - key + encoding)
    hidden = jax.nn.relu(_dense(relation, params["weight_hidden"]))
    weight = jax.nn.softmax(_dense(hidden, params["weight"]), axis=2)
    value = _dense(key, params["value"]) + encoding
    return jnp.sum(weight * value, axis=2)


def _dense(inputs: Array, params: dict[str, Array]) -> Array:
    return inputs @ params["kernel"] + params.get("bias", 0.0)


def _interpolate(features: Array, matrix: np.ndarray) -> Array:
    """Gather each target's sources and sum them with their weights."""
    count = int(np.max(np.sum(matrix > 0, axis=1)))
    nearest = np.argsort(-matrix, axis=1, kind="stable")[:, :count]
    weight = np.take_along_axis(matrix, nearest, axis=1)
    return jnp.sum(features[:, nearest] * weight[..., None], axis=2)


def project(gaussians: Gaussians, pose: Pose, n: int, pixel_size: float) -> Complex[Array, "n half"]:
    """Return the projection of one mixture as the published program computes it.

    Parameters
    ----------
    gaussians, pose, n, pixel_size : as in `libhetero.physics.gaussians.project_gaussians`.
    """
    placed = rotate_points(pose.rotation, gaussians.position)[:, :2] + pose.shift
    frequency_x = jnp.fft.rfftfreq(n, pixel_size).astype(jnp.float32)
    frequency_y = jnp.fft.fftfreq(n, pixel_size).astype(jnp.float32)
    table_x = _phases(placed[:, 0], frequency_x, gaussians.sigma)
    table_y = _phases(placed[:, 1], frequency_y, gaussians.sigma) * gaussians.amplitude[:, None]
    return jnp.matmul(table_y.T, table_x)


def _phases(position: Array, frequency: Array, sigma: Array) -> Array:
    """Return exp(-2πi s x) exp(-2π²σ²s²), one row a Gaussian."""
    width = jnp.exp(-2 * jnp.pi**2 * sigma[:, None] ** 2 * frequency**2)
    return jnp.exp(-2j * jnp.pi * position[:, None] * frequency) * width
