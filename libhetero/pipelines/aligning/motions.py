"""Where each region of a Gaussian run lies in every particle: as it is decoded, or refined against the images."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from libhetero.analysis.rigid import RigidMotions, rigid_motions
from libhetero.physics.observation import seen_through
from libhetero.pipelines.decoding.gaussians import mixture_model, neutral_gaussians, stream_mixtures
from libhetero.pipelines.decoding.particle_findings import particle_findings
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.run.folder import Run, batches
from libhetero.records import Batch, Pose
from libhetero.telling.progress import tracked

LOGGER = logging.getLogger(__name__)
SAMPLE, ROUNDS = 1024, 500  # particles that spreads are learnt from, and rounds of that
FIRST = 2.0, np.radians(4.0)  # Å and radians: spreads that the search begins with
LEAST = np.array([0.02, np.radians(0.02)])
MOST_CONTRAST = 3.0
Found = tuple[Pose, np.ndarray, np.ndarray]
Refinement = Callable[[np.ndarray, np.ndarray, Callable[[float], None] | None], Found]


@dataclass(frozen=True, eq=False)
class RegionMotion:
    """How one region moves.

    Parameters
    ----------
    region : its number.
    pivot : mean place of its Gaussians at rest, weighted by amplitude, Å.
    motions : as decoded, x → Q x + s.
    residual : Å, root mean square distance of the decoded Gaussians from that rigid motion.
    poses : at which the region at rest is seen in each image.
    spread : Å and radians that the refined poses are off the decoded ones by; None where they are not refined.
    numbers, variance : of those spreads, of shift along x and y and of rotation about x, y and z of the image; None
        likewise.
    """

    region: int
    pivot: Float[np.ndarray, "3"]
    motions: RigidMotions
    residual: Float[np.ndarray, "particles"]
    poses: Pose
    spread: Float[np.ndarray, "2"] | None = None
    numbers: Float[np.ndarray, "particles 5"] | None = None
    variance: Float[np.ndarray, "particles 5"] | None = None

    @property
    def moved(self) -> Float[np.ndarray, "particles"]:
        """How far the pivot goes in each particle, as decoded, Å."""
        return np.linalg.norm(self.motions.moved(self.pivot), axis=1)


def decoded_motions(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    label: Int[np.ndarray, "gaussians"],
    regions: Sequence[int],
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> list[RegionMotion]:
    """Return the rigid motion of each region in every particle, from its decoded Gaussians.

    Parameters
    ----------
    latent : of every particle of the run.
    label : region of each Gaussian.
    regions : those wanted.
    batch_size : particles decoded at once.
    progress : called with the fraction done.
    """
    neutral = neutral_gaussians(run)
    rest = np.asarray(neutral.position, np.float64)
    weight = np.maximum(np.asarray(neutral.amplitude, np.float64), 0) + 1e-12
    members = [np.flatnonzero(label == region) for region in regions]
    parts: list[list[tuple[RigidMotions, np.ndarray]]] = [[] for _ in regions]
    blocks = stream_mixtures(run, latent, batch_size)
    for block in tracked(blocks, len(latent), "decoding", lambda one: len(one.sigma), progress):
        for place, inside in enumerate(members):
            gone = np.asarray(block.position, np.float64)[:, inside]
            found = rigid_motions(rest[inside], gone, weight[inside])
            rigid = np.einsum("pcd,jd->pjc", found.rotation, rest[inside]) + found.shift[:, None]
            square = np.sum((gone - rigid) ** 2, axis=-1) @ weight[inside] / weight[inside].sum()
            parts[place].append((found, np.sqrt(square)))
    pose, stretched = _poses(run)
    motions = []
    for region, inside, part in zip(regions, members, parts, strict=True):
        found = RigidMotions(
            *(np.concatenate([getattr(one, name) for one, _ in part]) for name in ("rotation", "shift"))
        )
        pivot = weight[inside] @ rest[inside] / weight[inside].sum()
        residual = np.concatenate([square for _, square in part])
        motions.append(RegionMotion(region, pivot, found, residual, found.pose_of_piece(pose, stretched)))
    return motions


def refined_motion(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    label: Int[np.ndarray, "gaussians"],
    motion: RegionMotion,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> RegionMotion:
    """Return a region's motion with its poses refined against the images, the rest of the molecule as it is decoded.

    The spreads are those that a sample shows (`learnt_spread`).

    Parameters
    ----------
    latent, label, batch_size, progress : as in `decoded_motions`.
    motion : as decoded.
    """
    member = np.asarray(label == motion.region)
    refine = _refinement(run, latent, member, batch_size)
    sample, first = spread_indices(len(run.particles), SAMPLE), np.array(FIRST, np.float32)
    spread = learnt_spread(first, *refine(sample, first, None)[1:])
    pose, numbers, covariance = refine(np.arange(len(run.particles)), spread, progress)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    LOGGER.info(
        "region %d: refined by %.2g Å along each axis of the image and %.2g° about it (standard deviations)",
        motion.region,
        spread[0],
        np.degrees(spread[1]),
    )
    listed, stretched = _poses(run)
    turn = np.asarray(pose.rotation, np.float64) @ np.linalg.inv(stretched)
    turned = Pose(rotation=turn @ listed.rotation, shift=np.asarray(pose.shift, np.float64))
    own = motion.motions.pose_of_piece(turned, np.asarray(pose.rotation))
    return dataclasses.replace(motion, poses=own, spread=spread, numbers=numbers, variance=variance)


def learnt_spread(
    first: Float[np.ndarray, "2"], numbers: Float[np.ndarray, "particles 5"], covariance: Float[np.ndarray, "_ 5 5"]
) -> Float[np.ndarray, "2"]:
    """Return the spreads of shift (Å) and rotation (radians) under which what images say is the most probable.

    With posteriors N(m, C) found under spreads s, an image says H = C⁻¹ - 1 and b = C⁻¹ m of u. Under spreads D s they
    are D H D and D b, whose posteriors are u = (D H D + 1)⁻¹ D b; by expectation maximisation D² ← D² ⟨u² + var u⟩.

    Parameters
    ----------
    first : s.
    numbers, covariance : m and C, of shift along x and y and of rotation about x, y and z.
    """
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    said, towards = precision - np.eye(5), np.einsum("pij,pj->pi", precision, numbers)
    factor = np.ones(2)
    for _ in range(ROUNDS):
        scale = np.repeat(factor, [2, 3])
        posterior = np.linalg.inv(scale[:, None] * said * scale + np.eye(5))
        mean = np.einsum("pij,pj->pi", posterior, scale * towards)
        square = np.mean(mean**2 + np.diagonal(posterior, axis1=1, axis2=2), axis=0)
        factor = factor * np.sqrt([square[:2].mean(), square[2:].mean()])
        factor = np.maximum(factor, LEAST / np.asarray(first, np.float64))
    return (factor * first).astype(np.float32)


def contrasts(run: Run) -> Float[np.ndarray, "particles"]:
    """Return the contrast of each particle of a run, float32; 1 where the run has not estimated it."""
    findings = particle_findings(run)
    contrast = np.ones(len(run.particles)) if findings is None else np.clip(findings.contrast, 0, MOST_CONTRAST)
    return contrast.astype(np.float32)


def _poses(run: Run) -> tuple[Pose, Float[np.ndarray, "particles 3 3"]]:
    """Return the poses of the list, and their rotations with what the magnification does to them."""
    pose, ctf = run.particles.poses_and_ctfs()
    return pose, np.asarray(seen_through(pose, ctf)[0].rotation, np.float64)


def _refinement(
    run: Run, latent: Float[np.ndarray, "particles latent"], member: Bool[np.ndarray, "gaussians"], batch_size: int
) -> Refinement:
    """Return what refines some particles, given the spreads: the poses of the piece as decoded, u and its variance."""
    contrast = contrasts(run)
    model, params = mixture_model(run), jax.device_put(run.params)

    @jax.jit
    def found(latent: Array, batch: Batch, contrast: Array, spread: Array) -> tuple[Pose, Array, Array]:
        return model.piece_poses(params, latent, batch, contrast, member, spread)

    def refine(
        indices: Int[np.ndarray, "chosen"], spread: Float[np.ndarray, "2"], progress: Callable[[float], None] | None
    ) -> Found:
        parts = []
        stream = tracked(
            batches(run, batch_size, indices), len(indices), "refining", lambda one: int(one.weight.sum()), progress
        )
        for start, batch in zip(range(0, len(indices), batch_size), stream, strict=False):
            rows = np.asarray(batch.index)
            one = found(jnp.asarray(latent[rows], jnp.float32), batch, jnp.asarray(contrast[rows]), spread)
            parts.append(jax.tree.map(lambda leaf, start=start: np.asarray(leaf)[: len(indices) - start], one))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    return refine
