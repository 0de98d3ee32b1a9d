"""A stack written at places: any order, any part of it, the same file as one written in one go."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import MrcsWriter
from libhetero.io.pixel_statistics import PixelStatistics
from libhetero.io.placed_stack import PlacedStack

IMAGES = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)


def test_any_order_gives_the_file_of_a_writer(tmp_path: Path) -> None:
    stack = PlacedStack(tmp_path / "placed.mrcs", 8, 5, 3.25)
    stack.create()
    assert stack.path.stat().st_size == stack.size == 1024 + 5 * 256
    for places in (np.array([4, 0]), np.array([1, 3, 2])):
        with stack.writing() as write:
            write(IMAGES[places], places)
    stack.finish(PixelStatistics.of(IMAGES[:2]) + PixelStatistics.of(IMAGES[2:]))
    with MrcsWriter(tmp_path / "whole.mrcs", 8, 5, 3.25) as writer:
        writer.write(IMAGES)
    assert stack.path.read_bytes() == (tmp_path / "whole.mrcs").read_bytes()


def test_what_the_system_takes_in_part_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = PlacedStack(tmp_path / "placed.mrcs", 8, 5, 1.0)
    stack.create()
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:100], at))
    with stack.writing() as write:
        write(IMAGES, np.arange(5))
    assert stack.path.read_bytes()[1024:] == IMAGES.tobytes()


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    stack = PlacedStack(tmp_path / "placed.mrcs", 8, 5, 1.0)
    stack.create()
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"), stack.writing() as write:
        write(IMAGES, np.arange(5))
    with pytest.raises(FileExistsError):
        stack.create()


def test_statistics_add_up() -> None:
    both = PixelStatistics.of(IMAGES[:1]) + PixelStatistics() + PixelStatistics.of(IMAGES[1:])
    assert (both.count, both.low, both.high) == (320, IMAGES.min(), IMAGES.max())
    assert both.total == pytest.approx(IMAGES.sum(dtype=float))
    assert PixelStatistics.of(IMAGES[:0]) == PixelStatistics()


def test_the_header_tells_the_deviation_about_the_mean() -> None:
    header = np.zeros((), [("dmin", "f8"), ("dmax", "f8"), ("dmean", "f8"), ("rms", "f8")])
    PixelStatistics.of(IMAGES + 5).put_into(header)
    assert float(header["dmean"]) == pytest.approx(5 + IMAGES.mean(dtype=float))
    assert float(header["rms"]) == pytest.approx(IMAGES.std(dtype=float), rel=1e-4)


def test_images_lie_on_the_disk_before_the_writer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is recorded as done after this: a power cut must not take its images back."""
    stack, flushed = PlacedStack(tmp_path / "placed.mrcs", 8, 5, 1.0), []
    stack.create()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    with stack.writing() as write:
        write(IMAGES, np.arange(5))
        assert not flushed
    assert flushed == [stack.path.stat().st_ino]
