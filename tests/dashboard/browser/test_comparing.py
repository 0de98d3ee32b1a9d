"""Two runs beside each other in the browser: agreement in tables, volumes matched and shown over each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.making.browsing import Visit, served, until
from tests.making.shown_runs import add_embedding, add_segmentation, add_volumes, write_shown_run


def test_runs_are_compared_and_matched_volumes_are_shown(visits: Callable, tmp_path: Path) -> None:
    for name, places in (("gmm_00", (-3, 3)), ("gmm_01", (3, -3))):
        run = write_shown_run(tmp_path, name)
        add_embedding(run)
        add_segmentation(run)
        add_volumes(run, places)
    with served(tmp_path, "gmm_00", "gmm_01") as server:
        visit: Visit = visits(server).open(f"{server.address}#tab=compare", ready="body[data-ready]")
        page = visit.page
        visit.go("tab=compare")
        page.wait_for_selector(".compared table >> text=class_00.mrc")
        assert "agree" in page.locator(".verdict").inner_text()
        assert page.locator(".twin canvas.points").count() == 2
        assert page.locator(".cross td").all_inner_texts() == ["20", "0", "0", "19"]
        rows = [row.split("\t") for row in page.locator(".compared table:has(button) tbody tr").all_inner_texts()]
        assert sorted(row[:2] for row in rows) == [["class_00.mrc", "class_01.mrc"], ["class_01.mrc", "class_00.mrc"]]
        page.get_by_role("button", name="Show").first.click()
        until(
            page,
            "document.querySelector('.matched').dataset.shown && libhetero.tabs.compare.viewer.stage.tasks.count === 0",
        )
        assert page.evaluate("document.querySelector('.matched').dataset.shown").count("class_0") == 2
        until(page, "libhetero.tabs.compare.viewer.shown.length === 2")
        assert visit.ink(".matched canvas") > 0.01
        page.evaluate(
            "() => { globalThis.before = [...libhetero.tabs.compare.windows]; libhetero.tabs.compare.load(); }"
        )
        until(page, "libhetero.tabs.compare.windows.length === 2 && libhetero.tabs.compare.windows[0] !== before[0]")
        contexts = "before.map(one => one.points?.gl ?? one.stage.viewer.renderer.getContext())"
        assert page.evaluate(f"{contexts}.map(one => one.isContextLost())") == [True, True, True]
