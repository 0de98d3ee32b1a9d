"""Image encoder, hypernetwork and INR against their slow twins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.hypernetwork import HyperNetwork
from libhetero.models.hype.inr import inr_apply
from libhetero.models.hype.transformer import ImageEncoder, patches
from tests.models.tiny_models import BOX, HYPE, quick_jit, random_params
from tests.reference import inr as inr_twin
from tests.reference import transformer as twin

CONFIG = HypeConfig(**HYPE)


def as_numpy(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_patches_run_row_by_row():
    image = np.arange(64.0).reshape(8, 8)
    np.testing.assert_array_equal(patches(jnp.asarray(image), 4), twin.patches(image, 4))


@pytest.mark.parametrize("positions", [True, False])
def test_encoder_agrees_with_its_twin(positions):
    config = dataclasses.replace(CONFIG, positions=positions)
    image = np.random.default_rng(0).normal(size=(BOX, BOX)).astype(np.float32)
    encoder = ImageEncoder(config)
    params = random_params(lambda key: encoder.init(key, image)["params"])
    assert ("positions" in params) == positions
    found = quick_jit(lambda p, x: encoder.apply({"params": p}, x))(params, image)
    assert found.shape == (sum(config.layer_tokens()), config.dim)
    np.testing.assert_allclose(found, twin.encode(image, as_numpy(params), config), atol=2e-4)


@pytest.mark.parametrize("modulation", ["multiply", "residual"])
def test_hypernetwork_and_inr_agree_with_their_twins(modulation):
    config = dataclasses.replace(CONFIG, modulation=modulation, output="hartley", inr_width=7)
    random = np.random.default_rng(1)
    tokens = random.normal(size=(sum(config.layer_tokens()), config.dim)).astype(np.float32)
    network = HyperNetwork(config)
    params = random_params(lambda key: network.init(key, tokens)["params"])
    anchors = random.normal(0, 2, (config.inr_frequencies, 3)).astype(np.float32)
    points = random.uniform(-0.5, 0.5, (9, 3)).astype(np.float32)

    @quick_jit
    def both(params, tokens, points):
        weights = network.apply({"params": params}, tokens)
        return weights, inr_apply(weights, points, anchors)

    weights, values = both(params, tokens, points)
    expected = inr_twin.kernels(tokens.astype(float), as_numpy(params), config)
    for kernel, twin_kernel in zip(weights.kernels, expected, strict=True):
        np.testing.assert_allclose(kernel, twin_kernel, atol=2e-5)
        np.testing.assert_allclose(np.linalg.norm(kernel, axis=1), 1, atol=1e-5)
    biases = [np.asarray(bias, float) for bias in weights.biases]
    slow = [inr_twin.value(point, expected, biases, anchors) for point in points.astype(float)]
    np.testing.assert_allclose(values, slow, atol=1e-4)


def test_columns_share_tokens_modulo_their_number():
    """Of two columns with one token and one base, the weights are the same."""
    network = HyperNetwork(CONFIG)
    tokens = np.random.default_rng(2).normal(size=(sum(CONFIG.layer_tokens()), CONFIG.dim))
    params = random_params(lambda key: network.init(key, tokens)["params"])
    params["base_0"] = jnp.ones_like(params["base_0"])
    kernel = quick_jit(lambda p: network.apply({"params": p}, tokens))(params).kernels[0]
    np.testing.assert_allclose(kernel[3:], kernel[:-3], atol=1e-6)
    assert np.abs(kernel[1] - kernel[0]).max() > 1e-3
