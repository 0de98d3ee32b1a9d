"""Where a piece of the molecule lies in a particle, refined against its images with the rest modelled.

With the mixture of the particle decoded, the piece's Gaussians turn by ω about their pivot c and shift by e, both in
the image's axes,

    x → exp([ω]×) (R q - R c) + R c + t + e,      ω = s_r (u_3, u_4, u_5),      e = s_t (u_1, u_2),      u ~ N(0, 1)

and all others stay where they are decoded. u is found by Gauss-Newton steps as a latent is (`subspace`): with Y the
image less the rest, P that of the piece at u, and J its derivative,

    u ← u + (JᵀWJ + 1)⁻¹ (JᵀW (Y - P) - u)

Several images of one particle, as the tilts of a series are, show one motion, of a turn Ω = s_r (v_4, v_5, v_6) and a
shift E = s_t (v_1, v_2, v_3) in the axes of the molecule, v ~ N(0, 1). Image i sees it as ω = R_i Ω and e = R_i E along
its x and y, which is u_i = T_i v, and what the images say adds up:

    v ← v + (Σ_i T_iᵀ J_iᵀ W J_i T_i + 1)⁻¹ (Σ_i T_iᵀ J_iᵀ W (Y_i - P_i) - v)

With one image this is the same motion: what it does not see, the shift along its z, stays 0. The spreads are those that
the particles themselves show (`libhetero.pipelines.aligning.motions`).

Other pieces that were refined before may lie where they were found, in the place of where they are decoded. With ω and
e those of a piece in this image, its Gaussians at p, and c the pivot among these, are then at

    p + R⁻¹ ((exp([ω]×) - 1) R (p - c) + e)

which the image sees as above.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from libhetero.models.gmm.latent.posterior import summed
from libhetero.models.gmm.latent.subspace import Imaging, rigid_changes
from libhetero.physics.arrays import AnyArray
from libhetero.physics.rotations import HIGHEST, turned
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Batch, Gaussians, Observation, Pose
from libhetero.tilts import of_images

STEPS = 3
NUMBERS, OF_SERIES = 5, 6  # of an image: shift (2) and rotation (3); of a particle of several: shift (3) and rotation


def piece_pose(
    pose: Pose, pivot: Float[AnyArray, "3"], numbers: Float[Array, "5"], spread: Float[AnyArray, "2"]
) -> Pose:
    """Return the pose at which the piece, as it is decoded, is seen where u says.

    Parameters
    ----------
    pose : of the molecule.
    pivot : c, Å.
    numbers : u.
    spread : s_t (Å) and s_r (radians).
    """
    return _about(pose, pivot, turned(pose.rotation, spread[1] * numbers[2:]), spread[0] * numbers[:2])


def piece_pose_of_series(
    pose: Pose, pivot: Float[AnyArray, "3"], numbers: Float[Array, "6"], spread: Float[AnyArray, "2"]
) -> Pose:
    """Return the pose at which an image of several sees the piece, as it is decoded, where v says.

    Parameters
    ----------
    pose : of the molecule in this image.
    pivot : c, Å.
    numbers : v, of the particle.
    spread : s_t (Å) and s_r (radians).
    """
    turn = turned(jnp.eye(3), spread[1] * numbers[3:])
    rotation = jnp.matmul(pose.rotation, turn, precision=HIGHEST)
    return _about(pose, pivot, rotation, spread[0] * jnp.matmul(pose.rotation, numbers[:3], precision=HIGHEST)[:2])


def _about(pose: Pose, pivot: Float[AnyArray, "3"], rotation: Float[Array, "3 3"], shift: Float[Array, "2"]) -> Pose:
    """Return a pose of another rotation in which a point is seen where it was, but for a shift."""
    stays = jnp.matmul(pose.rotation - rotation, pivot, precision=HIGHEST)[:2]
    return Pose(rotation=rotation, shift=pose.shift + stays + shift)


def seen_in_image(rotation: Float[AnyArray, "3 3"]) -> Float[Array, "5 6"]:
    """Return T, which takes v of a particle to u of an image: the module says the equations."""
    return jax.scipy.linalg.block_diag(rotation[:2], rotation)


def pieces_placed(
    whole: Gaussians,
    piece: Int[np.ndarray, "points"],
    moved: Float[AnyArray, "pieces 5"],
    rotation: Float[AnyArray, "3 3"],
) -> Gaussians:
    """Return a mixture whose pieces lie where one image has shown them.

    Parameters
    ----------
    whole : as decoded, all units of a symmetric complex.
    piece : number of the piece of each Gaussian, -1 for those that stay where they are.
    moved : e along x and y (Å) and ω about x, y and z (radians) of each piece, in the axes of the image.
    rotation : R, at which the image sees the mixture.
    """
    count = len(moved)
    weight = _pivot_weight(whole.amplitude)
    own = jnp.asarray(np.where(piece < 0, count, piece))
    total = jax.ops.segment_sum(weight[:, None] * whole.position, own, count + 1)
    pivot = (total / jnp.maximum(jax.ops.segment_sum(weight, own, count + 1), 1e-30)[:, None])[own]
    moved = jnp.concatenate([moved, jnp.zeros((1, NUMBERS))])
    turn = jax.vmap(lambda vector: turned(jnp.eye(3), vector))(moved[:, 2:]) - jnp.eye(3)
    shift = jnp.pad(moved[:, :2], ((0, 0), (0, 1)))
    place = jnp.matmul(whole.position - pivot, rotation.T, precision=HIGHEST)
    seen = jnp.einsum("pij,pj->pi", turn[own], place, precision=HIGHEST) + shift[own]
    step = jnp.matmul(seen, jnp.linalg.inv(rotation).T, precision=HIGHEST)
    return replace(whole, position=whole.position + jnp.where((own < count)[:, None], step, 0.0))


def refined_pieces(
    imaging: Imaging,
    mixtures: Gaussians,
    member: Bool[np.ndarray, "points"],
    batch: Batch,
    contrast: Float[AnyArray, "images"],
    spread: Float[AnyArray, "2"],
    piece: Int[np.ndarray, "points"] | None = None,
    moved: Float[AnyArray, "images copies pieces 5"] | None = None,
) -> tuple[Pose, Float[Array, "particles numbers"], Float[Array, "particles numbers numbers"]]:
    """Return the poses at which the decoded piece is seen in each image, u of the particles, and its posterior
    covariance; v in the place of u where a particle has several images.

    Parameters
    ----------
    imaging : of the set; its neutral mixture is not used.
    mixtures : as decoded for each particle, one unit of a symmetric complex.
    member : which of its Gaussians are the piece, in the first unit alone.
    batch : the particles; of several images of one, those without weight say nothing.
    contrast : of each image.
    spread : s_t and s_r.
    piece : number of the piece of each Gaussian, the one that is refined among them, -1 for none of them.
    moved : where each image has shown the pieces, as in `pieces_placed`, in each copy of a symmetric complex; what it
        says of the piece that is refined does not count. None for pieces that are as decoded.
    """
    inside, views = np.flatnonzero(member), batch.views
    pieces = jax.tree.map(lambda column: column[:, inside], mixtures)
    pivot = of_images(jax.vmap(centre_of)(pieces), views)
    observation = replace(batch.observation, contrast=jnp.asarray(contrast))
    pieces, mixtures = of_images(pieces, views), of_images(mixtures, views)
    left = jax.vmap(partial(_without_rest, imaging, inside, piece))(mixtures, batch.images, observation, moved)
    system = jax.vmap(partial(_normal_system, imaging, spread))
    placed = partial(jax.vmap(partial(piece_pose if views == 1 else piece_pose_of_series, spread=spread)), batch.pose)
    state = jnp.zeros((len(batch.images) // views, NUMBERS if views == 1 else OF_SERIES))
    prior = precision = jnp.eye(state.shape[1])
    for _ in range(STEPS):
        pose = placed(pivot, of_images(state, views))
        said, slope = system(pieces, pivot, left, batch.images, replace(observation, pose=pose))
        if views > 1:
            frame = jax.vmap(seen_in_image)(batch.pose.rotation)
            back = partial(jnp.einsum, precision=HIGHEST)
            said = summed(back("ipu,ipq,iqv->iuv", frame, said, frame), batch.weight, views)
            slope = summed(back("ipu,ip->iu", frame, slope), batch.weight, views)
        precision = said + prior
        state = state + jax.vmap(_solution)(precision, slope - state)
    return placed(pivot, of_images(state, views)), state, jnp.linalg.inv(precision)


def _without_rest(
    imaging: Imaging,
    inside: np.ndarray,
    piece: Int[np.ndarray, "points"] | None,
    mixture: Gaussians,
    image: Array,
    observation: Observation,
    moved: Float[AnyArray, "copies pieces 5"] | None,
) -> Float[Array, "2 m half"]:
    """Return one image, whitened, less what it shows of all but the piece."""
    whole = symmetric_copies(mixture, imaging.operators)
    if piece is not None and moved is not None:
        copies, pieces = moved.shape[:2]
        of_copy = np.concatenate([np.where(piece < 0, -1, piece + pieces * copy) for copy in range(copies)])
        whole = pieces_placed(whole, of_copy, moved.reshape(-1, NUMBERS), observation.pose.rotation)
    others = np.ones(len(imaging.operators) * len(mixture.sigma), np.float32)
    others[inside] = 0
    rest, target = imaging.whitened(image, whole, (others * whole.amplitude)[None], observation)
    return target - rest[0]


def _normal_system(
    imaging: Imaging,
    spread: Float[AnyArray, "2"],
    piece: Gaussians,
    pivot: Float[Array, "3"],
    left: Float[Array, "2 m half"],
    image: Float[AnyArray, "n n"],
    observation: Observation,
) -> tuple[Float[Array, "5 5"], Float[Array, "5"]]:
    """Return JᵀWJ and JᵀW (Y - P) of one image, at the piece's own pose; `left` is Y."""
    place = jnp.matmul(observation.pose.rotation, (piece.position - pivot).T, precision=HIGHEST)
    amplitudes = jnp.concatenate([piece.amplitude[None], place * piece.amplitude])
    made, _ = imaging.whitened(image, piece, amplitudes, observation)
    scales = jnp.repeat(jnp.asarray(spread), np.array([2, 3]), total_repeat_length=NUMBERS)[:, None, None, None]
    change = (scales * rigid_changes(made, imaging.frequencies())).reshape(NUMBERS, -1)
    said = jnp.matmul(change, change.T, precision=HIGHEST)
    return said, jnp.matmul(change, (left - made[0]).reshape(-1), precision=HIGHEST)


def _solution(precision: Float[Array, "numbers numbers"], slope: Float[Array, "numbers"]) -> Float[Array, "numbers"]:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(precision), slope)


def centre_of(piece: Gaussians) -> Float[Array, "3"]:
    """Return the pivot of a piece: the mean place of its Gaussians, weighted by amplitude where it is above 0."""
    weight = _pivot_weight(piece.amplitude)
    return weight @ piece.position / jnp.sum(weight)


def _pivot_weight(amplitude: Float[AnyArray, "points"]) -> Float[Array, "points"]:
    return jnp.maximum(amplitude, 0) + 1e-6
