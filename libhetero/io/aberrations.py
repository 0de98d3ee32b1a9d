"""Optics beyond the numbers of a CTF, as lists hold them: read, written, or named where they cannot be.

    field           RELION                           in a .lst or .hdf (numbers in a row)
    magnification   rlnMagMat00, 01, 10, 11          hetero_magnification
    beam_tilt       rlnBeamTiltX, Y (mrad)           hetero_beam_tilt (radians)
    even_zernike    rlnEvenZernike, [e0,e1,…]        hetero_even_zernike (radians)
    odd_zernike     rlnOddZernike, [o0,o1,…]         hetero_odd_zernike (radians)

RELION has one value for an optics group (3.0: for a particle). A label of a matrix or of a tilt that a list lacks
means that of no aberration. Where a list has a beam tilt, the terms o3 and o4 (n = 3, m = -1 and 1) are those of
the tilt, and what rlnOddZernike says of them is not used: RELION 3.1 does so. A parameter that changes no image is
absent (None).

No public definition fixes signs, units and order of what cryoSPARC stores as `ctf/tilt_A`, `trefoil_A`, `tetra_A`,
`shift_A` and `anisomag`, and programs that convert it disagree: it is named, not applied, and kept in a .cs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.records import CTFParams

logger = logging.getLogger(__name__)
MOST_TERMS = 100  # of Zernike polynomials; RELION fits 9 and 6
TILTED = (3, 4)  # terms of rlnOddZernike that a beam tilt takes the place of
CRYOSPARC = ("ctf/tilt_A", "ctf/trefoil_A", "ctf/tetra_A", "ctf/shift_A", "ctf/anisomag")


@runtime_checkable
class Labelled(Protocol):
    """A table of RELION's that gives columns by label, see `libhetero.io.star.StarTable`."""

    @property
    def path(self) -> str:
        """The file."""

    def column(self, label: str, rows: Any = ...) -> Shaped[np.ndarray, "values"] | None:
        """Return the text of a label."""


@dataclass(frozen=True)
class Aberration:
    """One parameter in files.

    Parameters
    ----------
    field : of `CTFParams`.
    key : in a .lst or .hdf, in the unit of the field.
    labels : RELION's; one label may hold a list of numbers, as [1,2].
    shape : of one particle; None for any number of terms.
    unit : what 1 in a .star is in the unit of the field.
    neutral : the value that changes no image; 0 for any number of terms.
    """

    field: str
    key: str
    labels: tuple[str, ...]
    shape: tuple[int, ...] | None = None
    unit: float = 1.0
    neutral: tuple[float, ...] = (0.0,)

    def checked(
        self, unlike: Sequence[Sequence[float]], first: Sequence[int], place: Int[np.ndarray, "particles"], where: str
    ) -> Float[np.ndarray, "particles *shape"] | None:
        """Return the parameter of every particle, shorter rows filled with 0; None where no image is changed.

        Parameters
        ----------
        unlike : the rows of numbers that there are, each once.
        first : the first particle with each of them, as messages number it.
        place : which of them each particle has.
        where : the file, for messages.

        Raises
        ------
        DataError : for numbers that are not finite, or too few or many.
        """
        width = max(map(len, unlike), default=0)
        if width > MOST_TERMS:
            raise DataError(f"{where}: {width} numbers for {self.field}; expected at most {MOST_TERMS}. Mend it.")
        wanted = None if self.shape is None else int(np.prod(self.shape))
        values = np.zeros((len(unlike), width))
        for i, row in enumerate(unlike):
            values[i, : len(row)] = row
            if (wanted not in (None, len(row))) or not np.isfinite(values[i]).all():
                expected = "finite numbers" if wanted is None else f"{wanted} finite numbers"
                raise DataError(
                    f"{where}: particle {first[i]}: {self.field} is {list(row)}; expected {expected}. Mend it."
                )
        if np.all(values == np.resize(self.neutral, width)):
            return None
        return values.reshape(len(unlike), *(self.shape or (width,))).astype(np.float32)[place]


