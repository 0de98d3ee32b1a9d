"""EMAN2 lists: what is read, what is refused, and how lines are laid out."""

import dataclasses
import json
import os

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import HdfWriter, ImageReader, eman, read_particles, write_particles
from libhetero.io.eman import ctf_from_fields, fields_from_ctf, parse_ctf_string
from libhetero.io.optics import count_optics_groups, optics_groups
from libhetero.io.paths import NameNotHeld
from tests.making.limited import refusal
from tests.making.optics import varied_optics
from tests.making.particles import sample_particles
from tests.reference.agreement import assert_same_ctf
from tests.reference.shared_data import shared_file


@pytest.fixture
def stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with HdfWriter(tmp_path / "stack.hdf", 2.0) as writer:
        for _ in range(4):
            writer.write(np.zeros((8, 8)))
    return tmp_path


def write_lines(folder, *lines, header="#LSX\n# comment\n# 20\n"):
    (folder / "list.lst").write_text(header + "".join(f"{line}\n" for line in lines))
    return folder / "list.lst"


def test_layout(stack):
    particles, _ = sample_particles(stack)
    write_particles(stack / "list.lst", particles)
    content = (stack / "list.lst").read_bytes()
    assert content.isascii() and b"\r" not in content
    lines = content.decode().split("\n")
    assert lines[0] == "#LSX" and lines[1].startswith("#") and lines[-1] == ""
    length = int(lines[2].removeprefix("# "))
    assert {len(line) + 1 for line in lines[3:-1]} == {length}
    for line in lines[3:-1]:
        index, name, text = line.rstrip().split("\t")
        assert index.isdigit() and name in ("first.mrcs", "second.mrcs")
        values = json.loads(text)
        assert text == json.dumps(values, sort_keys=True, separators=(",", ":"))
        assert values["xform.projection"]["__class__"] == "Transform"
        assert len(json.loads(values["xform.projection"]["matrix"])) == 12
        assert values["ctf"]["__class__"] == "EMAN2Ctf"


def test_paths_are_relative_to_the_current_folder(stack, monkeypatch):
    particles, _ = sample_particles(stack)
    (stack / "sets").mkdir()
    write_particles("sets/list.lst", particles)
    assert read_particles("sets/list.lst").files == tuple(particles.files[i] for i in dict.fromkeys(particles.file_id))
    monkeypatch.chdir(stack / "sets")
    write_particles("list.lst", particles)
    assert str(stack / "first.mrcs") in (stack / "sets" / "list.lst").read_text()


def test_flipped_particles_beside_others_are_refused(stack):
    path = write_lines(stack, '0\tstack.hdf\t{"ctf_phase_flipped":1}', '1\tstack.hdf\t{"ctf_phase_flipped":0}')
    with pytest.raises(DataError, match=r"list\.lst: some particles are phase-flipped, others not"):
        read_particles(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":{"__pickle__":"gASVAAAA"}}',
        '{"a":{"\\u005f_pickle__":"gASVAAAA"}}',
        "{'xform.projection': Transform()}",
        "{1:__import__('os')}",
    ],
)
def test_code_is_refused(stack, text):
    with pytest.raises(DataError, match="refused"):
        read_particles(write_lines(stack, f"0\tstack.hdf\t{text}"))


def test_lines_that_eman2_reads(stack):
    path = write_lines(
        stack,
        "2\tstack.hdf",
        '1\tstack.hdf\t{"class": 1, "score": -0.5}   ',
        "0 stack.hdf",
        '3\tstack.hdf\t{"note":"' + 12000 * "x" + '"}',
        header="#LST\n# old header\n",
    )
    np.testing.assert_array_equal(read_particles(path).image_index, [2, 1, 0, 3])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stack.hdf", "line 4 is not"),
        ("x\tstack.hdf", "line 4 is not"),
        ("0\tabsent.hdf", "--datadir"),
        ("9\tstack.hdf", "image 10 is asked for, the stack holds 4"),
        ('0\tstack.hdf\t{"xform.projection":{"matrix":"[1,2]"}}', "12 numbers"),
        ('0\tstack.hdf\t{"xform.projection":{"matrix":[2,0,0,0,0,2,0,0,0,0,2,0]}}', "scales"),
        ('0\tstack.hdf\t{"ctf":{"defocus":1}}', "lacks dfdiff"),
        ('0\tstack.hdf\t{"ctf":"hello"}', "not an EMAN2 CTF"),
    ],
)
def test_mistakes(stack, line, message):
    with pytest.raises(DataError, match=message):
        read_particles(write_lines(stack, line))


