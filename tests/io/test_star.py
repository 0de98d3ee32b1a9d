"""RELION star files: what columns mean, and that none is lost."""

import dataclasses
import os
import re

import numpy as np
import pytest
import starfile

from libhetero.errors import DataError
from libhetero.io import ImageReader, MrcsWriter, read_particles, write_particles
from libhetero.io.euler import euler_from_matrix, matrix_from_euler
from tests.reference.shared_data import shared_file

OPTICS = """\
data_optics

loop_
_rlnOpticsGroup
_rlnOpticsGroupName
_rlnVoltage
_rlnSphericalAberration
_rlnAmplitudeContrast
_rlnImagePixelSize
_rlnImageSize
3 fine 300 2.7 0.1 1.25 16
1 coarse 200 2.0 0.07 2.5 8

"""
PARTICLES = """\
data_particles

loop_
_rlnImageName
_rlnOpticsGroup
_rlnDefocusU
_rlnDefocusV
_rlnDefocusAngle
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginXAngst
_rlnOriginYAngst
_rlnMicrographName
000002@fine.mrcs 3 15000 14000 30 10 20 30 2.5 -1.25 "a name.mrc"
000003@coarse.mrcs 1 25000 24000 -30 40 50 60 2.5 -1.25 0012
000001@fine.mrcs 3 16000 15000 45 0 0 75 0 0 0013
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, n, pixel_size in (("fine", 16, 1.25), ("coarse", 8, 2.5)):
        with MrcsWriter(tmp_path / f"{name}.mrcs", n, 4, pixel_size) as writer:
            writer.write(np.arange(4)[:, None, None] * np.ones((1, n, n)))
    return tmp_path


def read_text(folder, text, **options):
    (folder / "list.star").write_text(text)
    return read_particles(folder / "list.star", **options)


def test_optics_groups(folder):
    particles = read_text(folder, OPTICS + PARTICLES)
    np.testing.assert_array_equal(particles.pixel_size, [1.25, 2.5, 1.25])
    np.testing.assert_array_equal(particles.box_size, [16, 8, 16])
    np.testing.assert_array_equal(particles.ctf.voltage, [300, 200, 300])
    np.testing.assert_allclose(particles.ctf.amplitude_contrast, [0.1, 0.07, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(particles.image_index, [1, 2, 0])
    np.testing.assert_array_equal(particles.pose.shift, [[-2.5, 1.25], [-2.5, 1.25], [0, 0]])
    assert ImageReader(particles).read([2, 0])[1, 0, 0] == 1
    assert ImageReader(particles).read([1])[0, 0, 0] == 2
    with pytest.raises(DataError, match="2 values of pixel size"):
        particles.uniform_pixel_size()


def test_unknown_optics_group(folder):
    with pytest.raises(DataError, match="optics group 1 is not in data_optics"):
        read_text(folder, OPTICS.replace("1 coarse", "2 coarse") + PARTICLES)


def test_absent_columns_mean_none(folder):
    ctf = read_text(folder, OPTICS + PARTICLES).ctf
    for values, expected in ((ctf.phase_shift, 0), (ctf.b_factor, 0), (ctf.scale, 1)):
        np.testing.assert_array_equal(values, np.full(3, expected))


def with_column(label, *values):
    """The list with one more column in the table of particles, in place of any that has this label."""
    optics, particles = (re.sub(rf"(?m)^_{label}$", "_rlnOther", text) for text in (OPTICS, PARTICLES))
    rows = iter(values)
    particles = particles.replace("_rlnMicrographName\n", f"_rlnMicrographName\n_{label}\n")
    return optics + re.sub(r"(?m)^(.*@.*)$", lambda row: f"{row[1]} {next(rows)}", particles)


NUMBERS = (
    "rlnPhaseShift rlnCtfBfactor rlnCtfScalefactor rlnRandomSubset rlnImagePixelSize rlnImageSize rlnDefocusAngle "
    "rlnOriginXAngst rlnOriginYAngst rlnAngleRot rlnDefocusU rlnVoltage rlnCtfDataArePhaseFlipped"
)


@pytest.mark.parametrize("label", NUMBERS.split())
def test_what_is_no_number_is_told_by_row_and_label(folder, label):
    """In columns that may be absent too: what stands there is never taken for their default."""
    for value in ("nan", "none", "inf", "-inf", "1e309", "<NA>", '""', "\uff11", "1_0", "1,5", "0x1", "1" * 5000):
        with pytest.raises(DataError, match=f"particle 2: {label} is '.*'; expected a finite number") as raised:
            read_text(folder, with_column(label, "1", value, "1"))
        assert len(str(raised.value)) < 400


def test_numbers_of_many_digits(folder):
    for value in ("12000." + "0" * 31, "0" * 40 + "12000", "12000." + "0" * 400):
        np.testing.assert_array_equal(read_text(folder, with_column("rlnDefocusU", *[value] * 3)).ctf.defocus_u, 12000)
    with pytest.raises(DataError, match="rlnDefocusU is '12000.0*'; expected a finite number of at most 400 digits"):
        read_text(folder, with_column("rlnDefocusU", *["12000." + "0" * 401] * 3))


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("rlnRandomSubset", "3", "rlnRandomSubset is 3; expected 1 or 2"),
        ("rlnRandomSubset", "0", "rlnRandomSubset is 0; expected 1 or 2"),
        ("rlnRandomSubset", "1.5", "rlnRandomSubset is 1.5; expected a whole number"),
        ("rlnImageSize", "16.5", "rlnImageSize is 16.5; expected a whole number"),
        ("rlnImageSize", "-1", "rlnImageSize is -1; expected a box"),
        ("rlnImagePixelSize", "-1.25", "rlnImagePixelSize is -1.25; expected a positive"),
        ("rlnCtfDataArePhaseFlipped", "0", "some images are phase-flipped, others not .*particles 1 and 2 differ"),
        ("rlnCtfDataAreCtfPremultiplied", "0", "some images are multiplied by their CTF, others not"),
        ("rlnImageDimensionality", "3", "particle 2 is 3-dimensional .*subtomogram"),
        ("rlnImageDimensionality", "1", "particle 2: rlnImageDimensionality is 1; expected 2, for 2-D images"),
    ],
)
def test_values_that_mean_nothing_or_differ(folder, label, value, message):
    first = "2" if label == "rlnImageDimensionality" else "1"
    with pytest.raises(DataError, match=message):
        read_text(folder, with_column(label, first, value, first))


def test_what_holds_for_all_particles_is_read(folder, caplog):
    particles = read_text(folder, with_column("rlnCtfDataArePhaseFlipped", *"111"))
    assert particles.phase_flipped and not read_text(folder, OPTICS + PARTICLES).phase_flipped
    assert read_text(folder, with_column("rlnRandomSubset", *"000")).half_set is None
    np.testing.assert_array_equal(read_text(folder, with_column("rlnRandomSubset", *"212")).half_set, [1, 0, 1])
    np.testing.assert_array_equal(
        read_text(folder, with_column("rlnImagePixelSize", *"000")).pixel_size, [1.25, 2.5, 1.25]
    )
    assert len(read_text(folder, with_column("rlnImageDimensionality", *"020"))) == 3  # 0 is not said
    assert not caplog.text
    read_text(folder, with_column("rlnCtfDataAreCtfPremultiplied", *"111"))
    assert "premultiplied" in caplog.text


def test_optics_groups_come_before_columns_of_particles(folder, caplog):
    """As RELION reads them; a column left over in the table of particles says nothing."""
    text = PARTICLES.replace("_rlnMicrographName\n", "_rlnMicrographName\n_rlnVoltage\n")
    for value, voltage in (('name.mrc"', "300"), (" 0012", "200.0"), (" 0013", "300")):
        text = text.replace(value, f"{value} {voltage}")
    np.testing.assert_array_equal(read_text(folder, OPTICS + text).ctf.voltage, [300, 200, 300])
    assert not caplog.text
    np.testing.assert_array_equal(
        read_text(folder, OPTICS + text.replace(" 0013 300", " 0013 80")).ctf.voltage, [300, 200, 300]
    )
    assert "rlnVoltage differs between data_optics, which is used" in caplog.text


def test_rows_of_one_optics_group(folder):
    again = "3 fine 300 2.7 0.1 1.25 16\n"
    assert len(read_text(folder, OPTICS.replace("\n\n", "\n\n").rstrip() + "\n" + again + "\n" + PARTICLES)) == 3
    with pytest.raises(DataError, match="rows 1 and 3 of data_optics are both of optics group 3 and differ"):
        read_text(folder, OPTICS.rstrip() + "\n" + again.replace("300", "200") + "\n" + PARTICLES)
    for same in ("03", "3.0", "3.", "3.000000"):
        text = PARTICLES.replace("fine.mrcs 3", f"fine.mrcs {same}")
        np.testing.assert_array_equal(read_text(folder, OPTICS + text).ctf.voltage, [300, 200, 300])
    with pytest.raises(DataError, match="optics group 3.5 is not in data_optics"):
        read_text(folder, OPTICS + PARTICLES.replace("fine.mrcs 3", "fine.mrcs 3.5"))


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("rlnReferenceImage", "the model of a refinement.*give its particles, _data.star"),
        ("rlnCoordinateX", "These are coordinates: extract their particles"),
        ("rlnMicrographName", "a list of micrographs"),
        ("rlnTomoTiltSeriesStarFile", "a list of tilt series"),
        ("rlnFoo", "it has data_some. Give a particle .star"),
    ],
)
def test_other_files_of_relion_are_named_for_what_they_are(folder, label, said):
    with pytest.raises(DataError, match=f"no blocks list particles .*{said}"):
        read_text(folder, f"data_some\n\nloop_\n_{label}\n1\n")
    with pytest.raises(DataError, match=f"no blocks list particles .*{said}"):
        read_text(folder, f"data_some\n\n_{label} 1\n")


def test_two_blocks_of_particles(folder):
    with pytest.raises(DataError, match="2 blocks list particles.*data_particles, data_images"):
        read_text(folder, OPTICS + PARTICLES + "\n" + PARTICLES.replace("data_particles", "data_images"))
    micrographs = "\ndata_micrographs\n\nloop_\n_rlnMicrographName\nm.mrc\n"
    assert len(read_text(folder, OPTICS + PARTICLES + micrographs)) == 3


def test_tilt_series_by_b_factors(folder):
    """None above 0, as Warp and M write them; a fit of B-factors has some of both signs."""
    text = PARTICLES.replace("_rlnMicrographName", "_rlnGroupName\n_rlnCtfBfactor")
    rows = ("a 0", "b -4", "a -8"), ("a 30", "b -4", "a -8")
    for values, expected in zip(rows, ([0, 1, 0], None), strict=True):
        filled = text
        for old, new in zip(('"a name.mrc"', "0012", "0013"), values, strict=True):
            filled = filled.replace(old, new)
        group = read_text(folder, OPTICS + filled).group
        assert (group is None) if expected is None else np.array_equal(group, expected)


def test_incomplete_ctf_is_left_out(folder, caplog):
    particles = read_text(folder, OPTICS.replace("_rlnVoltage", "_rlnOther") + PARTICLES)
    assert particles.ctf is None
    assert "without rlnVoltage" in caplog.text


def test_shift_in_pixels_and_magnification(folder):
    text = """\
