"""The log that EMAN2 programs keep in the folder they are started in.

Each run is one line of `.eman2log.txt`, tab-separated: start time, status, process ids,
host and command. The status is 19 characters wide and is rewritten in place: `incomplete`,
then `%3d%%` while running, then the time of the end. A run that fails keeps its last status.

EMAN2's project manager finds the status at byte 20 of a line, and at byte 51 the -1 of a run that nobody called, which
it rewrites as -2 once the run stands in its notebook. It stops reading at the first line that is not UTF-8.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path

LOG_NAME = ".eman2log.txt"
TIME_FORMAT = "%Y/%m/%d %H:%M:%S"
STATUS_WIDTH = 19
STATUS_OFFSET = 20  # the start time and its tab
IDS_WIDTH = 13  # of both process ids: the second ends at byte 52, where the project manager expects it


class Eman2Log:
    """One run's line of the log.

    A folder that cannot be written loses the log, never the run: every method then does nothing.

    Parameters
    ----------
    command : the command line as typed.
    ppid : process id of the calling program, -1 for none.
    folder : where the log lies; the current folder by default.
    """

    def __init__(self, command: str, ppid: int = -1, folder: str | Path = ".") -> None:
        self.path = Path(folder).absolute() / LOG_NAME
        self._command = " ".join(command.split())
        self._ppid = ppid
        self._status_position: int | None = None
        self._status = ""

    def start(self) -> None:
        """Append this run's line with the status `incomplete`; does nothing the second time."""
        if self._status_position is not None:
            return
        line = "\t".join(
            [
                time.strftime(TIME_FORMAT),
                "incomplete".ljust(STATUS_WIDTH),
                _process_ids(os.getpid(), self._ppid),
                socket.gethostname(),
                self._command,
            ]
        )
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK  # a pipe without a reader is not waited for
            descriptor = os.open(self.path, flags, 0o666)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return
                if os.write(descriptor, data) == len(data):
                    end = os.lseek(descriptor, 0, os.SEEK_CUR)
                    self._status_position = end - len(data) + STATUS_OFFSET
            finally:
                os.close(descriptor)
        except OSError:
            self._status_position = None

    def progress(self, fraction: float) -> None:
        """Set the status to a percentage; `fraction` is 0 to 1, held to that range."""
        self._rewrite(f"{int(100 * min(max(fraction, 0.0), 1.0)):3d}%")

    def end(self) -> None:
        """Set the status to the present time: the run is complete."""
        self._rewrite(time.strftime(TIME_FORMAT))

    def _rewrite(self, status: str) -> None:
        if self._status_position is None or status == self._status:
            return
        self._status = status
        try:
            with open(self.path, "r+b") as log:
                log.seek(self._status_position)
                log.write(status.ljust(STATUS_WIDTH).encode("ascii"))
        except OSError:
            self._status_position = None


def _process_ids(pid: int, ppid: int) -> str:
    """Return both process ids in one width, `pid/ppid`, also where the first has more than six digits."""
    own = f"{pid:6d}/"
    return own + str(ppid).rjust(IDS_WIDTH - len(own))
