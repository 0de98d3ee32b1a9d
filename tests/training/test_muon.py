"""Muon: orthogonal steps for matrices, Adam's for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import libhetero.physics  # noqa: F401  (records become pytrees)
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.records import Batch
from libhetero.simulate.configuration import CTFSampling
from libhetero.simulate.imaging import ctf_from, pose_from
from libhetero.training.muon import RATE, matrices, muon

RANDOM = np.random.default_rng(0)


def sample_of_one() -> Batch:
    """Return a particle of noise."""
    drawn = jax.random.uniform(jax.random.key(0), (1, 8))
    pose = jax.vmap(lambda one: pose_from(one, 3.0))(drawn[:, :5])
    ctf = jax.vmap(lambda one: ctf_from(one, CTFSampling()))(drawn[:, 5:])
    return Batch(jax.random.normal(jax.random.key(1), (1, 64, 64)), pose, ctf, jnp.arange(1), jnp.ones(1))


def update_of(params: dict, gradient: dict, transform: optax.GradientTransformation) -> dict:
    """Return the first update."""
    return jax.jit(transform.update)(gradient, transform.init(params), params)[0]


def steep(*shape: int) -> jax.Array:
    """Return a gradient of full rank whose singular values span a factor of thirty."""
    left, _, right = np.linalg.svd(RANDOM.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 1 / 30, left.shape[-1])
    return jnp.asarray((left * values) @ right, jnp.float32)


@pytest.mark.parametrize("shape", [(16, 16), (12, 40), (40, 12)])
def test_a_matrix_moves_by_the_same_in_all_directions(shape: tuple[int, int]) -> None:
    params, gradient = {"kernel": jnp.zeros(shape)}, {"kernel": steep(*shape)}
    update = update_of(params, gradient, muon(optax.constant_schedule(1e-3)))["kernel"]
    values = np.linalg.svd(update, compute_uv=False) / (RATE * 1e-3 * max(1, shape[1] / shape[0]) ** 0.5)
    assert values.min() > 0.5 and values.max() < 1.3
    assert float(jnp.sum(update * gradient["kernel"])) < 0  # downhill


def test_base_weights_are_out_times_in() -> None:
    base = steep(40, 12)
    gradient = {"base_0": base, "kernel": base.T}
    update = update_of(jax.tree.map(jnp.zeros_like, gradient), gradient, muon(optax.constant_schedule(1e-3)))
    np.testing.assert_allclose(update["base_0"], update["kernel"].T, atol=1e-6)


def test_layers_alike_are_matrices_of_their_own() -> None:
    stack = jnp.stack([steep(16, 24), steep(16, 24)])
    transform = muon(optax.constant_schedule(1e-3))
    together = update_of({"kernel": jnp.zeros_like(stack)}, {"kernel": stack}, transform)["kernel"]
    for one, gradient in zip(together, stack, strict=True):
        alone = update_of({"kernel": jnp.zeros((16, 24))}, {"kernel": gradient}, transform)["kernel"]
        np.testing.assert_allclose(one, alone, atol=1e-6)


def test_the_rest_takes_adams_step_with_nesterovs_momentum() -> None:
    params = {"bias": jnp.zeros(9), "positions": jnp.zeros((16, 16)), "thin": {"kernel": jnp.zeros((2, 64))}}
    gradient = jax.tree.map(lambda x: jnp.asarray(RANDOM.normal(size=x.shape), jnp.float32), params)
    found = update_of(params, gradient, muon(optax.constant_schedule(1e-3)))
    expected = update_of(params, gradient, optax.nadam(1e-3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_what_of_cryohype_is_a_matrix() -> None:
    model = HypeModel.from_data(HypeConfig(depth=2), 64, 3.0, sample_of_one())
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    chosen = matrices(shapes)
    leaves = zip(
        jax.tree_util.tree_leaves_with_path(shapes),
        jax.tree.leaves(chosen, is_leaf=lambda x: x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)),
        strict=True,
    )
    named = {jax.tree_util.keystr(path): axes is not None for (path, _), axes in leaves}
    assert all(
        chosen == ("kernel" in name or ("base" in name and "base_4" not in name)) for name, chosen in named.items()
    )
    assert sum(named.values()) > 10
