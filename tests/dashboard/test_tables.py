"""Large tables are read once and kept as arrays, whose state the name tells."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.dashboard import tables
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.tables import columns_of, read_table
from libhetero.errors import UserError
from libhetero.io import write_latent
from tests.making.shown_runs import COUNT, latents


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(tables, "LARGE", 10)


def arrays(run):
    return sorted((run / "dashboard" / "cache").glob("*.npy"))


def test_a_large_table_is_kept_as_an_array_and_read_from_it(run, large, monkeypatch) -> None:
    path = run / "mid_00.txt"
    first = np.array(read_table(ServedRun(0, run, "a"), path, keep=True))
    assert len(arrays(run)) == 1
    monkeypatch.setattr(tables, "read_numbers", lambda *given, **named: pytest.fail("read the text"))
    np.testing.assert_array_equal(read_table(ServedRun(0, run, "a"), path, keep=True), first)


def test_a_table_that_changed_is_read_again_and_its_old_array_goes(run, large) -> None:
    read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True)
    old = arrays(run)
    write_latent(run / "mid_00.txt", np.arange(COUNT), 2 * latents())
    np.testing.assert_allclose(
        read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True), 2 * latents(), rtol=1e-6
    )
    assert len(arrays(run)) == 1 and arrays(run) != old


def test_an_array_that_is_damaged_is_not_believed(run, large) -> None:
    first = np.array(read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True))
    for content in (b"", b"\x80\x04K\x01.", b"\x93NUMPY garbage"):
        arrays(run)[0].write_bytes(content)
        np.testing.assert_array_equal(read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True), first)


def test_nothing_is_kept_where_nothing_may_be_written(run, large) -> None:
    read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=False)
    assert not (run / "dashboard").exists()


def test_small_tables_are_read_as_they_are(run) -> None:
    read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True)
    assert not (run / "dashboard").exists()


@pytest.mark.parametrize("text, width", [("# a\n\n0 1 2\n", 2), ("", 0), ("# alone\n", 0), ("0\n", 0)])
def test_how_many_columns_there_are(tmp_path, text, width) -> None:
    (tmp_path / "a.txt").write_text(text)
    run = ServedRun(0, tmp_path, "a")
    assert columns_of(run, tmp_path / "a.txt") == width and columns_of(run, tmp_path / "b.txt") == 0


def test_a_table_that_leads_out_of_the_run_is_not_read(run, visitor) -> None:
    outside = run.parent / "outside.txt"
    (run / "mid_00.txt").rename(outside)
    (run / "mid_00.txt").symlink_to(outside)
    served = ServedRun(0, run, "a")
    assert columns_of(served, run / "mid_00.txt") == 0
    with pytest.raises(UserError, match="mid_00.txt: leads out of the run folder"):
        read_table(served, run / "mid_00.txt", keep=True)
    told = visitor.get("/api/runs/0/columns")
    assert told.status == 200 and "z1" not in {column["name"] for column in told.json}


def test_particles_that_there_are_not_are_refused(run) -> None:
    write_latent(run / "mid_00.txt", np.arange(COUNT) + 1, latents())
    with pytest.raises(UserError, match="there is no particle 40"):
        read_table(ServedRun(0, run, "a"), run / "mid_00.txt", keep=True)