LINES = {
    "no number": ("²\tstack.hdf", "line 4 is not"),
    "other digits": ("٣\tstack.hdf", "line 4 is not"),
    "a number of 5000 digits": (5000 * "1" + "\tstack.hdf", "line 4 is not"),
    "a number below 0": ("-1\tstack.hdf", "line 4 is not"),
    "no stack": ("0\t\t{}", "line 4 is not"),
    "a line without end": ("0\tstack.hdf\t" + "x" * 2**20, "line 4 has more than 1048576 bytes"),
    "nested too deeply": ('0\tstack.hdf\t{"a":' + 100000 * "[", "line 4: its JSON cannot be read: nested too deeply"),
    "a value of 5000 digits": (
        '0\tstack.hdf\t{"a":' + 5000 * "1" + "}",
        "line 4: its JSON cannot be read: Exceeds the",
    ),
    "a key twice": ('0\tstack.hdf\t{"apix_x":1,"apix_x":2}', "line 4: .*'apix_x' stands twice"),
    "a nested key twice": ('0\tstack.hdf\t{"a":{"b":1,"b":1}}', "line 4: .*'b' stands twice"),
    "NaN": ('0\tstack.hdf\t{"apix_x":NaN}', "line 4: apix_x: expected a number of at least 0, got nan"),
    "infinity": ('0\tstack.hdf\t{"hetero_scale":-Infinity}', "line 4: hetero_scale: expected a number of at least"),
    "beyond float32": ('0\tstack.hdf\t{"hetero_scale":1e39}', "line 4: hetero_scale: expected a number of at most"),
    "text for a number": ('0\tstack.hdf\t{"apix_x":"2"}', "line 4: apix_x: expected a number, got '2'"),
    "null": ('0\tstack.hdf\t{"ctf":null}', "line 4: ctf: expected an object of EMAN2's CTF, got null"),
    "a row of no table": ('0\tstack.hdf\t{"hetero_row":1}', "line 4: expected hetero_source and hetero_row"),
    "half a letter": ('0\tstack.hdf\t{"ctf":{"\\ud800":1}}', "line 4: holds half a letter"),
    "a list for a number": (
        '0\tstack.hdf\t{"ptcl3d_id":[1]}',
        r"line 4: ptcl3d_id: expected a whole number, got \[1\]",
    ),
    "a half-set of three": ('0\tstack.hdf\t{"hetero_half":2}', "line 4: hetero_half: expected 0 or 1, got 2"),
}


@pytest.mark.parametrize("what", LINES)
def test_lines_that_are_no_particles(stack, what):
    line, message = LINES[what]
    with pytest.raises(DataError, match=rf"list\.lst: {message}") as told:
        read_particles(write_lines(stack, line))
    assert "\n" not in str(told.value) and len(str(told.value)) < 300


def test_a_list_that_is_one_line_without_end(stack):
    (stack / "list.lst").write_bytes(b"#LSX\n#\n# 9\n0\t")
    os.truncate(stack / "list.lst", 2**33)
    assert "line 4 has more than 1048576 bytes" in refusal(f"read_particles({str(stack / 'list.lst')!r})", memory=2**25)


def test_a_key_of_another_program_may_be_anything(stack):
    particles = read_particles(write_lines(stack, '0\tstack.hdf\t{"score":NaN,"class":[1],"a":{"b":null},"c":1e999}'))
    assert len(particles) == 1 and particles.half_set is None
    write_particles("again.lst", particles)
    assert '"score":NaN' in (stack / "again.lst").read_text()


