"""Finding the files that lists and users name.

A relative name in a list is looked for in the data folder the user gave (also by its last part alone, for stacks that
were moved), then in the list's own folder, then in the current one, then in the folders above the list's: names of
RELION's lists start from the project, and the lists lie below it, as in Select/job012. A run knows where its stacks
were (`stacks_known`), which counts for more than the current folder.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from libhetero.errors import DataError
from libhetero.files import absolute_path

FOREIGN_STACKS = (".hdf", ".h5")  # that EMAN2 reads, and RELION and cryoSPARC do not


_KNOWN: ContextVar[Mapping[str, Sequence[str]] | None] = ContextVar("paths of stacks that are known", default=None)


@contextlib.contextmanager
def stacks_known(paths: Iterable[str]) -> Iterator[None]:
    """Look for relative names among these absolute paths as well, after the list's folder, for the time of the call."""
    known: dict[str, list[str]] = {}
    for path in paths:
        known.setdefault(os.path.basename(path), []).append(path)
    token = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(token)


class NameNotHeld(DataError):
    """A list of this format cannot hold the name of a stack; one of another format may."""


@dataclass(frozen=True)
class FoundStack:
    """Where a stack was found.

    Parameters
    ----------
    path : absolute.
    by_last_part : found in the data folder by the last part of its name alone.
    """

    path: str
    by_last_part: bool = False


def resolve_path(name: str, source: str | os.PathLike, datadir: str | os.PathLike | None = None) -> str:
    """Return the absolute path of a stack named in a list.

    Parameters
    ----------
    name : as written in the list.
    source : the list itself.
    datadir : folder to look in first; None for none.

    Raises
    ------
    DataError : naming every place that was tried.
    """
    return find_stack(name, source, datadir).path


def resolve_paths(
    names: Iterable[str], source: str | os.PathLike, datadir: str | os.PathLike | None = None, need: bool = True
) -> list[str]:
    """Return the absolute paths of the stacks of one list, each name once.

    Parameters
    ----------
    names : as written in the list, without repetition.
    source, datadir : as of `resolve_path`.
    need : False to name a stack that is not there as the current folder would have it.

    Raises
    ------
    DataError : for a stack that is not there, or two names that become one file by their last part alone.
    """
    paths, taken = [], dict[str, tuple[str, bool]]()
    for name in names:
        try:
            found = find_stack(name, source, datadir)
        except DataError:
            if need:
                raise
            found = FoundStack(absolute_path(name))
        other, by_last_part = taken.setdefault(found.path, (name, found.by_last_part))
        if other != name and (found.by_last_part or by_last_part) and not _same_stack(other, name, source):
            raise DataError(
                f"{source}: stacks {other} and {name} would both be {found.path}, found in --datadir by the last part "
                f"of their names; expected a file each. Give the folder that their whole names start from."
            )
        paths.append(found.path)
    return paths


def find_stack(name: str, source: str | os.PathLike, datadir: str | os.PathLike | None = None) -> FoundStack:
    """Return where a stack named in a list lies, and by which rule; arguments and errors of `resolve_path`."""
    if os.path.isabs(name):
        tried = [(name, False)]
    else:
        elsewhere = [os.path.join(folder, name) for folder in (os.getcwd(), *_above(source))]
        places = [os.path.join(_folder(source), name), *_known(name), *elsewhere]
        tried = [(candidate, False) for candidate in places]
    if datadir is not None:
        tried = [(os.path.join(datadir, name), False), (os.path.join(datadir, os.path.basename(name)), True), *tried]
    for candidate, by_last_part in tried:
        if os.path.exists(candidate):
            by_last_part = by_last_part and os.path.dirname(name) != ""
            return FoundStack(absolute_path(candidate), by_last_part)
    given = "none given" if datadir is None else absolute_path(datadir)
    raise DataError(
        f"{source}: stack {name[:300]} not found; looked in --datadir ({given}), in the list's folder "
        f"({_folder(source)}), those above it, and in the current folder ({os.getcwd()}). "
        f"Give the folder of the stacks with --datadir."
    )


def _known(name: str) -> list[str]:
    """Return the one path that is known of a relative name; nothing where there is none, or several."""
    ending = f"{os.sep}{os.path.normpath(name)}"
    found = [path for path in (_KNOWN.get() or {}).get(os.path.basename(name), ()) if path.endswith(ending)]
    return found if len(found) == 1 else []


def _above(source: str | os.PathLike) -> Iterator[str]:
    """Yield the folders above that of a list, nearest first; of a link also where it leads to, and those above that."""
    own, real = Path(_folder(source)), Path(os.path.realpath(source)).parent
    yield from map(str, own.parents)
    if real != own:
        yield from map(str, (real, *real.parents))


def _same_stack(first: str, second: str, source: str | os.PathLike) -> bool:
    """Return whether two names of a list mean one file without a data folder."""
    if os.path.normpath(first) == os.path.normpath(second) and ".." not in f"{first}/{second}".split("/"):
        return True
    try:
        return os.path.samefile(resolve_path(first, source), resolve_path(second, source))
    except DataError:
        return False


def _folder(source: str | os.PathLike) -> str:
    return os.path.dirname(absolute_path(source))


def project_path(path: str) -> str:
    """Return a path as a list should write it: relative to the current folder if it lies below."""
    relative = os.path.relpath(absolute_path(path))
    return path if relative.split(os.sep)[0] == ".." else relative


def require_readable_elsewhere(files: Iterable[str], path: str | os.PathLike) -> None:
    """Refuse to name stacks of EMAN2 in a list for RELION or cryoSPARC, which cannot open them.

    Parameters
    ----------
    files : stacks that the list would name.
    path : of the list.

    Raises
    ------
    NameNotHeld : for the first of them.
    """
    for file in files:
        if file.lower().endswith(FOREIGN_STACKS):
            raise NameNotHeld(
                f"{path}: the images lie in {file}, which RELION and cryoSPARC cannot open; expected .mrcs. "
                f"Write them beside the list with e2hype_import.py --stack FILE.mrcs."
            )
