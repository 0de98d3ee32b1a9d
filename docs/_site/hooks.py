"""What MkDocs calls while it builds the documentation: pages made of the code, links that leave docs/, one last check.

The pages of the programs are made of their parsers, those of the API of the docstrings, and figures of the tables of
docs/benchmarks.md, so that none of them can say what is no longer so. No program is run, and JAX is not imported.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import figures
import links
import navigation
import program_pages
import reference_pages
import site_check
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel

PROJECT = Path(__file__).resolve().parents[2]
TABLE_OF_PROGRAMS = "<!-- programs -->"  # in docs/index.md
WITHOUT_API = bool(os.environ.get("DOCS_WITHOUT_API"))  # for `mkdocs serve`: most of the work is the API's
WARNINGS = logging.getLogger("mkdocs.hooks.libhetero")  # with --strict, each of them fails the build

# mkdocstrings would start a formatter for each of two thousand signatures; the style sheet breaks their lines instead.
sys.modules.update({"black": None, "ruff.__main__": None})  # type: ignore[dict-item]  # "there is none", to an import


def on_startup(**_: Any) -> None:
    """Leave out the advice to install a formatter."""
    for handler in logging.getLogger("mkdocs").handlers:
        handler.addFilter(lambda record: "requires either Black or Ruff" not in record.getMessage())


def on_config(config: Any) -> Any:
    """Put the generated pages and those that a pattern names into the navigation."""
    pages = {
        "programs/*.md": [f"programs/{path.stem}.md" for path in program_pages.programs(PROJECT)],
        "reference/*.md": [] if WITHOUT_API else reference_pages.navigation(PROJECT),
    }
    config.nav = navigation.expanded(config.nav, PROJECT / "docs", pages)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add what is no file of docs/: the pages of programs and of the API, and documents that lie beside docs/."""
    made = program_pages.pages(PROJECT)
    for source, target in links.INCLUDED.items():
        made[target] = (PROJECT / source).read_text(encoding="utf-8")
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    icon = PROJECT / "libhetero" / "dashboard" / "static" / "icon.svg"
    files.append(File.generated(config, "_site/icon.svg", abs_src_path=str(icon)))
    if WITHOUT_API:
        return files
    listed, unlisted = reference_pages.pages(PROJECT)
    for path, text in listed.items():
        files.append(File.generated(config, path, content=text))
    for path, text in unlisted.items():  # reached from the page of their package, and by the search
        files.append(File.generated(config, path, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Draw the figures where a page asks for them, and lead links that leave docs/ somewhere."""
    text, lost = links.resolved(markdown, page.file.src_uri, PROJECT, config.repo_url)
    for target in lost:
        WARNINGS.warning(f"{page.file.src_uri}: {target} is no file of the project")
    if not page.file.src_uri.startswith(("programs/", "reference/")):
        text = links.with_programs(text, page.file.src_uri, {path.name for path in program_pages.programs(PROJECT)})
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # of which it has none beside itself
    if TABLE_OF_PROGRAMS in text:
        text = text.replace(TABLE_OF_PROGRAMS, program_pages.table(PROJECT, "programs/"))
    return figures.drawn_in(text, PROJECT / "docs" / "figures")


def on_post_build(config: Any) -> None:
    """Refuse a site that would ask another machine for anything but what a reader clicks on."""
    outside = site_check.outside_requests(Path(config.site_dir))
    if outside:
        raise PluginError("\n".join(["The site asks for what is not part of it:", *outside]))
