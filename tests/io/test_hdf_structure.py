"""HDF5 files that are not as EMAN2 makes them: each is refused in one line, quickly, and nothing else is opened."""

import os

import h5py
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import HdfWriter, ImageReader, read_particles, read_volume, write_particles
from libhetero.io.hdf import all_attributes
from tests.making.limited import refusal

N = 8
IMAGE = "MDF/images/0"


@pytest.fixture
def stack(tmp_path):
    with HdfWriter(tmp_path / "stack.hdf", 2.0) as writer:
        for i in range(3):
            writer.write(
                np.full((N, N), float(i)), {"ctf": "E1 0 0 0 10 300 2.7 2 0 0 0", "xform.projection": np.eye(3, 4)}
            )
    return tmp_path / "stack.hdf"


def instead(file, name, make):
    """Put something else in the place of a member."""
    del file[name]
    make(file, name)


def link(target):
    """Return what makes a soft link, or an external one for a pair of file and path."""
    made = h5py.SoftLink(target) if isinstance(target, str) else h5py.ExternalLink(*target)
    return lambda file, name: file.__setitem__(name, made)


def dataset(**options):
    """Return what makes a dataset."""
    return lambda file, name: file.create_dataset(name, **options)


def group(file, name):
    """Make a group."""
    file.create_group(name)


def hard_link(target):
    """Return what makes a second name of a member: a cycle, where it is one of the groups above."""
    return lambda file, name: file.__setitem__(name, file[target])


