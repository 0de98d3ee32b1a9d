"""How the particles of a list move, as a Gaussian run decodes them, for `libhetero.reconstruction.deformed`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from libhetero.analysis.region_masks import SOFT_EDGE, mask_reach, region_mask
from libhetero.errors import ConfigurationError, DataError
from libhetero.metrics.poses import pose_errors
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.decoding.gaussians import mixture_model, neutral_gaussians
from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
from libhetero.pipelines.decoding.particle_findings import particles_as_found
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.listing.table_columns import rows_of_record
from libhetero.pipelines.maps.room import require_room_to_move
from libhetero.pipelines.run.epoch_folder import run_and_epoch
from libhetero.pipelines.run.folder import Run, open_run
from libhetero.pipelines.run.particle_record import LIST, ParticleRecord, record_of
from libhetero.reconstruction.deformed import Deformation, Moving
from libhetero.records import ParticleSet
from libhetero.telling.waiting import working
from libhetero.training.feed import ParticleFeed

LOGGER = logging.getLogger(__name__)
SAMPLE = 512  # particles that the extent of the motion is told of
STILL = 1e-3  # Å: less is no motion
COARSE = 64  # voxels to a side, on which it is told how much of the box moves
SAME_OPERATOR = 1e-4
SAME_TURN, SAME_SHIFT = 0.1, 0.1  # degrees and Å
Places = Int[np.ndarray, "batch"]
Displacements = Callable[[Places], Float[Array, "batch gaussians 3"]]


def deformation_of(folder: str, feed: ParticleFeed, name: str, batch_size: int, symmetry: str = "c1") -> Deformation:
    """Return how the particles of a list move by the Gaussians that a run decodes for them, and tell whose they are.

    Parameters
    ----------
    folder : of the run.
    feed : the particles, all among the run's, in whatever box.
    name : of their list, for messages.
    batch_size : images inserted at once, and particles encoded where the run has not left their latents.
    symmetry : of the map.

    Raises
    ------
    ConfigurationError : if the run is not of Gaussians, these do not move, the map is to have a symmetry that they
        have not (what one unit does by itself would be done to all), or memory cannot hold it.
    DataError : if a particle is none of the run's.
    """
    trained = open_run(folder)
    neutral = neutral_gaussians(trained)
    own = getattr(trained.model.config, "symmetry", "c1")
    operators = symmetry_operators(own)
    if not _among(symmetry_operators(symmetry), operators):
        raise ConfigurationError(
            f"--sym {symmetry}: the Gaussians of {folder} have {own}, and units of the map move each in its own way; "
            f"expected {own}, or a part of it. Leave --sym out."
        )
    whole = np.asarray(symmetric_copies(neutral, operators).position)
    reach, edge = mask_reach(neutral), SOFT_EDGE * trained.model.pixel_size
    coarse = region_mask(whole, COARSE, feed.box_size * feed.pixel_size / COARSE, reach, edge)
    require_room_to_move(feed.box_size, float(np.mean(coarse > 0)), min(batch_size, len(feed)))
    rows = rows_in_run(trained, feed.particles, name)
    _tell_other_poses(trained, feed.particles, rows, name)
    displaced = _displacements(trained, particle_latents(trained, batch_size)[rows], operators)
    extent = 0.0 if shows_nothing(trained) else _extent(displaced, len(rows), batch_size)
    if extent < STILL:
        raise ConfigurationError(
            f"--deform {folder}: its Gaussians do not move; expected a run that found motion. Leave --deform out: the "
            "map of particles at rest is the same."
        )
    with working(LOGGER.info, "which voxels move with which Gaussians"):
        mask = region_mask(whole, feed.box_size, feed.pixel_size, reach, edge)
        moving = Moving.of(whole, mask, feed.pixel_size)
    LOGGER.info(
        "displacements: of %s, trained on %s; %.3g Å (root mean square). The half-maps share its network, and every "
        "image itself says where its particle has gone.",
        folder,
        _described(trained.particles),
        extent,
    )
    return Deformation(moving, displaced)


def _among(some: Float[np.ndarray, "some 3 3"], operators: Float[np.ndarray, "copies 3 3"]) -> bool:
    """Return whether all of some operators are among others."""
    return all(np.abs(operators - one).max(axis=(1, 2)).min() < SAME_OPERATOR for one in some)


def _tell_other_poses(trained: Run, particles: ParticleSet, rows: Int[np.ndarray, "particles"], name: str) -> None:
    """Warn where the poses of a list are not those that a run's displacements go with."""
    own = particles_as_found(trained).pose
    if own is None or particles.pose is None:
        return
    turn, off = pose_errors(particles.pose, np.asarray(own.rotation)[rows], np.asarray(own.shift)[rows])
    turned = float(np.degrees(np.median(np.linalg.norm(turn, axis=1))))
    shifted = float(np.median(np.linalg.norm(off, axis=1)))
    if turned > SAME_TURN or shifted > SAME_SHIFT:
        LOGGER.warning(
            "%s: poses are turned by %.2g degrees and shifted by %.2g Å (medians) from those that the displacements go "
            "with; of regions that stand still there, motion would be taken off twice. The run's own list is %s",
            name,
            turned,
            shifted,
            run_and_epoch(trained.folder)[0] / LIST,
        )


