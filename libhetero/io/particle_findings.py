"""What a model says of each particle beside its latent, as text (`particles_00.txt`)."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.tables import check_list_order, read_numbers
from libhetero.records import PoseChange

COLUMNS = "particle index, contrast, contrast_sd, evidence and junk"
HEADER = "particle, contrast, contrast_sd, evidence (nats), junk (probability)"


@dataclass(frozen=True, eq=False)
class ParticleFindings:
    """What the image of each particle says of it.

    Parameters
    ----------
    contrast : relative to the set, by the image alone.
    contrast_deviation : its standard deviation; 0 where it was not estimated.
    evidence : log p(image | model) - log p(image | noise alone), nats.
    junk : probability that it shows nothing of the molecule.
    poses : what the list's poses are off by, kept in a file of its own (`pose_changes`); None where not refined.
    """

    contrast: Float[np.ndarray, "particles"]
    contrast_deviation: Float[np.ndarray, "particles"]
    evidence: Float[np.ndarray, "particles"]
    junk: Float[np.ndarray, "particles"]
    poses: PoseChange | None = None


def write_findings(path: str | os.PathLike, findings: ParticleFindings) -> None:
    """Write one particle a line, in the order of their list."""
    columns = [findings.contrast, findings.contrast_deviation, findings.evidence, findings.junk]
    table = np.column_stack([np.arange(len(findings.contrast)), *map(np.nan_to_num, columns)])
    with replacing(path) as beside:
        np.savetxt(beside, table, fmt=("%d", "%.5f", "%.5f", "%.3f", "%.5f"), header=HEADER)


def read_findings(
    path: str | os.PathLike, count: int, remedy: str = "Remove it and mid_00.txt, and both are made anew."
) -> ParticleFindings:
    """Read what is known of all particles of a list.

    Parameters
    ----------
    count : particles there are.
    remedy : where the file is of others, a sentence; of a run by default.

    Raises
    ------
    DataError : if the file is missing, is no such table, or is of other particles.
    """
    table = read_numbers(path, COLUMNS, least=5, most=5, whole=(0,), rows=count)
    check_list_order(path, table, count, remedy)
    if table[:, 4].min() < 0 or table[:, 4].max() > 1:
        raise DataError(f"{path}: holds a probability of junk outside 0 to 1; expected {COLUMNS}.")
    return ParticleFindings(*table[:, 1:].T)