data_

loop_
_rlnImageName
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginX
_rlnOriginY
_rlnMagnification
_rlnDetectorPixelSize
1@fine.mrcs 10 20 30 3 -4 40000 5.0
"""
    particles = read_text(folder, text)
    assert particles.uniform_pixel_size() == 1.25
    np.testing.assert_array_equal(particles.pose.shift, [[-3.75, 5.0]])
    doubled = read_particles(folder / "list.star", pixel_size=2.5)
    np.testing.assert_array_equal(doubled.pose.shift, [[-7.5, 10.0]])


OLD_LIST = """\
data_

loop_
_rlnImageName
_rlnAngleRot
_rlnAngleTilt
_rlnAnglePsi
_rlnOriginX
_rlnOriginY
_rlnMagnification
_rlnDetectorPixelSize
1@fine.mrcs 10 20 30 3 -4 40000 5.0
"""


@pytest.mark.parametrize("text", [OPTICS + PARTICLES, OLD_LIST], ids=["3.1", "3.0"])
@pytest.mark.parametrize("through_list", [False, True])
def test_a_pixel_size_given_is_written(folder, text, through_list):
    """Shifts keep their number of pixels, the list says the new pixel size."""
    stated = read_text(folder, text)
    particles = read_text(folder, text, pixel_size=3.1)
    if through_list:
        write_particles("project.lst", particles)
        write_particles("again.star", read_particles("project.lst"))
    else:
        write_particles("again.star", particles)
    again = read_particles("again.star")
    np.testing.assert_allclose(again.pixel_size, 3.1, rtol=1e-6)
    np.testing.assert_allclose(again.pose.shift, particles.pose.shift, atol=1e-4)
    pixels = stated.pose.shift / stated.pixel_size[:, None]
    np.testing.assert_allclose(again.pose.shift / 3.1, pixels, atol=1e-4)
    if text == OLD_LIST:
        table = again.source.data.particles
        assert list(table["rlnOriginX"]) == ["3"] and list(table["rlnOriginY"]) == ["-4"]


def test_a_pixel_size_that_no_column_holds(folder, caplog):
    columns = "_rlnMagnification\n_rlnDetectorPixelSize\n"
    text = OLD_LIST.replace(columns, "").replace(" 40000 5.0", "")
    write_particles("again.star", read_text(folder, text, pixel_size=2.5))
    assert "no column holds the pixel size" in caplog.text
    assert list(read_particles("again.star").source.data.particles["rlnOriginX"]) == ["3"]


def test_pixel_sizes_that_differ_within_an_optics_group(folder, caplog):
    particles = read_text(folder, OPTICS + PARTICLES)
    particles.pixel_size[0] = 2.5
    particles.pose.shift[0] *= 2
    write_particles("again.star", particles)
    assert "an optics group would need several pixel sizes" in caplog.text
    again = read_particles("again.star")
    np.testing.assert_allclose(again.pixel_size, [1.25, 2.5, 1.25])
    np.testing.assert_allclose(again.pose.shift[0], [-2.5, 1.25])


@pytest.mark.parametrize("text", [OPTICS + PARTICLES, OLD_LIST], ids=["3.1", "3.0"])
def test_binned_images_leave_the_pixel_size_of_the_list(folder, text):
    """A list whose stack is a binned copy of the original images keeps shifts in Å."""
    original = read_text(folder, text).take(slice(0, 1))
    with MrcsWriter("binned.mrcs", 8, 4, 2.5) as writer:
        writer.write(np.zeros((4, 8, 8)))
    write_particles("project.lst", original)
    lines = (folder / "project.lst").read_text().replace("\tfine.mrcs\t", "\tbinned.mrcs\t")
    lines = lines.replace('"apix_x":1.25,"apix_y":1.25', '"apix_x":2.5,"apix_y":2.5')
    (folder / "project.lst").write_text(lines)
    binned = read_particles("project.lst")
    assert binned.uniform_box_size() == 8 and binned.uniform_pixel_size() == 2.5
    write_particles("again.star", binned)
    again = read_particles("again.star")
    assert again.uniform_pixel_size() == 1.25
    np.testing.assert_allclose(again.pose.shift, binned.pose.shift, atol=1e-4)


@pytest.mark.parametrize("tag", ["", "# version 30001\n\n"])
def test_a_list_of_relion_30_stays_one(folder, tag):
    """With `# version 30001` over pixels RELION 3.1 leaves the shifts out: it takes the list for converted."""
    write_particles("again.star", read_text(folder, tag + OLD_LIST))
    assert "version" not in (folder / "again.star").read_text()
    write_particles("project.lst", read_text(folder, tag + OLD_LIST))
    write_particles("exported.star", read_particles("project.lst"))
    assert (folder / "exported.star").read_bytes() == (folder / "again.star").read_bytes()
    bare = OLD_LIST.replace("_rlnOriginX\n_rlnOriginY\n", "").replace(" 3 -4", "")
    particles = read_text(folder, bare)
    particles.pose.shift[:] = (2.5, -5)
    write_particles("shifted.star", particles)
    table = read_particles("shifted.star").source.data.particles
    assert list(table["rlnOriginX"]) == ["-2.000000"] and list(table["rlnOriginY"]) == ["4.000000"]


def test_versions_are_kept(folder):
    for tag, expected in (("# version 50001\n\n", "50001"), ("", "30001")):
        write_particles("again.star", read_text(folder, tag + OPTICS + PARTICLES))
        assert f"# version {expected}\n\ndata_optics\n" in (folder / "again.star").read_text()


def test_optics_of_another_table_go_into_the_optics_groups(folder):
    """RELION reads voltage, Cs and amplitude contrast there alone."""
    particles = read_text(folder, OPTICS + PARTICLES)
    particles.ctf.voltage[:] = (200, 80, 200)
    write_particles("again.star", particles)
    table = read_particles("again.star").source.data
    assert list(table.blocks["optics"]["rlnVoltage"]) == ["200.000000", "80.000000"]
    assert "rlnVoltage" not in table.particles
    particles = read_text(folder, OPTICS.replace("_rlnVoltage", "_rlnOther") + PARTICLES)
    assert particles.ctf is None
    particles = dataclasses.replace(particles, ctf=read_text(folder, OPTICS + PARTICLES).ctf, source=particles.source)
    write_particles("again.star", particles)
    np.testing.assert_array_equal(read_particles("again.star").ctf.voltage, [300, 200, 300])
    particles.ctf.voltage[0] = 80
    with pytest.raises(DataError, match="several values of rlnVoltage"):
        write_particles("again.star", particles)


def test_a_list_without_ctf_states_what_relion_needs(folder):
    particles = dataclasses.replace(read_particles("fine.mrcs"), source=None)
    write_particles("plain.star", particles)
    optics = read_particles("plain.star").source.data.blocks["optics"]
    assert optics.iloc[0][["rlnVoltage", "rlnSphericalAberration"]].astype(float).tolist() == [300, 2.7]
    assert read_particles("plain.star").ctf is None


@pytest.mark.parametrize(
    ("name", "written"),
    [("x.mrcs", "x.mrcs"), ("x.mrc", "x.mrc:mrcs"), ("x.st", "x.st:mrcs"), ("a:b.mrcs", "a:b.mrcs:mrcs")],
)
def test_names_of_stacks_are_such_as_relion_opens(folder, caplog, name, written):
    """RELION 3.1.3 refuses a numbered .mrc, and other suffixes, unless `:mrcs` says what they are."""
    (folder / name).write_bytes((folder / "fine.mrcs").read_bytes())
    particles = dataclasses.replace(read_text(folder, OLD_LIST), source=None, files=(str(folder / name),))
    write_particles("again.star", particles)
    again = read_particles("again.star")
    assert list(again.source.data.particles["rlnImageName"]) == [f"000001@{written}"]
    assert again.files == (str(folder / name),) and not caplog.text


@pytest.mark.parametrize("name", ["a#b.mrcs", "a%b.mrcs"])
def test_names_that_relion_cannot_open_are_told(folder, caplog, name):
    (folder / name).write_bytes((folder / "fine.mrcs").read_bytes())
    write_particles("again.star", read_text(folder, OLD_LIST.replace("fine.mrcs", name)))
    assert f"RELION opens no stack with # or % in its name (1@{name})" in caplog.text
    assert read_particles("again.star").files == (str(folder / name),)


@pytest.mark.parametrize("suffix", [".star", ".cs"])
def test_lists_for_others_do_not_name_stacks_of_eman2(folder, suffix):
    write_particles("images.hdf", read_particles("fine.mrcs"))
    with pytest.raises(DataError, match=r"images\.hdf, which RELION and cryoSPARC cannot open.*--stack"):
        write_particles(f"list{suffix}", read_particles("images.hdf"))
    assert not (folder / f"list{suffix}").exists()


def test_names_of_images(folder):
    """Split at the first @, as RELION does; `:mrcs` says how to read and is no part of the name."""
    (folder / "a@b").mkdir()
    for name in ("a@b/x.mrcs", "odd.dat", "it's#1.mrcs", "-x.mrcs"):
        (folder / name).write_bytes((folder / "fine.mrcs").read_bytes())
    names = ["000002@a@b/x.mrcs", "3@odd.dat:mrcs", "4@it's#1.mrcs", "1@-x.mrcs"]
    particles = read_text(folder, "data_\n\nloop_\n_rlnImageName\n" + "\n".join(names) + "\n")
    assert [os.path.basename(file) for file in particles.files] == ["x.mrcs", "odd.dat", "it's#1.mrcs", "-x.mrcs"]
    np.testing.assert_array_equal(ImageReader(particles).read(range(4))[:, 0, 0], [1, 2, 3, 0])
    write_particles("again.star", particles)
    assert list(read_particles("again.star").source.data.particles["rlnImageName"]) == names


def test_stacks_and_volumes_that_are_no_particles(folder):
    start = "data_\n\nloop_\n_rlnImageName\n"
    with pytest.raises(DataError, match="a stack of 4 images, named without the number of one"):
        read_text(folder, start + "fine.mrcs\n")
    with MrcsWriter("single.mrc", 16, 1, 1.25) as writer:
        writer.write(np.ones((1, 16, 16)))
    assert len(read_text(folder, start + "single.mrc\n")) == 1
    tilts = "data_general\n\n_rlnTomoSubTomosAre2DStacks 1\n\n" + start.replace("data_", "data_particles")
    with pytest.raises(DataError, match=r"particle 2 names a stack of all its tilts.*000001@single\.mrc"):
        read_text(folder, tilts + "1@fine.mrcs\nsingle.mrc\n")
    assert len(read_text(folder, tilts + "1@fine.mrcs\n2@fine.mrcs\n")) == 2


def test_an_export_names_the_stack_that_was_read(folder, monkeypatch):
    """The project folder may hold another file under the name that the list's own folder has."""
    (folder / "project").mkdir()
    (folder / "project" / "fine.mrcs").write_bytes((folder / "coarse.mrcs").read_bytes())
    (folder / "list.star").write_text(OLD_LIST)
    monkeypatch.chdir(folder / "project")
    write_particles("own.star", read_particles(folder / "list.star"))
    write_particles("list.lst", read_particles(folder / "list.star"))
    write_particles("exported.star", read_particles("list.lst"))
    for name in ("own.star", "exported.star"):
        assert read_particles(name).files == (str(folder / "fine.mrcs"),)


