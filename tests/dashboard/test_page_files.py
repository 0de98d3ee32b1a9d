"""The files of the page: what is vendored is as its table says, imports are there, nothing is from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
STATIC = PROJECT / "libhetero" / "dashboard" / "static"
VENDOR = STATIC / "vendor"
OWN = sorted(path for path in STATIC.rglob("*") if path.is_file() and VENDOR not in path.parents)
MOST_BYTES = 2_100_000


@pytest.fixture(scope="module")
def refresh_vendor() -> ModuleType:
    """Return the script that fetches what is vendored."""
    spec = importlib.util.spec_from_file_location("refresh_vendor", PROJECT / "benchmarks" / "refresh_vendor.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def test_vendored_files_are_as_their_table_says(refresh_vendor: ModuleType) -> None:
    assert refresh_vendor.faults(VENDOR) == []


def test_a_changed_vendored_file_is_told(refresh_vendor: ModuleType, tmp_path: Path) -> None:
    shutil.copytree(VENDOR, tmp_path / "vendor")
    (tmp_path / "vendor" / "ngl.js").write_text("changed")
    (tmp_path / "vendor" / "uplot.js").unlink()
    (tmp_path / "vendor" / "more.js").write_text("")
    told = refresh_vendor.faults(tmp_path / "vendor")
    assert [line.split(":")[0] for line in told] == ["more.js", "uplot.js", "ngl.js"]


def test_every_package_has_its_licence_and_version(refresh_vendor: ModuleType) -> None:
    table = json.loads((VENDOR / "vendor.json").read_text())["packages"]
    assert [(one["name"], one["version"]) for one in table] == [
        (one.name, one.version) for one in refresh_vendor.PACKAGES
    ]
    for one in table:
        licence = (VENDOR / f"{one['name']}.LICENSE").read_text()
        assert "Copyright" in licence and all(inner["name"] in licence for inner in one["within"])


def test_the_page_is_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < MOST_BYTES


def test_every_import_is_there() -> None:
    named = re.compile(r"""^(?:import|export)\b[^;'"]*["'](\.[^"']+)["']|await import\("(\.[^"]+)"\)""", re.MULTILINE)
    scripts = sorted(STATIC.glob("js/*.js")) + sorted(VENDOR.glob("*.js"))
    lost = [
        f"{path.name}: {name}"
        for path in scripts
        for match in named.finditer(path.read_text(encoding="utf-8"))
        if not (path.parent / (name := match[1] or match[2])).is_file()
    ]
    assert not lost, "\n".join(lost)


def test_what_the_document_names_is_there() -> None:
    document = (STATIC / "index.html").read_text(encoding="utf-8")
    names = re.findall(r'(?:src|href)="([^"]+)"', document)
    assert len(names) > 4 and all((STATIC / name).is_file() for name in names)


def test_no_script_or_style_stands_in_the_document() -> None:
    document = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", document) == []
    assert "<style" not in document and not re.search(r"\son\w+=", document)


def test_nothing_is_named_that_lies_elsewhere() -> None:
    """The page's own files name no address but that of SVG's names, and make no HTML of text."""
    forbidden = re.compile(
        r"https?://(?!www\.w3\.org/2000/svg)|\binnerHTML\b|\bouterHTML\b|insertAdjacentHTML|document\.write"
    )
    found = [
        f"{path.name}: {match[0]}"
        for path in OWN
        if path.suffix in (".js", ".css", ".html")
        for match in forbidden.finditer(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)
