"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from libhetero.files import flush_to_disk, replacing


def test_a_file_appears_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_what_fails_leaves_the_old_file_and_nothing_beside(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(beside: Path) -> None:
        (beside.mkdir if folder else beside.touch)()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(path) as beside:
        fail(beside)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_flushing_waits_for_this_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushed = tmp_path / "a.txt", []
    path.touch()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    flush_to_disk(path)
    assert flushed == [path.stat().st_ino]
