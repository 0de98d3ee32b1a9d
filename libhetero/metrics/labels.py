"""Agreement of two labellings of the same particles."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)

from libhetero.errors import DataError


def matched_accuracy(truth: Int[np.ndarray, "n"], found: Int[np.ndarray, "n"]) -> float:
    """Return the fraction labelled rightly under the best one-to-one matching of labels.

    Hungarian matching on the table of counts; a label without a partner counts as wrong.
    """
    truth_index = np.unique(truth, return_inverse=True)[1]
    found_index = np.unique(found, return_inverse=True)[1]
    table = np.zeros((truth_index.max() + 1, found_index.max() + 1), np.int64)
    np.add.at(table, (truth_index, found_index), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / len(truth_index))


def label_agreement(truth: Int[np.ndarray, "n"], found: Int[np.ndarray, "n"]) -> dict[str, float]:
    """Return ARI, AMI, NMI and accuracy after Hungarian matching.

    Parameters
    ----------
    truth, found : (n,), one label a particle; the names of the labels do not matter.

    Raises
    ------
    DataError : if the two have different lengths or are empty.
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape or truth.size == 0:
        raise DataError(
            f"labels: the truth has {truth.shape[0]} labels and the result {found.shape[0]}; expected "
            "equal numbers, at least 1. Score the run against the truth of its own particles."
        )
    return {
        "ari": float(adjusted_rand_score(truth, found)),
        "ami": float(adjusted_mutual_info_score(truth, found)),
        "nmi": float(normalized_mutual_info_score(truth, found)),
        "accuracy": matched_accuracy(truth, found),
    }
