"""A browser, a run that was trained, and a dashboard that serves it, shared by the tests of the page.

Where there is no browser these tests are left out, and say so; that fails where `.ci/run` found or installed one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libhetero.files import alone_in
from tests.making.browsing import ARGUMENTS, Served, Visit, browser, lacking, make_run, served


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Return a browser that has been started."""
    reason = lacking()
    if reason is not None:
        message = f"{reason}: the page of the dashboard is not tested"
        if os.environ.get("LIBHETERO_TESTS_BROWSER") == "needed":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def trained(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run gmm_00, made once for all workers; nobody writes into it."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "dashboard"
    with alone_in(shared):
        if not (folder / "made").exists():
            folder.mkdir()
            make_run(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="module")
def project(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder with the run, to write into."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("browsing") / "project"))


@pytest.fixture(scope="module")
def server(project: Path) -> Iterator[Served]:
    """Return a dashboard that serves the copy."""
    with served(project, "gmm_00") as running:
        yield running


@pytest.fixture
def visits(chromium: Any) -> Iterator[Callable[[Served], Visit]]:
    """Return a function that opens a new browser profile; faults in any page fail the test at its end."""
    contexts, opened = [], []

    def visit(server: Served, **options: Any) -> Visit:
        size = {"viewport": {"width": 1400, "height": 860}}
        contexts.append(chromium.new_context(accept_downloads=True, **size | options))
        opened.append(Visit(contexts[-1].new_page(), server.origin))
        return opened[-1]

    yield visit
    faults = [fault for one in opened for fault in one.faults]
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def visit(visits: Callable[[Served], Visit], server: Served) -> Visit:
    """Return a visit whose page shows the run."""
    return visits(server).open(server.address)
