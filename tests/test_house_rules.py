"""The rules of the house that a machine can check, each on every source file: one test a rule, all offences told.

The direction of imports is our own check and not import-linter's. Its table (docs/architecture.md) is what a stranger
reads first; it bounds the packages a part may use as well as the parts, wherever in a file the import stands, and a
part added without a row fails. import-linter would need a second table of contracts beside the one in the document,
one forbidden list for each part's packages, and says nothing of a new part.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LIBRARY = sorted((PROJECT / "libhetero").rglob("*.py"))
PROGRAMS = sorted((PROJECT / "programs").glob("*.py"))
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
FOLDERS = ("benchmarks", "docs", "examples")
OTHERS = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))] + TESTS
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_FUNCTION = 80
LONGEST_PROGRAM = 150


def _name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _none(offences: Iterable[str]) -> None:
    """Fail with every offence on a line of its own."""
    found = list(offences)
    assert not found, "\n" + "\n".join(found)


# Documentation ------------------------------------------------------------------------------


def _undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[int, str]]:
    """Yield (line, name) of the public classes, functions and methods of `body` that have no docstring."""
    for node in body:
        if not isinstance(node, (*FUNCTION, ast.ClassDef)) or node.name.startswith("_"):
            continue
        if "overload" in map(ast.unparse, node.decorator_list):  # what it says stands with the function itself
            continue
        if not ast.get_docstring(node):
            yield node.lineno, f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node.body, f"{prefix}{node.name}.")


def test_every_file_says_what_it_is_for() -> None:
    _none(
        f"{_name(path)} has no docstring" for path in LIBRARY + PROGRAMS + OTHERS if not ast.get_docstring(_tree(path))
    )


def test_every_public_symbol_is_documented() -> None:
    _none(
        f"{_name(path)}:{line} {symbol} has no docstring"
        for path in LIBRARY
        for line, symbol in _undocumented(_tree(path).body)
    )


# Size and manners ---------------------------------------------------------------------------


def test_functions_are_short() -> None:
    lengths = (
        (path, node, node.end_lineno - node.lineno + 1)
        for path in LIBRARY + PROGRAMS + OTHERS
        for node in ast.walk(_tree(path))
        if isinstance(node, FUNCTION)
    )
    _none(
        f"{_name(path)}:{node.lineno} {node.name} has {length} lines; the limit is {LONGEST_FUNCTION}. Split it."
        for path, node, length in lengths
        if length > LONGEST_FUNCTION
    )


def _faults_of_a_program(path: Path) -> Iterator[str]:
    text = path.read_text()
    if not path.name.startswith("e2hype_"):
        yield "is not named e2hype_*.py"
    if len(text.splitlines()) > LONGEST_PROGRAM:
        yield f"has more than {LONGEST_PROGRAM} lines"
    if not {"build_parser", "main"} <= {node.name for node in _tree(path).body if isinstance(node, ast.FunctionDef)}:
        yield "lacks build_parser or main"
    if not text.startswith("#!/usr/bin/env python"):
        yield "does not begin with #!/usr/bin/env python, the line that pip rewrites"


def test_programs_are_thin() -> None:
    _none(f"{_name(path)} {fault}" for path in PROGRAMS for fault in _faults_of_a_program(path))


def test_no_file_is_named_for_nothing() -> None:
    nothing = ("utils.py", "helpers.py", "util.py", "misc.py", "common.py")
    _none(_name(path) for path in LIBRARY + PROGRAMS + OTHERS if path.name in nothing)


def _forbidden(node: ast.AST, may_print: bool) -> str | None:
    """Return what is forbidden about a node: global, assert, bare except, import *, eval, exec, or print."""
    if isinstance(node, (ast.Global, ast.Assert)):
        return type(node).__name__.lower()
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        return "bare except"
    if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
        return "import *"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("eval", "exec"):
            return node.func.id
        if node.func.id == "print" and not may_print:
            return "print: the library logs"
    return None


def test_no_forbidden_statement() -> None:
    found = (
        (path, node, _forbidden(node, may_print=path in PROGRAMS or "cli" in path.parts))
        for path in LIBRARY + PROGRAMS
        for node in ast.walk(_tree(path))
    )
    _none(f"{_name(path)}:{node.lineno} {fault}" for path, node, fault in found if fault)


def _spoken(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of every text of a file but its docstrings: what may reach a user."""
    documented = {id(node.value) for node in ast.walk(_tree(path)) if isinstance(node, ast.Expr)}
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


