"""The published decoder against its slow twin."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.published import PublishedDecoder
from libhetero.models.gmm.decoder.topology import build_topology
from tests.making.mixtures import mixture
from tests.making.models import random_params
from tests.reference import published_decoder as twin

WIDTH = 64.0  # Å
CONFIG = dataclasses.replace(
    GmmConfig.preset("paper"), points=(5, 9, 14), neighbours=4, channels=6, attention_channels=8, interpolation=3
)


def decoder_and_params(config, position, outputs=5, batch=2):
    levels = build_topology(position, config, WIDTH)
    decoder = PublishedDecoder(config, outputs)
    latent = np.random.default_rng(3).normal(size=(batch, config.latent_size)).astype(np.float32)
    params = random_params(lambda key: decoder.init(key, jnp.asarray(latent), levels)["params"])
    return decoder, params, latent, levels


@pytest.mark.parametrize("sizes", [{}, {"neighbours": 16, "points": (3, 18)}, {"points": (7,)}])
def test_agrees_with_its_twin(sizes):
    """The second takes all points of the first level as neighbours of each other."""
    config = dataclasses.replace(CONFIG, **sizes)
    position = mixture(count=20).position
    decoder, params, latent, levels = decoder_and_params(config, position)
    found = jax.jit(lambda p, z: decoder.apply({"params": p}, z, levels))(params, latent)
    slow = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    clouds = [np.asarray(level.points, np.float64) for level in levels]
    for change, z in zip(found, latent.astype(float), strict=True):
        expected = twin.decode(z, clouds, position.astype(float), slow, WIDTH, config.neighbours, config.interpolation)
        np.testing.assert_allclose(change, expected, atol=1e-5 * np.abs(expected).max())


def test_a_bias_before_the_softmax_would_change_nothing():
    position = mixture(count=20).position.astype(float)
    _, params, latent, levels = decoder_and_params(CONFIG, position)
    slow = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    clouds = [np.asarray(level.points, np.float64) for level in levels]
    without = twin.decode(latent[0], clouds, position, slow, WIDTH, 4, 3)
    for number in range(3):
        slow[f"level_{number}"]["weight"]["bias"] = np.arange(8.0)
    np.testing.assert_allclose(twin.decode(latent[0], clouds, position, slow, WIDTH, 4, 3), without, atol=1e-12)


def test_the_two_forms_of_the_last_layers_agree():
    """Dropout forbids joining them: with a rate near 0 it takes the form that keeps them apart."""
    decoder, params, latent, levels = decoder_and_params(CONFIG, mixture().position)
    barely = PublishedDecoder(dataclasses.replace(CONFIG, dropout=1e-30), 5)

    @jax.jit
    def both(params, latent):
        apart = barely.apply({"params": params}, latent, levels, training=True, rngs={"dropout": jax.random.key(0)})
        return decoder.apply({"params": params}, latent, levels), apart

    joined, apart = both(params, latent)
    np.testing.assert_allclose(joined, apart, atol=1e-5 * float(jnp.abs(joined).max()))


def test_dropout_only_in_training_and_by_key():
    decoder, params, latent, levels = decoder_and_params(CONFIG, mixture().position)

    @jax.jit
    def dropped(key):
        return decoder.apply({"params": params}, jnp.asarray(latent), levels, training=True, rngs={"dropout": key})

    first, again, other = (np.asarray(dropped(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01 * np.abs(first).max()


def test_published_sizes():
    """64, 256 and 1024 points, 16 neighbours, 512 and 256 channels: shapes and number of parameters."""
    position = mixture(count=1100).position
    config = GmmConfig.preset("paper")
    levels = build_topology(position, config, WIDTH)
    decoder = PublishedDecoder(config, 5)
    latent = jnp.zeros((1, 3))
    shapes = jax.eval_shape(lambda key: decoder.init(key, latent, levels)["params"], jax.random.key(0))
    assert [level.neighbours.shape for level in levels] == [(64, 16), (256, 16), (1024, 16)]
    assert shapes["points"]["kernel"].shape == (128, 64 * 256)
    assert shapes["level_2"]["weight_hidden"]["kernel"].shape == (512, 512)
    assert shapes["level_2"]["offset_hidden"]["kernel"].shape == (3, 3)
    assert shapes["change"]["kernel"].shape == (768, 5)
    level = (2 * (256 + 1) + 2 * (512 + 1)) * 512 + 512 * 512 + 3 * 4 + 4 * 512  # q k v w w δ
    level += (768 + 1) * 512 + (512 + 1) * 256
    expected = 4 * 128 + 129 * 64 * 256 + 3 * level + 768 * 5
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected
