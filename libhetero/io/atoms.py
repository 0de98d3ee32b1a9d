"""Atomic models (.pdb, .cif, .ent, plain or .gz), read by gemmi."""

from __future__ import annotations

import os
from dataclasses import dataclass

import gemmi
import numpy as np

from libhetero.errors import DataError
from libhetero.io.paths import check_readable


@dataclass(frozen=True, eq=False)
class Atoms:
    """A atoms of one model.

    Parameters
    ----------
    position : (A, 3) float32, Å, (x, y, z) as in the file.
    element : (A,) str, such as "C".
    b_factor : (A,) float32, Å².
    chain : (A,) str, the author's chain name.
    residue : (A,) int32, the author's residue number.
    """

    position: np.ndarray
    element: np.ndarray
    b_factor: np.ndarray
    chain: np.ndarray
    residue: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    def take(self, index: np.ndarray) -> Atoms:
        """Return the atoms at `index` (integers or a mask)."""
        return Atoms(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def read_atoms(path: str | os.PathLike) -> Atoms:
    """Read the first model of a file: the first alternate location of each atom, no waters.

    Raises
    ------
    DataError : if the file is not an atomic model or holds no atom.
    """
    check_readable(path)
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not an atomic model ({reason}); expected .pdb or .cif.") from None
    if len(structure) == 0:
        raise DataError(f"{path}: no model in this file; expected atoms (.pdb or .cif).")
    rows = []
    for chain in structure[0]:
        for residue in chain:
            if residue.is_water():
                continue
            for atom in residue.first_conformer():
                place, number = atom.pos, residue.seqid.num
                rows.append((place.x, place.y, place.z, atom.b_iso, atom.element.name, chain.name, number))
    if not rows:
        raise DataError(f"{path}: no atom in this file; expected an atomic model.")
    x, y, z, b_factor, element, chain_name, number = zip(*rows, strict=True)
    return Atoms(
        position=np.stack([x, y, z], axis=1).astype(np.float32),
        element=np.array(element),
        b_factor=np.array(b_factor, np.float32),
        chain=np.array(chain_name),
        residue=np.array(number, np.int32),
    )