def test_no_text_for_users_has_words_of_insiders() -> None:
    inside = re.compile(r"\bnats\b|\bin nothing\b|\bnothing gives\b")
    tables = {"particle_findings.py"}  # the first line of a table, which keeps its words
    _none(
        f"{_name(path)}:{line} {text!r}"
        for path in LIBRARY + PROGRAMS
        if path.name not in tables
        for line, text in _spoken(path)
        if inside.search(text)
    )


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in LIBRARY}
    _none(f"{_name(folder)} lacks __init__.py" for folder in sorted(folders) if not (folder / "__init__.py").exists())


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
    """Yield (line, dotted name) of everything a file imports, wherever it does; a relative import begins with a dot."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def test_the_table_of_imports_has_every_part_and_no_cycle() -> None:
    flow = _flow()
    parts = {_part(path) for path in LIBRARY + PROGRAMS} - {"__init__"}
    _none(f"docs/architecture.md has no row for {part}" for part in sorted(parts - flow.keys()))
    remaining = dict(flow)
    while remaining:
        free = {part for part, (needs, _) in remaining.items() if not needs & remaining.keys()}
        assert free, f"these parts import each other: {sorted(remaining)}"
        for part in free:
            del remaining[part]


def _against_the_flow(path: Path, parts: set[str], packages: set[str]) -> Iterator[str]:
    """Yield the imports of a file that the row of its part does not allow."""
    part = _part(path)
    for line, name in _imported(path):
        top, *rest = name.split(".")
        where = f"{_name(path)}:{line} imports {name}"
        if not top:
            yield f"{where}; write the import in full"
        elif top == "libhetero":
            if rest and rest[0] not in parts | {part, "__version__"}:
                yield f"{where}; {part} may import {sorted(parts)}"
        elif top not in sys.stdlib_module_names and top not in packages:
            yield f"{where}; {part} may import the packages {sorted(packages)}"


def test_imports_follow_the_direction_of_flow() -> None:
    flow = _flow()
    files = [path for path in LIBRARY if _part(path) != "__init__"] + PROGRAMS
    _none(fault for path in files for fault in _against_the_flow(path, *flow[_part(path)]))


SHARED_TESTS = ("tests.making", "tests.reference")


def test_tests_share_makers_and_twins_alone() -> None:
    """No test imports another, nor what stands beside another part's tests."""
    _none(
        f"{_name(path)}:{line} imports {name}; tests share {' and '.join(SHARED_TESTS)} alone"
        for path in TESTS
        for line, name in _imported(path)
        if name.split(".")[0] in ("tests", "") and not name.startswith(SHARED_TESTS)
    )


def test_optics_are_made_in_one_place() -> None:
    """A field more of a CTF changes tests/making/optics.py, and no test."""
    calls = (
        (path, node)
        for path in TESTS
        if path.parent.name != "making"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    _none(
        f"{_name(path)}:{node.lineno} builds CTFParams; take optics() of tests/making/optics.py"
        for path, node in calls
        if node.func.id == "CTFParams"
    )


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


def test_help_is_light() -> None:
    """No heavy package is loaded for the help of any program, nor NumPy."""
    code = (
        "import runpy, sys\n"
        f"for path in {[str(path) for path in PROGRAMS]!r}:\n"
        "    sys.argv = [path, '--help']\n"
        "    try: runpy.run_path(path, run_name='__main__')\n"
        "    except SystemExit as stop: assert not stop.code, path\n"
        "    heavy = {m.split('.')[0] for m in sys.modules} & " + repr(HEAVY | {"numpy"}) + "\n"
        "    assert not heavy, f'{path} --help loads {heavy}'"
    )
    _loaded(code)


def _processor_seconds(*command: str) -> float:
    """Return the processor time of a command of Python: other work on the machine does not count, but slows caches."""
    before = os.times()
    subprocess.run(
        [sys.executable, *command],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        timeout=60,
    )
    after = os.times()
    return sum(getattr(after, name) - getattr(before, name) for name in ("children_user", "children_system"))


def test_help_answers_at_once() -> None:
    """At the second or third attempt at the latest, in ten times what Python takes to start, or in 0.3 s."""
    limit = max(0.3, 10 * min(_processor_seconds("-c", "pass") for _ in range(3)))
    slow = [path for path in PROGRAMS if all(_processor_seconds(str(path), "--help") >= limit for _ in range(3))]
    _none(f"{_name(path)} --help takes {limit:.1f} s or more" for path in slow)
