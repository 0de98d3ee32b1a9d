"""The library's published decoder and projector are the functions of their plain transcription."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models import precision
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder import point_transformer, vector_attention
from libhetero.models.gmm.decoder.published import PublishedDecoder
from libhetero.models.gmm.decoder.topology import build_topology
from libhetero.physics.gaussians import project_gaussians
from tests.making.images import BOX, PIXEL
from tests.making.mixtures import mixture
from tests.making.models import random_params
from tests.making.poses import poses

PAPER = GmmConfig.preset("paper")
SIZES = {
    "small": {"points": (6, 11, 17), "neighbours": 5, "channels": 8, "attention_channels": 16},
    "paper": {"points": (16, 18)},
}


@pytest.fixture
def transcription(load):
    return load("transcription")


def compare(found, expected, tolerance):
    """Each array to a fraction of its largest value."""
    for path, one in jax.tree_util.tree_leaves_with_path(found):
        other = expected
        for key in path:
            other = other[getattr(key, "key", getattr(key, "idx", None))]
        np.testing.assert_allclose(one, other, atol=tolerance * max(float(jnp.abs(other).max()), 1e-30))


def product(left, right, dimension_numbers, **_):
    """`dot_general` that sums as it is given, not in float32."""
    return jax.lax.dot_general(left, right, dimension_numbers)


@pytest.mark.parametrize("name", SIZES)
def test_decoder(transcription, monkeypatch, name):
    """Values and gradients of every parameter to 1e-10, at a small size and at the paper's widths.

    In float64: in float32 the two forms put a unit that is next to nothing on either side of its relu, and a gradient
    of the one has a part that the other's has not.
    """
    monkeypatch.setattr(vector_attention, "PARTICLES_AT_ONCE", 0.5)  # 2 for the tests' 4 devices
    for module in (precision, point_transformer):
        monkeypatch.setattr(module, "dot_general", lambda precision: product)
    monkeypatch.setattr(vector_attention, "operand_dtype", lambda precision: jnp.float64)
    config = dataclasses.replace(PAPER, **SIZES[name])
    levels = build_topology(mixture().position, config, 64.0)
    decoder = PublishedDecoder(config, 5)
    random = np.random.default_rng(4)
    latent = random.normal(size=(4, config.latent_size))
    cotangent = random.normal(size=(4, 20, 5))

    @jax.jit
    def both(params, latent):
        own, own_transpose = jax.vjp(lambda p, z: decoder.apply({"params": p}, z, levels), params, latent)
        plain, transpose = jax.vjp(lambda p, z: transcription.decode(p, z, levels), params, latent)
        return (own, own_transpose(cotangent)), (plain, transpose(cotangent))

    with jax.enable_x64(True):
        params = random_params(lambda key: decoder.init(key, jnp.asarray(latent), levels)["params"])
        found, expected = both(*jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), (params, latent)))
        assert {array.dtype for array in jax.tree.leaves(found)} == {jnp.dtype("float64")}
        compare(found, expected, tolerance=1e-10)


def test_projector(transcription):
    pose = poses(1).take(0)

    @jax.jit
    def both(gaussians):
        return (transcription.project(gaussians, pose, BOX, PIXEL), project_gaussians(gaussians, pose, BOX, PIXEL))

    plain, own = both(jax.tree.map(jnp.asarray, mixture()))
    np.testing.assert_allclose(own, plain, atol=1e-5 * float(jnp.abs(plain).max()))
