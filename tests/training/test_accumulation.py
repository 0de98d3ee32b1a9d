"""A batch in parts: the gradient of the whole batch, in the memory of a part."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.training import sharding
from libhetero.training.accumulation import mean_over_parts
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig, build_optimiser, start_state, training_step
from tests.making.feeds import make_feed
from tests.making.images import particles
from tests.making.models import make_model, random_params
from tests.making.toys import Quiet

KEY = jax.random.key(1)


def with_gradient(loss):
    return jax.value_and_grad(loss, has_aux=True)


def assert_close(first, second, rtol=1e-4):
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(one).max())


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_loss_metrics_and_gradient_of_the_batch(parts):
    model = Quiet()
    batch = make_feed().batch(np.arange(6), 8)
    function = partial(with_gradient(model.loss), model.init(KEY))
    assert_close(function(batch, KEY), mean_over_parts(function, batch, KEY, parts), rtol=1e-5)


def test_a_part_without_weight_counts_for_nothing():
    """The toy's mean over no weight is NaN: parts 2 to 4 hold rows of weight 0 alone."""
    model = Quiet()
    batch = make_feed().batch(np.arange(8))
    batch = dataclasses.replace(batch, weight=np.array([1, 0, 0, 0, 1, 0, 0, 0], np.float32))
    function = partial(with_gradient(model.loss), model.init(KEY))
    part = jax.tree.map(lambda leaf: leaf[1::4], batch)
    assert np.isnan(function(part, KEY)[0][0])
    assert_close(function(batch, KEY), mean_over_parts(function, batch, KEY, 4), rtol=1e-5)


@pytest.mark.parametrize("name", ["hype", "gmm+mlp"])
def test_models_have_the_gradient_of_the_batch(name):
    model = make_model(name)
    params = random_params(model.init)
    batch = dataclasses.replace(particles(4), weight=np.array([1, 1, 1, 0], np.float32))
    function = with_gradient(partial(model.loss, training=False))  # which draws nothing at random

    def in_parts(params, parts):
        return mean_over_parts(partial(function, params), batch, KEY, parts)

    whole, parts = (jax.jit(in_parts, static_argnums=1)(params, parts) for parts in (1, 2))
    assert_close((whole[0][0], whole[1]), (parts[0][0], parts[1]), rtol=2e-4)


def test_training_on_four_devices_follows_that_in_whole_batches():
    config = TrainingConfig(epochs=3, batch_size=7, learning_rate=0.01, seed=3)
    model = Quiet()
    whole = train(model, model.init(KEY), make_feed(), config, devices=jax.devices()[:1])
    in_parts = dataclasses.replace(config, accumulate=3)
    parts = train(model, model.init(KEY), make_feed(), in_parts, devices=jax.devices())
    np.testing.assert_allclose(whole.losses, parts.losses, rtol=2e-6)
    np.testing.assert_allclose(whole.params["template"], parts.params["template"], atol=1e-6)


def compiled_step(parts: int) -> jax.stages.Compiled:
    """A step of a network whose activations are most of its memory, on four devices."""
    config = TrainingConfig(accumulate=parts)
    mesh = sharding.data_mesh()
    optimiser = build_optimiser(config, 10)

    def loss(params, batch, key):
        hidden = jnp.tanh(batch.images.reshape(len(batch.weight), -1) @ params["in"])
        each = jnp.mean((jnp.tanh(hidden @ params["middle"]) @ params["out"]) ** 2, axis=-1)
        return jnp.sum(batch.weight * each) / jnp.sum(batch.weight), {}

    params = {"in": jnp.ones((256, 128)), "middle": jnp.ones((128, 128)), "out": jnp.ones((128, 8))}
    state = jax.eval_shape(lambda params: start_state(params, optimiser, config), params)
    batch = make_feed(4096).batch(np.arange(4096))
    step = sharding.compile_step(training_step(loss, optimiser, config), mesh)
    return step.lower(state, batch).compile()


def test_memory_falls_and_no_device_gathers_the_batch():
    whole, parts = compiled_step(1), compiled_step(8)
    temporary = [compiled.memory_analysis().temp_size_in_bytes for compiled in (whole, parts)]
    assert temporary[1] < 0.6 * temporary[0], temporary
    for compiled in (whole, parts):
        assert "all-gather" not in compiled.as_text() and "all-to-all" not in compiled.as_text()
