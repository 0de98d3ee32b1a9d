"""Amplitude accuracy, motion and regions."""

import numpy as np
import pytest

from libhetero.metrics import amplitude, motion, presence
from libhetero.metrics.regions import matched_regions, region_agreement


def test_closest_atoms_by_brute_force():
    random = np.random.default_rng(0)
    position, atoms = random.normal(size=(9, 3)), random.normal(size=(20, 3))
    table = np.linalg.norm(position[:, None] - atoms[None], axis=-1)
    index, distance = amplitude.closest_atoms(position, atoms)
    np.testing.assert_array_equal(index, table.argmin(axis=1))
    np.testing.assert_allclose(distance, table.min(axis=1))


def simulated_amplitudes(particles=400):
    """Core and two optional pieces; amplitude 2 when present, 0.2 when absent."""
    random = np.random.default_rng(1)
    piece = np.repeat([0, 1, 2], 10)
    states = np.ones((particles, 3), np.uint8)
    states[:, 1:] = random.random((particles, 2)) < 0.5
    noise = 0.1 * random.normal(size=(particles, 30))
    return np.where(states[:, piece] == 1, 2.0, 0.2) + noise, piece, states


def test_both_references_on_a_clean_signal():
    decoded, piece, states = simulated_amplitudes()
    for reference in (np.full(30, 2.0), amplitude.percentile_reference(decoded)):
        accuracy = amplitude.amplitude_accuracy(decoded, reference, piece, states)
        assert accuracy["all"] == accuracy["optional"] == 1
        assert accuracy["always_present"] == pytest.approx(states[:, piece].mean())


def test_percentile_reference_mends_a_half_density_neutral_model():
    decoded, piece, states = simulated_amplitudes()
    consensus = decoded.mean(axis=0) * 0.3
    neutral = amplitude.amplitude_accuracy(decoded, consensus, piece, states)
    label_free = amplitude.amplitude_accuracy(decoded, amplitude.percentile_reference(decoded), piece, states)
    assert neutral["all"] < 0.9 and label_free["all"] == 1


def test_accuracy_counts_one_by_one():
    decoded = np.array([[1.0, 0.4], [0.6, 0.5]])
    states = np.array([[1, 1], [1, 0]])
    accuracy = amplitude.amplitude_accuracy(decoded, np.ones(2), np.array([0, 1]), states)
    assert accuracy["all"] == 0.5
    assert accuracy["optional"] == 0.0
    assert accuracy["always_present"] == 0.75


def test_displacement_rmsd():
    truth = np.zeros((2, 4, 3))
    decoded = truth.copy()
    decoded[1, :, 0], decoded[1, :, 1] = 3.0, 4.0
    np.testing.assert_allclose(motion.displacement_rmsd(decoded, truth), [0, 5])
    np.testing.assert_allclose(motion.about_mean(decoded)[0, 0], [-1.5, -2, 0])


def test_regions_recover_pieces_whatever_their_names():
    piece = np.repeat([0, 1, 2, 3], 10)
    region = np.array([7] * 10 + [3] * 10 + [5] * 10 + [-1] * 10)
    agreement = region_agreement(region, piece, np.array([0, 1, 1, 1]))
    assert agreement["recovered"] == 2 and agreement["pieces"] == 3 and agreement["regions"] == 3
    assert agreement["ari"] == 1
    assert agreement["iou"] == [1, 1, 1, 0] and agreement["match"] == [7, 3, 5, -1]


def test_regions_of_two_labellings_are_matched_one_to_one():
    label = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, -1])
    other = np.array([0, 0, 5, 5, 5, 0, 1, 1, 1, 0, 0, 1])
    match, iou = matched_regions(label, other)
    np.testing.assert_array_equal(match, [5, 1, -1])
    np.testing.assert_allclose(iou, [3 / 4, 3 / 4, 0])
    np.testing.assert_allclose(matched_regions(label, label)[1], [1, 1, 1])
    assert len(matched_regions(np.zeros(5, int), np.ones(5, int))[0]) == 0
    np.testing.assert_allclose(matched_regions(np.ones(5, int), np.zeros(5, int)), [[-1], [0]])


