"""The run that was asked for: one that begins, or one that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import CONFIG
from libhetero.pipelines.run.new import NewRun
from libhetero.pipelines.run.start import RunStart
from libhetero.pipelines.run.stored import StoredRun
from libhetero.training import sharding


@runtime_checkable
class WantedRun(Protocol):
    """A run as it was asked for: `NewRun` or `StoredRun`."""

    def start(self) -> RunStart:
        """Return what the run starts with; nothing is written.

        Raises
        ------
        UserError : one line on what is wrong with options or files.
        """

    def finished(self, start: RunStart) -> Path | None:
        """Return the folder of a run of which nothing is left to do, having said so; None of any other."""

    def folder(
        self, start: RunStart, new_folder: Callable[[], Path] | None, started: Callable[[Path], object] | None
    ) -> Path:
        """Return the run folder, with all in it but what training writes.

        Parameters
        ----------
        start : what the run starts with.
        new_folder : makes the folder of a new run without a name.
        started : called with the folder of a new run, by process 0.
        """


def wanted_run(asked: RefineConfig) -> WantedRun:
    """Return the run to go on with, the one named or that of a requeued command which has begun; else a new one."""
    if asked.resume is not None:
        return StoredRun(asked, Path(asked.resume))
    if asked.requeue and asked.folder is not None and sharding.seen_by_writer(Path(asked.folder) / CONFIG):
        return StoredRun(asked, Path(asked.folder))
    return NewRun(asked)
