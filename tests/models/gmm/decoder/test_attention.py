"""Gathering neighbours and attending to them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder import vector_attention
from libhetero.models.gmm.decoder.neighbours import Neighbourhood
from libhetero.models.gmm.decoder.point_transformer import PointAttention
from libhetero.models.gmm.decoder.topology import build_topology
from tests.making.mixtures import mixture
from tests.making.models import GMM, random_params
from tests.reference.point_attention import point_attention

CONFIG = dataclasses.replace(GmmConfig(**GMM), points=(9,))
BATCH = 3


@pytest.fixture(scope="module")
def level():
    return build_topology(mixture().position, CONFIG, 64.0)[0]


def test_transpose_of_gathering_is_that_of_plain_indexing(level):
    random = np.random.default_rng(0)
    features = jnp.asarray(random.normal(size=(9, BATCH, 3)), jnp.float32)
    cotangent = jnp.asarray(random.normal(size=(4, 9, BATCH, 3)), jnp.float32)
    neighbourhood = Neighbourhood.of(level)
    plain, transpose = jax.vjp(lambda rows: rows[level.neighbours.T], features)
    np.testing.assert_array_equal(neighbourhood.gather(features), plain)
    np.testing.assert_allclose(neighbourhood.transpose(cotangent), transpose(cotangent)[0], atol=1e-5)


@pytest.mark.parametrize(("groups", "normalise"), [(2, True), (8, False), (0, False), (0, True)])
def test_attention_agrees_with_its_twin(level, groups, normalise):
    config = dataclasses.replace(CONFIG, attention_groups=groups, normalise=normalise)
    features = np.random.default_rng(1).normal(size=(9, BATCH, config.channels)).astype(np.float32)
    layer = PointAttention(config)
    params = random_params(lambda key: layer.init(key, jnp.asarray(features), level)["params"])
    assert ("norm" in params) == normalise
    found = jax.jit(lambda p, f: layer.apply({"params": p}, f, level))(params, features)
    slow = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    for particle in range(BATCH):
        expected = point_attention(
            features[:, particle].astype(float), level.neighbours, level.offsets.astype(float), slow, config
        )
        np.testing.assert_allclose(found[:, particle], expected, atol=1e-4)


def plain_attention(features, level, params, config):
    """The same equations, left to automatic differentiation; features (batch, points, channels)."""
    dense = lambda rows, name: rows @ params[name]["kernel"] + params[name].get("bias", 0.0)  # noqa: E731
    width, groups = config.attention_channels, config.attention_groups or config.attention_channels
    query, key, value = jnp.split(dense(features, "qkv"), 3, axis=-1)
    encoding = dense(jax.nn.relu(dense(level.offsets, "offset_hidden")), "offset")
    relation = jax.nn.relu(query[:, :, None] - key[:, level.neighbours] + encoding)
    if config.attention_groups == 0:
        relation = jax.nn.relu(dense(relation, "weight_hidden"))
    weight = jax.nn.softmax(dense(relation, "weight"), axis=2)
    mixed = jnp.repeat(weight, width // groups, axis=-1) * (value[:, level.neighbours] + encoding)
    return features + dense(jnp.sum(mixed, axis=2), "out")


@pytest.mark.parametrize(("groups", "batch"), [(2, BATCH), (0, 1), (0, 4), (0, 6)])
def test_gradients_are_those_of_automatic_differentiation(level, groups, batch, monkeypatch):
    """Of the features and of every parameter, however many particles are taken at once."""
    monkeypatch.setattr(vector_attention, "PARTICLES_AT_ONCE", 0.5)  # 2 for the tests' 4 devices
    config = dataclasses.replace(CONFIG, attention_groups=groups, normalise=False)
    random = np.random.default_rng(2)
    features, target = random.normal(size=(2, batch, 9, config.channels)).astype(np.float32)
    layer = PointAttention(config)
    points_first = jnp.swapaxes(jnp.asarray(features), 0, 1)
    params = random_params(lambda key: layer.init(key, points_first, level)["params"])

    def own(params, features):
        made = layer.apply({"params": params}, jnp.swapaxes(features, 0, 1), level)
        return jnp.sum((jnp.swapaxes(made, 0, 1) - target) ** 2)

    def plain(params, features):
        return jnp.sum((plain_attention(features, level, params, config) - target) ** 2)

    found, expected = (
        jax.jit(jax.value_and_grad(function, argnums=(0, 1)))(params, features) for function in (own, plain)
    )
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-5)
    for one, other in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * float(np.abs(other).max()))


@pytest.mark.parametrize(("batch", "expected"), [(1, 1), (7, 1), (3, 3), (16, 4), (34, 2), (32, 4)])
def test_particles_at_once_divide_the_batch(batch, expected):
    """At most one for each of the tests' four devices."""
    count = vector_attention._particles_at_once(batch)
    assert count == expected and batch % count == 0


def test_a_step_takes_particles_from_every_part_of_the_batch():
    array = jnp.arange(2 * 12 * 3).reshape(2, 12, 3)
    split = vector_attention._split(array, 4)
    assert split.shape == (3, 2, 4, 3)
    np.testing.assert_array_equal(split[1], array[:, [1, 4, 7, 10]])
    np.testing.assert_array_equal(vector_attention._join(split), array)
