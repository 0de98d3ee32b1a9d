"""Vector files beside the figures: whether one is asked for, and what they are called.

A figure is always a PNG, which pages show and which others link to. `--figure pdf` adds the same as PDF beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

RASTER, VECTORS = "png", ("pdf", "svg")

_FORMAT: ContextVar[str] = ContextVar("what figures are written as", default=RASTER)


@contextlib.contextmanager
def figures_as(kind: str) -> Iterator[None]:
    """Let figures be written as vectors too, for the time of the call.

    Parameters
    ----------
    kind : "pdf" or "svg"; "png" for no more than the PNG.
    """
    token = _FORMAT.set(kind)
    try:
        yield
    finally:
        _FORMAT.reset(token)


def vector_format() -> str:
    """Return what figures are to be written as: "pdf", "svg", or "png" where no vector file is asked for."""
    return _FORMAT.get()


def vector_paths(path: str | Path) -> tuple[Path, ...]:
    """Return the vector files that may lie beside a figure."""
    return tuple(Path(path).with_suffix(f".{kind}") for kind in VECTORS)


def every_format(*names: str) -> tuple[str, ...]:
    """Return the names of figures (or patterns, ending in .png) with those of their vector files."""
    return tuple(str(one) for name in names for one in (name, *vector_paths(name)))
