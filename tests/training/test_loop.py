"""The loop: same losses on any number of devices, and after any interruption."""

import dataclasses
import errno

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from libhetero.errors import DataError, TrainingError
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.log import read_log
from libhetero.training.loop import train
from libhetero.training.optimiser import (
    TrainingConfig,
    build_optimiser,
    learning_rate_schedule,
    start_state,
    training_step,
)
from tests.making.feeds import Signalling, make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, seed=3, report_every=1)


@pytest.fixture
def toy():
    model = Toy()
    return model, model.init(jax.random.key(0))


def test_loss_falls_and_everything_is_logged(toy, tmp_path) -> None:
    told = []
    result = train(*toy, make_feed(), CONFIG, tmp_path, progress=told.append)
    assert result.finished and result.step == 28 and told[-1] == 1
    assert result.losses[-7:].mean() < 0.8 * result.losses[:7].mean()
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 29))
    np.testing.assert_allclose([line["loss"] for line in lines], result.losses, rtol=1e-6)
    wanted = {"epoch", "gain", "gradient_norm", "learning_rate", "seconds_left"}
    assert wanted <= set(lines[-1])


def test_checkpoints_are_shown_to_whoever_observes(toy, tmp_path) -> None:
    seen = {}
    config = dataclasses.replace(CONFIG, checkpoint_every=2)

    def observe(step: int, params: dict) -> None:
        seen[step] = np.array(params["template"])

    result = train(*toy, make_feed(), config, tmp_path, observe=observe)
    assert list(seen) == [14, 28]
    np.testing.assert_array_equal(seen[28], result.params["template"])
    assert (seen[14] != seen[28]).any()


def test_four_devices_give_the_losses_of_one(toy) -> None:
    config = dataclasses.replace(CONFIG, batch_size=7)
    one = train(*toy, make_feed(), config, devices=jax.devices()[:1])
    four = train(*toy, make_feed(), config, devices=jax.devices())
    assert len(jax.devices()) == 4
    np.testing.assert_allclose(one.losses, four.losses, rtol=2e-6)
    np.testing.assert_allclose(one.params["template"], four.params["template"], atol=1e-6)


@pytest.mark.parametrize("devices", [1, 4])
def test_resumed_run_equals_the_uninterrupted_one(toy, tmp_path, devices) -> None:
    whole = train(*toy, make_feed(), CONFIG, tmp_path / "whole", devices=jax.devices()[:1])
    first = train(*toy, Signalling(make_feed(), 12), CONFIG, tmp_path / "cut", devices=jax.devices()[:1])
    assert not first.finished and 7 < first.step < 28
    second = train(*toy, make_feed(), CONFIG, tmp_path / "cut", resume=True, devices=jax.devices()[:devices])
    losses = np.concatenate([first.losses, second.losses])
    np.testing.assert_allclose(losses, whole.losses, rtol=0 if devices == 1 else 2e-6)
    np.testing.assert_allclose(second.params["template"], whole.params["template"], atol=1e-6)
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("whole", "cut")]
    assert [line["step"] for line in logs[1]] == [line["step"] for line in logs[0]]


def test_a_finished_run_resumes_to_itself(toy, tmp_path) -> None:
    result = train(*toy, make_feed(), CONFIG, tmp_path)
    with pytest.raises(DataError, match="already holds a run"):
        train(*toy, make_feed(), CONFIG, tmp_path)
    again = train(*toy, make_feed(), CONFIG, tmp_path, resume=True)
    assert again.finished and len(again.losses) == 0
    np.testing.assert_array_equal(again.params["template"], result.params["template"])


def test_resuming_nothing_is_refused(toy, tmp_path) -> None:
    with pytest.raises(DataError, match="no complete checkpoint"):
        train(*toy, make_feed(), CONFIG, tmp_path, resume=True)


