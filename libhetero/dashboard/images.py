"""Particles as their model is shown them, beside what it makes of them, and what is left.

Images are read from their stacks by this process. Projections are another one's work (`projector`), which is started
when the first is asked for, and ended when nobody has asked for a while or the run has trained on.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.errors import DataError

MOST, LARGEST_BOX = 64, 128  # images at a time, and their pixels along each side
KINDS = ("image", "projection", "residual")
REMEMBERED = 16  # answers of a projector
IDLE, PATIENCE = 600.0, 300.0  # seconds without a question, and for an answer


def stored_images(run: ServedRun, rows: Int[np.ndarray, "chosen"]) -> Float[np.ndarray, "chosen m m"]:
    """Return particles as their model is shown them, less their means, in a box that a page can show.

    Raises
    ------
    DataError : if a stack cannot be read.
    """
    from libhetero.io import ImageReader
    from libhetero.training.preprocess import preprocess

    particles = run.particles()
    with ImageReader(particles) as reader:
        images = preprocess(np.nan_to_num(reader.read(rows)), run.config.data.preprocess)
    return shown(images - images.mean(axis=(1, 2), keepdims=True))


def shown(images: Float[np.ndarray, "chosen n n"]) -> Float[np.ndarray, "chosen m m"]:
    """Return images in the box that they are shown in, cropped in Fourier space where they are larger."""
    from libhetero.training.preprocess import fourier_crop

    return np.asarray(fourier_crop(images, min(images.shape[-1], LARGEST_BOX)), np.float32)


class Projections:
    """The projector of each run, of which one lives at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._of: tuple[Path, float] | None = None
        self._asked = 0.0
        self._known: OrderedDict[Any, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def images(self, run: ServedRun, rows: Int[np.ndarray, "chosen"], what: str) -> Float[np.ndarray, "chosen m m"]:
        """Return projections, or images less projections.

        Raises
        ------
        UserError : if the run cannot be opened, as before its first checkpoint.
        Refusal : 503 where there is no answer in time.
        """
        images, model = self._both(run, rows)
        return shown(model if what == "projection" else images - model)

    def close(self) -> None:
        """End the process."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _both(self, run: ServedRun, rows: Int[np.ndarray, "chosen"]) -> tuple[np.ndarray, np.ndarray]:
        of = (run.root, _trained(run))
        key = (of, rows.tobytes())
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            timer = threading.Timer(PATIENCE, self.close)
            timer.daemon = True
            timer.start()
            try:
                found = self._answer(run, of, rows)
            except (OSError, ValueError, EOFError):
                self._end()
                raise Refusal(503, f"{run.name}: the program that projects its model has ended") from None
            finally:
                timer.cancel()
            self._known[key] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return found

    def _answer(
        self, run: ServedRun, of: tuple[Path, float], rows: Int[np.ndarray, "chosen"]
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._process is None or self._process.poll() is not None or self._of != of:
            self._end()
            self._start(run, of)
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        self._asked = time.monotonic()
        process.stdin.write(json.dumps(rows.tolist()).encode() + b"\n")
        process.stdin.flush()
        shape = tuple(_said(process)["shape"])
        size = 4 * int(np.prod(shape))
        data = process.stdout.read(2 * size)
        both = np.frombuffer(data, "<f4").reshape(2, *shape)
        return both[0].astype(np.float32), both[1].astype(np.float32)

    def _start(self, run: ServedRun, of: tuple[Path, float]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "libhetero.dashboard.projector", str(run.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        )
        self._of = of
        _said(self._process)
        self._watch(self._process)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """End a process that nobody has asked for a while."""

        def look() -> None:
            while process.poll() is None:
                time.sleep(IDLE / 10)
                if time.monotonic() - self._asked > IDLE:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()

        self._asked = time.monotonic()
        threading.Thread(target=look, daemon=True, name="projector").start()

    def _end(self) -> None:
        if self._process is not None:
            self.close()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        self._process = None


def _said(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return a line of the process.

    Raises
    ------
    DataError : for the refusal that it holds.
    EOFError : where the process has ended.
    """
    line = b"" if process.stdout is None else process.stdout.readline()
    if not line:
        raise EOFError
    told = json.loads(line)
    if "error" in told:
        raise DataError(told["error"])
    return told


def _trained(run: ServedRun) -> float:
    """Return when the parameters of a run were written last."""
    times = []
    for path in (run.folder / "checkpoints").glob("*"):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times, default=0.0)
