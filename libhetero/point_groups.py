"""Names of point groups and the axes that generate each, as RELION and EMAN2 place them; standard library only.

c<n>       n-fold along z
d<n>       n-fold along z, 2-fold along x
t          3-fold along z, 2-fold along (0, √2, 1)/√3: RELION's T
tet        the same turned by 180° about z: EMAN2's tet
o, oct     4-fold along x, y and z: RELION's O, EMAN2's oct
i, i2      2-fold along x, y and z, 5-fold in the xz plane, (0.526, 0, 0.851): RELION's I and I2
i1, icos2  2-fold along x, y and z, 5-fold at (0.851, 0, -0.526): RELION's I1, EMAN2's icos2
i3         5-fold along z, a 2-fold at (-0.526, 0, 0.851): RELION's I3
i4, icos   5-fold along z, a 2-fold at (0.526, 0, 0.851): RELION's I4, EMAN2's icos
"""

from __future__ import annotations

import re

Axis = tuple[tuple[float, float, float], int]  # direction (x, y, z) and fold

SHORT, LONG = 0.5257311121191336, 0.8506508083520400  # of an icosahedron's rectangle, unit diagonal
X, Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
GENERATORS: dict[str, tuple[Axis, ...]] = {
    "t": ((Z, 3), ((0.0, 2**0.5, 1.0), 2)),
    "tet": ((Z, 3), ((0.0, -(2**0.5), 1.0), 2)),
    "o": ((Z, 4), ((1.0, 1.0, 1.0), 3)),
    "i1": ((X, 2), (Z, 2), ((LONG, 0.0, -SHORT), 5)),
    "i2": ((X, 2), (Z, 2), ((SHORT, 0.0, LONG), 5)),
    "i3": ((Z, 5), ((-SHORT, 0.0, LONG), 2)),
    "i4": ((Z, 5), ((SHORT, 0.0, LONG), 2)),
}
OTHER_NAMES = {"oct": "o", "i": "i2", "icos": "i4", "icos2": "i1"}
LARGEST_FOLD = 100
EXPECTED = f"c1, c2 … c{LARGEST_FOLD}, d1 …, t, tet, o, i1, i2, i3, i4 or icos (docs/conventions.md)"


def generators(name: str) -> tuple[Axis, ...] | None:
    """Return the axes that generate a point group, named as in the module's table in any case, or None."""
    name = OTHER_NAMES.get(name.lower(), name.lower())
    found = re.fullmatch(r"([cd])([1-9][0-9]{0,2})", name)
    if found and int(found[2]) <= LARGEST_FOLD:
        return ((Z, int(found[2])), *([(X, 2)] if found[1] == "d" else []))
    return GENERATORS.get(name)


def expected_group(name: str) -> str | None:
    """Return what names may be expected in place of one that is none of a point group; None where it is one."""
    return EXPECTED if generators(name) is None else None
