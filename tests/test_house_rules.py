"""The rules of the house that a machine can check, on every source file."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((PROJECT / "libhetero").rglob("*.py"))
PROGRAMS = sorted((PROJECT / "programs").glob("*.py"))
OTHERS = [path for folder in ("benchmarks", "examples", "tests") for path in sorted((PROJECT / folder).rglob("*.py"))]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_FUNCTION = 80
LONGEST_PROGRAM = 150


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=_name)


# Documentation ------------------------------------------------------------------------------


def _undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Yield the public classes, functions and methods of `body` that have no docstring."""
    for node in body:
        if not isinstance(node, (*FUNCTION, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield f"{prefix}{node.name} (line {node.lineno})"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node.body, f"{prefix}{node.name}.")


@_each(LIBRARY + PROGRAMS)
def test_every_public_symbol_is_documented(path: Path) -> None:
    tree = _tree(path)
    missing = [] if ast.get_docstring(tree) else ["the module itself"]
    if path in LIBRARY:
        missing += _undocumented(tree.body)
    assert not missing, f"{_name(path)} has no docstring for: {', '.join(missing)}"


@_each(OTHERS)
def test_every_other_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(_tree(path)), f"{_name(path)} has no docstring"


# Size and manners ---------------------------------------------------------------------------


@_each(LIBRARY + PROGRAMS + OTHERS)
def test_functions_are_short(path: Path) -> None:
    for node in ast.walk(_tree(path)):
        if isinstance(node, FUNCTION):
            length = node.end_lineno - node.lineno + 1
            assert length <= LONGEST_FUNCTION, (
                f"{_name(path)}:{node.lineno} {node.name} has {length} lines; "
                f"the limit is {LONGEST_FUNCTION}. Split it."
            )


@_each(PROGRAMS)
def test_programs_are_thin(path: Path) -> None:
    assert path.name.startswith("e2hype_")
    assert len(path.read_text().splitlines()) <= LONGEST_PROGRAM
    names = {node.name for node in _tree(path).body if isinstance(node, ast.FunctionDef)}
    assert {"build_parser", "main"} <= names
    assert path.read_text().startswith("#!/usr/bin/env python"), "pip rewrites this first line"


@_each(LIBRARY + PROGRAMS + OTHERS)
def test_no_file_is_named_for_nothing(path: Path) -> None:
    assert path.name not in ("utils.py", "helpers.py", "util.py", "misc.py", "common.py")


@_each(LIBRARY + PROGRAMS)
def test_no_forbidden_statement(path: Path) -> None:
    """No global, assert, bare except, import *, eval or exec; the library does not print."""
    for node in ast.walk(_tree(path)):
        where = f"{_name(path)}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Global), f"{where} global"
        assert not isinstance(node, ast.Assert), f"{where} assert"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where} bare except"
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"{where} import *"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec"), f"{where} {node.func.id}"
            if path in LIBRARY and "cli" not in path.parts:
                assert node.func.id != "print", f"{where} print: the library logs"


def test_every_folder_is_a_package() -> None:
    for path in LIBRARY:
        assert (path.parent / "__init__.py").exists(), f"{_name(path.parent)} lacks __init__.py"


# Direction of imports -----------------------------------------------------------------------


def _flow() -> dict[str, tuple[set[str], set[str]]]:
    """Read the table of docs/architecture.md: part -> (parts, packages) it may import."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Direction of imports", 1)[1].split("\n## ", 1)[0]
    flow = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or not re.fullmatch(r"`\w+`", cells[0]):
            continue
        parts, packages = (set(re.findall(r"`(\w+)`", cell)) for cell in cells[1:])
        flow[cells[0].strip("`")] = (parts, packages)
    return flow


def _part(path: Path) -> str:
    relative = path.relative_to(PROJECT)
    if relative.parts[0] == "programs":
        return "programs"
    return relative.parts[1].removesuffix(".py")


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything a file imports, wherever it does."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno} write the import in full"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def test_the_table_of_imports_has_every_part_and_no_cycle() -> None:
    flow = _flow()
    parts = {_part(path) for path in LIBRARY + PROGRAMS} - {"__init__"}
    assert parts <= flow.keys(), f"docs/architecture.md has no row for {parts - flow.keys()}"
    remaining = dict(flow)
    while remaining:
        free = {part for part, (needs, _) in remaining.items() if not needs & remaining.keys()}
        assert free, f"these parts import each other: {sorted(remaining)}"
        for part in free:
            del remaining[part]


@_each([path for path in LIBRARY if _part(path) != "__init__"] + PROGRAMS)
def test_imports_follow_the_direction_of_flow(path: Path) -> None:
    part = _part(path)
    parts, packages = _flow()[part]
    for line, name in _imported(path):
        top, *rest = name.split(".")
        where = f"{_name(path)}:{line} imports {name}"
        if top == "libhetero":
            allowed = parts | {part, "__version__"}
            assert not rest or rest[0] in allowed, f"{where}; {part} may import {sorted(parts)}"
        elif top not in sys.stdlib_module_names:
            assert top in packages, f"{where}; {part} may import the packages {sorted(packages)}"


# Lightness ----------------------------------------------------------------------------------


def _loaded(code: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after `code`."""
    code += "\nimport json, sys; print('\\n' + json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


HEAVY = {"jax", "jaxlib", "flax", "optax", "orbax", "pandas", "scipy", "matplotlib", "umap"}


def test_importing_the_package_is_light() -> None:
    modules = "libhetero, libhetero.cli, libhetero.errors, libhetero.configuration"
    assert not _loaded(f"import {modules}") & (HEAVY | {"numpy"})
    assert not _loaded("import libhetero.records") & HEAVY


def test_training_waits_for_nothing_it_does_not_need() -> None:
    loaded = _loaded("import libhetero.pipelines.refine, libhetero.models.gmm.model, libhetero.models.hype.model")
    assert "jax" in loaded and not loaded & {"sklearn", "matplotlib", "umap", "hdbscan", "numba"}


@_each(PROGRAMS)
def test_help_is_light(path: Path) -> None:
    code = (
        f"import runpy, sys; sys.argv = [{str(path)!r}, '--help']\n"
        f"try: runpy.run_path({str(path)!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code, stop.code"
    )
    assert not _loaded(code) & (HEAVY | {"numpy"})


@_each(PROGRAMS)
def test_help_answers_within_a_second(path: Path) -> None:
    """Processor time is measured, so that other work on the machine does not count."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    fastest = float("inf")
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, str(path), "--help"], check=True, capture_output=True, env=environment, timeout=60
        )
        after = os.times()
        user, system = (getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))
        fastest = min(fastest, user + system)
    assert fastest < 1, f"{path.name} --help took {fastest:.1f} s"