def test_divergence_stops_with_one_line(toy, tmp_path) -> None:
    class Diverging(Toy):
        def loss(self, params, batch, key, training=True):
            value, metrics = super().loss(params, batch, key, training)
            return value / (batch.index[0] >= 0) * np.nan, metrics

    with pytest.raises(TrainingError, match="step 3: the loss is nan.*at 0.125 .*lower learning rate"):
        train(Diverging(), toy[1], make_feed(), CONFIG, tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["0"]
    assert read_log(tmp_path / "log.jsonl") == []


class Poisoned:
    """A feed that gives NaN where it is read for the `poisoned`-th times, and notes what it is asked for."""

    def __init__(self, feed, *poisoned: int) -> None:
        self.feed, self.poisoned, self.asked = feed, poisoned, []

    def __len__(self) -> int:
        return len(self.feed)

    def batch(self, index, size=None):
        self.asked.append(index.tolist())
        batch = self.feed.batch(index, size)
        if len(self.asked) in self.poisoned:
            return dataclasses.replace(batch, images=batch.images * np.float32(np.nan))
        return batch


def test_a_step_that_is_not_finite_is_skipped(toy, tmp_path, caplog) -> None:
    result = train(*toy, Poisoned(make_feed(), 5, 7), CONFIG, tmp_path)
    assert result.finished and result.step == len(result.losses) == 28
    assert np.flatnonzero(~np.isfinite(result.losses)).tolist() == [4, 6]
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == [s for s in range(1, 29) if s not in (5, 7)]
    assert [line["skipped"] for line in lines[3:6]] == [0, 1, 2] and "rate_scale" not in lines[-1]
    assert "step 5: the loss is nan; the step is skipped (1 so far)" in caplog.text
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
        state = checkpoints.restore(start_like(toy[1]), sharding.data_mesh())
    assert (int(state.skipped), float(state.rate_scale)) == (2, 1.0)


def start_like(params):
    optimiser = build_optimiser(CONFIG, 7)
    return jax.eval_shape(lambda params: start_state(params, optimiser, CONFIG), params)


@pytest.mark.parametrize("kept", [True, False])
def test_steps_that_stay_not_finite_go_back_at_a_lower_rate(toy, tmp_path, caplog, monkeypatch, kept) -> None:
    """Steps 9 to 11 are lost; the state of step 7, on the disk or in memory, goes on."""
    config = dataclasses.replace(CONFIG, checkpoint_every=1, epochs=3)
    compiled = []

    def compile_step(*arguments):
        compiled.append(real(*arguments))
        return compiled[0]

    real = sharding.compile_step
    monkeypatch.setattr(sharding, "compile_step", compile_step)
    whole, feed = Poisoned(make_feed()), Poisoned(make_feed(), 9, 10, 11)
    expected = train(*toy, whole, config)
    del compiled[:]
    result = train(*toy, feed, config, tmp_path if kept else None)
    assert "3 steps in a row were not finite: back to step 7, with 0.5 of the learning rate" in caplog.text
    assert result.finished and len(result.losses) == 21 and np.isfinite(result.losses).all()
    np.testing.assert_array_equal(result.losses[:8], expected.losses[:8])
    assert (result.losses[8:] != expected.losses[8:]).all()
    assert feed.asked[-14:] == whole.asked[7:]
    assert compiled[0]._cache_size() == 1, "short batches and restored states compile nothing"
    if kept:
        lines = read_log(tmp_path / "log.jsonl")
        assert [line["step"] for line in lines] == list(range(1, 22))
        assert {line.get("rate_scale") for line in lines[7:]} == {0.5}
        rate = learning_rate_schedule(config, 7)(20)
        assert lines[-1]["learning_rate"] == pytest.approx(0.5 * float(rate))
        with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
            state = checkpoints.restore(start_like(toy[1]), sharding.data_mesh())
        assert (int(state.skipped), float(state.rate_scale)) == (3, 0.5), "and updates are made at that rate"


def test_the_step_updates_its_state_in_place(toy) -> None:
    optimiser = build_optimiser(CONFIG, 7)
    step = sharding.compile_step(training_step(toy[0].loss, optimiser, CONFIG), sharding.data_mesh())
    state = start_like(toy[1])
    compiled = step.lower(state, make_feed().batch(np.arange(8))).compile()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes >= size


def test_parameters_given_are_left_alone(toy) -> None:
    model, params = toy
    before = np.array(params["template"])
    train(model, params, make_feed(8), dataclasses.replace(CONFIG, epochs=1))
    np.testing.assert_array_equal(params["template"], before)


def test_a_full_disk_is_one_line(toy, tmp_path, monkeypatch) -> None:
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(DataError, match="checkpoints: no space left on the disk; .*--resume"):
        train(*toy, make_feed(), CONFIG, tmp_path)
