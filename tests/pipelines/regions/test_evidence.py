"""Particles on which regions are tested."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.pipelines.regions import account, evidence
from libhetero.training.feed import ParticleFeed
from tests.making.feeds import BOX, make_feed


def test_regions_are_tested_on_as_many_particles_however_large_their_images():
    assert [evidence.most_tested(box, 1) for box in (64, 128, 256, 512)] == [4096] * 4
    assert [evidence.most_tested(box, 41) for box in (64, 512)] == [399] * 2


def test_particles_that_memory_does_not_hold_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch):
    feed, chosen = make_feed(), np.arange(3, 30)
    whole = evidence._read(feed, chosen)
    read, batch = [], ParticleFeed.batch
    monkeypatch.setattr(evidence, "SAMPLE_BYTES", 12 * 4 * BOX**2)
    monkeypatch.setattr(ParticleFeed, "batch", lambda self, index: read.append(len(index)) or batch(self, index))
    found = evidence._read(feed, chosen)
    assert max(read) == 3
    np.testing.assert_array_equal(found.index, whole.index)
    np.testing.assert_array_equal(found.images, whole.images)


def test_more_particles_are_advised_only_where_they_are_looked_at():
    few, many = (account.facts_of_nothing(500, 100, (), 0.01, looked=True, most=most)[-1] for most in (4096, 0))
    assert "more particles (up to 4096 are searched)" in few and "more particles" not in many
