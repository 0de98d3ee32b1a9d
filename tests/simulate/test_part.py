"""Sets in the making: whoever may go on with one does, whoever may not reads why in one line."""

import errno
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.simulate import part as parts
from libhetero.simulate.part import Part, open_part

WITH = {"seed": 1, "snr": 0.5}
PIXELS = [4, -1.0, 1.0, 0.0, 2.0]


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
        part.record({"block": 3, "pixels": PIXELS})
        raise KeyboardInterrupt
    return target.with_name(".set.part")


def test_it_appears_when_complete(target: Path) -> None:
    target.mkdir()
    with _open(target) as part:
        assert not any(target.iterdir())
        part.record({"block": 0, "pixels": PIXELS})
        assert part.alone()
        part.appear()
    assert [path.name for path in target.parent.iterdir()] == ["set"]
    assert (target / "stack").read_text() == "empty"
    with pytest.raises(DataError, match="exists already"), _open(target):
        pass


def test_what_a_killed_process_left_inside_does_not_appear(target: Path) -> None:
    with _open(target) as part:
        (part.set / "truth").mkdir()
        for name in (".rows_particles.star", "truth/.map_000.0a1b2c.tmp.mrc"):
            (part.set / name).write_text("half")
        part.record({"block": 0, "pixels": PIXELS})
        part.appear()
    assert [path.name for path in sorted(target.rglob("*"))] == ["stack", "truth"]


def test_a_step_lies_on_the_disk_once_it_is_recorded(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, fsync = [], os.fsync
    with _open(target) as part:

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            flushed.append(os.fstat(descriptor).st_ino)

        monkeypatch.setattr(os, "fsync", watched)
        part.record({"block": 0, "pixels": PIXELS})
        (record,) = target.with_name(".set.part").glob("done_*.jsonl")
        assert flushed == [record.stat().st_ino]


def test_everything_lies_on_the_disk_before_it_appears(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, fsync = [], os.fsync
    with _open(target) as part:
        inside = {(part.set / name).stat().st_ino for name in (".", "stack")}

        def watched(descriptor: int) -> None:
            fsync(descriptor)
            flushed.append((os.fstat(descriptor).st_ino, target.exists()))

        monkeypatch.setattr(os, "fsync", watched)
        part.appear()
    assert {(node, False) for node in inside} <= set(flushed)
    assert flushed[-1] == (target.parent.stat().st_ino, True)


def test_a_mount_point_is_refused(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == target)
    with pytest.raises(DataError, match="a disk is mounted"), _open(target):
        pass
    assert list(target.parent.iterdir()) == [target]


def test_the_folder_has_the_mode_of_the_umask(target: Path) -> None:
    before = os.umask(0o027)
    try:
        with _open(target) as part:
            assert part.folder.stat().st_mode & 0o777 == 0o750
            part.appear()
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o750


def test_nothing_done_leaves_nothing(target: Path) -> None:
    with pytest.raises(RuntimeError), _open(target):
        raise RuntimeError
    assert list(target.parent.iterdir()) == []


def test_what_was_left_needs_resume(target: Path, left: Path) -> None:
    with pytest.raises(DataError, match="go on with --resume, or remove"), _open(target):
        pass
    with _open(target, resume=True) as part:
        assert part.recorded("block") == {3: {"block": 3, "pixels": PIXELS}}
        assert part.recorded("structure") == {}
    assert left.is_dir()


def test_other_options_are_named(target: Path, left: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"snr is 0.5, asked for 0.1\. Give"):
        with _open(target, {**WITH, "snr": 0.1}, resume=True):
            pass
    assert left.is_dir()


def test_long_lists_are_not_printed(target: Path) -> None:
    models = [f"model_{k:04d}.cif" for k in range(1000)]
    with _open(target, {"models": models}) as part:
        part.record({"block": 0, "pixels": PIXELS})
    other = [*models[:16], "another.cif", *models[17:]]
    for asked, words in (
        (other, "entry 17 is model_0016.cif, asked for another.cif"),
        (models[:999], "models has 1000 entries, asked for 999"),
    ):
        with pytest.raises(ConfigurationError, match=words) as failure:
            with _open(target, {"models": asked}, resume=True):
                pass
        assert len(str(failure.value)) < 400


def test_a_line_cut_off_by_a_crash_or_of_no_step_is_not_done(target: Path, left: Path) -> None:
    with open(left / "done_1_of_1.jsonl", "a") as file:
        file.write('\n{"block": "6", "pixels": [4, 0, 0, 0, 0]}\n{"block": 7, "pixels": [1]}\n')
        file.write('{"block": 8, "pixels": [4, 0, 1e308, 0, 0]}\n[8]\n{"block": 4, "pix')
        file.write('\n{"structure": 1, "signal": [0, 0, 0]}\n{"structure": 2, "signal": [4, 1e30, 1]}\n')
    with _open(target, resume=True) as part:
        part.record({"block": 5, "pixels": PIXELS})
        assert sorted(part.recorded("block")) == [3, 5]
        assert not {1, 2} & part.recorded("structure").keys()


def test_two_processes_do_not_write_one_set(target: Path) -> None:
    with _open(target) as part:
        part.record({"block": 0, "pixels": PIXELS})
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
            first.record({"block": 0, "pixels": PIXELS})
            second.record({"block": 1, "pixels": PIXELS})
            assert sorted(first.recorded("block")) == sorted(second.recorded("block")) == [0, 1]
            with pytest.raises(DataError, match="another process"), at_work((1, 2)):
                pass
            assert not first.alone()
        assert second.alone()
        with pytest.raises(DataError, match="another process"), at_work((1, 2)):
            pass


def test_shares_that_end_together_wait_for_each_other(target: Path) -> None:
    with _open(target, share=(2, 2)) as second, _open(target, share=(1, 2)) as first:
        leaving = threading.Timer(0.3, second._lock.drop)
        leaving.start()
        assert first.alone(seconds=10)
        leaving.join()


def test_what_a_finished_set_left_behind_goes(target: Path, left: Path) -> None:
    """Killed between the renaming of the set and the removal of the rest."""
    shutil.rmtree(left / "set")
    with pytest.raises(DataError, match="is removed; run again"), _open(target, resume=True):
        pass
    assert not left.exists()
    with _open(target) as part:
        assert isinstance(part, Part)


def test_no_space_for_the_record_of_what_it_is(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
