"""Volumes are decoded on demand and seen; a series is played, compared and saved."""

from __future__ import annotations

from pathlib import Path

import mrcfile

from tests.making.browsing import Visit, until

CANVAS = ".viewer .stage"


def _decoded(visit: Visit, rows: tuple[int, ...]) -> None:
    visit.page.keyboard.press("2")
    for row in rows:
        visit.click_particle(row)
    until(visit.page, "count => document.querySelectorAll('.picked button').length === count", arg=len(rows))
    visit.page.keyboard.press("v")
    visit.page.wait_for_selector(".viewer[data-shown]")


def test_a_volume_is_seen(visit: Visit, tmp_path: Path) -> None:
    """The canvas shows a surface, another level another one, and the file is a map."""
    page = visit.page
    _decoded(visit, (3, 7))
    until(page, "libhetero.volumes.viewers[0].stage.tasks.count === 0")
    page.wait_for_timeout(800)
    seen = visit.ink(CANVAS)
    assert seen > 0.01
    level = page.get_by_label("Level of the surface, density")
    level.fill(str(4 * float(level.input_value())))
    level.press("Enter")
    page.wait_for_timeout(1500)
    assert visit.ink(CANVAS) < 0.9 * seen
    with page.expect_download() as waiting:
        page.get_by_role("link", name=".mrc").click()
    waiting.value.save_as(tmp_path / "volume.mrc")
    assert mrcfile.read(tmp_path / "volume.mrc").shape == (16, 16, 16)
    page.get_by_role("button", name="Side by side").click()
    until(page, "document.querySelectorAll('.viewer .view:not([hidden])').length === 2")
    distance = "libhetero.volumes.viewers[0].stage.viewer.cameraDistance"
    page.evaluate("libhetero.volumes.viewers[0].stage.viewerControls.zoom(0.7)")
    near = page.evaluate(distance)
    page.get_by_role("button", name="Difference").click()
    page.wait_for_selector(".viewfoot >> text=more in")
    until(page, f"near => {distance} > 1.5 * near", arg=near)  # all of it is seen, however near one looked before
    page.get_by_role("button", name="One", exact=True).click()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".viewer[data-shown$=' 1 one']")
    assert "i=1" in page.url
    page.keyboard.press("6")
    page.wait_for_selector(".job .chip.done")
    assert "e2hype_eval.py" in page.locator(".job .command code").first.inner_text()


def test_a_path_is_decoded_and_played(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("2")
    page.keyboard.press("t")
    for row in (3, 7):
        visit.click_particle(row)
    page.wait_for_selector(".draw .path")
    page.get_by_label("Volumes along the path").fill("3")
    page.get_by_role("button", name="Decode the path").click()
    until(page, "libhetero.volumes.set?.series.length === 3 && document.querySelector('.viewer').dataset.shown")
    page.evaluate("document.activeElement.blur()")  # on a button the space bar presses it
    page.keyboard.press(" ")
    page.wait_for_selector(".viewer[data-shown$=' 2 one']")
    page.keyboard.press(" ")
    assert page.get_by_role("button", name="Play").is_visible()