MIXED = {
    "contrast": (
        '{"hetero_contrast":1}',
        '{"hetero_contrast":-1}',
        "hetero_contrast is 1 for particle 1, -1 for particle 2",
    ),
    "contrast of some": ('{"hetero_contrast":1}', "{}", "hetero_contrast is 1 for particle 1, 0 for particle 2"),
    "half-set of some": ("{}", '{"hetero_half":0}', "particle 1 has no half-set"),
    "tilt series of some": ('{"ptcl3d_id":4}', "{}", "particle 2 has no tilt series"),
    "phase flips": ('{"ctf_phase_flipped":true}', "{}", r"some particles are phase-flipped, others not \(1 of 2 are"),
}


@pytest.mark.parametrize("what", MIXED)
def test_particles_of_two_kinds(stack, what):
    first, second, message = MIXED[what]
    with pytest.raises(DataError, match=message):
        read_particles(write_lines(stack, f"0\tstack.hdf\t{first}", f"1\tstack.hdf\t{second}"))
    one = read_particles(write_lines(stack, f"0\tstack.hdf\t{first}", f"1\tstack.hdf\t{first}"))
    assert len(one) == 2


def test_the_pixel_size_is_each_particles_own(stack):
    lines = ('0\tstack.hdf\t{"apix_x":1.5}', "1\tstack.hdf", '2\tstack.hdf\t{"apix_x":0}')
    np.testing.assert_allclose(read_particles(write_lines(stack, *lines)).pixel_size, [1.5, 2, 2])


def test_what_a_header_says_is_read_whatever_the_line_says(stack):
    """Contrast, half-set and series lie in the header of an image; the line states the rest."""
    beside = {"hetero_contrast": -1, "hetero_half": 1, "ptcl3d_id": 5, "ctf_phase_flipped": 1}
    with HdfWriter(stack / "stack.hdf", 2.0) as writer:
        writer.write(np.zeros((8, 8)), beside)
    line = {"ctf_phase_flipped": 1, "xform.projection": {"matrix": np.eye(3, 4).ravel().tolist()}}
    line["ctf"] = {**dict.fromkeys(eman.CTF_NUMBERS, 1.0), "ampcont": 10}
    particles = read_particles(write_lines(stack, "0\tstack.hdf\t" + json.dumps(line)))
    assert particles.contrast == -1 and particles.half_set[0] == 1 and particles.group[0] == 0


def test_a_list_that_says_all_is_read_without_its_stack(stack):
    pose, ctf = {"matrix": np.eye(3, 4).ravel().tolist()}, {**dict.fromkeys(eman.CTF_NUMBERS, 1.0), "ampcont": 10}
    line = json.dumps({"xform.projection": pose, "ctf": ctf, "apix_x": 1.5})
    particles = read_particles(write_lines(stack, f"0\tabsent.hdf\t{line}"), need_images=False)
    assert particles.pixel_size[0] == 1.5 and particles.ctf is not None
    with pytest.raises(DataError, match=r"absent\.hdf not found"):
        read_particles(stack / "list.lst")
    with pytest.raises(DataError, match=r"absent\.hdf not found"):
        read_particles(write_lines(stack, "0\tabsent.hdf"), need_images=False)


def test_pose_for_some_only(stack):
    pose = '{"xform.projection":{"matrix":[1,0,0,0,0,1,0,0,0,0,1,0]}}'
    with pytest.raises(DataError, match="particle 2 has no pose"):
        read_particles(write_lines(stack, f"0\tstack.hdf\t{pose}", "1\tstack.hdf"))


def test_foreign_keys_survive_and_class_is_kept_apart(stack):
    path = write_lines(stack, *(f'{i}\tstack.hdf\t{{"class":{i % 2},"my":[1]}}' for i in range(4)))
    particles = read_particles(path)
    np.testing.assert_array_equal(particles.half_set, [0, 1, 0, 1])
    write_particles("again.lst", particles)
    text = (stack / "again.lst").read_text().replace('"class":1', '"class":7')
    (stack / "again.lst").write_text(text)
    again = read_particles("again.lst")
    np.testing.assert_array_equal(again.half_set, [0, 1, 0, 1])
    write_particles("third.lst", again)
    assert (stack / "third.lst").read_text().count('"my":[1]') == 4
    assert '"class":7' in (stack / "third.lst").read_text()


