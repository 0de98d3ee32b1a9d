"""From a latent to the change of every Gaussian: the table of decoders.

Each is a Flax module of one calling protocol, `Decoder`. A new one is a module of this folder and a line of
`DECODERS`, which is also where the configuration's choices come from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    from libhetero.models.gmm.config import GmmConfig
    from libhetero.models.gmm.decoder.topology import Level


@runtime_checkable
class Decoder(Protocol):
    """latent (batch, L) → (batch, N, outputs), near zero at initialisation."""

    reads_levels: bool
    """Whether it needs the hierarchy of `topology`; otherwise that is empty."""

    def init(self, key: Any, latent: Float[Array, "batch latent"], levels: tuple[Level, ...]) -> dict[str, Any]:
        """Return fresh parameters under "params"."""

    def apply(
        self,
        variables: dict[str, Any],
        latent: Float[Array, "batch latent"],
        levels: tuple[Level, ...],
        training: bool = False,
        rngs: Any = None,
    ) -> Float[Array, "batch points outputs"]:
        """Return the raw changes; dropout takes the random key "dropout" in training."""


def _point_transformer(config: GmmConfig, outputs: int, count: int) -> Any:
    del count
    if config.architecture == "published":
        from libhetero.models.gmm.decoder.published import PublishedDecoder

        return PublishedDecoder(config, outputs)
    from libhetero.models.gmm.decoder.point_transformer import PointTransformerDecoder

    return PointTransformerDecoder(config, outputs)


def _mlp(config: GmmConfig, outputs: int, count: int) -> Any:
    from libhetero.models.gmm.decoder.mlp import MlpDecoder

    return MlpDecoder(config, outputs, count)


DECODERS: dict[str, Callable[[GmmConfig, int, int], Any]] = {"pointtransformer": _point_transformer, "mlp": _mlp}


def make_decoder(config: GmmConfig, outputs: int, count: int) -> Decoder:
    """Return the decoder of a configuration.

    Parameters
    ----------
    config : names it and gives its sizes.
    outputs : columns of a Gaussian's change.
    count : number of Gaussians.
    """
    return DECODERS[config.decoder](config, outputs, count)
