"""Regions and the whole as rigid bodies of patches."""

import numpy as np

from libhetero.analysis.region_columns import rigid_equations, split_regions
from tests.making.patch_images import bodies, equations


def test_patches_lie_in_one_region_each_and_are_of_about_one_size():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2, -1], [300, 200, 90, 10])
    position = rng.normal(size=(600, 3)) + 10 * np.eye(3)[np.maximum(label, 0)]
    patches = split_regions(position, label)
    assert (patches.patch >= 0).all() and set(patches.patch) == set(range(len(patches.region)))
    np.testing.assert_array_equal(patches.region[patches.patch], np.maximum(label, 0))
    assert 25 <= len(patches.region) <= 40
    for number, centre in enumerate(patches.centre):
        np.testing.assert_allclose(centre, position[patches.patch == number].mean(axis=0))


def test_a_region_of_one_patch_cannot_turn():
    label = np.repeat([0, 1], [99, 3])
    patches = split_regions(np.random.default_rng(1).normal(size=(102, 3)), label)
    said = rigid_equations(
        np.zeros((2, 4 * len(patches.region), 4 * len(patches.region))), np.zeros((2, 4 * len(patches.region))), patches
    )
    assert sorted(said.kind[said.region == 1]) == ["amplitude", "motion", "motion", "motion"]
    assert np.sum(said.kind[said.region == 0] == "turn") == 3


def test_what_bodies_do_is_what_their_patches_do_together():
    """Without noise, g = H c: of the bodies' changes as of the patches'."""
    rng = np.random.default_rng(2)
    patches = bodies(rng, regions=1)
    count = len(patches.region)
    inside = patches.region == 1
    change = np.zeros((5, 4, count))
    change[:, 3] += 0.2 * rng.normal(size=(5, 1))  # contrast
    change[:, 2, inside] += rng.normal(size=(5, 1))  # region 1 along z
    hessian, _ = equations(rng, patches, change.reshape(5, -1))
    gradient = np.einsum("nij,nj->ni", hessian, change.reshape(5, -1))
    said = rigid_equations(hessian, gradient, patches)
    held = np.zeros((5, len(said.kind)))
    held[:, 0] = change[:, 3, 0]
    held[:, np.flatnonzero((said.region == 1) & (said.kind == "motion"))[2]] = change[:, 2, inside][:, 0]
    np.testing.assert_allclose(said.gradient, np.einsum("nij,nj->ni", said.hessian, held), rtol=1e-3, atol=1e-2)
    assert said.kind[0] == "amplitude" and said.region[0] == 0
