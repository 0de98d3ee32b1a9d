"""Atomic models (.pdb, .cif, .ent, plain or .gz), read by gemmi."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.files import check_readable, first_line
from libhetero.io.kinds import kind_of

LARGEST = 1e6  # Å and Å²
MOST_TEXT = 2**30  # bytes; the largest models of the archive, whole capsids, take a quarter of it
MOST_COMPRESSED = 100  # times; text of atoms becomes some ten times smaller
PIECE = 2**20  # bytes
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, eq=False)
class Atoms:
    """A atoms of one model.

    Parameters
    ----------
    position : float32, Å, (x, y, z) as in the file.
    element : str, such as "C".
    b_factor : float32, Å².
    chain : str, the author's chain name.
    residue : int32, the author's residue number.
    """

    position: Float[np.ndarray, "atoms 3"]
    element: Shaped[np.ndarray, "atoms"]
    b_factor: Float[np.ndarray, "atoms"]
    chain: Shaped[np.ndarray, "atoms"]
    residue: Int[np.ndarray, "atoms"]

    def __len__(self) -> int:
        return len(self.position)

    def take(self, index: np.ndarray) -> Atoms:
        """Return the atoms at `index` (integers or a mask)."""
        return Atoms(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def _rows_of(model: Any) -> list[tuple[Any, ...]]:
    """Return place, B-factor, element, chain and residue of each atom that counts."""
    rows = []
    for chain in model:
        for residue in chain:
            if residue.is_water():
                continue
            number = 0 if residue.seqid.num is None else residue.seqid.num
            for atom in residue.first_conformer():
                rows.append((*atom.pos.tolist(), atom.b_iso, atom.element.name, chain.name, number))
    return rows


def read_atoms(path: str | os.PathLike) -> Atoms:
    """Read the first model of a file: the first alternate location of each atom, no waters.

    Raises
    ------
    DataError : if the file is not an atomic model, holds no atom or more text than any model has, or an atom's place or
        B-factor is not a number.
    """
    _check_size(check_readable(path))
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = kind_of(path) or str(error).splitlines()[0]
        raise DataError(f"{path}: not an atomic model ({reason}); expected .pdb or .cif.") from None
    if len(structure) == 0:
        raise DataError(f"{path}: no model in this file; expected atoms (.pdb or .cif).")
    try:
        rows = _rows_of(structure[0])
    except UnicodeDecodeError:
        raise DataError(f"{path}: a name in it is no text; expected .pdb or .cif. Copy the file again.") from None
    if not rows:
        raise DataError(f"{path}: no atom in this file; expected an atomic model.")
    x, y, z, b_factor, element, chain_name, number = zip(*rows, strict=True)
    numbers = np.stack([x, y, z, b_factor], axis=1)
    good = (np.abs(numbers) <= LARGEST).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{path}: atom {row + 1} ({element[row]}, chain {chain_name[row]}, residue {number[row]}) lies at "
            f"{numbers[row, :3].tolist()} Å with a B-factor of {numbers[row, 3]:g} Å²; expected up to {LARGEST:g}. "
            "Remove it."
        )
    return Atoms(
        position=numbers[:, :3].astype(np.float32),
        element=np.array(element),
        b_factor=numbers[:, 3].astype(np.float32),
        chain=np.array(chain_name),
        residue=np.array(number, np.int32),
    )


def _check_size(path: Path) -> None:
    """Refuse a file of more text than an atomic model can have, before room is made for it."""
    size = path.stat().st_size
    most = MOST_TEXT
    with open(path, "rb") as file:
        compressed = file.read(2) == GZIP
    if compressed:
        most = min(most, MOST_COMPRESSED * size + PIECE)
        size = _unpacked(path, most)
    if size > most:
        raise DataError(
            f"{path}: more than {most} bytes of text; expected an atomic model (.pdb or .cif). Check the file."
        )


def _unpacked(path: Path, most: int) -> int:
    """Return the bytes that a .gz file holds, counted piece by piece until they are more than `most`."""
    size = 0
    try:
        with gzip.open(path) as file:
            while size <= most and (piece := file.read(PIECE)):
                size += len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a readable .gz file ({first_line(error)}); copy it again.") from None
    return size
