"""The folder of a new run, which holds no other and is taken away again where it cannot be filled."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from libhetero.errors import ConfigurationError
from libhetero.pipelines.run.configuration import CONFIG
from libhetero.pipelines.run.lock import locked
from libhetero.training import sharding


@contextlib.contextmanager
def making(name: str | None, new_folder: Callable[[], Path] | None) -> Iterator[Path]:
    """Make a run folder; remove it if what a run needs cannot be written into it.

    Parameters
    ----------
    name : of the folder; None to ask `new_folder` for one.

    Raises
    ------
    UserError : in every process, if the folder holds a run already, or there is no name.
    """
    existed = name is not None and Path(name).exists()
    folder = Path(sharding.said_by_writer(lambda: str(_make_folder(name, new_folder))))
    with locked(folder):
        sharding.said_by_writer(lambda: _refuse_a_run(folder))  # which another process may have begun meanwhile
        try:
            yield folder
        except BaseException:
            if not existed and sharding.is_writer():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _make_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Path:
    if name is None:
        if new_folder is None:
            raise ConfigurationError("no run folder was named; expected one.")
        return Path(new_folder())
    folder = Path(name)
    _refuse_a_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_new(name: str | None) -> None:
    """Refuse the name of a folder that cannot be that of a new run, before anything is measured.

    Raises
    ------
    UserError : in every process, if the folder holds a run already, or lies in a file, as process 0 sees it.
    """
    sharding.said_by_writer(lambda: _refuse(name))


def _refuse(name: str | None) -> str:
    """Refuse such a name; return "", as nothing is to be said otherwise."""
    if name is None:
        return ""
    folder = Path(name)
    _refuse_a_run(folder)
    there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    if os.path.lexists(there) and not there.is_dir():
        raise ConfigurationError(f"{folder}: {there} is a file; expected a folder. Choose another --path.")
    return ""


def _refuse_a_run(folder: Path) -> str:
    """Refuse a folder that holds a run; return ""."""
    if (folder / CONFIG).exists():
        raise ConfigurationError(
            f"{folder}: already holds a run; go on with --resume {folder}, or name another folder."
        )
    return ""
