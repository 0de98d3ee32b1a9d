"""Particles that a model's start is measured on, and those beside that are searched."""

from __future__ import annotations

import numpy as np
import pytest

from libhetero.models.gmm import config as limits
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.hype.config import HypeConfig
from libhetero.pipelines.run import preparation
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.training.configuration import TrainingConfig
from tests.making.feeds import BOX, make_feed


def config_of(family: str, model: object) -> RunConfig:
    """Return the configuration of a run."""
    return RunConfig(family=family, model=model, training=TrainingConfig(), data=DataConfig("set.star"))


def test_particles_beyond_those_that_memory_holds_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch):
    feed, trained_on = make_feed(), np.arange(0, 50, 2)
    config = config_of("gmm", GmmConfig())
    assert preparation.further_of(config, feed, trained_on) is None, "all full images are held"
    monkeypatch.setattr(limits, "SUBSPACE_SAMPLE", 20)
    monkeypatch.setattr(limits, "SAMPLE_BYTES", 8 * 4 * BOX**2)
    monkeypatch.setattr(preparation, "READ_BYTES", 5 * 4 * BOX**2)
    monkeypatch.setattr(preparation, "SAMPLE", 2)
    sample, further = (read(config, feed, trained_on) for read in (preparation.sample_of, preparation.further_of))
    assert further is not None
    assert (len(sample.weight), len(further.weight)) == (8, 12)
    assert len(np.union1d(sample.index, further.index)) == 20 and set(further.index) <= set(trained_on)
    assert preparation.further_of(config_of("hype", HypeConfig()), feed, trained_on) is None
