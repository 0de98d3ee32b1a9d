"""What the page must not do or show: without a token, outside the runs, from elsewhere, names as markup."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.making.browsing import Served, Visit, served, until

MARKUP = "gmm_<script>window.hit=1<_script><img src=x onerror=window.hit=1>"


def test_a_wrong_token_lets_nobody_in(visits: Callable, server: Served) -> None:
    visit: Visit = visits(server)
    answer = visit.page.goto(f"{server.origin}/?token=wrong")
    assert answer.status == 403
    assert visit.page.goto(f"{server.origin}/api/session").status == 403
    assert visit.page.goto(f"{server.origin}/js/main.js").status == 403


def test_a_token_works_once(visits: Callable, server: Served) -> None:
    address = server.address
    visits(server).open(address)
    assert visits(server).page.goto(address).status == 403


def test_a_lost_key_is_said(visit: Visit) -> None:
    """The page of a browser whose cookie is gone says what to do."""
    visit.page.context.clear_cookies()
    text = visit.page.evaluate("fetch('api/session').then((one) => one.text())")
    assert "token" in text


def test_a_path_outside_is_refused(visit: Visit, project: Path) -> None:
    (project / "secret.txt").write_text("secret")
    (project / "gmm_00" / "link.txt").symlink_to(project / "secret.txt")
    for path in ("../secret.txt", "/etc/passwd", "link.txt", "..%2f..%2fsecret.txt"):
        status, text = visit.page.evaluate(
            "path => fetch(`api/runs/0/file?path=${path}`).then(async (one) => [one.status, await one.text()])", path
        )
        assert status in (400, 403, 404) and "secret\n" not in text and "root:" not in text


def test_nothing_is_asked_of_elsewhere(visit: Visit) -> None:
    """The policy refuses a request to another machine, and all pages of the dashboard make none."""
    for tab in "23456":
        visit.page.keyboard.press(tab)
        visit.page.wait_for_timeout(700)
    assert not visit.faults
    blocked = visit.page.evaluate("fetch('http://192.0.2.1/').then(() => 'reached', () => 'refused')")
    assert blocked == "refused"
    assert any("Content Security Policy" in fault for fault in visit.faults)
    visit.faults.clear()


@pytest.fixture
def marked(trained: Path, tmp_path: Path) -> Iterator[Served]:
    """Return a dashboard of a run whose name, classes and selections are markup."""
    shutil.copytree(trained, tmp_path / "project")
    (tmp_path / "project" / "gmm_00").rename(tmp_path / "project" / MARKUP)
    with served(tmp_path / "project", MARKUP) as running:
        yield running


def test_names_are_no_markup(visits: Callable, marked: Served) -> None:
    visit: Visit = visits(marked).open(marked.address)
    for tab in "123456":
        visit.page.keyboard.press(tab)
        visit.page.wait_for_timeout(500)
    assert "<script>" in visit.page.locator("#run").inner_text()
    assert visit.page.evaluate("window.hit") is None
    assert visit.page.locator("main img[src=x]").count() == 0


def test_readonly_offers_nothing_to_write(visits: Callable, project: Path) -> None:
    with served(project, "gmm_00", "--readonly") as running:
        visit: Visit = visits(running).open(running.address)
        visit.page.locator(".legend .classes button").first.click()
        until(visit.page, "libhetero.selection.count > 0")
        assert visit.page.get_by_role("button", name="Save …").is_disabled()
        visit.page.keyboard.press("2")
        assert visit.page.get_by_role("button", name="Decode the path").is_disabled()


def test_a_narrow_screen_has_everything(visits: Callable, server: Served) -> None:
    visit: Visit = visits(server, viewport={"width": 700, "height": 900}).open(server.address)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert visit.page.locator("canvas.points").bounding_box()["width"] > 400
    visit.page.keyboard.press("?")
    assert visit.page.locator("dialog kbd").count() > 10
