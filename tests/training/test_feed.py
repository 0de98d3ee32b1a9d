"""Batches: their order, their shape, and what is refused."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.physics.observation import seen_through
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed, epoch_order, ordered_indices, prefetch, step_indices, steps_per_epoch
from libhetero.training.preprocess import PreprocessConfig, estimate_deviation, preprocess, remove_odd_phase
from tests.making.feeds import BOX, ArrayReader, make_feed
from tests.making.optics import aberrations
from tests.making.particles import make_particles


def test_every_epoch_meets_every_particle_once_in_another_order() -> None:
    steps = list(step_indices(23, 5, seed=1, first=0, last=10))
    assert steps_per_epoch(23, 5) == 5
    epochs = [np.concatenate(steps[:5]), np.concatenate(steps[5:])]
    for number, epoch in enumerate(epochs):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(23))
        np.testing.assert_array_equal(epoch, epoch_order(23, 1, number))
    assert not np.array_equal(*epochs)
    assert not np.array_equal(epochs[0], epoch_order(23, 2, 0))


def test_order_needs_no_memory() -> None:
    whole = list(step_indices(23, 5, 1, 0, 15))
    for first in (0, 3, 5, 9):
        part = list(step_indices(23, 5, 1, first, 15))
        for one, other in zip(part, whole[first:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_short_batch_is_padded_with_real_images_at_weight_zero() -> None:
    feed = make_feed(10)
    batch = feed.batch(np.array([7, 3]), 4)
    np.testing.assert_array_equal(batch.weight, [1, 1, 0, 0])
    np.testing.assert_array_equal(batch.index, [7, 3, 7, 7])
    np.testing.assert_array_equal(batch.images[2], batch.images[0])
    assert batch.images.shape == (4, BOX, BOX) and batch.images.dtype == np.float32
    assert batch.pose.rotation.shape == (4, 3, 3) and batch.pose.rotation.dtype == np.float32
    assert batch.ctf.defocus_u.shape == (4,) and batch.index.dtype == np.int32


def test_ordered_indices() -> None:
    np.testing.assert_array_equal(np.concatenate(list(ordered_indices(7, 3))), np.arange(7))


def test_crop_changes_box_and_pixel_size() -> None:
    feed = make_feed(4)
    cropped = dataclasses.replace(feed, config=PreprocessConfig(box_size=12))
    assert (feed.box_size, feed.pixel_size) == (16, 2.0)
    assert cropped.box_size == 12 and cropped.pixel_size == pytest.approx(2.0 * 16 / 12)
    assert cropped.batch(np.arange(2)).images.shape == (2, 12, 12)


def test_flipped_images_reach_the_model_unflipped() -> None:
    feed = make_feed(4)
    flipped = dataclasses.replace(feed, particles=dataclasses.replace(feed.particles, phase_flipped=True))
    once = flipped.batch(np.arange(4)).images
    assert np.abs(once - feed.batch(np.arange(4)).images).max() > 0.1
    twice = dataclasses.replace(flipped, reader=ArrayReader(once), config=PreprocessConfig())
    plain = feed.batch(np.arange(4)).images
    np.testing.assert_allclose(twice.batch(np.arange(4)).images, plain, atol=1e-4)


def test_a_model_meets_images_without_odd_aberrations_at_stretched_rotations() -> None:
    feed, index = make_feed(6), np.array([4, 1, 2])
    ctf = dataclasses.replace(feed.particles.ctf, **aberrations(6))
    aberrated = dataclasses.replace(feed, particles=dataclasses.replace(feed.particles, ctf=ctf))
    batch, plain = aberrated.batch(index, 4), feed.batch(index, 4)
    pose, met = seen_through(feed.particles.pose.take(index), ctf.take(index))
    np.testing.assert_allclose(batch.pose.rotation[:3], pose.rotation, atol=1e-6)
    np.testing.assert_array_equal(batch.pose.shift, plain.pose.shift)
    assert batch.ctf.columns().keys() == plain.ctf.columns().keys() | {"magnification", "even_zernike"}
    assert batch.ctf.odd_zernike is None and batch.ctf.even_zernike.dtype == np.float32
    np.testing.assert_allclose(batch.ctf.magnification[:3], met.magnification)
    unprepared = remove_odd_phase(feed.reader.read(index), ctf.take(index), 2.0)
    expected = preprocess(unprepared, feed.config)
    np.testing.assert_allclose(batch.images[:3], expected, atol=1e-5)
    assert np.abs(batch.images - plain.images).max() > 0.1


def test_without_aberrations_nothing_is_touched() -> None:
    """Not a bit: the pose and CTF are the list's, the images those of the stack."""
    feed = make_feed(4)
    batch, ctf = feed.batch(np.arange(4)), feed.particles.ctf
    np.testing.assert_array_equal(batch.pose.rotation, feed.particles.pose.rotation)
    np.testing.assert_array_equal(batch.images, preprocess(feed.reader.read(np.arange(4)), feed.config))
    assert len(jax.tree.leaves(batch.ctf)) == 9 == len(ctf.columns())