def test_an_export_names_the_stack_of_the_data_folder(folder):
    (folder / "moved").mkdir()
    (folder / "moved" / "fine.mrcs").write_bytes((folder / "fine.mrcs").read_bytes())
    write_particles("list.lst", read_text(folder, OLD_LIST, datadir="moved"))
    write_particles("exported.star", read_particles("list.lst"))
    assert read_particles("exported.star").files == (str(folder / "moved" / "fine.mrcs"),)


def test_a_source_that_has_changed_is_refused(folder):
    write_particles("list.lst", read_text(folder, OPTICS + PARTICLES))
    lines = (folder / "list.star").read_text().splitlines()
    rows = [line for line in lines if "@" in line]
    (folder / "list.star").write_text("\n".join([*(x for x in lines if "@" not in x), *rows[::-1]]) + "\n")
    with pytest.raises(
        DataError, match=r"list\.star: row 1 now names 000001@fine\.mrcs.*is 000002@fine\.mrcs.*changed"
    ):
        write_particles("exported.star", read_particles("list.lst"))


@pytest.mark.parametrize("row", ["-1", '"1"', "1.5", "null"])
def test_a_row_of_the_source_that_is_none(folder, row):
    write_particles("list.lst", read_text(folder, OLD_LIST))
    (folder / "list.lst").write_text((folder / "list.lst").read_text().replace('"hetero_row":0', f'"hetero_row":{row}'))
    with pytest.raises(DataError, match="hetero_row"):
        write_particles("exported.star", read_particles("list.lst"))


