"""Whether a built site stands on its own: no page may load a script, style, font or image from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TOLD = {"canonical", "alternate", "prev", "next", "edit", "license"}  # of <link>: said of the page, not fetched
_TAG = re.compile(r"<(script|link|img|iframe|source|video|audio|embed|object|image|use)\b([^>]*)>", re.IGNORECASE)
_FETCHED = re.compile(r"""\b(?:src|srcset|href|poster|data)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)""", re.IGNORECASE)
_RELATION = re.compile(r"""\brel\s*=\s*["']?([\w -]+)""", re.IGNORECASE)
_STYLES = re.compile(r"""<style\b.*?</style>|\bstyle\s*=\s*("[^"]*"|'[^']*')""", re.IGNORECASE | re.DOTALL)
_OF_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


def outside_requests(site: Path) -> list[str]:
    """Return a line for each address outside the site that a browser would fetch, with the file that asks for it."""
    return sorted(set(_requests(site)))


def _requests(site: Path) -> Iterator[str]:
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        text = path.read_text(encoding="utf-8")
        found = _OF_STYLE.findall(text) if path.suffix == ".css" else _of_page(text)
        yield from (f"{path.relative_to(site)}: {address}" for address in found)


def _of_page(text: str) -> Iterator[str]:
    """Yield the addresses outside the site that a browser fetches for a page by itself."""
    for tag, given in _TAG.findall(text):
        relation = _RELATION.search(given)
        if tag.lower() != "link" or relation is None or not set(relation[1].split()) & TOLD:
            yield from _FETCHED.findall(given)
    for style in _STYLES.finditer(text):
        yield from _OF_STYLE.findall(style[0])
