"""The server's side of its workers: started when they are first asked, ended when nobody asks for a while.

A worker holds one run as it was at one checkpoint; asked of a later one, it is started anew. Of several runs the few
that were asked for last have a worker each.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.errors import DataError

IDLE = 600.0  # seconds without a question
MOST = 2  # workers of one kind at a time: each has a model in memory


class Workers:
    """A worker for each of the runs that were asked for last.

    Parameters
    ----------
    patience : seconds that an answer may take; None for as long as it takes.
    most : workers at a time; for another run that of the one that was asked for longest ago ends, once it has answered.
    """

    def __init__(self, patience: float | None = None, most: int = MOST) -> None:
        self._patience, self._most = patience, most
        self._free = threading.Condition()
        self._held: dict[Path, WorkerProcess] = {}  # the one asked for last stands last
        self._asking: Counter[Path] = Counter()

    def images(self, run: ServedRun, rows: np.ndarray) -> np.ndarray:
        """Return images and projections of particles, as `WorkerProcess.images`."""
        with self._of(run) as worker:
            return worker.images(run, rows)

    def evaluate(self, run: ServedRun, words: list[str], told: Callable[[dict[str, Any]], object]) -> None:
        """Have volumes written, as `WorkerProcess.evaluate`."""
        with self._of(run) as worker:
            worker.evaluate(run, words, told)

    def close(self, run: ServedRun | None = None) -> None:
        """End the worker of a run, or without one all of them, whatever they are at."""
        with self._free:
            ended = [worker for root, worker in self._held.items() if run is None or root == run.root]
        for worker in ended:
            worker.close()

    @contextmanager
    def _of(self, run: ServedRun) -> Iterator[WorkerProcess]:
        """Give the worker of a run, which is kept as long as somebody asks it."""
        root = run.root
        with self._free:
            while root not in self._held and len(self._held) >= self._most:
                idle = next((one for one in self._held if not self._asking[one]), None)
                if idle is None:
                    self._free.wait()
                else:
                    self._held.pop(idle).close()
            worker = self._held.pop(root, None) or WorkerProcess(self._patience)
            self._held[root] = worker
            self._asking[root] += 1
        try:
            yield worker
        finally:
            with self._free:
                self._asking[root] -= 1
                self._free.notify_all()


class WorkerProcess:
    """The worker of one run, asked one question at a time.

    Parameters
    ----------
    patience : seconds that an answer may take; None for as long as it takes.
    """

    def __init__(self, patience: float | None = None) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._of: tuple[Path, float] | None = None
        self._asked = 0.0

    def images(self, run: ServedRun, rows: np.ndarray) -> np.ndarray:
        """Return images and projections of particles, (2, chosen, n, n).

        Raises
        ------
        UserError : if the run cannot be opened, as before its first checkpoint.
        Refusal : 503 where the worker has ended.
        """

        def read(process: subprocess.Popen[bytes], told: dict[str, Any]) -> np.ndarray | None:
            if "shape" not in told or process.stdout is None:
                return None
            shape = (2, *told["shape"])
            data = process.stdout.read(4 * int(np.prod(shape)))
            return np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)

        return self._ask(run, {"images": rows.tolist()}, read)

    def evaluate(self, run: ServedRun, words: list[str], told: Callable[[dict[str, Any]], object]) -> None:
        """Have volumes written, as e2hype_eval.py does with these words.

        Parameters
        ----------
        told : called with what the worker says on the way, {"line": …} or {"fraction": …}, and with {} before it is
            asked. An OSError of it ends the worker.

        Raises
        ------
        UserError : one line on what is wrong.
        Refusal : 503 where the worker has ended.
        """

        def read(process: subprocess.Popen[bytes], said: dict[str, Any]) -> bool | None:
            told(said)
            return said.get("done")

        self._ask(run, {"evaluate": words}, read, lambda: told({}))

    def close(self) -> None:
        """End the process, whatever it is at."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._lock.acquire(blocking=False):  # whoever asks at the moment sees that it has ended
            try:
                self._end()
            finally:
                self._lock.release()

    def _ask(
        self,
        run: ServedRun,
        question: Any,
        read: Callable[[subprocess.Popen[bytes], dict[str, Any]], Any],
        ready: Callable[[], object] = lambda: None,
    ) -> Any:
        """Ask, and give what it says to `read` until that returns something; `ready` is called before."""
        with self._lock:
            timer = threading.Timer(self._patience or 0.0, self.close)
            timer.daemon = True
            if self._patience is not None:
                timer.start()
            try:
                process = self._running(run, (run.root, trained(run)))
                if process.stdin is None:
                    raise EOFError
                ready()
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
                found = None
                while found is None:
                    found = read(process, _said(process))
                return found
            except (OSError, ValueError, EOFError):
                self._end()
                raise Refusal(503, f"{run.name}: the process that holds its model has ended; ask again") from None
            finally:
                timer.cancel()
                self._asked = time.monotonic()

    def _running(self, run: ServedRun, of: tuple[Path, float]) -> subprocess.Popen[bytes]:
        """Return a worker of a run as it is now."""
        self._asked = time.monotonic()
        if self._process is not None and self._process.poll() is None and self._of == of:
            return self._process
        self._end()
        process = subprocess.Popen(
            [sys.executable, "-m", "libhetero.dashboard.worker", str(run.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )
        self._process, self._of = process, of
        try:
            _said(process)
        except DataError:  # it cannot open the run
            self._end()
            raise
        threading.Thread(target=self._watch, args=(process,), daemon=True, name="worker").start()
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that nobody has asked for a while."""
        while process.poll() is None:
            time.sleep(1.0)
            if time.monotonic() - self._asked > IDLE and not self._lock.locked():
                with contextlib.suppress(ProcessLookupError):
                    process.kill()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _said(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what a worker says next.

    Raises
    ------
    DataError : for the refusal that it says.
    EOFError : where it has ended.
    """
    line = b"" if process.stdout is None else process.stdout.readline()
    if not line:
        raise EOFError
    told = json.loads(line)
    if "error" in told:
        raise DataError(told["error"])
    return told


def trained(run: ServedRun) -> float:
    """Return when the parameters of a run were written last."""
    times = []
    for path in (run.folder / "checkpoints").glob("*"):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times, default=0.0)
