"""A page for each program, made of its parser: what it does, its usage, examples and every option.

The parsers are those that answer --help, so that a page has every option, with its default and limits, and no other.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib.util
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from libhetero.configuration import Option
from libhetero.configuration.options import described_limits

WIDTH = 84  # characters of the usage
UNLIMITED = 1e6  # an upper limit that no user will meet
ENDINGS = "lst star cs csv txt pkl json jsonl npz npy mrcs mrc map hdf pdb cif cxc bild html png svg pdf gif log gz pt"
_WORDS = re.compile(
    r"(?P<program>e2hype_\w+\.py)"
    r"|(?P<flag>(?<![\w-])--?[A-Za-z][\w-]*)"
    rf"|(?P<file>(?<![\w./])[\w*/.-]*[\w*]\.(?:{'|'.join(ENDINGS.split())})\b|(?<![\w.])\.(?:{'|'.join(ENDINGS.split())})\b"
    r"|\b(?:OUT|RUN)/[\w/]*\w)"
    r"|(?P<special>[\\`*_{}\[\]<>#|~])"
)
_DEFAULT = re.compile(r"\s*\(default: (.*)\)$", re.DOTALL)
_ROW = re.compile(r"(\S+) {2,}(\S.*)")
VALUES = {
    "N": "a whole number", "X": "a number", "Å": "a length in Å", "FILE": "a file", "FOLDER": "a folder",
    "MAP": "a map (.mrc or .hdf)", "PKL": "a .pkl file of cryoDRGN", "CS": "a .cs file of cryoSPARC",
    "GROUP": "a point group",
}  # fmt: skip


def programs(project: Path) -> list[Path]:
    """Return the programs of the project, by name."""
    return sorted((project / "programs").glob("e2hype_*.py"))


def pages(project: Path) -> dict[str, str]:
    """Return the page of every program, and a page that lists them, by their paths in the site."""
    made = {f"programs/{path.stem}.md": page(loaded(path).build_parser()) for path in programs(project)}
    made["programs/index.md"] = "\n".join([
        "# Programs",
        "",
        "Each program is one command. `--help` of it says on a terminal what its page says here: both are made of the "
        "same declarations.",
        "",
        table(project, ""),
        "",
    ])  # fmt: skip
    return made


def loaded(path: Path) -> ModuleType:
    """Return a program as a module; nothing is run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: expected a Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(project: Path, folder: str) -> str:
    """Return a table of the programs in the order of the README, with links to their pages, which lie in `folder`."""
    readme = (project / "README.md").read_text(encoding="utf-8")
    ordered = sorted(
        programs(project), key=lambda path: (readme.find(path.name) % len(readme), path.name)
    )  # -1 is last
    said = [(path, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))) for path in ordered]
    rows = [f"| [`{path.name}`]({folder}{path.stem}.md) | {first_sentence(docstring)} |" for path, docstring in said]
    return "\n".join(["| program | what it does |", "|---|---|", *rows])


def first_sentence(docstring: str | None) -> str:
    """Return the first sentence of a docstring, in Markdown."""
    return inline((docstring or "").strip().split("\n\n")[0].replace("\n", " "))


def page(parser: argparse.ArgumentParser) -> str:
    """Return a program's page in Markdown: description, usage, examples, and its options by group."""
    lines = [f"# {parser.prog}", "", *_description(parser.description or "")]
    examples = re.sub(r"^examples:\n", "", parser.epilog or "")
    if examples.strip():
        lines += ["", "## Examples", "", "```bash", *_commented(inspect.cleandoc("\n" + examples).splitlines()), "```"]
    lines += [
        "",
        "## Usage { data-search-exclude }",
        "",
        "```text",
        _usage(parser),
        "```",
        "",
        "## Options",
        "",
        *_legend(parser),
    ]
    for title, actions in _groups(parser):
        lines += ["", f"### {title[0].upper()}{title[1:]}", ""]
        for action in actions:
            lines += _option(action)
    return "\n".join(lines) + "\n"


def inline(text: str) -> str:
    """Return plain text as Markdown that shows it as it is, with programs linked, options and files set as code."""

    def marked(found: re.Match[str]) -> str:
        word = found[0]
        if found["special"]:
            return f"\\{word}"
        if found["program"]:
            return f"[`{word}`]({word.removesuffix('.py')}.md)"
        return f"`{word}`"

    return _WORDS.sub(marked, text)


def _description(text: str) -> Iterator[str]:
    """Yield the description as Markdown: paragraphs, and lists of names with what they mean."""
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        while lines:
            laid_out = _is_laid_out(lines[0])
            count = next((i for i, line in enumerate(lines) if _is_laid_out(line) != laid_out), len(lines))
            yield from _meanings(lines[:count]) if laid_out else [inline(" ".join(lines[:count])), ""]
            lines = lines[count:]


