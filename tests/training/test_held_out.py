"""Held-out particles: never trained on, they choose the parameters and end the run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import ConfigurationError, TrainingError
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.held_out import PATIENCE, HeldOut, split
from libhetero.training.log import read_log
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig, build_optimiser, start_state
from tests.making.feeds import ArrayReader, Signalling, make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=30, batch_size=8, learning_rate=0.02, seed=3, schedule="constant", test_fraction=0.25)


@pytest.fixture
def toy():
    model = Toy()
    return model, model.init(jax.random.key(0))


def noisy_feed(count=32, changed=()):
    """Images of pure noise: whatever is learned of them is overfitting."""
    feed = make_feed(count)
    images = np.random.default_rng(5).normal(size=feed.reader.images.shape).astype(np.float32)
    images[np.asarray(changed, int)] += 1
    return dataclasses.replace(feed, reader=ArrayReader(images))


def test_split_is_a_partition_that_the_seed_decides():
    training, held = split(101, CONFIG)
    assert len(held) == 25
    np.testing.assert_array_equal(np.sort(np.concatenate([training, held])), np.arange(101))
    np.testing.assert_array_equal(split(101, CONFIG)[1], held)
    assert not np.array_equal(split(101, dataclasses.replace(CONFIG, seed=4))[1], held)
    assert len(split(101, dataclasses.replace(CONFIG, test_fraction=0.0))[1]) == 0


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_an_empty_part_is_refused(fraction):
    with pytest.raises(ConfigurationError, match="--usetest .* of 8 particles"):
        split(8, dataclasses.replace(CONFIG, test_fraction=fraction))


def test_held_out_particles_do_not_train(toy):
    config = dataclasses.replace(CONFIG, epochs=2)
    _, held = split(32, config)
    one = train(*toy, noisy_feed(), config)
    other = train(*toy, noisy_feed(changed=held), config)
    assert len(one.losses) == 2 * 3
    np.testing.assert_array_equal(one.losses, other.losses)


def test_overfitting_ends_the_run_with_the_best_parameters(toy, tmp_path):
    result = train(*toy, noisy_feed(), CONFIG, tmp_path)
    lines = [line for line in read_log(tmp_path / "log.jsonl") if "test_loss" in line]
    tested = [line["test_loss"] for line in lines]
    best = int(np.argmin(tested))
    assert result.finished and result.step == 3 * len(tested) < 3 * CONFIG.epochs
    assert len(tested) == best + 1 + PATIENCE
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
        stored = checkpoints.restore_params(toy[1], CONFIG)
    np.testing.assert_array_equal(stored["template"], result.params["template"])
    until = dataclasses.replace(CONFIG, epochs=best + 1, test_fraction=0.0)
    feed = noisy_feed()
    training, _ = split(32, CONFIG)
    alone = dataclasses.replace(
        feed, particles=feed.particles.take(training), reader=ArrayReader(feed.reader.images[training])
    )
    again = train(*toy, alone, until)
    np.testing.assert_allclose(again.params["template"], result.params["template"], atol=1e-6)


def test_a_run_that_ended_early_resumes_to_itself(toy, tmp_path):
    result = train(*toy, noisy_feed(), CONFIG, tmp_path)
    again = train(*toy, noisy_feed(), CONFIG, tmp_path, resume=True)
    assert again.finished and len(again.losses) == 0 and again.step == result.step
    np.testing.assert_array_equal(again.params["template"], result.params["template"])


def test_resumed_run_equals_the_uninterrupted_one(toy, tmp_path):
    whole = train(*toy, noisy_feed(), CONFIG, tmp_path / "whole")
    first = train(*toy, Signalling(noisy_feed(), 7), CONFIG, tmp_path / "cut")
    assert not first.finished
    second = train(*toy, noisy_feed(), CONFIG, tmp_path / "cut", resume=True)
    np.testing.assert_array_equal(np.concatenate([first.losses, second.losses]), whole.losses)
    np.testing.assert_array_equal(second.params["template"], whole.params["template"])


def test_divergence_on_held_out_particles_is_one_line(toy):
    _, held = split(32, CONFIG)

    class Diverging(Toy):
        def loss(self, params, batch, key, training=True):
            value, metrics = super().loss(params, batch, key, training)
            seen = (batch.index == int(held[0])).any()
            return jax.numpy.where(seen, np.nan, value), metrics

    with pytest.raises(TrainingError, match="epoch 3: the loss of the held-out particles is not finite"):
        train(Diverging(), toy[1], noisy_feed(), CONFIG)


def test_every_held_out_particle_counts_alike():
    """A short last batch counts for its particles, and not as a batch."""
    feed = make_feed(10)
    mesh = sharding.data_mesh(jax.devices()[:1])
    batches = [feed.batch(np.arange(8)), feed.batch(np.arange(8, 10), 8)]

    def loss(params, batch, key, training):
        return jnp.sum(batch.weight * batch.index) / jnp.sum(batch.weight), {}

    held = HeldOut(loss, lambda: iter(batches), CONFIG, mesh)
    state = start_state({"x": jnp.zeros(())}, build_optimiser(CONFIG, 2), CONFIG)
    assert held.judge(state, 1)[1]["test_loss"] == pytest.approx(np.arange(10).mean())
