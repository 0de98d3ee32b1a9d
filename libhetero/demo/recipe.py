"""From an empty folder to scores: the programs of a story, a process each, independent ones at the same time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.cli.eman2_log import LOG_NAME
from libhetero.cli.quick_compilation import quick_variables
from libhetero.cli.side_by_side import run_side_by_side
from libhetero.cli.stages import StageResult, run_stage
from libhetero.configuration import read_json, write_json
from libhetero.demo.configuration import DemoConfig
from libhetero.demo.stories import QUICK, WHOLE, Promise, Story
from libhetero.errors import DataError, UserError
from libhetero.files import absolute_path, writing
from libhetero.files.temporary import is_abandoned

MARK = "demo.json"  # in a folder that the demo made, and may make anew
MAKER = "e2hype_demo.py"  # who made it, as the mark says
ELSEWHERE = f"name another folder, such as {MAKER} demo_01."


@dataclass(frozen=True)
class Demo:
    """A demo that has run.

    Parameters
    ----------
    folder : with all that the programs wrote.
    story : that was told.
    results : what each stage cost, row by row.
    seconds : wall-clock time of all stages.
    values : the figure of each of the story's promises.
    """

    folder: Path
    story: Story
    results: tuple[StageResult, ...]
    seconds: float
    values: tuple[float, ...]

    @property
    def missed(self) -> tuple[Promise, ...]:
        """The promises whose figure is below what was promised."""
        pairs = zip(self.story.promises, self.values, strict=True)
        return tuple(promise for promise, value in pairs if promise.least is not None and value < promise.least)


def run(config: DemoConfig, progress: Callable[[float], None] = lambda fraction: None) -> Demo:
    """Run every stage in a folder of its own, and read the scores.

    Parameters
    ----------
    config : where, and how much.
    progress : told the fraction of the stages that are done.

    Raises
    ------
    UserError : one line on a folder that is not the demo's, a program that is not installed, one that failed, or a
        file that is missing in the end.
    """
    folder = Path(absolute_path(config.folder))
    story = QUICK if config.quick else WHOLE
    prepare(folder)
    start = time.monotonic()
    results = _run_stages(story, folder, progress)
    seconds = time.monotonic() - start
    for name in (*story.figures, *story.files):
        if not (folder / name).exists():
            raise DataError(f"{folder / name}: missing, though the stages before it ended well; expected it of them.")
    values = tuple(_value(folder, promise) for promise in story.promises)
    return Demo(folder, story, results, seconds, values)


def _run_stages(story: Story, folder: Path, progress: Callable[[float], None]) -> tuple[StageResult, ...]:
    """Run a story's rows at the same time; a single one has the screen for itself."""
    variables = quick_variables(os.environ)
    if len(story.rows) > 1:
        rows = run_side_by_side(story.rows, folder, variables, progress)
        return tuple(result for row in rows for result in row)
    results = []
    for number, (name, command) in enumerate(story.stages, 1):
        results.append(run_stage(name, command, folder, variables))
        progress(number / len(story.stages))
    return tuple(results)


def prepare(folder: Path) -> None:
    """Make an empty folder for the demo, in place of an earlier demo's; the log of the programs in it stays.

    Raises
    ------
    DataError : where it holds something that no demo wrote, or cannot be made.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: expected a folder for the demo, found a file; name another one.")
        folder.mkdir(parents=True, exist_ok=True)
        found = [path for path in sorted(folder.iterdir()) if path.name != LOG_NAME]
        if found and not _is_marked(folder):
            raise DataError(f"{folder}: holds files that are no demo's, which would be lost; {ELSEWHERE}")
        others = [path.name for path in found if not _is_made(path)]
        if others:
            more = "" if len(others) == 1 else f" and {len(others) - 1} more"
            raise DataError(f"{folder}: holds {others[0]}{more} beside an earlier demo's files; {ELSEWHERE}")
        for path in found:
            if path.name != MARK:  # it stays, so that what is left of a removal that was interrupted is the demo's
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    write_json(folder / MARK, {"made_by": MAKER})


def _is_marked(folder: Path) -> bool:
    """Return whether a folder says that the demo made it."""
    try:
        return read_json(folder / MARK).get("made_by") == MAKER
    except UserError:  # no such file, or one that is no JSON object
        return False


def _is_made(path: Path) -> bool:
    """Return whether something in a demo's folder was written by the demo, or is left of a program that was killed."""
    names = (*WHOLE.made, *QUICK.made)
    return path.name in (MARK, *names, *(f".{name}.claim" for name in names)) or is_abandoned(path)


def _value(folder: Path, promise: Promise) -> float:
    """Return the figure of a promise, as e2hype_score.py wrote it.

    Raises
    ------
    DataError : where the score has none.
    """
    value: Any = read_json(folder / promise.file)
    for key in promise.keys:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, int | float):
        raise DataError(f"{folder / promise.file}: expected a number at {'/'.join(promise.keys)}, found none.")
    return value
