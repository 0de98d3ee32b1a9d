"""Files that belong together are replaced together, whatever ends the program and whenever."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from libhetero.errors import UserError
from libhetero.files import remove_stale, replacing, replacing_set, sweep

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


def test_a_name_is_cut_by_its_bytes(tmp_path) -> None:
    """No letter of it takes one byte: 80 letters are 240 bytes, and the hidden name has more."""
    write(tmp_path / ("名" * 80 + ".txt"), "new")
    assert len(found(tmp_path)) == 1


if __name__ == "__main__":
    kill_at_every_step(Path(sys.argv[1]))
