"""The docstrings of libhetero as griffe reads them: what follows a colon is a description, and types are annotations.

    name : what it is, its unit included            a parameter, or several with commas between
    DataError : when it is raised
    what is returned                                 without a type, which the annotation says

griffe's NumPy style takes the words after the colon for a type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

LISTS = {"Parameters", "Attributes", "Raises", "Yields"}
_RULE = re.compile(r"-{3,}\s*")
_ITEM = re.compile(r"(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*) : (.*)")


def described(docstring: str, keywords_beside: Collection[str] | None = None) -> str:
    """Return a docstring with the description of each item on lines of its own, as the NumPy style has them.

    Prose below a list comes before it, as nothing in that style ends a list.

    Parameters
    ----------
    docstring : as it is written, without indentation.
    keywords_beside : of a function that takes any keyword, the parameters in its signature; others that are described
        make a list of their own. None where there are no others.
    """
    lines = docstring.splitlines()
    heads = [i for i in range(len(lines) - 1) if _RULE.fullmatch(lines[i + 1]) and lines[i][:1].strip()]
    made = lines[: heads[0]] if heads else lines
    prose: list[str] = []
    keywords: list[str] = []
    sections: list[str] = []
    for head, end in zip(heads, [*heads, len(lines)][1:], strict=True):
        body = lines[head + 2 : end]
        sections += lines[head : head + 2]
        if lines[head] in LISTS:
            for name, text in _items(body):
                if name is None:
                    prose += text
                elif lines[head] == "Parameters" and keywords_beside is not None and name not in keywords_beside:
                    keywords.append(f"- `{name}`: {' '.join(line.strip() for line in text)}")
                else:
                    sections += [name, *_indented(text)]
            sections.append("")
        elif lines[head] == "Returns":
            sections += [":", *_indented(body)]
        else:
            sections += body
    if keywords:
        sections += ["By keyword", "----------", *keywords]
    return "\n".join([*made, *prose, *([""] if prose else []), *sections]).rstrip()


def _items(body: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield the items of a section by name, one each: names together would get the first one's annotation."""
    while body:
        item = _ITEM.fullmatch(body[0])
        count = next((i for i, line in enumerate(body) if i and (not line or not line[0].isspace())), len(body))
        if item:
            for name in item[1].split(", "):
                yield name, [item[2], *body[1:count]]
        elif body[0]:
            yield None, body[:count]
        body = body[count:]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line.strip()}" if line.strip() else "" for line in lines]
