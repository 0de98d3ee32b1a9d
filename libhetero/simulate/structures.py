"""What is imaged: a structure in pieces, made of beads, of atoms or of maps.

Every kind of structure answers the same questions (`Structure`), so that simulation and the
writing of the truth know nothing of where it came from. Piece 0 is the core.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from libhetero.errors import ConfigurationError
from libhetero.io.atoms import Atoms
from libhetero.records import Gaussians
from libhetero.simulate.atoms import scattering_weights
from libhetero.simulate.bodies import (
    Body,
    body_of_atoms,
    body_of_gaussians,
    body_of_map,
    map_of_atoms,
    map_of_gaussians,
)
from libhetero.simulate.compact import compact_pieces
from libhetero.simulate.complex import Complex, generate_member
from libhetero.simulate.density import resample_map
from libhetero.simulate.states import hinge_and_axis

Hinges = dict[int, tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]]


@dataclass(frozen=True, eq=False)
class PointTable:
    """Where the matter of a structure is: the truth that Gaussians are compared with.

    Parameters
    ----------
    position : (A, 3) float32, Å (x, y, z), centred.
    weight : float32, scattering.
    piece : int32.
    """

    position: Float[np.ndarray, "atoms 3"]
    weight: Float[np.ndarray, "atoms"]
    piece: Int[np.ndarray, "atoms"]

    @property
    def diameter(self) -> float:
        """Diameter of the sphere about the origin that holds every point, Å."""
        return 2 * float(np.linalg.norm(self.position, axis=1).max())


@runtime_checkable
class Structure(Protocol):
    """A structure in pieces.

    Attributes
    ----------
    names : one name per piece, the core first.
    hinges : hinge (3,) in Å and axis (3,) of the pieces for which they are given.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pieces."""
        ...

    @property
    def hinges(self) -> Hinges:
        """Hinges of the pieces."""
        ...

    def points(self) -> PointTable:
        """Return its atoms, or what stands for them."""
        ...

    def body(self, piece: int | None, pixel_size: float) -> Body:
        """Return one piece, or the whole for None, as a rigid body."""
        ...

    def map(self, piece: int | None, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
        """Return the map of one piece, or of the whole for None."""
        ...


@dataclass(frozen=True, eq=False)
class BeadStructure:
    """A complex made from a seed."""

    model: Complex
    hinges: Hinges = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pieces."""
        return ("core", *(f"piece{k}" for k in range(1, self.model.pieces)))

    def points(self) -> PointTable:
        """Return the beads."""
        gaussians = self.model.gaussians
        return PointTable(gaussians.position, gaussians.amplitude, self.model.piece)

    def body(self, piece: int | None, pixel_size: float) -> Body:
        """Return one piece, or the whole for None, as a rigid body."""
        return body_of_gaussians(self._part(piece), pixel_size)

    def map(self, piece: int | None, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
        """Return the map of one piece, or of the whole for None."""
        return map_of_gaussians(self._part(piece), n, pixel_size)

    def _part(self, piece: int | None) -> Gaussians:
        gaussians = self.model.gaussians
        return gaussians if piece is None else gaussians.take(self.model.piece == piece)


@dataclass(frozen=True)
class GeneratedMixture:
    """The complexes of a mixture, each made from the seed when it is asked for.

    Parameters
    ----------
    seed : the same seed gives the same complexes.
    diameter : Å, of each.
    cut : numbers of those that are cut in a core and `pieces` compact ones besides.
    pieces : of those.
    """

    seed: int
    diameter: float
    cut: tuple[int, ...] = ()
    pieces: int = 1

    def __call__(self, k: int) -> BeadStructure:
        """Return complex k."""
        made = generate_member(self.seed, k, self.diameter)
        if k in self.cut:
            made = Complex(made.gaussians, compact_pieces(made.gaussians.position, self.pieces, self.seed))
        return BeadStructure(made)


@dataclass(frozen=True, eq=False)
class AtomStructure:
    """An atomic model, centred, cut into pieces.

    Parameters
    ----------
    atoms : positions in Å from the centre; their B-factors are those to apply.
    piece : int32.
    names : of the pieces.
    hinges : of the pieces for which they are known.
    """

    atoms: Atoms
    piece: Int[np.ndarray, "atoms"]
    names: tuple[str, ...]
    hinges: Hinges = field(default_factory=dict)

    def points(self) -> PointTable:
        """Return the atoms."""
        return PointTable(self.atoms.position, scattering_weights(self.atoms), self.piece)

    def body(self, piece: int | None, pixel_size: float) -> Body:
        """Return one piece, or the whole for None, as a rigid body."""
        return body_of_atoms(self._part(piece), pixel_size)

    def map(self, piece: int | None, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
        """Return the map of one piece, or of the whole for None."""
        return map_of_atoms(self._part(piece), n, pixel_size)

    def _part(self, piece: int | None) -> Atoms:
        return self.atoms if piece is None else self.atoms.take(self.piece == piece)


@dataclass(frozen=True, eq=False)
class MapStructure:
    """One map per piece, all in one box.

    Parameters
    ----------
    maps : the core's first.
    pixel_size : Å, that of the images before cropping.
    names : of the pieces.
    hinges : of the pieces for which they are known.
    """

    maps: tuple[Float[np.ndarray, "n n n"], ...]
    pixel_size: float
    names: tuple[str, ...]
    hinges: Hinges = field(default_factory=dict)

    def points(self) -> PointTable:
        """Return the voxels above a tenth of each map's highest value in place of atoms."""
        positions, weights, pieces = [], [], []
        for k, volume in enumerate(self.maps):
            found = np.argwhere(volume > 0.1 * volume.max())
            positions.append((found[:, ::-1] - volume.shape[0] // 2) * self.pixel_size)
            weights.append(volume[tuple(found.T)])
            pieces.append(np.full(len(found), k))
        return PointTable(
            np.concatenate(positions).astype(np.float32),
            np.concatenate(weights).astype(np.float32),
            np.concatenate(pieces).astype(np.int32),
        )

    def body(self, piece: int | None, pixel_size: float) -> Body:
        """Return one piece, or the whole for None, as a rigid body."""
        return body_of_map(self._part(piece))

    def map(self, piece: int | None, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
        """Return the map of one piece, or of the whole for None, resampled to n voxels."""
        return resample_map(self._part(piece), self.pixel_size, n, pixel_size)

    def _part(self, piece: int | None) -> np.ndarray:
        return functools.reduce(np.add, self.maps) if piece is None else self.maps[piece]


def bodies_of_structure(structure: Structure, pixel_size: float, moving: bool) -> list[Body]:
    """Return the body of every piece.

    Parameters
    ----------
    structure : the pieces.
    pixel_size : Å.
    moving : True to hinge the pieces to the core, where the structure says or else by
        `hinge_and_axis`.
    """
    bodies = [structure.body(k, pixel_size) for k in range(len(structure.names))]
    if moving:
        for k, found in hinges_of_structure(structure).items():
            bodies[k] = Body(bodies[k].volume, bodies[k].centre, *found)
    return bodies


def hinges_of_structure(structure: Structure) -> Hinges:
    """Return hinge and axis of every piece besides the core: the structure's, or chosen ones."""
    points = structure.points()
    core = points.position[points.piece == 0]
    found = {}
    for k in range(1, len(structure.names)):
        chosen = structure.hinges.get(k)
        if chosen is None:
            chosen = hinge_and_axis(core, points.position[points.piece == k], seed=k)
        found[k] = chosen
    return found


def check_fits(structure: Structure, box: float, name: str) -> None:
    """Refuse a structure that reaches out of the box.

    Parameters
    ----------
    structure : centred.
    box : Å, width of the images.
    name : of the structure, for the message.

    Raises
    ------
    ConfigurationError : if its diameter is more than the box.
    """
    diameter = structure.points().diameter
    if diameter > box:
        raise ConfigurationError(
            f"{name}: {diameter:.0f} Å across its centre of mass; the box is {box:.0f} Å. Use a larger --box or --apix."
        )
