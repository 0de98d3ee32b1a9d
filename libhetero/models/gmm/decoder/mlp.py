"""The MLP decoder: latent → three dense layers → one change per Gaussian, with no geometry.

References
----------
Chen & Ludtke, Nat. Methods 18 (2021) 930: the mirror image of the encoder.
"""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.topology import Level
from libhetero.models.precision import dot_general


class MlpDecoder(nn.Module):
    """latent (batch, L) → (batch, N, outputs)."""

    config: GmmConfig
    outputs: int
    count: int
    reads_levels: ClassVar[bool] = False

    @nn.compact
    def __call__(
        self, latent: Float[Array, "batch latent"], levels: tuple[Level, ...] = (), training: bool = False
    ) -> Float[Array, "batch gaussians outputs"]:
        """Return the raw changes, near zero at initialisation; levels are not used."""
        del levels
        product = dot_general(self.config.precision)
        hidden = latent
        for number in range(3):
            hidden = nn.relu(nn.Dense(self.config.mlp_width, dot_general=product, name=f"hidden_{number}")(hidden))
            hidden = nn.Dropout(self.config.dropout)(hidden, deterministic=not training)
        change = nn.Dense(
            self.count * self.outputs, kernel_init=nn.initializers.normal(1e-3), dot_general=product, name="change"
        )(hidden)
        return change.reshape(-1, self.count, self.outputs)
