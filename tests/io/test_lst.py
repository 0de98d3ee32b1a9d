"""EMAN2 lists: what is read, what is refused, and how lines are laid out."""

import json

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import HdfWriter, read_particles, write_particles
from libhetero.io.eman import ctf_from_fields, fields_from_ctf, parse_ctf_string
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
    "text", ['{"a":{"__pickle__":"gASVAAAA"}}', "{'xform.projection': Transform()}", "{1:__import__('os')}"]
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
