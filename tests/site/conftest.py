"""The modules beside the documents that build the site; none of these tests needs MkDocs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "docs" / "_site"


@pytest.fixture(scope="session")
def site_module() -> Callable[[str], ModuleType]:
    """Return a function that loads a module of docs/_site by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, SOURCES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
