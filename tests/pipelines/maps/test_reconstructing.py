"""Half-sets of what is reconstructed: particles of several images stay whole, and neither is empty."""

import dataclasses

import numpy as np

from libhetero.pipelines.maps.reconstructing import half_set_among, reconstruct_some
from tests.making.series import series_feed

GROUP = np.repeat(np.arange(8), 3)


def test_particles_of_a_small_class_are_of_both_half_sets() -> None:
    """Every other particle of the list, as its place in the list would have it, is of one half-set only."""
    particles = series_feed(GROUP).particles
    chosen = np.flatnonzero(GROUP % 2 == 0)
    half = half_set_among(particles, chosen)[chosen]
    np.testing.assert_array_equal(half, np.repeat([0, 1, 0, 1], 3))
    one = dataclasses.replace(particles, half_set=GROUP % 2)
    np.testing.assert_array_equal(half_set_among(one, chosen)[chosen], half)
    np.testing.assert_array_equal(half_set_among(one, np.arange(24)), GROUP % 2)


def test_single_images_are_of_their_own_half_sets_or_taken_alternately() -> None:
    particles = dataclasses.replace(series_feed(GROUP).particles, group=None)
    assert half_set_among(particles, np.arange(4)) is None
    halves = np.arange(24) % 2
    np.testing.assert_array_equal(half_set_among(dataclasses.replace(particles, half_set=halves), np.arange(4)), halves)


def test_half_maps_of_a_small_class_are_of_something() -> None:
    feed = series_feed(GROUP)
    made = reconstruct_some(feed, np.flatnonzero((GROUP == 2) | (GROUP == 6)), 8, "c1", "class")
    assert made.particles == 2
    assert all(np.any(half) for half in made.half_maps)