ABERRATIONS = (
    Aberration(
        "magnification",
        "hetero_magnification",
        ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11"),
        (2, 2),
        neutral=(1.0, 0.0, 0.0, 1.0),
    ),
    Aberration("beam_tilt", "hetero_beam_tilt", ("rlnBeamTiltX", "rlnBeamTiltY"), (2,), unit=1e-3, neutral=(0.0, 0.0)),
    Aberration("even_zernike", "hetero_even_zernike", ("rlnEvenZernike",)),
    Aberration("odd_zernike", "hetero_odd_zernike", ("rlnOddZernike",)),
)
KEYS = tuple(aberration.key for aberration in ABERRATIONS)


def with_star_aberrations(ctf: CTFParams, table: Labelled, rows: Int[np.ndarray, "particles"]) -> CTFParams:
    """Return the CTF of some rows of a RELION table with the aberrations that it states for them.

    Raises
    ------
    DataError : for a value that is no number, or no list of numbers.
    """
    found = {}
    for aberration in ABERRATIONS:
        columns = [table.column(label, rows) for label in aberration.labels]
        if all(column is None for column in columns) or not len(rows):
            continue
        place, first = _unlike([column for column in columns if column is not None])
        absent = [f"{value / aberration.unit:g}" for value in aberration.neutral]
        numbers = (rows[first] + 1).tolist()
        read = []
        for row, number in zip(first, numbers, strict=True):
            texts = [absent[k] if column is None else str(column[row]) for k, column in enumerate(columns)]
            read.append(_numbers(texts, aberration, f"{table.path}: particle {number}"))
        if aberration.field == "odd_zernike" and "beam_tilt" in found:
            read = [[0.0 if k in TILTED else value for k, value in enumerate(values)] for values in read]
        found[aberration.field] = aberration.checked(read, numbers, place, table.path)
    return replace(ctf, **found)


def _unlike(
    columns: Sequence[Shaped[np.ndarray, "particles"]],
) -> tuple[Int[np.ndarray, "particles"], Int[np.ndarray, "unlike"]]:
    """Return which of the unlike rows of some columns each particle has, and where each of these rows is first."""
    place = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        number, values = pd.factorize(column)
        place, _ = pd.factorize(place * len(values) + number)
    _, first = np.unique(place, return_index=True)
    return place, first


def _numbers(texts: list[str], aberration: Aberration, where: str) -> list[float]:
    """Return the numbers that the labels of a parameter hold in one row, in the unit of its field."""
    words = [word for text in texts for word in text.strip().strip("\"'").strip("[]").replace(",", " ").split()]
    try:
        return [aberration.unit * float(word) for word in words]
    except ValueError:
        labels = ", ".join(aberration.labels)
        expected = "numbers" if aberration.shape else "numbers as [1,2]"
        raise DataError(f"{where}: {labels} is '{' '.join(texts)[:60]}'; expected {expected}. Mend it.") from None


def with_key_aberrations(ctf: CTFParams, values: Sequence[Mapping[str, Any]], path: object) -> CTFParams:
    """Return the CTF of particles with the aberrations that the keys of each (of a .lst line or .hdf header) state.

    Parameters
    ----------
    values : one number a key, or several; `libhetero.io.image_header` has seen to it.

    Raises
    ------
    DataError : for a key that holds too few or too many.
    """
    found = {}
    for aberration in ABERRATIONS:
        key = aberration.key
        if not any(key in own for own in values):
            continue
        unlike: dict[tuple[float, ...], int] = {}
        first: list[int] = []
        place = np.empty(len(values), np.int64)
        for i, own in enumerate(values):
            stated = own.get(key, aberration.neutral)
            row = tuple(stated) if isinstance(stated, list | tuple) else (stated,)
            place[i] = unlike.setdefault(row, len(unlike))
            if len(unlike) > len(first):
                first.append(i + 1)
        found[aberration.field] = aberration.checked(list(unlike), first, place, str(path))
    return replace(ctf, **found)


