"""Volumes that are asked for of a run whose particles have several images: particles count once."""

import dataclasses

import numpy as np
import pytest

from libhetero.io import write_latent
from libhetero.pipelines.decoding import points
from libhetero.pipelines.decoding.class_files import classes_by_kmeans
from tests.making.runs import gaussian_run

COUNT = 20
VIEWS = np.random.default_rng(2).integers(1, 9, COUNT)


@pytest.fixture
def runs(tmp_path):
    """A run of single images, one in which each particle has some, not together; and the place of each first image."""
    folder = tmp_path / "several"
    for made in (folder, tmp_path / "single"):
        made.mkdir()
    single, *_ = gaussian_run(tmp_path / "single", count=COUNT)
    latent = np.random.default_rng(1).normal(size=(COUNT, len(single.model.member))) * [3, 2, 1]
    write_latent(tmp_path / "single/mid_00.txt", np.arange(COUNT), latent)
    shown = np.random.default_rng(3).permutation(np.repeat(np.arange(COUNT), VIEWS))
    _, first, of = np.unique(shown, return_index=True, return_inverse=True)
    assert np.array_equal(of, shown)
    particles = dataclasses.replace(single.particles.take(shown), group=shown)
    several = dataclasses.replace(single, folder=folder, particles=particles)
    write_latent(folder / "mid_00.txt", np.arange(len(shown)), latent[shown])
    return single, several, first


def same(one, other, first):
    """Check that volumes are the same, of the same particles."""
    assert list(one.names) == list(other.names)
    np.testing.assert_array_equal(first[one.particle], other.particle)
    np.testing.assert_allclose(one.distance, other.distance, atol=1e-4)
    np.testing.assert_allclose(np.array(list(one.latents)), np.array(list(other.latents)), atol=1e-4)


def test_components_and_grids_are_of_particles(runs):
    single, several, first = runs
    same(points.along_component(single, 1, 6, 8), points.along_component(several, 1, 6, 8), first)
    same(points.on_grid(single, 3, "pc", 8), points.on_grid(several, 3, "pc", 8), first)


def test_classes_are_of_particles(runs):
    """Their means, medoids and numbers; and those of k-means, which images of one particle have in common."""
    single, several, first = runs
    label, group = classes_by_kmeans(single, 3, 0, 8), several.particles.group
    found = classes_by_kmeans(several, 3, 0, 8)
    assert len(np.unique(found)) == 3 and np.array_equal(found, found[first][group])
    of_images = label[group]
    for centre in ("mean", "medoid"):
        found = points.of_classes(single, label, centre, 8), points.of_classes(several, of_images, centre, 8)
        same(*found, first)
        np.testing.assert_array_equal(found[0].counts, found[1].counts)


def test_parts_along_a_coordinate_are_of_as_many_particles(runs):
    single, several, first = runs
    place = np.random.default_rng(4).normal(size=COUNT)
    found = points.along_coordinates(single, {"region_01": place}, 4, 8)
    of_images = points.along_coordinates(several, {"region_01": place[several.particles.group]}, 4, 8)
    same(found, of_images, first)
    np.testing.assert_array_equal(of_images.counts, [5, 5, 5, 5])


def test_ways_from_neighbour_to_neighbour_lead_over_particles(runs):
    """Though a particle has more images than a point has neighbours."""
    single, several, first = runs
    anchors = np.array([2, 11])
    found = points.along_path(single, anchors, 5, "graph", 8)
    last = np.flatnonzero(several.particles.group == 11)[-1]
    of_images = points.along_path(several, np.array([first[2], last]), 5, "graph", 8)
    same(found, of_images, first)
