"""Files that belong together, replaced together: after a kill all are old, or all are new at the next start.

    with replacing_set(folder):
        remove_stale(folder, "class_*.lst")
        write_latent(folder / "embed_particles.txt", …)    # every writer goes through `replacing`

Inside the block `replacing` leaves what is whole in a hidden folder, where nobody looks:

    FOLDER/.set.OWNER.tmp/new/NAME     a file that is to take the place of FOLDER/NAME
    FOLDER/.set.OWNER.tmp/gone/NAME    empty: FOLDER/NAME is to go

When the block ends well that folder is renamed to `.set.OWNER.tmp.ready`, which decides; then the files are moved,
and copied where a folder within is a link to another disk. `sweep` ends the moves that a killed program has begun, and
removes what it had not decided. What the names say is read off the folder, so that there is no list that could be
damaged. Who decides and moves holds the lock of the folder, so that of two sets one is whole before the other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from libhetero.files.errors import DiskError, writing
from libhetero.files.lock import alone_in
from libhetero.files.places import absolute_path
from libhetero.files.temporary import is_abandoned, remove_whatever, temporary_name

READY = ".ready"


class FileSet:
    """Files that will be replaced together.

    Parameters
    ----------
    folder : that holds them, itself or in folders within.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(absolute_path(folder / "set")).parent
        self._beside = temporary_name(self.folder / "set")
        self._first: Path | None = None  # what a message names, by the name that the user knows

    def holds(self, path: Path) -> bool:
        """Return whether a path lies in the folder."""
        return Path(absolute_path(path)).is_relative_to(self.folder)

    def shares_disk(self, folder: Path) -> bool:
        """Return whether a folder lies on the disk of this one."""
        return os.stat(folder).st_dev == os.stat(self.folder).st_dev

    def place(self, path: Path) -> Path:
        """Return where the file that will be `path` is to be written.

        Raises
        ------
        OSError : if it could not take its place in the end.
        """
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
        self._first = self._first or path
        return self._named("new", path)

    def place_of(self, folder: Path) -> Path:
        """Return where the files that will be in a folder are written; it is missing where there are none."""
        return self._beside / "new" / self._relative(folder)

    def remove(self, path: Path) -> None:
        """Let `path` go with the rest, unless it is written after all."""
        remove_whatever(self._beside / "new" / self._relative(path))
        if os.path.lexists(path):
            self._named("gone", path).touch()

    def replace(self) -> None:
        """Put all files in their places.

        Raises
        ------
        DiskError : if one cannot be; before it was decided, all stay as they were.
        """
        if not self._beside.is_dir():
            return  # nothing was written
        for path in _files(self._beside / "new"):
            (self._beside / "gone" / path).unlink(missing_ok=True)
        ready = self._beside.with_name(self._beside.name + READY)
        with alone_in(self.folder):
            _complete_decided(self.folder)  # those are older
            with writing(self._first or self.folder):
                os.replace(self._beside, ready)
            _complete_decided(self.folder)

    def drop(self) -> None:
        """Forget all of it, unless it was decided already."""
        remove_whatever(self._beside)

    def _named(self, kind: str, path: Path) -> Path:
        name = self._beside / kind / self._relative(path)
        name.parent.mkdir(parents=True, exist_ok=True)
        return name

    def _relative(self, path: Path) -> Path:
        return Path(absolute_path(path)).relative_to(self.folder)


_OPEN: ContextVar[tuple[FileSet, ...]] = ContextVar("open sets of files", default=())


@contextlib.contextmanager
def replacing_set(folder: str | os.PathLike, *, alone: bool = False) -> Iterator[None]:
    """Replace together what is written into a folder inside the block, when that ends well.

    Inside, the old files can still be read, and the new ones not yet. Within another such block of the same folder
    it is part of that one; a folder within that lies on another disk is a set of its own there.

    Parameters
    ----------
    folder : that exists; what a killed program left in it is put in order first.
    alone : True for files that are read before another such block around this one ends: no part of it.

    Raises
    ------
    DiskError : when a file cannot be put in its place.
    """
    around = set_holding(Path(folder))
    if around is not None and not alone and around.shares_disk(Path(folder)):
        yield
        return
    sweep(folder)
    made = FileSet(Path(folder))
    token = _OPEN.set((*_OPEN.get(), made))
    try:
        yield
        made.replace()
    finally:
        _OPEN.reset(token)
        made.drop()


