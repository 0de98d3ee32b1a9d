"""Reading images: from several threads, in one piece, and what happens when a stack changes in use."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import mrcfile
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import HdfWriter, ImageReader, MrcsWriter, images, positional, read_particles

COUNT, BOX = 12, 8


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)).astype(np.float32)


def _stack(path, pixels):
    with MrcsWriter(path, BOX, len(pixels), 2.0) as writer:
        writer.write(pixels)
    return read_particles(path)


def _many_stacks(folder, pixels):
    """One image a stack, as a set in the order of the stacks."""
    sets = [_stack(folder / f"{i}.mrcs", pixels[i : i + 1]) for i in range(len(pixels))]
    whole = sets[0].take(np.zeros(len(pixels), int))
    return dataclasses.replace(whole, files=tuple(one.files[0] for one in sets), file_id=np.arange(len(pixels)))


def test_images_that_follow_each_other_are_one_read(tmp_path, pixels, monkeypatch) -> None:
    particles, calls = _stack(tmp_path / "stack.mrcs", pixels), []
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *args: calls.append(args) or whole(*args))
    wanted = [5, 2, 3, 9, 4, 4]
    np.testing.assert_array_equal(ImageReader(particles).read(wanted), pixels[wanted])
    assert len(calls) == 3, "2 to 4, then 4 to 5, then 9"


def test_a_read_that_comes_in_pieces_is_put_together(tmp_path, pixels, monkeypatch) -> None:
    particles, whole = _stack(tmp_path / "stack.mrcs", pixels), os.preadv

    def little(descriptor, buffers, offset):
        return whole(descriptor, [buffers[0][:100]], offset)

    monkeypatch.setattr(os, "preadv", little)
    np.testing.assert_array_equal(ImageReader(particles).read(range(COUNT)), pixels)


@pytest.mark.parametrize("dtype", [np.int16, np.float16, ">f4"])
def test_other_kinds_of_pixels_are_converted(tmp_path, dtype) -> None:
    numbers = np.arange(COUNT * BOX * BOX).reshape(COUNT, BOX, BOX).astype(dtype)
    with mrcfile.new(tmp_path / "stack.mrcs", numbers) as file:
        file.voxel_size = 1.0
    reader = ImageReader(read_particles(tmp_path / "stack.mrcs"))
    np.testing.assert_array_equal(reader.read([7, 8, 1]), numbers[[7, 8, 1]].astype(np.float32))


def test_a_stack_cut_short_while_in_use(tmp_path, pixels) -> None:
    particles = _stack(tmp_path / "stack.mrcs", pixels)
    reader = ImageReader(particles)
    reader.read([0])
    os.truncate(tmp_path / "stack.mrcs", 1024 + 5 * 4 * BOX * BOX + 3)
    np.testing.assert_array_equal(reader.read([4, 3]), pixels[[4, 3]])
    with pytest.raises(DataError, match=r"stack.mrcs: truncated while in use: image 6 of 12 "):
        reader.read([2, 3, 4, 5, 6, 7])


def test_a_stack_that_vanishes(tmp_path, pixels) -> None:
    reader = ImageReader(_stack(tmp_path / "stack.mrcs", pixels))
    reader.read([0])
    (tmp_path / "stack.mrcs").unlink()
    np.testing.assert_array_equal(reader.read([3]), pixels[[3]])  # open, so still there
    reader.close()
    with pytest.raises(DataError, match=r"image 4 cannot be read: .*stack.mrcs: no such file"):
        reader.read([3])


def test_a_disk_that_fails_is_one_line(tmp_path, pixels, monkeypatch) -> None:
    reader = ImageReader(_stack(tmp_path / "stack.mrcs", pixels))

    def broken(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(positional.os, "preadv", broken)
    with pytest.raises(DataError, match=r"stack.mrcs: image 4 cannot be read \(Input/output error\)"):
        reader.read([3])


@pytest.mark.parametrize("kind", ["one stack", "many stacks", "hdf"])
def test_several_threads_read_what_one_reads(tmp_path, pixels, kind, monkeypatch) -> None:
    monkeypatch.setattr(images, "OPEN_STACKS", 2)
    if kind == "hdf":
        with HdfWriter(tmp_path / "stack.hdf", 2.0) as writer:
            for image in pixels:
                writer.write(image)
        particles = read_particles(tmp_path / "stack.hdf")
    else:
        make = _many_stacks if kind == "many stacks" else lambda p, x: _stack(p / "stack.mrcs", x)
        particles = make(tmp_path, pixels)
    reader = ImageReader(particles)
    random = np.random.default_rng(1)
    wanted = [random.integers(0, COUNT, 5) for _ in range(60)]
    with ThreadPoolExecutor(4) as pool:
        for index, found in zip(wanted, pool.map(reader.read, wanted), strict=True):
            np.testing.assert_array_equal(found, pixels[index])
    assert len(reader._open) <= 2, "no more stacks stay open than may"


def test_a_run_ends_with_its_stack(tmp_path, pixels) -> None:
    """The next number in another stack is another image."""
    sets = [_stack(tmp_path / f"{name}.mrcs", part) for name, part in (("a", pixels[:6]), ("b", pixels[6:]))]
    whole = sets[0].take(np.array([4, 5, 5]))
    whole = dataclasses.replace(
        whole, files=(sets[0].files[0], sets[1].files[0]), file_id=np.array([0, 1, 1]), image_index=np.array([3, 4, 5])
    )
    np.testing.assert_array_equal(ImageReader(whole).read([0, 1, 2]), pixels[[3, 10, 11]])
