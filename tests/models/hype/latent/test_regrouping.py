"""Many classes regrouped image by image: cut and mixed classes are mended, and one molecule stays one."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.models.hype.latent import class_search
from libhetero.models.hype.latent.class_search import Stage, find_classes
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid, one_pixel_a_point
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.predictive import Sorted, against_some, class_tables
from libhetero.models.hype.latent.regrouping import _near_pairs, regrouped
from libhetero.models.hype.latent.subspace import principal_subspace
from tests.making.slices import molecules, slices

MOLECULES, EACH = 8, 25
TRUTH = np.repeat(np.arange(MOLECULES), EACH)


@pytest.fixture(scope="module")
def mixed():
    """Slices of the low rings and of more, and places in a subspace of fewer directions than there are molecules."""
    seen = slices(TRUTH, molecules(MOLECULES), ring=5, strength=2.0)
    low, high = (on_grid(seen, FourierGrid(ring, 1.0, 0.4)) for ring in (4, 5))
    place = normal_equations(low, principal_subspace(low, 4, 0).table).moments()[0]
    return low, high, np.asarray(place, np.float64)


@pytest.mark.parametrize("place", range(9))
def test_no_class_is_its_own_neighbour(place):
    """A class of one image that no other lists, its own candidates numbered anew to none."""
    label = np.delete(np.repeat(np.arange(9), 6), slice(6 * place, 6 * place + 5))
    candidate = np.stack([label, (label + 1) % 9], axis=1)
    candidate[candidate == place] = -1
    candidate[label == place, 0] = place
    pairs = _near_pairs(label, candidate, 9)
    assert len(pairs) and np.all(pairs[:, 0] < pairs[:, 1])


def test_pixels_at_one_point_are_one(mixed):
    """Sums over an image stay, and its likelihood is what it adds to the evidence, although pixels shared points."""
    seen = mixed[0]
    points = [len(np.unique(row)) for row in np.asarray(seen.point)]
    assert np.mean(points) < 0.95 * seen.point.shape[1], "pixels share points"
    one = one_pixel_a_point(seen)
    for row in range(5):
        point = np.asarray(one.point[row])[np.asarray(one.transfer[row]) > 0]
        assert len(np.unique(point)) == len(point)
    np.testing.assert_allclose(
        (np.asarray(one.transfer) ** 2).sum(axis=1), (np.asarray(seen.transfer) ** 2).sum(axis=1), rtol=1e-5
    )
    inverse, ones = np.full(seen.grid.size, 0.5, np.float32), np.ones(len(TRUTH))
    now, image = Sorted(TRUTH, ones, 1e-4), 3
    without = np.where(np.arange(len(TRUTH)) == image, -1, TRUTH)
    whole, less = (class_tables(one, label, MOLECULES, inverse, ones).evidence()[0] for label in (TRUTH, without))
    tables = class_tables(one, TRUTH, MOLECULES, inverse, ones)
    found = against_some(one, tables, now, TRUTH[:, None])
    assert found.joint[image, 0] - now.own_shares()[image] == pytest.approx(whole - less, abs=0.02)


def test_the_two_halves_of_the_plane_are_one():
    """A point of kx = 0 and its opposite hold conjugates of one value."""
    grid = FourierGrid(4, 1.0, 0.4)
    width, centre = 2 * grid.reach + 1, grid.reach
    number = [(centre + y) * width + centre + z for y, z in ((1, 2), (-1, -2))]
    seen = OnGrid(
        grid, *(jnp.asarray([part]) for part in (number, np.array([3 + 1j, 3 - 1j], np.complex64))), jnp.ones((1, 2))
    )
    one = one_pixel_a_point(seen)
    assert one.point[0, 0] == number[0] == one.point[0, 1]
    np.testing.assert_allclose(one.image[0], [(6 + 2j) / np.sqrt(2), 0], rtol=1e-6)
    np.testing.assert_allclose(one.transfer[0], [np.sqrt(2), 0], rtol=1e-6)


def group(mixed, label):
    done = []
    found = regrouped(*mixed[:2], label, mixed[2], 0.05, 0, done.append)
    assert done[-1] == pytest.approx(1) and np.all(np.diff(done) > 0)
    return found


def test_classes_that_were_mixed_and_cut_are_the_molecules_again(mixed):
    """A third of the images anywhere, two molecules in one class, and one molecule in two."""
    random = np.random.default_rng(3)
    label = np.where(TRUTH == 1, 0, TRUTH)
    label = np.where((TRUTH == 2) & (random.random(len(TRUTH)) < 0.5), MOLECULES, label)
    label = np.where(random.random(len(TRUTH)) < 1 / 3, random.integers(0, MOLECULES + 1, len(TRUTH)), label)
    assert adjusted_rand_score(TRUTH, label) < 0.5
    found = group(mixed, label)
    assert adjusted_rand_score(TRUTH, found) > 0.97
    assert len(np.unique(found)) == MOLECULES == found.max() + 1


def test_one_molecule_cut_into_many_classes_is_one(mixed):
    seen = slices(np.zeros(160, int), molecules(1), ring=5, strength=2.0)
    low, high = (on_grid(seen, FourierGrid(ring, 1.0, 0.4)) for ring in (4, 5))
    label = np.random.default_rng(1).integers(0, 12, 160)
    found = group((low, high, np.random.default_rng(2).normal(size=(160, 3))), label)
    assert found.max() == 0


def test_a_search_of_more_classes_than_directions_regroups_them(monkeypatch):
    """The subspace holds fewer directions than molecules; splits and joins in it are left out."""
    monkeypatch.setattr(class_search, "MOST_RANK", 4)
    monkeypatch.setattr(class_search, "LOW", Stage(4, 1.0))
    monkeypatch.setattr(class_search, "STAGES", (Stage(5, 1.0),))
    calls = []
    monkeypatch.setattr(class_search, "split_classes", lambda *given: calls.append(given))
    found = find_classes(slices(TRUTH, molecules(MOLECULES), ring=5, strength=2.0), seed=1, progress=calls.append)
    assert adjusted_rand_score(TRUTH, found.judged.label) > 0.9
    assert all(isinstance(call, float) for call in calls) and calls[-1] == pytest.approx(1)
