"""What every decoder of the table promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder import DECODERS, make_decoder
from libhetero.models.gmm.decoder.topology import build_topology
from tests.making.mixtures import mixture
from tests.making.models import GMM, random_params

PUBLISHED = {"architecture": "published", "attention_groups": 0}
CASES = [*((name, {}) for name in DECODERS), ("pointtransformer", PUBLISHED)]


@pytest.mark.parametrize("name, options", CASES)
def test_a_decoder_makes_a_change_of_every_gaussian(name: str, options: dict) -> None:
    config = GmmConfig(**GMM | options, decoder=name)
    decoder = make_decoder(config, 4, 20)
    levels = build_topology(mixture().position, config, 64.0) if decoder.reads_levels else ()
    latent = jnp.asarray([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
    start = jax.jit(lambda key: decoder.init(key, latent, levels))(jax.random.key(0))
    apply = jax.jit(lambda variables: decoder.apply(variables, latent, levels))
    first = np.asarray(apply(start))
    assert first.shape == (2, 20, 4)
    assert np.abs(first).max() < 0.1, "near zero at initialisation"
    later = np.asarray(apply({"params": random_params(lambda key: decoder.init(key, latent, levels)["params"])}))
    assert np.abs(later[0] - later[1]).max() > 1e-2, "the latent has a say"


def test_the_configuration_knows_the_decoders_of_the_table() -> None:
    with pytest.raises(ConfigurationError, match=" or ".join(DECODERS)):
        GmmConfig(decoder="nothing")
