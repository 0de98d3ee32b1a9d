"""What a killed program left in a run folder is put in order by the next, whichever it is."""

import logging
from pathlib import Path

import pytest

from libhetero.errors import ConfigurationError, UserError
from libhetero.files import temporary
from libhetero.pipelines.run.folder import open_run
from libhetero.pipelines.run.lock import locked


@pytest.fixture
def left(tmp_path, monkeypatch) -> Path:
    """A folder of a program that was killed with one set decided and another begun."""
    with monkeypatch.context() as patch:
        patch.setattr(temporary.os, "getpid", lambda: 2**31 - 1)
        decided, begun = (temporary.temporary_name(tmp_path / "set") for _ in range(2))
    for folder, text in ((decided.with_name(f"{decided.name}.ready"), "new"), (begun, "half")):
        (folder / "new").mkdir(parents=True)
        (folder / "new" / "table.txt").write_text(text)
    (tmp_path / "table.txt").write_text("old")
    return tmp_path


def enter(folder: Path) -> None:
    with locked(folder):
        pass


def read(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="config.json"):  # there is none here
        open_run(folder)


@pytest.mark.parametrize("begin", [read, enter])
def test_a_program_begins_with_order(left, begin) -> None:
    begin(left)
    assert (left / "table.txt").read_text() == "new" and not list(left.glob(".set.*"))


def test_what_cannot_be_put_in_order_stops_who_writes_and_is_told_to_who_reads(left, caplog) -> None:
    (left / "table.txt").unlink()
    (left / "table.txt").mkdir()
    with caplog.at_level(logging.WARNING):
        read(left)
    assert "remove this hidden folder" in caplog.text and len(caplog.records) == 1
    with pytest.raises(UserError, match="table.txt: .* remove this hidden folder"):
        enter(left)
    (left / "table.txt").rmdir()
    enter(left)
    assert (left / "table.txt").read_text() == "new"
