"""What is known of the particles beforehand, to colour a figure by, and nothing else."""

from __future__ import annotations

import numpy as np

from libhetero.errors import ConfigurationError
from libhetero.pipelines.decoding.class_files import read_classes
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from libhetero.report.embedding import Labelling


def known_labels(run: Run, truth: str | None, labels: str | None) -> list[Labelling]:
    """Return what is known of the particles; empty if nothing is.

    Parameters
    ----------
    truth : folder of a simulated truth.
    labels : text file of particle index and label, which goes first.

    Raises
    ------
    UserError : one line on what is wrong with the truth or the file.
    """
    if labels is not None:
        label = np.full(len(run.particles), -1)
        index, given = read_classes(labels, len(label), list_digest(run.particles))
        label[index] = given
        return [Labelling("given label", label)]
    if truth is None:
        return []
    opened = open_truth(truth)
    if opened.labels is None:
        raise ConfigurationError(
            f"{truth}: the truth of a {opened.kind} set has no labels; expected one of a mixture "
            "or an assembly. Leave --truth out."
        )
    return [Labelling("true label", opened.labels[places_in_truth(run.particles, opened)])]
