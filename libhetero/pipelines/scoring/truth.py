"""The truth folder that simulation writes beside a stack.

truth.json      kind, particles, box, pixel size, source; hinges and axes of motion
labels.txt      index and label of every particle (mixture, assembly)
states.npy      (N, pieces), assembly: which pieces are present
angles.npy      (N, pieces), motion: how far each piece is turned, radians
atoms.npz       position, weight, piece of every atom (assembly, motion)
map_000.mrc …   one map a structure (mixture); piece_00.mrc … one a piece (assembly)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from libhetero.configuration import read_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_volume
from libhetero.physics.fourier import crop_volume
from libhetero.pipelines.run.folder import Run
from libhetero.records import ParticleSet

FORMAT_VERSION = 1
MASS_PER_SCATTERING = 110.0 / 22.6  # Da/Å: a mean residue of protein, and its electron scattering
KINDS = ("mixture", "assembly", "motion")
SAME_WIDTH = 0.01


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
    angles : (N, pieces) float, radians, motion only.
    position, piece : (A, 3) Å and (A,) of the atoms; None for a mixture.
    values : truth.json as it stands.
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
    values: dict[str, Any]

    @property
    def has_maps(self) -> bool:
        """Whether the true map of every particle is known: not for motion, where all differ."""
        return self.kind != "motion"

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
        """Return the structure (mixture) or the present pieces (assembly) of one particle."""
        if self.kind == "mixture":
            return [int(self.known(self.labels, "labels")[place])]
        return [int(k) for k in np.flatnonzero(self.known(self.states, "states")[place])]

    def map(self, place: int | np.integer) -> np.ndarray:
        """Return the true map of one particle, (n, n, n) float32."""
        stem = "map_{:03d}.mrc" if self.kind == "mixture" else "piece_{:02d}.mrc"
        parts = [read_volume(self.folder / stem.format(k))[0] for k in self.parts(place)]
        return np.stack(parts).sum(axis=0, dtype=np.float32)

    def mass(self, volume: np.ndarray) -> float | None:
        """Return the mass in Da of a true map, from its sum; None where the set was made from maps.

        A map made from atoms or beads sums to their electron scattering in Å.
        """
        if "maps" in self.values.get("source", {"maps": ()}):
            return None
        return float(volume.sum()) * MASS_PER_SCATTERING


def truth_of_run(run: Run, folder: str | None) -> Truth:
    """Open the truth of a run's particles.

    Parameters
    ----------
    folder : of the truth; None for the folder truth beside the run's stack.

    Raises
    ------
    UserError : one line if there is none there.
    """
    beside = Path(run.particles.files[0]).parent / "truth"
    if folder is None and not beside.is_dir():
        raise ConfigurationError(
            f"{beside}: no such folder; expected the truth beside the stack. Give it with --truth."
        )
    return open_truth(beside if folder is None else folder)


def open_truth(folder: str | Path) -> Truth:
    """Read a truth folder.

    Raises
    ------
    DataError : if a file is missing, or the files disagree about the number of particles.
    ConfigurationError : if truth.json is missing or is not JSON.
    """
    folder = Path(folder)
    values = read_json(folder / "truth.json")
    kind, version = values.get("kind"), values.get("format_version")
    if version != FORMAT_VERSION or kind not in KINDS:
        raise DataError(
            f"{folder / 'truth.json'}: format_version {version}, kind {kind}; expected "
            f"{FORMAT_VERSION} and one of {', '.join(KINDS)}. Simulate it again with this version."
        )
    particles = int(values["particles"])
    labels = states = angles = None
    if kind != "motion":
        table = _load(folder / "labels.txt", lambda path: np.loadtxt(path, np.int64, ndmin=2))
        labels = np.full(particles, -1)
        _check_count(folder / "labels.txt", table, particles)
        labels[table[:, 0]] = table[:, 1]
    if kind == "assembly":
        states = _load(folder / "states.npy", np.load)
        _check_count(folder / "states.npy", states, particles)
    if kind == "motion":
        angles = _load(folder / "angles.npy", np.load)
        _check_count(folder / "angles.npy", angles, particles)
    position = piece = None
    if kind != "mixture":
        atoms = _load(folder / "atoms.npz", lambda path: dict(np.load(path)))
        position, piece = atoms["position"], atoms["piece"]
    return Truth(
        folder,
        kind,
        int(values["box_size"]),
        float(values["pixel_size"]),
        particles,
        labels,
        states,
        angles,
        position,
        piece,
        values,
    )


def _check_count(path: Path, rows: np.ndarray, particles: int) -> None:
    if len(rows) != particles:
        raise DataError(
            f"{path}: {len(rows)} particles; expected {particles} as truth.json says. Simulate the set again."
        )


def _load(path: Path, read: Any) -> Any:
    try:
        return read(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected it in a truth folder.") from None
    except (ValueError, IndexError) as error:
        raise DataError(f"{path}: damaged ({error}); simulate the set again.") from None


def places_in_truth(particles: ParticleSet, truth: Truth) -> np.ndarray:
    """Return where each particle stands in the truth, (N,) int: its place in the one simulated stack.

    Raises
    ------
    DataError : if the particles are not of one stack that the truth covers.
    """
    places = np.asarray(particles.image_index)
    if len(particles.files) == 1 and places.max() < truth.particles:
        return places
    if len(particles) == truth.particles:
        return np.arange(truth.particles)
    raise DataError(
        f"{truth.folder}: knows {truth.particles} particles, the run has {len(particles)} from "
        f"{len(particles.files)} stacks; expected particles of one simulated stack. "
        "Give the truth that was written beside it."
    )


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