def test_one_region_is_not_two_pieces():
    piece = np.repeat([0, 1], 10)
    agreement = region_agreement(np.zeros(20, int), piece, np.array([1, 1]))
    assert agreement["recovered"] == 1 and agreement["ari"] == 0


def test_matching_prefers_recovery_to_total_overlap():
    piece = np.array([0] * 11 + [1] * 8)
    region = np.array([0] * 7 + [1] * 4 + [0] * 3 + [2] * 5)
    agreement = region_agreement(region, piece, np.array([1, 1]))
    assert agreement["recovered"] == 2


def test_the_constant_region_is_no_optional_piece():
    piece = np.repeat([0, 1, 2], [4, 10, 10])
    region = np.repeat([0, 0, 3], [4, 10, 10])
    agreement = region_agreement(region, piece, np.array([0, 1, 1]), constant=0)
    assert agreement["match"] == [0, -1, 3] and agreement["iou"][1] == 0
    assert agreement["recovered"] == 1 and agreement["regions"] == 1
    assert region_agreement(region, piece, np.array([0, 1, 1]))["recovered"] == 2


def test_pieces_that_never_change_are_of_the_core():
    piece = np.repeat([0, 1, 2], 10)
    nothing = region_agreement(np.zeros(30, int), piece, np.zeros(3, bool), constant=0)
    assert nothing["ari"] == 1 and nothing["pieces"] == 0
    found = region_agreement(np.repeat([0, 0, 1], 10), piece, np.array([0, 0, 1]), constant=0)
    assert found["ari"] == 1 and found["recovered"] == 1


def test_classes_are_named_by_their_amplitude_alone():
    """Three classes of two states: the names do not matter, a class between goes to the nearer side."""
    random = np.random.default_rng(3)
    label = np.repeat([4, 0, 2], 50)
    relative = np.repeat([1.0, 0.1, 0.75], 50) + 0.02 * random.normal(size=150)
    state = np.repeat([1, 0, 1], 50)
    assert presence.class_accuracy(relative, label, state) == 1
    assert presence.class_accuracy(relative, label, 1 - state) == 0
    label[:15] = presence.NO_CLASS
    assert presence.class_accuracy(relative, label, state) == pytest.approx(0.9)
    one = presence.class_accuracy(relative, np.zeros(150, int), state)
    assert one in (pytest.approx(1 / 3), pytest.approx(2 / 3)), "one class says nothing"


def test_relative_amplitude_of_a_gaussian_without_reference():
    found = amplitude.relative_amplitude(np.array([[1.0, 1.0, 1.0]]), np.array([2.0, 0.0, -1.0]))
    np.testing.assert_array_equal(found, [[0.5, 0, 0]])


def test_rank_correlation_has_no_sign_and_no_scale():
    angle = np.random.default_rng(2).uniform(-1, 1, 200)
    assert motion.rank_correlation(-np.exp(3 * angle), angle) == pytest.approx(1)
    assert motion.rank_correlation(np.ones(200), angle) == 0
    assert motion.rank_correlation(np.random.default_rng(4).normal(size=200), angle) < 0.3


def test_half_is_present():
    found = amplitude.found_present(np.array([[1.0, 0.99, 1.0]]), np.array([2.0, 2.0, 0.0]))
    np.testing.assert_array_equal(found, [[True, False, False]])


def test_the_midpoint_is_present_and_lies_between_the_ends():
    half = np.repeat([0.0, 1.0, 0.0, 1.0], [19, 19, 1, 1])
    label = np.repeat([0, 1, 2], [19, 19, 2])
    np.testing.assert_array_equal(presence.present_classes(half, label), label > 0)
    rare = np.repeat([0.0, 1.0, 0.0, 1.0], [70, 25, 4, 1])
    label = np.repeat([0, 1, 2], [70, 25, 5])
    np.testing.assert_array_equal(presence.present_classes(rare, label), label == 1)


def test_a_reference_without_truth_is_what_few_particles_exceed():
    decoded = np.repeat([[0.0], [1.0], [7.0]], [90, 8, 2], axis=0)
    np.testing.assert_allclose(amplitude.percentile_reference(decoded), [1.0])
