"""A plain page of figures, a table and commands: one HTML file with relative links and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from libhetero.files import replacing

STYLE = (
    "body{font:15px/1.5 sans-serif;color:#333;max-width:76em;margin:2em auto;padding:0 1em}"
    "img{max-width:100%}figure{margin:1em 0}figcaption{color:#666}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.3em .7em;"
    "text-align:left;vertical-align:top}td a{white-space:nowrap}pre{background:#f4f4f4;padding:1em;overflow-x:auto}"
    "nav{background:#f4f4f4;padding:.6em 1em}nav ul{margin:0;columns:18em;padding-left:1.2em}"
    "summary{font-size:1.25em;font-weight:bold;margin:.8em 0;cursor:pointer}"
)


COMMANDS, COMMANDS_PLACE = "Commands to go on", "commands"


@dataclass(frozen=True)
class Link:
    """A file to open from the page.

    Parameters
    ----------
    text : shown.
    target : path relative to the page.
    """

    text: str
    target: str


Cell = str | Sequence[Link]


@dataclass(frozen=True)
class Section:
    """A part of a page under a title of its own, which the contents at the top of the page lead to.

    Parameters
    ----------
    title : of the part; no two of a page have the same.
    figures : caption and relative path of each.
    header, rows : a table.
    folded : whether only the title is shown until somebody opens it, as of details.
    """

    title: str
    figures: Sequence[Link] = ()
    header: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = ()
    folded: bool = False

    @property
    def place(self) -> str:
        """The name by which links find it."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")

    def html(self) -> list[str]:
        """Return the part as lines of a page; a link to it unfolds it."""
        place, title = escape(self.place), escape(self.title)
        shown = [*_table(self.header, self.rows), *(_figure(figure) for figure in self.figures)]
        if self.folded:
            return [f'<details><summary>{title}</summary><div id="{place}">', *shown, "</div></details>"]
        return [f'<h2 id="{place}">{title}</h2>', *shown]


@dataclass(frozen=True)
class Page:
    """What a page shows, from top to bottom.

    Parameters
    ----------
    title : of the page.
    facts : one line each.
    header, rows : a table; a cell is a text, or links one below another.
    figures : caption and relative path of each.
    commands : a comment and a command line each.
    see : other pages, at the top.
    sections : further parts, before the commands; of two or more there is a table of contents at the top.
    """

    title: str
    facts: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    figures: Sequence[Link]
    commands: Sequence[tuple[str, str]]
    see: Sequence[Link] = ()
    sections: Sequence[Section] = ()

    def write(self, path: Path) -> Path:
        """Write the page, and return its path."""
        with replacing(path) as beside:
            beside.write_text(self.html(), encoding="utf-8")
        return path

    def html(self) -> str:
        """Return the page."""
        return "\n".join(
            [
                "<!DOCTYPE html>",
                f'<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>',
                f"<style>{STYLE}</style></head><body>",
                f"<h1>{escape(self.title)}</h1>",
                *(f"<p>{_cell([link])}</p>" for link in self.see),
                *self._contents(),
                *(f"<p>{escape(fact)}</p>" for fact in self.facts),
                *_table(self.header, self.rows),
                *(_figure(figure) for figure in self.figures),
                *(line for section in self.sections for line in section.html()),
                *self._commands(),
                "</body></html>",
                "",
            ]
        )

    def _contents(self) -> list[str]:
        if len(self.sections) < 2:
            return []
        places = [(section.place, section.title) for section in self.sections]
        places += [(COMMANDS_PLACE, COMMANDS)] if self.commands else []
        lines = (f'<li><a href="#{escape(place)}">{escape(title)}</a></li>' for place, title in places)
        return ['<nav aria-label="Contents"><ul>', *lines, "</ul></nav>"]

    def _commands(self) -> list[str]:
        if not self.commands:
            return []
        lines = (escape(f"# {what}\n{command}\n") for what, command in self.commands)
        return [f'<h2 id="{COMMANDS_PLACE}">{COMMANDS}</h2>', "<pre>" + "\n".join(lines) + "</pre>"]


def _table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    if not rows:
        return []
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    body = ("".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in rows)
    return [f"<table><tr>{head}</tr>", *(f"<tr>{row}</tr>" for row in body), "</table>"]


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    return "<br>".join(f'<a href="{escape(link.target)}">{escape(link.text)}</a>' for link in cell)


def _figure(figure: Link) -> str:
    target, text = escape(figure.target), escape(figure.text)
    return f'<figure><a href="{target}"><img src="{target}" alt="{text}"></a><figcaption>{text}</figcaption></figure>'
