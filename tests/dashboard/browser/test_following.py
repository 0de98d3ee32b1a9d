"""A run is followed while it trains: curves and samples change without asking again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.making.browsing import Served, Visit, until

SAVED = "document.querySelector('dialog')?.innerText.includes('Saved: same')"
REFUSED = "document.querySelector('dialog .fault')?.innerText"


def test_curves_grow_while_a_run_trains(visits: Callable, server: Served, project: Path) -> None:
    """What training writes into log.jsonl is on the page soon after."""
    visit: Visit = visits(server).open(f"{server.address}#tab=training", ready="body[data-ready]")
    page = visit.page
    visit.go("tab=training")
    page.wait_for_selector(".chart canvas")
    log = project / "gmm_00" / "log.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    more = last | {"step": last["step"] + 4, "epoch": last["epoch"] + 1, "loss": 12.5}
    before = page.evaluate("libhetero.tabs.training.lines.length")
    with log.open("a") as file:
        file.write(json.dumps(more) + "\n")
    until(page, "count => libhetero.tabs.training.lines.length === count + 1", arg=before)
    until(page, "document.querySelector('.facts').innerText.includes('12.5')")
    until(page, "libhetero.tabs.training.charts.get('loss').plot.data[1].at(-1) === 12.5")


def test_two_tabs_see_one_selection_once(visits: Callable, server: Served, project: Path) -> None:
    """Of two tabs that save under one name, one is told that it is taken; what is kept is the first."""
    first: Visit = visits(server).open(server.address)
    second: Visit = visits(server).open(server.address)
    for visit, item in ((first, 0), (second, 1)):
        visit.page.locator(".legend .classes button").nth(item).click()
        until(visit.page, "libhetero.selection.count > 0")
        visit.page.keyboard.press("s")
        visit.page.get_by_label("Name", exact=True).fill("same")
    for visit in (first, second):
        visit.page.get_by_role("button", name="Save", exact=True).click()
        until(visit.page, f"{SAVED} || {REFUSED}")
    assert "Saved: same" in first.page.locator("dialog").inner_text()
    assert "same" in second.page.locator("dialog .fault").inner_text()
    rows = (project / "gmm_00" / "selections" / "same" / "same.txt").read_text().split()
    assert [int(row) for row in rows if row.isdigit()] == first.chosen()
