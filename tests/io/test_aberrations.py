"""Optics beyond the CTF's own numbers in lists: read, kept on the way, written, or named."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles, write_particles
from libhetero.io.aberrations import Aberration
from libhetero.records import ParticleSet
from tests.making.optics import aberrations
from tests.making.particles import sample_particles
from tests.reference.agreement import assert_same_ctf

LABELS = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11", "rlnBeamTiltX", "rlnBeamTiltY", "rlnEvenZernike")
STATED = ("1.05 0.03 -0.02 0.96 2.5 -1.5 [0.2,30,-20,15,200]", "0.97 0 0.01 1.02 0 1 [0,10,0,-5]")


def relion_list(labels=LABELS, stated=STATED, of_particles=False) -> str:
    """Text of a list of four particles, in turn of two groups, with what is stated of these."""
    optics = ["rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize"]
    rows = ["1 300 2.7 0.1 2.5", "2 200 2.0 0.07 2.5"]
    particles = ["rlnImageName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV", "rlnAngleRot", "rlnAngleTilt"]
    particles += ["rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
    lines = [f"{i + 1}@first.mrcs {i % 2 + 1} {9000 + i} 8500 {10 * i} 20 30 1 -2" for i in range(4)]
    if of_particles:
        particles += labels
        lines = [f"{line} {stated[i % 2]}" for i, line in enumerate(lines)]
    else:
        optics += labels
        rows = [f"{row} {more}" for row, more in zip(rows, stated, strict=True)]
    blocks = [("optics", optics, rows), ("particles", particles, lines)]
    loops = (
        f"data_{name}\n\nloop_\n" + "".join(f"_{x}\n" for x in heads) + "\n".join(body) for name, heads, body in blocks
    )
    return "# version 30001\n\n" + "\n\n".join(loops) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with the stacks that lists name."""
    monkeypatch.chdir(tmp_path)
    sample_particles(tmp_path)
    return tmp_path


def read_text(text: str) -> ParticleSet:
    with open("list.star", "w") as file:
        file.write(text)
    return read_particles("list.star")


@pytest.mark.parametrize("of_particles", [False, True])
def test_relion_lists(of_particles):
    ctf = read_text(relion_list(of_particles=of_particles)).ctf
    expected = aberrations(4)
    del expected["odd_zernike"]
    assert set(expected) <= ctf.columns().keys() and ctf.odd_zernike is None
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(ctf, name), values, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("stated", [("1.1 1", "0.9 1"), ("1 1.1", "1 0.9"), ("1.1 0.9", "0.9 1.1")])
def test_groups_may_differ_in_one_label(stated):
    diagonal = read_text(relion_list(("rlnMagMat00", "rlnMagMat11"), stated)).ctf.magnification.diagonal(
        axis1=1, axis2=2
    )
    np.testing.assert_allclose(diagonal, [[float(word) for word in stated[i % 2].split()] for i in range(4)], rtol=1e-6)


def test_a_beam_tilt_takes_the_place_of_its_zernike_terms():
    """As in RELION 3.1: terms 3 and 4 of rlnOddZernike are used where a list has no beam tilt."""
    stated = "[1,-2,300,40,-60,250]"
    alone = read_text(relion_list(("rlnOddZernike",), (stated, stated))).ctf
    np.testing.assert_allclose(alone.odd_zernike[2], [1, -2, 300, 40, -60, 250])
    labels = ("rlnOddZernike", "rlnBeamTiltX")
    both = read_text(relion_list(labels, (f"{stated} 2", f"{stated} 0"))).ctf
    np.testing.assert_allclose(both.odd_zernike[2], [1, -2, 300, 0, 0, 250])
    np.testing.assert_allclose(both.beam_tilt, [[2e-3, 0], [0, 0]] * 2)


