"""A training run that meets a fault; started as a process of its own by training/test_faults.py."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import jax

from libhetero.errors import DataError
from libhetero.training import checkpoint, loop
from libhetero.training.checkpoint import CheckpointFolder
from libhetero.training.loop import train
from libhetero.training.optimiser import TrainingConfig
from tests.making.feeds import Signalling, make_feed
from tests.making.toys import Toy

CONFIG = TrainingConfig(epochs=4, batch_size=8, learning_rate=0.01, seed=3, report_every=1, checkpoint_every=1)


class KilledWriting(CheckpointFolder):
    """Checkpoints whose process is killed while the second is written in the background."""

    saved = 0

    def save(self, state, ended=False) -> None:
        super().save(state, ended)
        self.saved += 1
        if self.saved == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class FullDisk(CheckpointFolder):
    """Checkpoints on a disk that is full when the second is about to be written."""

    saved = 0

    def save(self, state, ended=False) -> None:
        self.saved += 1
        if self.saved == 2:
            self.wait()
            found = os.statvfs(self.folder)
            filler = self.folder.parents[1] / "filler"
            with contextlib.suppress(OSError):  # parameters of an epoch are being written, too
                filler.write_bytes(bytes(found.f_bavail * found.f_frsize - 8192))
        super().save(state, ended)


def main(folder: Path, fault: str) -> None:
    """Train until the fault; go on after a disk was full."""
    model, feed = Toy(), make_feed()
    params = model.init(jax.random.key(0))
    if fault == "killed":
        feed = Signalling(feed, 19, signal.SIGKILL)
    if fault in KINDS:
        loop.CheckpointFolder = KINDS[fault]
    if fault == "full_unnoticed":
        checkpoint.require_space = lambda *arguments: None
    try:
        train(model, params, feed, CONFIG, folder)
    except DataError as error:
        print(f"refused: {error}")
    (folder.parent / "filler").unlink()
    loop.CheckpointFolder = CheckpointFolder
    result = train(model, params, feed, CONFIG, folder, resume=True)
    print(f"resumed: {result.step} {len(result.losses)}")
    print((folder / "log.jsonl").read_text())


KINDS = {"killed_writing": KilledWriting, "full": FullDisk, "full_unnoticed": FullDisk}

if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
