"""MRC stacks, and the writing of maps, against mrcfile itself."""

import errno
import gzip

import mrcfile
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.files import atomic
from libhetero.io import ImageReader, MrcsWriter, read_particles, read_volume, write_volume
from tests.making.limited import refusal
from tests.reference.shared_data import shared_file

# mrcfile 1.5.4 on NumPy 2.5, when it changes byte order or validates.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")

MODES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}


@pytest.mark.parametrize("mode", MODES)
def test_modes(tmp_path, mode, caplog):
    data = np.arange(3 * 8 * 8).reshape(3, 8, 8).astype(MODES[mode])
    with mrcfile.new(tmp_path / "stack.mrcs", data) as file:
        file.voxel_size = 1.5
    particles = read_particles(tmp_path / "stack.mrcs")
    images = ImageReader(particles).read([2, 0, 1])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, data[[2, 0, 1]].astype(np.float32))
    assert ("signed bytes" in caplog.text) == (mode == 0)


def test_complex_mode_is_refused(tmp_path):
    mrcfile.new(tmp_path / "stack.mrcs", np.zeros((3, 8, 8), np.complex64)).close()
    with pytest.raises(DataError, match="mode 4"):
        read_particles(tmp_path / "stack.mrcs", pixel_size=1)


def test_big_endian(tmp_path):
    data = np.arange(2 * 8 * 8).reshape(2, 8, 8).astype(">f4")
    with mrcfile.new(tmp_path / "stack.mrcs", data) as file:
        file.voxel_size = 1.5
        assert file.header.nx.dtype.byteorder == ">"
    particles = read_particles(tmp_path / "stack.mrcs")
    np.testing.assert_array_equal(ImageReader(particles).read([0, 1]), data)


def test_extended_header_is_skipped(tmp_path):
    data = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    with mrcfile.new(tmp_path / "stack.mrcs", data) as file:
        file.voxel_size = 1.5
        file.set_extended_header(np.zeros(768, np.int8))
    np.testing.assert_array_equal(ImageReader(read_particles(tmp_path / "stack.mrcs")).read([1]), data[1:])


def test_stack_written_is_valid(tmp_path):
    images = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 3.25) as writer:
        writer.write(images[:2])
        writer.write(images[2:])
    assert mrcfile.validate(tmp_path / "stack.mrcs")
    with mrcfile.open(tmp_path / "stack.mrcs") as file:
        np.testing.assert_array_equal(file.data, images)
        assert file.is_image_stack()
        assert float(file.voxel_size.x) == pytest.approx(3.25)
        assert float(file.header.dmean) == pytest.approx(images.mean(), abs=1e-6)


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="stop"), MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 1.0) as writer:
        writer.write(np.zeros((1, 8, 8)))
        raise ValueError("stop")
    with pytest.raises(DataError, match="1 images were written; expected 5"):
        with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 1.0) as writer:
            writer.write(np.zeros((1, 8, 8)))
    with pytest.raises(DataError, match=r"images are \(9, 9\)"):
        with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 1.0) as writer:
            writer.write(np.zeros((1, 9, 9)))
    assert list(tmp_path.iterdir()) == []


def test_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(DataError, match="no space left on"):
        write_volume(tmp_path / "map.mrc", np.zeros((4, 4, 4)), 1.0)
    with pytest.raises(DataError, match="no space left on"):
        with MrcsWriter(tmp_path / "stack.mrcs", 4, 1, 1.0) as writer:
            writer.write(np.zeros((1, 4, 4)))
    assert list(tmp_path.iterdir()) == []


