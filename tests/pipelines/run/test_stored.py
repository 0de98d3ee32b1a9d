"""A run that is asked to go on: whether anything is left to do, and from which step."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.start import RunStart
from libhetero.pipelines.run.stored import StoredRun
from libhetero.training.checkpoint import CheckpointFolder, last_about, last_step
from libhetero.training.configuration import TrainingConfig
from libhetero.training.held_out import PATIENCE, split
from libhetero.training.optimiser import build_optimiser, start_state
from tests.making.feeds import make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=100, batch_size=40, test_fraction=0.2)  # one step an epoch


@pytest.fixture
def start() -> RunStart:
    feed = make_feed()
    config = RunConfig("hype", {}, CONFIG, DataConfig("imaginary.star"))
    return RunStart(config, feed, split(len(feed), CONFIG)[0], Toy(), stored=True)


@pytest.mark.parametrize(("kept", "finished"), [(1, True), (2, False)])
def test_held_out_particles_that_gain_nothing_have_finished_a_run(start, tmp_path, kept, finished) -> None:
    """Whether or not its checkpoint says that they did, as one of formats 1 and 2 does not."""
    state = start_state(start.model.init(jax.random.key(0)), build_optimiser(CONFIG, 1), CONFIG)
    best = dataclasses.replace(state.held(), epoch=jnp.int32(kept))
    with CheckpointFolder(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(dataclasses.replace(state, step=jnp.int32(1 + PATIENCE), kept=best))
    (tmp_path / "mid_00.txt").touch()
    run = StoredRun(RefineConfig(resume=str(tmp_path)), tmp_path)
    assert run.finished(start) == (tmp_path if finished else None)


def test_the_step_reached_is_known_where_the_last_checkpoint_says_nothing(tmp_path) -> None:
    assert last_step(tmp_path) is None
    for name in ("4", "16", "damaged_20"):
        (tmp_path / name).mkdir()
    assert last_step(tmp_path) == 16 and last_about(tmp_path) is None
