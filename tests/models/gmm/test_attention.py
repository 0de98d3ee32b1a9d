"""Gathering neighbours and attending to them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.neighbours import gather_neighbours
from libhetero.models.gmm.point_transformer import PointAttention
from libhetero.models.gmm.topology import build_topology
from tests.models.tiny_models import GMM, mixture, quick_jit, random_params
from tests.reference.point_attention import point_attention

CONFIG = dataclasses.replace(GmmConfig(**GMM), points=(9,))


@pytest.fixture(scope="module")
def level():
    return build_topology(mixture().position, CONFIG)[0]


def test_gradient_of_gathering_is_that_of_plain_indexing(level):
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 9, 3)).astype(np.float32)
    cotangent = random.normal(size=(2, 9, 4, 3)).astype(np.float32)
    gather = jax.vmap(lambda rows: gather_neighbours(rows, level.neighbours, level.listed_by))

    @quick_jit
    def both(features):
        own = jax.vjp(gather, features)
        plain = jax.vjp(lambda rows: rows[:, level.neighbours], features)
        return own[0], own[1](cotangent), plain[0], plain[1](cotangent)

    value, gradient, plain_value, plain_gradient = both(jnp.asarray(features))
    np.testing.assert_array_equal(value, plain_value)
    np.testing.assert_allclose(gradient[0], plain_gradient[0], atol=1e-5)


@pytest.mark.parametrize(("groups", "normalise"), [(2, True), (8, False), (0, False), (0, True)])
def test_attention_agrees_with_its_twin(level, groups, normalise):
    config = dataclasses.replace(CONFIG, attention_groups=groups, normalise=normalise)
    features = np.random.default_rng(1).normal(size=(9, config.channels)).astype(np.float32)
    layer = PointAttention(config)
    params = random_params(lambda key: layer.init(key, features, level)["params"])
    assert ("norm" in params) == normalise
    found = quick_jit(lambda p, f: layer.apply({"params": p}, f, level))(params, features)
    slow = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = point_attention(
        features.astype(float), level.neighbours, level.offsets.astype(float), slow, config
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
