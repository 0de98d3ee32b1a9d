"""Sets in the making: whoever may go on with one does, whoever may not reads why in one line."""

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.simulate import part as parts
from libhetero.simulate.part import Part, open_part

WITH = {"seed": 1, "snr": 0.5}


def _fill(folder: Path) -> None:
    (folder / "stack").write_text("empty")


def _open(target: Path, begun_with: dict = WITH, **others: object) -> object:
    return open_part(target, begun_with, _fill, **others)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "set"


@pytest.fixture
def left(target: Path) -> Iterator[Path]:
    """What an interrupted process left, with one finished step."""
    with pytest.raises(KeyboardInterrupt), _open(target) as part:
        part.record({"block": 3, "pixels": [1]})
        raise KeyboardInterrupt
    return target.with_name(".set.part")


def test_it_appears_when_complete(target: Path) -> None:
    target.mkdir()
    with _open(target) as part:
        assert not any(target.iterdir())
        part.record({"block": 0})
        assert part.alone()
        part.appear()
    assert [path.name for path in target.parent.iterdir()] == ["set"]
    assert (target / "stack").read_text() == "empty"
    with pytest.raises(DataError, match="exists already"), _open(target):
        pass


def test_nothing_done_leaves_nothing(target: Path) -> None:
    with pytest.raises(RuntimeError), _open(target):
        raise RuntimeError
    assert list(target.parent.iterdir()) == []


def test_what_was_left_needs_resume(target: Path, left: Path) -> None:
    with pytest.raises(DataError, match="go on with --resume, or remove"), _open(target):
        pass
    with _open(target, resume=True) as part:
        assert part.recorded("block") == {3: {"block": 3, "pixels": [1]}}
        assert part.recorded("structure") == {}
    assert left.is_dir()


def test_other_options_are_named(target: Path, left: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"snr is 0.5, asked for 0.1\. Give"):
        with _open(target, {**WITH, "snr": 0.1}, resume=True):
            pass
    assert left.is_dir()


def test_a_line_cut_off_by_a_crash_is_not_done(target: Path, left: Path) -> None:
    with open(left / "done_1_of_1.jsonl", "a") as file:
        file.write('\n{"block": 4, "pix')
    with _open(target, resume=True) as part:
        part.record({"block": 5})
        assert sorted(part.recorded("block")) == [3, 5]


def test_two_processes_do_not_write_one_set(target: Path) -> None:
    with _open(target) as part:
        part.record({"block": 0})
        for share in ((1, 1), (1, 2)):
            with pytest.raises(DataError, match="another process is writing it"):
                with _open(target, share=share, resume=True):
                    pass
    assert not target.exists()


def test_shares_work_side_by_side_and_the_last_is_alone(target: Path) -> None:
    def at_work(share: tuple[int, int]) -> object:
        return _open(target, share=share)

    with at_work((2, 2)) as second:
        with at_work((1, 2)) as first:
            first.record({"block": 0})
            second.record({"block": 1})
            assert sorted(first.recorded("block")) == sorted(second.recorded("block")) == [0, 1]
            with pytest.raises(DataError, match="another process"), at_work((1, 2)):
                pass
            assert not first.alone()
        assert second.alone()
        with pytest.raises(DataError, match="another process"), at_work((1, 2)):
            pass


def test_what_a_finished_set_left_behind_goes(target: Path, left: Path) -> None:
    """Killed between the renaming of the set and the removal of the rest."""
    shutil.rmtree(left / "set")
    with pytest.raises(DataError, match="is removed; run again"), _open(target, resume=True):
        pass
    assert not left.exists()
    with _open(target) as part:
        assert isinstance(part, Part)


def test_no_space_for_the_record_of_what_it_is(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parts, "write_json", full)
    with pytest.raises(DataError, match="set: no space left"), _open(target):
        pass
    assert list(target.parent.iterdir()) == []


def test_a_file_system_without_locks_is_said(
    target: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with _open(target) as part:
        assert json.loads((part.folder / "begun.json").read_text()) == WITH
    assert "has no locks" in caplog.text
