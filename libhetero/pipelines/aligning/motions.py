"""Where each region of a Gaussian run lies in every particle: as it is decoded, or refined against the images.

A particle has one motion, whether one image shows it or several, as the tilts of a series do: what is decoded is the
particle's, and what is refined follows from all of its images together. The pose of each image is composed with it.

Where several regions are refined, what an image shows of one depends on where the others are taken to be. In sweeps
over the regions each is refined with the others where they were found last.

The Gaussians of a symmetric complex are one unit of it, which is seen through every operator S of the symmetry. A piece
of it that lies at Q x + s is seen at R (S (Q x + s)) + t, so that each image shows as many pieces as there are
operators, each at a pose of its own: (R S Q, t + R S s). All of them are rows of the list.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.analysis.rigid import RigidMotions, rigid_motions
from libhetero.models.gmm.latent.pieces import NUMBERS, OF_SERIES, seen_in_image
from libhetero.physics.observation import seen_through
from libhetero.physics.symmetry import symmetry_operators
from libhetero.pipelines.decoding.gaussians import mixture_model, neutral_gaussians, stream_mixtures
from libhetero.pipelines.decoding.particle_findings import particle_findings
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.run.folder import Run, batches
from libhetero.records import Batch, Pose
from libhetero.telling.progress import part_of, tracked
from libhetero.tilts import one_image_each
from libhetero.training.series import SeriesFeed, drawn_from

LOGGER = logging.getLogger(__name__)
SAMPLE, LEAST_SAMPLE = 1024, 256  # images that spreads are learnt from, and particles of them at least
ROUNDS, FEWEST = 500, 2  # of learning spreads; particles of several images in a batch
FIRST = 2.0, np.radians(4.0)  # Å and radians: spreads that the search begins with
LEAST = np.array([0.02, np.radians(0.02)])
MOST_CONTRAST = 3.0
Found = tuple[Pose, np.ndarray, np.ndarray]
Refinement = Callable[[Run, int, np.ndarray, np.ndarray, Callable[[float], None] | None], Found]
Moved = Float[np.ndarray, "images units regions 5"]
Particles = Iterator[tuple[Batch, np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class RegionMotion:
    """How one region moves.

    Parameters
    ----------
    region : its number.
    pivot : mean place of its Gaussians at rest, weighted by amplitude, Å.
    motions : of each particle as decoded, x → Q x + s.
    residual : of each particle, Å, root mean square distance of the decoded Gaussians from that rigid motion.
    shown : which of the particles each row shows. Rows are all images in their order, once for each unit of a
        symmetric complex: unit after unit, the first of which the Gaussians are.
    poses : at which the region at rest is seen in each row.
    spread : Å and radians that the refined poses are off the decoded ones by; None where they are not refined.
    numbers, variance : of those spreads, of shift along x and y and of rotation about x, y and z of the image; None
        likewise.
    """

    region: int
    pivot: Float[np.ndarray, "3"]
    motions: RigidMotions
    residual: Float[np.ndarray, "particles"]
    shown: Int[np.ndarray, "rows"]
    poses: Pose
    spread: Float[np.ndarray, "2"] | None = None
    numbers: Float[np.ndarray, "rows 5"] | None = None
    variance: Float[np.ndarray, "rows 5"] | None = None

    @property
    def moved(self) -> Float[np.ndarray, "particles"]:
        """How far the pivot goes in each particle, as decoded, Å."""
        return np.linalg.norm(self.motions.moved(self.pivot), axis=1)


def decoded_motions(
    run: Run,
    latent: Float[np.ndarray, "images latent"],
    label: Int[np.ndarray, "gaussians"],
    regions: Sequence[int],
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> list[RegionMotion]:
    """Return the rigid motion of each region in every particle, from its decoded Gaussians.

    Parameters
    ----------
    latent : of every image of the run.
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
    first, shown = one_image_each(run.particles)
    blocks = stream_mixtures(run, latent[first], batch_size)
    for block in tracked(blocks, len(first), "decoding", lambda one: len(one.sigma), progress):
        for place, inside in enumerate(members):
            gone = np.asarray(block.position, np.float64)[:, inside]
            found = rigid_motions(rest[inside], gone, weight[inside])
            rigid = np.einsum("pcd,jd->pjc", found.rotation, rest[inside]) + found.shift[:, None]
            square = np.sum((gone - rigid) ** 2, axis=-1) @ weight[inside] / weight[inside].sum()
            parts[place].append((found, np.sqrt(square)))
    units = [_poses(unit) for unit in seen_through_units(run)]
    motions: list[RegionMotion] = []
    for region, inside, part in zip(regions, members, parts, strict=True):
        found = RigidMotions(
            *(np.concatenate([getattr(one, name) for one, _ in part]) for name in ("rotation", "shift"))
        )
        pivot = weight[inside] @ rest[inside] / weight[inside].sum()
        residual = np.concatenate([square for _, square in part])
        poses = _after_one_another([found.take(shown).pose_of_piece(*unit) for unit in units])
        motions.append(RegionMotion(region, pivot, found, residual, np.tile(shown, len(units)), poses))
    return motions


