"""Vector files beside the figures: whether one is asked for, and what they are called.

A figure is always a PNG, which pages show and which others link to. `--figure pdf` adds the same as PDF beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from glob import escape
from pathlib import Path

from libhetero.files.sets import remove_stale

CREATOR = "libhetero, drawn from a run"  # in a vector file, which is removed by this word and no other
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


def remove_figures(folder: str | Path, *patterns: str) -> None:
    """Remove figures that an earlier call left in a folder, with the vector files that it drew beside them.

    Parameters
    ----------
    patterns : names or patterns of the figures, ending in .png.
    """
    remove_stale(folder, *patterns)
    for pattern in patterns:
        for vector in vector_paths(pattern):
            remove_vectors(*Path(folder).glob(str(vector)))


def remove_vectors(*paths: Path) -> None:
    """Remove those of the vector files that were drawn here; others of the same names are a user's own."""
    for path in sorted(paths):
        if path.is_file() and CREATOR.encode() in path.read_bytes():
            remove_stale(path.parent, escape(path.name))
