"""Cut one more hinged piece off the core of an atomic model.

A candidate is the end of one of the core's chains, from some residue on or up to it, with a fair
share of all atoms. The best one has the fewest pairs of residues, one inside and one outside, whose
centres are within reach of each other: the end that hangs by the thinnest neck, such as the
last domains of a receptor. The piece turns about the middle of that neck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from libhetero.errors import DataError
from libhetero.io.atoms import Atoms

REACH = 10.0  # Å between the centres of residues that touch
SHARE = (0.08, 0.25)  # of all atoms, in the piece


@dataclass(frozen=True, eq=False)
class CutPiece:
    """A piece that can be cut off.

    Parameters
    ----------
    chain : of the core.
    ranges : first and last residue number of each stretch.
    pivot : (3,), Å, in the model's frame; the middle of the neck.
    axis : (3,), of length 1, square to the line from the pivot to the piece's centroid.
    contacts : pairs of residues across the neck.
    share : of all atoms.
    """

    chain: str
    ranges: tuple[tuple[int, int], ...]
    pivot: Float[np.ndarray, "3"]
    axis: Float[np.ndarray, "3"]
    contacts: int
    share: float


@dataclass(frozen=True, eq=False)
class _Residues:
    """Residues with their chain, number, piece, atoms, centre (R, 3), and the pairs that touch."""

    chain: np.ndarray
    number: np.ndarray
    piece: np.ndarray
    atoms: np.ndarray
    centre: np.ndarray
    touching: np.ndarray


def cut_core(atoms: Atoms, piece: Int[np.ndarray, "atoms"], share: tuple[float, float] = SHARE) -> CutPiece:
    """Return the end of a chain of the core that hangs by the thinnest neck.

    Parameters
    ----------
    atoms : of the whole model.
    piece : (A,) int, of each atom; 0 is the core.
    share : least and most of all atoms that the piece may have.

    Raises
    ------
    DataError : if no end of a chain of the core has such a share.
    """
    residues = _residues(atoms, piece)
    best: tuple[int, np.ndarray] | None = None
    for chain in np.unique(residues.chain[residues.piece == 0]):
        own = np.flatnonzero((residues.chain == chain) & (residues.piece == 0))
        touching = residues.touching[np.isin(residues.touching, own).any(axis=1)]
        for inside in _ends(residues, own, share):
            contacts = int(np.count_nonzero(inside[touching[:, 0]] != inside[touching[:, 1]]))
            if best is None or contacts < best[0]:
                best = contacts, inside
    if best is None:
        raise DataError(
            f"no end of a chain of the core has {100 * share[0]:g} to {100 * share[1]:g} % of the "
            "atoms; expected one to cut off. Give a table with one more moving piece."
        )
    return _cut(residues, *best)


def _residues(atoms: Atoms, piece: np.ndarray) -> _Residues:
    names = np.unique(atoms.chain, return_inverse=True)[1]
    keys = np.stack([names, atoms.residue], axis=1)
    _, first, residue = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    residue = residue.reshape(-1)
    count = np.bincount(residue)
    total = np.stack([np.bincount(residue, column) for column in atoms.position.T], axis=1)
    centre = total / count[:, None]
    touching = cKDTree(centre).query_pairs(REACH, output_type="ndarray").reshape(-1, 2)
    return _Residues(atoms.chain[first], atoms.residue[first], piece[first], count, centre, touching)


def _ends(residues: _Residues, own: np.ndarray, share: tuple[float, float]) -> list[np.ndarray]:
    """Return masks over residues: every end of one chain, `own`, that has a fair share of atoms."""
    order = own[np.argsort(residues.number[own], kind="stable")]
    ends = [order[start:] for start in range(len(order))]
    ends += [order[:stop] for stop in range(1, len(order))]
    atoms, found = residues.atoms.sum(), []
    for members in ends:
        if share[0] <= residues.atoms[members].sum() / atoms <= share[1]:
            inside = np.zeros(len(residues.number), bool)
            inside[members] = True
            found.append(inside)
    return found


def _cut(residues: _Residues, contacts: int, inside: np.ndarray) -> CutPiece:
    centroid = np.average(residues.centre[inside], axis=0, weights=residues.atoms[inside])
    pivot = _neck(residues, inside)
    return CutPiece(
        chain=str(residues.chain[inside][0]),
        ranges=_stretches(residues, inside),
        pivot=pivot,
        axis=_square_to(centroid - pivot),
        contacts=contacts,
        share=float(residues.atoms[inside].sum() / residues.atoms.sum()),
    )


def _neck(residues: _Residues, inside: np.ndarray) -> np.ndarray:
    """Return the middle of the residues that touch across the cut, or of the two nearest ones."""
    first, second = residues.touching.T
    pairs = residues.touching[inside[first] != inside[second]]
    if len(pairs) == 0:
        within, without = np.flatnonzero(inside), np.flatnonzero(~inside)
        distance, nearest = cKDTree(residues.centre[without]).query(residues.centre[within])
        closest = distance.argmin()
        pairs = np.array([[within[closest], without[nearest[closest]]]])
    return residues.centre[pairs].mean(axis=(0, 1))


def _square_to(arm: np.ndarray) -> np.ndarray:
    """Return a direction of length 1 square to an arm: in the plane z = 0 unless the arm is along z."""
    upright = np.hypot(*arm[:2]) <= 0.1 * abs(arm[2])
    axis = np.cross(arm, np.eye(3)[0 if upright else 2])
    length = np.linalg.norm(axis)
    return axis / length if length > 0 else np.eye(3)[2]


def _stretches(residues: _Residues, inside: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return the stretches of the piece in its chain, unbroken by residues of other pieces."""
    chain = residues.chain == residues.chain[inside][0]
    order = np.flatnonzero(chain)[np.argsort(residues.number[chain], kind="stable")]
    stretches: list[list[int]] = []
    open_stretch = False
    for k in order:
        if inside[k] and open_stretch:
            stretches[-1][1] = int(residues.number[k])
        elif inside[k]:
            stretches.append([int(residues.number[k])] * 2)
        open_stretch = bool(inside[k])
    return tuple((first, last) for first, last in stretches)
