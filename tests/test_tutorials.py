"""Tutorials: each page's commands run, leave what the page names, and its pictures are those that the script makes."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from libhetero.analysis import regions
from libhetero.cli.stages import StageResult
from libhetero.errors import ConfigurationError, UserError

PROJECT = Path(__file__).resolve().parent.parent
PAGES = sorted((PROJECT / "docs" / "tutorials").glob("*.md"))
PICTURES = PROJECT / "docs" / "images" / "tutorials"


@pytest.fixture
def tutorial(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as Python runs it."""
    monkeypatch.syspath_prepend(str(PROJECT / "examples"))
    monkeypatch.delitem(sys.modules, "tutorial", raising=False)
    return importlib.import_module("tutorial")


@pytest.fixture
def stages(
    tutorial: ModuleType, load_program: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The commands that the script has run: in this process, to compile once, and without UMAP, slow to compile."""
    commands: list[str] = []
    monkeypatch.setattr(regions, "umap_plane", lambda points, *_, **__: regions.principal_plane(points))

    def run_stage(name: str, command: str, folder: Path) -> StageResult:
        program, *arguments = shlex.split(command)
        monkeypatch.chdir(folder)
        commands.append(command)
        if load_program(program).main(arguments):
            raise UserError(f"{name}: {command}")
        return StageResult(name, command, 1.0, 2**20, 2.0)

    monkeypatch.setattr(tutorial, "run_stage", run_stage)
    return commands


def _named(page: str) -> set[str]:
    """Return the files and folders that the text of a page above "Go on" names, paths alone."""
    text = re.sub(r"```.*?```", "", page.partition("\n## Go on\n")[0], flags=re.DOTALL)
    return set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_run_and_leave_what_the_page_names(
    page: Path, tutorial: ModuleType, stages: list[str], tmp_path: Path
) -> None:
    assert tutorial.main([page.stem, "--folder", str(tmp_path / "run"), "--short", "--figures", str(tmp_path)]) == 0
    text = page.read_text(encoding="utf-8")
    assert len(stages) == len(tutorial.commands_of(text)) > 3
    named = _named(text)
    assert len(named) > 3
    assert [name for name in sorted(named) if not (tmp_path / "run" / name).exists()] == []
    shown = re.findall(r"\]\(\.\./images/tutorials/([^)]*)\)", text)
    assert sorted(shown) == sorted(tutorial.TUTORIALS[page.stem].figures) != []
    assert [name for name in shown if not (tmp_path / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_accepted(page: Path, load_program: Callable[[str], ModuleType]) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    ours = [
        words for line in commands if (words := shlex.split(line, comments=True)) and words[0].startswith("e2hype_")
    ]
    for program, *arguments in ours:
        load_program(program).build_parser().parse_args(arguments)
    assert len(ours) > 5


def test_every_page_is_a_tutorial_of_the_script(tutorial: ModuleType) -> None:
    assert [page.stem for page in PAGES] == sorted(tutorial.TUTORIALS)


def test_pictures_are_small_and_shown() -> None:
    pictures = sorted(PICTURES.glob("*"))
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [picture.name for picture in pictures if f"/{picture.name})" not in shown] == []
    assert max(picture.stat().st_size for picture in pictures) < 200_000
    assert sum(picture.stat().st_size for picture in pictures) < 1_500_000


def test_commands_are_those_above_the_last_part(tutorial: ModuleType) -> None:
    page = "```bash\n# first\na b \\\n    --c   # why\nd\n```\ntext `e`\n```text\nf\n```\n## Go on\n```bash\ng\n```\n"
    assert tutorial.commands_of(page) == ["a b --c # why", "d"]


def test_what_the_page_no_longer_says_cannot_be_shortened(tutorial: ModuleType) -> None:
    assert tutorial.shortened(["a --n 9", "b --n 9"], {"--n 9": "--n 1"}) == ["a --n 1", "b --n 1"]
    with pytest.raises(ConfigurationError, match="no command with '--n 8'; mend `short`"):
        tutorial.shortened(["a --n 9"], {"--n 8": "--n 1"})
