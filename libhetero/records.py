"""The records that travel between the parts.

`Pose`, `CTFParams`, `Observation`, `Gaussians`, `Batch` and `Posterior` hold arrays (NumPy or JAX) and are pytrees
once `libhetero.physics` is imported; `ParticleSet` describes particles whose images stay on disk.
Units: Å, radians, kV, mm for the spherical aberration. Underfocus is positive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from libhetero.errors import DataError

OneEach = float | Float[Any, "*batch"]  # a number, or one for each particle


def _take(record: Any, index: Any) -> Any:
    """Index the leading axis of every array of a record; what is absent (None) stays so."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return type(record)(**{name: None if value is None else value[index] for name, value in values.items()})


@dataclass(frozen=True, eq=False, kw_only=True)
class Pose:
    """Where the model lies in each image: p' = R p + t, projection along z'.

    Parameters
    ----------
    rotation : takes model coordinates to image coordinates; left-multiplies
        column vectors (x, y, z) measured from the box centre n // 2. In a `Batch` it may be stretched by the
        magnification (`libhetero.physics.observation.seen_through`).
    shift : Å, (x, y) in the image frame: where the model's origin lands.
    """

    rotation: Float[Any, "*batch 3 3"]
    shift: Float[Any, "*batch 2"]

    def take(self, index: Any) -> Pose:
        """Return the poses at `index` of the leading axis."""
        return _take(self, index)


