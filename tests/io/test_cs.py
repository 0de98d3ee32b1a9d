"""cryoSPARC tables, against those that cryoDRGN derived from one of them."""

import os

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import cryodrgn, read_particles, write_particles
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs
from tests.reference.agreement import assert_same_ctf
from tests.reference.shared_data import shared_file


@pytest.fixture
def particles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shared_file("formats", "cryosparc", "cryosparc_P12_J24_001_particles.cs")
    return read_particles(path, need_images=False)


def test_poses_are_those_of_cryodrgn(particles):
    rotation, shift = cryodrgn.read_poses(shared_file("formats", "cryosparc", "pose.cs.pkl"))
    assert len(particles) == 2019
    np.testing.assert_allclose(particles.pose.rotation, rotation, atol=1e-6)
    length = (particles.box_size * particles.pixel_size)[:, None]
    np.testing.assert_allclose(particles.pose.shift, shift * length, atol=1e-4)
    np.testing.assert_allclose(particles.pose.shift[0], [-11.334375 * 2.95, 1.828125 * 2.95], rtol=1e-5)


def test_ctf_is_that_of_cryodrgn(particles):
    ctf, box, pixel_size = cryodrgn.read_ctf(shared_file("formats", "cryosparc", "ctf2.pkl"))
    assert_same_ctf(particles.ctf, ctf)
    np.testing.assert_array_equal(particles.box_size, box)
    np.testing.assert_allclose(particles.pixel_size, pixel_size, rtol=1e-6)


def test_other_columns(particles):
    assert particles.contrast == -1
    assert set(particles.half_set) == {0, 1}
    assert particles.image_index.max() > 10


def test_no_column_is_lost(particles, tmp_path):
    write_particles(tmp_path / "again.cs", particles)
    np.testing.assert_array_equal(np.load(tmp_path / "again.cs"), particles.source.data.particles)


def test_import_and_export(particles, tmp_path):
    """cs → lst → cs gives the rows back, and a new pose changes the pose alone."""
    chosen = np.array([500, 3, 2018])
    write_particles(tmp_path / "project.lst", particles)
    listed = read_particles(tmp_path / "project.lst", need_images=False)
    assert listed.contrast == -1
    write_particles(tmp_path / "again.cs", listed.take(chosen))
    rows = particles.source.data.particles[chosen]
    np.testing.assert_array_equal(np.load(tmp_path / "again.cs"), rows)
    moved = listed.take(chosen)
    moved.pose.shift[:] += 5
    write_particles(tmp_path / "moved.cs", moved)
    again = np.load(tmp_path / "moved.cs")
    np.testing.assert_allclose(again["alignments3D/shift"], rows["alignments3D/shift"] - 5 / 2.95, atol=1e-4)
    np.testing.assert_allclose(again["alignments3D/pose"], rows["alignments3D/pose"])
    np.testing.assert_array_equal(again["ctf/df1_A"], rows["ctf/df1_A"])


def test_a_pixel_size_given_is_written(particles, tmp_path):
    """Shifts keep their number of pixels, every psize_A is renewed."""
    old = particles.source.data.particles
    given = read_particles(particles.source.data.path, need_images=False, pixel_size=3.5)
    write_particles(tmp_path / "project.lst", given)
    for name, chosen in (
        ("direct.cs", given),
        ("again.cs", read_particles(tmp_path / "project.lst", need_images=False)),
    ):
        write_particles(tmp_path / name, chosen)
        again = read_particles(tmp_path / name, need_images=False)
        rows = again.source.data.particles
        np.testing.assert_array_equal(rows["alignments3D/shift"], old["alignments3D/shift"])
        np.testing.assert_allclose(rows["alignments3D/psize_A"], old["alignments3D/psize_A"] * (3.5 / 2.95), rtol=1e-5)
        np.testing.assert_allclose(again.pixel_size, 3.5)
        np.testing.assert_allclose(again.pose.shift, given.pose.shift, atol=1e-3)


def test_exported_and_empty_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shared_file("formats", "cryosparc", "cryosparc_J2_particles_exported.cs")
    particles = read_particles(path, need_images=False)
    assert len(particles) == 22 and particles.pose is None and particles.contrast == -1
    assert particles.files[0].endswith("/J1/imported/000090334788266266069_18jam15b_0345_ali_DW.mrcs")
    assert len(read_particles(shared_file("formats", "cryosparc", "4k_dataset.cs"))) == 0


