"""Agreement of two labellings of the same particles, or of other things."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int, Integer
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

from libhetero.errors import DataError

NO_CLASS = -1


def matched_accuracy(truth: Integer[np.ndarray, "n"], found: Integer[np.ndarray, "n"]) -> float:
    """Return the fraction labelled rightly under the best one-to-one matching of labels.

    Hungarian matching on the table of counts; a label without a partner counts as wrong.
    """
    table = cross_table(truth, found)
    rows, columns = best_matching(table)
    return float(table[rows, columns].sum() / len(truth))


def cross_table(first: Integer[np.ndarray, "n"], second: Integer[np.ndarray, "n"]) -> Int[np.ndarray, "rows columns"]:
    """Return how many have each label of one labelling and each of another, labels in rising order."""
    names, row = np.unique(first, return_inverse=True)
    others, column = np.unique(second, return_inverse=True)
    table = np.zeros((len(names), len(others)), np.int64)
    np.add.at(table, (row, column), 1)
    return table


def best_matching(table: Int[np.ndarray, "rows columns"]) -> tuple[Int[np.ndarray, "pairs"], Int[np.ndarray, "pairs"]]:
    """Return the rows, rising, and their columns of the one-to-one matching that most counts of a table are in."""
    rows, columns = linear_sum_assignment(table, maximize=True)
    return np.asarray(rows, np.int64), np.asarray(columns, np.int64)


def with_the_most(truth: Integer[np.ndarray, "n"], found: Integer[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Return which particles have the true label that most of their class have; False for those in no class."""
    right = np.zeros(len(truth), bool)
    for name in np.unique(found[found != NO_CLASS]):
        inside = found == name
        labels, counts = np.unique(truth[inside], return_counts=True)
        right[inside] = truth[inside] == labels[counts.argmax()]
    return right


def label_agreement(truth: Integer[np.ndarray, "n"], found: Integer[np.ndarray, "m"]) -> dict[str, float]:
    """Return ARI, AMI, NMI, accuracy after Hungarian matching, and the share of particles in a class.

    ARI, AMI and NMI are of the particles in a class; a particle in none counts as wrong for the
    accuracy. With no particle in any class all are 0.

    Parameters
    ----------
    truth, found : one label a particle, as many of both; the names of the labels do not matter, but -1 in `found`
        is no class.

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
    inside = found != NO_CLASS
    share = float(inside.mean())
    if share == 0:
        return {"ari": 0.0, "ami": 0.0, "nmi": 0.0, "accuracy": 0.0, "in_class": 0.0}
    truth, found = truth[inside], found[inside]
    return {
        "ari": float(adjusted_rand_score(truth, found)),
        "ami": float(adjusted_mutual_info_score(truth, found)),
        "nmi": float(normalized_mutual_info_score(truth, found)),
        "accuracy": share * matched_accuracy(truth, found),
        "in_class": share,
    }
