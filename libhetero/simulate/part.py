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
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import read_json, read_lines, write_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import DiskError, FileLock, flush_folder_to_disk, flush_to_disk, lock_file, replacing, writing

WHOLE = (1, 1)  # the share of a process that makes the set alone
ROUNDING = 1e-9  # of the sums, relative
LARGEST = 3.4e38  # what a pixel can be
PRINTED = 60  # characters of a value that a message shows


@dataclass(frozen=True)
class SurveyDone:
    """What is recorded of a structure that was surveyed: the sums over its images, and its name in a mixture."""

    structure: int
    signal: tuple[float, float, float]
    name: str = ""

    def __post_init__(self) -> None:
        count, total, squares = self.signal
        if not (count >= 1 and squares * count * (1 + ROUNDING) >= total * total):
            raise ValueError("no images have these sums")


@dataclass(frozen=True)
class BlockDone:
    """What is recorded of a block that was rendered: the statistics of its pixels."""

    block: int
    pixels: tuple[float, float, float, float, float]

    def __post_init__(self) -> None:
        _, low, high, *_ = self.pixels
        if not -LARGEST <= low <= high <= LARGEST:
            raise ValueError("no pixels of a stack are like this")


DONE = {"structure": SurveyDone, "block": BlockDone}


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
        return begun_part(self.target) is not None

    def record(self, done: dict[str, Any]) -> None:
        """Add a finished step; its data lie on the disk already."""
        with open(self._record, "a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(done)}")  # a line cut off by a crash ends here
        flush_to_disk(self._record)

    def recorded(self, key: str) -> dict[int, dict[str, Any]]:
        """Return the finished steps that have `key`, "structure" or "block", of every share, by its value.

        A line that a crash has cut, or that is no such step, counts for nothing: the step is done again.
        """
        paths = sorted(self.folder.glob("done_*.jsonl"))
        return {done[key]: done for path in paths for done in read_lines(path, DONE[key])}

    def alone(self, seconds: float = 0.0) -> bool:
        """Return whether no other share is at work now, and keep others out if so.

        Meanwhile another share may have put the set in its place: `set` is then gone.

        Parameters
        ----------
        seconds : how long to wait for the others, which may be ending too.
        """
        if self.share == WHOLE:
            return True
        self._lock.drop()
        end = time.monotonic() + seconds
        while not self._lock.take():
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)
        return True

    def appear(self) -> None:
        """Put the set, all of it on the disk, in its place and remove the rest."""
        for left in list(self.set.rglob(".*")):  # temporary files of a process that was killed
            left.unlink()
        _flush(self.set)
        os.replace(self.set, self.target)
        flush_folder_to_disk(self.target.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.part")


def begun_part(target: Path) -> Path | None:
    """Return the folder of a set in the making, of which steps are done; None where there is none.

    Parameters
    ----------
    target : the set's place, absolute.
    """
    folder = _folder_of(target)
    return folder if any(folder.glob("done_*.jsonl")) else None


@contextlib.contextmanager
def open_part(
    target: Path,
    begun_with: dict[str, Any],
    fill: Callable[[Path], None],
    share: tuple[int, int] = WHOLE,
    resume: bool = False,
    called: Mapping[str, str] | None = None,
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
    called : what users call the keys of `begun_with`, where it is another name; None for nothing.

    Raises
    ------
    DataError : if the target is taken, another process is at work on it, one was left and `resume` is
        False, or it cannot be written.
    ConfigurationError : if it was begun with something else.
    """
    folder = _folder_of(target)
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
        _check_same(folder, begun_with, called or {})
        try:
            yield part
        finally:
            if share == WHOLE and not part.begun:
                part.remove()


def _flush(folder: Path) -> None:
    """Wait until a folder lies on the disk with all that is in it."""
    for path in folder.rglob("*"):
        (flush_folder_to_disk if path.is_dir() else flush_to_disk)(path)
    flush_folder_to_disk(folder)


def _check_free(target: Path) -> None:
    if os.path.ismount(target):
        raise DataError(f"{target}: is where a disk is mounted, which no folder can replace; give a folder in it.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: exists already; choose another name or remove it.")


def _begin(folder: Path, target: Path, begun_with: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Make the folder, complete from the first moment, unless there is one already."""
    if folder.is_dir():
        return
    try:
        with writing(target), replacing(folder) as beside:
            beside.mkdir()
            (beside / "set").mkdir()
            write_json(beside / "begun.json", begun_with)
            fill(beside / "set")
            _flush(beside)
    except DiskError:
        if not folder.is_dir():  # else another share was faster
            raise


def _hold(held: contextlib.ExitStack, folder: Path, target: Path, share: tuple[int, int]) -> FileLock:
    """Take the locks of a share, and return the one that all shares have in common."""
    lock = held.enter_context(lock_file(folder / "lock"))
    free = lock.take(shared=share != WHOLE)
    if free and share != WHOLE:
        name = "share_{}_of_{}.lock".format(*share)
        free = held.enter_context(lock_file(folder / name)).take()
    if not free:
        raise DataError(f"{target}: another process is writing it; wait for it, or choose another name.")
    return lock


def _check_same(folder: Path, begun_with: dict[str, Any], called: Mapping[str, str]) -> None:
    found = read_json(folder / "begun.json")
    differing = [
        _difference(called.get(key, key), found.get(key), begun_with.get(key))
        for key in sorted(found.keys() | begun_with.keys())
        if found.get(key) != begun_with.get(key)
    ]
    if differing:
        raise ConfigurationError(
            f"{folder}: was begun with another configuration: {'; '.join(differing)}. Give the same "
            "options, or remove that folder."
        )


def _difference(key: str, found: Any, asked: Any) -> str:
    """Say how two values differ: long lists by their lengths or the first entry that differs."""
    both = isinstance(found, list) and isinstance(asked, list)
    if both and len(str(found)) + len(str(asked)) > 2 * PRINTED:
        if len(found) != len(asked):
            return f"{key} has {len(found)} entries, asked for {len(asked)}"
        i = next(i for i, pair in enumerate(zip(found, asked, strict=True)) if pair[0] != pair[1])
        return f"{key}: entry {i + 1} is {found[i]}, asked for {asked[i]}"
    return f"{key} is {str(found)[: 2 * PRINTED]}, asked for {str(asked)[: 2 * PRINTED]}"
