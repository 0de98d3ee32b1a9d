"""Checkpoints: older formats read, newer refused, damaged ones passed over and told."""

import asyncio
import dataclasses
import errno
import json
import os
import shutil
import sys
import types

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.experimental import multihost_utils

from libhetero.errors import DataError
from libhetero.training import sharding
from libhetero.training.checkpoint import CheckpointFolder, EpochFolder
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig, build_optimiser, start_state
from tests.making.feeds import make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=3, batch_size=25, learning_rate=0.01, seed=3, checkpoint_every=1)
PARAMS = Toy().init(jax.random.key(0))
STEPS = [4, 6]  # the last two


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, train(Toy(), PARAMS, make_feed(), CONFIG, folder)


@pytest.fixture
def copied(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"


def restored(run):
    like = jax.eval_shape(lambda params: start_state(params, build_optimiser(CONFIG, 2), CONFIG), PARAMS)
    with CheckpointFolder(run / "checkpoints") as checkpoints:
        return checkpoints.restore(like, sharding.data_mesh())


def kept_by_training(epochs):
    return sorted(int(path.name) for path in epochs.iterdir() if path.name.isdecimal() and int(path.name) < 10)


def say_format(run, step, version) -> None:
    path = run / "checkpoints" / str(step) / "about" / "metadata"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))


def damage(run, step) -> None:
    """Cut the last half off every file of the parameters and of their average."""
    for name in ("params", "average"):
        for path in (run / "checkpoints" / str(step) / name).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_first_format_is_read_with_what_it_lacks_at_its_start(copied, trained) -> None:
    shutil.rmtree(copied / "checkpoints" / "6" / "guard")
    say_format(copied, 6, 1)
    state = restored(copied)
    assert (int(state.step), float(state.rate_scale), int(state.skipped)) == (6, 1.0, 0)
    np.testing.assert_array_equal(state.best()["template"], trained[1].params["template"])


def test_a_newer_format_is_refused_by_name(copied) -> None:
    say_format(copied, 6, 4)
    with pytest.raises(DataError, match="6: checkpoint format 4; this version reads 1, 2, 3"):
        restored(copied)
    with CheckpointFolder(copied / "checkpoints") as checkpoints, pytest.raises(DataError, match="format 4"):
        checkpoints.restore_params(PARAMS, CONFIG)


def test_a_damaged_checkpoint_is_passed_over_and_told(copied, trained, caplog) -> None:
    damage(copied, 6)
    with CheckpointFolder(copied / "checkpoints") as checkpoints:
        params = checkpoints.restore_params(PARAMS, CONFIG)
    assert (params["template"] != trained[1].params["template"]).any()
    assert "checkpoints/6: the checkpoint is damaged or does not fit" in caplog.text
    assert "going back to the checkpoint of step 4" in caplog.text
    again = train(Toy(), PARAMS, make_feed(), CONFIG, copied, resume=True)
    np.testing.assert_array_equal(again.params["template"], trained[1].params["template"])
    names = {path.name for path in (copied / "checkpoints").iterdir()}
    assert names == {"4", "6", "damaged_6"}
    assert int(restored(copied).step) == 6


def use(run) -> None:
    """Read what is trained on, and what is used."""
    restored(run)
    with CheckpointFolder(run / "checkpoints") as checkpoints:
        checkpoints.restore_params(PARAMS, CONFIG)


@pytest.mark.parametrize("text", [None, "[1]"])
def test_whatever_stands_in_a_file_of_a_checkpoint_it_is_read_or_passed_over(copied, text) -> None:
    """One after the other is missing or holds something else: the one before is taken, or a line says which folder is
    in the way."""
    last = copied / "checkpoints" / "6"
    names = ("_CHECKPOINT_METADATA", "about/metadata", "params/_METADATA", "params/manifest.ocdbt")
    for path in (last / name for name in names):
        data = path.read_bytes()
        path.unlink() if text is None else path.write_text(text)
        if path.name == "_CHECKPOINT_METADATA" and text is not None:
            with pytest.raises(DataError, match=f"remove the folder {last}"):
                use(copied)
        else:
            use(copied)
        for aside in (copied / "checkpoints").glob("damaged_6*"):
            aside.rename(last)
        path.write_bytes(data)
    use(copied)


