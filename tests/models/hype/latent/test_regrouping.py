"""Many classes regrouped image by image: cut and mixed classes are mended, and one molecule stays one."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.models.hype.latent import class_search
from libhetero.models.hype.latent.class_search import Stage, find_classes
from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.normal_equations import normal_equations
from libhetero.models.hype.latent.regrouping import regrouped
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
