"""Encoders to compare the transformer with: a multilayer perceptron and a U-Net.

Both end in as many weight tokens as the transformer's, so that all else stays as it is. Neither is
told the direction of view and the place among the classes otherwise than the transformer is.

    mlp    tokens = reshape(D relu(D relu(D [pixels, view])))
    unet   four halvings and doublings of two 3 × 3 convolutions each, skips between; the map of
           the last is averaged over patches, and D over patches then D over channels give the tokens

D are dense layers with biases, each its own.

References
----------
CryoHype, Table 4, whose text leaves the sizes open; Sitzmann et al., Light field networks (the MLP);
Ronneberger et al. (2015) and Buda et al. (2019), widths 32, 64, 128, 256 (the U-Net).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from libhetero.models.hype.config import GROUPS, HypeConfig
from libhetero.models.hype.transformer import TransformerEncoder, patches
from libhetero.models.precision import dot_general

MLP_WIDTH, UNET_WIDTH = 1024, 32
DOWN = 4  # halvings of the U-Net


class MlpEncoder(nn.Module):
    """image (n, n) or grid (n, n, n) → weight tokens (tokens, dim), for one particle."""

    config: HypeConfig

    @nn.compact
    def __call__(
        self, image: Float[Array, "*n"], view: Float[Array, "monomials"], told: Float[Array, "told"] | None = None
    ) -> Float[Array, "tokens dim"]:
        """Return the weight tokens."""
        config, product = self.config, dot_general(self.config.precision)
        hidden = image.reshape(-1)
        if config.view:
            hidden = jnp.concatenate([hidden, view])
        if told is not None:
            hidden = jnp.concatenate([hidden, told])
        width = config.encoder_width or MLP_WIDTH
        for number in range(2):
            hidden = nn.Dense(width, dot_general=product, name=f"hidden_{number}")(hidden)
            hidden = nn.relu(hidden)
        tokens = sum(config.layer_tokens())
        return nn.Dense(tokens * config.dim, dot_general=product, name="tokens")(hidden).reshape(tokens, -1)


class UNetEncoder(nn.Module):
    """image (n, n) → weight tokens (tokens, dim), for one particle; n at least 16."""

    config: HypeConfig

    @nn.compact
    def __call__(
        self, image: Float[Array, "n n"], view: Float[Array, "monomials"], told: Float[Array, "told"] | None = None
    ) -> Float[Array, "tokens dim"]:
        """Return the weight tokens."""
        config, product = self.config, dot_general(self.config.precision)
        width = config.encoder_width or UNET_WIDTH
        hidden, skips = image[..., None], []
        for level in range(DOWN):
            hidden = self._twice(hidden, width << level, f"down_{level}")
            skips.append(hidden)
            hidden = nn.max_pool(hidden, (2, 2), (2, 2))
        hidden = self._twice(hidden, width << DOWN, "middle")
        for level in reversed(range(DOWN)):
            size = skips[level].shape[:2]
            hidden = jax.image.resize(hidden, (*size, hidden.shape[-1]), "nearest")
            hidden = jnp.concatenate([hidden, skips[level]], axis=-1)
            hidden = self._twice(hidden, width << level, f"up_{level}")
        maps = jax.vmap(lambda one: patches(one, config.patch).mean(axis=-1), -1, -1)(hidden)
        maps = maps.reshape(maps.shape[0], -1)
        tokens = nn.Dense(sum(config.layer_tokens()), dot_general=product, name="patches")(maps.T).T
        tokens = nn.Dense(config.dim, dot_general=product, name="channels")(tokens)
        if told is not None:
            tokens = tokens + nn.Dense(config.dim, name="told")(told)
        return tokens + nn.Dense(config.dim, name="view")(view) if config.view else tokens

    def _twice(self, hidden: Array, width: int, name: str) -> Array:
        for number in range(2):
            hidden = nn.Conv(width, (3, 3), name=f"{name}_{number}")(hidden)
            hidden = nn.relu(nn.GroupNorm(num_groups=GROUPS, name=f"{name}_norm_{number}")(hidden))
        return hidden


ENCODERS = {"transformer": TransformerEncoder, "mlp": MlpEncoder, "unet": UNetEncoder}


def image_encoder(config: HypeConfig) -> nn.Module:
    """Return the encoder that the configuration names."""
    return ENCODERS[config.encoder](config)
