"""Many classes regrouped image by image: cut and mixed classes are mended, and one molecule stays one."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.models.hype.latent import class_search, judges
from libhetero.models.hype.latent.class_search import Stage, find_classes, known_mixture
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid, one_pixel_a_point
from libhetero.models.hype.latent.judges import ByVolumes, InSubspace
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.predictive import Predicted
from libhetero.models.hype.latent.regrouping import _near_pairs, regrouped
from libhetero.models.hype.latent.subspace import principal_subspace
from libhetero.models.hype.latent.volumes import sums_of
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
    joint = np.tile([0.0, -1.0], (len(label), 1))
    pairs = _near_pairs(label, Predicted(candidate, joint, np.ones_like(joint), np.ones_like(joint)), 9)
    assert len(pairs) and np.all(pairs[:, 0] < pairs[:, 1])


def test_classes_far_apart_are_not_tried_as_one():
    label = np.repeat(np.arange(3), 10)
    candidate = np.stack([label, (label + 1) % 3, (label + 2) % 3], axis=1)
    joint = np.tile([0.0, -1.0, -50.0], (30, 1))
    pairs = _near_pairs(label, Predicted(candidate, joint, np.ones_like(joint), np.ones_like(joint)), 3)
    np.testing.assert_array_equal(np.unique(pairs, axis=0), [[0, 1], [0, 2], [1, 2]])
    far = _near_pairs(label, Predicted(candidate, 50 * joint, np.ones_like(joint), np.ones_like(joint)), 3)
    assert len(far) == 0


def test_pixels_at_one_point_are_one(mixed):
    """Sums over an image stay, although pixels shared points."""
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
    whole, merged = (sums_of(each, TRUTH, MOLECULES).whole() for each in (seen, one))
    width, centre = 2 * seen.grid.reach + 1, seen.grid.reach
    other = np.arange(seen.grid.size) >= width * width  # where kx = 0 two points hold one value
    assert centre * width + centre < width * width
    np.testing.assert_allclose(merged.numerator[..., other], whole.numerator[..., other], atol=1e-3)
    np.testing.assert_allclose(merged.weight[..., other], whole.weight[..., other], rtol=1e-4, atol=1e-6)


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
    folded, now = regrouped(*mixed[:2], label, mixed[2], 0.05, 0, done.append)
    assert done[-1] == pytest.approx(1) and np.all(np.diff(done) > 0)
    assert folded.grid.ring == mixed[1].grid.ring and len(folded.seen) == len(label)
    return now.label


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
    """The subspace holds fewer directions than molecules; particles are judged by volumes then."""
    monkeypatch.setattr(class_search, "MOST_RANK", 4)
    monkeypatch.setattr(class_search, "REGROUPED_FROM", 4)
    monkeypatch.setattr(class_search, "LOW", Stage(4, 1.0))
    monkeypatch.setattr(class_search, "STAGES", (Stage(5, 1.0),))
    calls, shown = [], molecules(MOLECULES)
    seen = slices(TRUTH, shown, ring=5, strength=2.0)
    found = find_classes(seen, seed=1, progress=calls.append)
    assert isinstance(found.judges, ByVolumes) and found.molecules == MOLECULES
    assert adjusted_rand_score(TRUTH, found.labels(seen)) > 0.95
    assert calls[-1] == pytest.approx(1) and np.all(np.diff(calls) > 0)
    others = slices(TRUTH, shown, ring=5, strength=2.0, seed=7)
    judged = found.shown().judge(others)
    assert adjusted_rand_score(TRUTH, judged.label) > 0.95
    rows, searched = found.shown().judge_searched(seen)
    np.testing.assert_array_equal(rows, np.arange(len(TRUTH)))
    np.testing.assert_array_equal(searched.label, found.labels(seen))
    assert np.all((searched.probability > 0) & (searched.probability <= 1))


def test_many_classes_are_joined_to_as_many_as_are_wanted(monkeypatch):
    """To more than the subspace has directions for, and to fewer, which are in one then."""
    monkeypatch.setattr(class_search, "MOST_RANK", 4)
    monkeypatch.setattr(class_search, "REGROUPED_FROM", 4)
    monkeypatch.setattr(class_search, "LOW", Stage(4, 1.0))
    monkeypatch.setattr(class_search, "STAGES", (Stage(5, 1.0),))
    seen = slices(TRUTH, molecules(MOLECULES), ring=5, strength=2.0)
    for wanted, kind in ((6, ByVolumes), (3, InSubspace)):
        found = find_classes(seen, wanted, seed=1)
        assert found.molecules == wanted and isinstance(found.judges, kind)
        assert len(np.unique(found.labels(seen))) == wanted


@pytest.fixture
def of_many(monkeypatch):
    """Slices of eight molecules and of noise, where a subspace has four directions and images two likely classes."""
    monkeypatch.setattr(class_search, "MOST_RANK", 4)
    monkeypatch.setattr(class_search, "REGROUPED_FROM", 4)
    monkeypatch.setattr(class_search, "LOW", Stage(4, 1.0))
    monkeypatch.setattr(class_search, "STAGES", (Stage(5, 1.0),))
    monkeypatch.setattr(judges, "LIKELY", 2)
    label = np.concatenate([TRUTH, np.full(100, -1)])
    return label, slices(label, molecules(MOLECULES), ring=5, strength=2.0)


def test_images_of_empty_classes_are_judged_by_those_that_remain(of_many):
    """Junk is in classes of its own; without these, its images have evidence as low as other junk's, and no less."""
    label, seen = of_many
    found = find_classes(seen, seed=1)
    assert found.empty.any()
    shown = found.shown()
    _, searched = shown.judge_searched(seen)
    junk, others = label < 0, shown.judge(slices(np.full(100, -1), molecules(MOLECULES), ring=5, seed=8))
    assert adjusted_rand_score(label[~junk], searched.label[~junk]) > 0.95
    assert np.all(searched.evidence[junk] > 3 * others.evidence.min()) and np.median(searched.evidence[junk]) < 0
    assert np.all((searched.label >= 0) & (searched.label < found.molecules))
    assert np.mean(found.labels(seen)[junk] == -1) > 0.9


@pytest.mark.parametrize(("wanted", "kind"), [(6, ByVolumes), (3, InSubspace)])
def test_classes_are_limited_where_some_are_of_junk(of_many, wanted, kind):
    label, seen = of_many
    found = find_classes(seen, wanted, seed=1)
    assert found.molecules == wanted and isinstance(found.judges, kind)
    assert np.mean(found.shown().judge(seen).evidence[label >= 0] > 0) > 0.95


def test_many_known_classes_are_judged_by_their_volumes(monkeypatch):
    monkeypatch.setattr(class_search, "MOST_RANK", 4)
    monkeypatch.setattr(class_search, "REGROUPED_FROM", 4)
    monkeypatch.setattr(class_search, "STAGES", (Stage(5, 1.0),))
    seen, ones = slices(TRUTH, molecules(MOLECULES), ring=5, strength=2.0), np.ones(len(TRUTH))
    part = np.where((TRUTH == 2) & (np.arange(len(TRUTH)) % 2 == 0), 1, 0)
    found = known_mixture(seen, KnownClasses(TRUTH, part, ones, ones, 0.05), seed=1)
    assert isinstance(found.judges, ByVolumes) and len(found.judges) == MOLECULES + 1
    np.testing.assert_array_equal(found.labels(seen), TRUTH)
    judged = found.judge(slices(TRUTH, molecules(MOLECULES), ring=5, strength=2.0, seed=7))
    assert adjusted_rand_score(TRUTH, judged.label) > 0.95
