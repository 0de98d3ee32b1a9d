"""docs/concepts/figures.md has every figure that the programs can write, with a picture, and no other."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "concepts" / "figures.md"
ELSEWHERE = {"dashboard", "demo"}  # parts that name figures of the others, or serve files of any name
FIGURE = re.compile(r"(?<![\w./\0-])[\w\0]+\.(?:png|gif)\b")  # \0 is what is put in; a pattern of a glob is no figure
SCRIPT = PROJECT / "docs" / "figures_src" / "every_figure.py"
PICTURES = PROJECT / "docs" / "images" / "figures"
LARGEST = 1_600_000  # bytes of all pictures together


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _named(tree: ast.AST) -> Iterator[str]:
    """Yield every figure that a module names in a text which is no docstring, \\0 where a value is put in."""
    nodes = list(ast.walk(tree))
    silent = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    silent |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            text = node.value
        yield from FIGURE.findall(text)


def _written() -> set[str]:
    """Return the figures that the programs can write, as the page calls them."""
    files = [path for path in (PROJECT / "libhetero").rglob("*.py") if not ELSEWHERE & set(path.parts)]
    found = {name for path in files for name in _named(ast.parse(path.read_text(encoding="utf-8")))}
    return {_called(name) for name in found - {"_fsc.png"}} - {""}


def _called(name: str) -> str:
    """Return what the page calls a figure whose name in the source has \\0 where a value is put in."""
    if name == "embed_\0.png":  # of particles or of Gaussians, which are named elsewhere
        return ""
    if name in ("region_\0.png", "\0_fsc.png"):
        return name.replace("\0_", "OUT_").replace("\0", "NN")
    return name.replace("\0", "I_J")  # of two runs


def _described() -> list[str]:
    return re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_describes_every_figure_and_no_other() -> None:
    described = _described()
    assert len(set(described)) == len(described)
    assert set(described) == _written(), "describe a new figure in docs/concepts/figures.md"


def test_every_figure_has_a_picture_that_the_script_makes() -> None:
    parts = re.split(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        ((alternative, shown),) = re.findall(r"!\[(.*)\]\(\.\./images/figures/(.*)\)", text)
        assert shown == name and alternative and (PICTURES / shown).exists()
        assert re.search(r"`e2hype_\w+\.py", text), f"{name}: which program writes it?"
    assert set(_script().PICTURES) == set(_described()) == {path.name for path in PICTURES.iterdir()}
    assert sum(path.stat().st_size for path in PICTURES.iterdir()) < LARGEST


def test_the_script_shows_what_its_commands_make() -> None:
    script = _script()
    made = {Path(result).parts[0] for result in script.COMMANDS}
    assert all(Path(source).parts[0] in made for source in script.PICTURES.values())
