"""The check of the tests by small wrong changes: the list fits the code; a change is made, judged and taken back."""

import json
from pathlib import Path

import pytest

from libhetero.errors import UserError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def mutations(load):
    return load("mutations")


def test_every_change_can_be_made_and_every_test_file_is_there(mutations) -> None:
    names = [mutant.name for mutant in mutations.MUTANTS]
    assert len(names) == len(set(names)) >= 45
    for mutant in mutations.MUTANTS:
        path, text = mutations.place_of(mutant, PROJECT)
        compile(text.replace(mutant.old, mutant.new), str(path), "exec")
        assert mutant.new != mutant.old
        lacking = [name for name in mutant.tests if not (PROJECT / "tests" / name).is_file()]
        assert mutant.tests and not lacking, f"{mutant.name}: no test file {lacking}"


@pytest.mark.parametrize(
    ("file", "old", "words"),
    [
        ("nowhere.py", "x", "no file libhetero/nowhere.py"),
        ("errors.py", "no such text", "has 0 of 'no such text'"),
        ("errors.py", "class ", "expected exactly one"),
    ],
)
def test_code_that_has_moved_is_refused(mutations, file: str, old: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        mutations.place_of(mutations.Mutant("a change", file, old, "y", ()), PROJECT)


@pytest.fixture
def tiny_project(mutations, tmp_path, monkeypatch):
    """A package of one line with its test, in the project's place."""
    (tmp_path / "libhetero").mkdir()
    (tmp_path / "libhetero" / "__init__.py").write_text("")
    (tmp_path / "libhetero" / "sum.py").write_text("def add(a, b):\n    return a + b  # plainly\n")
    (tmp_path / "tests").mkdir()
    test = "from libhetero.sum import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    (tmp_path / "tests" / "test_sum.py").write_text(test)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")
    monkeypatch.setattr(mutations, "PROJECT", tmp_path)
    return tmp_path


def test_found_and_survived(mutations, tiny_project, monkeypatch, capsys) -> None:
    tests = ("test_sum.py",)
    wrong = mutations.Mutant("sum: sign", "sum.py", "a + b", "a - b", tests)
    harmless = mutations.Mutant("sum: words", "sum.py", "plainly", "simply", tests)
    monkeypatch.setattr(mutations, "MUTANTS", (wrong, harmless))
    path = tiny_project / "found.json"
    assert mutations.main(["--json", str(path), "--jobs", "2"]) == 1
    said = capsys.readouterr().out
    assert "sum: sign: found by tests/test_sum.py::test_add" in said
    assert "sum    1 of   2" in said and "survived: sum: words" in said
    assert [one["found"] for one in json.loads(path.read_text())] == [True, False]
    assert mutations.main(["--only", "sign"]) == 0
    assert "a + b" in (tiny_project / "libhetero" / "sum.py").read_text(), "the project itself is left alone"


def test_nothing_is_said_where_tests_fail_as_they_are(mutations, tiny_project, monkeypatch, capsys) -> None:
    (tiny_project / "tests" / "test_sum.py").write_text("def test_broken():\n    assert False\n")
    monkeypatch.setattr(mutations, "MUTANTS", (mutations.Mutant("sum: sign", "sum.py", "+", "-", ("test_sum.py",)),))
    assert mutations.main([]) == 1
    assert "do not pass as they are (tests/test_sum.py::test_broken)" in capsys.readouterr().err
    assert mutations.main(["--only", "nothing"]) == 1
    assert "no change is named nothing" in capsys.readouterr().err
