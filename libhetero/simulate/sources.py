"""Structures from files: atomic models cut into pieces as `piece_files` say, or maps."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_atoms, read_volume
from libhetero.io.atoms import Atoms
from libhetero.simulate.atoms import scattering_weights
from libhetero.simulate.compact import compact_pieces, piece_names
from libhetero.simulate.piece_files import read_domains, read_segments
from libhetero.simulate.structures import AtomStructure, Hinges, MapStructure

logger = logging.getLogger(__name__)


def load_model(path: str, b_factor: float | None) -> Atoms:
    """Read an atomic model.

    Parameters
    ----------
    path : .pdb or .cif, also .gz.
    b_factor : Å², given to every atom; None keeps those of the file.

    Raises
    ------
    DataError : if it cannot be read, or an element scatters by no table.
    """
    atoms = read_atoms(path)
    try:
        scattering_weights(atoms)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if b_factor is not None:
        atoms = replace(atoms, b_factor=np.full(len(atoms), b_factor, np.float32))
    return atoms


def whole_model(path: str, b_factor: float | None) -> AtomStructure:
    """Return an atomic model as one piece, named after its file."""
    atoms = load_model(path, b_factor)
    return _centred(atoms, np.zeros(len(atoms), np.int32), (_name(path),), {})


def segmented_model(path: str, segments: str, b_factor: float | None) -> AtomStructure:
    """Return an atomic model cut by a segments file."""
    atoms = load_model(path, b_factor)
    named = read_segments(segments)
    piece = np.full(len(atoms), -1, np.int32)
    for k, (name, chains) in enumerate(named):
        chosen = np.isin(atoms.chain, chains)
        if not chosen.any():
            raise DataError(
                f"{segments}: segment {name}: none of its chains ({', '.join(chains[:4])}…) is in "
                f"{path}; expected names such as {atoms.chain[0]}."
            )
        piece[chosen] = k
    piece = _give_rest(atoms, piece, segments)
    return _centred(atoms, piece, tuple(name for name, _ in named), {})


def model_in_domains(path: str, domains: str, b_factor: float | None) -> AtomStructure:
    """Return an atomic model cut by a domains file, with the hinges and axes it gives."""
    atoms = load_model(path, b_factor)
    entry = read_domains(domains, path)
    names = (entry.body, *(name for name in entry.domains if name != entry.body))
    piece, hinges = np.full(len(atoms), -1, np.int32), {}
    for k, name in enumerate(names):
        domain = entry.domains[name]
        for chain, ranges in domain.ranges():
            piece[_selected(atoms, chain, ranges)] = k
        if not (piece == k).any():
            raise DataError(f"{domains}: domain {name} selects no atom of {path}; check chains.")
        if k > 0 and domain.pivot is not None and domain.axis_u is not None:
            axis = np.array(domain.axis_u, np.float32)
            hinges[k] = np.array(domain.pivot, np.float32), axis / np.linalg.norm(axis)
    return _centred(atoms, _give_rest(atoms, piece, domains), names, hinges)


def model_in_compact_pieces(
    path: str, pieces: int, seed: int, b_factor: float | None, core: str = "core"
) -> AtomStructure:
    """Return an atomic model cut into a core, of this name, and `pieces` others by k-means of its residues.

    The core is the piece nearest to the centre of mass.
    """
    atoms = load_model(path, b_factor)
    keys = np.stack([np.unique(atoms.chain, return_inverse=True)[1], atoms.residue], axis=1)
    _, residue = np.unique(keys, axis=0, return_inverse=True)
    residue = residue.reshape(-1)
    count = np.bincount(residue)[:, None]
    centre = np.stack([np.bincount(residue, column) for column in atoms.position.T], axis=1) / count
    if len(centre) < pieces + 1:
        raise ConfigurationError(f"pieces: {path} has {len(centre)} residues; expected at least {pieces + 1}.")
    piece = compact_pieces(centre, pieces, seed)[residue]
    return _centred(atoms, piece, piece_names(pieces, core), {})


def maps_as_pieces(paths: list[str], pixel_size: float) -> MapStructure:
    """Return maps of one frame as the pieces of a structure, the core's first."""
    maps = tuple(_load_map(path, pixel_size) for path in paths)
    sizes = {volume.shape[0] for volume in maps}
    if len(sizes) > 1:
        raise DataError(f"{paths[1]}: the maps have boxes {sorted(sizes)}; expected one box.")
    return MapStructure(maps, pixel_size, tuple(_name(path) for path in paths))


