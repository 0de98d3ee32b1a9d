"""Atomic models of one chain, and their files."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np

from libhetero.io.atoms import Atoms


def dumbbell() -> Atoms:
    """One chain: 40 residues in a ball, a neck of one contact at residue 41, 10 in another ball."""
    rng = np.random.default_rng(0)
    first = 4 * rng.normal(size=(40, 3)).clip(-1.5, 1.5)
    first[37:] = [9.0, 0, 0], [9.0, 2, 0], [16.0, 0, 0]
    second = 2 * rng.normal(size=(10, 3)).clip(-1.5, 1.5) + [32.0, 0, 0]
    second[0] = [25.0, 0, 0]
    position = np.concatenate([first, second]).astype(np.float32)
    count = len(position)
    return Atoms(
        position=position,
        element=np.full(count, "C"),
        b_factor=np.zeros(count, np.float32),
        chain=np.full(count, "A"),
        residue=np.arange(1, count + 1, dtype=np.int32),
    )


def write_model(path: Path, atoms: Atoms) -> Path:
    """Write atoms of one chain as a .pdb."""
    structure, chain = gemmi.Structure(), gemmi.Chain("A")
    for position, number in zip(atoms.position.tolist(), atoms.residue.tolist(), strict=True):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*position)
        residue.add_atom(atom)
        chain.add_residue(residue)
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(chain)
    structure.write_pdb(str(path))
    return path
