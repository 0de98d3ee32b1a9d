"""The tests that `make test` leaves out: chosen by their times, marked, and no name in the list that is of no test."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).parents[2]
LIST = PROJECT / "tests" / "slow.txt"


@pytest.fixture
def slow_tests(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("slow_tests")


# The list ---------------------------------------------------------------------------------


@cache
def _names(path: Path) -> set[str]:
    """Return the classes and functions of a file."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)}


def _is_a_test(line: str) -> bool:
    path, *names = line.split("::")
    return (PROJECT / path).is_file() and bool(names) and set(names) <= _names(PROJECT / path)


def test_every_slow_test_is_there() -> None:
    lines = LIST.read_text(encoding="utf-8").splitlines()[1:]
    lost = [line for line in lines if not _is_a_test(line)]
    assert not lost, f"tests/slow.txt lists what is no test: {', '.join(lost)}; put in its new name, or take it out"
    assert lines == sorted(set(lines)), "tests/slow.txt is not sorted, or has a line twice"


# What is chosen ---------------------------------------------------------------------------


def _case(name: str, seconds: float, needs: str = "", made: str = "") -> str:
    """Return a test of a report: file, function and case; names of fixtures; one fixture and its seconds."""
    file_name, function = name.split("::", 1)
    told = [("needs", needs)] if needs else []
    told += [("made", made)] if made else []
    properties = "".join(f'<property name="{key}" value="{value}" />' for key, value in told)
    return (
        f'<testcase classname="tests.{file_name}" name="{function}" time="{seconds}">'
        f"<properties>{properties}</properties></testcase>"
    )


def _report(folder: Path, *cases: str) -> Path:
    """Write a report of cases, and the files of tests that they are in; return it."""
    (folder / "tests").mkdir()
    for name in ("test_a", "test_b"):
        (folder / "tests" / f"{name}.py").write_text("")
    path = folder / "junit.xml"
    path.write_text(f'<testsuites><testsuite name="pytest">{"".join(cases)}</testsuite></testsuites>')
    return path


def _chosen(slow_tests: ModuleType, path: Path, seconds: float) -> set[str]:
    files = slow_tests.read_report(path, path.parent)
    return {name.removeprefix("tests/") for name in slow_tests.slow_functions(files, seconds)}


def test_the_longest_are_left_out_until_the_rest_is_quick(slow_tests: ModuleType, tmp_path: Path) -> None:
    path = _report(
        tmp_path, *(_case(f"test_a::test_{seconds}", seconds) for seconds in (9, 3, 1)), _case("test_b::test_4", 4)
    )
    assert _chosen(slow_tests, path, 17) == set()
    assert _chosen(slow_tests, path, 16) == {"test_a.py::test_9"}
    assert _chosen(slow_tests, path, 5) == {"test_a.py::test_9", "test_a.py::test_3"}
    assert _chosen(slow_tests, path, 0) == {"test_a.py::test_9", "test_a.py::test_3"}, "each file keeps a quick one"


def test_a_file_without_a_quick_test_keeps_none(slow_tests: ModuleType, tmp_path: Path) -> None:
    path = _report(tmp_path, _case("test_a::test_long", 6), _case("test_b::test_short", 1))
    assert _chosen(slow_tests, path, 2) == {"test_a.py::test_long"}
    found = slow_tests.summary(slow_tests.read_report(path, tmp_path), {"tests/test_a.py::test_long"})
    assert found.splitlines() == [
        "make test: 1 of 2 tests, 1 of 7 s; 1 functions left out",
        "nothing remains of tests/test_a.py",
    ]


def test_the_cases_of_a_function_stay_together_and_count_each(slow_tests: ModuleType, tmp_path: Path) -> None:
    """Of two functions of the same time, the one of fewer cases is left out: names of cases may have any character."""
    many = [_case(f"test_a::test_many[{name}]", 2) for name in ("x", "y::z", "a.b[0]")]
    path = _report(tmp_path, *many, _case("test_a::test_one", 6), _case("test_a::test_quick", 0.1))
    assert _chosen(slow_tests, path, 7) == {"test_a.py::test_one"}
    assert _chosen(slow_tests, path, 1) == {"test_a.py::test_one", "test_a.py::test_many"}


def test_what_fits_in_again_is_taken_back(slow_tests: ModuleType, tmp_path: Path) -> None:
    many = [_case(f"test_a::test_many[{number}]", 2) for number in range(3)]
    path = _report(tmp_path, *many, _case("test_a::test_one", 4), _case("test_a::test_quick", 0.1))
    assert _chosen(slow_tests, path, 5) == {"test_a.py::test_many"}, "the one alone would not have been enough"


def test_a_fixture_is_saved_where_all_that_need_it_are_left_out(slow_tests: ModuleType, tmp_path: Path) -> None:
    """It was made for one of them, whose own time is short; a test without it stays."""
    path = _report(
        tmp_path,
        _case("test_a::test_first", 21, "run other", "run 20"),
        _case("test_a::test_second", 0.5, "run"),
        _case("test_a::test_without", 1),
        _case("test_b::test_longer_for_itself", 8),
        _case("test_b::test_short", 1),
    )
    assert _chosen(slow_tests, path, 12) == {"test_a.py::test_first", "test_a.py::test_second"}
    files = slow_tests.read_report(path, tmp_path)
    assert files["tests/test_a.py"].functions["tests/test_a.py::test_first"].seconds == 1
    assert files["tests/test_a.py"].seconds(["tests/test_a.py::test_second"]) == 20.5


