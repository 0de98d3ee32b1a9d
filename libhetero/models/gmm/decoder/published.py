"""The Point Transformer decoder exactly as published, restructured to the same function for less work.

    h = relu(D z),  y⁰ = reshape(D h)
    q_i = D y_i,  k_i = D y_i,  v_i = D k_i,  δ_ij = D relu(D (x_i - x_j))
    a_i = Σ_j softmax_j( D relu(D relu(q_i - k_j + δ_ij)) ) ⊙ (v_j + δ_ij)
    y'_i = y_i + D D [y_i, a_i]
    y at the next level = U y',   change = ½ H [G y' of the last level, of the first, of the second]

D are dense layers with biases, each its own; H has none; U and G interpolate from the 8 nearest points
(`topology`); x is in units of the box. Dropout follows h, a and the first of the two last layers.

The same function from the same parameters, in less work: k and v are projected before neighbours are
gathered, v straight from y by the product of both kernels; δ is computed once and not for every
particle; the two last layers, with no activation between them, are one where no dropout parts them;
H comes before the interpolation to the Gaussians, and at the last level it joins the layer before;
the interpolations of all levels are one product; `vector_attention` holds what is left, two dense
layers on every pair of neighbours. FLOPs of both forms are in docs/benchmarks.md.

References
----------
Chen, Li & Liao, "Point transformer for protein structural heterogeneity analysis using CryoEM",
Figure 1 and its text, which fix the levels, the precomputed neighbours, the residual connections to
the Gaussians and the two-layer start. The paper leaves open, and the program it was made with
(e2gmm_refine_jax.py of EMAN2, December 2025) decides: the widths 128, 256, 512 and 3 (hidden layer of
δ); v from k; relu before both dense layers of the weights; the concatenation [y, a] with two layers
and no activation; the factor ½ and the start of H (normal, 1e-4); dropout 0.1 after h and 0.2 in the
levels (`GmmConfig.dropout` and half of it); no normalisation, which Point Transformer has; weights
exp(-50 d²) over distances d in units of the box. Ours alone: every level is chosen by k-means on all
Gaussians, as the paper says, where the program clusters the points of the finer level, and
points are distinct; H reads the levels from coarse to fine; a bias before the softmax, which cannot
change anything, is absent; `normalise` adds a layer normalisation before q and k for comparisons.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.neighbours import Neighbourhood
from libhetero.models.gmm.decoder.point_transformer import (
    Affine,
    Kernel,
    encode_offsets,
    first_features,
    interpolate,
    to_gaussians,
)
from libhetero.models.gmm.decoder.topology import Level
from libhetero.models.gmm.decoder.vector_attention import Linear, vector_attention
from libhetero.models.precision import matrix_product
from libhetero.physics.rotations import HIGHEST

OFFSET_WIDTH = 3


class PublishedLevel(nn.Module):
    """One level: attention, the residual connection, and the level's part of H."""

    config: GmmConfig

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "points batch channels"],
        level: Level,
        head: Float[Array, "channels outputs"],
        last: bool,
        training: bool,
    ) -> tuple[Array, Array | None]:
        """Return y' H and y' (None at the last level, where nothing reads it)."""
        config, precision = self.config, self.config.precision
        width, channels = config.attention_channels, config.channels
        attended = self._attend(features, level)
        mix = Affine(channels + width, width, name="mix")()
        out = Affine(width, channels, name="out")()
        inputs: tuple[Array, ...] = (features, nn.Dropout(config.dropout)(attended, deterministic=not training))
        if training and config.dropout > 0:
            inner = nn.Dropout(config.dropout)(_apply(inputs, mix, precision), deterministic=False)
            inputs, final = (inner,), out
        else:
            final = _compose(mix, out)
        if last:
            final = _compose(final, (head, jnp.zeros(head.shape[-1])))
            return matrix_product(features, head, precision) + _apply(inputs, final, precision), None
        features = features + _apply(inputs, final, precision)
        return matrix_product(features, head, precision), features

    def _attend(self, features: Float[Array, "points batch channels"], level: Level) -> Array:
        """Return a of the module's equations."""
        config = self.config
        width = config.attention_channels
        inputs = nn.LayerNorm(name="norm")(features) if config.normalise else features
        query = Affine(config.channels, width, name="query")()
        key = Affine(config.channels, width, name="key")()
        value = _compose(key, Affine(width, width, name="value")())
        kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(query, key, value, strict=True))
        first, hidden_bias = Affine(width, width, name="weight_hidden")()
        second = Kernel(width, width, name="weight")()
        return vector_attention(
            inputs,
            encode_offsets(level, OFFSET_WIDTH, width, config.precision),
            (first, hidden_bias, second),
            Neighbourhood.of(level),
            config.precision,
            projection=(kernel, bias),
        )


class PublishedDecoder(nn.Module):
    """latent (batch, L) → (batch, N, outputs)."""

    config: GmmConfig
    outputs: int
    reads_levels: ClassVar[bool] = True

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], levels: tuple[Level, ...], training: bool = False
    ) -> Float[Array, "batch gaussians outputs"]:
        """Return the raw changes; dropout takes the random key "dropout" in training."""
        config = self.config
        features = first_features(latent, levels, config, 0.5 * config.dropout, training)
        head = Kernel(len(levels) * config.channels, self.outputs, scale=1e-4, name="change")()
        heads = jnp.split(head, len(levels))
        changes = []
        for number, (level, own) in enumerate(zip(levels, heads, strict=True)):
            last = number + 1 == len(levels)
            layer = PublishedLevel(config, name=f"level_{number}")
            change, after = layer(features, level, own, last, training)
            changes.append(change)
            if after is not None:
                features = interpolate(level.to_next, after)
        return 0.5 * to_gaussians(levels, changes)


def _apply(inputs: tuple[Array, ...], linear: Linear, precision: str) -> Array:
    """Return [inputs] W + b; a concatenation of inputs is a sum of products."""
    kernel, bias = linear
    made, start = bias, 0
    for part in inputs:
        width = part.shape[-1]
        made = made + matrix_product(part, kernel[start : start + width], precision)
        start += width
    return made


def _compose(first: Linear, second: Linear) -> Linear:
    """Return the linear layer that does what two do in turn."""
    (kernel, bias), (outer, offset) = first, second
    return (jnp.matmul(kernel, outer, precision=HIGHEST), jnp.matmul(bias, outer, precision=HIGHEST) + offset)
