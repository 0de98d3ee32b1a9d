"""The long work: programs, each in a process of its own, one at a time, with its log, and stopped by a signal.

What a worker does in place of a program has a lane of its own, so that volumes do not wait for a training.

How far a program is is read from the lines that it tells: "2/6 regions of Gaussians …" is a stage, "decoding 64/200, …"
a count within it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.cli.stages import find_program
from libhetero.dashboard.refusals import Refusal, missing, one_line_of
from libhetero.errors import INTERRUPTED, TERMINATED, UserError

LOGGER = logging.getLogger(__name__)
MOST_WAITING, MOST_ENDED = 20, 200  # jobs
MOST_LINES, LONGEST_LINE = 5000, 2000  # of a log
PATIENCE = 120.0  # seconds from the signal that asks a program to stop to the one that stops it
STAGE = re.compile(r"([0-9]{1,3})/([0-9]{1,3}) .* …$")
COUNT = re.compile(r"^\D*?([0-9]{1,10})/([0-9]{1,10})(?:,|$)")
ENDED = ("done", "failed", "cancelled")


class Reading:
    """How far a program is, by the lines that it tells."""

    def __init__(self) -> None:
        self.fraction = 0.0
        self._start, self._width = 0.0, 1.0

    def take(self, line: str) -> None:
        """Take a line."""
        stage, count = STAGE.search(line), COUNT.match(line)
        if stage is not None and 0 < int(stage[1]) <= int(stage[2]):
            self._start, self._width = (int(stage[1]) - 1) / int(stage[2]), 1 / int(stage[2])
            self.fraction = max(self.fraction, self._start)
        elif count is not None and 0 < int(count[2]) >= int(count[1]):
            self.fraction = max(self.fraction, self._start + self._width * int(count[1]) / int(count[2]))


@dataclass(frozen=True, eq=False)
class Work:
    """What a job is to do.

    Parameters
    ----------
    kind : "volumes", "train", …
    title : what it is, for people.
    command : words, the program first.
    run : number of the run that it is of.
    result : gives what the page is told of what it made, once it is done.
    worker : does the same as the command in a process that holds the run open; None to run the command.
    stop_worker : ends that process.
    makes : the folder of a run, or the map, that comes of it; None where that is neither.
    """

    kind: str
    title: str
    command: Sequence[str]
    run: int
    result: Callable[[], Any] = lambda: None
    worker: Callable[[Job], None] | None = None
    stop_worker: Callable[[], None] = lambda: None
    makes: Path | None = None


class Job:
    """Work that is to be done, is being done or has been done.

    Parameters
    ----------
    number : of the job.
    work : what it is.
    """

    def __init__(self, number: int, work: Work) -> None:
        self.number, self.work = number, work
        self.state, self.message = "queued", ""
        self.result: Any = None
        self.lines: deque[str] = deque(maxlen=MOST_LINES)
        self.told = 0  # lines so far, those included that are forgotten
        self.reading = Reading()
        self.began = self.ended = 0.0
        self.stopping = False
        self.process: subprocess.Popen[str] | None = None

    def described(self) -> dict[str, Any]:
        """Return what the page is told of it."""
        progress = 1.0 if self.state == "done" else self.reading.fraction
        told: dict[str, Any] = {name: getattr(self.work, name) for name in ("kind", "title", "run")}
        told |= {name: getattr(self, name) for name in ("state", "message", "result")}
        return told | {
            "job": self.number,
            "command": shlex.join(self.work.command),
            "progress": round(progress, 4),
            "lines": self.told,
            "seconds": round((self.ended or time.time()) - self.began, 1) if self.began else 0.0,
        }

    def log(self, since: int) -> dict[str, Any]:
        """Return the lines of its log from one on, and the number of the next."""
        held = list(self.lines)
        first = self.told - len(held)
        return {"lines": held[max(since - first, 0) :], "next": self.told, "state": self.state}

    def take(self, line: str) -> None:
        """Take a line that its program has told."""
        self.lines.append(line[:LONGEST_LINE])
        self.told += 1
        self.reading.take(line)


class Jobs:
    """All jobs of a server, of which one program and one worker run at a time."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._jobs: dict[int, Job] = {}
        self._waiting: deque[Job] = deque()
        self._lanes: set[bool] = set()  # that are open: of programs, False, and of workers, True
        self._closed = False
        self._next = 1
        self.version = 0  # counts what has changed, for those who watch

    def add(self, work: Work) -> Job:
        """Put work in the queue.

        Raises
        ------
        Refusal : 503 where too many wait.
        ConfigurationError : if the program is not installed.
        """
        find_program(work.command[0])
        with self._lock:
            if len(self._waiting) >= MOST_WAITING or self._closed:
                raise Refusal(503, f"{len(self._waiting)} jobs wait already; expected fewer. Try again later.")
            job = self._noted(work)
            self._waiting.append(job)
            lane = work.worker is not None
            if lane not in self._lanes:
                self._lanes.add(lane)
                threading.Thread(target=self._work, args=(lane,), daemon=True, name="jobs").start()
            self._lock.notify_all()
        return job

    def done(self, work: Work, result: Any) -> Job:
        """Note work whose result was there already."""
        with self._lock:
            job = self._noted(work)
            job.state, job.result = "done", result
            job.began = job.ended = time.time()
        return job

    def _noted(self, work: Work) -> Job:
        """Return a new job, which is remembered from now on."""
        job = Job(self._next, work)
        self._next += 1
        self._jobs[job.number] = job
        self._forget()
        self.version += 1
        return job

    def all(self) -> list[Job]:
        """Return all jobs that are remembered, the newest last."""
        with self._lock:
            return list(self._jobs.values())

    def making(self) -> set[Path]:
        """Return what jobs will make that wait or run."""
        return {job.work.makes for job in self.all() if job.work.makes is not None and job.state not in ENDED}

    def job(self, number: int) -> Job:
        """Return a job by its number.

        Raises
        ------
        Refusal : if there is none.
        """
        found = self._jobs.get(number)
        if found is None:
            raise missing(f"job {number}: there is none of this number")
        return found

    def cancel(self, number: int) -> Job:
        """Stop a job: one that waits is not begun, one that runs is asked to stop, and stopped if it does not."""
        job = self.job(number)
        with self._lock:
            if job.state == "queued":
                self._waiting.remove(job)
                job.state, job.message = "cancelled", "it had not begun"
            elif job.state == "running":
                job.stopping = True
            self.version += 1
        _stop(job)
        return job

    def close(self) -> None:
        """Stop whatever runs, and begin nothing more."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            running = [job for job in self._jobs.values() if job.state == "running"]
            self._lock.notify_all()
        for job in running:
            job.stopping = True
            _stop(job)

    def _forget(self) -> None:
        """Forget the oldest of those that have ended."""
        ended = [number for number, job in self._jobs.items() if job.state in ENDED]
        for number in ended[: max(len(ended) - MOST_ENDED, 0)]:
            del self._jobs[number]

    def _work(self, lane: bool) -> None:
        """Run one job of a lane after the other, for as long as the server does."""
        while True:
            with self._lock:
                while (job := self._first(lane)) is None and not self._closed:
                    self._lock.wait()
                if job is None or self._closed:
                    return
                self._waiting.remove(job)
                job.state, job.began = "running", time.time()
                self.version += 1
            try:
                self._run(job)
            except Exception as error:  # whatever it is, the next job is not to wait for it
                LOGGER.debug("job %d", job.number, exc_info=True)
                job.state, job.message = "failed", one_line_of(error)
            job.ended = time.time()
            self.version += 1

    def _first(self, lane: bool) -> Job | None:
        return next((job for job in self._waiting if (job.work.worker is not None) == lane), None)

    def _run(self, job: Job) -> None:
        code = self._by_worker(job) if job.work.worker is not None else self._by_program(job)
        last = next((line for line in reversed(job.lines) if line), "")
        if code == 0:
            try:
                job.result = job.work.result()
            except (UserError, OSError) as error:
                job.message = f"done, and what it made cannot be read: {' '.join(str(error).split())}"
                job.state = "failed"
                return
            job.state, job.message = "done", last
        elif job.stopping or code in (TERMINATED, INTERRUPTED):
            job.state, job.message = "cancelled", last if code in (TERMINATED, INTERRUPTED) else "stopped"
        else:
            job.state, job.message = "failed", last or f"ended with {code}"

    def _by_program(self, job: Job) -> int:
        """Run the command; return its exit code."""
        job.process = _started(job.work.command)
        if job.stopping:  # asked for before there was a process
            _stop(job)
        with job.process as process:
            for line in process.stdout or ():
                job.take(line.rstrip())
                self.version += 1
        return process.returncode

    def _by_worker(self, job: Job) -> int:
        """Have a worker do it; return the exit code that the command would have had."""
        if job.work.worker is None or job.stopping:
            return TERMINATED
        try:
            job.work.worker(job)
        except UserError as error:
            if not job.stopping:
                job.take(" ".join(str(error).split()))
            return 1
        except InterruptedError:
            return TERMINATED
        return 0

    def note(self, job: Job, said: dict[str, Any]) -> None:
        """Take what a worker says on the way: {"line": …} or {"fraction": …}.

        Raises
        ------
        InterruptedError : where the job is to stop, so that no worker goes on with it.
        """
        if job.stopping:
            raise InterruptedError
        if "line" in said:
            job.take(str(said["line"]))
        if "fraction" in said:
            job.reading.fraction = max(job.reading.fraction, min(float(said["fraction"]), 1.0))
        self.version += 1


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a program in a session of its own, so that Ctrl-C of the server's terminal does not reach it."""
    return subprocess.Popen(
        [sys.executable, str(find_program(command[0])), *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
    )


def _stop(job: Job) -> None:
    """Ask a running program to stop; see to it later where it does not."""
    process = job.process
    if job.state == "running" and job.work.worker is not None:
        job.work.stop_worker()
        return
    if job.state != "running" or process is None or process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)

    def insist() -> None:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(PATIENCE, insist)
    timer.daemon = True
    timer.start()
