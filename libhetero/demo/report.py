"""What the demo says in the end: scores beside what was promised, and what to look at."""

from __future__ import annotations

import shlex

from libhetero.demo.recipe import Demo


def score_lines(demo: Demo) -> list[str]:
    """Return a line for each figure, with the promise and whether it was kept."""
    lines = ["", "## What it shows (figures of e2hype_score.py)"]
    for promise, value in zip(demo.story.promises, demo.values, strict=True):
        line = f"  {promise.meaning:<54}{value:7.3f}"
        if promise.least is not None:
            line += f"   promised {promise.least:.2f}: {'MISSED' if promise in demo.missed else 'reached'}"
        lines.append(line)
    return lines


def file_lines(demo: Demo) -> list[str]:
    """Return the figures and files to look at, the command that shows all of it in a browser, and the time taken.

    The processor time is told beside that on the clock, which on a shared machine says little.
    """
    lines = []
    for title, names in (("Figures", demo.story.figures), ("Files", demo.story.files)):
        lines += ["", f"## {title} to look at", *(f"  {demo.folder / name}" for name in names)]
    runs = shlex.join(str(demo.folder / name) for name in demo.story.runs)
    browser = ["", "## All of it in a browser", f"  $ e2hype_dashboard.py {runs}"]
    processor = sum(result.processor_seconds or 0 for result in demo.results)
    return [*lines, *browser, "", f"All stages took {demo.seconds:.0f} s, {processor:.0f} s of processor time."]
