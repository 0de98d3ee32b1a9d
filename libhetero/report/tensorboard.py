"""A run in TensorBoard: event files with the numbers of every report and the figures.

Events are written here and now, by the part of tensorboardX that frames and encodes them, rather than
through its `SummaryWriter`: that hands them to a thread, and once the thread has met a full disk, the
next events wait for it, and training with them, for ever.
"""

from __future__ import annotations

import importlib.util
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.image import imread

from libhetero.errors import ConfigurationError

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

FILE_VERSION = "brain.Event:2"
SECONDS_BETWEEN_FLUSHES = 5.0


def require_tensorboard() -> None:
    """Refuse, before anything long is begun, to go on without tensorboardX.

    Raises
    ------
    ConfigurationError : naming what to install.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        raise ConfigurationError(
            "--tensorboard: needs the package tensorboardX, which is not installed; install it with "
            "pip install 'libhetero[tensorboard]', or leave the option out."
        )


class TensorBoard:
    """Event files of one run, of which every start adds one.

    Parameters
    ----------
    folder : of the event files; made where it is missing.
    first_step : the first that will be written; what an earlier start wrote from there on is hidden.
    """

    def __init__(self, folder: str | Path, first_step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which tell seconds apart.
        self._writer: EventsWriter = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed = -math.inf
        self._add(first_step, file_version=FILE_VERSION)
        self._add(first_step, session_log=SessionLog(status=SessionLog.START))

    def add_numbers(self, step: int, values: dict[str, Any]) -> None:
        """Add every number of a report at `step`."""
        from tensorboardX.summary import scalar

        for name, value in values.items():
            if isinstance(value, (int, float)) and name != "step":
                self._add(step, summary=scalar(name, value))
        if time.monotonic() - self._flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def add_figure(self, step: int, name: str, path: str | Path) -> None:
        """Add a PNG at `step`."""
        from tensorboardX.summary import image

        pixels = np.rint(255 * imread(path)[..., :3]).astype(np.uint8)
        self._add(step, summary=image(name, pixels, dataformats="HWC"))
        self.flush()

    def flush(self) -> None:
        """Wait until all of it lies on the disk."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()

    def _add(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write_event(Event(step=step, wall_time=time.time(), **content))
