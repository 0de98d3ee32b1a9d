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

from libhetero.errors import ConfigurationError

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter

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

    At the first report, and where steps go back, TensorBoard is told to hide what the run had written from
    there on.

    Parameters
    ----------
    folder : of the event files; made where it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, which tell seconds apart.
        self._writer: EventsWriter = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        self._flushed, self._last_step = -math.inf, math.inf

    def add_numbers(self, step: int, values: dict[str, Any]) -> None:
        """Add every number of a report at `step`."""
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.summary import scalar

        if step <= self._last_step:
            self._add(step, session_log=SessionLog(status=SessionLog.START))
        self._last_step = step
        for name, value in values.items():
            if isinstance(value, (int, float)) and name != "step":
                self._add(step, summary=scalar(name, value))
        if time.monotonic() - self._flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def add_figure(self, step: int, name: str, path: str | Path) -> None:
        """Add a coloured PNG at `step`, as it is."""
        from matplotlib.image import imread
        from tensorboardX.proto.summary_pb2 import Summary

        height, width, channels = imread(path).shape
        image = Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=Path(path).read_bytes()
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))
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
