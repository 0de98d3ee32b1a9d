"""The documents' commands are accepted by the programs, and the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
PROGRAMS = sorted(path.name for path in (PROJECT / "programs").glob("e2hype_*.py"))
SHELL = {"cd", "git", "mkdir", "ls", "pip", "python3", "source", "bash", "export", "cat", "head"}


def _commands(document: Path) -> Iterator[str]:
    """Yield every command of the document's bash blocks, continued lines joined, numbers of a task put in."""
    for block in re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.strip().startswith("#"):
                yield line.strip().replace("$SLURM_ARRAY_TASK_ID", "1")


def _refusals(command: str, parser_of: Callable, capsys: pytest.CaptureFixture) -> Iterator[str]:
    """Yield what is wrong with a command: parsed as its program would, a wrong option or a missing argument."""
    for part in re.split(r"&&|\|", command):
        first, *arguments = shlex.split(part, comments=True)
        if first.startswith("e2hype_"):
            try:
                parser_of(first).parse_args(arguments)
            except SystemExit as stop:
                if stop.code:
                    yield capsys.readouterr().err
        elif first == "make":
            if not re.search(rf"^{re.escape(arguments[0])}:", (PROJECT / "Makefile").read_text(), re.MULTILINE):
                yield f"Makefile has no target {arguments[0]}"
        elif first in ("python", ".venv/bin/python"):
            if not (PROJECT / arguments[0]).is_file():
                yield f"no such file: {arguments[0]}"
        elif first not in SHELL:
            yield f"{first} is no program of ours"


def test_every_command_is_accepted(load_program: Callable, capsys: pytest.CaptureFixture) -> None:
    parser_of = cache(lambda name: load_program(name).build_parser())
    wrong = [
        f"{document.name}: {command}: {refusal}"
        for document in DOCUMENTS
        for command in _commands(document)
        for refusal in _refusals(command, parser_of, capsys)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_link_leads_somewhere() -> None:
    link = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
    targets = [(document, target) for document in DOCUMENTS for target in link.findall(document.read_text("utf-8"))]
    local = [(document, target) for document, target in targets if not target.startswith(("http:", "https:"))]
    lost = [f"{document.name}: {target}" for document, target in local if not (document.parent / target).exists()]
    assert not lost, "\n".join(lost)


def test_every_program_is_in_the_readme() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert [program for program in PROGRAMS if program not in text] == []


def test_every_option_says_what_it_is(load_program: Callable) -> None:
    """Every option has a help line, and the whole page can be laid out."""
    silent = []
    for program in PROGRAMS:
        parser = load_program(program).build_parser()
        assert parser.description and len(parser.format_help()) > 200, program
        silent += [f"{program} {one.option_strings or one.dest}" for one in parser._actions if not one.help]
    assert not silent, "\n".join(silent)