def _is_laid_out(line: str) -> bool:
    return line.startswith("  ") or _ROW.match(line) is not None


def _meanings(lines: list[str]) -> Iterator[str]:
    """Yield a list of what each name means, or the text itself where the lines are no such list."""
    rows: list[list[str]] = []
    for line in inspect.cleandoc("\n" + "\n".join(lines)).splitlines():
        row = _ROW.fullmatch(line)
        if row:
            rows.append([row[1], row[2]])
        elif rows:
            rows[-1][1] += f" {line.strip()}"
        else:
            yield from [inline(" ".join(line.strip() for line in lines)), ""]
            return
    yield from [f"- **{name}**: {inline(meaning)}" for name, meaning in rows]
    yield ""


def _commented(lines: Iterable[str]) -> Iterator[str]:
    """Yield the examples with what stands behind a command as a comment."""
    for line in lines:
        found = re.fullmatch(r"(e2hype_\S+\.py\b.*?\S) {3,}(\S.*)", line)
        yield f"{found[1]}  # {found[2]}" if found else line


def _usage(parser: argparse.ArgumentParser) -> str:
    made: Any = parser.formatter_class
    formatter = made(prog=parser.prog, width=WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups)
    return formatter.format_help().strip().removeprefix("usage: ").replace("\n       ", "\n")


def _groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yield the groups of options with their titles; what all programs have comes last."""
    groups = [(group.title or "", [each for each in group._group_actions if each.dest != "help"])
              for group in parser._action_groups]  # fmt: skip
    titles = {"positional arguments": "Arguments", "options": "General"}
    for last in (False, True):
        for title, actions in groups:
            if actions and (title == "options of every program") == last:
                yield titles.get(title, title), actions


def _legend(parser: argparse.ArgumentParser) -> Iterator[str]:
    used = {word for action in parser._actions for word in _value_names(action)}
    said = [f"`{name}` is {meaning}" for name, meaning in VALUES.items() if name in used]
    if said:
        yield f"In the place of a value, {', '.join(said[:-1]) + ' and ' + said[-1] if said[1:] else said[0]}. "
    yield "A name with an underscore may be typed with a hyphen, too."


def _value_names(action: argparse.Action) -> tuple[str, ...]:
    """Return what stands for the values of an option."""
    if action.nargs == 0:
        return ()
    if action.choices is not None and action.metavar is None:
        return (f"{{{','.join(map(str, action.choices))}}}",)
    names = action.metavar if action.metavar is not None else action.dest
    names = names if isinstance(names, tuple) else (names,) * (action.nargs if isinstance(action.nargs, int) else 1)
    return tuple(f"{name} …" if action.nargs in ("*", "+") else name for name in names)


def _option(action: argparse.Action) -> Iterator[str]:
    """Yield the entry of one option: its spellings as a heading that can be linked to, its help, limits and default."""
    written = [flag for flag in action.option_strings if flag.replace("-", "_").lstrip("_") == action.dest]
    hidden = {flag.replace("_", "-") for flag in action.option_strings if "_" in flag}
    flags = [flag for flag in action.option_strings if flag not in hidden]
    values = " ".join(_value_names(action))
    shown = " ".join(filter(None, [", ".join(flags), values]))
    anchor = (written or sorted(flags, key=len)[-1:] or [action.dest])[0]
    text = (action.help or "") % {"prog": "the program", "default": action.default}
    default = _DEFAULT.search(text)
    body = _DEFAULT.sub("", text)
    yield from [f"#### `{shown}` {{ #{anchor} }}", "", _sentence(inline(body)), ""]
    limits = _limits(action)
    facts = [f"Accepted: {limits}."] if limits else []
    if default:
        facts.append(f"Default: {inline(default[1])}.")
    if facts:
        yield from [" ".join(facts), "{ .facts }", ""]


def _sentence(text: str) -> str:
    """Return a help line as a sentence, whose first word keeps its case where it is a name."""
    first = text.split(" ")[0]
    text = text if not first.isalpha() or not first.islower() else text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _limits(action: argparse.Action) -> str:
    """Return the limits of a number in words, which the function that parses it holds (libhetero/cli/options.py)."""
    parse = inspect.unwrap(action.type) if callable(action.type) else None
    if action.choices is not None or not inspect.isfunction(parse):
        return ""
    limits = inspect.getclosurevars(parse).nonlocals.get("limits")
    if not isinstance(limits, Option):
        return ""
    if limits.most is not None and limits.most / limits.scale >= UNLIMITED:
        limits = dataclasses.replace(limits, most=None)
    return described_limits(limits)
