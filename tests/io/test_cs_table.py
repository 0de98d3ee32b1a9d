"""cryoSPARC tables as files: what NumPy refuses for no reason, what is no table, and tables of one job joined."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import MrcsWriter, check_particles, read_particles, write_particles
from libhetero.io.cs_table import read_table, tables_beside
from tests.making.cs_tables import alignment_columns, cs_columns, cs_table, save_cs


def test_a_header_longer_than_numpys_limit(tmp_path):
    """400 columns of a 3-D classification make a header of 20 kB; NumPy stops at 10."""
    classes = {
        f"alignments_class_{k}/{field}": np.zeros(4, "<f4")
        for k in range(100)
        for field in ("alpha", "error", "a", "b")
    }
    path = save_cs(tmp_path / "a.cs", cs_columns() | classes | {"alignments_class_0/more": np.zeros(4, "<f4")})
    with pytest.raises(ValueError, match="max_header_size"):
        np.load(path)
    np.testing.assert_array_equal(read_table(path).particles, np.load(path, max_header_size=10**6))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html></html>\n" * 20, "a web page"),
        (b"\n <HTML>", "a web page"),
        (b"data_particles\n", "got b'data_p'"),
        (b"PK\x03\x04 an archive", "expected NumPy's or CSDAT's mark"),
        (b"\x80\x04N.", "expected NumPy's or CSDAT's mark"),
        (b"\x93NUMPY", "not a cryoSPARC table"),
        (b"\x93NUMPY\x01\x00\x04\x00{{{{", "not a cryoSPARC table"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "not a cryoSPARC table"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"-" * 100_000, "not a cryoSPARC table"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, message):
    (tmp_path / "a.cs").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_particles(tmp_path / "a.cs")


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    whole = save_cs(tmp_path / "a.cs", cs_columns(1000)).read_bytes()
    for promised in (b"(1001,)", b"(9999,)", b"(1000000000000,)"):
        (tmp_path / "b.cs").write_bytes(
            whole.replace(b"(1000,)", promised).replace(b" " * (len(promised) - 7) + b"\n", b"\n")
        )
        with pytest.raises(DataError, match="not a cryoSPARC table"):
            read_table(tmp_path / "b.cs")
    (tmp_path / "b.cs").write_bytes(whole[:-1])
    with pytest.raises(DataError, match="not a cryoSPARC table"):
        read_table(tmp_path / "b.cs")


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The tables of one job: poses, and images in another order among others."""
    monkeypatch.chdir(tmp_path)
    images = cs_columns(6)
    primary = {"uid": images["uid"][[4, 0, 2]]} | alignment_columns("alignments3D", 3)
    primary["alignments3D/shift"] = np.array([[4, 0], [0, 0], [2, 0]], "<f4")
    save_cs(tmp_path / "cryosparc_P1_J7_001_particles.cs", primary)
    save_cs(tmp_path / "J7_passthrough_particles.cs", images)
    save_cs(tmp_path / "J70_passthrough_particles.cs", images)
    return "cryosparc_P1_J7_001_particles.cs", "J7_passthrough_particles.cs"


def test_tables_are_joined_by_uid(job):
    primary, passthrough = job
    particles = read_particles(primary, passthrough=[passthrough], need_images=False)
    np.testing.assert_array_equal(particles.image_index, [4, 0, 2])
    np.testing.assert_allclose(particles.pose.shift, [[-12, 0], [0, 0], [-6, 0]])
    np.testing.assert_array_equal(particles.half_set, [0, 1, 0])
    write_particles("whole.cs", particles)
    again = read_particles("whole.cs", need_images=False)
    np.testing.assert_array_equal(again.pose.shift, particles.pose.shift)


def test_a_list_of_joined_tables_gives_all_columns_back(job):
    primary, passthrough = job
    particles = read_particles(primary, passthrough=[passthrough], need_images=False)
    write_particles("project.lst", particles)
    write_particles("again.cs", read_particles("project.lst", need_images=False).take(np.array([2, 0])))
    np.testing.assert_array_equal(np.load("again.cs"), particles.source.data.particles[[2, 0]])


def test_what_cannot_be_joined_is_named(job, tmp_path):
    primary, passthrough = job
    with pytest.raises(DataError, match=r"P1_J7_001_particles\.cs: lacks 3 of the 6 particles"):
        read_table(passthrough, [primary])
    save_cs(tmp_path / "none.cs", {"uid": np.zeros(0, "u8"), "a": np.zeros(0, "f4")})
    with pytest.raises(DataError, match=r"none\.cs: lacks 3 of the 3"):
        read_table(primary, ["none.cs"])
    save_cs(tmp_path / "twice.cs", {"uid": np.array([10, 10, 30, 50], "u8"), "a": np.zeros(4)})
    with pytest.raises(DataError, match=r"twice\.cs: a uid stands there more than once"):
        read_table(primary, ["twice.cs"])
    save_cs(tmp_path / "nameless.cs", {"a": np.zeros(3)})
    with pytest.raises(DataError, match=r"nameless\.cs: no column uid"):
        read_table(primary, ["nameless.cs"])
    with pytest.raises(DataError, match=r"stack\.mrcs: --passthrough joins tables of cryoSPARC"):
        read_particles("stack.mrcs", passthrough=[passthrough])


def test_the_message_names_the_table_beside(job, tmp_path, caplog):
    primary, passthrough = job
    with pytest.raises(DataError, match=rf"--passthrough FILE \(beside it: {passthrough}\)"):
        read_particles(primary, need_images=False)
    particles = read_particles(passthrough, need_images=False)
    assert "no poses (alignments3D, alignments_class_K, alignments3D_multi); the other tables of its job" in caplog.text
    assert f"beside it: {primary}" in caplog.text
    assert tables_beside(primary) == [passthrough] and tables_beside("list.cs") == []
    (tmp_path / "J1").mkdir()
    with MrcsWriter(tmp_path / "J1" / "stack.mrcs", 16, len(particles), 1.5) as writer:
        writer.write(np.zeros((len(particles), 16, 16), np.float32))
    with pytest.raises(DataError, match="no poses.* join the table of its job that has them with --passthrough"):
        check_particles(read_particles(passthrough), need_pose=True, need_ctf=False)


def test_a_table_is_not_changed_by_joining(job):
    primary, passthrough = job
    before = np.load(primary)
    joined = read_table(primary, [passthrough]).particles
    for name in before.dtype.names:
        np.testing.assert_array_equal(joined[name], before[name])
    np.testing.assert_array_equal(joined["blob/idx"], cs_table(cs_columns(6))["blob/idx"][[4, 0, 2]])
