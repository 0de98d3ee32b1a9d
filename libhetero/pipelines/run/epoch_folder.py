"""RUN/epoch_NN: where what is made of a run's earlier epoch is kept, by which name it is also asked for."""

from __future__ import annotations

import re
from pathlib import Path

from libhetero.pipelines.run.configuration import CONFIG

NAME = re.compile(r"epoch_([0-9]{1,9})")


def run_and_epoch(folder: str | Path) -> tuple[Path, int | None]:
    """Return a run's folder, and the epoch where the folder given is that of one; None for the last parameters."""
    folder = Path(folder)
    named = NAME.fullmatch(folder.name)
    if named and not (folder / CONFIG).exists() and (folder.parent / CONFIG).exists():
        return folder.parent, int(named[1])
    return folder, None


def epoch_folder(run: Path, epoch: int) -> Path:
    """Return where what is made of an epoch of a run is kept."""
    return run / f"epoch_{epoch:02d}"