def set_holding(path: Path) -> FileSet | None:
    """Return the set that a file is part of, the one begun last where there are several; None for none."""
    return next((made for made in reversed(_OPEN.get()) if made.holds(path)), None)


def in_the_set(folder: str | os.PathLike) -> dict[Path, Path]:
    """Return the files of a folder that the set which is being replaced holds, and where each lies until then.

    Those are by their paths relative to the folder; there are none outside such a block, and none of other programs.
    """
    made = set_holding(Path(folder))
    if made is None:
        return {}
    place = made.place_of(Path(folder))
    return {path: place / path for path in _files(place)}


def remove_stale(folder: str | os.PathLike, *patterns: str) -> None:
    """Remove the files of a folder that match, with the rest of a set where one is being replaced.

    Parameters
    ----------
    patterns : as `Path.glob` takes them, or names.
    """
    made = set_holding(Path(folder))
    for pattern in patterns:
        for stale in sorted(Path(folder).glob(pattern)):
            made.remove(stale) if made is not None else stale.unlink(missing_ok=True)


def sweep(folder: str | os.PathLike) -> None:
    """Put a folder in order after a program that was killed: end what it had decided, remove what it had not.

    Call it where a program begins to work in a folder; what running programs write is left alone.

    Raises
    ------
    DiskError : when files that were decided on cannot be put in their places: no more may be written there, or the
        old ones would replace the new in the end. Who only reads goes on.
    """
    hidden = _hidden(folder)
    if any(_is_decided(path) for path in hidden):
        with alone_in(folder):
            _complete_decided(folder)
    for path in hidden:
        if not _is_decided(path) and is_abandoned(path):
            remove_whatever(path)


def _hidden(folder: str | os.PathLike) -> list[Path]:
    try:
        return sorted(path for path in Path(folder).iterdir() if path.name.startswith("."))
    except OSError:
        return []  # none there yet, or not to be read


def _is_decided(path: Path) -> bool:
    return path.name.startswith(".set.") and path.name.endswith(f".tmp{READY}")


def _complete_decided(folder: str | os.PathLike) -> None:
    """Put the files of all decided sets of a folder in their places, or say what is to be done."""
    for ready in filter(_is_decided, _hidden(folder)):
        try:
            _complete(ready)
        except DiskError as error:
            raise DiskError(
                f"{ready}: holds results that could not be put in their places: {error} Mend that and run again, or "
                "remove this hidden folder and make the results again."
            ) from error


def _complete(ready: Path) -> None:
    """Move the files of a decided set to their places; where there are no locks, another process may do the same."""
    for relative in _files(ready / "new"):
        final = ready.parent / relative
        with writing(final), contextlib.suppress(FileNotFoundError):
            final.parent.mkdir(parents=True, exist_ok=True)
            _move(ready / "new" / relative, final)
    for relative in _files(ready / "gone"):
        with contextlib.suppress(OSError):
            (ready.parent / relative).unlink(missing_ok=True)
    remove_whatever(ready)


def _move(source: Path, final: Path) -> None:
    """Let a file take its place in one step, on another disk too."""
    try:
        os.replace(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = temporary_name(final)
        try:
            shutil.copyfile(source, beside)
            os.replace(beside, final)
        finally:
            remove_whatever(beside)
        source.unlink()


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder, relative to it, in the order of their names."""
    found = []
    for root, folders, files in os.walk(folder):  # one that goes meanwhile is passed over
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [Path(root, name).relative_to(folder) for name in (*files, *links)]
    return sorted(found)
