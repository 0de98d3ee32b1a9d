"""A set in the making: a hidden folder beside its place, which survives whatever ends the program.

    .OUT.part/begun.json          what it was begun with; nothing else goes on with it
    .OUT.part/set/                what becomes OUT: the stack at its full size, truth/
    .OUT.part/done_1_of_1.jsonl   a line for each finished step, written after its data
    .OUT.part/lock, …lock         held by the processes at work on it

The folder appears with all of this in it, and `set` is renamed to OUT when every step is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.io.atomic import writing_error
from libhetero.simulate.lock import FileLock, lock_file

WHOLE = (1, 1)  # the share of a process that makes the set alone


class Part:
    """A set in the making, while this process may write it.

    Parameters
    ----------
    folder : the hidden folder.
    target : the set's place.
    share : which part of the steps is this process's, and of how many: (2, 4) is the second of four.
    lock : held shared with the other shares, or alone.
    """

    def __init__(self, folder: Path, target: Path, share: tuple[int, int], lock: FileLock) -> None:
        self.folder, self.target, self.share = folder, target, share
        self._lock = lock
        self._record = folder / "done_{}_of_{}.jsonl".format(*share)

    @property
    def set(self) -> Path:
        """The folder that becomes the set."""
        return self.folder / "set"

    @property
    def begun(self) -> bool:
        """Whether any step was done."""
        return any(self.folder.glob("done_*.jsonl"))

    def record(self, done: dict[str, Any]) -> None:
        """Add a finished step; its data lie on the disk already."""
        with open(self._record, "a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(done)}")  # a line cut off by a crash ends here
            file.flush()
            os.fsync(file.fileno())

    def recorded(self, key: str) -> dict[int, dict[str, Any]]:
        """Return the finished steps that have `key`, of every share, by its value."""
        found: dict[int, dict[str, Any]] = {}
        for path in sorted(self.folder.glob("done_*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    done = json.loads(line)
                    if key in done:
                        found[done[key]] = done
        return found

    def alone(self) -> bool:
        """Return whether no other share is at work now, and keep others out if so."""
        if self.share == WHOLE:
            return True
        self._lock.drop()
        return self._lock.take()

    def appear(self) -> None:
        """Put the set in its place and remove the rest."""
        os.replace(self.set, self.target)
        self.remove()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def open_part(
    target: Path,
    begun_with: dict[str, Any],
    fill: Callable[[Path], None],
    share: tuple[int, int] = WHOLE,
    resume: bool = False,
) -> Iterator[Part]:
    """Yield the set in the making: a new one, or the one that was left or that other shares began.

    When nothing was done of it in the end, it is removed, unless it is shared.

    Parameters
    ----------
    target : the set's place, absolute; free, or an empty folder.
    begun_with : JSON types that must be the same for everyone who works on it.
    fill : makes the empty set in a folder.
    share : as in `Part`.
    resume : True to go on with one that was left.

    Raises
    ------
    DataError : if the target is taken, another process is at work on it, one was left and `resume` is
        False, or it cannot be written.
    ConfigurationError : if it was begun with something else.
    """
    folder = target.with_name(f".{target.name}.part")
    _check_free(target)
    _begin(folder, target, begun_with, fill)
    with contextlib.ExitStack() as held:
        part = Part(folder, target, share, _hold(held, folder, target, share))
        if not part.set.is_dir():
            part.remove()
            _check_free(target)
            raise DataError(f"{target}: {folder} was not complete and is removed; run again.")
        if share == WHOLE and not resume and part.begun:
            raise DataError(
                f"{target}: an interrupted simulation of it lies in {folder}; go on with --resume, "
                "or remove that folder."
            )
        _check_same(folder, begun_with)
        try:
            yield part
        finally:
            if share == WHOLE and not part.begun:
                part.remove()


def _check_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: exists already; choose another name or remove it.")


def _begin(
    folder: Path, target: Path, begun_with: dict[str, Any], fill: Callable[[Path], None]
) -> None:
    """Make the folder, complete from the first moment, unless there is one already."""
    if folder.is_dir():
        return
    beside = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir()
        (beside / "set").mkdir()
        write_json(beside / "begun.json", begun_with)
        fill(beside / "set")
        beside.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another share was faster
            raise writing_error(target, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _hold(
    held: contextlib.ExitStack, folder: Path, target: Path, share: tuple[int, int]
) -> FileLock:
    """Take the locks of a share, and return the one that all shares have in common."""
    lock = held.enter_context(lock_file(folder / "lock"))
    free = lock.take(shared=share != WHOLE)
    if free and share != WHOLE:
        name = "share_{}_of_{}.lock".format(*share)
        free = held.enter_context(lock_file(folder / name)).take()
    if not free:
        raise DataError(
            f"{target}: another process is writing it; wait for it, or choose another name."
        )
    return lock


def _check_same(folder: Path, begun_with: dict[str, Any]) -> None:
    found = read_json(folder / "begun.json")
    differing = [
        f"{key} is {found.get(key)}, asked for {begun_with.get(key)}"
        for key in sorted(found.keys() | begun_with.keys())
        if found.get(key) != begun_with.get(key)
    ]
    if differing:
        raise ConfigurationError(
            f"{folder}: was begun with another configuration: {'; '.join(differing)}. Give the same "
            "options, or remove that folder."
        )
