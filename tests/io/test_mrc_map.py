"""MRC maps: every order of axes, and files that are not what their header says."""

import bz2
import gzip
import itertools
import os

import mrcfile
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles, read_volume, write_volume
from libhetero.io.mrc_map import LONGEST_TAIL
from libhetero.io.volume import particles_in_map
from tests.making.limited import refusal

# mrcfile 1.5.4 on NumPy 2.5, when it changes byte order or validates.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the dtype:DeprecationWarning")

SHAPE = (4, 5, 6)
UNPACKED = 64  # MiB of zeros in the bombs


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def map_file(tmp_path, volume):
    write_volume(tmp_path / "map.mrc", volume, 2.0)
    return tmp_path / "map.mrc"


def with_header(path, **fields):
    """Change header fields of a file, and return it."""
    with mrcfile.open(path, "r+", permissive=True) as file:
        for name, value in fields.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("order", "<>")
def test_axes_in_every_order(tmp_path, volume, axes, order):
    """Columns, rows and sections run along the axes (1 x, 2 y, 3 z) that mapc, mapr and maps name."""
    mapc, mapr, maps = axes
    of_zyx = {1: 2, 2: 1, 3: 0}  # place of x, y and z in our arrays
    stored = np.ascontiguousarray(volume.transpose(of_zyx[maps], of_zyx[mapr], of_zyx[mapc])).astype(f"{order}f4")
    with mrcfile.new(tmp_path / "map.mrc", stored) as file:
        file.header.mapc, file.header.mapr, file.header.maps = axes
        file.header.mx, file.header.my, file.header.mz = SHAPE[::-1]
        file.header.cella.x, file.header.cella.y, file.header.cella.z = (2.0 * edge for edge in SHAPE[::-1])
    again, pixel_size = read_volume(tmp_path / "map.mrc")
    np.testing.assert_array_equal(again, volume)
    assert pixel_size == pytest.approx(2.0)


def test_axes_left_out_are_the_usual_ones(map_file, volume):
    np.testing.assert_array_equal(read_volume(with_header(map_file, mapc=0, mapr=0, maps=0))[0], volume)


@pytest.mark.parametrize("mode", [np.int8, np.int16, np.float32, np.uint16, np.float16])
def test_modes(tmp_path, mode):
    data = np.arange(120).reshape(SHAPE).astype(mode)
    with mrcfile.new(tmp_path / "map.mrc", data) as file:
        file.voxel_size = 1.0
    again, _ = read_volume(tmp_path / "map.mrc")
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, data)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_compressed(map_file, volume, ending, pack):
    packed = map_file.with_suffix(f".mrc.{ending}")
    packed.write_bytes(pack(map_file.read_bytes()))
    np.testing.assert_array_equal(read_volume(packed)[0], volume)
    packed.write_bytes(pack(map_file.read_bytes())[:-9])
    with pytest.raises(DataError, match=r"map\.mrc\.\w+: not a readable map .*copy the file again"):
        read_volume(packed)
    packed.write_bytes(pack(map_file.read_bytes()[:-9]))
    with pytest.raises(DataError, match="truncated: its header promises"):
        read_volume(packed)
    damaged = bytearray(pack(map_file.read_bytes()))
    damaged[len(damaged) // 2] ^= 255
    packed.write_bytes(damaged)
    with pytest.raises(DataError, match="not a readable map"):
        read_volume(packed)


def test_a_short_tail_is_ignored_and_told(map_file, volume, caplog):
    map_file.write_bytes(map_file.read_bytes() + bytes(7))
    np.testing.assert_array_equal(read_volume(map_file)[0], volume)
    assert "7 bytes after the map are ignored" in caplog.text


def test_an_extended_header_is_skipped(tmp_path, volume):
    with mrcfile.new(tmp_path / "map.mrc", volume) as file:
        file.voxel_size = 1.0
        file.set_extended_header(np.full(333, 7, np.int8))
    np.testing.assert_array_equal(read_volume(tmp_path / "map.mrc")[0], volume)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nx": 7}, "truncated: its header promises"),
        ({"nx": 2**30, "ny": 2**30, "nz": 2**30}, "truncated: its header promises"),
        ({"nsymbt": 2**31 - 1}, "truncated: its header promises"),
        ({"nsymbt": -4}, "an extended header of -4 bytes"),
        ({"nz": 0}, "holds no valid size"),
        ({"ny": -5}, "holds no valid size"),
        ({"nz": 1}, "found one image"),
        ({"ispg": 401, "mz": 0}, "found a stack of maps"),
        ({"mode": 4}, "mode 4 is not images"),
        ({"mode": 77}, "mode 77 is not images"),
        ({"mapc": 1, "mapr": 1, "maps": 3}, r"mapc, mapr and maps are \(1, 1, 3\)"),
    ],
)
def test_headers_that_promise_what_is_not_there(map_file, fields, message):
    with pytest.raises(DataError, match=message):
        read_volume(with_header(map_file, **fields))


