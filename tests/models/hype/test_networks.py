"""Image encoder, hypernetwork and INR against their slow twins."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.encoders import image_encoder
from libhetero.models.hype.hypernetwork import HyperNetwork
from libhetero.models.hype.inr import inr_apply
from libhetero.models.hype.seen import MONOMIALS
from libhetero.models.hype.transformer import TransformerEncoder, patches
from tests.making.images import BOX
from tests.making.models import HYPE, random_params
from tests.reference import inr as inr_twin
from tests.reference import transformer as twin

CONFIG = HypeConfig(**HYPE)


def as_numpy(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_patches_run_row_by_row():
    image = np.arange(64.0).reshape(8, 8)
    np.testing.assert_array_equal(patches(jnp.asarray(image), 4), twin.patches(image, 4))
    grid = np.arange(216.0).reshape(6, 6, 6)
    np.testing.assert_array_equal(patches(jnp.asarray(grid), 3), twin.grid_patches(grid, 3))


@pytest.mark.parametrize(("positions", "view", "lift"), [(True, False, 0), (False, True, 0), (True, True, 8)])
def test_encoder_agrees_with_its_twin(positions, view, lift):
    patch = 4 if lift else CONFIG.patch
    config = dataclasses.replace(CONFIG, positions=positions, view=view, lift=lift, patch=patch)
    random = np.random.default_rng(0)
    image = random.normal(size=config.seen_shape(BOX)).astype(np.float32)
    direction = random.normal(size=len(MONOMIALS)).astype(np.float32)
    encoder = TransformerEncoder(config)
    params = random_params(lambda key: encoder.init(key, jnp.asarray(image), jnp.asarray(direction))["params"])
    assert ("positions" in params) == positions and ("view" in params) == view
    found = jax.jit(lambda p, *seen: encoder.apply({"params": p}, *seen))(params, image, direction)
    assert found.shape == (sum(config.layer_tokens()), config.dim)
    expected = twin.encode(image, direction, as_numpy(params), config)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("modulation", ["multiply", "residual"])
def test_hypernetwork_and_inr_agree_with_their_twins(modulation):
    config = dataclasses.replace(CONFIG, modulation=modulation, output="hartley", inr_width=7)
    random = np.random.default_rng(1)
    tokens = random.normal(size=(sum(config.layer_tokens()), config.dim)).astype(np.float32)
    network = HyperNetwork(config)
    params = random_params(lambda key: network.init(key, jnp.asarray(tokens))["params"])
    anchors = random.normal(0, 2, (config.inr_frequencies, 3)).astype(np.float32)
    points = random.uniform(-0.5, 0.5, (9, 3)).astype(np.float32)

    @jax.jit
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
    params = random_params(lambda key: network.init(key, jnp.asarray(tokens))["params"])
    params["base_0"] = jnp.ones_like(params["base_0"])
    kernel = jax.jit(lambda p: network.apply({"params": p}, jnp.asarray(tokens)))(params).kernels[0]
    np.testing.assert_allclose(kernel[3:], kernel[:-3], atol=1e-6)
    assert np.abs(kernel[1] - kernel[0]).max() > 1e-3


@pytest.mark.parametrize("encoder", ["mlp", "unet"])
def test_encoders_to_compare_with_make_the_same_tokens(encoder):
    """As many tokens; they depend on every quarter of the image and on the view."""
    config = dataclasses.replace(CONFIG, encoder=encoder, encoder_width=8)
    network = image_encoder(config)
    random = np.random.default_rng(3)
    image = random.normal(size=(BOX, BOX)).astype(np.float32)
    view = random.normal(size=len(MONOMIALS)).astype(np.float32)
    params = random_params(lambda key: network.init(key, jnp.asarray(image), jnp.asarray(view))["params"])
    encode = jax.jit(lambda *seen: network.apply({"params": params}, *seen))
    tokens = np.asarray(encode(image, view))
    assert tokens.shape == (sum(config.layer_tokens()), config.dim)
    assert np.abs(np.asarray(encode(image, -view)) - tokens).max() > 1e-4
    half = BOX // 2
    for rows in (slice(0, half), slice(half, None)):
        for columns in (slice(0, half), slice(half, None)):
            changed = image.copy()
            changed[rows, columns] *= -1
            assert np.abs(np.asarray(encode(changed, view)) - tokens).max() > 1e-4


def test_concatenation_is_an_input_more():
    """W_1 [features, token]: the values are those of a shared INR whose first layer reads both."""
    config = dataclasses.replace(CONFIG, conditioning="concat", output="hartley")
    assert config.layer_tokens() == (1,)
    random = np.random.default_rng(4)
    tokens = random.normal(size=(1, config.dim)).astype(np.float32)
    network = HyperNetwork(config)
    params = random_params(lambda key: network.init(key, jnp.asarray(tokens))["params"])
    anchors = random.normal(0, 2, (config.inr_frequencies, 3)).astype(np.float32)
    points = random.uniform(-0.5, 0.5, (5, 3)).astype(np.float32)
    weights = jax.jit(lambda t: network.apply({"params": params}, t))(tokens)
    found = inr_apply(weights, points, anchors)

    numbers = as_numpy(params)
    layers = range(len(config.layer_sizes()))
    kernels = [numbers[f"base_{layer}"] for layer in layers]
    biases = [numbers[f"bias_{layer}"] for layer in layers]
    joined = np.concatenate([kernels[0], numbers["head"]["kernel"].T], axis=1)
    turns = 2 * np.pi * points.astype(float) @ anchors.T.astype(float)
    for point, expected in zip(np.concatenate([np.sin(turns), np.cos(turns)], axis=1), found, strict=True):
        hidden = joined @ np.concatenate([point, tokens[0]]) + biases[0] + numbers["head"]["bias"]
        hidden = np.maximum(hidden, 0)
        for kernel, bias in zip(kernels[1:-1], biases[1:-1], strict=True):
            hidden = np.maximum(kernel @ hidden + bias + hidden, 0)
        np.testing.assert_allclose(expected, kernels[-1] @ hidden + biases[-1], atol=1e-4)
