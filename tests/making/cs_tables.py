"""cryoSPARC tables, column by column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def cs_columns(count: int = 4, box: int = 16, pixel_size: float = 1.5) -> dict[str, Any]:
    """Return the columns of images in one stack: uid 10, 20 … and dark protein."""
    return {
        "uid": 10 * np.arange(1, count + 1, dtype="<u8"),
        "blob/path": np.full(count, b">J1/stack.mrcs"),
        "blob/idx": np.arange(count, dtype="<u4"),
        "blob/shape": np.full((count, 2), box, "<u4"),
        "blob/psize_A": np.full(count, pixel_size, "<f4"),
        "blob/sign": np.full(count, -1, "<f4"),
    }


def alignment_columns(slot: str, count: int = 4, angle: float = 0.0, pixel_size: float = 3.0) -> dict[str, Any]:
    """Return one alignment: a turn about z by `angle` (radians), the shift (2, -1) pixels, half-sets 0 1 0 1."""
    return {
        f"{slot}/pose": np.tile(np.array([0, 0, angle], "<f4"), (count, 1)),
        f"{slot}/shift": np.tile(np.array([2, -1], "<f4"), (count, 1)),
        f"{slot}/psize_A": np.full(count, pixel_size, "<f4"),
        f"{slot}/split": (np.arange(count) % 2).astype("<u4"),
    }


def cs_table(columns: dict[str, Any]) -> np.ndarray:
    """Return columns as a record array."""
    columns = {name: np.asarray(values) for name, values in columns.items()}
    count = len(next(iter(columns.values())))
    rows = np.zeros(count, [(name, values.dtype, values.shape[1:]) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def save_cs(path: Path, columns: dict[str, Any]) -> Path:
    """Write columns as a .cs file."""
    with open(path, "wb") as file:
        np.save(file, cs_table(columns), allow_pickle=False)
    return path
