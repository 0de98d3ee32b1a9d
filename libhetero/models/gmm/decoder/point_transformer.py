"""The Point Transformer decoder: latent → one change per Gaussian.

At each level every point attends to its neighbours with vector attention,

    y_i = Σ_j softmax_j( W_s(q_i - k_j + δ_ij) ) ⊙ (v_j + δ_ij),   δ_ij = MLP_δ(x_j - x_i),

and adds the result to its features. Features are interpolated to the next level, and the
outputs of all levels straight to the Gaussians, where they are joined (the residual layers).

What is computed once is not computed often: δ depends on the model only, and not on the particle;
queries, keys and values are projected before neighbours are gathered; dense layers come before an
interpolation to more points, which they commute with because its weights sum to 1; all levels
reach the Gaussians in one product. Features are laid out (points, batch, channels).

References
----------
Chen, Li & Liao, Figure 1; Zhao et al., Point Transformer, eq. 3. Deviations: layer normalisation
before each attention, attention weights shared over groups of channels, interpolation weights
scaled to the point spacing, a dense layer at each transition. `libhetero.models.gmm.decoder.published`
has the decoder as published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.grouped_attention import grouped_attention
from libhetero.models.gmm.decoder.neighbours import Neighbourhood
from libhetero.models.gmm.decoder.topology import Level
from libhetero.models.gmm.decoder.vector_attention import Linear, vector_attention
from libhetero.models.precision import dot_general, matrix_product
from libhetero.physics.rotations import HIGHEST


class PointAttention(nn.Module):
    """One attention layer over the neighbours of each point, with its residual connection."""

    config: GmmConfig

    @nn.compact
    def __call__(self, features: Float[Array, "points batch channels"], level: Level, training: bool = False) -> Array:
        """Return new features of the same shape; dropout takes the random key "dropout"."""
        config = self.config
        width = config.attention_channels
        groups = config.attention_groups or width
        precision, product = config.precision, dot_general(config.precision)
        inputs = nn.LayerNorm(name="norm")(features) if config.normalise else features
        projected = nn.Dense(3 * width, dot_general=product, name="qkv")(inputs)
        encoding = encode_offsets(level, width, width, precision)
        kernel = Kernel(width, groups, name="weight")()
        neighbourhood = Neighbourhood.of(level)
        if config.attention_groups == 0:
            first, bias = Affine(width, width, name="weight_hidden")()
            mixed = vector_attention(projected, encoding, (first, bias, kernel), neighbourhood, precision)
        else:
            query, key, value = jnp.split(projected, 3, axis=-1)
            mixed = grouped_attention(query, key, value, encoding, kernel, neighbourhood, precision)
        mixed = nn.Dropout(config.dropout)(mixed, deterministic=not training)
        return features + nn.Dense(config.channels, dot_general=product, name="out")(mixed)


def encode_offsets(
    level: Level, hidden_width: int, width: int, precision: str
) -> Float[Array, "neighbours points channels"]:
    """Return δ_ij; the first layer reads coordinates, so it keeps full precision.

    Called inside a module, which owns the layers `offset_hidden` and `offset`.
    """
    offsets = jnp.asarray(np.swapaxes(level.offsets, 0, 1))
    hidden = nn.relu(nn.Dense(hidden_width, precision=HIGHEST, name="offset_hidden")(offsets))
    return nn.Dense(width, dot_general=dot_general(precision), name="offset")(hidden)


class Kernel(nn.Module):
    """The kernel of a dense layer without bias that is applied elsewhere; `scale` is the kernel's at the start."""

    inputs: int
    outputs: int
    scale: float | None = None

    @nn.compact
    def __call__(self) -> Float[Array, "inputs outputs"]:
        """Return the kernel."""
        return self.param("kernel", _start(self.scale), (self.inputs, self.outputs))


class Affine(nn.Module):
    """The parameters of a dense layer that is applied elsewhere; `scale` is the kernel's at the start."""

    inputs: int
    outputs: int
    scale: float | None = None

    @nn.compact
    def __call__(self) -> Linear:
        """Return kernel and bias."""
        kernel = self.param("kernel", _start(self.scale), (self.inputs, self.outputs))
        return kernel, self.param("bias", nn.initializers.zeros, (self.outputs,))


def _start(scale: float | None) -> Callable[..., Array]:
    return nn.initializers.lecun_normal() if scale is None else nn.initializers.normal(scale)


class PointTransformerDecoder(nn.Module):
    """latent (batch, L) → (batch, N, outputs)."""

    config: GmmConfig
    outputs: int
    reads_levels: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], levels: tuple[Level, ...], training: bool = False
    ) -> Float[Array, "batch gaussians outputs"]:
        """Return the raw changes, near zero at initialisation."""
        config = self.config
        product = dot_general(config.precision)
        features = first_features(latent, levels, config)
        kernel, bias = Affine(len(levels) * config.channels, self.outputs, scale=1e-3, name="change")()
        changes = []
        for number, level in enumerate(levels):
            features = PointAttention(config, name=f"attention_{number}")(features, level, training)
            own = kernel[number * config.channels : (number + 1) * config.channels]
            changes.append(matrix_product(features, own, config.precision))
            if number + 1 < len(levels):
                features = nn.Dense(config.channels, dot_general=product, name=f"up_{number}")(features)
                features = nn.relu(interpolate(level.to_next, features))
        return to_gaussians(levels, changes) + bias


def first_features(
    latent: Float[Array, "batch latent"],
    levels: tuple[Level, ...],
    config: GmmConfig,
    dropout: float = 0.0,
    training: bool = False,
) -> Float[Array, "points batch channels"]:
    """Return the features of the coarsest level's points.

    Called inside a module, which owns the layers `latent_hidden` and `points`; `dropout` between them.
    """
    product = dot_general(config.precision)
    hidden = nn.relu(nn.Dense(128, dot_general=product, name="latent_hidden")(latent))
    hidden = nn.Dropout(dropout)(hidden, deterministic=not training)
    first = len(levels[0].points)
    features = nn.Dense(first * config.channels, dot_general=product, name="points")(hidden)
    return features.reshape(-1, first, config.channels).swapaxes(0, 1)


def to_gaussians(
    levels: tuple[Level, ...], changes: list[Float[Array, "_ batch outputs"]]
) -> Float[Array, "batch gaussians outputs"]:
    """Return the sum over levels of each level's changes, interpolated to the Gaussians."""
    matrix = np.concatenate([level.to_gaussians for level in levels], axis=1)
    return interpolate(matrix, jnp.concatenate(changes)).swapaxes(0, 1)


def interpolate(
    matrix: Float[np.ndarray, "targets points"], features: Float[Array, "points batch channels"]
) -> Float[Array, "targets batch channels"]:
    """Return the features at other points, in one product."""
    flat = features.reshape(len(features), -1)
    made = jnp.matmul(jnp.asarray(matrix), flat, precision=HIGHEST)
    return made.reshape(-1, *features.shape[1:])
