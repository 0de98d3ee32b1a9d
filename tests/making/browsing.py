"""A dashboard that serves, and somebody who looks at it in a browser: what the tests of the page are made of."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.making.commands import NETWORK, TRAINING
from tests.making.sets import write_tiny_set

PROJECT = Path(__file__).resolve().parent.parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# WebGL without a graphics card, and no sandbox: tests run as root in containers.
ARGUMENTS = (
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--ignore-gpu-blocklist", "--disable-dev-shm-usage"),
)
PATIENCE = 150_000  # ms: several tests share two cores
# What is drawn fits its place: two frames tell the watchers of sizes, who then wait 60 ms for more (scatter.js).
SETTLED = """() => new Promise(
  (done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 120))),
)"""


def lacking() -> str | None:
    """Return what the tests of the page lack here; None where they can run."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    if browser() is None:
        return f"no browser on the path: {', '.join(BROWSERS)}"
    return None


def browser() -> str | None:
    """Return the path of the browser."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def until(page: Any, expression: str, arg: Any = None, every: float = 0.05) -> None:
    """Wait for an expression, or a function of `arg`, to be true in a page.

    Asked from without: what the browser would ask within is made of a text, which the page's policy forbids.

    Parameters
    ----------
    every : seconds between questions.
    """
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, f"never true: {expression}"
        time.sleep(every)


def program(name: str, *arguments: str, folder: Path) -> None:
    """Run one of the programs in a folder."""
    command = [sys.executable, str(PROJECT / "programs" / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


def environment() -> dict[str, str]:
    """Return the environment of a process that finds the package."""
    return os.environ | {"PYTHONPATH": str(PROJECT)}


def make_run(folder: Path, name: str = "gmm_00", seed: str = "5") -> Path:
    """Train a Gaussian model of 40 small images for seconds, with classes and two regions; return its folder."""
    if not (folder / "particles.star").exists():
        write_tiny_set(folder, 40)
    program("e2hype_refine.py", "particles.star", *NETWORK, *TRAINING, "--path", name, "--seed", seed, folder=folder)
    program("e2hype_embed.py", name, "--method", "pca", "--classes", "2", folder=folder)
    _write_regions(folder / name)
    return folder / name


def _write_regions(run: Path) -> None:
    """Write regions of the Gaussians, and their places in a plane, as e2hype_segment.py and e2hype_embed.py do."""
    rows = np.loadtxt(run / "model_00.txt")
    label = np.where(rows[:, 0] < -0.05, 1, np.where(rows[:, 0] > 0.05, 2, 0))
    np.savetxt(run / "regions.txt", np.column_stack([rows[:, :5], label]), fmt=["%.8e"] * 5 + ["%d"])
    plane = np.column_stack([np.arange(len(rows)), rows[:, :2]])
    np.savetxt(run / "embed_gaussians.txt", plane, fmt=["%d", "%.6f", "%.6f"])


class Served:
    """A dashboard that runs in a process of its own.

    Parameters
    ----------
    process : of it.
    log : file that has what it printed.
    """

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self._log = process, log

    @property
    def address(self) -> str:
        """The address printed last, whose token lets one browser in."""
        return re.findall(r"http://\S+/\?token=\S+", self._log.read_text())[-1]

    @property
    def origin(self) -> str:
        """Where it listens."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """Serve runs from a folder, until the block ends."""
    log = folder / f"dashboard_{time.monotonic_ns()}.log"
    command = [sys.executable, str(PROJECT / "programs" / "e2hype_dashboard.py"), *arguments, "--nobrowser"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--port", "0"], cwd=folder, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + 60
        while "?token=" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield Served(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Visit:
    """A page that is open, and what went wrong in it.

    Parameters
    ----------
    page : of playwright.
    origin : of the server; a request to any other is a fault.
    """

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.faults = page, []
        self._origin = origin
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self._hear)
        page.on("request", self._ask)

    def _hear(self, message: Any) -> None:
        # A refusal that a test provokes is told on the page, and by the browser, too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def _ask(self, request: Any) -> None:
        if not request.url.startswith((f"{self._origin}/", "blob:", "data:")):
            self.faults.append(f"a request to elsewhere: {request.url}")

    def open(self, address: str, ready: str = ".scatter[data-drawn]") -> Visit:
        """Go to an address and wait for the page."""
        self.page.goto(address)
        self.page.wait_for_selector(ready)
        return self

    def go(self, hash_: str) -> None:
        """Go to a state of the page by its address."""
        self.page.evaluate("hash => { location.hash = hash; }", hash_)

    def drag(self, selector: str, corners: list[tuple[float, float]]) -> None:
        """Drag the mouse over an element; corners are parts of its width and height."""
        box = self.page.locator(selector).bounding_box()
        places = [(box["x"] + box["width"] * a, box["y"] + box["height"] * b) for a, b in corners]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=6)
        self.page.mouse.up()

    def click_particle(self, row: int) -> None:
        """Click a particle in the scatter, once the page stands still: another tab gives the scatter another size."""
        self.page.evaluate(SETTLED)
        box = self.page.locator("canvas.points").bounding_box()
        script = "row => { const s = libhetero.latent.scatter; return s.toPixels(s.x[row], s.y[row]); }"
        left, top = self.page.evaluate(script, row)
        self.page.mouse.click(box["x"] + left, box["y"] + top)

    def chosen(self) -> list[int]:
        """Return the rows that are chosen."""
        return self.page.evaluate("[...libhetero.selection.rows()]")

    def ink(self, selector: str, darker: int = 245) -> float:
        """Return the part of an element that is not white, or darker than another grey, as it is seen."""
        import io

        from PIL import Image

        picture = np.asarray(Image.open(io.BytesIO(self.page.locator(selector).first.screenshot())).convert("L"))
        return float((picture < darker).mean())
