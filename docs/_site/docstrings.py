"""The docstrings of libhetero as griffe reads them: what follows a colon is a description, and types are annotations.

    name : what it is, its unit included            a parameter, or several with commas between
    DataError : when it is raised
    what is returned                                 without a type, which the annotation says

griffe's NumPy style takes the words after the colon for a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LISTS = {"Parameters", "Attributes", "Raises", "Yields"}
_RULE = re.compile(r"-{3,}\s*")
_ITEM = re.compile(r"(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*) : (.*)")


def described(docstring: str) -> str:
    """Return a docstring with the description of each item on lines of its own, as the NumPy style has them."""
    lines = docstring.splitlines()
    heads = [i for i in range(len(lines) - 1) if _RULE.fullmatch(lines[i + 1]) and lines[i][:1].strip()]
    made = lines[: heads[0]] if heads else lines
    for head, end in zip(heads, [*heads, len(lines)][1:], strict=True):
        body = lines[head + 2 : end]
        made += lines[head : head + 2]
        if lines[head] in LISTS:
            made += _items(body)
        elif lines[head] == "Returns":
            made += [":", *_indented(body)]
        else:
            made += body
    return "\n".join(made)


def _items(body: list[str]) -> Iterator[str]:
    """Yield the items of a section, one name each: names together would get the first one's annotation."""
    while body:
        item = _ITEM.fullmatch(body[0])
        count = next((i for i, line in enumerate(body) if i and (not line or not line[0].isspace())), len(body))
        if item:
            for name in item[1].split(", "):
                yield from [name, *_indented([item[2], *body[1:count]])]
        else:
            yield from body[:count]
        body = body[count:]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line.strip()}" if line.strip() else "" for line in lines]