def refined_motions(
    run: Run,
    latent: Float[np.ndarray, "images latent"],
    label: Int[np.ndarray, "gaussians"],
    motions: Sequence[RegionMotion],
    batch_size: int,
    sweeps: int = 1,
    progress: Callable[[float], None] | None = None,
) -> list[RegionMotion]:
    """Return the motions of regions with their poses refined against the images, the rest of the molecule modelled.

    In one sweep the rest is as decoded. In several each region is refined as often, and all others of `motions` are
    where they were found last; so are the other units of a symmetric complex. A region that is alone is refined once.

    Parameters
    ----------
    latent, label, batch_size, progress : as in `decoded_motions`.
    motions : as decoded.
    sweeps : over the regions.
    """
    several = sweeps > 1 and len(motions) * len(operators_of(run)) > 1
    piece = np.full(len(label), -1)
    for place, motion in enumerate(motions):
        piece[label == motion.region] = place
    moved = None
    if several:
        moved = np.zeros((len(run.particles), len(operators_of(run)), len(motions), NUMBERS), np.float32)
    refinements = [_refinement(run, latent, piece, place, moved, batch_size) for place in range(len(motions))]
    found, advance, times = list(motions), progress or (lambda fraction: None), sweeps if several else 1
    for sweep, place in product(range(times), range(len(motions))):
        done = sweep * len(motions) + place
        told = part_of(advance, done / times / len(motions), 1 / times / len(motions))
        which = f", sweep {sweep + 1} of {times}" if several else ""
        found[place] = _refined(run, motions[place], place, refinements[place], moved, which, told)
    return found


