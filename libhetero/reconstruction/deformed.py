"""Backprojection of particles that move: every image is put back through its particle's own displacement field.

A particle's density is that of the resting molecule V, of which what is at x has gone to x + u_i(x):

    X_i = C_i A_i V + noise,      (A_i V)(p) = ∫ V(x) δ(p - [R_i (x + u_i(x)) + t_i]_xy) dx

The adjoint of A_i reads the image where x has gone to, (A_i* g)(x) = g([R_i (x + u_i(x)) + t_i]_xy). Where nothing
moves it is the backprojection of `libhetero.reconstruction.backproject`, and only the part m of space moves in which
the molecule is. So the sums there are corrected by the difference alone,

    N(x) += m(x) Σ_i [ g_i([R_i (x + u_i(x))]_xy) - g_i([R_i x]_xy) ],      g_i = C_i X_i, moved back to its origin,

read in real space, bilinearly on a grid three times as fine. They are those of particles at rest, to the bit, where
u = 0. D, the weights, stay as they are: they are those of Σ A_i* C_i² A_i as long as there are many particles, in
whose directions they are spread smoothly, and pieces turn in them by little beside that.

u_i is known at Gaussians, p_j → p_j + d_ij, and carried to x by moving least squares: the affine field that fits the
nearest ones best, with weights k_j = exp(-|x - p_j|² / 2 s²) and s the distance of the farthest of them over two,

    u_i(x) = Σ_j w_j(x) d_ij,      w_j = k_j (1 + (x - x̄)ᵀ (S + λ s² I)⁻¹ (p_j - x̄)) / Σ k

with x̄ and S mean and covariance of the p_j, weighted by k. A piece that turns as a rigid body is followed exactly but
for λ, which keeps the fit from being led by noise where Gaussians lie in a plane.

References
----------
Schwab et al., Nat. Methods 21 (2024) 1855 (DynaMight): backprojection along deformed lines.
Lancaster & Salkauskas, Math. Comp. 37 (1981) 141: moving least squares.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from scipy.spatial import cKDTree

from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import fourier_volume, frequencies_2d, real_image
from libhetero.physics.pytrees import register_record
from libhetero.physics.rotations import HIGHEST
from libhetero.physics.slices import kernel_correction
from libhetero.reconstruction.sums import Sums, returned_plane
from libhetero.records import Batch

NEIGHBOURS = 12  # Gaussians that say where a voxel goes
RIDGE = 0.01  # λ
FINER = 3  # grid of the images that are read
CHUNK = 4096  # voxels in hand at a time
BLOCK = 2**17  # the same of their neighbours


@register_record
@dataclass(frozen=True, eq=False)
class Moving:
    """The voxels that move with a molecule, in chunks of equal length, the last filled up with presence 0.

    Parameters
    ----------
    place : x, Å from the box centre.
    neighbour : the Gaussians that say where each goes.
    share : w of each of them.
    presence : m, 0 to 1.
    voxel : flat index in the box.
    """

    place: Float[AnyArray, "chunks voxels 3"]
    neighbour: Int[AnyArray, "chunks voxels neighbours"]
    share: Float[AnyArray, "chunks voxels neighbours"]
    presence: Float[AnyArray, "chunks voxels"]
    voxel: Int[AnyArray, "chunks voxels"]

    @classmethod
    def of(
        cls, position: Float[np.ndarray, "gaussians 3"], mask: Float[np.ndarray, "n n n"], pixel_size: float
    ) -> Moving:
        """Find what moves with Gaussians.

        Parameters
        ----------
        position : of the Gaussians at rest, Å; one at least.
        mask : m, (z, y, x), above 0 somewhere.
        pixel_size : Å, of the mask.
        """
        voxel = np.flatnonzero(mask > 0)
        z, y, x = np.unravel_index(voxel, mask.shape)
        place = (np.stack([x, y, z], axis=1) - len(mask) // 2) * pixel_size
        blocks = (place[start : start + BLOCK] for start in range(0, len(place), BLOCK))
        found = zip(*(carried(np.asarray(position, np.float64), block) for block in blocks), strict=True)
        neighbour, share = (np.concatenate(parts) for parts in found)
        presence, voxel = mask.ravel()[voxel].astype(np.float32), voxel.astype(np.int32)
        columns = (place.astype(np.float32), neighbour, share, presence, voxel)
        length = min(CHUNK, len(voxel))
        missing = -len(voxel) % length
        filled = [
            np.concatenate([column, np.zeros((missing, *column.shape[1:]), column.dtype)]).reshape(
                -1, length, *column.shape[1:]
            )
            for column in columns
        ]
        return cls(*filled)


def carried(
    position: Float[np.ndarray, "gaussians 3"], place: Float[np.ndarray, "places 3"]
) -> tuple[Int[np.ndarray, "places neighbours"], Float[np.ndarray, "places neighbours"]]:
    """Return which Gaussians say how far each place goes, and the share w of each, by moving least squares.

    Parameters
    ----------
    position : of the Gaussians, Å.
    place : Å.
    """
    count = min(NEIGHBOURS, len(position))
    distance, neighbour = cKDTree(position).query(place, count)
    distance, neighbour = distance.reshape(-1, count), neighbour.reshape(-1, count)
    reach = np.maximum(distance[:, -1:] / 2, 1e-3)
    kernel = np.exp(-0.5 * (distance**2 - distance[:, :1] ** 2) / reach**2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    mean = np.einsum("pk,pkc->pc", kernel, position[neighbour])
    apart = position[neighbour] - mean[:, None]
    spread = np.einsum("pk,pkc,pkd->pcd", kernel, apart, apart) + RIDGE * reach[:, :, None] ** 2 * np.eye(3)
    slope = np.linalg.solve(spread, (place - mean)[..., None])[..., 0]
    share = kernel * (1 + np.einsum("pkc,pc->pk", apart, slope))
    return neighbour.astype(np.int32), share.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Deformation:
    """How the particles of a set move.

    Parameters
    ----------
    moving : the voxels that do.
    displacements : gives d (Å) of the Gaussians for places in the particle set, (batch, gaussians, 3).
    """

    moving: Moving
    displacements: Callable[[Int[np.ndarray, "batch"]], Float[AnyArray, "batch gaussians 3"]]


def finer_image(plane: Complex[Array, "n half"]) -> Float[Array, "fine fine"]:
    """Return an image on a grid three times as fine, sharpened by what reading between two of its points takes.

    Parameters
    ----------
    plane : its transform, 0 at Nyquist and beyond.
    """
    n = plane.shape[0]
    fine, half = FINER * n, n // 2
    frequency = frequencies_2d(n) / FINER
    plane = plane * (FINER / np.prod(np.sinc(frequency), axis=-1)) ** 2
    padded = jnp.zeros((fine, fine // 2 + 1), plane.dtype)
    padded = padded.at[:half, : half + 1].set(plane[:half]).at[fine - half :, : half + 1].set(plane[half:])
    return real_image(padded, fine)


def read_between(image: Float[Array, "fine fine"], place: Float[Array, "voxels 2"]) -> Float[Array, "voxels"]:
    """Return the values of a `finer_image` between its points, bilinearly; 0 outside of it.

    Parameters
    ----------
    place : (x, y) from the centre, in its pixels.
    """
    fine, image = len(image), image.reshape(-1)
    point = place + fine // 2
    low = jnp.floor(point)
    (share_x, share_y), (x, y) = (point - low).T, low.astype(jnp.int32).T
    inside = (x >= 0) & (y >= 0) & (x < fine - 1) & (y < fine - 1)
    first = jnp.where(inside, y * fine + x, 0)
    above = image[first] * (1 - share_x) + image[first + 1] * share_x
    below = image[first + fine] * (1 - share_x) + image[first + fine + 1] * share_x
    return jnp.where(inside, above * (1 - share_y) + below * share_y, 0.0)


def no_difference(moving: Moving) -> Float[Array, "chunks 2 voxels"]:
    """Return the sums over no image, of both half-sets."""
    chunks, voxels = moving.presence.shape
    return jnp.zeros((chunks, 2, voxels), jnp.float32)


@functools.partial(jax.jit, static_argnames="pixel_size", donate_argnums=0)
def add_difference(
    total: Float[Array, "chunks 2 voxels"],
    moving: Moving,
    batch: Batch,
    displacement: Float[AnyArray, "batch gaussians 3"],
    half: Int[Array, "batch"],
    pixel_size: float,
) -> Float[Array, "chunks 2 voxels"]:
    """Return the sums with what a batch of images says where their particles' voxels have gone, less where they rest.

    Parameters
    ----------
    total : given up to the result.
    moving : the voxels.
    batch : images of one box; an image of weight 0 adds nothing.
    displacement : d of the Gaussians in each of them, Å.
    half : 0 or 1 for each image.
    pixel_size : Å.
    """
    returned = functools.partial(returned_plane, pixel_size=pixel_size)
    images = jax.vmap(lambda *one: finer_image(returned(*one)))(batch.images, batch.observation, batch.weight)
    across = batch.pose.rotation[:, :2]
    count = len(images)
    table = jnp.moveaxis(jnp.asarray(displacement), 0, 1).reshape(-1, 3 * count)  # a Gaussian's in one row
    member = jnp.stack([half == 0, half == 1]).astype(jnp.float32)

    def of_chunk(chunk: Moving) -> Float[Array, "2 voxels"]:
        step = jnp.zeros((len(chunk.voxel), 3 * count))
        for place in range(chunk.neighbour.shape[1]):
            step += chunk.share[:, place, None] * table[chunk.neighbour[:, place]]
        rest = jnp.einsum("vc,bdc->bvd", chunk.place, across, precision=HIGHEST)
        gone = rest + jnp.einsum("vbc,bdc->bvd", step.reshape(-1, count, 3), across, precision=HIGHEST)
        read = jax.vmap(read_between)
        change = read(images, gone * (FINER / pixel_size)) - read(images, rest * (FINER / pixel_size))
        return jnp.asarray(chunk.presence) * jnp.matmul(member, change, precision=HIGHEST)

    return total + jax.lax.map(of_chunk, moving)


def corrected(sums: Sums, total: Float[Array, "chunks 2 voxels"], moving: Moving, n: int) -> Sums:
    """Return the sums of images at rest with the difference that motion makes, `total`, added to N.

    Parameters
    ----------
    sums : of the same images.
    moving : the voxels of `total`.
    n : box size, voxels (even).
    """
    padded = sums.numerator.shape[1]
    before = padded // 2 - n // 2
    # What is spread on the grid fades by the kernel's transform in real space, and a pixel is an n²-th of its image.
    fading = n**2 / padded**3 / kernel_correction(n, padded)
    numerator = np.array(sums.numerator)
    for half in range(2):
        difference = np.zeros(n**3, np.float32)
        np.add.at(difference, np.asarray(moving.voxel).ravel(), np.asarray(total)[:, half].ravel())
        change = np.pad(difference.reshape(n, n, n) * fading, [(before, padded - n - before)] * 3)
        transform = np.array(fourier_volume(change))
        transform[:, :, 0] *= 0.5  # the mirror of this plane is added when the sums are solved
        numerator[half] += transform
    return Sums(jnp.asarray(numerator), sums.weight)
