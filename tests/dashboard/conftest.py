"""A run that is shown, and a visitor of it who has been let in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.making.shown_runs import add_embedding, add_segmentation, write_shown_run
from tests.making.visitor import Visitor, visited


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder with latents, an embedding and a segmentation."""
    folder = write_shown_run(tmp_path / "project")
    add_embedding(folder)
    add_segmentation(folder)
    return folder


@pytest.fixture
def visitor(run: Path) -> Iterator[Visitor]:
    """Yield a visitor of a server of that run."""
    with visited([run]) as found:
        found.enter()
        yield found
