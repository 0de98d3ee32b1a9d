#!/usr/bin/env python3
"""Take the pictures of the dashboard that docs/dashboard.md shows.

    python benchmarks/dashboard_screenshots.py RUN [OTHER_RUN] [--output docs/images]

RUN is of a Gaussian model, embedded and segmented. Needs playwright, Pillow and a chromium on the path.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.making.browsing import ARGUMENTS, Visit, browser, until  # noqa: E402

SIZE = {"width": 1360, "height": 820}
LASSO = [(0.03, 0.35), (0.2, 0.3), (0.36, 0.4), (0.36, 0.62), (0.18, 0.66), (0.04, 0.58)]


def main(argv: list[str] | None = None) -> int:
    """Serve the runs, go through the pages, and write a picture of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--output", type=Path, default=PROJECT / "docs" / "images")
    options = parser.parse_args(argv)
    options.output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(PROJECT / "programs" / "e2hype_dashboard.py"), *options.runs]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    server = subprocess.Popen(
        [*command, "--nobrowser", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        address = next(found[0] for line in server.stdout or [] if (found := re.search(r"http://\S+token=\S+", line)))
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=browser(), args=list(ARGUMENTS))
            page = started.new_page(viewport=SIZE)
            tour(Visit(page, address.split("/?")[0]).open(address), options.output, len(options.runs) > 1)
            started.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(40)
    return 0


def tour(visit: Visit, output: Path, compared: bool) -> None:
    """Go through the pages."""
    page = visit.page
    page.keyboard.press("l")
    visit.drag("canvas.points", LASSO)
    until(page, "libhetero.selection.count > 0")
    until(page, "![...document.querySelectorAll('.strip canvas')].some((one) => one.width === 80)")
    _picture(page, output / "dashboard_latent.png")
    page.keyboard.press("s")
    page.get_by_label("Name", exact=True).fill("cluster_1")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("dialog >> text=Saved")
    page.get_by_role("button", name="Train on these").click()
    page.wait_for_selector("dialog >> text=Run it here")
    _picture(page, output / "dashboard_export.png")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.wait_for_timeout(800)
    page.wait_for_timeout(2000)
    rows = page.evaluate("[...libhetero.selection.rows()]")
    outside = next(row for row in range(len(rows) * 2) if row not in rows)
    for number, row in enumerate((rows[0], outside), 1):
        visit.click_particle(row)
        until(page, "count => document.querySelectorAll('.picked button').length === count", arg=number)
    page.keyboard.press("v")
    page.wait_for_selector(".viewer[data-shown^='rows_']")
    page.get_by_role("button", name="Difference").click()
    page.wait_for_timeout(3000)
    _picture(page, output / "dashboard_volumes.png")
    page.keyboard.press("3")
    page.wait_for_selector(".tablehost tr[data-region='1']")
    page.wait_for_timeout(3000)
    page.locator("tr[data-region='1'] .name").click()
    page.wait_for_timeout(1500)
    _picture(page, output / "dashboard_regions.png")
    page.keyboard.press("4")
    page.wait_for_selector(".chart canvas")
    page.wait_for_timeout(2500)
    _picture(page, output / "dashboard_training.png")
    if compared:
        page.keyboard.press("5")
        page.wait_for_selector(".twin .legend h4")
        page.wait_for_timeout(3000)
        _picture(page, output / "dashboard_compare.png")
    page.keyboard.press("6")
    page.wait_for_selector(".job .chip.done")
    page.wait_for_timeout(500)
    _picture(page, output / "dashboard_jobs.png")


def _picture(page: Any, path: Path) -> None:
    """Write what is seen."""
    from PIL import Image

    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
