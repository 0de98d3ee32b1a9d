"""The entry in EMAN2's project manager: read as it reads it, of options that exist, and taken out again."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
TREE = (
    '/* for the project manager */\n/* its "tree" */\n[\n  {"ICON": "web", "NAME": "2D Analysis", "CHILDREN": []}\n]\n'
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = PROJECT / "examples" / "eman2" / "add_to_projectmanager.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def eman2(tmp_path: Path) -> Path:
    """What is looked at of an EMAN2 installation."""
    (tmp_path / "eman2" / "bin").mkdir(parents=True)
    (tmp_path / "eman2" / "lib" / "pmconfig").mkdir(parents=True)
    (tmp_path / "eman2" / "lib" / "pmconfig" / "spr.json").write_text(TREE)
    return tmp_path / "eman2"


class FormParser:
    """Collects what a form declares, as EMAN2's parser does for the project manager."""

    def __init__(self) -> None:
        self.fields: list[dict[str, Any]] = []

    def add_argument(self, name: str, **words: Any) -> None:
        self.fields.append({"name": name, "positional": False, **words})

    def add_pos_argument(self, **words: Any) -> None:
        self.fields.append({"positional": True, **words})


def tree_of(eman2: Path) -> list[dict[str, Any]]:
    """Read the tree by the project manager's rules: from the first comment to the end of the last all goes."""
    text = (eman2 / "lib" / "pmconfig" / "spr.json").read_text()
    return json.loads(re.sub(r"/\*.*\*/", "", text, flags=re.DOTALL))


def fields_of(path: Path) -> list[dict[str, Any]]:
    """Read the form of a program as the project manager does: it evaluates each line that begins so by itself."""
    parser = FormParser()
    for line in path.read_text().splitlines():
        if re.match(r"\s*parser\.add_", line):
            eval(line, {"parser": parser, "str": str})
    return parser.fields


def command_of(fields: list[dict[str, Any]], values: dict[str, Any]) -> list[str]:
    """Return the words that a form gives: nothing for a field that is empty."""
    words = []
    for field in fields:
        value = values.get(field["name"], field["default"])
        if field["guitype"] == "boolbox":
            words += [field["name"]] if value else []
        elif value != "":
            words.append(value if field["positional"] else f"{field['name']}={value}")
    return words


def test_entry_and_forms_name_programs_and_options_that_exist(
    script: ModuleType, eman2: Path, load_program: Callable
) -> None:
    assert script.main([str(eman2), "--programs", str(PROJECT / "programs")]) == 0
    other, entry = tree_of(eman2)
    assert other["NAME"] == "2D Analysis" and entry["NAME"] == script.ENTRY
    assert {"ICON", "PROGRAM", "NAME", "CHILDREN"} <= set(entry["CHILDREN"][0])
    for child in entry["CHILDREN"]:
        parser = load_program(child["PROGRAM"]).build_parser()
        fields = fields_of(eman2 / "bin" / child["PROGRAM"])
        assert [field["row"] for field in fields] == list(range(len(fields)))
        arguments = [action.dest for action in parser._actions if not action.option_strings]
        assert [field["name"] for field in fields if field["positional"]] == arguments
        flags = {flag: action for action in parser._actions for flag in action.option_strings}
        for field in fields:
            if not field["positional"]:
                assert (flags[field["name"]].nargs == 0) == (field["guitype"] == "boolbox"), field["name"]
        least = {name: f"{name}.lst" for name in arguments}
        if child["PROGRAM"] == "e2hype_eval.py":
            least["--all_classes"] = "4"
        assert parser.parse_args([*command_of(fields, least), "--ppid=-2"]).ppid == -2


def test_a_filled_form_is_a_command(script: ModuleType, eman2: Path, load_program: Callable) -> None:
    assert script.main([str(eman2), "--programs", str(PROJECT / "programs")]) == 0
    fields = fields_of(eman2 / "bin" / "e2hype_refine.py")
    filled = {"particles": "particles.lst", "--pointtransformer": True, "--model": "gmm.txt", "--niter": "8"}
    options = load_program("e2hype_refine.py").build_parser().parse_args(command_of(fields, filled))
    assert options.particles == "particles.lst" and options.model == "gmm.txt" and int(options.niter) == 8


