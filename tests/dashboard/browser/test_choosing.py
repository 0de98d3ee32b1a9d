"""Particles are looked at, chosen with the mouse and written; the lists that come out are read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import read_particles
from tests.making.browsing import Visit, until

LASSO = [(0.15, 0.2), (0.6, 0.1), (0.75, 0.5), (0.5, 0.9), (0.15, 0.7)]


def _count(visit: Visit, count: int) -> None:
    visit.page.wait_for_selector(f".count[data-count='{count}']")


def _inside(x: np.ndarray, y: np.ndarray, corners: list[list[float]]) -> list[int]:
    """Return which points a polygon holds: how often a ray to the right meets its sides."""
    found = []
    for row, (a, b) in enumerate(zip(x, y, strict=True)):
        meets = 0
        for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
            if (y1 > b) != (y2 > b) and a < x1 + (b - y1) * (x2 - x1) / (y2 - y1):
                meets += 1
        if meets % 2:
            found.append(row)
    return found


def test_all_particles_are_drawn(visit: Visit) -> None:
    assert "40 particles, every one drawn" in visit.page.locator(".note").inner_text()
    assert visit.ink("canvas.points") > 0.001
    names = visit.page.locator(".axes .axis-name").all_text_contents()
    assert len(names) == 2 and all(names)


def test_a_lasso_is_written_and_read_back(visit: Visit, project: Path) -> None:
    page = visit.page
    page.keyboard.press("l")
    visit.drag("canvas.points", LASSO)
    until(page, "libhetero.selection.count > 0")
    chosen = visit.chosen()
    assert 0 < len(chosen) < 40
    how = page.evaluate("libhetero.selection.how")
    x, y = (
        np.array(page.evaluate("name => libhetero.columns.values(name).then((v) => [...v])", how[axis]))
        for axis in "xy"
    )
    assert chosen == _inside(x, y, how["lasso"])
    page.keyboard.press("s")
    page.get_by_label("Name", exact=True).fill("cluster_1")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("dialog >> text=Saved: cluster_1")
    folder = project / "gmm_00" / "selections" / "cluster_1"
    assert np.loadtxt(folder / "cluster_1.txt", dtype=int).tolist() == chosen
    whole, some = read_particles(project / "particles.star"), read_particles(folder / "cluster_1.star")
    assert some.image_index.tolist() == whole.image_index[chosen].tolist()
    assert json.loads((folder / "selection.json").read_text())["how"] == how
    assert "e2hype_dashboard.py" in page.locator("dialog .command code").first.inner_text()


def test_choices_are_combined_and_undone(visit: Visit) -> None:
    page = visit.page
    page.locator(".legend .classes button").first.click()
    until(page, "libhetero.selection.count > 0")
    first = set(visit.chosen())
    page.locator("summary", has_text="By threshold").click()
    page.get_by_label("Column", exact=True).select_option("z1")
    page.get_by_label("From", exact=True).fill("0")
    page.locator(".modes span", has_text="Add").click()
    page.locator("details", has_text="By threshold").get_by_role("button", name="Choose").click()
    z1 = np.array(page.evaluate("libhetero.columns.values('z1').then((v) => [...v])"))
    both = first | set(np.flatnonzero(z1 >= 0).tolist())
    _count(visit, len(both))
    page.keyboard.press("i")
    _count(visit, 40 - len(both))
    assert set(visit.chosen()) == set(range(40)) - both
    assert "not" in page.evaluate("libhetero.selection.how")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    _count(visit, len(first))
    page.keyboard.press("Escape")
    _count(visit, 0)


def test_an_index_file_chooses(visit: Visit, tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.array([3, 7, 30]))
    visit.page.locator("summary", has_text="By index file").click()
    visit.page.locator("input[type=file]").set_input_files(tmp_path / "good.npy")
    _count(visit, 3)
    assert visit.chosen() == [3, 7, 30]


def test_images_follow_what_is_chosen(visit: Visit) -> None:
    visit.click_particle(3)
    strip = visit.page.locator(".strip")
    until(visit.page, "document.querySelector('.strip')?.innerText.includes('Particle 3')")
    until(visit.page, "[...document.querySelectorAll('.strip canvas')].filter((c) => c.width !== 80).length === 3")
    assert strip.locator("canvas").count() == 3


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_figure_is_saved(visit: Visit, tmp_path: Path, kind: str) -> None:
    with visit.page.expect_download() as waiting:
        visit.page.locator(".scatter .toolbar").get_by_role("button", name=kind.upper()).click()
    path = tmp_path / f"figure.{kind}"
    waiting.value.save_as(path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG" if kind == "png" else b"<svg")
    assert len(data) > 5000 and (kind == "png" or data.count(b"<circle") >= 40)


def test_a_link_leads_to_the_same_view(visit: Visit) -> None:
    page = visit.page
    page.locator("[data-axis=x]").select_option("z1")
    page.locator("[data-axis=y]").select_option("z2")
    page.locator("[data-axis=colour]").select_option("density")
    page.wait_for_selector(".scatter[data-drawn='z1 z2 density']")
    address = page.url
    page.goto("about:blank")
    visit.faults.clear()  # the blank page is elsewhere
    page.goto(address)
    page.wait_for_selector(".scatter[data-drawn='z1 z2 density']")


def test_a_kept_selection_is_chosen_again(visit: Visit) -> None:
    page = visit.page
    page.locator(".legend .classes button").first.click()
    until(page, "libhetero.selection.count > 0")
    chosen = visit.chosen()
    page.keyboard.press("s")
    page.get_by_label("Name", exact=True).fill("kept")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_selector("dialog >> text=Saved: kept")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    _count(visit, 0)
    page.locator(".kept .name", has_text="kept").click()
    _count(visit, len(chosen))
    assert visit.chosen() == chosen


def test_a_selection_is_segmented_again(visit: Visit, project: Path) -> None:
    """Its command is shown, and is run as a job."""
    page = visit.page
    page.locator(".legend .classes button").first.click()
    until(page, "libhetero.selection.count > 0")
    page.keyboard.press("s")
    page.get_by_label("Name", exact=True).fill("first_class")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Segment again").click()
    listed = project / "gmm_00" / "selections" / "first_class" / "first_class.txt"
    page.wait_for_selector(f"dialog >> text=e2hype_segment.py {project / 'gmm_00'} --ind {listed}")
    page.get_by_role("button", name="Run it here").click()
    until(page, "[...libhetero.jobs.list.values()].some((job) => job.kind === 'segment' && job.state === 'running')")
    job = page.evaluate("[...libhetero.jobs.list.values()].find((job) => job.kind === 'segment')")
    assert job["title"] == "segment first_class of gmm_00" and "--ind" in job["command"]
    page.evaluate("number => libhetero.jobs.cancel(number)", job["job"])
    until(page, "libhetero.jobs.active().length === 0")
