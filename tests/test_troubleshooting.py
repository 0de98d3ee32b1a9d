"""Every message that docs/troubleshooting.md explains is one that the programs can print.

A heading of the page quotes a message, with … for what differs from case to case. All its pieces must stand, in this
order, in one text of the source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PAGE = PROJECT / "docs" / "troubleshooting.md"
HOLE = "\0"  # what is put in when the message is printed


def _texts(tree: ast.AST) -> Iterator[str]:
    """Yield every text of a module that is no docstring, with a mark where a value is put in."""
    nodes = list(ast.walk(tree))
    silent = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield re.sub(r"%[-.\d]*[a-z]", HOLE, node.value)


def _quoted() -> list[str]:
    return re.findall(r"^### `(.+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def _has(text: str, pieces: list[str]) -> bool:
    place = 0
    for piece in pieces:
        found = text.find(piece, place)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def test_every_message_is_one_of_the_source() -> None:
    files = [*(PROJECT / "libhetero").rglob("*.py"), *(PROJECT / "programs").glob("*.py")]
    texts = {text for path in files for text in _texts(ast.parse(path.read_text(encoding="utf-8")))}
    quoted = _quoted()
    lost = []
    for message in quoted:
        pieces = [piece.strip() for piece in message.split("…") if piece.strip()]
        if not any(_has(text, pieces) for text in texts):
            lost.append(message)
    assert lost == []
    assert len(quoted) > 40, "the page quotes its messages as headings, ### `message`"


def test_no_message_is_explained_twice() -> None:
    quoted = _quoted()
    assert sorted({one for one in quoted if quoted.count(one) > 1}) == []