def test_a_launcher_becomes_the_program(script: ModuleType, eman2: Path, tmp_path: Path) -> None:
    programs = tmp_path / "a b" / "bin"
    programs.mkdir(parents=True)
    for form in script.FORMS:
        (programs / form.program).write_text('#!/bin/sh\nfor word in "$0" "$@"; do echo "$word"; done\nexit 3\n')
        (programs / form.program).chmod(0o755)
    assert script.main([str(eman2), "--programs", str(programs)]) == 0
    for form in script.FORMS:
        words = [eman2 / "bin" / form.program, "two words", "--ppid=-2"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout.splitlines() == [str(programs / form.program), "two words", "--ppid=-2"]


def test_twice_is_once_and_removing_leaves_what_was(script: ModuleType, eman2: Path) -> None:
    add = [str(eman2), "--programs", str(PROJECT / "programs")]
    tree = eman2 / "lib" / "pmconfig" / "spr.json"
    tree.chmod(0o640)
    assert script.main(add) == 0
    first = tree.stat()
    assert script.main(add) == 0
    assert tree.stat().st_mtime_ns == first.st_mtime_ns and first.st_mode & 0o777 == 0o640
    assert [node["NAME"] for node in tree_of(eman2)] == ["2D Analysis", script.ENTRY]
    assert (eman2 / "lib" / "pmconfig" / "spr.json.before_libhetero").read_text() == TREE
    assert script.main([str(eman2), "--remove"]) == script.main([str(eman2), "--remove"]) == 0
    assert tree.read_text() == TREE and list((eman2 / "bin").iterdir()) == []
    assert list(tree.parent.iterdir()) == [tree]


@pytest.mark.parametrize("with_ours", [True, False])
def test_what_eman2_changes_in_its_tree_is_kept(with_ours: bool, script: ModuleType, eman2: Path) -> None:
    """An update of EMAN2 writes the tree anew, and who edits it may leave our entry in it."""
    add = [str(eman2), "--programs", str(PROJECT / "programs")]
    tree = eman2 / "lib" / "pmconfig" / "spr.json"
    assert script.main(add) == 0
    nodes = [{"NAME": "3D Analysis"}, *(tree_of(eman2) if with_ours else [])]
    tree.write_text(json.dumps(nodes))
    assert script.main(add) == 0
    kept = json.loads(tree.with_name("spr.json.before_libhetero").read_text())
    assert kept == [node for node in nodes if node["NAME"] != script.ENTRY]
    assert tree_of(eman2) == [*kept, script.tree_entry()]
    assert script.main([str(eman2), "--remove"]) == 0
    assert tree_of(eman2) == kept


@pytest.mark.parametrize("failing", [1, 4, 8])
def test_what_is_interrupted_leaves_a_tree_that_names_what_is_there(
    failing: int, script: ModuleType, eman2: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Of six launchers, the file that is kept and the tree, in this order, one cannot be put into its place."""
    replace, done = script.os.replace, []

    def failing_replace(source: Path, target: Path) -> None:
        done.append(target)
        if len(done) == failing:
            raise OSError("the disk is full")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(script.os, "replace", failing_replace)
        assert script.main([str(eman2), "--programs", str(PROJECT / "programs")]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert (eman2 / "lib" / "pmconfig" / "spr.json").read_text() == TREE
    assert not list(eman2.rglob("*.tmp"))
    assert script.main([str(eman2), "--programs", str(PROJECT / "programs")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(script.Path, "unlink", lambda path, missing_ok=False: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            script.main([str(eman2), "--remove"])
    assert {form.program for form in script.FORMS} <= {path.name for path in (eman2 / "bin").iterdir()}
    assert script.main([str(eman2), "--remove"]) == 0
    assert (eman2 / "lib" / "pmconfig" / "spr.json").read_text() == TREE and not list((eman2 / "bin").iterdir())


@pytest.mark.parametrize("copied", [False, True])
def test_a_launcher_never_starts_itself(
    copied: bool, script: ModuleType, eman2: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert script.main([str(eman2), "--programs", str(PROJECT / "programs")]) == 0
    before = {path.name: path.read_text() for path in (eman2 / "bin").iterdir()}
    (tmp_path / "linked").symlink_to(eman2 / "bin")
    named = shutil.copytree(eman2 / "bin", tmp_path / "copy") if copied else tmp_path / "linked"
    assert script.main([str(eman2), "--programs", str(named)]) == 1
    told = capsys.readouterr().err
    assert "name the folder where libhetero is installed" in told and told.count("\n") == 1
    assert {path.name: path.read_text() for path in (eman2 / "bin").iterdir()} == before


def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    script: ModuleType, eman2: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    theirs = eman2 / "bin" / "e2hype_eval.py"
    theirs.write_text("#!/usr/bin/env python\n")
    for words, message in (
        ([str(eman2), "--programs", str(PROJECT / "programs")], "is not one of these files"),
        ([str(eman2), "--programs", str(tmp_path)], "is missing; name the folder"),
        ([str(tmp_path), "--remove"], "spr.json"),
    ):
        assert script.main(words) == 1
        assert message in capsys.readouterr().err
    assert (eman2 / "lib" / "pmconfig" / "spr.json").read_text() == TREE and theirs.exists()
    (eman2 / "lib" / "pmconfig" / "spr.json").write_text("{}")
    assert script.main([str(eman2), "--remove"]) == 1
    assert "nothing was changed" in capsys.readouterr().err
