"""All particles of a list are sorted: those that were searched as the search says, each of the others once."""

from types import SimpleNamespace

import numpy as np
import pytest

from libhetero.models.hype.latent.central import CentralSlices
from libhetero.models.hype.latent.class_search import Mixture
from libhetero.models.hype.latent.classes import Judged
from libhetero.pipelines.classifying import search
from libhetero.pipelines.classifying.search import SliceReader

COUNT, BATCH = 23, 5


class Feed(SimpleNamespace):
    """A list of so many particles."""

    def __len__(self):
        return COUNT


def slices_of(places):
    """Return slices of a pixel, whose value is the place of the particle in the list."""
    one = np.ones((len(places), 1), np.float32)
    rotation = np.tile(np.eye(3, dtype=np.float32), (len(places), 1, 1))
    return CentralSlices(one * places[:, None] + 0j, one, rotation, np.zeros((1, 2)))


def told(slices, more=0):
    """Return of each particle its place, or so much more."""
    places = slices.image[:, 0].real
    label = places.astype(int) + more
    return Judged(label, *(places + more for _ in range(4)), part=label)


@pytest.fixture
def reader(monkeypatch):
    """A reader of a list whose last batch is filled up, and what is told of how far it has got."""

    def batches(feed, size, index):
        for start in range(0, len(index), size):
            yield np.resize(index[start : start + size], size)

    shown = []

    def tracked(blocks, total, what, size=len, progress=None):
        for block in blocks:
            yield block
            shown.append((size(block), total))

    monkeypatch.setattr(search, "tracked", tracked)
    monkeypatch.setattr(search, "fitting_batches", batches)
    monkeypatch.setattr(search, "central_slices", lambda batch, *_: slices_of(batch))
    monkeypatch.setattr(search, "BLOCK", 7)
    made = object.__new__(SliceReader)
    for name, value in (("feed", Feed(views=1, box_size=8, pixel_size=1.0)), ("noise", None), ("batch_size", BATCH)):
        object.__setattr__(made, name, value)
    return made, shown


@pytest.mark.parametrize("chosen", [np.arange(0, COUNT, 2), np.arange(COUNT)])
@pytest.mark.parametrize("searched", [None, [1, 2, 5], "all"])
def test_each_particle_is_judged_once(reader, chosen, searched, monkeypatch):
    reader, shown = reader
    rows, judged, mixture = None, [], object.__new__(Mixture)
    if searched is not None:
        rows = np.arange(len(chosen)) if searched == "all" else np.array(searched)

    def judge(self, slices):
        judged.append(told(slices).label)
        return told(slices)

    monkeypatch.setattr(Mixture, "judge", judge)
    monkeypatch.setattr(
        Mixture, "judge_searched", lambda self, slices: None if rows is None else (rows, told(slices.take(rows), 1000))
    )
    found = search._all_judged(reader, slices_of(chosen), chosen, mixture)
    known = np.zeros(COUNT, bool)
    if rows is not None:
        known[chosen[rows]] = True
    for part in (found.label, found.part, found.evidence):
        np.testing.assert_array_equal(part, np.arange(COUNT) + 1000 * known)
    np.testing.assert_array_equal(np.concatenate([np.zeros(0, int), *judged]), np.flatnonzero(~known))
    assert sum(size for size, _ in shown) == (0 if len(chosen) == COUNT else np.count_nonzero(~known))


def test_what_a_batch_is_filled_up_with_is_not_counted(reader):
    reader, shown = reader
    blocks = list(reader.blocks(np.arange(COUNT), 7, "reading"))
    np.testing.assert_array_equal(np.concatenate([block.image[:, 0].real for block in blocks]), np.arange(COUNT))
    assert sum(size for size, _ in shown) == COUNT and {total for _, total in shown} == {COUNT}
