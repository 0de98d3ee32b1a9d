"""Train a model on a particle set: from what was asked for to a run folder, or to what that would cost."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from libhetero.errors import StoppedEarly
from libhetero.pipelines.run.asked import HEADINGS, PARTS, RefineConfig
from libhetero.pipelines.run.defaults import described_defaults

__all__ = ["HEADINGS", "PARTS", "RefineConfig", "described_defaults", "dry_run", "run"]

LOGGER = logging.getLogger(__name__)


def run(
    config: RefineConfig,
    *,
    new_folder: Callable[[], Path] | None = None,
    started: Callable[[Path], object] | None = None,
    progress: Callable[[float], None] | None = None,
    joined: Callable[[int, int], None] | None = None,
    go_on: str | None = None,
) -> Path:
    """Train, or go on training, and write the run folder.

    Parameters
    ----------
    config : what was asked for.
    new_folder : makes the folder of a new run without a name, once everything has been checked.
    started : called with that folder before training starts.
    progress : called with the fraction done.
    joined : called with the index of this process and how many there are.
    go_on : how to go on after a stop, in words; None for --resume with the folder.

    Returns
    -------
    The run folder.

    Raises
    ------
    StoppedEarly : the system or the user asked to stop; a checkpoint is written.
    UserError : one line on what is wrong with options or files.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations alone.
    from libhetero.pipelines.run.batch import fitting_step
    from libhetero.pipelines.run.training import trained
    from libhetero.pipelines.run.wanted import wanted_run
    from libhetero.report.tensorboard import require_tensorboard
    from libhetero.telling.stopping import stopped_early, who_asked
    from libhetero.training.interruption import heard_by_jax

    if config.tensorboard:
        require_tensorboard()
    with _together(config, joined):
        wanted = wanted_run(config)
        begun = f"no step was done. Go on with {go_on or 'the same command'}."
        with stopped_early(lambda: begun, left=heard_by_jax()):
            start = wanted.start()
        finished = wanted.finished(start)
        if finished is not None:
            return finished
        program = fitting_step(start, go_on)
        folder = wanted.folder(start, new_folder, started)
        LOGGER.info("%s: %s", folder, start)
        begun = f"what was done is kept. Go on with {go_on or f'--resume {folder}'}."
        with stopped_early(lambda: begun, left=heard_by_jax()):
            result = trained(start, folder, program, config.tensorboard, progress, go_on)
    if not result.finished:
        who, code = who_asked(result.interrupted)
        raise StoppedEarly(
            f"stopped {who}, after step {result.step}; the checkpoint is written. "
            f"Go on with {go_on or f'--resume {folder}'}.",
            code,
        )
    return folder


def next_steps(folder: Path) -> list[str]:
    """Return, a line each, what to look at in a run, and the commands that go on from it."""
    from libhetero.models.families import family_named
    from libhetero.pipelines.run.configuration import read_config

    name = shlex.quote(str(folder))
    lines = [
        f"look at {Path(folder) / 'samples.png'} and {Path(folder) / 'loss.png'}",
        f"go on with e2hype_analyze.py {name} (plane, classes, states, volumes and a page)",
    ]
    if family_named(read_config(folder).family).mixtures:
        lines.append(f"or with e2hype_segment.py {name} (which Gaussians change together, and in which particles)")
    return lines


def dry_run(
    config: RefineConfig, tell: Callable[[str], object], joined: Callable[[int, int], None] | None = None
) -> None:
    """Do all that a run does before its first step, tell what it needs, take some steps, and tell what they cost.

    Nothing is written into a run folder. What `run` raises before its first step is raised here too, but for memory
    that does not suffice, of which a line tells.

    Parameters
    ----------
    config : what was asked for.
    tell : called with each line as soon as it is known.
    joined : called with the index of this process and how many there are.
    """
    from libhetero.pipelines.run.budget import budget_of
    from libhetero.pipelines.run.wanted import wanted_run

    with _together(config, joined):
        for line in budget_of(wanted_run(config).start()).lines():
            tell(line)


@contextmanager
def _together(config: RefineConfig, told: Callable[[int, int], None] | None) -> Iterator[None]:
    """Compute together with the other processes, where there are any."""
    from libhetero.training.processes import joined, processes_asked

    asked = processes_asked(config.coordinator, config.process_count, config.process_index, os.environ)
    with joined(asked, told):
        yield
