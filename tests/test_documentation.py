"""The documents' commands are accepted by the programs, and the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
PROGRAMS = sorted(path.name for path in (PROJECT / "programs").glob("e2hype_*.py"))
SHELL = {"cd", "git", "mkdir", "ls", "pip", "python3", "source", "bash", "export", "cat", "head"}


def _commands(document: Path) -> Iterator[str]:
    """Yield every command of the document's bash blocks, continued lines joined."""
    for block in re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.strip().startswith("#"):
                yield line.strip()


COMMANDS = [
    pytest.param(command, id=f"{document.name}: {command[:60]}")
    for document in DOCUMENTS
    for command in _commands(document)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_accepted(command: str, load_program: Callable, capsys: pytest.CaptureFixture) -> None:
    """Parse the command as its program would; a wrong option or a missing argument fails."""
    for part in re.split(r"&&|\|", command):
        first, *arguments = shlex.split(part, comments=True)
        if first.startswith("e2hype_"):
            parser = load_program(first).build_parser()
            try:
                parser.parse_args(arguments)
            except SystemExit as stop:
                if stop.code:
                    pytest.fail(f"{command}\n{capsys.readouterr().err}")
        elif first == "make":
            targets = (PROJECT / "Makefile").read_text()
            assert re.search(rf"^{re.escape(arguments[0])}:", targets, re.MULTILINE)
        elif first in ("python", ".venv/bin/python"):
            assert (PROJECT / arguments[0]).is_file(), command
        else:
            assert first in SHELL, f"{command}: {first} is no program of ours"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_is_in_the_readme(program: str) -> None:
    assert program in (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_says_what_it_is(program: str, load_program: Callable) -> None:
    """Every option has a help line, and the whole page can be laid out."""
    parser = load_program(program).build_parser()
    assert parser.description
    for action in parser._actions:
        assert action.help, f"{program} {action.option_strings or action.dest} has no help"
    assert len(parser.format_help()) > 200