def test_reads_that_end_after_one_has_failed_are_not_told(copied, monkeypatch) -> None:
    """Each is a call of an event loop that is closed by then, from a thread that cannot raise."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with CheckpointFolder(copied / "checkpoints") as checkpoints:
        checkpoints.restore_params(PARAMS, CONFIG)
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError) as late:
        loop.call_soon_threadsafe(print)
    other = RuntimeError("another")
    for error in (late.value, other):
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    assert [left.exc_value for left in told] == [other]


def test_a_pipe_among_checkpoints_is_refused(copied) -> None:
    place = copied / "checkpoints" / "6" / "_CHECKPOINT_METADATA"
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(DataError, match="_CHECKPOINT_METADATA: expected a file, found a pipe or a device"):
        restored(copied)


def test_a_device_in_a_checkpoint_is_not_read(copied, caplog) -> None:
    place = copied / "checkpoints" / "6" / "params" / "manifest.ocdbt"
    place.unlink()
    place.symlink_to("/dev/urandom")
    assert int(restored(copied).step) == 4
    assert "manifest.ocdbt is a pipe or a device" in caplog.text


def test_parameters_that_are_no_numbers_are_passed_over(tmp_path, caplog) -> None:
    train(Toy(), PARAMS, make_feed(), CONFIG, tmp_path)
    like = jax.eval_shape(lambda params: start_state(params, build_optimiser(CONFIG, 2), CONFIG), PARAMS)
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
        state = checkpoints.restore(like, sharding.data_mesh())
        wrong = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), (state.params, state.average))
        checkpoints.save(dataclasses.replace(state, step=state.step + 1, params=wrong[0], average=wrong[1]))
        checkpoints.wait()
    assert int(restored(tmp_path).step) == 6
    assert "params: not all numbers are finite" in caplog.text


def test_epochs_that_are_done_again_replace_those_kept_and_are_no_steps(copied, monkeypatch) -> None:
    """JAX agrees on the step to stop at by the numbers that it is told, which must rise, and epochs are fewer."""
    state, told = restored(copied), []
    monkeypatch.setattr(multihost_utils, "reached_preemption_sync_point", lambda step: bool(told.append(step)))

    def changed(by: float):
        shifted = [
            None if tree is None else jax.tree.map(lambda x: x + by, tree) for tree in (state.params, state.average)
        ]
        return dataclasses.replace(state, params=shifted[0], average=shifted[1])

    for again, epochs in ((0.0, (11, 12, 13)), (1.0, (11, 12))):  # numbers that training has not used
        with EpochFolder(copied / "epochs") as folder:
            for epoch in epochs:
                folder.save_epoch(changed(epoch + again), epoch)
                assert again == 0.0 or (copied / "epochs" / "13").is_dir()
    assert not told
    with EpochFolder(copied / "epochs") as folder:
        for epoch, by in ((11, 12.0), (12, 13.0), (13, 13.0)):
            found = folder.restored_epoch(epoch, PARAMS)
            np.testing.assert_array_equal(found.params["template"], changed(by).current()["template"])


def test_a_kill_while_an_epoch_is_written_again_keeps_the_one_before(copied, monkeypatch) -> None:
    state, epochs = restored(copied), copied / "epochs"
    with EpochFolder(epochs) as folder:
        folder.save_epoch(state, 11)
    (epochs / "11").rename(epochs / "before_11")  # as a process leaves it that is killed while it writes
    (epochs / "11.orbax-checkpoint-tmp-9").mkdir()
    for mended in (False, True):
        with EpochFolder(epochs) as folder:
            if mended:
                folder.remove_unfinished()
            assert folder.steps() == [*kept_by_training(epochs), 11]
            np.testing.assert_array_equal(
                folder.restored_epoch(11, PARAMS).params["template"], state.current()["template"]
            )
        assert (epochs / "11").is_dir() == mended
    assert not list(epochs.glob("before_*")) and not list(epochs.glob("*tmp*"))

    def refused(self, *arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ocp.AsyncCheckpointer, "save", refused)
    with pytest.raises(DataError, match="no space left"), EpochFolder(epochs) as folder:
        folder.save_epoch(state, 11)
    assert (epochs / "11").is_dir(), "put back at once"


def test_nothing_but_damaged_checkpoints_is_an_error_naming_the_last(copied) -> None:
    for step in STEPS:
        damage(copied, step)
    with pytest.raises(DataError, match="checkpoints/6: the checkpoint is damaged or does not fit this model"):
        restored(copied)
    assert (copied / "checkpoints" / "6").exists(), "nothing is set aside where nothing can be read"


def test_a_new_run_starts_with_a_checkpoint(tmp_path) -> None:
    def stop(index, size=None):
        raise DataError("no more particles")

    feed = make_feed()
    object.__setattr__(feed, "batch", stop)
    with pytest.raises(DataError, match="no more"):
        train(Toy(), PARAMS, feed, CONFIG, tmp_path)
    state = restored(tmp_path)
    assert int(state.step) == 0
    np.testing.assert_array_equal(state.params["template"], PARAMS["template"])


def failing(step: int, error: BaseException):
    """Return a manager's `restore` that fails at one step."""

    def restore(manager, number, args=None, _whole=ocp.CheckpointManager.restore):
        if number == step:
            raise error
        return _whole(manager, number, args=args)

    return restore


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


