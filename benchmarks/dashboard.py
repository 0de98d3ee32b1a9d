"""How long a million particles take in the dashboard: until they are on the page, and until a lasso has chosen some.

    python benchmarks/dashboard.py --screenshot million.png --json dashboard.json       a minute or two on two CPU cores

A run folder is written that has latents, a plane and classes of that many particles and no images. The dashboard
serves it, a headless browser without a graphics card opens the page and draws a lasso with the mouse. "first" is the
first time a run is looked at, when its text tables are read; "again" any later time, when they are kept as arrays.
Every particle is drawn; none is left out. Needs playwright and a chromium on the path.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.configuration import write_json
from libhetero.errors import UserError
from libhetero.models.families import FAMILIES
from libhetero.pipelines.run.configuration import RunConfig, write_config
from libhetero.pipelines.run.data import DataConfig
from libhetero.training.configuration import TrainingConfig

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.making.browsing import ARGUMENTS, browser, until  # noqa: E402

TARGETS = {"load": 10.0, "lasso": 2.0}  # seconds, on two cores
DRAWN = "document.querySelector('.scatter')?.dataset.drawn"
# The page is idle again: what it was asked for has been drawn, and the graphics card has done it.
SHOWN = """async () => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))));
  libhetero.latent.scatter.points.finish();
}"""


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Parameters
    ----------
    particles : on the page.
    load : seconds from opening the address to the drawn scatter.
    lasso : seconds from the mouse's release to the chosen particles shown.
    chosen : particles in the lasso.
    """

    particles: int
    load: float
    lasso: float
    chosen: int


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--particles", type=int, default=1_000_000, help="default 1000000")
    parser.add_argument("--screenshot", type=Path, help="PNG of the page with the lasso's particles chosen")
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser


def write_run(folder: Path, count: int) -> None:
    """Write a run folder of `count` particles: latents in four dimensions, a plane and classes of eight clusters."""
    random = np.random.default_rng(0)
    klass = random.integers(0, 8, count)
    centre = random.normal(size=(8, 4))
    latent = centre[klass] + 0.22 * random.normal(size=(count, 4)) * (1 + klass[:, None] % 3)
    angle = 2 * np.pi * klass / 8
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 6
    plane = ring + random.normal(size=(count, 2)) * np.array([1.2, 0.8]) + 0.6 * np.sin(3 * latent[:, :2])
    embedding = folder / "embeddings" / "umap"
    embedding.mkdir(parents=True)
    family = FAMILIES[0]
    data = DataConfig("particles.star", count=count)
    write_config(folder, RunConfig(family.name, family.config.preset("small"), TrainingConfig(), data))
    index = np.arange(count)[:, None]
    np.savetxt(folder / "mid_00.txt", np.hstack([index, latent]), fmt=["%d"] + ["%.6g"] * 4)
    np.savetxt(embedding / "embed_particles.txt", np.hstack([index, plane]), fmt=["%d"] + ["%.6g"] * 2)
    np.savetxt(embedding / "classes_particles.txt", np.column_stack([index, klass]), fmt="%d")
    write_json(embedding / "made.json", {})


def measure(address: str, playwright: Any, screenshot: Path | None) -> Measured:
    """Open the page, wait for the points, draw a lasso, and return how long each took."""
    started = playwright.chromium.launch(executable_path=browser(), args=list(ARGUMENTS))
    page = started.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(300_000)
    start = time.perf_counter()
    page.goto(address)
    until(page, DRAWN)
    page.evaluate(SHOWN)
    load = time.perf_counter() - start
    page.keyboard.press("l")
    box = page.locator("canvas.points").bounding_box()
    turns = np.linspace(0, 2 * np.pi, 24)
    corners = [(0.7 + 0.22 * np.cos(turn), 0.5 + 0.4 * np.sin(turn)) for turn in turns]
    places = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    start = time.perf_counter()
    page.mouse.up()
    until(page, "libhetero.selection.count > 0", every=0.02)
    page.evaluate(SHOWN)
    lasso = time.perf_counter() - start
    count, chosen = page.evaluate("[libhetero.selection.mask.length, libhetero.selection.count]")
    if screenshot is not None:
        page.screenshot(path=str(screenshot))
    started.close()
    return Measured(count, load, lasso, chosen)


def serve_and_measure(folder: Path, screenshot: Path | None) -> Measured:
    """Serve a run, look at it, and stop."""
    command = [sys.executable, str(PROJECT / "programs" / "e2hype_dashboard.py"), str(folder), "--nobrowser"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        if server.stdout is None:
            raise UserError("the dashboard has no output")
        address = next((found[0] for line in server.stdout if (found := re.search(r"http://\S+\?token=\S+", line))), "")
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            return measure(address, playwright, screenshot)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return 0."""
    options = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="libhetero-dashboard-") as name:
        folder = Path(name) / "million"
        folder.mkdir()
        write_run(folder, options.particles)
        found = {"first": serve_and_measure(folder, None), "again": serve_and_measure(folder, options.screenshot)}
    print(f"{'':8}{'particles':>12}{'load, s':>10}{'lasso, s':>10}{'chosen':>10}")
    for when, one in found.items():
        print(f"{when:8}{one.particles:12d}{one.load:10.2f}{one.lasso:10.2f}{one.chosen:10d}")
    print(f"processes that ran or waited on {os.cpu_count()} cores, mean of the last minute: {os.getloadavg()[0]:.1f}")
    print(f"target  {'':12}{TARGETS['load']:10.2f}{TARGETS['lasso']:10.2f}")
    if options.json is not None:
        write_json(options.json, {when: vars(one) for when, one in found.items()} | {"target": TARGETS})
    return 0


if __name__ == "__main__":
    sys.exit(main())
