"""Files that belong together are replaced together, whatever ends the program and whenever."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from libhetero.errors import UserError
from libhetero.files import in_the_set, remove_stale, replacing, replacing_set, sets, sweep, temporary

OLD = {"table.txt": "old", "class_00.lst": "old", "class_01.lst": "old", "masks/one.mrc": "old"}
NEW = {"table.txt": "new", "class_00.lst": "new", "masks/one.mrc": "new", "masks/two.mrc": "new"}


def fill(folder: Path) -> None:
    (folder / "masks").mkdir(parents=True)
    for name, text in OLD.items():
        (folder / name).write_text(text)


def write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text)


def renew(folder: Path) -> None:
    with replacing_set(folder):
        remove_stale(folder, "class_*.lst")
        for name, text in NEW.items():
            write(folder / name, text)


def found(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_all_are_old_inside_and_new_after(tmp_path) -> None:
    fill(tmp_path)
    with replacing_set(tmp_path):
        renew(tmp_path)  # a set within is part of the one without
        write(tmp_path / "table.txt", "newer")
        assert {name: (tmp_path / name).read_text() for name in OLD} == OLD
    assert found(tmp_path) == NEW | {"table.txt": "newer"}


def test_what_the_set_holds_is_found_before_it_takes_its_place(tmp_path) -> None:
    fill(tmp_path)
    assert in_the_set(tmp_path) == {}
    with replacing_set(tmp_path):
        renew(tmp_path)
        assert {str(name): place.read_text() for name, place in in_the_set(tmp_path).items()} == NEW
        assert {str(name) for name in in_the_set(tmp_path / "masks")} == {"one.mrc", "two.mrc"}


def test_what_fails_leaves_all_old_and_nothing_beside(tmp_path) -> None:
    fill(tmp_path)
    with pytest.raises(ZeroDivisionError), replacing_set(tmp_path):
        renew(tmp_path)
        raise ZeroDivisionError
    assert found(tmp_path) == OLD


def test_a_file_that_could_not_take_its_place_is_told_before_anything_is_replaced(tmp_path) -> None:
    fill(tmp_path)
    for name, words in (("masks", "could not be written"), ("absent/one.mrc", "the folder .*absent does not exist")):
        with pytest.raises(UserError, match=words), replacing_set(tmp_path):
            write(tmp_path / "table.txt", "new")
            write(tmp_path / name, "new")
        assert found(tmp_path) == OLD


def test_files_elsewhere_are_no_part_of_a_set(tmp_path) -> None:
    fill(tmp_path / "run")
    with replacing_set(tmp_path / "run"):
        write(tmp_path / "beside.txt", "new")
        assert (tmp_path / "beside.txt").read_text() == "new"
    remove_stale(tmp_path, "beside.*")
    assert not (tmp_path / "beside.txt").exists() and found(tmp_path / "run") == OLD


def test_what_is_removed_and_written_again_stays(tmp_path) -> None:
    fill(tmp_path)
    with replacing_set(tmp_path):
        write(tmp_path / "class_07.lst", "new")
        remove_stale(tmp_path, "class_*.lst")
        write(tmp_path / "class_01.lst", "new")
        remove_stale(tmp_path, "table.txt")
        write(tmp_path / "table.txt", "new")
    assert found(tmp_path) == {"class_01.lst": "new", "table.txt": "new", "masks/one.mrc": "old", "class_07.lst": "new"}


def kill_at_every_step(folder: Path) -> None:
    """Renew a folder in children, each killed one call of the system later than the one before."""
    left, states = -1, []

    def watch(event: str, arguments: tuple) -> None:
        nonlocal left
        if left >= 0 and event in (
            "open",
            "os.mkdir",
            "os.rename",
            "os.remove",
            "os.rmdir",
            "os.listdir",
            "os.scandir",
        ):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    ended = 1
    while ended:
        here = folder / str(len(states))
        fill(here)
        child = os.fork()
        if child == 0:
            left = len(states)
            renew(here)
            os._exit(0)
        ended = os.waitpid(child, 0)[1]
        sweep(here)
        states.append(found(here))
    wrong = [(step, state) for step, state in enumerate(states) if state not in (OLD, NEW)]
    sys.exit(repr(wrong) if wrong or min(states.count(OLD), states.count(NEW)) < 5 else 0)


def test_killed_at_every_step_all_are_old_or_all_are_new(tmp_path) -> None:
    """A real SIGKILL before each call of the system that a set makes, then the sweep of the next start."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr


