"""Learning rate, running average and the configuration of training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError
from libhetero.records import Batch
from libhetero.training.optimiser import (
    TrainingConfig,
    build_optimiser,
    learning_rate_schedule,
    start_state,
    training_step,
)
from tests.making.feeds import make_feed


def _weighing(weight: float) -> Batch:
    """Return a batch of one particle that weighs so much."""
    return dataclasses.replace(make_feed(1).batch(np.arange(1)), weight=np.full(1, weight, np.float32))


def test_learning_rate_rises_from_above_zero_and_falls_to_one_percent() -> None:
    config = TrainingConfig(epochs=10, warmup_epochs=2, learning_rate=1e-3)
    rate = np.array([learning_rate_schedule(config, 50)(step) for step in range(501)])
    assert rate[0] == pytest.approx(1e-4)
    assert rate[100] == pytest.approx(1e-3) and rate.argmax() == 100
    assert np.all(np.diff(rate[:101]) > 0) and np.all(np.diff(rate[101:]) <= 0)
    assert rate[500] == pytest.approx(1e-5, rel=1e-3)


def test_constant_rate_and_no_warm_up() -> None:
    config = TrainingConfig(schedule="constant", warmup_epochs=0, learning_rate=1e-3)
    assert learning_rate_schedule(config, 50)(0) == pytest.approx(1e-3)
    assert learning_rate_schedule(config, 50)(900) == pytest.approx(1e-3)


def test_a_short_run_is_not_all_warm_up() -> None:
    config = TrainingConfig(epochs=1, warmup_epochs=5, learning_rate=1e-3)
    assert learning_rate_schedule(config, 10)(5) == pytest.approx(1e-3)


def test_a_run_that_is_trained_further_passes_over_to_the_rate_of_a_longer_one() -> None:
    """Twice: 10 epochs done, 20 asked for; stopped in the middle of epoch 13, 40 asked for."""
    plain = TrainingConfig(epochs=10, warmup_epochs=2, learning_rate=1e-3)
    further = dataclasses.replace(plain, epochs=40, extended=((10, 500), (20, 620)))
    steps = jnp.arange(2001)
    old, middle, long, rate = (
        np.asarray(jax.vmap(learning_rate_schedule(config, 50))(steps))
        for config in (plain, *(dataclasses.replace(plain, epochs=epochs) for epochs in (20, 40)), further)
    )
    np.testing.assert_allclose(rate[:500], old[:500], rtol=1e-6)
    assert rate[500] == pytest.approx(1e-5, rel=1e-3) and np.all(np.diff(rate[500:600]) > 0)
    np.testing.assert_allclose(rate[600:620], middle[600:620], rtol=1e-5)
    np.testing.assert_allclose(rate[670], 0.5 * (middle[620] + long[670]), rtol=1e-5)
    np.testing.assert_allclose(rate[720:], long[720:], rtol=1e-5)
    assert from_dict(TrainingConfig, to_dict(further)) == further


@pytest.mark.parametrize("decay, followed", [(0.0, None), (0.9, True)])
def test_running_average_follows_from_the_start(decay, followed) -> None:
    config = TrainingConfig(ema_decay=decay, learning_rate=0.05, schedule="constant", warmup_epochs=0)
    optimiser = build_optimiser(config, 10)

    def loss(params, batch, key):
        return (params["x"] - 3.0) ** 2, {}

    step = training_step(loss, optimiser, config)
    state = start_state({"x": jnp.zeros(())}, optimiser, config)
    for _ in range(100):
        state, metrics = step(state, _weighing(1.0))
    assert int(state.step) == 100 and {"loss", "gradient_norm", "skipped"} == set(metrics)
    assert (state.average is None) == (followed is None)
    assert float(state.best()["x"]) == pytest.approx(3.0, abs=0.3)


def test_the_memory_of_the_average_grows_with_the_run() -> None:
    """a ← d a + (1 - d) p with d = (1 + s) / (10 + s) until that is the decay asked for."""
    config = TrainingConfig(ema_decay=0.5, learning_rate=0.05, schedule="constant", warmup_epochs=0)
    optimiser = build_optimiser(config, 10)
    step = training_step(lambda params, batch, key: ((params["x"] - 3.0) ** 2, {}), optimiser, config)
    state, expected = start_state({"x": jnp.zeros(())}, optimiser, config), 0.0
    for s in range(12):
        state, _ = step(state, _weighing(1.0))
        d = min(0.5, (1 + s) / (10 + s))
        expected = d * expected + (1 - d) * float(state.params["x"])
        assert float(state.average["x"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("followed", [{}, {"ema_decay": 0.9, "test_fraction": 0.1}])
def test_no_array_of_the_start_is_another_or_given(followed: dict) -> None:
    """The step gives up its arrays, so that none may be held twice."""
    config = TrainingConfig(**followed)
    params = {"a": jnp.ones((8, 8)), "b": jnp.zeros(3)}
    state = start_state(params, build_optimiser(config, 10), config)
    places = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((params, state))]
    assert len(set(places)) == len(places)
    for name, array in params.items():
        np.testing.assert_array_equal(state.params[name], array)


def test_a_retired_key_is_read_where_it_did_nothing() -> None:
    stored = to_dict(TrainingConfig(epochs=3))
    assert from_dict(TrainingConfig, {**stored, "weight_decay": 0.0}) == TrainingConfig(epochs=3)
    with pytest.raises(ConfigurationError, match="TrainingConfig: weight_decay is 0.1, which this version has no more"):
        from_dict(TrainingConfig, {**stored, "weight_decay": 0.1})


def test_configuration_is_strict_and_travels() -> None:
    config = TrainingConfig(epochs=3, schedule="constant", ema_decay=0.0)
    assert from_dict(TrainingConfig, to_dict(config)) == config
    wrong = {
        "epochs": (0, "--niter: expected 1 to 1000000; got 0."),
        "batch_size": (0, "--batchsz: expected 1 to 65536; got 0."),
        "learning_rate": (0.0, "--learnrate: expected more than 0 and less than 1; got 0."),
        "warmup_epochs": (-1.0, "--warmup: expected 0 to 1000000; got -1."),
        "schedule": ("linear", "--schedule: expected cosine or constant; got 'linear'."),
        "ema_decay": (1.0, "--ema: expected 0 or more and less than 1; got 1."),
        "seed": (-1, "--seed: expected 0 to 4294967295; got -1."),
    }
    for name, (value, message) in wrong.items():
        with pytest.raises(ConfigurationError, match=message):
            TrainingConfig(**{name: value})


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_but_its_counts(optimiser, broken) -> None:
    config = TrainingConfig(optimiser=optimiser, learning_rate=0.05, warmup_epochs=0)
    optimiser = build_optimiser(config, 10)

    def loss(params, batch, key):
        return jnp.sum(params["kernel"] ** 2) * batch.weight[0], {}

    step = jax.jit(training_step(loss, optimiser, config))
    state, _ = step(start_state({"kernel": jnp.ones((8, 9))}, optimiser, config), _weighing(1.0))
    after, metrics = step(state, _weighing(broken))
    assert int(metrics["skipped"]) == 1 and int(after.step) == 2 and int(after.skipped) == 1
    for name in ("params", "optimiser", "average", "rate_scale"):
        for old, new in zip(*(jax.tree.leaves(getattr(s, name)) for s in (state, after)), strict=True):
            np.testing.assert_array_equal(old, new)
    again, metrics = step(after, _weighing(1.0))
    assert int(metrics["skipped"]) == 0 and (again.params["kernel"] != state.params["kernel"]).all()


def test_the_rate_scale_multiplies_the_update() -> None:
    config = TrainingConfig(learning_rate=0.05, warmup_epochs=0, ema_decay=0.0)
    optimiser = build_optimiser(config, 10)
    step = training_step(lambda params, batch, key: (params["x"] ** 2, {}), optimiser, config)
    state = start_state({"x": jnp.ones(())}, optimiser, config)
    moved = [
        1 - float(step(dataclasses.replace(state, rate_scale=jnp.float32(scale)), _weighing(1.0))[0].params["x"])
        for scale in (1.0, 0.5)
    ]
    assert moved[1] == pytest.approx(0.5 * moved[0], rel=1e-5)


def test_every_step_draws_anew_and_a_resumed_one_the_same() -> None:
    config = TrainingConfig(seed=3)
    optimiser = build_optimiser(config, 10)

    def loss(params, batch, key):
        return params["x"] ** 2, {"drawn": jax.random.uniform(key)}

    step = training_step(loss, optimiser, config)
    state, drawn = start_state({"x": jnp.ones(())}, optimiser, config), []
    for _ in range(3):
        state, metrics = step(state, _weighing(1.0))
        drawn.append(float(metrics["drawn"]))
    expected = [float(jax.random.uniform(jax.random.fold_in(jax.random.key(3), number))) for number in range(3)]
    assert drawn == pytest.approx(expected) and len(set(drawn)) == 3


def test_a_gradient_that_is_not_finite_is_no_step_though_the_loss_is() -> None:
    config = TrainingConfig(gradient_clip=0.0)
    optimiser = build_optimiser(config, 10)
    step = training_step(lambda params, batch, key: (jnp.sqrt(params["x"]), {}), optimiser, config)
    state = start_state({"x": jnp.zeros(())}, optimiser, config)
    after, metrics = step(state, _weighing(1.0))
    assert float(metrics["loss"]) == 0 and not np.isfinite(metrics["gradient_norm"])
    assert int(metrics["skipped"]) == 1 and float(after.params["x"]) == 0
