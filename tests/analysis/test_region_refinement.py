"""Regions are merged, split, dissolved and weighed by what their members change in common."""

import numpy as np
import pytest

from libhetero.analysis.embedding import unit_rows
from libhetero.analysis.region_refinement import Refinement, _merge, refine_regions

RULES = Refinement(min_size=5, assign=0.5, least_share=0.35, weak=0.35)
EACH = 20


def gaussians_of(weights, each=EACH, noise=0.2, seed=0):
    """Return S and unit vectors for groups of Gaussians that carry sums of independent signals."""
    rng = np.random.default_rng(seed)
    carried = np.repeat(np.asarray(weights, float), each, axis=0)
    carried = carried * rng.normal(1, 0.1, (len(carried), 1))
    return carried @ carried.T + noise * np.eye(len(carried)), unit_rows(carried)


def groups(labels):
    """Return the label of every group of Gaussians, and check that each has one."""
    labels = labels.reshape(-1, EACH)
    assert (labels == labels[:, :1]).all(), labels
    return labels[:, 0].tolist()


def refine(weights, start, rules=RULES):
    similarity, points = gaussians_of(weights)
    return groups(refine_regions(similarity, points, np.repeat(start, EACH), rules))


def test_two_regions_of_one_signal_are_one():
    assert refine([[1, 0], [0.9, 0.2], [0, 1]], [0, 1, 2]) == [0, 0, 1]


def test_one_region_of_two_signals_is_two():
    assert sorted(refine([[1, 0], [0, 1]], [0, 0])) == [0, 1]


def test_a_border_goes_to_the_region_it_carries_most_of():
    found = refine([[1, 0], [0, 1], [0.6, 0.4]], [0, 1, 2])
    assert found[0] == found[2] != found[1]


def test_pieces_that_exclude_each_other_stay_two():
    assert sorted(refine([[1, 0], [-1, 0], [0, 1]], [0, 1, 2])) == [0, 1, 2]


def test_what_overcompensates_at_a_border_is_no_region():
    assert refine([[1, 0], [0, 1], [-0.4, 0.02]], [0, 1, 2])[2] == -1


def test_a_leak_into_the_core_is_no_member():
    assert refine([[1, 0], [0, 1], [0.2, 0]], [0, 1, 0])[2] == -1


def test_a_weak_region_is_core_unless_the_user_says_what_counts():
    weights, start = [[1, 0, 0], [0, 1, 0], [0, 0, 0.2]], [0, 1, 2]
    assert refine(weights, start)[2] == -1
    told = Refinement(min_size=5, assign=0.5, least_share=0.35, weak=0.35, least=0.1)
    assert sorted(refine(weights, start, told)) == [0, 1, 2]


def test_clusters_may_be_taken_as_they_are():
    asis = Refinement(min_size=5, assign=0.5, least_share=0.35, weak=0.35, restructure=False)
    assert refine([[1, 0], [0, 1]], [0, 0], asis) == [0, 0]
    assert sorted(refine([[1, 0], [1, 0], [0, 1]], [0, 1, 2], asis)) == [0, 1, 2]
    assert refine([[1, 0], [1, 0]], [0, -1], asis) == [0, 0]


@pytest.mark.parametrize("start", [[-1, -1, -1], [0, -1, -1], [0, -1, 0]])
def test_gaussians_of_no_cluster_join_a_region_or_make_one(start):
    first, same, other = refine([[1, 0], [1, 0], [0, 1]], start)
    assert first == same != other
    assert {first, other} == {0, 1}


def merged(weights):
    """Return the region of each group once regions of one signal are joined, each group a region before."""
    similarity, _ = gaussians_of(weights)
    np.fill_diagonal(similarity, 0)
    return groups(_merge(similarity, np.repeat(np.arange(len(weights)), EACH)))


def test_regions_are_one_from_a_correlation_of_four_fifths_on():
    assert merged([[1, 0], [0.85, 0.527]]) == [0, 0]
    assert merged([[1, 0], [0.75, 0.661]]) == [0, 1]


def test_a_merged_region_is_judged_as_a_whole():
    """Its signal is that of all its members: a third like it joins, one half like it does not."""
    assert merged([[1, 0], [1, 0], [1, 0], [0, 1]]) == [0, 0, 0, 1]
    assert merged([[1, 0], [1, 0], [0.5, 0.866]]) == [0, 0, 1]
    assert merged([[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) == [0, 1, 0, 2]


def test_a_merged_region_is_as_large_as_its_parts():
    """In regions of two Gaussians the pairs i = j that are left out weigh much."""
    similarity, _ = gaussians_of([[1, 0], [1, 0], [0.88, 0.475]], each=2)
    np.fill_diagonal(similarity, 0)
    assert _merge(similarity, np.repeat([0, 1, 2], 2)).tolist() == [0] * 6


def test_a_merged_region_has_the_signal_of_all_its_members():
    """The third is like the first of two that are merged, and not like both."""
    assert merged([[1, 0], [0.84, 0.543], [0.82, -0.572]]) == [0, 0, 1]
