"""The poses of a run that refines them: the files that say what the list's are off by.

poses.txt       of a family that refines poses before it is trained, and of a classification: those that were used
poses_00.txt    of a family that solves for them with the latent: as its parameters see them
poses.png       how far they were moved
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.errors import DataError
from libhetero.io.pose_changes import (
    at_given_poses,
    at_refined_poses,
    pose_figures,
    read_pose_changes,
    write_pose_changes,
)
from libhetero.models.families import family_named
from libhetero.pipelines.run.particle_record import record_of
from libhetero.pipelines.run.seen import changed, seen
from libhetero.records import ParticleSet, PoseChange
from libhetero.report.poses import draw_poses

LOGGER = logging.getLogger(__name__)
REFINED, FOUND, FIGURE = "poses.txt", "poses_00.txt", "poses.png"


def write_poses(path: Path, change: PoseChange, given: bool = True) -> None:
    """Write what poses are off by, and the figure beside it, and say how far they were moved.

    Parameters
    ----------
    given : whether there were poses before; without, how far they are from none means nothing.
    """
    write_pose_changes(path, change)
    figures = pose_figures(change)
    if not given:
        known = (float(np.median(figures[name])) for name in ("PoseTurnSd", "PoseShiftSd"))
        LOGGER.info("%s: poses are known to %.2g degrees and %.2g Å in the median", path, *known)
        return
    draw_poses(path.with_name(FIGURE), **vars(change))
    LOGGER.info(
        "%s: poses are turned by %.2g degrees and shifted by %.2g Å in the median (known to %.2g degrees and %.2g Å)",
        path,
        *(float(np.median(figures[name])) for name in ("PoseTurn", "PoseShift", "PoseTurnSd", "PoseShiftSd")),
    )


def refines_first(config: Any) -> bool:
    """Return whether a run refines poses before its model is measured.

    Parameters
    ----------
    config : a `libhetero.pipelines.run.configuration.RunConfig`.
    """
    return config.model.refine_poses and not family_named(config.family).poses_with_latent


def trained_poses(folder: Path, config: Any, particles: ParticleSet) -> ParticleSet:
    """Return the particles of a run at the poses that it was trained with.

    Parameters
    ----------
    folder : of the run.
    config : as of `refines_first`.
    particles : at the list's poses.

    Raises
    ------
    DataError : if the run has refined them and does not say how, or says it of other particles.
    """
    if not refines_first(config):
        return particles
    path = folder / REFINED
    if not path.exists():
        raise DataError(f"{path}: no such file; expected the poses that the run was trained with. Train a new run.")
    return at_refined_poses(particles, poses_of(path, particles))


def poses_of(path: Path, particles: ParticleSet) -> PoseChange:
    """Return what a folder's file says that the poses of its particles are off by.

    Parameters
    ----------
    path : in the folder of a run or a classification.
    particles : of the list, at its poses or at refined ones.

    Raises
    ------
    DataError : if it is damaged, of other particles, or of poses that the list does not have any more.
    """
    record = record_of(path.parent)
    now = changed(record.seen, seen(at_given_poses(particles))) if record is not None else {}
    others = np.any([rows for name, rows in now.items() if name in ("rotation", "shift")], axis=0)
    if np.any(others):
        raise DataError(
            f"{path}: changes of other poses than {np.count_nonzero(others)} of {len(particles)} particles of the list "
            "have now; expected those that were refined. Restore the list, or begin anew with the present one."
        )
    return read_pose_changes(path, len(particles))
