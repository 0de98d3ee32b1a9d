"""Whatever goes wrong while something is answered is told in one line, and the log has the rest."""

from __future__ import annotations

import pytest

from libhetero.dashboard import session
from libhetero.dashboard.refusals import Refusal
from libhetero.errors import DataError


@pytest.mark.parametrize(
    "error, status, said",
    [
        (Refusal(409, "in the\nway"), 409, "in the way"),
        (DataError("a.star: damaged"), 400, "a.star: damaged"),
        (OSError(28, "No space left on device", "a.npy"), 500, "a.npy"),
        (MemoryError(), 500, "the memory is exhausted"),
        (ValueError("rows\nof different lengths"), 500, "ValueError: rows of different lengths"),
    ],
)
def test_a_failure_is_told_in_one_line(visitor, monkeypatch, caplog, error, status, said) -> None:
    def fail(run):
        raise error

    monkeypatch.setattr(session, "described", fail)
    with caplog.at_level("DEBUG", "libhetero.dashboard.answers"):
        found = visitor.get("/api/session")
    assert found.status == status and said in found.json["error"] and "\n" not in found.json["error"]
    assert bool(caplog.records) == (status == 500) and all(record.levelname == "DEBUG" for record in caplog.records)


@pytest.mark.parametrize("rows", ["[[1], [1, 2]]", "[" + "9" * 400 + "]", "[-1e999]", "{}", "null"])
def test_numbers_that_no_computer_has_are_the_users_mistake(visitor, rows) -> None:
    said = visitor.ask("POST", "/api/runs/0/selections/count", f'{{"how": {{"rows": {rows}}}}}'.encode())
    assert said.status == 400 and "rows: expected" in said.json["error"]
