"""griffe, which reads the package for mkdocstrings, given the docstrings as its NumPy style has them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from docstrings import described  # (the folder is no package)


class Described(griffe.Extension):
    """Lets griffe read the docstrings as they are written here."""

    def on_instance(self, *, obj: griffe.Object, **further: Any) -> None:
        """Rewrite the docstring of an object that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = described(obj.docstring.value)
