"""From weight tokens to the weights of an INR.

Layer l has base weights Θ_l (fan_out, fan_in), biases b_l, and one head (layer norm, then linear)
shared by its tokens. Column j reads token j mod T:

    W_j = normalise( Θ_j ⊙ head(token_{j mod T}) )          "multiply", the published form
    W_j = normalise( Θ_j ⊙ (1 + head(token_{j mod T})) )    "residual", starts at the base network

with normalise to unit length over fan_in. Biases are not modulated.

To compare it with, conditioning by concatenation: W_1 [features, token] = Θ_1 features + H token, the
same Θ for all images; that is a bias of the first layer for every image.

References
----------
CryoHype, eq. 2; cryoDRGN (Zhong et al. 2021) for the concatenation.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.inr import INRWeights
from libhetero.models.precision import dot_general


class HyperNetwork(nn.Module):
    """tokens (T, dim) → `INRWeights`, for one particle."""

    config: HypeConfig

    @nn.compact
    def __call__(self, tokens: Float[Array, "tokens dim"]) -> INRWeights:
        """Return the weights of this particle's INR."""
        config, kernels, biases = self.config, [], []
        for number, (fan_in, fan_out) in enumerate(config.layer_sizes()):
            start = nn.initializers.normal(fan_in**-0.5)
            kernels.append(self.param(f"base_{number}", start, (fan_out, fan_in)))
            biases.append(self.param(f"bias_{number}", nn.initializers.zeros, (fan_out,)))
        if config.conditioning == "concat":
            head = nn.Dense(len(biases[0]), dot_general=dot_general(config.precision), name="head")
            biases[0] = biases[0] + head(tokens[0])
        else:
            own = jnp.split(tokens, np.cumsum(config.layer_tokens())[:-1])
            kernels = [self._modulated(*layer) for layer in zip(range(len(own)), kernels, own, strict=True)]
        return INRWeights(tuple(kernels), tuple(biases))

    def _modulated(self, number: int, base: Array, tokens: Array) -> Array:
        """Return the weights of one layer, from its base weights and its tokens."""
        config = self.config
        fan_out, fan_in = base.shape
        normed = nn.LayerNorm(name=f"norm_{number}")(tokens)
        residual = config.modulation == "residual"
        start = nn.initializers.normal(0.02) if residual else nn.initializers.lecun_normal()
        head = nn.Dense(fan_in, kernel_init=start, dot_general=dot_general(config.precision), name=f"head_{number}")(
            normed
        )
        factor = 1 + head if residual else head
        repeats = -(-fan_out // len(tokens))
        weights = base * jnp.tile(factor, (repeats, 1))[:fan_out]
        return weights * jax.lax.rsqrt(jnp.sum(weights**2, axis=-1, keepdims=True) + 1e-12)
