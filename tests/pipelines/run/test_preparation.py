"""What is decided of a run by its images, before it begins: whether particles are held out."""

import dataclasses
import logging

import numpy as np
import pytest

from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config, with_model
from libhetero.pipelines.run.preparation import FEWEST_TO_HOLD_OUT, HELD_OUT, with_held_out
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig
from tests.making.feeds import BOX, ArrayReader
from tests.making.particles import make_particles


def feed_of(signal, count=600, series=False):
    """Return images of a blob in noise, its power such a part of that of the noise."""
    random, axis = np.random.default_rng(3), np.arange(BOX) - BOX // 2
    blob = np.exp(-(axis[:, None] ** 2 + axis**2) / 8)
    images = np.sqrt(signal) * blob / blob.std() + random.normal(size=(count, BOX, BOX))
    particles = make_particles(count)
    if series:
        particles = dataclasses.replace(particles, group=np.arange(count) // 3)
    return ParticleFeed(ArrayReader(images.astype(np.float32)), particles, PreprocessConfig())


def held_out(feed, family="hype", training=None, model=None):
    asked = RefineConfig("particles", family=family, training=training or {}, model=model or {})
    config = with_held_out(new_config(asked), asked.training, feed)
    kept = with_model(config, asked, config.model, config.data)  # as what the particles settle goes in
    assert kept.training == config.training
    return config.training.test_fraction


def test_cryohype_holds_particles_out_where_the_signal_is_faint_and_says_so(caplog):
    with caplog.at_level(logging.INFO):
        assert held_out(feed_of(0.003)) == HELD_OUT
    assert "less than 3 % of the noise" in caplog.text and "--usetest 0 for none" in caplog.text
    assert held_out(feed_of(0.3)) == 0


@pytest.mark.parametrize(
    "options",
    [{"training": {"test_fraction": 0.0}}, {"model": {"start": "none"}}, {"family": "gmm"}],
    ids=["asked for none", "no classes", "Gaussians"],
)
def test_nothing_is_held_out_where_that_was_decided_or_no_noise_is_learnt(options):
    assert held_out(feed_of(0.003), **options) == 0


def test_what_was_asked_for_is_held_out_and_few_particles_and_series_are_trained_on_whole():
    assert held_out(feed_of(0.003), training={"test_fraction": 0.25}) == 0.25
    assert held_out(feed_of(0.003, FEWEST_TO_HOLD_OUT - 1)) == 0
    assert held_out(feed_of(0.003, series=True)) == 0