def test_what_a_killed_program_left_is_swept_and_what_a_running_one_writes_is_not(tmp_path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from libhetero.files import replacing\n"
        "with replacing(Path(sys.argv[1]) / 'figure.png') as beside:\n"
        "    beside.touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".figure.") and left.suffix == ".png"
    foreign = tmp_path / ".figure.ffffff-1-01234567.tmp.png"
    others = {foreign, tmp_path / ".lock", tmp_path / ".hidden.tmp.png", tmp_path / "a.tmp"}
    for path in others:
        path.touch()
    with replacing(tmp_path / "table.txt") as beside:
        beside.touch()
        sweep(tmp_path)
        assert beside.exists() and not left.exists()
    assert set(tmp_path.iterdir()) == {*others, tmp_path / "table.txt"}
    os.utime(foreign, (0, 0))  # of another machine, and untouched since
    sweep(tmp_path)
    assert not foreign.exists()
    sweep(tmp_path / "absent")


def leave_decided(folder: Path, new: dict[str, str]) -> Path:
    """Leave what a program leaves that is killed as soon as its set is decided."""
    ready = folder / ".set.ffffff-1-01234567.tmp.ready"
    for name, text in new.items():
        (ready / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (ready / "new" / name).write_text(text)
    return ready


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another file system than `tmp_path`."""
    shared = Path("/dev/shm")
    if not (os.access(shared, os.W_OK) and shared.stat().st_dev != tmp_path.stat().st_dev):
        pytest.skip("no second file system at hand")
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


def test_a_folder_within_may_be_a_link_to_another_disk(tmp_path, other_disk) -> None:
    fill(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "before")
    (tmp_path / "masks").symlink_to(other_disk)
    (other_disk / "one.mrc").write_text("old")
    renew(tmp_path)
    names = ("table.txt", "masks/one.mrc", "masks/two.mrc")
    assert {(tmp_path / name).read_text() for name in names} == {"new"}
    assert not list(tmp_path.glob(".*")) and {path.name for path in other_disk.iterdir()} == {"one.mrc", "two.mrc"}
    leave_decided(tmp_path, {"masks/one.mrc": "newer"})
    sweep(tmp_path)
    assert (other_disk / "one.mrc").read_text() == "newer" and not list(tmp_path.glob(".*"))


def test_a_set_within_on_another_disk_is_written_there(tmp_path, other_disk) -> None:
    (tmp_path / "volumes").symlink_to(other_disk)
    with replacing_set(tmp_path):
        with replacing_set(tmp_path / "volumes"):
            write(tmp_path / "volumes" / "one.mrc", "new")
            assert len(list(other_disk.glob(".set.*"))) == 1 and not list(tmp_path.glob(".set.*"))
        assert found(other_disk) == {"one.mrc": "new"}


def test_two_dots_behind_a_link_lead_where_the_system_goes(tmp_path, monkeypatch) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "real" / "deep")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "table.txt").write_text("another's")
    (tmp_path / "real" / "stale.txt").touch()
    with replacing_set(Path("link/..")):
        remove_stale("link/..", "stale.txt")
        write(Path("link/../table.txt"), "new")
        assert not (tmp_path / "real" / "table.txt").exists()
    assert found(tmp_path) == {"here/table.txt": "another's", "real/table.txt": "new"}


def test_what_cannot_take_its_place_is_named_with_a_remedy_and_nothing_newer_is_written(tmp_path) -> None:
    fill(tmp_path)
    ready = leave_decided(tmp_path, {"gone/one.mrc": "new"})
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    for call in (sweep, renew):
        with pytest.raises(UserError, match=f"^{ready}: holds results .*gone/one.mrc.* or remove this hidden folder"):
            call(tmp_path)
    assert (tmp_path / "table.txt").read_text() == "old"
    (tmp_path / "gone").unlink()
    sweep(tmp_path)
    assert (tmp_path / "gone" / "one.mrc").read_text() == "new" and not ready.exists()


def test_of_two_sets_that_end_at_once_one_is_whole_before_the_other(tmp_path, monkeypatch) -> None:
    """One stops between its moves; the other waits for it."""
    within, on = threading.Event(), threading.Event()
    move = sets._move

    def slow(source: Path, final: Path) -> None:
        move(source, final)
        if threading.current_thread() is first:
            within.set()
            assert on.wait(60)

    def end(text: str) -> None:
        with replacing_set(tmp_path):
            for name in ("a.txt", "b.txt"):
                write(tmp_path / name, text)

    monkeypatch.setattr(sets, "_move", slow)
    first, second = (threading.Thread(target=end, args=(text,)) for text in ("first", "second"))
    first.start()
    assert within.wait(60)
    second.start()
    second.join(0.3)
    waits = second.is_alive()
    on.set()
    first.join(60)
    second.join(60)
    assert waits and found(tmp_path) == {"a.txt": "second", "b.txt": "second"}


def test_without_locks_two_that_move_one_set_do_not_fail(tmp_path, monkeypatch) -> None:
    ready = leave_decided(tmp_path, {"a.txt": "new", "b.txt": "new"})
    move, hindered = sets._move, []

    def twice(source: Path, final: Path) -> None:
        move(source, final)
        if not hindered:
            hindered.append(final)
            sets._complete(ready)

    monkeypatch.setattr(sets, "_move", twice)
    monkeypatch.setattr(sets, "alone_in", lambda folder: contextlib.nullcontext())
    sweep(tmp_path)
    assert found(tmp_path) == {"a.txt": "new", "b.txt": "new"}


def test_what_is_written_in_another_container_is_not_swept(tmp_path, monkeypatch) -> None:
    """There the same number is another process, or none, though the machine has the same name."""
    with monkeypatch.context() as patch:
        patch.setattr(temporary.os, "readlink", lambda path: "pid:[1]")
        patch.setattr(temporary.os, "getpid", lambda: 2**31 - 1)
        beside = temporary.temporary_name(tmp_path / "table.txt")
    beside.touch()
    sweep(tmp_path)
    assert beside.exists()


def test_a_name_is_cut_by_its_bytes(tmp_path) -> None:
    """No letter of it takes one byte: 80 letters are 240 bytes, and the hidden name has more."""
    write(tmp_path / ("名" * 80 + ".txt"), "new")
    assert len(found(tmp_path)) == 1


if __name__ == "__main__":
    kill_at_every_step(Path(sys.argv[1]))
