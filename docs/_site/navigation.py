"""The navigation: patterns in mkdocs.yml become the pages that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def expanded(nav: list[Any], docs: Path, generated: Mapping[str, list[Any]]) -> list[Any]:
    """Return the navigation of mkdocs.yml with pages in the place of patterns.

    Parameters
    ----------
    nav : as mkdocs.yml has it: pages, {title: page} and {title: [...]}.
    docs : the folder that patterns are looked for in. Pages that are listed beside a pattern are not named again.
    generated : of patterns that no file answers to, their part of the navigation.
    """
    named = set(_pages(nav))
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            found.append({title: _below(below, docs, generated) for title, below in entry.items()})
        elif entry in generated:
            found += generated[entry]
        elif "*" in entry:
            pages = [path.relative_to(docs).as_posix() for path in sorted(docs.glob(entry))]
            new = [page for page in pages if page not in named]
            named.update(new)
            found += new
        else:
            found.append(entry)
    return found


def _below(below: Any, docs: Path, generated: Mapping[str, list[Any]]) -> Any:
    return expanded(below, docs, generated) if isinstance(below, list) else below


def _pages(nav: list[Any]) -> list[str]:
    """Return the pages that a level of the navigation names itself."""
    entries = [page for entry in nav for page in (entry.values() if isinstance(entry, dict) else [entry])]
    return [page for page in entries if isinstance(page, str)]
