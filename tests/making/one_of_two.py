"""One process of a training run over two; started by training/test_processes.py."""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import orbax.checkpoint as ocp

from libhetero.errors import ConfigurationError, UserError
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.pipelines.run.new import of_process_0
from libhetero.training.checkpoint import BEFORE, EpochFolder
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig
from libhetero.training.processes import joined, processes_asked
from libhetero.training.sharding import data_mesh, is_writer, place_replicated, said_by_writer
from tests.making.feeds import make_feed
from tests.making.starts import made_start
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=2, batch_size=7, learning_rate=0.01, seed=3, checkpoint_every=1)


class Counting:
    """A feed that counts the particles it reads."""

    def __init__(self) -> None:
        self.feed, self.read = make_feed(), 0

    def __len__(self) -> int:
        return len(self.feed)

    def batch(self, index, size=None):
        self.read += len(index)
        return self.feed.batch(index, size)


def shared_anchors() -> list[float]:
    """Return what all processes have of a model of which each has measured other numbers, and more or fewer."""
    config = HypeConfig(inr_frequencies=8 + jax.process_index())
    anchors = np.full((config.inr_frequencies, 3), 1.5 + jax.process_index(), np.float32)
    model = HypeModel(config, anchors, np.ones(9, np.float32), 1.0, 1.0, 16, 4.0, start=made_start(16))
    shared = of_process_0("hype", model)
    assert isinstance(shared, HypeModel) and len(shared.anchors) == shared.config.inr_frequencies == 8
    assert shared.start is not None and np.array_equal(shared.start.volumes, made_start(16).volumes)
    return shared.anchors[0].tolist()


def refused() -> str:
    """Return what every process is told where process 0 refuses."""

    def refuse() -> str:
        raise ConfigurationError("process 0 says no.")

    try:
        return said_by_writer(refuse)
    except UserError as error:
        return f"raised: {error}"


def epoch_written_again(folder: Path) -> dict[str, float]:
    """Write an epoch twice, process 0 slow to make room for the second time.

    Returns what is kept, and when (seconds, of one clock) this process had made room, 0 where it makes none, and when
    it began to write.
    """
    rename, save, told = Path.rename, ocp.AsyncCheckpointer.save, {"made_room": 0.0}

    def slowly(path: Path, target: Path) -> Path:
        if BEFORE in str(target):
            time.sleep(2.0)
            told["made_room"] = time.time()
        return rename(path, target)

    def noted(writer, *arguments, **options):
        told["began"] = time.time()
        return save(writer, *arguments, **options)

    Path.rename, ocp.AsyncCheckpointer.save = slowly, noted
    try:
        with EpochFolder(folder / "epochs") as epochs:
            for value in (1.0, 2.0):
                params = place_replicated({"template": np.full(3, value, np.float32)}, data_mesh())
                epochs.save_epoch(SimpleNamespace(step=5, current=lambda params=params: params), 99)
            epochs.wait()
            found = epochs.restored_epoch(99, {"template": jax.ShapeDtypeStruct((3,), np.float32)})
    finally:
        Path.rename, ocp.AsyncCheckpointer.save = rename, save
    return told | {"kept": float(found.params["template"][0])}


def main(root: Path) -> None:
    """Train for two epochs, go on for a third pass by resuming, and write what was seen."""
    folder = Path(said_by_writer(lambda: str(root / "run")))
    model, feed = Toy(), Counting()
    params = model.init(jax.random.key(0))
    first = train(model, params, feed, CONFIG, folder)
    longer = dataclasses.replace(CONFIG, epochs=3)
    second = train(model, params, feed, longer, folder, resume=True)
    losses = np.concatenate([first.losses, second.losses])
    seen = {
        "losses": losses.tolist(),
        "read": feed.read,
        "devices": jax.device_count(),
        "writer": is_writer(),
        "heard": said_by_writer(lambda: "Å" * 3000) == "Å" * 3000 and said_by_writer(str) == "",
        "refused": refused(),
        "template": float(np.sum(second.params["template"])),
        "anchors": shared_anchors(),
        "written_again": epoch_written_again(folder),
    }
    (root / f"process_{jax.process_index()}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    with joined(processes_asked(None, None, None, os.environ)):
        main(Path(sys.argv[1]))
