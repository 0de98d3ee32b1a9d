"""The cache of prepared images: the same numbers, whatever happened while it was filled."""

import dataclasses
import errno
import os
import shutil
import threading
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.files import FileLock, lock_file
from libhetero.io import ImageReader
from libhetero.pipelines.run import image_cache
from libhetero.pipelines.run.image_cache import cache_path, cached, if_cached
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig
from tests.making.optics import aberrations
from tests.making.sets import write_tiny_set

COUNT = 40


@pytest.fixture
def feed(tmp_path, monkeypatch):
    """A set listed backwards, read ten images at a time, with a record after every ten."""
    monkeypatch.setattr(image_cache, "BLOCK", 10)
    monkeypatch.setattr(image_cache, "SECONDS_BETWEEN_RECORDS", 0.0)
    particles = write_tiny_set(tmp_path).take(np.arange(COUNT)[::-1])
    config = PreprocessConfig(contrast=-1, box_size=12, deviation=1.7)
    return ParticleFeed(ImageReader(particles), particles, config, BadImages(particles, 3))


class Failing:
    """A reader that counts what it reads, and dies after so many images."""

    def __init__(self, reader, left: int) -> None:
        self.reader, self.left, self.images = reader, left, 0

    def read(self, index):
        self.left -= len(index)
        if self.left < 0:
            raise KeyboardInterrupt
        self.images += len(index)
        return self.reader.read(index)


def _with(feed, left: int = 10**6):
    return dataclasses.replace(feed, reader=Failing(feed.reader, left))


