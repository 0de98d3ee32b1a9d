"""The library's published decoder and projector are the functions of their plain transcription."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder import vector_attention
from libhetero.models.gmm.decoder.published import PublishedDecoder
from libhetero.models.gmm.decoder.topology import build_topology
from libhetero.physics.gaussians import project_gaussians
from tests.making.images import BOX, PIXEL
from tests.making.mixtures import mixture
from tests.making.models import random_params
from tests.making.poses import poses

EXACT = {"xla_cpu_use_fusion_emitters": True}  # those that the tests compile with round gradients to 1e-3 of them
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


@pytest.mark.parametrize("name", SIZES)
def test_decoder(transcription, monkeypatch, name):
    """Values and gradients of every parameter to 5e-4, at a small size and at the paper's widths."""
    monkeypatch.setattr(vector_attention, "PARTICLES_AT_ONCE", 0.5)  # 2 for the tests' 4 devices
    config = dataclasses.replace(PAPER, **SIZES[name])
    levels = build_topology(mixture().position, config, 64.0)
    decoder = PublishedDecoder(config, 5)
    random = np.random.default_rng(4)
    latent = jnp.asarray(random.normal(size=(4, config.latent_size)), jnp.float32)
    cotangent = random.normal(size=(4, 20, 5)).astype(np.float32)
    params = random_params(lambda key: decoder.init(key, latent, levels)["params"])

    @partial(jax.jit, compiler_options=EXACT)
    def both(params, latent):
        own, own_transpose = jax.vjp(lambda p, z: decoder.apply({"params": p}, z, levels), params, latent)
        plain, transpose = jax.vjp(lambda p, z: transcription.decode(p, z, levels), params, latent)
        return (own, own_transpose(cotangent)), (plain, transpose(cotangent))

    compare(*both(params, latent), tolerance=5e-4)


def test_projector(transcription):
    pose = poses(1).take(0)

    @jax.jit
    def both(gaussians):
        return (transcription.project(gaussians, pose, BOX, PIXEL), project_gaussians(gaussians, pose, BOX, PIXEL))

    plain, own = both(jax.tree.map(jnp.asarray, mixture()))
    np.testing.assert_allclose(own, plain, atol=1e-5 * float(jnp.abs(plain).max()))