def test_shift_is_in_pixels_of_the_alignment(tmp_path):
    """Particles aligned at twice their pixel size: the shift in Å counts."""
    kinds = [("blob/path", "S9"), ("blob/idx", "<u4"), ("blob/shape", "<u4", (2,))]
    kinds += [("blob/psize_A", "<f4"), ("alignments3D/pose", "<f4", (3,))]
    kinds += [("alignments3D/shift", "<f4", (2,)), ("alignments3D/psize_A", "<f4")]
    rows = np.zeros(1, kinds)
    rows["blob/shape"], rows["blob/psize_A"], rows["alignments3D/psize_A"] = 16, 1.5, 3.0
    rows["alignments3D/shift"], rows["blob/path"] = (2, -1), b"stack.mrc"
    with open(tmp_path / "list.cs", "wb") as file:
        np.save(file, rows)
    particles = read_particles(tmp_path / "list.cs", need_images=False)
    np.testing.assert_array_equal(particles.pose.shift, [[-6, 3]])
    assert particles.ctf is None


def test_pickled_table_is_refused(tmp_path):
    with open(tmp_path / "list.cs", "wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not a cryoSPARC table"):
        read_particles(tmp_path / "list.cs")
    with open(tmp_path / "list.cs", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="no named columns"):
        read_particles(tmp_path / "list.cs")


def test_a_mixture_of_contrasts_is_refused(tmp_path):
    for signs, said in (([-1, -1, 1, -1], "-1 for 3, 1 for 1"), ([-1, 0, -1, -1], "-1 for 3, 0 for 1")):
        path = save_cs(tmp_path / "a.cs", cs_columns() | {"blob/sign": np.array(signs, "<f4")})
        with pytest.raises(DataError, match=f"{said} particles; expected one contrast"):
            read_particles(path, need_images=False)
    for sign, contrast in ((1, 1), (-1, -1), (0, 0), (np.nan, 0)):
        path = save_cs(tmp_path / "a.cs", cs_columns() | {"blob/sign": np.full(4, sign, "<f4")})
        assert read_particles(path, need_images=False).contrast == contrast


def test_a_mixture_of_half_sets_is_refused(tmp_path):
    """One particle without would have taken the half-sets of all away."""
    columns = cs_columns() | alignment_columns("alignments3D")
    columns["alignments3D/split"] = np.array([0, 1, 2, 1], "<u4")
    with pytest.raises(DataError, match=r"split of particle 3 is 2 \(1 of 4 such\); expected 0 or 1"):
        read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    columns["alignments3D/split"] = np.full(4, 2, "<u4")
    assert read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False).half_set is None


def test_pixel_sizes_and_boxes_are_each_particles_own(tmp_path):
    columns = cs_columns() | {"blob/psize_A": np.array([1, 2, 3, 4], "<f4")}
    columns["blob/shape"] = np.array([[8, 8], [16, 16], [8, 8], [4, 4]], "<u4")
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    np.testing.assert_array_equal(particles.pixel_size, [1, 2, 3, 4])
    np.testing.assert_array_equal(particles.box_size, [8, 16, 8, 4])


def test_an_empty_path_is_named(tmp_path):
    columns = cs_columns() | {"blob/path": np.array([b">a.mrcs", b"a.mrcs", b">", b"a.mrcs"])}
    with pytest.raises(DataError, match="blob/path of particle 3 is empty"):
        read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)


def test_part_of_a_ctf_and_aberrations_are_told(tmp_path, caplog):
    columns = cs_columns() | {"ctf/df1_A": np.ones(4, "f4"), "ctf/tilt_A": np.zeros((4, 2), "f4")}
    assert read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False).ctf is None
    assert "defocus without ctf/df2_A: the CTF is left out" in caplog.text and "tilt_A" not in caplog.text
    columns["ctf/tilt_A"][2, 1] = 5
    read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    assert "not applied: ctf/tilt_A" in caplog.text


def test_names_are_those_of_the_files(tmp_path, monkeypatch):
    """In any encoding, and with one ">" dropped, not more."""
    monkeypatch.chdir(tmp_path)
    columns = cs_columns() | {"blob/path": np.array([b">a\xff.mrcs", b">>b.mrcs", "ü.mrcs".encode(), b"c d.mrcs"])}
    particles = read_particles(save_cs(tmp_path / "a.cs", columns), need_images=False)
    names = [os.fsencode(particles.files[i]).rpartition(b"/")[2] for i in particles.file_id]
    assert names == [b"a\xff.mrcs", b">b.mrcs", "ü.mrcs".encode(), b"c d.mrcs"]