NAMES = ["a@b.mrcs", "größe.mrcs", "-x.mrcs", "#1 of 2.mrcs", "quoted '\".mrcs", "a  b.mrcs", "стек/粒子.mrcs"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_stacks(stack, name, caplog):
    particles, images = sample_particles(stack)
    (stack / name).parent.mkdir(exist_ok=True)
    (stack / "first.mrcs").rename(stack / name)
    particles = dataclasses.replace(particles, files=(str(stack / name), particles.files[1]))
    write_particles("list.lst", particles)
    lines = (stack / "list.lst").read_bytes().split(b"\n")
    assert {len(line) + 1 for line in lines[3:-1]} == {int(lines[2].removeprefix(b"# "))}, "bytes, not letters"
    assert ("EMAN2 cannot read this list" in caplog.text) == (not name.isascii())
    again = read_particles("list.lst")
    assert str(stack / name) in again.files
    np.testing.assert_array_equal(ImageReader(again).read(range(len(images))), images)


@pytest.mark.parametrize(
    "name", ["a\tb.mrcs", "a\nb.mrcs", "a\rb.mrcs", " a.mrcs", "a.mrcs ", os.fsdecode(b"\xff.mrcs")]
)
def test_names_that_no_list_can_hold(stack, name):
    particles, _ = sample_particles(stack)
    particles = dataclasses.replace(particles, files=(str(stack / name), particles.files[1]))
    with pytest.raises(
        NameNotHeld, match=r"list\.lst: a \.lst cannot hold the stack name .*; rename the stack"
    ) as told:
        write_particles(stack / "list.lst", particles)
    assert str(told.value).isprintable()
    assert not (stack / "list.lst").exists()


def test_json_that_is_not_utf8_is_refused_and_a_comment_is_not(stack):
    (stack / "list.lst").write_bytes(b'#LSX\n#\n# 9\n0\tstack.hdf\t{"ctf":"\xff"}\n')
    with pytest.raises(DataError, match="line 4: its JSON is not UTF-8"):
        read_particles("list.lst")
    (stack / "list.lst").write_bytes(b"#LSX\n#\n# 9\n0\tstack.hdf\tgr\xfc\xdfe\n")
    assert len(read_particles("list.lst")) == 1


def test_a_name_that_is_not_utf8_is_refused(stack):
    (stack / "list.lst").write_bytes(b"#LSX\n#\n# 9\n0\t\xff.hdf\n")
    with pytest.raises(DataError, match="line 4: the stack's name is not UTF-8"):
        read_particles("list.lst")


def phase_plates(particles):
    """Return particles of two amplitude contrasts, each with a phase shift of its own, a third without."""
    count, ctf = len(particles), particles.ctf
    random = np.random.default_rng(5)
    amplitude = np.where(np.arange(count) % 2, 0.07, 0.1).astype(np.float32)
    phase = np.where(np.arange(count) % 3, random.uniform(-4, 4, count), 0).astype(np.float32)
    same = {"voltage": np.full(count, 300, np.float32), "spherical_aberration": np.full(count, 2.7, np.float32)}
    same["beam_tilt"] = np.stack([amplitude / 3000, -amplitude / 7000], axis=1)
    return dataclasses.replace(
        particles, ctf=dataclasses.replace(ctf, amplitude_contrast=amplitude, phase_shift=phase, **same)
    )


@pytest.mark.parametrize("suffix", [".lst", ".hdf"])
def test_phase_shift_and_amplitude_contrast_come_back_to_the_bit(stack, suffix):
    """EMAN2 holds both as one angle: beside it they are what they were, and optics groups are as many."""
    particles = phase_plates(sample_particles(stack, 60)[0])
    write_particles("first.star", particles)
    before = read_particles("first.star")
    write_particles(f"list{suffix}", before)
    after = read_particles(f"list{suffix}")
    for name, values in before.ctf.columns().items():
        np.testing.assert_array_equal(getattr(after.ctf, name), values, err_msg=name)
    assert len(optics_groups(before)[0]) == len(optics_groups(after)[0]) == 2
    assert count_optics_groups(after) == 2
    if suffix == ".lst":
        write_particles("again.star", after)
        assert (stack / "again.star").read_text() == (stack / "first.star").read_text()


def test_an_ampcont_that_eman2_fitted_again_is_another_phase_shift(stack):
    particles = phase_plates(sample_particles(stack)[0])
    write_particles("list.lst", particles)
    fitted = dataclasses.replace(particles.ctf, phase_shift=particles.ctf.phase_shift + np.float32(0.25))
    lines = (stack / "list.lst").read_text().splitlines()
    for i, fields in enumerate(fields_from_ctf(fitted, particles.pixel_size), 3):
        index, name, text = lines[i].split("\t")
        values = json.loads(text)
        values["ctf"]["ampcont"] = fields["ampcont"]
        lines[i] = "\t".join([index, name, json.dumps(values)])
    (stack / "list.lst").write_text("\n".join(lines))
    found = read_particles("list.lst").ctf
    shifted = particles.ctf.phase_shift != 0  # the others have one angle, which is told apart by its size
    np.testing.assert_allclose(found.amplitude_contrast[shifted], particles.ctf.amplitude_contrast[shifted], rtol=1e-6)
    turned = (found.phase_shift - fitted.phase_shift)[shifted]
    np.testing.assert_allclose(np.exp(1j * turned), 1, atol=2e-3)


def test_lists_of_eman2():
    """The list's own JSON, a list with poses only, and one with neither give the same records."""
    whole, poses, bare, stack = (
        read_particles(shared_file("formats", "eman2", name))
        for name in ("ptcls.lst", "ptcls_min.lst", "ptcls_nojson.lst", "ptcls.hdf")
    )
    for particles in (whole, poses, bare):
        np.testing.assert_allclose(particles.pose.rotation, stack.pose.rotation, atol=2e-6)
        np.testing.assert_allclose(particles.pose.shift, stack.pose.shift, atol=1e-6)
        assert_same_ctf(particles.ctf, stack.ctf)
        np.testing.assert_allclose(particles.pixel_size, 2.5)
    ctf = whole.ctf
    np.testing.assert_allclose(ctf.defocus_u - ctf.defocus_v, 500, rtol=1e-5)
    np.testing.assert_allclose((ctf.defocus_u + ctf.defocus_v) / 2, [15e3, 16e3, 17e3, 18e3], rtol=1e-6)
    np.testing.assert_allclose(np.degrees(ctf.defocus_angle), 30, rtol=1e-6)
    np.testing.assert_allclose(ctf.amplitude_contrast, 0.1, rtol=1e-6)
    assert ctf.b_factor[0] == 100 and ctf.voltage[0] == 300
    np.testing.assert_array_equal(whole.half_set, [0, 1, 0, 1])


def test_old_ctf_string():
    fields = parse_ctf_string("O-1.6 25 1 0.1 1 2 3 4 300 2.7 2.5", "here")
    ctf = ctf_from_fields([fields], np.array([np.nan]), np.ones(1))
    values = [float(column[0]) for column in ctf.columns().values()]
    assert values == pytest.approx([16000, 16000, 0, 300, 2.7, 0.1, 0, 100, 1], rel=1e-6)


def test_phase_plate_without_our_key():
    """EMAN2's one angle, asin(w) + φ, gives the same CTF even where φ is not stored apart."""
    ctf = varied_optics(9)
    again = ctf_from_fields(fields_from_ctf(ctf, np.full(9, 2.0)), np.full(9, np.nan), ctf.scale)
    total = np.arcsin(ctf.amplitude_contrast) + ctf.phase_shift
    np.testing.assert_allclose(np.arcsin(again.amplitude_contrast) + again.phase_shift, total, atol=2e-3)