def aberration_keys(ctf: CTFParams) -> list[dict[str, list[float]]]:
    """Return, for each of N particles, the keys of its aberrations in a .lst or .hdf; like ones are one object."""
    held = [(one, np.asarray(values)) for one in ABERRATIONS if (values := getattr(ctf, one.field)) is not None]
    found: list[dict[str, list[float]]] = []
    made: dict[bytes, dict[str, list[float]]] = {}  # particles of an optics group have the same
    for i in range(len(np.asarray(ctf.defocus_u))):
        own = b"".join(values[i].tobytes() for _, values in held)
        if own not in made:
            made[own] = {one.key: [float(f"{number:.9g}") for number in values[i].ravel()] for one, values in held}
        found.append(made[own])
    return found


def carried_over(ctf: CTFParams, stated: CTFParams | None) -> CTFParams:
    """Return a CTF from elsewhere, which knows neither aberrations nor exposure, with those that the particles' list
    states."""
    carried = ("exposure", *(one.field for one in ABERRATIONS))
    return ctf if stated is None else replace(ctf, **{name: getattr(stated, name) for name in carried})


def in_star_units(ctf: CTFParams) -> Float[np.ndarray, "particles values"]:
    """Return all aberrations of N particles as RELION writes them, side by side; no column where there is none."""
    held = [(one, getattr(ctf, one.field)) for one in ABERRATIONS]
    rows = [np.reshape(values, (len(values), -1)) / one.unit for one, values in held if values is not None]
    count = len(np.asarray(ctf.defocus_u))
    return np.concatenate([np.zeros((count, 0)), *rows], axis=1).astype(np.float64)


def star_columns(ctf: CTFParams, rows: Float[np.ndarray, "groups values"]) -> dict[str, list[str]]:
    """Return the columns by RELION's labels of optics groups, given the values of each as in `in_star_units`."""
    columns: dict[str, list[str]] = {}
    for one in ABERRATIONS:
        values = getattr(ctf, one.field)
        if values is None:
            continue
        width = int(np.prod(values.shape[1:]))
        own, rows = rows[:, :width], rows[:, width:]
        texts = [[f"{number:.6f}" for number in row] for row in own]
        if one.shape is None:
            columns[one.labels[0]] = [f"[{','.join(row)}]" for row in texts]
        else:
            columns.update({label: [row[k] for row in texts] for k, label in enumerate(one.labels)})
    return columns


def told_of_relion(table: Labelled) -> None:
    """Name what a RELION table states of the optics beyond `ABERRATIONS`, which RELION would use, in one line."""
    kinds = {label: table.column(label) for label in ("rlnMtfFileName", "rlnBeamTiltClass")}
    several = [label for label, column in kinds.items() if column is not None and len(set(column.tolist())) > 1]
    if any(table.column(label) is not None for label in ("rlnBeamTiltX", "rlnBeamTiltY", "rlnOddZernike")):
        several = [label for label in several if label != "rlnBeamTiltClass"]  # the tilt of each class is stated
    if several:
        logger.warning("%s: optics that are not applied: %s, of several values.", table.path, ", ".join(several))


def told_of_cryosparc(rows: Shaped[np.ndarray, "particles"], path: object) -> None:
    """Name the fields of a cryoSPARC table that would change images and are not applied, in one line."""
    names = [name for name in CRYOSPARC if name in (rows.dtype.names or ()) and _changes(name, rows[name])]
    if names:
        logger.warning(
            "%s: optics that are not applied: %s; expect less at high resolution. A .cs exported from this list "
            "keeps them, a .star does not.",
            path,
            ", ".join(names),
        )


def _changes(name: str, values: np.ndarray) -> bool:
    values = np.reshape(values, (len(values), -1)).astype(np.float64)
    identity = np.eye(2).ravel()
    whole = name == "ctf/anisomag" and values.shape[1:] == identity.shape and np.allclose(values, identity)
    return not whole and bool(np.any(values))


def told_of_loss(ctf: CTFParams | None, path: object) -> None:
    """Name, in one line, the aberrations of particles that a new file has no place for."""
    held = [
        one.field.replace("_", " ") for one in ABERRATIONS if ctf is not None and getattr(ctf, one.field) is not None
    ]
    if held:
        logger.warning(
            "%s: holds no %s, which the particles' list states; a .star or .lst does.", path, ", ".join(held)
        )