def test_joined_imports_lose_columns_with_a_warning(folder, caplog):
    write_particles("a.lst", read_text(folder, OPTICS + PARTICLES))
    (folder / "other.star").write_text(OPTICS + PARTICLES)
    write_particles("b.lst", read_particles("other.star"))
    first, second = ((folder / name).read_text() for name in ("a.lst", "b.lst"))
    (folder / "both.lst").write_text(first + second)
    write_particles("again.star", read_particles("both.lst"))
    assert caplog.text.count("joined from 2 imports") == 1
    assert len(read_particles("again.star")) == 6


def test_text_of_every_value_survives(folder):
    particles = read_text(folder, OPTICS + PARTICLES)
    write_particles("again.star", particles.take(np.array([2, 0])))
    labels = re.findall(r"_(rln\S+)", OPTICS + PARTICLES)
    old = starfile.read("list.star", always_dict=True, parse_as_string=labels)
    new = starfile.read("again.star", always_dict=True, parse_as_string=labels)
    assert list(old) == list(new)
    assert old["optics"].equals(new["optics"])
    assert old["particles"].iloc[[2, 0]].reset_index(drop=True).equals(new["particles"])


def test_only_what_changed_is_rewritten(folder):
    particles = read_text(folder, OPTICS + PARTICLES)
    particles.pose.shift[1] = (7, 8)
    particles.ctf.defocus_u[0] = 17000
    write_particles("again.star", particles)
    table = starfile.read("again.star", parse_as_string=["rlnAngleRot"])["particles"]
    np.testing.assert_allclose(table["rlnOriginXAngst"], [2.5, -7, 0])
    np.testing.assert_allclose(table["rlnDefocusU"], [17000, 25000, 16000])
    assert list(table["rlnAngleRot"]) == ["10", "40", "0"]
    assert "rlnPhaseShift" not in table and "rlnVoltage" not in table


