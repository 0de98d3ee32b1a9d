"""Importing and exporting through the program, and what it says."""

import dataclasses
import json

import numpy as np
import pytest
import starfile

from libhetero.configuration import from_dict, to_dict
from libhetero.io import ImageReader, MrcsWriter, read_particles, write_particles
from libhetero.pipelines.run.data import DataConfig
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs
from tests.making.optics import aberrations
from tests.making.particles import BOX, PIXEL, sample_particles
from tests.making.tilt_series import relion_star, warp_star
from tests.reference.eman2_files import read_list
from tests.reference.shared_data import shared_file


@pytest.fixture
def program(load_program, tmp_path, monkeypatch, capsys):
    """Run the program in an empty project folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    module = load_program("e2hype_import.py")

    def run(*arguments):
        code = module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_there_and_back(program, tmp_path):
    particles, images = sample_particles(tmp_path)
    write_particles("input.star", particles)
    code, out, err = program("input.star", "--output", "project.lst")
    assert code == 0
    assert err == "warning: poses: 1 particles are shifted by more than a quarter of the box\n"
    for line in ("11 in 2 stacks", f"{BOX} pixels", f"{PIXEL} Å", "6 + 5", "contrast"):
        assert line in out
    assert "wrote          project.lst" in out
    assert len(read_list("project.lst")) == 11
    listed = read_particles("project.lst")
    np.testing.assert_array_equal(ImageReader(listed).read(range(11)), images)
    assert program("project.lst", "--lst2star", "back.star")[0] == 0
    labels = list(starfile.read("input.star")["particles"])
    first, back = (starfile.read(name, parse_as_string=labels)["particles"] for name in ("input.star", "back.star"))
    assert first.equals(back)
    assert program("project.lst", "--lst2cs", "back.cs")[0] == 0
    np.testing.assert_allclose(read_particles("back.cs").pose.rotation, particles.pose.rotation, atol=1e-5)


def test_what_is_applied_of_the_optics_is_said(program, tmp_path):
    particles, _ = sample_particles(tmp_path)
    ctf = dataclasses.replace(particles.ctf, **aberrations(len(particles)))
    write_particles("input.star", dataclasses.replace(particles, ctf=ctf))
    code, out, err = program("input.star", "--output", "project.lst")
    assert code == 0 and "magnification matrix, beam tilt, even Zernike, odd Zernike" in out
    assert "magnification from 0.96" in err and "usual are 0.95 to 1.05" in err
    ctf.magnification[4] = [[1, 1], [1, 1]]
    write_particles("input.star", dataclasses.replace(particles, ctf=ctf))
    code, _, err = program("input.star", "--output", "project.lst")
    assert code == 1 and "the magnification matrix is [1, 1, 1, 1]; expected one near [1, 0, 0, 1]" in err


def test_white_blobs_are_called_white(program, tmp_path):
    axis = np.arange(32) - 16
    blob = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 50)
    noise = np.random.default_rng(0).normal(size=(40, 32, 32))
    for name, sign in (("white", 1), ("dark", -1)):
        with MrcsWriter(tmp_path / f"{name}.mrcs", 32, 40, 3.0) as writer:
            writer.write(sign * blob + noise)
        out = program(f"{name}.mrcs")[1]
        assert f"protein looks {name}" in out
        assert "poses          no" in out and "CTF            no" in out


def test_a_bare_stack_with_the_pixel_size_that_nobody_chose(program, tmp_path):
    with MrcsWriter(tmp_path / "stack.mrcs", 16, 4, 1.0) as writer:
        writer.write(np.random.default_rng(0).normal(size=(4, 16, 16)))
    code, _, err = program("stack.mrcs")
    assert code == 0 and "pixel size 1 Å by its header alone" in err
    assert "poses and CTF: none here" in err and "--poses and --ctf" in err
    assert "1 Å" not in program("stack.mrcs", "--apix", "1")[2]


def test_a_cube_that_is_named_as_a_map_is_warned_of(program, tmp_path):
    """EMAN2 marks its maps as stacks."""
    for name, count in (("map.mrc", 16), ("stack.mrc", 15), ("stack.mrcs", 16)):
        with MrcsWriter(tmp_path / name, 16, count, 3.0) as writer:
            writer.write(np.random.default_rng(0).normal(size=(count, 16, 16)))
        assert ("if this is a map, it has no particles" in program(name)[2]) == (name == "map.mrc")


def test_real_particles(program, tmp_path):
    """TRPV1: found through --datadir under the name its star gives, ten particles, white."""
    stack = shared_file("formats", "relion31", "trpv1_small_stack.mrcs")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks" / "batch_0_restacked.mrc").symlink_to(stack)
    star = shared_file("formats", "relion31", "trpv1_small_stack.star")
    code, _, err = program(star)
    assert code == 1 and "--datadir" in err
    code, out, err = program(star, "--datadir", "stacks")
    assert (code, err) == (0, "")
    for found in ("10 in 1 stack", "4.88 Å", "defocus 1.49 to 1.49 µm", "300 kV", "5 + 5"):
        assert found in out
    assert "protein looks white" in out


def test_images_of_eman2_are_copied_for_relion(program, tmp_path):
    """Of an .hdf: the list names the copies, pixels and records are those of the original."""
    particles, images = sample_particles(tmp_path)
    write_particles("set.hdf", particles)
    for flag, name in (("--lst2star", "out.star"), ("--lst2cs", "out.cs")):
        code, _, err = program("set.hdf", flag, name)
        assert code == 1 and "set.hdf, which RELION and cryoSPARC cannot open" in err and "--stack" in err
        assert not (tmp_path / name).exists()
        assert program("set.hdf", flag, name, "--stack", "copy.mrcs")[0] == 0
        copied = read_particles(name)
        assert copied.files == (str(tmp_path / "copy.mrcs"),)
        np.testing.assert_array_equal(ImageReader(copied).read(range(11)), images)
        np.testing.assert_allclose(copied.pose.rotation, particles.pose.rotation, atol=1e-5)
        np.testing.assert_allclose(copied.ctf.defocus_u, particles.ctf.defocus_u, rtol=1e-5)


def test_copied_images_keep_the_columns_of_a_star(program, tmp_path):
    particles, images = sample_particles(tmp_path)
    write_particles("input.star", particles)
    lines = (tmp_path / "input.star").read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("_rln"))
    lines[last] += "\n_rlnMine"
    text = "\n".join(f"{line} own{line[:6]}" if "@" in line else line for line in lines) + "\n"
    (tmp_path / "input.star").write_text(text)
    code, _, err = program("input.star", "--output", "copy.star", "--stack", "copy.mrcs")
    assert (code, err.count("\n")) == (0, 1), err
    old, new = (read_particles(name).source.data.particles for name in ("input.star", "copy.star"))
    assert list(old["rlnMine"]) == list(new["rlnMine"])
    assert list(new["rlnImageName"])[10] == "000011@copy.mrcs"
    np.testing.assert_array_equal(ImageReader(read_particles("copy.star")).read(range(11)), images)
    write_particles("list.lst", read_particles("input.star"))
    code, _, err = program("list.lst", "--output", "other.star", "--stack", "other.mrcs")
    assert code == 0 and "its other columns are left out" in err
    np.testing.assert_array_equal(ImageReader(read_particles("other.star")).read(range(11)), images)


def test_names_that_are_not_ascii_are_exported(program, tmp_path):
    (tmp_path / "données").mkdir()
    particles, images = sample_particles(tmp_path / "données")
    write_particles("list.star", particles)
    assert program("list.star", "--output", "out.star")[0] == 0
    again = read_particles("out.star")
    assert "@données/first.mrcs" in (tmp_path / "out.star").read_text(encoding="utf-8")
    np.testing.assert_array_equal(ImageReader(again).read(range(11)), images)


def test_tables_of_cryodrgn(program):
    folder = shared_file("formats", "cryodrgn")
    code, out, err = program(
        folder / "toy_projections.mrcs",
        "--poses",
        folder / "toy_rot_trans.pkl",
        "--ctf",
        folder / "test_ctf.pkl",
        "--ind",
        folder / "ind100.pkl",
    )
    assert (code, "100 in 1 stack" in out) == (0, True)
    assert len(read_particles("toy_projections.lst").pose.shift) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.star"], "absent.star: no such file"),
        (["poses.pkl"], "give the stack"),
        (["stack.mrcs", "--apix", "0"], "--apix: expected 0.01 to 1000; got '0'"),
        (["stack.mrcs", "--output", "stack.mrcs"], "expected a name ending in"),
        (["list.lst"], "this is the input itself"),
        (["list.lst", "--output", "a.star", "--stack", "a.hdf"], "--stack: expected a name ending in .mrcs"),
        (["list.lst", "--output", "a.star", "--stack", "first.mrcs"], "holds images of the list itself"),
        (["odd.mrcs"], "the box is 15 pixels, odd"),
        (["nan.mrcs"], "not finite (NaN)"),
    ],
)
def test_mistakes(program, tmp_path, arguments, message):
    particles, _ = sample_particles(tmp_path)
    write_particles("list.lst", particles)
    write_particles("stack.mrcs", particles)
    with MrcsWriter("odd.mrcs", 15, 2, 2.0) as writer:
        writer.write(np.zeros((2, 15, 15)))
    with MrcsWriter("nan.mrcs", 16, 2, 2.0) as writer:
        writer.write(np.full((2, 16, 16), np.nan))
    code, _, err = program(*arguments)
    assert code == (2 if "--apix" in arguments else 1)
    assert message in err and err.count("\n") == 1 and err.startswith("e2hype_import.py: ")


def test_the_tables_of_a_job_are_joined(program, tmp_path):
    """Poses in one, images in two others: none is enough, and the list of all gives every column back."""
    images, poses = cs_columns(4, BOX, PIXEL), {"uid": cs_columns(4)["uid"][::-1]} | alignment_columns("alignments3D")
    (tmp_path / "J1").mkdir()
    with MrcsWriter(tmp_path / "J1" / "stack.mrcs", BOX, 4, PIXEL) as writer:
        writer.write(np.random.default_rng(0).normal(size=(4, BOX, BOX)).astype(np.float32))
    signs = {"uid": images["uid"], "blob/sign": images.pop("blob/sign")}
    for name, columns in (("J7_particles", poses), ("J7_passthrough_particles", images), ("other", signs)):
        save_cs(tmp_path / f"{name}.cs", columns)
    code, _, err = program("J7_particles.cs")
    assert code == 1 and "--passthrough FILE (beside it: J7_passthrough_particles.cs)" in err
    joining = ("--passthrough", "J7_passthrough_particles.cs", "--passthrough", "other.cs")
    code, out, _ = program("J7_particles.cs", *joining, "--output", "project.lst")
    assert code == 0 and "4 in 1 stack" in out and "dark (as stated)" in out and "2 + 2" in out
    assert program("project.lst", "--lst2cs", "back.cs")[0] == 0
    back = np.load("back.cs")
    np.testing.assert_array_equal(back["uid"], poses["uid"])
    np.testing.assert_array_equal(back["blob/idx"], [3, 2, 1, 0])
    np.testing.assert_array_equal(back["alignments3D/shift"], poses["alignments3D/shift"])
    np.testing.assert_array_equal(back["blob/sign"], signs["blob/sign"])


def test_tables_of_a_job_are_kept_in_a_run_by_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = DataConfig("a.cs", passthrough=("b.cs", "c/d.cs")).absolute()
    assert config.passthrough == (str(tmp_path / "b.cs"), str(tmp_path / "c" / "d.cs"))
    assert from_dict(DataConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_tilt_series_are_told_and_chosen_from(program, tmp_path):
    relion_star(tmp_path)
    code, out, _ = program("list.star", "--output", "all.lst")
    assert code == 0 and "3, 2.7 images each, tilts -3 to 6 degrees, exposure 1.5 to 10.5 e-/Å²" in out
    assert program("all.lst", "--ntilts", "2", "--lst2star", "least.star")[0] == 0
    least = read_particles("least.star")
    assert least.image_index.tolist() == [0, 1, 4, 5, 7]
    assert least.source.data.particles["rlnTomoParticleName"].tolist() == ["TS_01/1"] * 2 + ["TS_01/2"] * 2 + [
        "TS_01/3"
    ]
    assert program("list.star", "--ntilts", "1", "--output", "one.lst")[0] == 0
    one = read_particles("one.lst")
    assert one.distinct == len(one) == 3 and one.group is not None and np.allclose(one.ctf.exposure, 1.5)
    warp_star(tmp_path)
    assert program("list.star", "--dose", "2", "--notilts_above", "3", "--output", "given.lst")[0] == 0
    given = read_particles("given.lst")
    np.testing.assert_allclose(given.ctf.exposure, [1, 3, 5, 1, 3, 5, 1])
    assert not given.ctf.b_factor.any()
    code, _, err = program("given.lst", "--dose", "2", "--output", "twice.lst")
    assert code == 1 and "states the exposure of each image; leave --dose out" in err