def test_truncated_stack(tmp_path):
    with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 1.0) as writer:
        writer.write(np.zeros((5, 8, 8)))
    whole = (tmp_path / "stack.mrcs").read_bytes()
    (tmp_path / "stack.mrcs").write_bytes(whole[: 1024 + 3 * 256 + 10])
    with pytest.raises(DataError, match=r"stack.mrcs: truncated: .* 5 images .* holds 3; image 4 "):
        read_particles(tmp_path / "stack.mrcs")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nz": 2**31 - 1}, "the header says 2147483647 images of"),
        ({"nx": 2**31 - 1, "ny": 2**31 - 1}, "the file holds 0"),
        ({"nsymbt": 2**31 - 1}, "images begin after"),
        ({"nsymbt": -1}, "an extended header of -1 bytes"),
        ({"nz": -1}, "no valid size"),
    ],
)
def test_headers_that_promise_what_is_not_there(tmp_path, fields, message):
    with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 1.0) as writer:
        writer.write(np.zeros((5, 8, 8)))
    with mrcfile.open(tmp_path / "stack.mrcs", "r+", permissive=True) as file:
        for name, value in fields.items():
            file.header[name] = value
    if fields == {"nz": 2**31 - 1}:
        assert message in refusal(f"read_particles({str(tmp_path / 'stack.mrcs')!r})", memory=2**25)
    with pytest.raises(DataError, match=message):
        read_particles(tmp_path / "stack.mrcs")


def test_truncated_stack_of_another_program():
    path = shared_file("formats", "edge_cases", "truncated_header_says_11029_images.mrcs")
    with pytest.raises(DataError, match="11029 images"):
        read_particles(path)


def test_no_pixel_size_asks_for_it(tmp_path):
    mrcfile.new(tmp_path / "stack.mrcs", np.zeros((3, 8, 8), np.float32)).close()
    with pytest.raises(DataError, match="--apix"):
        read_particles(tmp_path / "stack.mrcs")
    assert read_particles(tmp_path / "stack.mrcs", pixel_size=1.7).uniform_pixel_size() == 1.7
    mrcfile.new(tmp_path / "map.mrc", np.zeros((8, 8, 8), np.float32)).close()
    with pytest.raises(DataError, match="--apix"):
        read_volume(tmp_path / "map.mrc")
    assert read_volume(tmp_path / "map.mrc", 1.7)[1] == 1.7


def test_not_finite_pixels(tmp_path):
    images = np.zeros((3, 8, 8), np.float32)
    images[1, 2, 3] = np.nan
    with MrcsWriter(tmp_path / "stack.mrcs", 8, 3, 1.0) as writer:
        writer.write(images)
    particles = read_particles(tmp_path / "stack.mrcs")
    assert np.isnan(ImageReader(particles).read([1])).sum() == 1
    with pytest.raises(DataError, match="image 2 has 1 pixels that are not finite"):
        ImageReader(particles, check_finite=True).read([0, 1])


@pytest.mark.parametrize("name", ["map.mrc", "map.hdf"])
def test_map_round_trip(tmp_path, name):
    volume = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    write_volume(tmp_path / name, volume, 2.25)
    again, pixel_size = read_volume(tmp_path / name)
    np.testing.assert_array_equal(again, volume)
    assert pixel_size == pytest.approx(2.25)
    if name == "map.mrc":
        assert mrcfile.validate(tmp_path / name)
        packed = tmp_path / "map.mrc.gz"
        packed.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        np.testing.assert_array_equal(read_volume(packed)[0], volume)


def test_images_are_no_map(tmp_path):
    mrcfile.new(tmp_path / "image.mrc", np.zeros((8, 8), np.float32)).close()
    with pytest.raises(DataError, match="3-D map"):
        read_volume(tmp_path / "image.mrc")
    with pytest.raises(DataError, match="three axes"):
        write_volume(tmp_path / "map.mrc", np.zeros((8, 8)), 1.0)


def test_real_maps():
    volume, pixel_size = read_volume(shared_file("formats", "eman2", "vol.mrc"))
    np.testing.assert_array_equal(volume, read_volume(shared_file("formats", "eman2", "vol.hdf"))[0])
    assert volume.shape == (48, 48, 48) and pixel_size == pytest.approx(3.0)
    assert volume[24, 24, 24] > volume[24, 24, 20]
    volume, _ = read_volume(shared_file("maps", "EMD-1997_GroEL.map.gz"))
    assert volume.ndim == 3 and np.isfinite(volume).all()
