"""Pages of the API: one for each package of libhetero, which lists its modules, and one for each module.

mkdocstrings fills them in from the docstrings without importing anything.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

FRONT = "---\nsearch:\n  boost: 0.5\n---\n\n"  # what users look for stands on the other pages


def pages(project: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the pages of packages and those of modules, by their paths in the site."""
    packages = {_page(project, folder): _package_page(project, folder) for folder in _packages(project)}
    modules = {_page(project, path): _module_page(project, path) for path in _modules(project)}
    return packages, modules


def navigation(project: Path) -> list[Any]:
    """Return the packages in the navigation, those of one part of libhetero beneath it."""
    root = project / "libhetero"
    nav: list[Any] = [{"Overview": _page(project, root)}]
    for part in _parts(root):
        below = [folder for folder in _packages(project) if part in folder.parents]
        own = _page(project, part)
        if below:
            entries = [{".".join(folder.relative_to(part).parts): _page(project, folder)} for folder in below]
            nav.append({part.name: [own, *entries]})
        else:
            nav.append({part.name: own})
    return nav


def _public(path: Path) -> bool:
    return not path.stem.startswith("_")


def _parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file() and _public(path))


def _packages(project: Path) -> list[Path]:
    """Return the folders that are packages, libhetero first."""
    return sorted(path.parent for path in (project / "libhetero").rglob("__init__.py"))


def _modules(project: Path) -> list[Path]:
    return sorted(path for path in (project / "libhetero").rglob("*.py") if _public(path))


def _dotted(project: Path, path: Path) -> str:
    return ".".join(path.relative_to(project).with_suffix("").parts)


def _page(project: Path, path: Path) -> str:
    relative = path.relative_to(project / "libhetero")
    return (Path("reference") / (relative / "index.md" if path.is_dir() else relative.with_suffix(".md"))).as_posix()


def _summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring, on one line, as a cell of a table."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")


def _package_page(project: Path, folder: Path) -> str:
    name = _dotted(project, folder)
    lines = [f"# {name}", "", f"::: {name}", "    options:", "      members: true", ""]
    tables = [
        ("Packages", [(f"{path.name}/index.md", path.name, path / "__init__.py") for path in _parts(folder)]),
        (
            "Modules",
            [(path.name[:-3] + ".md", path.stem, path) for path in sorted(folder.glob("*.py")) if _public(path)],
        ),
    ]
    for title, rows in tables:
        if rows:
            lines += [f"## {title}", "", "| name | what it holds |", "|---|---|"]
            lines += [f"| [`{label}`]({target}) | {_summary(source)} |" for target, label, source in rows]
            lines += [""]
    return FRONT + "\n".join(lines)


def _module_page(project: Path, path: Path) -> str:
    name = _dotted(project, path)
    package = name.rpartition(".")[0]
    return FRONT + "\n".join(
        [f"# {name}", "", f"A module of [`{package}`](index.md).", "{ .facts }", "", f"::: {name}", ""]
    )
