"""Whether a built site stands on its own: no page may load a script, style, font or image from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LOADED = {
    "script": ("src",), "link": ("href",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",), "image": ("href",),
    "use": ("href",),
}  # fmt: skip
TOLD = {"canonical", "alternate", "prev", "next", "edit", "license"}  # of <link>: said of the page, not fetched
_OUTSIDE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_OF_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class _Loads(HTMLParser):
    """Collects the addresses that a browser fetches for a page by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        if tag != "link" or not set(given.get("rel", "").split()) & TOLD:
            names = LOADED.get(tag, ())
            self.found += [given[name] for name in names if name in given and _OUTSIDE.match(given[name])]
        self.found += _OF_STYLE.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += _OF_STYLE.findall(data)


def outside_requests(site: Path) -> list[str]:
    """Return a line for each address outside the site that a browser would fetch, with the file that asks for it."""
    return sorted(set(_requests(site)))


def _requests(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.html")):
        page = _Loads()
        page.feed(path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: {address}" for address in page.found)
    for path in sorted(site.rglob("*.css")):
        for address in _OF_STYLE.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: {address}"