@dataclass(frozen=True, eq=False, kw_only=True)
class CTFParams:
    """Contrast transfer function parameters: numbers, or arrays of one shape.

    Parameters
    ----------
    defocus_u, defocus_v : Å, underfocus positive, along and across `defocus_angle`.
    defocus_angle : radians from the x axis towards y.
    voltage : kV.
    spherical_aberration : mm.
    amplitude_contrast : fraction, 0 to 1.
    phase_shift : radians (phase plate); 0 when absent.
    b_factor : Å², envelope exp(-B s² / 4); 0 when absent.
    scale : overall factor; 1 when absent.
    magnification : M; the optics see the pixel at frequency k as M k. None for the same in all directions.
    beam_tilt : radians, (x, y); None for none.
    even_zernike, odd_zernike : radians, phases that Zernike polynomials of M k in 1/Å are multiplied by, in the
        order of `libhetero.physics.zernike`; None for none.
    exposure : e⁻/Å², what the particle had received when the image was taken, its own half exposure counted; the
        signal fades by it (`libhetero.physics.ctf.exposure_filter`). None where `b_factor` says so, or nothing does.
    """

    defocus_u: OneEach
    defocus_v: OneEach
    defocus_angle: OneEach
    voltage: OneEach
    spherical_aberration: OneEach
    amplitude_contrast: OneEach
    phase_shift: OneEach
    b_factor: OneEach
    scale: OneEach
    magnification: Float[Any, "*batch 2 2"] | None = None
    beam_tilt: Float[Any, "*batch 2"] | None = None
    even_zernike: Float[Any, "*batch even"] | None = None
    odd_zernike: Float[Any, "*batch odd"] | None = None
    exposure: OneEach | None = None

    def take(self, index: Any) -> CTFParams:
        """Return the parameters at `index` of the leading axis."""
        return _take(self, index)

    def columns(self) -> dict[str, Any]:
        """Return the parameters by name; what is absent (None) is left out."""
        return {name: column for name, column in vars(self).items() if column is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    """How a particle was seen: all that stands between a molecule and its image but the noise.

    `libhetero.physics.observation` says how the image comes of it. A factor that each particle has of its
    own is a field here and a line there; one that the list states is a field of `Batch`, too, which passes it on.

    Parameters
    ----------
    pose : where the model lies in the image.
    ctf : the optics; None for an image without CTF.
    contrast : factor of the particle's own, above the set's (thicker ice or a worse particle below 1), which no list
        states and models estimate; None for 1. Its sign is the stack's (`ParticleSet.contrast`) and not in it.
    """

    pose: Pose
    ctf: CTFParams | None
    contrast: OneEach | None = None


@dataclass(frozen=True, eq=False)
class Gaussians:
    """A Gaussian mixture: density(p) = Σ_i A_i (2π σ_i²)^(-3/2) exp(-|p - p_i|² / 2σ_i²).

    Parameters
    ----------
    position : Å, (x, y, z) from the box centre.
    amplitude : integral of each Gaussian (linear in the projected density).
    sigma : Å.
    """

    position: Float[Any, "*batch gaussians 3"]
    amplitude: Float[Any, "*batch gaussians"]
    sigma: Float[Any, "*batch gaussians"]

    def take(self, index: Any) -> Gaussians:
        """Return the mixtures (or Gaussians) at `index` of the leading axis."""
        return _take(self, index)


@dataclass(frozen=True, eq=False)
class Batch:
    """Particles as a model sees them.

    Parameters
    ----------
    images : float32, real space, white protein, normalised.
    pose : leading axis batch.
    ctf : leading axis batch.
    index : int32, place of each particle in its ParticleSet.
    weight : float32, 1, or 0 for padding that must change nothing.
    views : images of each particle: rows i·views to (i + 1)·views show one, as the tilts of a series do. What a
        particle lacks of them is padding.
    """

    images: Float[Any, "batch n n"]
    pose: Pose
    ctf: CTFParams
    index: Integer[Any, "batch"]
    weight: Float[Any, "batch"]
    views: int = field(default=1, metadata={"static": True})  # no array: part of the pytree's structure

    @property
    def observation(self) -> Observation:
        """How each particle was seen."""
        return Observation(pose=self.pose, ctf=self.ctf)


@dataclass(frozen=True)
class Direction:
    """One direction in which a set's particles change.

    Parameters
    ----------
    kind : "amplitude" or "motion", what of the molecule changes.
    strength : mean over particles of the variance of its signal over that of noise.
    p : the chance that nothing gives as much.
    """

    kind: str
    strength: float
    p: float


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseChange:
    """What poses are off by: a particle was seen at R' = exp([turn]×) R, t' = t + shift, with (R, t) the given pose.

    Parameters
    ----------
    turn : radians, about the axes x, y and z (the direction of view) of the image.
    shift : Å, along x and y of the image.
    turn_deviation, shift_deviation : their posterior standard deviations.
    """

    turn: Float[Any, "*batch 3"]
    shift: Float[Any, "*batch 2"]
    turn_deviation: Float[Any, "*batch 3"]
    shift_deviation: Float[Any, "*batch 2"]

    def take(self, index: Any) -> PoseChange:
        """Return what the poses at `index` of the leading axis are off by."""
        return _take(self, index)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a model says of each particle, having seen its image.

    Parameters
    ----------
    latent : posterior mean, as `ModelFamily.encode` gives it.
    deviation : posterior standard deviation of each latent number; NaN where the family does not know it.
    contrast : of the particle relative to the set, the estimate of its image alone (of highest likelihood); 1 where it
        is not estimated.
    contrast_deviation : its standard deviation; 0 where it is not estimated.
    evidence : log p(image | model) - log p(image | noise alone), nats, the contrast integrated over.
    poses : what the given poses are off by; None where they are not refined with the latent.
    """

    latent: Float[Any, "batch latent"]
    deviation: Float[Any, "batch latent"]
    contrast: Float[Any, "batch"]
    contrast_deviation: Float[Any, "batch"]
    evidence: Float[Any, "batch"]
    poses: PoseChange | None = None


@dataclass(frozen=True, eq=False)
class SourceTable:
    """The table a particle set was read from, carried whole so that export loses no column.

    Parameters
    ----------
    format : "star", "cs", "lst", "hdf", "mrcs" or "txt": the suffix of such files, without its dot.
    data : what the reader of that format needs to write it again: a table with its `path`, or the path
        alone where a file has no further columns; opaque elsewhere.
    rows : row of `data` for each particle.
    """

    format: str
    data: Any
    rows: Integer[np.ndarray, "particles"]


@dataclass(frozen=True, eq=False)
class ParticleEstimates:
    """What a model found of each particle, for the lists that it is written into.

    Parameters
    ----------
    contrast : relative to the set.
    junk : probability that it shows nothing of the molecule.
    """

    contrast: Float[np.ndarray, "particles"]
    junk: Float[np.ndarray, "particles"]


@dataclass(frozen=True, eq=False)
class GivenPoses:
    """The poses that refined ones have replaced, for the lists that keep both.

    Parameters
    ----------
    pose : as the source states it.
    change : from it to the refined one.
    """

    pose: Pose
    change: PoseChange


@dataclass(frozen=True, eq=False)
class ParticleSet:
    """Particles whose images stay on disk.

    Parameters
    ----------
    files : stack paths, absolute; the same file appears once.
    file_id : index into `files`.
    image_index : 0-based place in that stack.
    box_size : pixels.
    pixel_size : Å per pixel.
    pose : None when the source holds none.
    ctf : None when the source holds none.
    contrast : +1 protein white as stored, -1 protein dark, 0 not known.
    phase_flipped : True when the images already carry the sign of the CTF.
    half_set : 0 or 1; None when absent.
    group : particle that each image shows, of a tilt series or a movie, from 0; None where each shows its own.
    tilt : degrees, of the stage for each image of a tilt series, without a sign where the list tells none; None when
        absent.
    series : what `group` says in the list, of images that are taken for particles of their own all the same; None
        otherwise. Only lists that are written go by it.
    source : the table it was read from; None for a set made in memory.
    estimates : a model's, which lists name; None for none.
    given : the source's poses, where `pose` holds refined ones; None where it holds the source's.
    """

    files: tuple[str, ...]
    file_id: Integer[np.ndarray, "particles"]
    image_index: Integer[np.ndarray, "particles"]
    box_size: Integer[np.ndarray, "particles"]
    pixel_size: Float[np.ndarray, "particles"]
    pose: Pose | None = None
    ctf: CTFParams | None = None
    contrast: int = 0
    phase_flipped: bool = False
    half_set: Integer[np.ndarray, "particles"] | None = None
    group: Integer[np.ndarray, "particles"] | None = None
    tilt: Float[np.ndarray, "particles"] | None = None
    series: Integer[np.ndarray, "particles"] | None = None
    source: SourceTable | None = None
    estimates: ParticleEstimates | None = None
    given: GivenPoses | None = None

    def __len__(self) -> int:
        return len(self.file_id)

    def take(self, index: np.ndarray | slice) -> ParticleSet:
        """Return the particles at `index`, in that order, with their rows of the table."""
        index = np.arange(len(self))[index]
        source, given = self.source, self.given
        if source is not None:
            source = dataclasses.replace(source, rows=source.rows[index])
        return dataclasses.replace(
            self,
            file_id=self.file_id[index],
            image_index=self.image_index[index],
            box_size=self.box_size[index],
            pixel_size=self.pixel_size[index],
            pose=None if self.pose is None else self.pose.take(index),
            ctf=None if self.ctf is None else self.ctf.take(index),
            half_set=None if self.half_set is None else self.half_set[index],
            group=None if self.group is None else self.group[index],
            tilt=None if self.tilt is None else self.tilt[index],
            series=None if self.series is None else self.series[index],
            source=source,
            estimates=None if self.estimates is None else _take(self.estimates, index),
            given=None if given is None else GivenPoses(given.pose.take(index), given.change.take(index)),
        )

    def poses_and_ctfs(self) -> tuple[Pose, CTFParams]:
        """Return where and how each particle was imaged.

        Raises
        ------
        DataError : if the source holds no poses or no CTF.
        """
        pose, ctf = self.pose, self.ctf
        if pose is None or ctf is None:
            name = "pose" if pose is None else "ctf"
            raise DataError(f"the particles have no {name}; expected one for each image.")
        return pose, ctf

    @property
    def distinct(self) -> int:
        """How many particles the images show."""
        return len(self) if self.group is None else len(np.unique(self.group))

    def rows_by_file(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each stack that particles lie in, by its place in `files`, with their places here.

        In time that grows with the particles, however many stacks there are.
        """
        order = np.argsort(self.file_id, kind="stable")
        found, first = np.unique(self.file_id[order], return_index=True)
        for file_id, start, stop in zip(found, first, [*first[1:], len(order)], strict=False):
            yield int(file_id), order[start:stop]

    def uniform_box_size(self) -> int:
        """Return the one box size of all particles, in pixels.

        Raises
        ------
        DataError : if the set is empty or holds several box sizes.
        """
        return int(self._uniform("box size", self.box_size, "pixels"))

    def uniform_pixel_size(self) -> float:
        """Return the one pixel size of all particles, in Å.

        Raises
        ------
        DataError : if the set is empty or holds several pixel sizes.
        """
        return float(self._uniform("pixel size", np.round(self.pixel_size, 5), "Å"))

    def _uniform(self, name: str, values: np.ndarray, unit: str) -> Any:
        found = np.unique(values)
        if len(found) == 0:
            raise DataError("the particle set is empty: expected at least one particle, found 0.")
        if len(found) > 1:
            raise DataError(
                f"the particles have {len(found)} values of {name} ({found[0]:g} to {found[-1]:g} "
                f"{unit}); expected one. Select one optics group, or resample them to one."
            )
        return found[0]