def test_import_and_export_give_the_original_back(folder):
    """star → lst → star: every column, and the images of the star, not those of the list."""
    original = read_text(folder, OPTICS + PARTICLES)
    write_particles("project.lst", original)
    (folder / "project.lst").write_text((folder / "project.lst").read_text())
    chosen = read_particles("project.lst").take(np.array([1, 0]))
    write_particles("exported.star", chosen)
    write_particles("direct.star", original.take(np.array([1, 0])))
    assert (folder / "exported.star").read_text() == (folder / "direct.star").read_text()


def test_export_without_the_original(folder, caplog):
    write_particles("project.lst", read_text(folder, OPTICS + PARTICLES))
    (folder / "list.star").unlink()
    write_particles("exported.star", read_particles("project.lst"))
    assert "columns are lost" in caplog.text
    assert len(read_particles("exported.star")) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [("0@fine.mrcs", "start at 1"), ("x@fine.mrcs", "not number@stack"), ("5@fine.mrcs", "image 5")],
)
def test_bad_image_names(folder, name, message):
    with pytest.raises(DataError, match=message):
        read_text(folder, f"data_\n\nloop_\n_rlnImageName\n{name}\n")


def test_tilt_groups():
    particles = read_particles(shared_file("formats", "tilt_series", "sta_testing_bin8.star"))
    sizes = np.bincount(particles.group)
    assert len(sizes) == 6 and sizes.sum() == 219
    assert np.all(particles.ctf.b_factor >= 0), "an envelope never grows"
    assert read_particles(shared_file("formats", "relion30", "sample_particles_relion30.star")).group is None


