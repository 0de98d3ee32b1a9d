"""Do the tests find small wrong changes? Each of `mutants.py` is made in a copy of the project, and its tests are run.

    python benchmarks/mutations.py --jobs 2 --json mutations.json
    python benchmarks/mutations.py --only ctf "checkpoints: any format"
    python benchmarks/mutations.py --list

First the tests must pass as they are, without any change. Then a change is found where a test fails, or hangs, and
has survived where all pass. Prints a table of the parts and every survivor; exit code 1 if there is one.
An hour on two cores for all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from mutants import MUTANTS, Mutant

from libhetero.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]
COPIED = ("libhetero", "programs", "benchmarks", "examples", "tests", "docs", "pyproject.toml", "README.md", "Makefile")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
SHARED = PROJECT.parent / "shared"  # files of other programs, which some tests read
PASSED, FAILED, BROKEN = 0, 1, 2  # pytest's exit codes: BROKEN where a file cannot even be imported


@dataclass(frozen=True)
class Outcome:
    """What came of one change.

    Parameters
    ----------
    mutant : its name.
    found : whether a test failed, or did not end.
    by : the first that did; "" for none.
    seconds : from start to end.
    """

    mutant: str
    found: bool
    by: str
    seconds: float


def place_of(mutant: Mutant, project: Path) -> tuple[Path, str]:
    """Return the file of a change and its text as it is.

    Raises
    ------
    UserError : unless the old text is in it exactly once.
    """
    path = project / "libhetero" / mutant.file
    if not path.is_file():
        raise UserError(f"{mutant.name}: no file libhetero/{mutant.file}; say in mutants.py where its code is now.")
    text = path.read_text(encoding="utf-8")
    count = text.count(mutant.old)
    if count != 1:
        raise UserError(
            f"{mutant.name}: libhetero/{mutant.file} has {count} of {mutant.old!r}; expected exactly one. "
            "Say in mutants.py what the code is now."
        )
    return path, text


@contextlib.contextmanager
def changed(mutant: Mutant, project: Path) -> Iterator[None]:
    """Hold the change in a copy of the project, and take it back."""
    path, text = place_of(mutant, project)
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def copy_project(folder: Path) -> Path:
    """Copy what the tests need into `folder/project`, and return that."""
    copy = folder / "project"
    copy.mkdir(parents=True)
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=LEFT_OUT)
        elif source.exists():
            shutil.copy(source, copy / name)
    if SHARED.exists():
        (folder / "shared").symlink_to(SHARED)
    return copy


def run_tests(tests: Sequence[str], project: Path, compiled: Path, limit: float | None) -> tuple[int | None, str]:
    """Run test files in a copy of the project until one fails.

    Parameters
    ----------
    compiled : folder of compiled programs, shared by all runs.
    limit : seconds; None for any number.

    Returns
    -------
    pytest's exit code, None if it took too long; and what it printed.
    """
    words = [
        "-q",
        "-x",
        "-rfE",
        "--no-header",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        *(f"tests/{name}" for name in tests),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(project),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


def require_passing(tests: Sequence[str], project: Path, compiled: Path) -> None:
    """Run the tests without any change.

    Raises
    ------
    UserError : if one fails, for then nothing can be said of changes.
    """
    code, output = run_tests(tests, project, compiled, None)
    if code != PASSED:
        raise UserError(
            f"the tests do not pass as they are ({first_failure(output) or output[-500:]}); mend them first."
        )


def first_failure(output: str) -> str:
    """Return the first test that pytest's summary names, or ""."""
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", output, re.MULTILINE)
    return found[1] if found else ""


def judge(mutant: Mutant, project: Path, compiled: Path, limit: float) -> Outcome:
    """Make one change in a copy of the project and run its tests.

    Raises
    ------
    UserError : if pytest could not run them.
    """
    start = time.monotonic()
    with changed(mutant, project):
        code, output = run_tests(mutant.tests, project, compiled, limit)
    if code not in (PASSED, FAILED, BROKEN, None):
        raise UserError(f"{mutant.name}: pytest ended with {code}: {output[-500:]}")
    by = "no end" if code is None else first_failure(output)
    return Outcome(mutant.name, code != PASSED, by, round(time.monotonic() - start, 1))


def judge_all(mutants: Sequence[Mutant], jobs: int, limit: float) -> Iterator[Outcome]:
    """Judge every change, some at a time, each job in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder, ThreadPoolExecutor(jobs) as pool:
        compiled = Path(folder) / "compiled"
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copies.put(copy_project(Path(folder) / f"job_{number}"))
        tests = sorted({name for mutant in mutants for name in mutant.tests})
        with lent(copies) as project:
            require_passing(tests, project, compiled)

        def one(mutant: Mutant) -> Outcome:
            with lent(copies) as project:
                return judge(mutant, project, compiled, limit)

        yield from pool.map(one, mutants)


@contextlib.contextmanager
def lent(copies: queue.Queue[Path]) -> Iterator[Path]:
    """Lend a copy of the project to one job at a time."""
    project = copies.get()
    try:
        yield project
    finally:
        copies.put(project)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a line for each part with how many changes were found, and one for each survivor."""
    parts: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        parts.setdefault(outcome.mutant.split(":")[0], []).append(outcome)
    width = max(map(len, parts), default=0)
    lines = [f"{part:{width}}  {sum(one.found for one in some):3d} of {len(some):3d}" for part, some in parts.items()]
    found = sum(one.found for one in outcomes)
    lines.append(f"{'all':{width}}  {found:3d} of {len(outcomes):3d}")
    return "\n".join([*lines, *(f"survived: {one.mutant}" for one in outcomes if not one.found)])


def chosen(words: Sequence[str]) -> list[Mutant]:
    """Return the changes whose name holds one of the words; all for none.

    Raises
    ------
    UserError : if there is none such.
    """
    found = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    if not found:
        raise UserError(f"no change is named {' or '.join(words)}; --list names all.")
    return found


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="changes whose name holds one of these")
    parser.add_argument("--list", action="store_true", help="name them, with their tests, and run nothing")
    parser.add_argument("--jobs", type=int, default=1, help="at a time (default: 1)")
    parser.add_argument("--limit", type=float, default=600, help="seconds, after which tests hang (default: 600)")
    parser.add_argument("--json", metavar="FILE", help="write every outcome here, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Judge the changes; return 0 if every one was found, else 1."""
    options = build_parser().parse_args(argv)
    try:
        mutants = chosen(options.only)
        for mutant in mutants:
            place_of(mutant, PROJECT)
        if options.list:
            print("\n".join(f"{mutant.name}  ({', '.join(mutant.tests)})" for mutant in mutants))
            return 0
        outcomes = []
        for outcome in judge_all(mutants, options.jobs, options.limit):
            outcomes.append(outcome)
            said = f"found by {outcome.by}" if outcome.found else "SURVIVED"
            print(f"{outcome.mutant}: {said} ({outcome.seconds:g} s)", flush=True)
    except UserError as error:
        print(f"mutations.py: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(outcomes)}")
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    return 0 if all(one.found for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
