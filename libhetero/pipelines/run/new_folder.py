"""The folder of a new run, filled with all but what training writes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from libhetero.errors import ConfigurationError
from libhetero.io import write_gaussians, write_particles
from libhetero.pipelines.run.configuration import CONFIG, write_config
from libhetero.pipelines.run.folder import write_arrays
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.particles import listed_particles
from libhetero.pipelines.run.start import RunStart
from libhetero.training import sharding


def written(start: RunStart, name: str | None, new_folder: Callable[[], Path] | None) -> Path:
    """Make a run folder and fill it with all but what training writes.

    Parameters
    ----------
    name : of the folder; None to ask `new_folder` for one.

    Raises
    ------
    ConfigurationError : if the folder holds a run already.
    """
    with _new_folder(name, new_folder) as folder:
        if sharding.is_writer():
            write_arrays(folder, start.model)
            feed = start.feed
            write_particles(folder / "ptcls_00.lst", listed_particles(feed.particles, start.config.data))
            if start.gaussians is not None:
                write_gaussians(folder / "model_00.txt", start.gaussians, feed.box_size, feed.pixel_size)
            write_config(folder, start.config)  # last: what holds it has all of a run
    return folder


@contextlib.contextmanager
def _new_folder(name: str | None, new_folder: Callable[[], Path] | None) -> Iterator[Path]:
    """Make the run folder; remove it if what a run needs cannot be written into it."""
    existed = name is not None and Path(name).exists()
    folder = Path(sharding.said_by_writer(lambda: str(_make_folder(name, new_folder))))
    with locked(folder):
        if sharding.is_writer():
            _refuse_a_run(folder)  # which another process may have begun meanwhile
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


def _refuse_a_run(folder: Path) -> None:
    if (folder / CONFIG).exists():
        raise ConfigurationError(
            f"{folder}: already holds a run; go on with --resume {folder}, or name another folder."
        )
