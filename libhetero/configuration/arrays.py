"""What arrays a file holds: name, kind of numbers, shape, and where whole numbers point.

    {"position": ArraySchema("float", ("gaussians", 3)), "edges": ArraySchema("int", ("edges", 2), below="gaussians")}

A part that stores arrays declares them so, beside the code that writes them; `libhetero.io.arrays` reads no others.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArraySchema:
    """One array of a file.

    Parameters
    ----------
    kind : "float" (all finite), "int" (of any width and sign), or "bool" (or numbers 0 and 1).
    shape : a number, or the name of a length that all arrays share, for each axis; () for a single number.
    least : of the values; None for no limit.
    below : limit that the values do not reach, a number or the name of a length; None for none.
    optional : whether the file may lack it.
    """

    kind: str
    shape: tuple[int | str, ...] = ()
    least: float | None = None
    below: float | str | None = None
    optional: bool = False
