"""Links of the documents, which are read on disk and in the repository too, as the site needs them.

A document that lies outside docs/ but is read with it becomes a page (`INCLUDED`). A link to any other file of the
project leads to the repository where mkdocs.yml names one (`repo_url`), and is plain text where it does not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from pathlib import Path

INCLUDED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "benchmarks/peers.md": "peers.md"}
SAME = {"README.md": "index.md"}  # what the site says elsewhere
SHOWN = (".md", ".png", ".svg", ".jpg", ".gif", ".webp", ".txt", ".csv", ".json", ".sh", ".mp4")

_FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_NAMED = re.compile(r"(?P<heading>^#+ .*$)|\[[^\[\]]*\]\([^()]*\)|(?<!`)`(?P<name>e2hype_\w+\.py)`(?!`)", re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def resolved(markdown: str, page: str, project: Path, repository: str | None = None) -> tuple[str, list[str]]:
    """Return a page with its links as the site needs them, and the targets that are no file of the project.

    Parameters
    ----------
    markdown : the page's text; what stands in code is left alone.
    page : its path in the site, such as "howto/from_relion.md".
    project : the folder that holds docs/.
    repository : address of the repository, or None.
    """
    origin = {target: source for source, target in INCLUDED.items()}.get(page, f"docs/{page}")
    lost: list[str] = []

    def link(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        inside = _inside(place)
        if inside is not None:
            relative = posixpath.relpath(inside, posixpath.dirname(page) or ".")
            return f"{image}[{text}]({relative}{'#' + anchor if anchor else ''})"
        if place.startswith("..") or not (project / place).exists():
            lost.append(target)
        elif repository:
            return f"[{text}]({repository.rstrip('/')}/blob/main/{place})"
        return text

    parts = _around_code(markdown)
    return "".join(text if code else _LINK.sub(link, text) for code, text in parts), lost


def with_programs(markdown: str, page: str, programs: Collection[str]) -> str:
    """Return a page on which names of programs, set as code, lead to their pages: the first of each below a heading.

    Parameters
    ----------
    markdown : the page's text.
    page : its path in the site.
    programs : their names, such as "e2hype_refine.py".
    """
    folder = posixpath.relpath("programs", posixpath.dirname(page) or ".")
    linked: set[str] = set()

    def link(found: re.Match[str]) -> str:
        if found["heading"]:
            linked.clear()
            return found[0]
        name = found["name"]
        if name is None or name not in programs or name in linked:
            return found[0]
        linked.add(name)
        return f"[`{name}`]({folder}/{name.removesuffix('.py')}.md)"

    return "".join(text if code else _NAMED.sub(link, text) for code, text in _around_code(markdown))


def _inside(place: str) -> str | None:
    """Return where the site has what lies at `place` in the project; None where it has it not."""
    if place in INCLUDED or place in SAME:
        return {**INCLUDED, **SAME}[place]
    if place.startswith("docs/") and place.endswith(SHOWN):
        return place.removeprefix("docs/")
    return None


def _around_code(markdown: str) -> list[tuple[bool, str]]:
    """Cut a page into (is code, text); a link whose text is code is no code."""
    parts: list[tuple[bool, str]] = []
    end = 0
    for fence in _FENCE.finditer(markdown):
        parts += [*_around_spans(markdown[end : fence.start()]), (True, fence[0])]
        end = fence.end()
    return [*parts, *_around_spans(markdown[end:])]


def _around_spans(text: str) -> list[tuple[bool, str]]:
    parts: list[tuple[bool, str]] = []
    end = 0
    for span in _CODE.finditer(text):
        if "](" in span[0]:  # only then does it matter
            parts += [(False, text[end : span.start()]), (True, span[0])]
            end = span.end()
    return [*parts, (False, text[end:])]
