"""The true map of a particle in its own conformation, and which particles are of one class and one molecule."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from libhetero.errors import DataError
from libhetero.io import read_volume
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.physics.turning import prepare_turning, turned_volume
from libhetero.pipelines.scoring.following import Following
from libhetero.pipelines.scoring.subject import Subject
from libhetero.pipelines.scoring.truth import Piece, Truth, map_in_box

KEPT = 2**29  # bytes of prepared pieces held in memory; others are prepared again when needed


class TrueMaps:
    """Gives the true map of a particle, by its place in the truth: those of its pieces, each turned as its angle says.

    Turned ones hold what their images hold, up to Nyquist's sphere.

    Parameters
    ----------
    truth : of the set, which has maps.
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    def __call__(self, place: int | np.integer) -> np.ndarray:
        """Return the true map of one particle, (n, n, n) float32.

        Raises
        ------
        DataError : if it holds no piece, or a map cannot be read or is of another box.
        """
        pieces = self._truth.pieces(place)
        angles = np.asarray([self._angle(place, piece) for piece in pieces], np.float32)
        if not angles.any():
            return self._truth.map(place)
        total = np.zeros((self._truth.box_size,) * 3, np.float32)
        for piece, angle in zip(pieces, angles, strict=True):
            if angle == 0:
                total += self.piece(piece.file)
            else:
                rotation = np.asarray(axis_angle_to_matrix(piece.axis, np.asarray(angle)))
                total += turned_volume(self._prepared(piece.file), rotation, piece.hinge, self._truth.pixel_size)
        return total

    def _angle(self, place: int | np.integer, piece: Piece) -> float:
        return float(self._truth.known(self._truth.angles, "angles")[place, piece.column])

    def piece(self, name: str) -> np.ndarray:
        """Return the true map in a file, that of a piece, not turned."""
        path, box = self._truth.folder / name, self._truth.box_size
        volume = read_volume(path)[0]
        if volume.shape != (box,) * 3:
            raise DataError(
                f"{path}: a map of {' x '.join(map(str, volume.shape))} voxels; expected {box} along each axis, as "
                "truth.json says. Simulate the set again."
            )
        return volume

    def _prepared(self, name: str) -> np.ndarray:
        """Return a piece's map as it is turned, the last ones from memory."""
        if name not in self._kept:
            self._kept[name] = prepare_turning(self.piece(name))
        self._kept.move_to_end(name)
        while len(self._kept) > 1 and sum(piece.nbytes for piece in self._kept.values()) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[name]


@dataclass(frozen=True, eq=False)
class Target:
    """The true map of a class and the levels at which it is compared.

    Parameters
    ----------
    volume : (n, n, n), in the run's box.
    mass : Da, or None.
    """

    volume: np.ndarray
    mass: float | None


class TrueClasses:
    """The true classes of the particles of a run, and the true maps, in its box.

    Parameters
    ----------
    subject : whose box it is.
    truth : of the particles.
    places : (N,) place of each particle in the truth.
    mass : Da for every class; None takes the truth's.
    """

    def __init__(self, subject: Subject, truth: Truth, places: np.ndarray, mass: float | None) -> None:
        self._n, self._pixel_size = subject.box_size, subject.pixel_size
        self._truth, self._places, self._mass = truth, places, mass
        self._maps = TrueMaps(truth)
        self.angles = np.zeros((len(places), 0)) if truth.angles is None else truth.angles[places]
        self.label = truth.classes[places]

    def moves(self, k: int) -> bool:
        """Return whether particles of a class are turned."""
        return bool(self.angles[self.label == k].any())

    def unturned(self, k: int) -> Target:
        """Return the true map of a class, as if no particle of it were turned."""
        return self._target(self._truth.map(self._places[np.flatnonzero(self.label == k)[0]]))

    def own(self, i: int) -> Target:
        """Return the true map of one particle."""
        return self._target(self._maps(self._places[i]))

    def molecule(self, k: int) -> int:
        """Return the molecule that a class is of: the states of an assembly are of one."""
        return k if self._truth.kind == "mixture" else 0

    def pieces(self, k: int) -> tuple[list[Piece], list[np.ndarray]]:
        """Return the pieces of a class that moves, with their true maps, not turned."""
        pieces = self._truth.pieces(self._places[np.flatnonzero(self.label == k)[0]])
        maps = (self._maps.piece(piece.file) for piece in pieces)
        return pieces, [map_in_box(one, self._truth.pixel_size, self._n, self._pixel_size) for one in maps]

    def followed(
        self, molecule: int, following: Following, chosen: Int[np.ndarray, "chosen"], latent: np.ndarray | None
    ) -> dict[str, Any]:
        """Return how far the volumes of the chosen particles of a molecule follow its motion.

        Parameters
        ----------
        latent : of all particles; None where there is none.
        """
        own: Bool[np.ndarray, "particles"] = np.ones(len(self.label), bool)
        if self._truth.kind == "mixture":
            own = self.label == molecule
        latents = None if latent is None or latent.shape[1] == 0 else (latent[own], self.angles[own])
        return following.scores(self.angles[chosen[own[chosen]]], latents)

    def _target(self, true: np.ndarray) -> Target:
        mass = self._truth.mass(true) if self._mass is None else self._mass
        return Target(map_in_box(true, self._truth.pixel_size, self._n, self._pixel_size), mass)