def test_what_changes_no_image_is_absent():
    plain = read_text(relion_list((), ("", ""))).ctf
    neutral = "1 0 0 1 0 0 [0,0,0]"
    stated = read_text(relion_list(stated=(neutral, neutral))).ctf
    assert stated.columns().keys() == plain.columns().keys()
    assert_same_ctf(stated, plain)
    empty = read_text(relion_list(("rlnOddZernike",), ("[]", "[]"))).ctf
    assert empty.odd_zernike is None


@pytest.mark.parametrize(
    ("label", "stated", "message"),
    [
        ("rlnMagMat00", "stretched", "list.star: particle 1: rlnMagMat00, .* is 'stretched.*; expected numbers. Mend"),
        ("rlnEvenZernike", "[1,x]", r"rlnEvenZernike is '\[1,x\]'; expected numbers as \[1,2\]"),
        ("rlnBeamTiltX", "nan", r"particle 1: beam_tilt is \[nan, 0.0\]; expected 2 finite numbers"),
        ("rlnOddZernike", "[1e400]", "particle 1: odd_zernike is .inf.; expected finite numbers"),
    ],
)
def test_bad_values_are_named(label, stated, message):
    with pytest.raises(DataError, match=message):
        read_text(relion_list((label,), (stated, stated)))


@pytest.mark.parametrize("stated", ["[1,x]", "[1e400]", "[1,inf]"])
def test_the_first_particle_with_a_bad_value_is_named(stated):
    with pytest.raises(DataError, match="list.star: particle 2: "):
        read_text(relion_list(("rlnEvenZernike",), ("[1,2]", stated)))


def test_many_particles_are_checked_by_their_unlike_rows(monkeypatch):
    """Two optics groups are two rows to check, however many particles they have."""
    met = []
    checked = Aberration.checked

    def counted(self, unlike, *others):
        met.append(len(unlike))
        return checked(self, unlike, *others)

    monkeypatch.setattr(Aberration, "checked", counted)
    particles = read_text(relion_list())
    write_particles("project.lst", particles)
    assert_same_ctf(read_particles("project.lst").ctf, particles.ctf)
    assert met == [2] * 6


@pytest.mark.parametrize("suffix", ["lst", "hdf"])
def test_they_are_kept_on_the_way(suffix):
    """star → lst or hdf → lst."""
    particles = read_text(relion_list())
    write_particles(f"project.{suffix}", particles)
    kept = read_particles(f"project.{suffix}")
    assert_same_ctf(kept.ctf, particles.ctf)
    write_particles("again.lst", kept.take(np.array([3, 0])))
    assert_same_ctf(read_particles("again.lst").ctf, particles.ctf.take(np.array([3, 0])))


def test_an_export_has_the_columns_of_the_original():
    original = read_text(relion_list())
    write_particles("project.lst", original)
    write_particles("exported.star", read_particles("project.lst"))
    exported = " ".join(Path("exported.star").read_text().split())
    assert all(stated in exported for stated in STATED)


def test_a_new_list_has_them_by_optics_group():
    particles, _ = sample_particles(Path())
    ctf = dataclasses.replace(particles.ctf, **aberrations(len(particles)))
    write_particles("new.star", dataclasses.replace(particles, ctf=ctf))
    again = read_particles("new.star")
    assert_same_ctf(again.ctf, ctf)
    assert len(again.source.data.blocks["optics"]) == 2
    assert again.source.data.blocks["optics"]["rlnBeamTiltX"].astype(float).tolist() == [0.0, 2.5]


@pytest.mark.parametrize(
    ("labels", "stated", "named"),
    [
        (("rlnMtfFileName",), ("k3.star", "falcon.star"), "rlnMtfFileName"),
        (("rlnMtfFileName",), ("k3.star", "k3.star"), None),
        (("rlnBeamTiltClass",), ("1", "2"), "rlnBeamTiltClass"),
        (("rlnBeamTiltClass", "rlnBeamTiltX"), ("1 0.5", "2 0.6"), None),
        (("rlnBeamTiltClass", "rlnMtfFileName"), ("1 a.star", "2 b.star"), "rlnMtfFileName, rlnBeamTiltClass"),
    ],
)
def test_what_else_relion_would_use_is_named_once(caplog, labels, stated, named):
    read_text(relion_list(labels, stated))
    expected = [] if named is None else [f"list.star: optics that are not applied: {named}, of several values."]
    assert [record.message for record in caplog.records] == expected