DEVICE = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
ELSEWHERE = "checkpoints/6: the checkpoint cannot be read now .*; it is left as it is"


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (DEVICE, jax.errors.JaxRuntimeError, "RESOURCE_EXHAUSTED"),
        (MemoryError("9 GiB"), MemoryError, "9 GiB"),
        (caused(Exception("in the background"), MemoryError("9 GiB")), MemoryError, "9 GiB"),
        (ExceptionGroup("several", [ValueError("one"), MemoryError("9 GiB")]), MemoryError, "9 GiB"),
        (OSError(errno.EMFILE, "Too many open files"), DataError, ELSEWHERE),
        (PermissionError(errno.EACCES, "Permission denied"), DataError, ELSEWHERE),
        (ValueError("Failed to open: Permission denied [os_error_code='13']"), DataError, ELSEWHERE),
        (ValueError("RESOURCE_EXHAUSTED: Error opening file"), DataError, ELSEWHERE),
    ],
)
def test_what_says_nothing_of_a_checkpoint_passes_none_over(copied, monkeypatch, caplog, error, kind, words) -> None:
    """As exhausted memory: a good checkpoint is neither called damaged nor set aside for an older one."""
    monkeypatch.setattr(ocp.CheckpointManager, "restore", failing(6, error))
    with pytest.raises(kind, match=words):
        restored(copied)
    with CheckpointFolder(copied / "checkpoints") as checkpoints, pytest.raises(kind, match=words):
        checkpoints.restore_params(PARAMS, CONFIG)
    assert {path.name for path in (copied / "checkpoints").iterdir()} == {"4", "6"} and "damaged" not in caplog.text


def test_an_interruption_while_a_checkpoint_is_read_is_none_of_its_faults(copied, monkeypatch) -> None:
    monkeypatch.setattr(ocp.CheckpointManager, "restore", failing(6, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        restored(copied)
    assert {path.name for path in (copied / "checkpoints").iterdir()} == {"4", "6"}


def test_nothing_is_compiled_to_write_what_every_device_holds(trained, tmp_path, caplog) -> None:
    state = restored(trained[0])
    arrays = {f"{side}": np.ones((4 * side, 7 + side), np.float32) for side in (1, 2)}
    state = dataclasses.replace(state, params=sharding.place_replicated(arrays, sharding.data_mesh()))
    assert len(state.params["2"].sharding.device_set) == 4
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints, jax.log_compiles():
        checkpoints.save(state)
        checkpoints.wait()
    assert "ompil" not in caplog.text
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
        found = checkpoints.restore(state, sharding.data_mesh()).params
    np.testing.assert_array_equal(found["2"], arrays["2"])
    assert len(found["2"].sharding.device_set) == 4
