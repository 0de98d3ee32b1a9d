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
        if obj.docstring is None:
            return
        beside = None
        if isinstance(obj, griffe.Function):
            takes_any = any(each.kind is griffe.ParameterKind.var_keyword for each in obj.parameters)
            beside = [each.name for each in obj.parameters] if takes_any else None
        text = described(obj.docstring.value, beside)
        if isinstance(obj, griffe.Class) and "msgspec.Struct" in map(
            str, obj.bases
        ):  # griffe knows no constructor of it
            text = text.replace("Parameters\n----------\n", "Attributes\n----------\n")
        obj.docstring.value = text