def test_euler_angles_round_trip():
    rng = np.random.default_rng(0)
    rot, psi = rng.uniform(-180, 180, (2, 50))
    tilt = np.concatenate([rng.uniform(0, 180, 46), [0, 180, 1e-3, 179.999]])
    matrix = matrix_from_euler(rot, tilt, psi)
    np.testing.assert_allclose(np.linalg.det(matrix), 1)
    np.testing.assert_allclose(matrix_from_euler(*euler_from_matrix(matrix)), matrix, atol=1e-9)


def test_relion_shift_is_where_the_particle_went():
    """RELION's shifted projections are its centred ones moved by the shift we read."""
    centred, shifted = (
        read_particles(shared_file("formats", "relion31", f"rln_proj_64_{name}.star"))
        for name in ("centered", "shifted")
    )
    np.testing.assert_array_equal(centred.pose.shift, 0)
    np.testing.assert_array_equal(centred.pose.rotation, shifted.pose.rotation)
    still, moved = (ImageReader(p).read(range(4)) for p in (centred, shifted))
    steps = np.round(shifted.pose.shift / shifted.pixel_size[:, None]).astype(int)
    assert np.abs(steps).max() > 5
    for image, other, (x, y) in zip(still, moved, steps, strict=True):
        np.testing.assert_allclose(np.roll(image, (y, x), (0, 1)), other, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "count", "pixel_size", "shift"),
    [
        ("relion30/sample_particles_relion30.star", 17, 1.338, [-0.26706, -0.26706]),
        ("relion31/relion31.star", 5, 2.806, [-0.019324, 0.64686]),
        ("relion31/relion31.6opticsgroups.star", 139, None, [-13.284554, 3.21701]),
        ("relion5/relion5.star", 17, 0.89, [3.12578, 1.41031]),
    ],
)
def test_versions_of_relion(tmp_path, monkeypatch, name, count, pixel_size, shift):
    monkeypatch.chdir(tmp_path)
    path = shared_file("formats", *name.split("/"))
    particles = read_particles(path, need_images=False)
    assert len(particles) == count
    if pixel_size is not None:
        np.testing.assert_allclose(particles.pixel_size, pixel_size, rtol=1e-4)
    np.testing.assert_allclose(particles.pose.shift[0], shift, atol=1e-4)
    assert set(particles.half_set) == {0, 1} or count == 5
    assert_lossless(path, tmp_path / "again.star", particles)


def assert_lossless(path, again, particles):
    """Every value of every block, as text, but for the folder in image names."""
    write_particles(again, particles)
    labels = re.findall(r"(?m)^_(\S+)", path.read_text())
    old, new = (starfile.read(p, always_dict=True, parse_as_string=labels) for p in (path, again))
    assert list(old) == list(new)
    for block, table in old.items():
        assert list(table) == list(new[block])
        for label in set(table) - {"rlnImageName"}:
            assert list(table[label]) == list(new[block][label]), (block, label)


def test_edge_cases():
    """Files of other programs' tests: one line says what is wrong."""
    for name, message in (
        ("aspire_sample_starfile_rejects.star", "line 20: 5 values for 4 labels.*not a well-formed star"),
        ("basic_double_quote.star", "no blocks list particles"),
        ("empty_loop.star", "no blocks list particles"),
        ("git_lfs_pointer.star", "git lfs pull"),
        ("single_line_middle_of_multiblock.star", "2 blocks list particles"),
        ("two_single_line_loop_blocks.star", "no blocks list particles"),
    ):
        with pytest.raises(DataError, match=message) as raised:
            read_particles(shared_file("formats", "edge_cases", name))
        assert "\n" not in str(raised.value)
