"""Agreement of labels."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.metrics.labels import best_matching, cross_table, label_agreement, with_the_most
from tests.reference import metrics as twin


def test_agrees_with_the_definitions():
    random = np.random.default_rng(4)
    truth, found = random.integers(0, 4, 40), random.integers(0, 3, 40)
    found[truth == 2] = 1
    scores = label_agreement(truth, found)
    assert scores["accuracy"] == pytest.approx(twin.matched_accuracy(truth, found))
    assert scores["ari"] == pytest.approx(twin.rand_index_adjusted(truth, found))


def test_renamed_labels_are_perfect():
    truth = np.array([0, 0, 1, 1, 2, 2])
    assert set(label_agreement(truth, (truth + 1) % 3).values()) == {1.0}


def test_different_lengths_are_refused():
    with pytest.raises(DataError, match="expected equal numbers"):
        label_agreement(np.zeros(3, int), np.zeros(4, int))


def test_particles_in_no_class_are_wrong_but_no_class_of_their_own():
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    scores = label_agreement(truth, np.array([5, 5, -1, 7, 7, -1, 9, 9]))
    assert scores["in_class"] == scores["accuracy"] == 0.75
    assert scores["ari"] == scores["ami"] == scores["nmi"] == 1.0
    assert set(label_agreement(truth, np.full(8, -1)).values()) == {0.0}


def test_the_label_that_most_of_a_class_have() -> None:
    found = np.array([0, 0, 0, 1, 1, 1, -1])
    truth = np.array([2, 2, 1, 1, 1, 0, 1])
    assert with_the_most(truth, found).tolist() == [True, True, False, True, True, False, False]


def test_a_cross_table_and_its_best_matching() -> None:
    table = cross_table(np.array([3, 3, 3, 8, 8, 9]), np.array([1, 1, 0, 0, 0, 0]))
    np.testing.assert_array_equal(table, [[1, 2], [2, 0], [1, 0]])
    np.testing.assert_array_equal(best_matching(table), [[0, 1], [1, 0]])