def test_the_methods_of_a_class_are_functions_of_their_file(slow_tests: ModuleType, tmp_path: Path) -> None:
    case = '<testcase classname="tests.test_a.TestStar" name="test_reads[1]" time="6" />'
    skipped = '<testcase classname="" name="tests.test_b" time="0" />'
    path = _report(tmp_path, case, skipped, _case("test_a::test_quick", 1))
    assert _chosen(slow_tests, path, 2) == {"test_a.py::TestStar::test_reads"}


def test_the_list_is_written_from_several_reports(slow_tests, tmp_path, monkeypatch, capsys) -> None:
    """The last that has a function counts: here the quick ones are run again, and one pays for what was left out."""
    names = ("long", "short", "quick")
    whole = _report(
        tmp_path, *(_case(f"test_a::test_{name}", time) for name, time in zip(names, (9, 2, 1), strict=True))
    )
    monkeypatch.setattr(slow_tests.read_report, "__defaults__", (tmp_path,))
    again, listed = tmp_path / "again.xml", tmp_path / "slow.txt"

    def lines(*reports: Path) -> list[str]:
        assert slow_tests.main([*map(str, reports), "--seconds", "4", "--output", str(listed)]) == 0
        return listed.read_text().splitlines()[1:]

    assert lines(whole) == ["tests/test_a.py::test_long"]
    assert "make test: 2 of 3 tests, 3 of 12 s" in capsys.readouterr().out
    again.write_text(f"<testsuites>{_case('test_a::test_short', 5)}{_case('test_a::test_quick', 1)}</testsuites>")
    assert lines(whole, again) == ["tests/test_a.py::test_long", "tests/test_a.py::test_short"]
    assert listed.read_text().startswith(slow_tests.HEADER)
    assert "make test: 1 of 3 tests, 1 of 15 s" in capsys.readouterr().out


def test_mistakes_are_one_line(slow_tests: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    broken, none, other = (tmp_path / name for name in ("broken.xml", "none.xml", "other.xml"))
    broken.write_text("<testsuites>")
    none.write_text("<testsuites />")
    other.write_text('<testsuite><testcase classname="tests.test_gone" name="test_x" time="1" /></testsuite>')
    absent = tmp_path / "absent.xml"
    for path, words in ((broken, "expected a report"), (absent, "absent.xml"), (none, "no test"), (other, "test_gone")):
        assert slow_tests.main([str(path), "--output", str(tmp_path / "slow.txt")]) == 1
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "slow.txt").exists()


# What pytest does with it -----------------------------------------------------------------

TINY = """
import time

import pytest


@pytest.fixture(scope="module")
def run():
    time.sleep(0.2)
    return 1


@pytest.fixture
def own():
    return 2


def test_first(run, own):
    assert run + own == 3


@pytest.mark.parametrize("case", ["a", "b::c"])
def test_second(request, case):
    assert request.getfixturevalue("run") == 1


def test_without():
    pass
"""


@pytest.fixture
def tiny_project(tmp_path: Path) -> Path:
    """A copy of what chooses and marks tests, beside a file of tests and a list of one of them."""
    for name in ("pyproject.toml", "tests/conftest.py", "tests/fixture_times.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    (tmp_path / "libhetero").symlink_to(PROJECT / "libhetero")
    (tmp_path / "tests" / "test_a.py").write_text(TINY)
    (tmp_path / "tests" / "slow.txt").write_text("# first line\ntests/test_a.py::test_second\n")
    return tmp_path


def _pytest(project: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *words]
    done = subprocess.run(command, cwd=project, env=os.environ, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_listed_functions_are_slow(tiny_project: Path) -> None:
    quick = _pytest(tiny_project, "-m", "not slow")
    assert "test_first PASSED" in quick and "test_without PASSED" in quick and "2 passed, 2 deselected" in quick
    slow = _pytest(tiny_project, "-m", "slow", "--numprocesses", "1")
    assert "test_second[a]" in slow and "test_second[b::c]" in slow and "2 passed" in slow
    assert "4 passed" in _pytest(tiny_project, "tests/test_a.py"), "pytest without a choice runs all"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_report_tells_what_shared_fixtures_took(slow_tests: ModuleType, tiny_project: Path, workers: str) -> None:
    report = tiny_project / "junit.xml"
    _pytest(tiny_project, "--junitxml", str(report), "--numprocesses", workers)
    (file,) = slow_tests.read_report(report, tiny_project).values()
    functions = {name.split("::")[1]: function for name, function in file.functions.items()}
    assert {name: function.cases for name, function in functions.items()} == {
        "test_first": 1,
        "test_second": 2,
        "test_without": 1,
    }
    assert file.fixtures["run"] >= 0.2 and "own" not in file.fixtures
    assert functions["test_first"].seconds < 0.2
    assert [name for name, function in functions.items() if "run" in function.needs] == ["test_first", "test_second"]
    assert file.seconds([functions["test_second"].name]) >= 0.2
