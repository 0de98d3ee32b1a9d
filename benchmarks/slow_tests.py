"""Which tests are left to `make test-slow`, so that `make test` is quick: chosen by the times of a run of all of them.

    .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --junitxml junit.xml
    .venv/bin/python benchmarks/slow_tests.py junit.xml

writes tests/slow.txt, which tests/conftest.py reads: a test function a line, without its parameters, for the cases of a
function stay together. Left out is what saves the most seconds for each case that is lost, again and again, until the
rest takes no more than --seconds. That is a function, or all that need one fixture: what a fixture took that a file's
tests share is saved only where all of them are left out (tests/fixture_times.py tells; the report alone charges it to
the first of them). Each file keeps its quickest function, if that takes no more than 5 s.

What else tests share, such as what was compiled for the first of them, is not known. Once it is left out, another pays:

    PYTEST_ADDOPTS=--junitxml=quick.xml make test
    .venv/bin/python benchmarks/slow_tests.py junit.xml quick.xml

chooses anew by what the others then took; of the reports, the last that has a function counts.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from libhetero.errors import UserError
from libhetero.files import replacing

PROJECT = Path(__file__).resolve().parents[1]
QUICK = 5.0  # seconds of a function that a file keeps
HEADER = "# Written by benchmarks/slow_tests.py: what make test leaves to make test-slow.\n"


@dataclass
class Function:
    """A test function with all of its cases.

    Parameters
    ----------
    name : as in tests/slow.txt, `tests/io/test_star.py::test_reads`.
    seconds : of all cases, without the fixtures that it shares with other tests.
    cases : how many there are.
    needs : names of its fixtures.
    """

    name: str
    seconds: float = 0.0
    cases: int = 0
    needs: set[str] = field(default_factory=set)


@dataclass
class FileOfTests:
    """The tests of a file and the seconds of each fixture that they share."""

    functions: dict[str, Function] = field(default_factory=dict)
    fixtures: dict[str, float] = field(default_factory=dict)

    def seconds(self, names: Iterable[str]) -> float:
        """Return what these functions take, with all the fixtures that they need."""
        chosen = [self.functions[name] for name in names]
        needed = {fixture for function in chosen for fixture in function.needs if fixture in self.fixtures}
        return sum(function.seconds for function in chosen) + sum(self.fixtures[name] for name in needed)

    def kept(self) -> set[str]:
        """Return the function that this file keeps: the quickest, if it is quick."""
        quickest = min(self.functions, key=lambda name: (self.seconds([name]), name))
        return {quickest} if self.seconds([quickest]) <= QUICK else set()

    def best(self, rest: set[str]) -> tuple[float, set[str]]:
        """Return the remaining functions to leave out together next, after the seconds that this saves a case."""
        free = rest - self.kept()
        users = ({name for name in free if fixture in self.functions[name].needs} for fixture in self.fixtures)
        groups = [{name} for name in free] + [group for group in users if group]
        whole = self.seconds(rest)
        rated = [
            ((whole - self.seconds(rest - group)) / sum(self.functions[name].cases for name in group), sorted(group))
            for group in groups
        ]
        saved, group = max(rated, default=(0.0, []))
        return saved, set(group)


def function_of(case: ElementTree.Element, project: Path) -> tuple[str, str]:
    """Return the file and the function of a case, by pytest's names of both: `tests.io.test_star`, `test_reads[lst]`.

    Raises
    ------
    UserError : if there is no such file.
    """
    parts, name = case.get("classname", "").split("."), case.get("name", "").split("[")[0]
    for count in range(len(parts), 0, -1):
        path = "/".join(parts[:count]) + ".py"
        if _is_file(project / path):
            return path, "::".join([path, *parts[count:], name])
    raise UserError(
        f"{'.'.join(parts)}.{name}: no such file of tests; the report must be of this version of the tests."
    )


@cache
def _is_file(path: Path) -> bool:
    return path.is_file()


def _properties(case: ElementTree.Element, name: str) -> Iterator[str]:
    for found in case.iter("property"):
        if found.get("name") == name:
            yield found.get("value", "")


def read_report(path: Path, project: Path = PROJECT) -> dict[str, FileOfTests]:
    """Return the files of tests that a report of pytest tells of, by name.

    Raises
    ------
    UserError : if it cannot be read, or is of other tests.
    """
    files: dict[str, FileOfTests] = {}
    try:
        cases = ElementTree.parse(path).iter("testcase")
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"{path}: {error}; expected a report of pytest --junitxml.") from error
    for case in cases:
        if not case.get("classname"):  # a file that was skipped as a whole
            continue
        file_name, name = function_of(case, project)
        file = files.setdefault(file_name, FileOfTests())
        function = file.functions.setdefault(name, Function(name))
        function.cases += 1
        function.seconds += float(case.get("time", 0))
        function.needs.update(*(words.split() for words in _properties(case, "needs")))
        for words in _properties(case, "made"):
            fixture, seconds = words.split()
            file.fixtures[fixture] = file.fixtures.get(fixture, 0.0) + float(seconds)
            function.needs.add(fixture)
            function.seconds = max(0.0, function.seconds - float(seconds))
    return files


def joined(reports: Iterable[dict[str, FileOfTests]]) -> dict[str, FileOfTests]:
    """Return what several reports tell; of each function and fixture what the last tells that has it."""
    files: dict[str, FileOfTests] = {}
    for report in reports:
        for name, file in report.items():
            known = files.setdefault(name, FileOfTests())
            known.functions |= file.functions
            known.fixtures |= file.fixtures
    return files


def slow_functions(files: dict[str, FileOfTests], seconds: float) -> set[str]:
    """Return the functions to leave out, so that the rest takes no more than `seconds`, or as near as may be."""
    rest = {name: set(file.functions) for name, file in files.items()}
    left_out: list[tuple[str, str]] = []  # file and function
    total = sum(file.seconds(rest[name]) for name, file in files.items())
    best = {name: file.best(rest[name]) for name, file in files.items()}
    while total > seconds:
        name = max(best, key=lambda name: (best[name][0], name))
        saved, group = best[name]
        if saved <= 0:
            break
        before = files[name].seconds(rest[name])
        rest[name] -= group
        left_out += [(name, function) for function in sorted(group)]
        total -= before - files[name].seconds(rest[name])
        best[name] = files[name].best(rest[name])
    for name, function in reversed(left_out):  # the last may have saved more than was needed: some fit in again
        added = files[name].seconds(rest[name] | {function}) - files[name].seconds(rest[name])
        if total + added <= seconds:
            rest[name].add(function)
            total += added
    return {function for name, file in files.items() for function in file.functions.keys() - rest[name]}


def summary(files: dict[str, FileOfTests], slow: set[str]) -> str:
    """Return how many cases and seconds remain and are left out, and the files of which nothing remains."""
    functions = [(file, function) for file in files.values() for function in file.functions.values()]
    whole = sum(file.seconds(file.functions) for file in files.values())
    quick = sum(file.seconds(set(file.functions) - slow) for file in files.values())
    cases = sum(function.cases for _, function in functions)
    cases_quick = sum(function.cases for _, function in functions if function.name not in slow)
    lines = [f"make test: {cases_quick} of {cases} tests, {quick:.0f} of {whole:.0f} s; {len(slow)} functions left out"]
    lines += [f"nothing remains of {name}" for name, file in sorted(files.items()) if slow >= file.functions.keys()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Choose the slow tests and write their list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT", help="of pytest --junitxml, of all tests")
    parser.add_argument("--seconds", type=float, default=900.0, help="that the others may take (default: 900)")
    parser.add_argument("--output", type=Path, default=PROJECT / "tests" / "slow.txt", help="default: tests/slow.txt")
    options = parser.parse_args(argv)
    try:
        files = joined(read_report(path) for path in options.reports)
        if not files:
            raise UserError(f"{options.reports[0]}: no test in it; expected a report of a run of all tests.")
        slow = slow_functions(files, options.seconds)
        with replacing(options.output) as path:
            path.write_text(HEADER + "".join(f"{name}\n" for name in sorted(slow)), encoding="utf-8")
    except UserError as error:
        print(f"slow_tests.py: {error}", file=sys.stderr)
        return 1
    print(summary(files, slow))
    return 0


if __name__ == "__main__":
    sys.exit(main())
