"""From an empty folder to scores: the programs of a story one after the other, a process each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.cli.stages import StageResult, run_stage
from libhetero.configuration import read_json, write_json
from libhetero.demo.configuration import DemoConfig
from libhetero.demo.stories import QUICK, WHOLE, Promise, Story
from libhetero.errors import DataError
from libhetero.files import absolute_path, writing

MARK = "demo.json"  # in a folder that the demo made, and may make anew


@dataclass(frozen=True)
class Demo:
    """A demo that has run.

    Parameters
    ----------
    folder : with all that the programs wrote.
    story : that was told.
    results : what each stage cost.
    values : the figure of each of the story's promises.
    """

    folder: Path
    story: Story
    results: tuple[StageResult, ...]
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
    results = []
    for number, (name, command) in enumerate(story.stages, 1):
        results.append(run_stage(name, command, folder))
        progress(number / len(story.stages))
    for name in (*story.figures, *story.files):
        if not (folder / name).exists():
            raise DataError(f"{folder / name}: missing, though the stages before it ended well; expected it of them.")
    values = tuple(_value(folder, promise) for promise in story.promises)
    return Demo(folder, story, tuple(results), values)


def prepare(folder: Path) -> None:
    """Make an empty folder for the demo, in place of an earlier demo's.

    Raises
    ------
    DataError : where it holds something else than a demo, or cannot be made.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: expected a folder for the demo, found a file; name another one.")
        if folder.is_dir() and any(folder.iterdir()):
            if not (folder / MARK).is_file():
                raise DataError(
                    f"{folder}: holds files that are no demo's, which would be lost; name another folder, "
                    "such as e2hype_demo.py demo_01."
                )
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MARK, {"made_by": "e2hype_demo.py"})


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
