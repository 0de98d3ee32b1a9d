"""Regions are seen in the plane and on the molecule, edited by hand, and saved as segment and eval take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.making.browsing import Visit, until


def _shown(visit: Visit) -> None:
    visit.page.keyboard.press("3")
    visit.page.wait_for_selector(".tablehost tr[data-region='2']")
    until(visit.page, "libhetero.tabs.regions.viewer?.stage.tasks.count === 0")
    visit.page.wait_for_timeout(800)


def _mask(visit: Visit) -> np.ndarray:
    return np.array(visit.page.evaluate("[...libhetero.tabs.regions.mask]"), bool)


def _labels(visit: Visit) -> np.ndarray:
    return np.array(visit.page.evaluate("[...libhetero.tabs.regions.editing.labels]"))


def test_plane_and_molecule_are_linked(visit: Visit) -> None:
    page = visit.page
    _shown(visit)
    assert visit.ink(".regions .stage") > 0.01
    page.locator("tr[data-region='1'] .name").click()
    assert (_mask(visit) == (_labels(visit) == 1)).all()
    before = visit.ink(".plane")
    page.get_by_label("Show region 2").uncheck()
    page.wait_for_timeout(500)
    assert visit.ink(".plane") < before
    x, y = (np.array(page.evaluate(f"[...libhetero.tabs.regions.columns.plane{axis}]")) for axis in (1, 2))
    visit.drag(".plane canvas", [(0, 0), (0.5, 0), (0.5, 1), (0, 1)])
    until(page, "libhetero.tabs.regions.mask.some((one) => one)")
    chosen = _mask(visit)
    assert 0 < chosen.sum() < len(chosen) and x[chosen].max() <= x[~chosen].min() and len(y) == len(x)


def test_edits_are_saved_as_new_regions(visit: Visit, project: Path) -> None:
    page = visit.page
    _shown(visit)
    old = _labels(visit)
    page.locator("tr[data-region='1'] .name").click()
    page.get_by_label("Region to give the chosen Gaussians to").select_option("2")
    assert (_labels(visit) == np.where(old == 1, 2, old)).all()
    page.keyboard.press("Control+z")
    assert (_labels(visit) == old).all()
    page.get_by_label("Mark region 1").check()
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("lid")
    page.locator("dialog").get_by_role("button", name="Rename").click()
    page.wait_for_selector("tr[data-region='1'] >> text=lid")
    page.get_by_label("Mark region 2").check()
    page.get_by_role("button", name="Merge").click()
    page.wait_for_selector("tr[data-region='2']", state="detached")
    page.keyboard.press("s")
    page.get_by_label("Name of the new segmentation").fill("by_hand")
    page.locator("dialog").get_by_role("button", name="Save").click()
    page.wait_for_selector("dialog >> text=e2hype_segment.py")
    rows = np.loadtxt(project / "gmm_00" / "regions_01.txt")
    assert (rows[:, 5] == (old > 0)).all()
    assert '"lid"' in (project / "gmm_00" / "regions_01.json").read_text()
