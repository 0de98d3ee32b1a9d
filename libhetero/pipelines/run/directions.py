"""directions.txt: the directions of change that stood out of a run's particles before training, one a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from libhetero.files import replacing
from libhetero.records import Direction

DIRECTIONS = "directions.txt"
HEADER = "# direction kind signal_over_noise p_value"


def write_directions(path: Path, directions: Sequence[Direction]) -> None:
    """Write number, kind, variance of the signal over that of noise, and p-value of each direction.

    Parameters
    ----------
    path : of the table; its first line names the columns, the only one where nothing stood out.
    directions : the stronger first.
    """
    rows = [f"{i} {one.kind} {one.strength:.4g} {one.p:.3g}" for i, one in enumerate(directions)]
    with replacing(path) as beside:
        Path(beside).write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
