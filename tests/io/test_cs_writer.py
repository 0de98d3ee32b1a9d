"""cryoSPARC tables as written: uids, exposure groups and micrographs, and what a table lacked."""

import dataclasses

import numpy as np
import pytest

from libhetero.io import MrcsWriter, read_particles, write_particles
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs
from tests.making.particles import sample_particles

OPTICS = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnImageSize #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
3 first 2.5 16 300 2.7 0.1
7 second 2.5 16 {voltage} 2.7 0.1

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnOpticsGroup #3
_rlnDefocusU #4
_rlnDefocusV #5
_rlnDefocusAngle #6
_rlnAngleRot #7
_rlnAngleTilt #8
_rlnAnglePsi #9
_rlnOriginXAngst #10
_rlnOriginYAngst #11
"""
ROWS = [
    (1, "Micrographs/a.mrc", 3),
    (2, "Micrographs/a.mrc", 7),
    (3, "Micrographs/b.mrc", 3),
    (4, "Micrographs/b.mrc", 7),
]


def write_star(folder, rows=ROWS, voltage=200):
    with MrcsWriter(folder / "stack.mrcs", 16, 6, 2.5) as writer:
        writer.write(np.zeros((6, 16, 16), np.float32))
    text = OPTICS.format(voltage=voltage)
    for i, micrograph, group in rows:
        text += f"{i:06d}@stack.mrcs {micrograph} {group} 15000 14000 30 {10 * i} 20 30 1 2\n"
    (folder / "list.star").write_text(text)
    return read_particles(folder / "list.star")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def united(*paths):
    """The uids of tables as cryosparc-tools unites them: rows of a uid that is there already are dropped."""
    return np.unique(np.concatenate([np.load(path)["uid"] for path in paths]))


def test_classes_can_be_united(folder):
    particles = write_star(folder)
    write_particles("a.cs", particles.take(np.array([0, 2])))
    write_particles("b.cs", particles.take(np.array([1, 3])))
    write_particles("all.cs", particles)
    np.testing.assert_array_equal(united("a.cs", "b.cs"), united("all.cs"))
    assert len(united("all.cs")) == 4 and united("all.cs").dtype == np.uint64


def test_an_image_has_one_uid_in_every_export(folder):
    """From the .star, from the .lst of it, and from the stack."""
    particles = write_star(folder)
    write_particles("a.cs", particles)
    write_particles("project.lst", particles)
    write_particles("b.cs", read_particles("project.lst"))
    write_particles("c.cs", read_particles("stack.mrcs"))
    np.testing.assert_array_equal(np.load("a.cs")["uid"], np.load("b.cs")["uid"])
    np.testing.assert_array_equal(np.load("a.cs")["uid"], np.load("c.cs")["uid"][:4])


def test_one_image_in_several_rows(folder):
    """Symmetry expansion: uids differ, and are those of the whole list in each class of it."""
    rows = [ROWS[0], ROWS[1], ROWS[0], ROWS[0], ROWS[1]]
    particles = write_star(folder, rows)
    write_particles("all.cs", particles)
    write_particles("a.cs", particles.take(np.array([3, 1])))
    write_particles("b.cs", particles.take(np.array([0, 2, 4])))
    uids = np.load("all.cs")["uid"]
    assert len(np.unique(uids)) == 5
    np.testing.assert_array_equal(np.load("a.cs")["uid"], uids[[3, 1]])
    np.testing.assert_array_equal(np.load("b.cs")["uid"], uids[[0, 2, 4]])


def test_uids_of_a_table_stay(folder):
    particles = read_particles(save_cs(folder / "a.cs", cs_columns()), need_images=False)
    write_particles("b.cs", particles.take(np.array([2, 0])))
    np.testing.assert_array_equal(np.load("b.cs")["uid"], [30, 10])


@pytest.mark.parametrize("voltage", [200, 300])
def test_exposure_groups_are_the_optics_groups(folder, voltage):
    """By RELION's name and optics, so that lists of a part, or of other numbers, agree."""
    particles = write_star(folder, voltage=voltage)
    write_particles("a.cs", particles)
    groups = np.load("a.cs")["ctf/exp_group_id"]
    assert groups[0] == groups[2] != groups[1] == groups[3]
    np.testing.assert_array_equal(np.load("a.cs")["location/exp_group_id"], groups)
    write_particles("b.cs", particles.take(np.array([3])))
    assert np.load("b.cs")["ctf/exp_group_id"] == groups[3]


@pytest.mark.parametrize("field", ["voltage", "spherical_aberration", "amplitude_contrast"])
@pytest.mark.parametrize("listed", [True, False])
def test_unlike_optics_are_never_one_exposure_group(folder, field, listed):
    """Nor do two lists give one number to unlike optics."""
    particles = write_star(folder) if listed else sample_particles(folder)[0]
    values = np.asarray(getattr(particles.ctf, field)).copy()
    values[:2] = 0.05
    particles = dataclasses.replace(particles, ctf=dataclasses.replace(particles.ctf, **{field: values}))
    write_particles("a.cs", particles)
    groups = np.load("a.cs")["ctf/exp_group_id"]
    assert set(groups[:2]).isdisjoint(groups[2:])
    write_particles("first.cs", particles.take(np.array([0])))
    write_particles("rest.cs", particles.take(np.arange(2, len(particles))))
    assert np.load("first.cs")["ctf/exp_group_id"][0] not in np.load("rest.cs")["ctf/exp_group_id"]