@pytest.mark.parametrize("content", [b"a poem\n" * 300, b"HEADER    VIRUS\n" * 100])
def test_text_is_no_map(tmp_path, content):
    (tmp_path / "map.mrc").write_bytes(content)
    with pytest.raises(DataError, match="not an MRC file: it is (text|an atomic model)"):
        read_volume(tmp_path / "map.mrc")


def test_voxels_that_are_not_finite(tmp_path, volume):
    volume[1, 2, 3] = np.nan
    write_volume(tmp_path / "map.mrc", volume, 2.0)
    with pytest.raises(DataError, match="1 voxels are not finite"):
        read_volume(tmp_path / "map.mrc")


@pytest.mark.parametrize("given", [-2.0, 0.0, float("nan"), float("inf")])
def test_a_pixel_size_that_cannot_be_is_the_cause(map_file, given):
    with pytest.raises(DataError, match=r"a pixel size of \S+ Å is given \(--apix\); expected a number above 0"):
        read_volume(map_file, given)
    with pytest.raises(DataError, match=r"a pixel size of \S+ Å is given"):
        read_particles(map_file, pixel_size=given)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_a_tail_without_end_is_not_unpacked(map_file, ending, pack):
    packed = map_file.with_suffix(f".mrc.{ending}")
    packed.write_bytes(pack(map_file.read_bytes()) + pack(bytes(2**20)) * UNPACKED)
    assert "the file goes on beyond the" in refusal(f"read_volume({str(packed)!r})", memory=2**25)


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_a_promise_that_is_not_kept_costs_nothing(map_file, ending, pack):
    packed = map_file.with_suffix(f".mrc.{ending}")
    packed.write_bytes(pack(with_header(map_file, nx=600, ny=600, nz=600).read_bytes()))
    assert "truncated: its header promises 864000000" in refusal(f"read_volume({str(packed)!r})", memory=2**25)


def test_more_than_the_computer_holds(map_file):
    with_header(map_file, nx=2**14, ny=2**14, nz=2**12)
    try:
        os.truncate(map_file, 1024 + 4 * 2**40)  # which takes no room on the disk
    except OSError:
        pytest.skip("this file system has no files of 4 TiB")
    assert "GiB of memory needed" in refusal(f"read_volume({str(map_file)!r})", memory=2**25)


def test_a_long_tail_of_a_plain_file_is_not_read(map_file):
    os.truncate(map_file, map_file.stat().st_size + LONGEST_TAIL + 1)
    with pytest.raises(DataError, match="goes on beyond the"):
        read_volume(map_file)


@pytest.mark.parametrize("name", ["map.mrc", "map.hdf"])
def test_how_many_particles_a_map_is_of(tmp_path, volume, name):
    write_volume(tmp_path / name, volume, 2.0, particles=2000)
    assert particles_in_map(tmp_path / name) == 2000
    np.testing.assert_array_equal(read_volume(tmp_path / name)[0], volume)
    write_volume(tmp_path / name, volume, 2.0)
    assert particles_in_map(tmp_path / name) is None


@pytest.mark.parametrize(
    "label", [b"2000 particles of ice", b"-1 particles", b"0 particles", b"99999999999 particles", b"\xff"]
)
def test_other_labels_name_no_number(map_file, label):
    with_header(map_file, nlabl=1, label=[label] + 9 * [b""])
    assert particles_in_map(map_file) is None


def test_number_among_other_labels(map_file):
    with_header(map_file, nlabl=2, label=[b"Relion    28-Nov-26", b"17 particles"] + 8 * [b""])
    packed = map_file.with_name("map.mrc.gz")
    packed.write_bytes(gzip.compress(map_file.read_bytes()))
    assert particles_in_map(map_file) == particles_in_map(packed) == 17