def rows_in_run(run: Run, particles: ParticleSet, name: str) -> Int[np.ndarray, "particles"]:
    """Return the place in a run of each particle of a list.

    Parameters
    ----------
    name : of the list, for messages.

    Raises
    ------
    DataError : if one is not among the run's, naming the first.
    """
    folder, own = run_and_epoch(run.folder)[0], run.particles
    record = record_of(folder) or ParticleRecord(own.files, own.file_id, own.image_index, None, {})
    rows = rows_of_record(record, particles, name, str(folder), f"Give its own list, {folder / LIST}, as a whole.")
    if np.any(rows < 0):
        row = int(np.argmax(rows < 0))
        raise DataError(
            f"{name}: particle {row} (from 0), image {particles.image_index[row]} of "
            f"{particles.files[int(particles.file_id[row])]}, is not of {folder}; expected particles that it was "
            "trained on. Give its list, or a part of that."
        )
    return rows


def _displacements(
    run: Run, latent: Float[np.ndarray, "particles latent"], operators: Float[np.ndarray, "copies 3 3"]
) -> Displacements:
    """Return what gives the displacements (Å) of the Gaussians of all symmetric copies for places among latents."""
    model, turns = mixture_model(run), jnp.asarray(operators)
    params, rest = jax.device_put(run.params), neutral_gaussians(run).position

    @jax.jit
    def decoded(latent: Float[Array, "batch latent"]) -> Float[Array, "batch gaussians 3"]:
        gone = model.decode(params, latent).position - rest
        return jnp.einsum("cij,bnj->bcni", turns, gone).reshape(len(gone), -1, 3)

    return lambda index: decoded(jnp.asarray(latent[index], jnp.float32))


def _extent(displaced: Displacements, particles: int, batch_size: int) -> float:
    """Return the root mean square of displacements over some particles, spread over the set."""
    chosen = spread_indices(particles, SAMPLE)
    blocks = (chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size))
    squares = [float(jnp.sum(displaced(block) ** 2, axis=-1).mean()) * len(block) for block in blocks]
    return float(np.sqrt(sum(squares) / len(chosen)))


def _described(particles: ParticleSet) -> str:
    """Return which particles a run was trained on, in words."""
    halves = np.zeros(0) if particles.half_set is None else np.unique(particles.half_set)
    if len(halves) == 1:
        return f"its {len(particles)} particles, of half-set {int(halves[0]) + 1} alone"
    return f"all of its {len(particles)} particles" + (", of both half-sets" if len(halves) else "")