def test_a_bad_pixel_is_named_with_its_image() -> None:
    feed = make_feed(4)
    feed.reader.images[2, 5, 5] = np.inf
    with pytest.raises(DataError, match="imaginary.mrcs: image 3 .*not finite"):
        feed.batch(np.arange(4))


def bad_feed(bad, most: int):
    """Ten particles; of those at `bad`, in turn, a pixel is NaN or infinite."""
    feed = make_feed(10)
    for place, value in zip(bad, (np.nan, np.inf, -np.inf) * 4, strict=False):
        feed.reader.images[place, 5, 5] = value
    return dataclasses.replace(feed, bad=BadImages(feed.particles, most))


def test_bad_images_are_zeros_at_weight_zero_and_count_once(caplog) -> None:
    feed, whole = bad_feed([2, 7], 2), make_feed(10)
    for _ in range(3):
        batch = feed.batch(np.array([7, 3, 2, 4]), 6)
    np.testing.assert_array_equal(batch.weight, [0, 1, 0, 1, 0, 0])
    assert np.all(batch.images[[0, 2]] == 0)
    np.testing.assert_array_equal(batch.images[[1, 3]], whole.batch(np.array([3, 4])).images)
    np.testing.assert_array_equal(feed.bad.places(), [2, 7])
    assert [record.message.split(" has ")[0] for record in caplog.records] == [
        "imaginary.mrcs: image 3",
        "imaginary.mrcs: image 8",
    ]


def test_one_bad_image_too_many_ends_the_run() -> None:
    feed = bad_feed([2, 7, 4], 2)
    feed.batch(np.array([2, 7, 3]))
    with pytest.raises(DataError, match="image 5 .*not finite.* 2 before; expected at most 2.*--maxbad"):
        feed.batch(np.array([7, 4]))


def test_many_bad_images_are_not_all_named(caplog) -> None:
    particles = make_particles(200)
    bad = BadImages(particles, 200)
    bad.add(np.arange(120))
    assert len(bad) == 120 and len(caplog.records) == 10 + 2
    assert "100 images" in caplog.records[-1].message


def test_a_sample_leaves_bad_images_out() -> None:
    feed = bad_feed([1, 8], 5)
    good = np.delete(feed.reader.images, [1, 8], axis=0)
    config = PreprocessConfig()
    found = estimate_deviation(feed.reader, 10, config, bad=feed.bad)
    assert found == estimate_deviation(ArrayReader(good), 8, config)
    np.testing.assert_array_equal(feed.bad.places(), [1, 8])


@pytest.mark.parametrize("name", ["pose", "ctf"])
def test_particles_without_pose_or_ctf_are_refused(name) -> None:
    particles = dataclasses.replace(make_particles(3), **{name: None})
    with pytest.raises(DataError, match=f"no {name}"):
        ParticleFeed(ArrayReader(np.zeros((3, 16, 16))), particles, PreprocessConfig())


def test_prefetch_keeps_the_order_and_reads_ahead_in_another_thread() -> None:
    threads = set()

    def load(item: int) -> int:
        threads.add(threading.get_ident())
        return item * item

    assert list(prefetch(load, range(20))) == [item**2 for item in range(20)]
    assert threading.get_ident() not in threads


def test_several_threads_give_what_one_gives() -> None:
    feed = make_feed(40)
    steps = list(step_indices(40, 7, 0, 0, 12))
    one = list(prefetch(feed.batch, steps))
    several = list(prefetch(feed.batch, steps, threads=3))
    assert len(one) == len(several) == 12
    for a, b in zip(one, several, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.index, b.index)


def test_prefetch_raises_at_the_item_and_can_be_left() -> None:
    def load(item: int) -> int:
        if item == 3:
            raise DataError("item 3")
        return item

    stream = prefetch(load, range(10))
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="item 3"):
        next(stream)
    left = prefetch(lambda item: item, range(1000000))
    assert next(left) == 0
    left.close()