def test_pixel_sizes_part_exposure_groups(folder):
    particles = sample_particles(folder)[0]
    pixel_size = particles.pixel_size.copy()
    pixel_size[3] *= 1.1
    write_particles("a.cs", dataclasses.replace(particles, pixel_size=pixel_size))
    groups = np.load("a.cs")["ctf/exp_group_id"]
    assert groups[3] not in np.delete(groups, 3)


def test_micrographs_go_to_cs_and_back(folder):
    particles = write_star(folder)
    write_particles("a.cs", particles)
    rows = np.load("a.cs")
    assert rows["location/micrograph_path"].tolist() == [name.encode() for _, name, _ in ROWS]
    uids = rows["location/micrograph_uid"]
    assert uids[0] == uids[1] != uids[2] == uids[3]
    for through in (None, "project.lst"):
        again = read_particles("a.cs")
        if through is not None:
            write_particles(through, again)
            again = read_particles(through)
        write_particles("again.star", again)
        table = read_particles("again.star").source.data
        assert table.column("rlnMicrographName").tolist() == [name for _, name, _ in ROWS]
        assert table.column("rlnOpticsGroupName").tolist() == [f"exposureGroup{i}" for i in rows["ctf/exp_group_id"]]
        first, second, *rest = table.column("rlnOpticsGroup").tolist()
        assert {first, second} == {"1", "2"} and rest == [first, second]


def test_exposure_groups_of_like_optics_stay_apart(folder):
    """They differ in what RELION estimates for each; one of several voltages becomes several optics groups."""
    columns = cs_columns() | {"ctf/exp_group_id": np.array([5, 9, 5, 9], "<u4")}
    columns |= {name: np.full(4, value, "<f4") for name, value in (
        ("ctf/df1_A", 1e4), ("ctf/df2_A", 1e4), ("ctf/df_angle_rad", 0), ("ctf/cs_mm", 2.7), ("ctf/amp_contrast", 0.1)
    )}  # fmt: skip
    columns["ctf/accel_kv"] = np.array([300, 300, 200, 300], "<f4")
    save_cs(folder / "a.cs", columns)
    write_particles("a.star", read_particles("a.cs", need_images=False))
    particles = read_particles("a.star", need_images=False)
    names = particles.source.data.column("rlnOpticsGroupName").tolist()
    assert names[1] == names[3] == "exposureGroup9" and {names[0], names[2]} == {"exposureGroup5", "exposureGroup5_2"}
    np.testing.assert_array_equal(particles.ctf.voltage, [300, 300, 200, 300])


def test_a_table_is_completed_from_the_set(folder):
    """A CTF that came from a pickle, half-sets and poses are written where the table has none."""
    particles, _ = sample_particles(folder)
    save_cs(folder / "a.cs", cs_columns(len(particles)))
    bare = read_particles("a.cs", need_images=False)
    full = dataclasses.replace(bare, pose=particles.pose, ctf=particles.ctf, half_set=particles.half_set)
    write_particles("b.cs", full)
    again = read_particles("b.cs", need_images=False)
    for name, values in particles.ctf.columns().items():
        np.testing.assert_allclose(getattr(again.ctf, name), values, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(again.pose.shift, particles.pose.shift, atol=1e-4)
    np.testing.assert_array_equal(again.half_set, particles.half_set)
    np.testing.assert_array_equal(np.load("b.cs")["uid"], cs_columns(len(particles))["uid"])


def test_half_sets_are_renewed(folder):
    particles = read_particles(
        save_cs(folder / "a.cs", cs_columns() | alignment_columns("alignments3D")), need_images=False
    )
    write_particles("b.cs", dataclasses.replace(particles, half_set=np.array([1, 1, 0, 0])))
    np.testing.assert_array_equal(np.load("b.cs")["alignments3D/split"], [1, 1, 0, 0])


def test_a_sign_that_nobody_stated_is_told(folder, caplog):
    particles = dataclasses.replace(sample_particles(folder)[0], group=None)
    with caplog.at_level("INFO"):
        write_particles("a.cs", dataclasses.replace(particles, contrast=-1))
        assert not caplog.text
        write_particles("b.cs", particles)
    assert "does not state the contrast, which a .cs does: this one says white (blob/sign 1)" in caplog.text
    assert set(np.load("a.cs")["blob/sign"]) == {-1} and set(np.load("b.cs")["blob/sign"]) == {1}


def test_phase_flipped_images_are_told(folder, caplog):
    write_particles("a.cs", dataclasses.replace(sample_particles(folder)[0], phase_flipped=True))
    assert "phase-flipped, which no column of a .cs says" in caplog.text
