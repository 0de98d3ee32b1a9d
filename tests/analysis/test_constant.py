"""Which Gaussians change at all: what they share with others, and from where on it counts."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.analysis.constant import constant_threshold, shared_change


def test_what_a_gaussian_changes_alone_is_shared_with_nobody() -> None:
    similarity = np.diag([9.0, 4.0, 1.0, 1.0])
    similarity[0, 1] = similarity[1, 0] = 0.25
    np.testing.assert_allclose(shared_change(similarity, 1), [0.5, 0.5, 0.0, 0.0])


def test_the_most_alike_are_averaged() -> None:
    similarity = np.array(
        [[9.0, 0.25, 0.09, -1.0], [0.25, 9.0, 0.0, 0.0], [0.09, 0.0, 9.0, 0.0], [-1.0, 0.0, 0.0, 9.0]]
    )
    assert shared_change(similarity, 2)[0] == pytest.approx(np.sqrt((0.25 + 0.09) / 2))


def test_one_gaussian_has_its_own_change() -> None:
    np.testing.assert_allclose(shared_change(np.array([[4.0]]), 5), [2.0])


def test_a_tenth_of_what_a_regions_worth_of_gaussians_reaches_counts() -> None:
    size = np.array([0.1, 3.0, 1.0, 2.0])
    assert constant_threshold(size, 2) == pytest.approx(0.2)
    assert constant_threshold(size, 3) == pytest.approx(0.1)
    assert constant_threshold(size, 99) == pytest.approx(0.02), "never less than what is negligible"
    assert constant_threshold(np.zeros(4), 2) == pytest.approx(0.02)
