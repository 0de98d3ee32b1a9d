"""Scripts that open maps in ChimeraX at one level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from libhetero.files import replacing
from libhetero.report.style import colour_of


def write_series_script(
    path: Path, files: Sequence[str], level: float, joined: bool, change: tuple[str, float] | None = None
) -> None:
    """Write a ChimeraX script that opens maps as surfaces of one level.

    Parameters
    ----------
    path : of the script.
    files : names beside the script, in order.
    level : of the surfaces.
    joined : whether the maps follow one another: then they are one series with a slider to play; else they have a
        colour each and lie beside each other.
    change : of a series, the map beside the script by which its surfaces are coloured, and the value at which the
        colour is full; the series is played then. None for one colour.
    """
    lines = ["# open with ChimeraX: every map as a surface at the same level"]
    if joined and len(files) > 1:
        lines += [
            f"open {' '.join(map(_quoted, files))} vseries true id 1",
            f"volume #1 style surface level {level:.6g}",
        ]
        lines += ["vseries slider #1"]
        if change is not None:
            name, most = change
            lines += [
                f"open {_quoted(name)} id 2",
                "volume #2 hide",
                f"color sample #1 map #2 palette 0,{colour_of(0)}:{most:.6g},{colour_of(2)}",
                "vseries play #1 direction oscillate loop true maxFrameRate 12",
            ]
    else:
        for number, file in enumerate(files, 1):
            lines += [f"open {_quoted(file)} id {number}", f"color #{number} {colour_of(number)}"]
        lines += [f"volume #1-{len(files)} show style surface level {level:.6g}"]
        lines += ["tile"] if len(files) > 1 else []
    with replacing(path) as beside:
        beside.write_text("\n".join([*lines, "lighting soft", "view", ""]), encoding="utf-8")


def _quoted(name: str) -> str:
    return f'"{name}"' if any(one in name for one in " ;,") else name
