"""Finding the files that lists and users name.

A relative name in a list is looked for in the data folder the user gave (also by its last
part alone, for stacks that were moved), then in the list's own folder, then in the current one.
"""

from __future__ import annotations

import os

from libhetero.errors import DataError
from libhetero.files import check_readable

__all__ = ["check_readable", "project_path", "resolve_path"]


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
    for candidate in _candidates(name, source, datadir):
        if os.path.exists(candidate):
            return os.path.abspath(candidate)
    given = "none given" if datadir is None else os.path.abspath(datadir)
    raise DataError(
        f"{source}: stack {name} not found; looked in --datadir ({given}), in the list's folder "
        f"({_folder(source)}) and in the current folder ({os.getcwd()}). "
        f"Give the folder of the stacks with --datadir."
    )


def _candidates(name: str, source: str | os.PathLike, datadir: str | os.PathLike | None) -> list[str]:
    candidates = []
    if datadir is not None:
        candidates += [os.path.join(datadir, name), os.path.join(datadir, os.path.basename(name))]
    return [*candidates, os.path.join(_folder(source), name), os.path.join(os.getcwd(), name)]


def _folder(source: str | os.PathLike) -> str:
    return os.path.dirname(os.path.abspath(source))


def project_path(path: str) -> str:
    """Return a path as a list should write it: relative to the current folder if it lies below."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
