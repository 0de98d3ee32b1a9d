"""Batches of particles that have several images each."""

import dataclasses

import numpy as np

from libhetero.training.bad_images import BadImages
from libhetero.training.configuration import TrainingConfig
from libhetero.training.loop import train
from libhetero.training.series import SeriesFeed, drawn_from
from tests.making.feeds import make_feed
from tests.making.series import series_feed

GROUP = [3, 1, 3, 1, 3, 9, 1, 4]  # particles of 3, 3, 1 and 1 images, mixed


def test_a_batch_holds_whole_particles_in_one_shape() -> None:
    feed = series_feed(GROUP)
    series = SeriesFeed(feed)
    assert (len(series), series.views, series.box_size) == (4, 3, feed.box_size)
    batch = series.batch(np.array([2, 0]), 3)
    assert batch.views == 3
    np.testing.assert_array_equal(batch.index[:6], [5, 5, 5, 0, 2, 4])
    np.testing.assert_array_equal(batch.weight, [1, 0, 0, 1, 1, 1, 0, 0, 0])
    alone = feed.batch(np.array([0, 2, 4]))
    np.testing.assert_array_equal(batch.images[3:6], alone.images)
    np.testing.assert_array_equal(batch.images[1], batch.images[0])  # padding is a real image
    np.testing.assert_array_equal(batch.pose.shift[3:6], alone.pose.shift)


def test_an_image_that_is_not_finite_has_no_weight() -> None:
    feed = series_feed(GROUP)
    feed = dataclasses.replace(feed, bad=BadImages(feed.particles, 1))
    feed.reader.images[2, 0, 0] = np.nan
    batch = SeriesFeed(feed).batch(np.array([0]))
    np.testing.assert_array_equal(batch.weight, [1, 0, 1])


def test_batches_meet_every_image_once() -> None:
    series, met = SeriesFeed(series_feed(GROUP)), []
    for batch, rows, images in series.batches(3):
        assert len(batch.weight) == 9
        np.testing.assert_array_equal(batch.index[rows], images)
        met.append(images)
    np.testing.assert_array_equal(np.sort(np.concatenate(met)), np.arange(len(GROUP)))


def test_particles_of_some_images_come_with_all_of_theirs() -> None:
    met = np.concatenate([images for _, _, images in SeriesFeed(series_feed(GROUP)).batches(2, np.array([3, 5]))])
    np.testing.assert_array_equal(np.sort(met), [1, 3, 5, 6])


def test_single_images_are_drawn_as_they_are() -> None:
    feed = make_feed(4)
    assert drawn_from(feed) is feed
    assert isinstance(drawn_from(series_feed(GROUP)), SeriesFeed)


class _Counting:
    """A model that learns the mean number of images of a particle."""

    def loss(self, params, batch, key, training=True):
        seen = batch.weight.reshape(-1, batch.views).sum(axis=1)
        there = (seen > 0).astype(seen.dtype)
        error = (there * (params["mean"] - seen) ** 2).sum() / there.sum()
        return error, {"images": seen.sum()}


def test_training_takes_particles_and_not_images() -> None:
    """Steps are those of four particles, and every batch holds all images of its own."""
    config = TrainingConfig(epochs=3, batch_size=2, seed=0, learning_rate=1e-3)
    result = train(_Counting(), {"mean": np.float32(0.0)}, series_feed(GROUP), config)
    assert result.finished and result.step == 6
