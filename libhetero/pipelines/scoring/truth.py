"""The truth folder that simulation writes beside a stack.

All of it is told image by image, also where several show one particle, as the tilts of a series do.

truth.json      kind, particles, box, pixel size, source; hinges and axes of motion, of each structure that moves
labels.txt      index and label of every particle (mixture, assembly)
states.npy      (N, pieces), assembly: which pieces are present
angles.npy      (N, pieces), motion, and an assembly some pieces, or a mixture some structures of which move: how far
                each is turned, radians; 0 for what does not move
atoms.npz       position, weight, piece of every atom (assembly, motion)
map_000.mrc …   one map a structure (mixture), and map_000_piece_00.mrc … one a piece where it moves; piece_00.mrc …
                one a piece (assembly, motion); none of them is turned
rotation.npy …  what each image has, where the list may tell something else; see `OF_IMAGES`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from libhetero.configuration import ArraySchema, check_options, internal, read_document, read_json
from libhetero.configuration.limits import MOST_CLASSES, MOST_LENGTH, MOST_PARTICLES
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume
from libhetero.io.arrays import read_array, read_arrays
from libhetero.io.images import open_stack
from libhetero.io.tables import read_numbers
from libhetero.physics.fourier import crop_volume
from libhetero.records import ParticleSet

FORMAT_VERSION = 1
MASS_PER_SCATTERING = 110.0 / 22.6  # Da/Å: a mean residue of protein, and its electron scattering
TRUTH = "truth.json"
KINDS = ("mixture", "assembly", "motion")
SAME_WIDTH = 0.01
AGAIN = "simulate the set again"
ATOMS = {"position": ArraySchema("float", ("atoms", 3)), "piece": ArraySchema("int", ("atoms",), least=0, below=10**4)}
OF_IMAGES = {
    "rotation": ArraySchema("float", ("particles", 3, 3)),
    "shift": ArraySchema("float", ("particles", 2)),
    "defocus": ArraySchema("float", ("particles", 2)),
    "contrast": ArraySchema("float", ("particles",), least=0),
    "noise": ArraySchema("float", ("particles",), least=0),
    "junk": ArraySchema("bool", ("particles",)),
    "micrograph": ArraySchema("int", ("particles",), least=0),
}
Axis = tuple[float, float, float]


@dataclass(frozen=True)
class MovingStructure:
    """What truth.json says of a structure of a mixture that moves, for each of its pieces, the core's first."""

    structure: int = internal(help="its number, from 0", least=0, most=MOST_CLASSES)
    hinges: tuple[Axis, ...] = internal(help="Å", least=-MOST_LENGTH, most=MOST_LENGTH)
    axes: tuple[Axis, ...] = internal(help="that they turn about", least=-MOST_LENGTH, most=MOST_LENGTH)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Piece:
    """A piece of what moves: the file of its map, its column among the angles, hinge (Å) and axis (a direction)."""

    file: str
    column: int
    hinge: Float[np.ndarray, "3"]
    axis: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class TruthDocument:
    """What truth.json says of a set, as far as it is read: lengths in Å; hinges and axes of each piece of a motion."""

    kind: str = internal(help="what differs between particles", choices=KINDS)
    particles: int = internal(help="of the set; images, where they are more", least=1, most=MOST_PARTICLES)
    box_size: int = internal(help="of the maps, voxels", least=2, most=2**15)
    pixel_size: float = internal(help="of the maps, Å", above=0, below=1e5)
    source: dict[str, Any] = internal(dict, "where the structures came from")
    hinges: tuple[Axis, ...] = internal((), "of the pieces of a motion, Å", least=-MOST_LENGTH, most=MOST_LENGTH)
    axes: tuple[Axis, ...] = internal((), "that they turn about", least=-MOST_LENGTH, most=MOST_LENGTH)
    moving_structures: tuple[MovingStructure, ...] = internal((), "of a mixture")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about a simulated set of N particles.

    Parameters
    ----------
    folder : where it was read from.
    kind : "mixture", "assembly" or "motion".
    box_size, pixel_size : of the maps, voxels and Å.
    particles : N.
    labels : (N,) int, structure or state of each particle; None for motion.
    states : (N, pieces) uint8, assembly only.
    angles : (N, pieces) float, radians, where pieces move; 0 for what does not.
    position, piece : (A, 3) Å and (A,) of the atoms; None for a mixture.
    document : what truth.json says.
    rotation, shift, defocus : (N, 3, 3), (N, 2) and (N, 2) in Å, of the images; None where the list is right.
    contrast, noise : (N,) factors of each image's signal (0 for junk) and of its noise; None where all are 1.
    junk : (N,) uint8, 1 where an image holds noise alone; None where none does.
    micrograph : (N,) int, from 0; None where there are none.
    """

    folder: Path
    kind: str
    box_size: int
    pixel_size: float
    particles: int
    labels: np.ndarray | None
    states: np.ndarray | None
    angles: np.ndarray | None
    position: np.ndarray | None
    piece: np.ndarray | None
    document: TruthDocument
    rotation: np.ndarray | None = None
    shift: np.ndarray | None = None
    defocus: np.ndarray | None = None
    contrast: np.ndarray | None = None
    noise: np.ndarray | None = None
    junk: np.ndarray | None = None
    micrograph: np.ndarray | None = None

    @property
    def has_maps(self) -> bool:
        """Whether the true map of every particle is known: not of a motion simulated before pieces had maps."""
        return self.kind != "motion" or (self.folder / "piece_00.mrc").exists()

    @property
    def classes(self) -> Int[np.ndarray, "particles"]:
        """The label of each particle, (N,) int; 0 for all of a motion, which is one structure."""
        return np.zeros(self.particles, np.int64) if self.labels is None else self.labels

    def known(self, values: np.ndarray | None, name: str) -> np.ndarray:
        """Return values that this kind of set has.

        Raises
        ------
        DataError : if it has none.
        """
        if values is None:
            raise DataError(f"{self.folder}: the truth of {self.kind} holds no {name}; expected another kind of set.")
        return values

    def parts(self, place: int | np.integer) -> list[int]:
        """Return the structure (mixture) or the pieces that are present of one particle."""
        if self.kind == "mixture":
            return [int(self.known(self.labels, "labels")[place])]
        if self.kind == "motion":
            return list(range(self.known(self.angles, "angles").shape[1]))
        return [int(k) for k in np.flatnonzero(self.known(self.states, "states")[place])]

    def pieces(self, place: int | np.integer) -> list[Piece]:
        """Return the pieces that the map of one particle is made of; none where its structure does not move."""
        if self.angles is None:
            return []
        stem, parts, hinges, axes = "", self.parts(place), self.document.hinges, self.document.axes
        if self.kind == "mixture":
            moving = [one for one in self.document.moving_structures if one.structure == parts[0]]
            if not moving:
                return []
            stem, hinges, axes = f"map_{parts[0]:03d}_", moving[0].hinges, moving[0].axes
            parts = list(range(len(hinges)))
        return [
            Piece(f"{stem}piece_{k:02d}.mrc", k, np.asarray(hinges[k], np.float32), np.asarray(axes[k], np.float32))
            for k in parts
        ]

    def map(self, place: int | np.integer) -> np.ndarray:
        """Return the true map of one particle as if no piece of it were turned, (n, n, n) float32.

        Raises
        ------
        DataError : if it holds no piece, or a map cannot be read.
        """
        stem = "map_{:03d}.mrc" if self.kind == "mixture" else "piece_{:02d}.mrc"
        if not self.parts(place):
            raise DataError(
                f"{self.folder / 'states.npy'}: particle {place + 1} has no piece; expected the core at least. "
                "Simulate the set again."
            )
        parts = [read_volume(self.folder / stem.format(k))[0] for k in self.parts(place)]
        return np.stack(parts).sum(axis=0, dtype=np.float32)

    def mass(self, volume: np.ndarray) -> float | None:
        """Return the mass in Da of a true map, from its sum; None where the set was made from maps.

        A map made from atoms or beads sums to their electron scattering in Å.
        """
        if not self.document.source or "maps" in self.document.source:
            return None
        return float(volume.sum()) * MASS_PER_SCATTERING


def truth_of(particles: ParticleSet, folder: str | None) -> Truth:
    """Open the truth of particles.

    Parameters
    ----------
    particles : of a run or a classification.
    folder : of the truth; None for the folder truth beside their stack.

    Raises
    ------
    UserError : one line if there is none there.
    """
    beside = Path(particles.files[0]).parent / "truth"
    if folder is None and not beside.is_dir():
        raise ConfigurationError(
            f"{beside}: no such folder; expected the truth beside the stack. Give it with --truth."
        )
    return open_truth(beside if folder is None else folder)


def open_truth(folder: str | Path) -> Truth:
    """Read a truth folder, or that of the simulated set which is given in its place.

    Raises
    ------
    DataError : if a file is missing or damaged, or the files disagree about the number of particles.
    ConfigurationError : if truth.json is missing or does not describe a set.
    """
    folder = Path(folder)
    if not (folder / TRUTH).is_file() and (folder / "truth" / TRUTH).is_file():
        folder = folder / "truth"
    path = folder / TRUTH
    if not path.is_file():
        raise ConfigurationError(
            f"{folder}: {f'holds no {TRUTH}' if folder.is_dir() else 'no such folder'}; expected the folder truth of a "
            "set that e2hype_simulate.py made."
        )
    values = read_json(path)
    kind, version = values.get("kind"), values.get("format_version")
    if version != FORMAT_VERSION or kind not in KINDS:
        raise DataError(
            f"{path}: format_version {version}, kind {kind}; expected "
            f"{FORMAT_VERSION} and one of {', '.join(KINDS)}. Simulate it again with this version."
        )
    said = read_document(path, TruthDocument)
    labels = states = angles = position = piece = None
    if said.kind != "motion":
        labels = _labels(folder / "labels.txt", said.particles)
    if said.kind == "assembly":
        states = _of_particles(folder / "states.npy", ArraySchema("bool", ("particles", "pieces")), said.particles)
    if said.kind == "motion" or (folder / "angles.npy").exists():
        angles = _of_particles(folder / "angles.npy", ArraySchema("float", ("particles", "pieces")), said.particles)
    if said.kind != "mixture":
        atoms = read_arrays(folder / "atoms.npz", ATOMS, AGAIN)
        position, piece = atoms["position"], atoms["piece"]
        for table in filter(lambda table: table is not None, (states, angles)):
            _check_pieces(folder, said, table, piece, turned=table is angles)
    elif angles is not None:
        _check_moving(folder, said, labels, angles)
    return Truth(
        folder=folder,
        kind=said.kind,
        box_size=said.box_size,
        pixel_size=said.pixel_size,
        particles=said.particles,
        labels=labels,
        states=states,
        angles=angles,
        position=position,
        piece=piece,
        document=said,
        **_of_images(folder, said.particles),
    )


def _of_images(folder: Path, particles: int) -> dict[str, np.ndarray]:
    """Return those of `OF_IMAGES` that a truth holds."""
    held = [name for name in OF_IMAGES if (folder / f"{name}.npy").exists()]
    return {name: _of_particles(folder / f"{name}.npy", OF_IMAGES[name], particles) for name in held}


def _labels(path: Path, particles: int) -> np.ndarray:
    """Return the label of each particle, which labels.txt names once each."""
    table = read_numbers(path, "particle index and label", least=2, most=2, whole=(0, 1), rows=particles)
    _check_count(path, table, particles)
    index = table[:, 0].astype(np.int64)
    if not np.array_equal(np.sort(index), np.arange(particles)) or table[:, 1].min() < 0:
        raise DataError(
            f"{path}: expected every particle from 0 to {particles - 1} once, with a label from 0; {AGAIN}."
        )
    labels = np.empty(particles, np.int64)
    labels[index] = table[:, 1]
    return labels


def _of_particles(path: Path, said: ArraySchema, particles: int) -> np.ndarray:
    table = read_array(path, said, AGAIN)
    _check_count(path, table, particles)
    return table


def _check_count(path: Path, rows: np.ndarray, particles: int) -> None:
    if len(rows) != particles:
        raise DataError(
            f"{path}: {len(rows)} particles; expected {particles} as truth.json says. Simulate the set again."
        )


def _check_pieces(folder: Path, said: TruthDocument, table: Any, piece: np.ndarray, turned: bool) -> None:
    """Refuse atoms of pieces that particles say nothing of, and pieces that turn about nothing."""
    pieces, highest = table.shape[1], int(piece.max(initial=0))
    if highest >= pieces:
        raise DataError(f"{folder / 'atoms.npz'}: piece {highest}; expected pieces below {pieces}; {AGAIN}.")
    if turned and not len(said.hinges) == len(said.axes) == pieces:
        raise DataError(
            f"{folder / 'truth.json'}: {len(said.hinges)} hinges and {len(said.axes)} axes; expected {pieces} of each, "
            f"one a piece; {AGAIN}."
        )


def _check_moving(folder: Path, said: TruthDocument, labels: Any, angles: np.ndarray) -> None:
    """Refuse particles of a mixture that are turned and of a structure that is not said to move."""
    pieces, moving = angles.shape[1], [one.structure for one in said.moving_structures]
    if not np.isin(labels[angles.any(axis=1)], moving).all():
        raise DataError(
            f"{folder / 'angles.npy'}: turns structures that truth.json does not name among its moving_structures; "
            f"{AGAIN}."
        )
    for one in said.moving_structures:
        if not len(one.hinges) == len(one.axes) == pieces:
            raise DataError(
                f"{folder / 'truth.json'}: structure {one.structure} has {len(one.hinges)} hinges and {len(one.axes)} "
                f"axes; expected {pieces} of each, one a piece; {AGAIN}."
            )


def places_in_truth(particles: ParticleSet, truth: Truth) -> np.ndarray:
    """Return where each particle stands in the truth, (N,) int: its place in the one simulated stack.

    Raises
    ------
    DataError : if the particles are not of the stack that the truth was written with: of several, of one that has
        another number of images, or of another than lies beside the truth.
    """
    places = np.asarray(particles.image_index)
    found = f"{len(particles.files)} stacks"
    if len(particles.files) == 1:
        stack = particles.files[0]
        beside = truth.folder.parent / Path(stack).name
        images = _images(stack)
        if places.max() < truth.particles and images in (None, truth.particles) and _same_file(stack, beside):
            return places
        found = stack if images is None else f"{stack}, of {images} images"
    raise DataError(
        f"{truth.folder}: knows {truth.particles} particles, the run has {len(particles)} from {found}; "
        "expected particles of one simulated stack, whole. Give the truth that was written beside it."
    )


def _images(stack: str) -> int | None:
    """Return how many images a stack holds; None where it is not at hand."""
    if not Path(stack).exists():
        return None
    opened = open_stack(stack)
    try:
        return opened.count
    finally:
        opened.close()


def _same_file(stack: str, beside: Path) -> bool:
    """Return whether a stack may be the one of its name beside a truth: there is none, or it is as large."""
    if not (beside.exists() and Path(stack).exists()):
        return True
    return beside.samefile(stack) or beside.stat().st_size == Path(stack).stat().st_size


def map_in_box(volume: np.ndarray, pixel_size: float, n: int, wanted: float) -> np.ndarray:
    """Return a map Fourier cropped to n voxels of `wanted` Å.

    Parameters
    ----------
    volume : (m, m, m), m ≥ n, voxels of `pixel_size` Å.

    Raises
    ------
    DataError : if the two boxes are not equally wide, or the map's is coarser.
    """
    m = len(volume)
    if m < n or abs(m * pixel_size / (n * wanted) - 1) > SAME_WIDTH:
        raise DataError(
            f"the true maps are {m} voxels of {pixel_size:g} Å, the run's images {n} pixels of "
            f"{wanted:g} Å; expected boxes of equal width, the truth's no coarser. "
            "Give the truth that was written beside the stack."
        )
    return np.asarray(crop_volume(jnp.asarray(volume, jnp.float32), n))