def _refined(
    run: Run,
    motion: RegionMotion,
    place: int,
    refine: Refinement,
    moved: Moved | None,
    which: str,
    progress: Callable[[float], None],
) -> RegionMotion:
    """Return a region's motion with its poses refined, and put what it is moved by among that of all.

    The spreads are those that a sample shows (`learnt_spread`). Images of one particle are refined together.

    Parameters
    ----------
    motion : as decoded.
    place : of the region among the refined ones.
    refine : what refines it.
    moved : of all that are refined; None where they do not see each other.
    which : of the sweeps, for the log.
    """
    (first, shown), begun = one_image_each(run.particles), np.array(FIRST, np.float32)
    sample = first[spread_indices(len(first), max(SAMPLE * len(first) // len(shown), LEAST_SAMPLE))]
    units = seen_through_units(run)
    spread = learnt_spread(begun, *refine(run, 0, sample, begun, None)[1:])
    LOGGER.info(
        "region %d%s: refined by %.2g Å along each axis of the image and %.2g° about it (standard deviations)",
        motion.region,
        which,
        spread[0],
        np.degrees(spread[1]),
    )
    poses, numbers, variance = list[Pose](), list[np.ndarray](), list[np.ndarray]()
    for number, unit in enumerate(units):
        told = part_of(progress, number / len(units), 1 / len(units))
        found = refine(unit, number, np.arange(len(shown)), spread, told)
        turned, stretched, mean, covariance = _in_images(unit, found, shown)
        poses.append(motion.motions.take(shown).pose_of_piece(turned, stretched))
        numbers.append(mean)
        variance.append(np.diagonal(covariance, axis1=1, axis2=2))
        if moved is not None:
            moved[:, number, place] = np.repeat(spread, [2, 3]) * mean
    refined = _after_one_another(poses)
    return dataclasses.replace(
        motion, poses=refined, spread=spread, numbers=np.concatenate(numbers), variance=np.concatenate(variance)
    )


def _in_images(
    run: Run, found: Found, shown: Int[np.ndarray, "images"]
) -> tuple[Pose, Float[np.ndarray, "images 3 3"], Float[np.ndarray, "images 5"], Float[np.ndarray, "images 5 5"]]:
    """Return the refined poses without and with what the magnification does to them, and u and its covariance in the
    axes of each image.

    Parameters
    ----------
    run : whose poses were refined.
    found : as a `Refinement` gives it.
    shown : which of the particles each image shows.
    """
    pose, numbers, covariance = found
    listed, stretched = _poses(run)
    back, rotation = np.linalg.inv(stretched), np.asarray(pose.rotation, np.float64)
    if numbers.shape[1] < OF_SERIES:
        rotation = rotation @ back @ listed.rotation
    else:  # turned in the molecule, before what the magnification does
        rotation = listed.rotation @ back @ rotation
        across = np.asarray(jax.vmap(seen_in_image)(stretched), np.float64)
        numbers = np.einsum("iuv,iv->iu", across, numbers[shown])
        covariance = across @ covariance[shown] @ np.swapaxes(across, 1, 2)
    turned = Pose(rotation=rotation, shift=np.asarray(pose.shift, np.float64))
    return turned, np.asarray(pose.rotation), numbers, covariance


def learnt_spread(
    first: Float[np.ndarray, "2"],
    numbers: Float[np.ndarray, "particles numbers"],
    covariance: Float[np.ndarray, "particles numbers numbers"],
) -> Float[np.ndarray, "2"]:
    """Return the spreads of shift (Å) and rotation (radians) under which what images say is the most probable.

    With posteriors N(m, C) found under spreads s, an image says H = C⁻¹ - 1 and b = C⁻¹ m of u. Under spreads D s they
    are D H D and D b, whose posteriors are u = (D H D + 1)⁻¹ D b; by expectation maximisation D² ← D² ⟨u² + var u⟩.

    Parameters
    ----------
    first : s.
    numbers, covariance : m and C, of shifts along two axes or three, and of rotation about three.
    """
    size = numbers.shape[1]
    shifts = size - 3
    precision = np.linalg.inv(np.asarray(covariance, np.float64))
    said, towards = precision - np.eye(size), np.einsum("pij,pj->pi", precision, numbers)
    factor = np.ones(2)
    for _ in range(ROUNDS):
        scale = np.repeat(factor, [shifts, 3])
        posterior = np.linalg.inv(scale[:, None] * said * scale + np.eye(size))
        mean = np.einsum("pij,pj->pi", posterior, scale * towards)
        square = np.mean(mean**2 + np.diagonal(posterior, axis1=1, axis2=2), axis=0)
        factor = factor * np.sqrt([square[:shifts].mean(), square[shifts:].mean()])
        factor = np.maximum(factor, LEAST / np.asarray(first, np.float64))
    return (factor * first).astype(np.float32)


def contrasts(run: Run) -> Float[np.ndarray, "images"]:
    """Return the contrast of each image of a run, float32; 1 where the run has not estimated it."""
    findings = particle_findings(run)
    contrast = np.ones(len(run.particles)) if findings is None else np.clip(findings.contrast, 0, MOST_CONTRAST)
    return contrast.astype(np.float32)


def seen_through_units(run: Run) -> list[Run]:
    """Return a run with the poses at which each unit of its symmetric complex is seen in the place of the first.

    R (S x) + t = (R S) x + t: the whole complex is the same at all of them.
    """
    particles = run.particles
    pose, _ = particles.poses_and_ctfs()
    units: list[Run] = []
    for operator in operators_of(run):
        rotation = (np.asarray(pose.rotation, np.float64) @ operator).astype(np.float32)
        seen = pose if not units else Pose(rotation=rotation, shift=pose.shift)
        units.append(dataclasses.replace(run, particles=dataclasses.replace(particles, pose=seen)))
    return units


def operators_of(run: Run) -> Float[np.ndarray, "copies 3 3"]:
    """Return the operators of the symmetry that a run's Gaussians have, the identity first."""
    return symmetry_operators(getattr(run.model.config, "symmetry", "c1"))


def _after_one_another(poses: Sequence[Pose]) -> Pose:
    rotation, shift = (np.concatenate([getattr(one, name) for one in poses]) for name in ("rotation", "shift"))
    return Pose(rotation=rotation, shift=shift)


def _poses(run: Run) -> tuple[Pose, Float[np.ndarray, "images 3 3"]]:
    """Return the poses of the list, and their rotations with what the magnification does to them."""
    pose, ctf = run.particles.poses_and_ctfs()
    return pose, np.asarray(seen_through(pose, ctf)[0].rotation, np.float64)


def _refinement(
    run: Run,
    latent: Float[np.ndarray, "images latent"],
    piece: Int[np.ndarray, "gaussians"],
    place: int,
    moved: Moved | None,
    batch_size: int,
) -> Refinement:
    """Return what refines a region in the particles of some images, given the run at the poses of one unit, the number
    of that unit, and the spreads.

    It gives the poses of the piece as decoded in all images of these particles, and their u and its variance, of each
    particle once.

    Parameters
    ----------
    piece : which of the refined regions each Gaussian is of, -1 for none.
    place : of the region among these.
    moved : where all of them are, read as refinement goes on; None where the others are as decoded.
    """
    contrast, shown = contrasts(run), one_image_each(run.particles)[1]
    model, params = mixture_model(run), jax.device_put(run.params)
    member, seen_from = piece == place, _units_seen_from(operators_of(run))

    @jax.jit
    def found(
        latent: Array, batch: Batch, contrast: Array, spread: Array, moved: Array | None
    ) -> tuple[Pose, Array, Array]:
        others = () if moved is None else (piece, moved)
        return model.piece_poses(params, latent, batch, contrast, member, spread, *others)

    def refine(
        unit: Run,
        number: int,
        images: Int[np.ndarray, "chosen"],
        spread: Float[np.ndarray, "2"],
        progress: Callable[[float], None] | None,
    ) -> Found:
        poses, said, places = list[Pose](), list[tuple[np.ndarray, np.ndarray]](), list[np.ndarray]()
        stream = _particles(unit, batch_size, images)
        read = int(np.count_nonzero(np.isin(shown, shown[images])))  # all images of these particles
        told = tracked(stream, read, "refining", lambda one: len(one[1]), progress)
        for batch, rows, among in told:
            at = np.asarray(batch.index)
            others = None if moved is None else jnp.asarray(moved[at][:, seen_from[number]])
            one = found(jnp.asarray(latent[at], jnp.float32), batch, jnp.asarray(contrast[at]), spread, others)
            pose, numbers, covariance = jax.tree.map(np.asarray, one)
            held = len(np.unique(rows // batch.views))  # particles stand before padding
            poses.append(pose.take(rows))
            said.append((numbers[:held], covariance[:held]))
            places.append(among)
        order = np.argsort(np.concatenate(places), kind="stable")
        pose, u = (jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts) for parts in (poses, said))
        return pose.take(order), *u

    return refine


def _units_seen_from(operators: Float[np.ndarray, "copies 3 3"]) -> Int[np.ndarray, "copies copies"]:
    """Return which unit each copy of the Gaussians is, where the image is posed at each of the units: S_k of S_l."""
    product_of = np.einsum("lij,kjm->lkim", operators, operators)
    return np.abs(product_of[:, :, None] - operators).max(axis=(-2, -1)).argmin(axis=-1)


def _particles(run: Run, batch_size: int, images: Int[np.ndarray, "chosen"]) -> Particles:
    """Yield the particles of some images, with which rows of each batch are images, and the places of these.

    Single images come in the order asked for; particles of several with all of their images, in their own order.
    """
    feed = drawn_from(run.feed())
    if isinstance(feed, SeriesFeed):
        yield from feed.batches(min(max(batch_size // feed.views, FEWEST), len(feed)), images)
        return
    for start, batch in zip(count(0, batch_size), batches(run, batch_size, images), strict=False):
        place = images[start : start + batch_size]
        yield batch, np.arange(len(place)), place