def test_a_cryosparc_table_has_no_place_for_them(caplog):
    caplog.set_level("WARNING", logger="libhetero")
    particles = read_text(relion_list())
    write_particles("out.cs", particles)
    assert [record.message for record in caplog.records] == [
        "out.cs: holds no magnification, beam tilt, even zernike, which the particles' list states; "
        "a .star or .lst does."
    ]
    assert read_particles("out.cs").ctf.magnification is None


def test_fields_of_cryosparc_are_named_once_and_kept(caplog):
    caplog.set_level("WARNING", logger="libhetero")
    particles, _ = sample_particles(Path())
    write_particles("in.cs", particles)
    caplog.clear()  # of tilt series, which a .cs does not hold
    rows = np.load("in.cs")
    fields = [
        ("ctf/tilt_A", "<f4", 2),
        ("ctf/trefoil_A", "<f4", 2),
        ("ctf/tetra_A", "<f4", 4),
        ("ctf/anisomag", "<f4", 4),
    ]
    wider = np.zeros(len(rows), rows.dtype.descr + [(name, kind, (size,)) for name, kind, size in fields])
    for name in rows.dtype.names:
        wider[name] = rows[name]
    wider["ctf/anisomag"][:] = [1, 0, 0, 1]
    with open("in.cs", "wb") as file:
        np.save(file, wider)
    read_particles("in.cs")
    assert not caplog.records
    wider["ctf/tilt_A"][3] = 120.0
    wider["ctf/anisomag"][:] = [0.01, 0, 0, -0.01]
    with open("in.cs", "wb") as file:
        np.save(file, wider)
    particles = read_particles("in.cs")
    (warning,) = [record.message for record in caplog.records]
    assert warning.startswith("in.cs: optics that are not applied: ctf/tilt_A, ctf/anisomag; ")
    write_particles("out.cs", particles)
    np.testing.assert_array_equal(np.load("out.cs"), wider)


def test_tables_of_cryodrgn_leave_them(tmp_path):
    """ctf.pkl knows nothing of them; those that the list states still hold."""
    particles = read_text(relion_list())
    table = np.tile([16, 2.5, 12000, 11000, 10, 300, 2.7, 0.1, 0.0], (4, 1)).astype(np.float32)
    (tmp_path / "ctf.pkl").write_bytes(pickle.dumps(table))
    ctf = read_particles("list.star", ctf="ctf.pkl").ctf
    np.testing.assert_allclose(ctf.defocus_u, 12000)
    np.testing.assert_array_equal(ctf.magnification, particles.ctf.magnification)
    np.testing.assert_array_equal(ctf.beam_tilt, particles.ctf.beam_tilt)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hetero_magnification", [1, 0, 0]),
        ("hetero_magnification", "1 0 0 1"),
        ("hetero_beam_tilt", {"x": 1}),
        ("hetero_even_zernike", [None]),
        ("hetero_odd_zernike", [True]),
        ("hetero_odd_zernike", [1e999]),
        ("hetero_odd_zernike", [10**400]),
        ("hetero_even_zernike", [0.0] * 5000),
    ],
)
def test_a_key_of_another_kind_is_named(tmp_path, key, value):
    write_particles("project.lst", read_text(relion_list()))
    lines = (tmp_path / "project.lst").read_text().splitlines()
    number, stack, text = lines[4].split("\t")
    lines[4] = f"{number}\t{stack}\t{json.dumps(json.loads(text) | {key: value})}"
    (tmp_path / "project.lst").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"project.lst: .*{key.removeprefix('hetero_')}.*expected "):
        read_particles("project.lst")