def outside(file, name):
    """Make a dataset whose pixels lie in another file."""
    file.create_dataset(name, (N, N), "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def virtual(file, name):
    """Make a dataset that is put together from another file's."""
    layout = h5py.VirtualLayout((N, N), "f4")
    layout[:] = h5py.VirtualSource("other.hdf", "x", (N, N))
    file.create_virtual_dataset(name, layout)


def unknown_filter(file, name):
    """Make a dataset compressed by what nobody has."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((N, N))
    plist.set_filter(31999, h5py.h5z.FLAG_OPTIONAL, ())
    kind, space = h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((N, N))
    made = h5py.h5d.create(file.id, name.encode(), kind, space, plist)
    made.write_direct_chunk((0, 0), bytes(4 * N * N))


STRUCTURES = {
    "an image that is a dataset": (IMAGE, dataset(data=1.0), "0 is a dataset; expected a group"),
    "pixels that are a group": (f"{IMAGE}/image", group, "image is a group; expected a dataset"),
    "pixels that are a type": (
        f"{IMAGE}/image",
        lambda file, name: file.__setitem__(name, np.dtype("f4")),
        "image is a datatype; expected a dataset",
    ),
    "no pixels": (f"{IMAGE}/image", lambda file, name: None, "has a header but no pixels"),
    "a cycle": (IMAGE, hard_link("MDF"), "image 1 has a header but no pixels"),
    "a cycle to the top": (IMAGE, hard_link("/"), "image 1 has a header but no pixels"),
    "a soft link": (IMAGE, link("/MDF/images/1"), "0 is a link to somewhere else"),
    "a soft link to itself": (IMAGE, link(f"/{IMAGE}"), "0 is a link to somewhere else"),
    "a soft link to nowhere": (f"{IMAGE}/image", link("/nowhere"), "image is a link to somewhere else"),
    "an external link": (IMAGE, link(("/dev/zero", "/x")), "0 is a link to somewhere else"),
    "images elsewhere": ("MDF/images", link(("other.hdf", "/MDF/images")), "images is a link to somewhere else"),
    "no group": ("MDF/images", dataset(data=1.0), "images is a dataset; expected a group"),
    "no images": ("MDF/images", group, "no image in this EMAN2 stack"),
    "pixels of another file": (f"{IMAGE}/image", outside, "pixels lie in other files"),
    "virtual pixels": (f"{IMAGE}/image", virtual, "pixels lie in other files"),
    "a scalar": (f"{IMAGE}/image", dataset(data=1.0), r"array of shape \(\)"),
    "nothing": (f"{IMAGE}/image", dataset(data=h5py.Empty("f4")), "array of shape None"),
    "one axis": (f"{IMAGE}/image", dataset(shape=(N,), dtype="f4"), r"array of shape \(8,\)"),
    "four axes": (f"{IMAGE}/image", dataset(shape=(1, 1, N, N), dtype="f4"), r"array of shape \(1, 1, 8, 8\)"),
    "no rows": (f"{IMAGE}/image", dataset(shape=(0, N), dtype="f4"), r"array of shape \(0, 8\)"),
    "a map": (f"{IMAGE}/image", dataset(data=np.zeros((N, N, N))), r"image 1 is a map of \(8, 8, 8\) voxels|volume"),
    "a map among images": (
        "MDF/images/2/image",
        dataset(data=np.zeros((N, N, N))),
        r"image 3 is a map of \(8, 8, 8\) voxels",
    ),
    "text": (f"{IMAGE}/image", dataset(data=np.full((N, N), b"x")), "of type |S1"),
    "complex numbers": (f"{IMAGE}/image", dataset(data=np.zeros((N, N), "c8")), "of type complex64"),
    "records": (f"{IMAGE}/image", dataset(data=np.zeros((N, N), [("a", "f4")])), "of type"),
    "lists": (f"{IMAGE}/image", dataset(shape=(N, N), dtype=h5py.vlen_dtype("f4")), "of type object"),
    "references": (f"{IMAGE}/image", dataset(shape=(N, N), dtype=h5py.ref_dtype), "of type object"),
    "nothing stored": (f"{IMAGE}/image", dataset(shape=(30000, 30000), dtype="f4", chunks=(10, 10)), "only 0 bytes"),
    "absurd size": (f"{IMAGE}/image", dataset(shape=(2**40, 2**20), dtype="f4", chunks=(10, 10)), "array of shape"),
    "absurd chunks": (
        f"{IMAGE}/image",
        dataset(shape=(N, N), dtype="f4", chunks=(N, N), maxshape=(None, None)),
        "0 bytes",
    ),
    "another shape": (
        "MDF/images/2/image",
        dataset(data=np.zeros((N, N + 2))),
        r"image 3 is \(8, 10\), image 1 \(8, 8\)",
    ),
    "a hole": ("MDF/images/1", lambda file, name: None, "image 2 is missing"),
}


@pytest.mark.parametrize("what", STRUCTURES)
def test_structures(stack, what):
    name, make, message = STRUCTURES[what]
    with h5py.File(stack, "r+") as file:
        instead(file, name, make)
    with pytest.raises(DataError, match=message) as told:
        read_particles(stack)
    assert str(told.value).startswith(str(stack)) and "\n" not in str(told.value)


def test_a_filter_that_nobody_has(stack):
    with h5py.File(stack, "r+") as file:
        instead(file, f"{IMAGE}/image", unknown_filter)
    with pytest.raises(DataError, match="image 1 cannot be read"):
        ImageReader(read_particles(stack)).read([0])


def test_a_pipe_behind_a_link_is_not_waited_for(stack, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(stack, "r+") as file:
        instead(file, IMAGE, link((str(tmp_path / "pipe"), "/x")))
    assert "link to somewhere else" in refusal(f"read_particles({str(stack)!r})")


@pytest.mark.parametrize("claimed", [2**31 - 1, 10**9])
def test_images_that_are_only_claimed(stack, claimed):
    with h5py.File(stack, "r+") as file:
        file["MDF/images"].attrs["imageid_max"] = np.array([claimed], np.int32)
    line = refusal(f"read_particles({str(stack)!r})", memory=2**25)
    assert f"the header says {claimed + 1} images of (8, 8), the file holds 3; image 4 is missing" in line


def test_numbers_that_are_only_claimed(stack):
    with h5py.File(stack, "r+") as file:
        file["MDF/images"].copy("2", "2000000000")
        file["MDF/images"].copy("2", "007")
        file["MDF/images"].copy("2", "²")
        file["MDF/images"].copy("2", "9" * 5000)
    assert "image 4 is missing" in refusal(f"read_particles({str(stack)!r})", memory=2**25)


@pytest.mark.parametrize("value", ["three", np.array([1, 2]), 1.5, h5py.Empty("i4"), np.zeros(1, [("a", "i4")])])
def test_how_many_there_are(stack, value):
    with h5py.File(stack, "r+") as file:
        file["MDF/images"].attrs["imageid_max"] = value
    with pytest.raises(DataError, match="imageid_max"):
        read_particles(stack)


ATTRIBUTES = {
    "ctf": [5, "text", np.arange(3), np.zeros(1, [("a", "f4")])],
    "xform.projection": ["text", 1.0, np.arange(11.0), np.zeros(1, [("a", "f4")]), np.zeros(1, [("a", "S3")])],
    "apix_x": ["2.0", np.nan, -1.0, np.arange(3.0), np.zeros(1, "c8"), h5py.Empty("f4")],
    "ctf_phase_flipped": ["yes", 7, np.zeros(3, int)],
    "ptcl3d_id": ["a", 0.5, np.arange(2)],
    "hetero_half": [2, "a"],
    "hetero_contrast": [3, "white"],
    "hetero_phase_shift": [np.inf, "a"],
}


@pytest.mark.parametrize(("key", "number"), [(key, i) for key in ATTRIBUTES for i in range(len(ATTRIBUTES[key]))])
def test_attributes_of_other_kinds(stack, key, number):
    with h5py.File(stack, "r+") as file:
        for image in file["MDF/images"].values():
            image.attrs[f"EMAN.{key}"] = ATTRIBUTES[key][number]
    with pytest.raises(DataError, match=f"stack.hdf: image 1.*{key}") as told:
        read_particles(stack)
    assert "\n" not in str(told.value)


def test_an_attribute_of_absurd_length(tmp_path):
    with h5py.File(tmp_path / "long.hdf", "w", libver="latest") as file:
        file.create_dataset(f"{IMAGE}/image", data=np.zeros((N, N), "f4"))
        file[IMAGE].attrs["EMAN.ctf"] = np.zeros(2**20 + 1, "i1")
    with pytest.raises(DataError, match=r"image 1: EMAN.ctf has \(1048577,\) values; expected at most 1048576"):
        read_particles(tmp_path / "long.hdf")


def test_attributes_that_eman2_does_not_write_are_left_out_of_a_copy(stack, tmp_path, caplog):
    with h5py.File(stack, "r+") as file:
        file[IMAGE].attrs["EMAN.list"] = h5py.Empty("f4")
        file[IMAGE].attrs["EMAN.name"] = "größe"
        file[IMAGE].attrs["EMAN.many"] = np.int64(2**40)
        file[IMAGE].attrs["EMAN.good"] = True
    assert all_attributes(stack, 0)["good"] in (1, True)
    write_particles(tmp_path / "copy.hdf", read_particles(stack))
    assert "list is of a type that EMAN2 does not write" in caplog.text
    again = all_attributes(tmp_path / "copy.hdf", 0)
    assert again["name"] == "größe" and again["many"] == 2**40 and "list" not in again


@pytest.mark.parametrize("low", [np.nan, "a", np.inf])
def test_compression_that_cannot_be(stack, low):
    with h5py.File(stack, "r+") as file:
        image = file[IMAGE]
        image.attrs["EMAN.stored_rendermin"], image.attrs["EMAN.stored_rendermax"] = low, 1.0
        image.attrs["EMAN.stored_renderbits"] = 8
    with pytest.raises(DataError, match="image 1: stored_rendermin, stored_rendermax, stored_renderbits are"):
        ImageReader(read_particles(stack)).read([0])


def test_more_bits_than_there_are(stack):
    with h5py.File(stack, "r+") as file:
        image = file[IMAGE]
        image.attrs["EMAN.stored_rendermin"], image.attrs["EMAN.stored_rendermax"] = 0.0, 1.0
        image.attrs["EMAN.stored_renderbits"] = 2000
    with pytest.raises(DataError, match="at most 32 bits"):
        ImageReader(read_particles(stack)).read([0])


def test_a_suffix_in_capitals_is_the_same(stack):
    (stack.parent / "STACK.HDF").write_bytes(stack.read_bytes())
    assert len(read_particles(stack.parent / "STACK.HDF")) == 3
    (stack.parent / "l.lst").write_text(f"#LSX\n#\n# 9\n1\t{stack.parent}/STACK.HDF\n")
    assert ImageReader(read_particles(stack.parent / "l.lst")).read([0])[0, 0, 0] == 1


def test_a_map_that_is_a_bomb(tmp_path):
    """Deflate within deflate: a few kilobytes that say they are gigabytes."""
    with HdfWriter(tmp_path / "map.hdf", 2.0) as writer:
        writer.write(np.zeros((N, N, N)))
    with h5py.File(tmp_path / "map.hdf", "r+") as file:
        del file[f"{IMAGE}/image"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, 1024, 1024))
        plist.set_deflate(9)
        plist.set_filter(h5py.h5z.FILTER_DEFLATE, h5py.h5z.FLAG_OPTIONAL, (9,))
        space = h5py.h5s.create_simple((64, 1024, 1024))
        made = h5py.h5d.create(file.id, f"{IMAGE}/image".encode(), h5py.h5t.NATIVE_FLOAT, space, plist)
        data = h5py.Dataset(made)
        for section in range(64):
            data[section] = 0.0
    assert os.path.getsize(tmp_path / "map.hdf") < 2**20
    assert "bytes of it are there" in refusal(f"read_volume({str(tmp_path / 'map.hdf')!r})", memory=2**25)


def test_not_a_map(stack):
    with pytest.raises(DataError, match="expected a 3-D map, found images"):
        read_volume(stack)


def test_not_hdf5(tmp_path):
    (tmp_path / "stack.hdf").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(DataError, match="not a readable HDF5 file"):
        read_particles(tmp_path / "stack.hdf")
