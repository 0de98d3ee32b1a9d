"""Figures of the benchmarks, drawn as the site is built from docs/figures/*.json.

Each value there is one of a table of docs/benchmarks.md, by section, row and column, which a test holds it to. A page
asks for figures by a line `<!-- figures: robustness mixture -->`, which says nothing where the page is read elsewhere.
Colours are variables of the page, so that one drawing serves light and dark pages.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot

ASKED = re.compile(r"^<!-- figures: ([\w ]+) -->$", re.MULTILINE)
# A colour that stands for a variable of docs/_site/site.css, and the shape that tells the kind without colour.
TEXT, OURS, OTHER = "#010101", "#010102", "#010103"
VARIABLES = {TEXT: "currentColor", OURS: "var(--figure-ours)", OTHER: "var(--figure-other)"}
KINDS = {"ours": (OURS, "o", "libhetero"), "other": (OTHER, "s", "other programs and published formulations")}
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "libhetero", "font.family": "sans-serif", "font.size": 8,
    "text.color": TEXT, "axes.labelcolor": TEXT, "axes.edgecolor": TEXT, "xtick.color": TEXT, "ytick.color": TEXT,
}  # fmt: skip


def drawn_in(markdown: str, folder: Path) -> str:
    """Return a page with the figures that it asks for, each with its caption and a link to its section."""
    return ASKED.sub(lambda found: "\n\n".join(figure(folder / f"{name}.json") for name in found[1].split()), markdown)


def figure(path: Path) -> str:
    """Return one figure as Markdown: the drawing, its caption, and the sections that its values stand in."""
    said = json.loads(path.read_text(encoding="utf-8"))
    sections = dict.fromkeys([said["section"], *(row["section"] for row in said["rows"] if "section" in row)])
    links = " and ".join(f"[{section}](#{_slug(section)})" for section in sections)
    alternative = said["title"].replace('"', "&quot;")
    svg = drawing(said).replace("<svg ", f'<svg role="img" aria-label="{alternative}" ', 1)
    return "\n".join([
        f'<figure class="drawn" data-search-exclude>{svg}</figure>', "", f"**{said['title']}.** {said['caption']} "
        f"The values stand in {links}.", "{ .facts }",
    ])  # fmt: skip


def drawing(said: dict[str, Any]) -> str:
    """Return a dot plot as SVG on one line: a row for each set or program, a panel for each figure."""
    places, headings = _places(said["rows"])
    lowest = min([*places, *headings.values()])
    with matplotlib.rc_context(STYLE):
        drawn, axes = pyplot.subplots(
            1,
            len(said["panels"]),
            figsize=(7.4, 0.85 - 0.24 * lowest),
            sharey=True,
            layout="constrained",
            squeeze=False,
        )
        for panel, ax in zip(said["panels"], axes[0], strict=True):
            _panel(ax, panel, said["rows"], places)
            ax.set_ylim(lowest - 0.6, 0.6)
        axes[0, 0].set_yticks(places, [row["label"] for row in said["rows"]])
        for heading, place in headings.items():
            axes[0, 0].annotate(heading, (0, place), xycoords=("axes fraction", "data"), xytext=(-6, 0), weight="bold",
                                textcoords="offset points", ha="right", va="center")  # fmt: skip
        kinds = dict.fromkeys(row["kind"] for row in said["rows"])
        if len(kinds) > 1:
            marks = [pyplot.Line2D([], [], ls="", color=KINDS[kind][0], marker=KINDS[kind][1]) for kind in kinds]
            drawn.legend(marks, [KINDS[kind][2] for kind in kinds], loc="outside upper right", ncols=2, frameon=False)
        buffer = io.StringIO()
        drawn.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        pyplot.close(drawn)
    return _inline(buffer.getvalue())


def _places(rows: list[dict[str, Any]]) -> tuple[list[float], dict[str, float]]:
    """Return the height of each row from the top down, and of the heading of each group."""
    places: list[float] = []
    headings: dict[str, float] = {}
    height = 0.0
    for row in rows:
        group = row.get("group")
        if group is not None and group not in headings:
            headings[group] = height
            height -= 1.0
        places.append(height)
        height -= 1.0
    return places, headings


def _panel(ax: Any, panel: dict[str, Any], rows: list[dict[str, Any]], places: list[float]) -> None:
    if panel.get("logarithmic"):
        ax.set_xscale("log")
    ax.set_xlim(panel["least"], panel["most"])
    if "reference" in panel:
        ax.axvline(panel["reference"], color=TEXT, lw=0.8, ls=":")
    for row, place in zip(rows, places, strict=True):
        values = row["values"][panel["name"]]
        color, marker, _ = KINDS[row["kind"]]
        ax.axhline(place, color=TEXT, lw=0.4, alpha=0.2)
        ax.plot(values, [place] * len(values), ls="-", lw=1.2, color=color, marker=marker, ms=4.5, clip_on=False)
        if len(values) == 1:
            _number(ax, values[0], place, panel)
    ax.set_xlabel(panel["title"])
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _number(ax: Any, value: float, place: float, panel: dict[str, Any]) -> None:
    """Write a value beside its mark, on the side on which there is room."""
    share = ax.transAxes.inverted().transform(ax.transData.transform((value, place)))[0]
    side = -1 if share > 0.7 else 1
    text = f"{value:g}" if abs(value) >= 2 or panel.get("logarithmic") else f"{value:.3f}"
    ax.annotate(text, (value, place), xytext=(6 * side, 0), textcoords="offset points", va="center",
                ha="left" if side > 0 else "right", fontsize=7)  # fmt: skip


def _inline(svg: str) -> str:
    """Return an SVG file as an element of a page, in the page's own font and colours."""
    svg = svg[svg.index("<svg ") :]
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)
    svg = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>"
        r"|\sid=\"(?:figure|axes|patch|text|line2d|legend|xtick|ytick|matplotlib\.axis)_\d+\"",
        "",
        svg,
        flags=re.DOTALL,
    )
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" ', 1)
    return " ".join(svg.split())


def _slug(section: str) -> str:
    return re.sub(r"[^\w\- ]", "", section).lower().replace(" ", "-")
