"""Regions of synthetic complexes: pieces that come and go, or turn, are found again."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis.configuration import RegionConfig
from libhetero.analysis.gaussian_features import CovarianceAccumulator, similarity_of
from libhetero.analysis.regions import find_regions
from libhetero.errors import ConfigurationError
from tests.making.pieces import (
    amplitude_changes,
    complex_of_pieces,
    displacements,
    imperfect_amplitudes,
    imperfect_motions,
)

RIBOSOME = (0.37, 0.1, 0.105, 0.033, 0.122, 0.04, 0.037, 0.076, 0.117)  # the 50S in nine pieces


def similarity(rows, feature="amplitude"):
    accumulator = CovarianceAccumulator(int(np.prod(rows.shape[1:])))
    for block in np.array_split(rows, 5):
        accumulator.add(block)
    return similarity_of(accumulator.covariance(), accumulator.mean(), len(rows), feature)


@pytest.mark.parametrize(
    "seed, pieces, noise, leak",
    [
        (0, 3, 0.03, 0.1),
        (1, 3, 0.6, 0.4),
        (2, 4, 0.3, 0.3),
        (3, 5, 0.03, 0.1),
        (4, 5, 0.6, 0.4),
        (5, 6, 0.1, 0.7),
        (6, 8, 0.03, 0.1),
        (7, 8, 0.6, 0.4),
    ],
)
def test_optional_pieces_are_found(seed, pieces, noise, leak):
    rng = np.random.default_rng(seed)
    position, piece = complex_of_pieces(rng, 250, pieces)
    change, _ = amplitude_changes(rng, position, piece, 1500, noise, leak)
    regions = find_regions(similarity(1 + change))
    assert regions.count == pieces
    assert adjusted_rand_score(piece, regions.label) >= 0.9
    assert regions.agreement >= 0.9


@pytest.mark.parametrize("core_fraction", [0.0, 0.9])
def test_core_may_be_absent_or_dominant(core_fraction):
    rng = np.random.default_rng(2)
    position, piece = complex_of_pieces(rng, 250, 4, core_fraction)
    presence = [0.2, 0.5, 0.7, 0.9]
    change, _ = amplitude_changes(rng, position, piece, 1500, 0.2, 0.2, presence)
    regions = find_regions(similarity(1 + change))
    assert adjusted_rand_score(piece, regions.label) >= 0.9


@pytest.mark.parametrize("pieces, noise, leak", [(1, 1.0, 0.3), (3, 0.1, 0.1), (6, 1.0, 0.3)])
def test_turning_pieces_are_found(pieces, noise, leak):
    rng = np.random.default_rng(pieces)
    position, piece = complex_of_pieces(rng, 200, pieces)
    moved = displacements(rng, position, piece, 800, noise, leak) / 4.0
    regions = find_regions(similarity(moved, "motion"), RegionConfig(feature="motion"))
    assert regions.count == pieces
    assert adjusted_rand_score(piece, regions.label) >= 0.9


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"leak": 0.6},
        {"noise": 0.4, "error": 0.3},
        {"correlated": 0.4, "error": 0.35},
        {"core": 0.12, "scale": 0.1},
        {"small": 0.6, "error": 0.25},
    ],
    ids=["plain", "leaking", "noisy", "correlated", "restless-core", "faint-small-pieces"],
)
def test_eight_pieces_survive_what_a_decoder_does_to_them(fault, seed):
    rng = np.random.default_rng(seed)
    position, piece = complex_of_pieces(rng, 500, 8, shares=RIBOSOME)
    regions = find_regions(similarity(imperfect_amplitudes(rng, position, piece, 1500, **fault)))
    assert regions.count == 8
    assert adjusted_rand_score(piece, regions.label) >= 0.9


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"leak": 0.6},
        {"noise": 1.0, "error": 0.4},
        {"crosstalk": 0.15},
        {"drift": 0.35},
        {"extent": (1.0, 0.6, 0.45)},
    ],
    ids=["plain", "leaking", "noisy", "crosstalk", "drifting-core", "uneven"],
)
def test_three_tilting_pieces_survive_what_a_decoder_does_to_them(fault, seed):
    rng = np.random.default_rng(100 + seed)
    position, piece = complex_of_pieces(rng, 400, 3, shares=(0.35, 0.27, 0.22, 0.16))
    moved = imperfect_motions(rng, position, piece, 1200, **fault) / 4.0
    regions = find_regions(similarity(moved, "motion"), RegionConfig(feature="motion"))
    assert regions.count == 3
    assert adjusted_rand_score(piece, regions.label) >= 0.8


def test_the_regions_hardly_depend_on_eps():
    rng = np.random.default_rng(9)
    position, piece = complex_of_pieces(rng, 500, 8, shares=RIBOSOME)
    scan = find_regions(similarity(imperfect_amplitudes(rng, position, piece, 1500))).scan
    assert len(np.unique(scan.clusters)) > 5, "DBSCAN alone does depend on it"
    assert np.mean(scan.groups == 8) >= 0.9


def test_independent_noise_is_no_region():
    noise = 0.3 * np.random.default_rng(10).normal(size=(2000, 200)).astype(np.float32)
    assert find_regions(similarity(1 + noise)).count == 0


@pytest.mark.parametrize("config", [RegionConfig(method="hdbscan"), RegionConfig(embedding="pca")])
def test_other_methods_find_well_separated_pieces(config):
    rng = np.random.default_rng(5)
    position, piece = complex_of_pieces(rng, 400, 3)
    change, _ = amplitude_changes(rng, position, piece, 1500, 0.1, 0.1)
    assert adjusted_rand_score(piece, find_regions(similarity(1 + change), config).label) >= 0.9


def test_one_piece_is_one_region_and_noise_is_none():
    rng = np.random.default_rng(6)
    position, piece = complex_of_pieces(rng, 300, 1)
    change, _ = amplitude_changes(rng, position, piece, 1500, 0.1, 0.2)
    assert find_regions(similarity(1 + change)).count == 1
    still = 0.001 * rng.normal(size=(500, 100)).astype(np.float32)
    assert set(find_regions(similarity(1 + still)).label) == {0}


def test_regions_are_ordered_by_size_and_repeat_exactly():
    rng = np.random.default_rng(7)
    position, piece = complex_of_pieces(rng, 300, 4)
    change, _ = amplitude_changes(rng, position, piece, 1000, 0.1, 0.1)
    first, second = (find_regions(similarity(1 + change)) for _ in range(2))
    sizes = [len(first.members(region)) for region in range(1, first.count + 1)]
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_array_equal(first.label, second.label)
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_given_eps_and_threshold_are_used():
    rng = np.random.default_rng(8)
    position, piece = complex_of_pieces(rng, 300, 3)
    change, _ = amplitude_changes(rng, position, piece, 1000, 0.1, 0.1)
    regions = find_regions(similarity(1 + change), RegionConfig(eps=1.5, constant=0.2))
    assert (regions.eps, regions.threshold) == (1.5, 0.2)
    assert regions.clusters == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "kmeans"}, "--method: expected dbscan or hdbscan; got 'kmeans'"),
        ({"eps": 0.0}, "--eps: expected more than 0 and at most 1000000; got 0"),
        ({"min_size": 1}, "--min_size: expected 2 to 2147483647; got 1"),
        ({"feature": "x"}, "feature: expected one of amplitude, motion, both; got 'x'"),
        ({"auto": True, "eps": 1.0}, "--auto and --eps exclude each other"),
        ({"method": "hdbscan", "eps": 1.0}, "--eps is DBSCAN's"),
    ],
)
def test_configuration_is_checked(wrong, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        RegionConfig(**wrong)
