"""Atomic models (.pdb, .cif, .ent, plain or .gz), read by gemmi."""

from __future__ import annotations

import os
from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Float, Int, Shaped

from libhetero.errors import DataError
from libhetero.io.paths import check_readable


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
                rows.append((*atom.pos.tolist(), atom.b_iso, atom.element.name, chain.name, residue.seqid.num))
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