def _same(one, other) -> None:
    index = np.random.default_rng(0).permutation(COUNT)[:23]
    for a, b in zip(one.prepared(index), other.prepared(index), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_cache_gives_what_the_feed_gives_and_is_read_again(feed, tmp_path) -> None:
    first = cached(feed, tmp_path / "cache")
    _same(first, feed)
    again = _with(feed, 0)  # reads no image
    _same(cached(again, tmp_path / "cache"), feed)
    _same(if_cached(again, tmp_path / "cache"), feed)
    assert if_cached(again, tmp_path / "other").cache is None and cached(feed, None) is feed
    path = cache_path(feed, tmp_path / "cache")
    stored = feed.prepared(np.arange(COUNT)[::-1])[0]  # listed backwards
    np.testing.assert_array_equal(mrcfile.read(path), stored)
    assert not path.with_suffix(".part").exists()


def test_a_cache_that_was_being_filled_is_gone_on_with(feed, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(_with(feed, 25), tmp_path / "cache")
    path = cache_path(feed, tmp_path / "cache")
    assert path.with_suffix(".part").exists() and not path.exists()
    assert if_cached(feed, tmp_path / "cache").cache is None, "what is not complete is not used"
    rest = _with(feed)
    _same(cached(rest, tmp_path / "cache"), feed)
    assert rest.reader.images == COUNT - 20


def test_a_part_shorter_than_it_should_be_is_begun_again(feed, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(_with(feed, 25), tmp_path / "cache")
    os.truncate(cache_path(feed, tmp_path / "cache").with_suffix(".part"), 5000)
    rest = _with(feed)
    _same(cached(rest, tmp_path / "cache"), feed)
    assert rest.reader.images == COUNT


def test_what_the_images_depend_on_names_the_cache(feed, tmp_path) -> None:
    def path(**changes):
        particles = dataclasses.replace(feed.particles, **changes.pop("particles", {}))
        config = dataclasses.replace(feed.config, **changes)
        return cache_path(ParticleFeed(feed.reader, particles, config), tmp_path)

    other_ctf = dataclasses.replace(feed.particles.ctf, defocus_u=feed.particles.ctf.defocus_u + 1)
    flipped = {"phase_flipped": True}
    tilted = {name: value for name, value in aberrations(COUNT).items() if name == "beam_tilt"}
    found = [
        path(),
        path(contrast=1),
        path(deviation=1.8),
        path(box_size=10),
        path(normalise="image"),
        path(particles={"image_index": feed.particles.image_index[::-1]}),
        path(particles=flipped),
        path(particles=flipped | {"ctf": other_ctf}),
        path(particles={"ctf": dataclasses.replace(feed.particles.ctf, **tilted)}),
        path(particles={"ctf": dataclasses.replace(other_ctf, **tilted)}),
    ]
    assert len(set(found)) == len(found)
    assert path(particles={"ctf": other_ctf}) == found[0], "the CTF matters to flipped and to tilted images only"
    stack = feed.particles.files[0]
    os.utime(stack, ns=(1, 1))
    assert path() not in found
    os.unlink(stack)
    with pytest.raises(DataError, match="put the stack back"):
        path()


def test_bad_images_stay_bad(feed, tmp_path) -> None:
    stack = np.memmap(feed.particles.files[0], np.float32, "r+", 1024, (COUNT, 16, 16))
    stack[7, 1, 2], stack[30, 3, 4] = np.nan, np.inf
    stack.flush()
    with pytest.raises(KeyboardInterrupt):
        cached(_with(feed, 25), tmp_path / "cache")
    cached(feed, tmp_path / "cache")
    again = dataclasses.replace(_with(feed, 0), bad=BadImages(feed.particles, 3))
    again = cached(again, tmp_path / "cache")
    batch = again.batch(np.arange(COUNT))
    np.testing.assert_array_equal(np.flatnonzero(batch.weight == 0), COUNT - 1 - np.array([30, 7]))
    np.testing.assert_array_equal(again.bad.places(), COUNT - 1 - np.array([30, 7]))
    assert np.isfinite(batch.images).all()
    with pytest.raises(DataError, match="--maxbad"):
        cached(dataclasses.replace(feed, bad=BadImages(feed.particles, 1)), tmp_path / "cache").batch(np.arange(COUNT))


def test_a_full_disk_is_one_line_and_can_be_gone_on_from(feed, tmp_path, monkeypatch) -> None:
    record = image_cache._record

    def full(file, path, done, bad):
        if done == 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        record(file, path, done, bad)

    monkeypatch.setattr(image_cache, "_record", full)
    with pytest.raises(DataError, match=r"\.part: no space left on .*cache .*--cache"):
        cached(feed, tmp_path / "cache")
    monkeypatch.setattr(image_cache, "_record", record)
    rest = _with(feed)
    _same(cached(rest, tmp_path / "cache"), feed)
    assert rest.reader.images == COUNT - 20


def test_too_little_space_is_said_beforehand(feed, tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"40 images of 12 × 12 pixels: 22\.5 KiB needed, 1000 B free; .*--box"):
        cached(_with(feed, 0), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.part"))


def test_one_fills_and_the_others_wait(feed, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(image_cache, "SECONDS_BETWEEN_LOOKS", 0.01)
    path, found = cache_path(feed, tmp_path / "cache"), []
    path.parent.mkdir()
    with lock_file(path.with_suffix(".lock")) as lock:
        assert lock.take()
        waiting = threading.Thread(target=lambda: found.append(cached(_with(feed, 0), path.parent)))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive(), "it waits for whoever fills"
        image_cache._fill(feed, path)
    waiting.join()
    _same(found[0], feed)


def test_without_locks_each_process_fills_a_file_of_its_own(feed, tmp_path, monkeypatch) -> None:
    def take(self, shared=False) -> bool:
        self.works = False
        return True

    seen = []
    replace = os.replace
    monkeypatch.setattr(FileLock, "take", take)
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append(Path(a).name), replace(a, b)))
    images = cached(feed, tmp_path / "cache").batch(np.arange(3)).images
    np.testing.assert_array_equal(images, feed.batch(np.arange(3)).images)
    assert any(name.endswith(f".{os.getpid()}.part") for name in seen)
