"""Figures of the benchmarks show what stands in the tables of docs/benchmarks.md, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES = sorted((DOCS / "figures").glob("*.json"))


def _tables(section: str) -> Iterator[list[dict[str, str]]]:
    """Yield the tables of a section of docs/benchmarks.md: of each row, its cells by the names of the columns."""
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    body = re.split(rf"^#+ {re.escape(section)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    body = re.split(r"^#+ ", body, maxsplit=1, flags=re.MULTILINE)[0]
    for block in re.findall(r"(?:^\|.*\n)+", body, re.MULTILINE):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        yield [dict(zip(rows[0], row, strict=True)) | {"": row[0]} for row in rows[2:]]


def _cells(said: dict, row: dict, column: str) -> list[list[float]]:
    """Return the numbers of every cell that a row of a figure may mean."""
    name = row.get("columns", {}).get(column, column)
    found = [each for table in _tables(row.get("section", said["section"])) for each in table if name in each]
    cells = [each[name] for each in found if each[""] == row["row"]]
    return [[float(number.replace(",", "")) for number in re.findall(r"-?\d+(?:\.\d+)?", cell)] for cell in cells]


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_value_stands_in_its_cell(path) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    columns = [panel["name"] for panel in said["panels"]]
    wrong = [
        f"{row['row']}, {column}: {row['values'][column]} is none of {_cells(said, row, column)}"
        for row in said["rows"]
        for column in columns
        if row["values"][column] not in _cells(said, row, column)
    ]
    assert said["rows"] and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_a_value_outside_its_axis_is_in_no_figure(path) -> None:
    said = json.loads(path.read_text(encoding="utf-8"))
    outside = [
        (row["row"], panel["name"])
        for row in said["rows"]
        for panel in said["panels"]
        if not all(panel["least"] <= value <= panel["most"] for value in row["values"][panel["name"]])
    ]
    assert not outside


def test_a_page_gets_the_figures_it_asks_for(site_module) -> None:
    asked = f"before\n\n<!-- figures: {FIGURES[0].stem} -->\n\nafter `<!-- figures: x -->`\n"
    page = site_module("figures").drawn_in(asked, DOCS / "figures")
    title = json.loads(FIGURES[0].read_text(encoding="utf-8"))["title"]
    assert page.startswith("before\n\n<figure") and page.endswith("after `<!-- figures: x -->`\n")
    assert f"**{title}.**" in page
    svg = re.search("<svg .*</svg>", page)[0]  # on one line, or Markdown would end it
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "currentColor" in svg and "var(--figure-ours)" in svg, "colors are the page's"
    assert "font-family" not in svg and "<style" not in svg and "#0101" not in svg


def test_every_figure_is_asked_for_on_a_page() -> None:
    asked = re.search(r"^<!-- figures: (.*) -->$", (DOCS / "benchmarks.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(asked[1].split()) == [path.stem for path in FIGURES]
