"""EMAN2 HDF: the encodings that EMAN2 accepts, and files that it wrote."""

import h5py
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import HdfWriter, ImageReader, read_particles, write_particles
from libhetero.io.hdf import attribute
from tests.making.particles import sample_particles
from tests.reference.shared_data import shared_file


def kinds(path, number="0"):
    """(class, size, padding, shape) of every attribute of one image."""
    found = {}
    with h5py.File(path) as file:
        group = file["MDF/images"][number]
        for name in group.attrs:
            opened = h5py.h5a.open(group.id, name.encode())
            kind = opened.get_type()
            padding = kind.get_strpad() if kind.get_class() == h5py.h5t.STRING else None
            found[name] = (kind.get_class(), kind.get_size(), padding, opened.shape)
    return found


@pytest.fixture
def written(tmp_path):
    particles, _ = sample_particles(tmp_path)
    write_particles(tmp_path / "stack.hdf", particles)
    return tmp_path / "stack.hdf"


def test_encodings(written):
    found = kinds(written)
    for name in ("nx", "ny", "nz", "is_complex", "datatype", "hetero_half", "ptcl3d_id"):
        assert found[f"EMAN.{name}"] == (h5py.h5t.INTEGER, 4, None, (1,)), name
    for axis in "xyz":
        assert found[f"EMAN.apix_{axis}"] == (h5py.h5t.FLOAT, 4, None, (1,))
    transform = found["EMAN.xform.projection"]
    assert transform == (h5py.h5t.COMPOUND, 48, None, (1,))
    text_class, size, padding, shape = found["EMAN.ctf"]
    assert (text_class, padding, shape) == (h5py.h5t.STRING, h5py.h5t.STR_NULLTERM, ())
    with h5py.File(written) as file:
        group = file["MDF/images/0"]
        assert len(group.attrs["EMAN.ctf"]) == size - 1  # the last byte is the NUL
        assert attribute(group, "datatype") == 7 and attribute(group, "nz") == 1
        assert group["image"].dtype == np.float32
        highest = file["MDF/images"].attrs["imageid_max"]
        assert highest.dtype == np.int32 and highest.shape == (1,) and highest[0] == 10


def test_encodings_are_those_of_a_file_by_eman2(written):
    """Each attribute that both have is of the same class, padding and shape."""
    theirs, ours = kinds(shared_file("formats", "eman2", "ptcls.hdf")), kinds(written)
    common = set(theirs) & set(ours)
    assert len(common) >= 9
    for name in common:
        assert (theirs[name][0], *theirs[name][2:]) == (ours[name][0], *ours[name][2:]), name


def test_compressed_stack_of_eman2():
    plain = read_particles(shared_file("formats", "eman2", "ptcls.hdf"))
    packed = read_particles(shared_file("formats", "eman2", "ptcls_c8.hdf"))
    bare = read_particles(shared_file("formats", "eman2", "ptcls.mrcs"))
    first = ImageReader(plain).read(range(4))
    np.testing.assert_array_equal(first, ImageReader(bare).read(range(4)))
    for i in range(4):
        assert np.unravel_index(first[i].argmax(), (32, 32)) == (8 + i, 20)
    low, high, step = -2.543422, 8.088916, (8.088916 + 2.543422) / 255
    unpacked = ImageReader(packed).read([0])[0]
    np.testing.assert_allclose(unpacked, np.clip(first[0], low, high), atol=0.51 * step)


def test_attributes_of_eman2_survive(tmp_path):
    source = shared_file("formats", "eman2", "ptcls_c8.hdf")
    write_particles(tmp_path / "again.hdf", read_particles(source).take(np.array([2, 0])))
    with h5py.File(source) as old, h5py.File(tmp_path / "again.hdf") as new:
        before, after = old["MDF/images/2"], new["MDF/images/0"]
        for name in before.attrs:
            key = name.removeprefix("EMAN.")
            if key.startswith(("stored_", "render_")):
                assert name not in after.attrs, "compression of the source must not be copied"
            elif key not in ("datatype", "xform.projection", "ctf"):
                np.testing.assert_array_equal(attribute(before, key), attribute(after, key))
        np.testing.assert_allclose(
            attribute(after, "xform.projection"), attribute(before, "xform.projection"), atol=1e-6
        )
        old_ctf, new_ctf = attribute(before, "ctf").split(), attribute(after, "ctf").split()
        assert new_ctf[9:] == old_ctf[9:] == ["3,1,0.5,0.25", "2,2,1"]


def test_old_booleans(tmp_path):
    with h5py.File(tmp_path / "old.hdf", "w") as file:
        group = file.create_group("MDF/images/0")
        group.attrs["EMAN.yes"] = np.array([ord("T")], np.int8)
        group.attrs["EMAN.no"] = np.array([ord("F")], np.int8)
        assert attribute(group, "yes") is True and attribute(group, "no") is False
        assert attribute(group, "absent") is None


def test_missing_image(tmp_path):
    with HdfWriter(tmp_path / "stack.hdf", 2.0) as writer:
        for _ in range(3):
            writer.write(np.zeros((8, 8)))
    with h5py.File(tmp_path / "stack.hdf", "a") as file:
        del file["MDF/images/1"]
    with pytest.raises(DataError, match="image 2 is missing"):
        read_particles(tmp_path / "stack.hdf")
    (tmp_path / "list.lst").write_text(f"#LSX\n#\n# 9\n2\t{tmp_path}/stack.hdf\n0\t{tmp_path}/stack.hdf\n")
    particles = read_particles(tmp_path / "list.lst")  # which names others
    assert ImageReader(particles).read([0, 1]).shape == (2, 8, 8)


def test_other_hdf5_file(tmp_path):
    h5py.File(tmp_path / "other.hdf", "w").close()
    with pytest.raises(DataError, match="no group /MDF/images"):
        read_particles(tmp_path / "other.hdf")


def test_phase_flipped_is_read(tmp_path):
    path = tmp_path / "flipped.hdf"
    with HdfWriter(path, 2.0) as writer:
        writer.write(np.zeros((8, 8)), {"ctf_phase_flipped": 1})
    assert read_particles(path).phase_flipped
    with HdfWriter(path, 2.0) as writer:
        writer.write(np.zeros((8, 8)), {"ctf_phase_flipped": 1})
        writer.write(np.zeros((8, 8)))
    with pytest.raises(DataError, match="some particles are phase-flipped"):
        read_particles(path)