def whole_map(path: str, pixel_size: float) -> MapStructure:
    """Return a map as a structure of one piece."""
    return MapStructure((_load_map(path, pixel_size),), pixel_size, (_name(path),))


@dataclass(frozen=True)
class Models:
    """Atomic models as the structures of a mixture, each read when it is asked for.

    Parameters
    ----------
    paths : .pdb or .cif, also .gz.
    b_factor : Å², given to every atom; None keeps those of the file.
    cut : numbers of those that are cut in a core, named after the file, and `pieces` compact ones besides.
    pieces : of those.
    seed : of the cutting.
    """

    paths: tuple[str, ...]
    b_factor: float | None
    cut: tuple[int, ...] = ()
    pieces: int = 1
    seed: int = 0

    def __call__(self, k: int) -> AtomStructure:
        """Return model k."""
        path = self.paths[k]
        if k in self.cut:
            return model_in_compact_pieces(path, self.pieces, self.seed, self.b_factor, core=_name(path))
        return whole_model(path, self.b_factor)


@dataclass(frozen=True)
class WholeMaps:
    """Maps as the structures of a mixture, each read when it is asked for.

    Parameters
    ----------
    paths : maps.
    pixel_size : Å, that of the images before cropping.
    """

    paths: tuple[str, ...]
    pixel_size: float

    def __call__(self, k: int) -> MapStructure:
        """Return map k."""
        return whole_map(self.paths[k], self.pixel_size)


def _name(path: str) -> str:
    return Path(path).name.split(".")[0]


def _load_map(path: str, pixel_size: float) -> np.ndarray:
    volume, found = read_volume(path)
    if len(set(volume.shape)) > 1 or volume.shape[0] % 2:
        raise DataError(f"{path}: the map is {volume.shape}; expected an even cube. Pad it first.")
    if found > 0 and abs(found / pixel_size - 1) > 1e-3:
        raise DataError(
            f"{path}: voxels of {found:g} Å, the images are to have {pixel_size:g} Å; give "
            f"--apix {found:g} and make the images coarser with --crop."
        )
    return volume


def _selected(atoms: Atoms, chain: str, ranges: list[tuple[int, int]] | None) -> np.ndarray:
    """Return which atoms lie in a chain and, unless None, in one of the ranges of residues, both ends included."""
    chosen = atoms.chain == chain
    if ranges is None:
        return chosen
    inside = np.zeros(len(atoms), bool)
    for first, last in ranges:
        inside |= (atoms.residue >= first) & (atoms.residue <= last)
    return chosen & inside


def _give_rest(atoms: Atoms, piece: np.ndarray, path: str) -> np.ndarray:
    """Give atoms that no piece names (sugars, ions) to the piece of the nearest named atom."""
    rest = piece < 0
    if rest.any():
        logger.info("%s: %d atoms in no piece go with their nearest neighbour.", path, rest.sum())
        _, nearest = cKDTree(atoms.position[~rest]).query(atoms.position[rest])
        piece[rest] = piece[~rest][nearest]
    return piece


def _centred(atoms: Atoms, piece: np.ndarray, names: tuple[str, ...], hinges: Hinges) -> AtomStructure:
    """Move the centre of mass (by scattering) to the origin, hinges along with it."""
    centre = np.average(atoms.position, axis=0, weights=scattering_weights(atoms))
    centre = centre.astype(np.float32)
    moved = {k: (hinge - centre, axis) for k, (hinge, axis) in hinges.items()}
    return AtomStructure(replace(atoms, position=atoms.position - centre), piece, names, moved)
