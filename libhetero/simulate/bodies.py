"""Rigid bodies: pieces of a structure, each a density in a box of its own.

A particle is a sum of bodies, each present or not and each turned by Q about a hinge h:

    F(k) = Σ_b present_b · V_b((R Q_b)ᵀ k) · exp(-2πi k·x_b),   x_b = R (Q_b (c_b - h_b) + h_b) + t

with V_b the transform of body b about its own centre c_b. A small box about each body keeps
the interpolation of slices accurate and the memory low.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Complex, Float

from libhetero.io.atoms import Atoms
from libhetero.physics.pytrees import register_record
from libhetero.physics.rotations import HIGHEST, axis_angle_to_matrix, rotate_points
from libhetero.physics.slices import kernel_correction, project_volume
from libhetero.records import Gaussians, Pose
from libhetero.simulate.atoms import density_of_atoms
from libhetero.simulate.density import cut_or_pad, real_density, structure_factor

PADDING = 3  # of small boxes; large ones take 2 to save memory
LARGE_BOX = 128  # voxels
MARGIN = 10.0  # Å of empty space about a body


@dataclass(frozen=True, eq=False)
class Body:
    """One rigid piece.

    Parameters
    ----------
    volume : float32 (z, y, x), origin m // 2, voxels of the images' pixel size.
    centre : float32, Å (x, y, z), where that origin lies in the model.
    hinge : float32, Å, in the model; the point the body turns about.
    axis : float32, of length 1, in the model; the direction it turns about, right-handed.
    """

    volume: Float[np.ndarray, "m m m"]
    centre: Float[np.ndarray, "3"]
    hinge: Float[np.ndarray, "3"] = field(default_factory=lambda: np.zeros(3, np.float32))
    axis: Float[np.ndarray, "3"] = field(default_factory=lambda: np.array([0, 0, 1], np.float32))


@register_record
@dataclass(frozen=True, eq=False)
class PreparedBodies:
    """Bodies as `project_bodies` reads them.

    Parameters
    ----------
    transforms : oversampled transforms from `prepare_map`: (1, p, p, p // 2 + 1) of the core, and
        (bodies - 1, q, q, q // 2 + 1) of the other bodies where there are any.
    centre, hinge, axis : Å, and a direction, in the model.
    """

    transforms: tuple[Complex[Array, "..."], ...]
    centre: Float[Array, "bodies 3"]
    hinge: Float[Array, "bodies 3"]
    axis: Float[Array, "bodies 3"]


def body_of_gaussians(gaussians: Gaussians, pixel_size: float) -> Body:
    """Return the body of one piece given as Gaussians (NumPy arrays), positions in the model."""
    centre, n = _own_box(gaussians.position, pixel_size, 3 * float(gaussians.sigma.max()))
    volume = map_of_gaussians(gaussians, n, pixel_size, centre)
    return Body(volume, centre)


def body_of_atoms(atoms: Atoms, pixel_size: float) -> Body:
    """Return the body of one piece given as atoms, positions in the model."""
    centre, n = _own_box(atoms.position, pixel_size, MARGIN)
    return Body(map_of_atoms(atoms, n, pixel_size, centre), centre)


def body_of_map(volume: Float[np.ndarray, "n n n"]) -> Body:
    """Return the body of one piece given as a map of the images' box and pixel size."""
    return Body(np.asarray(volume, np.float32), np.zeros(3, np.float32))


def map_of_gaussians(
    gaussians: Gaussians, n: int, pixel_size: float, centre: Any = (0.0, 0.0, 0.0)
) -> Float[np.ndarray, "n n n"]:
    """Return the map of Gaussians about `centre` (Å)."""
    position = gaussians.position - np.asarray(centre)
    variance = gaussians.sigma.astype(np.float64) ** 2
    return real_density(structure_factor(position, gaussians.amplitude, variance, n, pixel_size))


def map_of_atoms(atoms: Atoms, n: int, pixel_size: float, centre: Any = (0.0, 0.0, 0.0)) -> Float[np.ndarray, "n n n"]:
    """Return the map of atoms about `centre` (Å)."""
    moved = dataclasses.replace(atoms, position=atoms.position - np.asarray(centre, np.float32))
    return density_of_atoms(moved, n, pixel_size)


def _own_box(position: np.ndarray, pixel_size: float, margin: float) -> tuple[np.ndarray, int]:
    """Return the middle of a piece and an even box that holds it with its margin, voxels."""
    low, high = position.min(axis=0), position.max(axis=0)
    centre = (0.5 * (low + high)).astype(np.float32)
    half = 0.5 * float(np.max(high - low)) + margin
    return centre, 2 * int(np.ceil(half / pixel_size) + 3)


def prepare_bodies(bodies: list[Body], step: int = 2) -> PreparedBodies:
    """Transform the bodies of one structure for slicing.

    Parameters
    ----------
    bodies : the core first.
    step : voxels (even); boxes are padded to a multiple of it.
    """
    groups = [[body.volume for body in group] for group in (bodies[:1], bodies[1:]) if group]
    return PreparedBodies(
        transforms=tuple(_prepare_group(group, step) for group in groups),
        centre=jnp.asarray(np.stack([body.centre for body in bodies])),
        hinge=jnp.asarray(np.stack([body.hinge for body in bodies])),
        axis=jnp.asarray(np.stack([body.axis for body in bodies])),
    )


def _prepare_group(volumes: list[np.ndarray], step: int) -> Array:
    """Bring maps to one box and transform them, (maps, p, p, p // 2 + 1) complex64."""
    box = step * -(-max(volume.shape[0] for volume in volumes) // step)
    padding = PADDING if box <= LARGE_BOX else 2
    prepared = [prepare_map(cut_or_pad(v, box), padding) for v in volumes]
    return jnp.asarray(np.stack(prepared) if len(prepared) > 1 else prepared[0][None])


def prepare_map(volume: Float[np.ndarray, "n n n"], padding: int) -> Complex[np.ndarray, "padded padded half"]:
    """Do what `physics.slices.prepare_volume` does, on the host: no compilation for every box.

    Each axis is padded when its turn comes, so that no line of zeros is ever transformed.
    """
    n = volume.shape[0]
    padded = padding * n
    lines = _wrapped(volume * kernel_correction(n, padded), padded, axis=2)
    transform = scipy.fft.rfft(lines, axis=2)
    for axis in (0, 1):
        wrapped = _wrapped(transform, padded, axis)
        transform = scipy.fft.fft(wrapped, axis=axis, overwrite_x=True)
    transform[0, 0, 0] = volume.sum()
    return transform


def _wrapped(values: np.ndarray, padded: int, axis: int) -> np.ndarray:
    """Pad one axis with zeros and bring its origin, n // 2, to 0: negative places come last."""
    n = values.shape[axis]
    shape = list(values.shape)
    shape[axis] = padded
    result = np.zeros(shape, values.dtype)
    old, new = np.moveaxis(values, axis, 0), np.moveaxis(result, axis, 0)
    new[: n - n // 2], new[padded - n // 2 :] = old[n // 2 :], old[: n // 2]
    return result


def project_bodies(
    bodies: PreparedBodies,
    present: Float[Array, "bodies"],
    angle: Float[Array, "bodies"] | None,
    pose: Pose,
    n: int,
    pixel_size: float,
    kept: int | None = None,
) -> Complex[Array, "kept half2"]:
    """Return the Fourier image of one particle, without CTF.

    Parameters
    ----------
    bodies : from `prepare_bodies`.
    present : weight of each body, 0 or 1.
    angle : radians about each body's axis; None when nothing moves.
    pose : of the particle.
    n : box size, pixels.
    pixel_size : Å.
    kept : pixels of the image after Fourier cropping, when only these are wanted; None for n.
    """
    kept = kept or n

    def one(transform: Array, b: Array) -> Array:
        rotation, centre = pose.rotation, bodies.centre[b]
        if angle is not None:
            turn = axis_angle_to_matrix(bodies.axis[b], angle[b])
            rotation = jnp.matmul(rotation, turn, precision=HIGHEST)
            hinge = bodies.hinge[b]
            centre = rotate_points(turn, (centre - hinge)[None])[0] + hinge
        shift = rotate_points(pose.rotation, centre[None])[0, :2] + pose.shift
        return present[b] * project_volume(transform, Pose(rotation=rotation, shift=shift), n, pixel_size, kept)

    total, first = jnp.zeros((kept, kept // 2 + 1), jnp.complex64), 0
    for group in bodies.transforms:
        numbers = jnp.arange(first, first + group.shape[0])
        total = total + jnp.sum(jax.vmap(one)(group, numbers), axis=0)
        first += group.shape[0]
    return total
