"""The Point Transformer decoder: latent → one change per Gaussian.

At each level every point attends to its neighbours with vector attention,

    y_i = Σ_j softmax_j( MLP_w(q_i - k_j + δ_ij) ) ⊙ (v_j + δ_ij),   δ_ij = MLP_δ(x_j - x_i),

and adds the result to its features. Features are interpolated to the next level, and the
outputs of all levels straight to the Gaussians, where they are joined (the residual layers).
δ depends on the model only: under `vmap` over particles it is computed once. Queries, keys and
values are projected before neighbours are gathered.

References
----------
Chen, Li & Liao, Figure 1; Zhao et al., Point Transformer, eq. 3. Deviations: layer normalisation
before each attention, attention weights shared over groups of channels, interpolation weights
scaled to the point spacing; `GmmConfig.preset("paper")` switches off the first two.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.neighbours import gather_neighbours
from libhetero.models.gmm.topology import Level
from libhetero.models.precision import dot_general
from libhetero.physics.rotations import HIGHEST


class PointAttention(nn.Module):
    """One attention layer over the neighbours of each point, with its residual connection."""

    config: GmmConfig

    @nn.compact
    def __call__(self, features: Float[Array, "points channels"], level: Level) -> Array:
        """Return new features of the same shape."""
        config = self.config
        width = config.attention_channels
        groups = config.attention_groups or width
        product = dot_general(config.precision)
        inputs = nn.LayerNorm(name="norm")(features) if config.normalise else features
        projected = nn.Dense(3 * width, dot_general=product, name="qkv")(inputs)
        query, key_value = projected[:, :width], projected[:, width:]
        gathered = gather_neighbours(key_value, level.neighbours, level.listed_by)
        key, value = gathered[..., :width], gathered[..., width:]
        encoding = self._encode(jnp.asarray(level.offsets), width)
        relation = query[:, None] - key + encoding
        hidden = nn.relu(nn.Dense(width, dot_general=product, name="weight_hidden")(relation)) \
            if config.attention_groups == 0 else nn.relu(relation)
        logits = nn.Dense(groups, use_bias=False, dot_general=product, name="weight")(hidden)
        weight = jax.nn.softmax(logits, axis=1)
        value = (value + encoding).reshape(*value.shape[:2], groups, width // groups)
        mixed = jnp.sum(weight[..., None] * value, axis=1).reshape(-1, width)
        return features + nn.Dense(config.channels, dot_general=product, name="out")(mixed)

    def _encode(self, offsets: Float[Array, "points neighbours 3"], width: int) -> Array:
        """Return δ_ij; the first layer reads coordinates, so it keeps full precision."""
        hidden = nn.relu(nn.Dense(width, precision=HIGHEST, name="offset_hidden")(offsets))
        return nn.Dense(width, dot_general=dot_general(self.config.precision), name="offset")(hidden)


class PointTransformerDecoder(nn.Module):
    """latent (L,) → (N, outputs), for one particle."""

    config: GmmConfig
    outputs: int

    @nn.compact
    def __call__(self, latent: Float[Array, "latent"], levels: tuple[Level, ...]) -> Array:
        """Return the raw changes, near zero at initialisation."""
        config = self.config
        product = dot_general(config.precision)
        hidden = nn.relu(nn.Dense(128, dot_general=product, name="latent_hidden")(latent))
        first = len(levels[0].points)
        features = nn.Dense(first * config.channels, dot_general=product, name="points")(hidden)
        features = features.reshape(first, config.channels)
        joined = []
        for number, level in enumerate(levels):
            features = PointAttention(config, name=f"attention_{number}")(features, level)
            joined.append(jnp.asarray(level.to_gaussians) @ features)
            if number + 1 < len(levels):
                features = jnp.asarray(level.to_next) @ features
                features = nn.relu(nn.Dense(config.channels, dot_general=product, name=f"up_{number}")(features))
        return nn.Dense(
            self.outputs, kernel_init=nn.initializers.normal(1e-3), dot_general=product, name="change"
        )(jnp.concatenate(joined, axis=-1))
