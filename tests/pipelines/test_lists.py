"""Lists combined, chosen from and written through the program, with every column of where particles came from."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import starfile

from libhetero.io import MrcsWriter, read_particles, write_particles
from libhetero.io.cryodrgn import read_pickle
from libhetero.io.indices import write_indices
from libhetero.io.particle_findings import ParticleFindings, write_findings
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.run.list_digest import list_digest
from libhetero.pipelines.run.particle_record import write_record
from libhetero.records import ParticleEstimates
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs
from tests.making.particles import BOX, PIXEL, sample_particles
from tests.making.tilt_series import relion_star, warp_star

COUNT = 10


@pytest.fixture
def program(list_program):
    """Run e2hype_list.py in an empty folder; return (exit code, stdout, stderr)."""
    return list_program


@pytest.fixture
def whole(program, tmp_path):
    """Return ten particles of a stack, written as all.star with a class and a column that only the user knows."""
    particles, _ = sample_particles(tmp_path, COUNT)
    place = np.arange(COUNT)
    particles = dataclasses.replace(particles, file_id=place // 5, image_index=place % 5, group=None)
    write_particles("all.star", particles)
    lines = (tmp_path / "all.star").read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("_rln"))
    lines[last] += "\n_rlnClassNumber\n_rlnMine"
    rows = iter(place)
    text = [f"{line} {(row := next(rows)) % 3 + 1} own{row}" if "@" in line else line for line in lines]
    (tmp_path / "all.star").write_text("\n".join(text) + "\n")
    return read_particles("all.star")


def mine(name: str) -> list[int]:
    """Return which of the ten particles a .star lists."""
    table = starfile.read(name, always_dict=True)["particles"]
    return [int(text.removeprefix("own")) for text in table["rlnMine"]]


def places(particles) -> list[int]:
    """Return which of the ten particles a set lists, by its images."""
    return [
        5 * ("second" in particles.files[i]) + int(j)
        for i, j in zip(particles.file_id, particles.image_index, strict=True)
    ]


def test_sets_of_lists(program, whole):
    write_particles("a.star", whole.take(np.array([7, 1, 2, 3])))
    write_particles("b.star", whole.take(np.array([3, 8, 2])))
    write_particles("c.lst", whole.take(np.array([2, 9])))
    code, out, _ = program("a.star b.star")
    assert code == 0 and "2 of them in a.star" in out
    for how, lists, expected in (
        ("union", "a.star b.star", [7, 1, 2, 3, 8]),
        ("union", "a.star c.lst", [7, 1, 2, 3, 9]),
        ("intersection", "a.star b.star c.lst", [2]),
        ("difference", "a.star b.star c.lst", [7, 1]),
    ):
        code, out, err = program(f"{lists} --{how} --output out.star --output out.lst")
        assert (code, err) == (0, "")
        assert mine("out.star") == expected == places(read_particles("out.lst"))
    assert program("a.star b.star --union --output both.lst")[0] == 0
    code, _, err = program("both.lst --equal rlnMine=own1,own8,own3 --output out.star")
    assert (code, err, mine("out.star")) == (0, "", [1, 3, 8]), (
        "a project list of two imports keeps the columns of both"
    )
    program("a.star b.star c.lst --difference --output out.star --output out.lst")
    first, second = read_particles("out.lst"), read_particles("out.star")
    np.testing.assert_allclose(first.ctf.defocus_u, second.ctf.defocus_u, rtol=1e-6)
    np.testing.assert_allclose(first.pose.shift, whole.pose.shift[[7, 1]], atol=1e-3)
    assert not [path for path in Path().iterdir() if path.name.startswith(".out")]


def test_what_a_union_lacks_in_part_is_told(program, whole):
    """Optics groups of one name and unlike optics stay two; columns of one list alone are left out, and named."""
    write_particles("a.star", whole.take(np.array([0, 1])))
    ctf = dataclasses.replace(whole.ctf, voltage=np.full(COUNT, 200.0, np.float32))
    other = dataclasses.replace(whole, source=None, ctf=ctf, half_set=None)
    write_particles("b.star", other.take(np.array([4, 5])))
    code, _, err = program("a.star b.star --union --output both.star")
    assert code == 0 and "b.star has no half-sets" in err and "rlnMine" in err
    both = read_particles("both.star")
    assert places(both) == [0, 1, 4, 5] and both.half_set is None
    np.testing.assert_allclose(both.ctf.voltage, [*whole.ctf.voltage[:2], 200, 200])
    names = both.source.data.optics["rlnOpticsGroupName"]
    assert len(set(names)) == len(names) > 1
    assert program("a.star b.star --union --output both.lst")[0] == 0
    np.testing.assert_allclose(read_particles("both.lst").ctf.voltage, both.ctf.voltage)
    write_particles("c.star", dataclasses.replace(other, pose=None).take(np.array([6])))
    code, _, err = program("a.star c.star --union --output no.star")
    assert code == 1 and "a.star has poses, c.star has not" in err and not Path("no.star").exists()


def test_by_number_and_the_others(program, whole):
    write_indices("some.pkl", np.array([1, 4, 6]))
    write_indices("some.txt", np.array([1, 4, 6]), mask_of=COUNT)
    for way in ("some.pkl --intersection", "some.txt --intersection", "--ind some.pkl", "--ind some.txt"):
        assert program(f"all.star {way} --output out.star")[0] == 0
        assert mine("out.star") == [1, 4, 6]
    assert program("some.txt --of all.star --complement --output rest.pkl --output rest.star")[0] == 0
    assert read_pickle("rest.pkl") == [0, 2, 3, 5, 7, 8, 9] == mine("rest.star")
    assert program("rest.star --of all.star --output mask.pkl --output rest.txt --booleans")[0] == 0
    assert read_pickle("mask.pkl") == [place in (0, 2, 3, 5, 7, 8, 9) for place in range(COUNT)]
    assert np.loadtxt("rest.txt").sum() == 7
    assert len(read_particles("all.star", indices="rest.txt")) == 7


def test_by_class_and_by_value(program, whole):
    assert program("all.star --classes 1,3 --output out.star")[0] == 0
    assert mine("out.star") == [0, 2, 3, 5, 6, 8, 9]
    assert program("all.star --half 2 --equal rlnMine=own1,own2,own3 --output out.star")[0] == 0
    assert mine("out.star") == [1, 3]
    defocus = (np.asarray(whole.ctf.defocus_u, float) + whole.ctf.defocus_v) / 2e4
    limit = np.sort(defocus)[4] + 1e-6
    assert program(f"all.star --max defocus={limit} --output out.star")[0] == 0
    assert mine("out.star") == list(np.flatnonzero(defocus <= limit))
    write_particles("all.lst", whole)
    assert program(f"all.lst --max rlnDefocusU={1e4 * limit} --min image=2 --output out.star")[0] == 0
    chosen = (np.asarray(whole.ctf.defocus_u) <= 1e4 * limit) & (whole.image_index >= 2)
    assert mine("out.star") == list(np.flatnonzero(chosen))
    code, out, _ = program("all.lst --columns")
    assert code == 0 and "rlnMine" in out and "defocus" in out


def test_by_the_tables_of_a_run(program, whole):
    """Of a run of another list of the same images, and of classes that say of which list they are."""
    order = np.array([9, 3, 5, 1, 0])
    Path("hype_00").mkdir()
    write_record(Path("hype_00"), whole.take(order))
    junk, values = np.array([0.9, 0.1, 0.2, 0.8, 0.3]), np.ones(5)
    write_findings("hype_00/particles_00.txt", ParticleFindings(values, values, values, junk))
    write_particles("seen.star", whole.take(np.sort(order)))
    assert program("seen.star --table hype_00 --max junk=0.5 --output out.star")[0] == 0
    assert mine("out.star") == [0, 3, 5]
    table = starfile.read("out.star", always_dict=True)["particles"]
    np.testing.assert_allclose(table["libheteroJunk"], [0.3, 0.1, 0.2])
    np.testing.assert_allclose(table["libheteroContrast"], 1)
    code, _, err = program("all.star --table hype_00 --output out.star")
    assert code == 0 and "says nothing of 5 of 10 particles; the lists are written without" in err
    assert "libheteroJunk" not in starfile.read("out.star", always_dict=True)["particles"]
    code, _, err = program("all.star --table hype_00 --max junk=0.5")
    assert code == 1 and "says nothing of 5 of 10 particles" in err
    write_classes(Path("hype_00/classes.txt"), np.arange(5), np.arange(5), list_digest(whole.take(np.sort(order))))
    code, _, err = program("seen.star --class_from hype_00/classes.txt --classes 1")
    assert code == 1 and "of another list" in err, "its rows are those of the list, not of the run"
    Path("hype_00/classes.txt").unlink()
    digest = list_digest(whole.take(order))
    write_classes(Path("hype_00/classes_particles.txt"), np.arange(5), np.array([0, 0, 1, 1, -1]), digest)
    for way in ("--class_from hype_00/classes_particles.txt", "--table hype_00"):
        assert program(f"seen.star {way} --classes 1 --output out.star")[0] == 0
        assert mine("out.star") == [1, 5]
    write_classes(Path("classes.txt"), np.arange(COUNT), np.arange(COUNT) % 2, list_digest(whole))
    assert program("all.star --class_from classes.txt --classes 1 --output out.cs")[0] == 0
    assert places(read_particles("out.cs")) == [1, 3, 5, 7, 9]
    code, _, err = program("seen.star --class_from classes.txt --classes 1")
    assert code == 1 and "of another list" in err


def test_contrast_and_junk_stay_in_lists_of_another_format(program, whole, load_program, tmp_path):
    """The project list of a run has them without a table; exports of it, and lists chosen from it, keep them."""
    estimates = ParticleEstimates(np.linspace(0.8, 1.25, COUNT), np.linspace(0, 0.9, COUNT))
    fresh = dataclasses.replace(whole, source=None, estimates=estimates)  # of no table that would bring columns along
    write_particles("run.lst", fresh)
    assert load_program("e2hype_import.py").main(["run.lst", "--lst2star", "exported.star"]) == 0
    assert program("run.lst --max junk=0.45 --output chosen.star")[0] == 0
    for name, count in (("exported.star", 10), ("chosen.star", 5)):
        table = starfile.read(name, always_dict=True)["particles"]
        np.testing.assert_allclose(table["libheteroJunk"], estimates.junk[:count], atol=1e-4)
        np.testing.assert_allclose(table["libheteroContrast"], estimates.contrast[:count], atol=1e-4)
    text = (tmp_path / "run.lst").read_text().replace('"hetero_junk":0.9,', '"hetero_junk":9.0,')
    (tmp_path / "wrong.lst").write_text(text)
    code, _, err = program("wrong.lst")
    assert code == 1 and "hetero_junk" in err


def test_a_run_of_other_stacks_of_the_same_name(program, whole):
    """Stacks of a run are followed to where a list names them only if they are gone, and only to the same particles."""
    Path("J9").mkdir()
    write_record(Path(), whole)
    write_findings("particles_00.txt", ParticleFindings(*np.tile(np.arange(COUNT) / COUNT, (4, 1))))
    for name in ("first.mrcs", "second.mrcs"):
        shutil.copy(name, "J9")
    files = tuple(str(Path(name).parent / "J9" / Path(name).name) for name in whole.files)
    other = dataclasses.replace(whole, source=None, files=files)
    write_particles("J9.star", other)
    command = "J9.star --table . --max junk=0.35 --output out.txt"
    code, _, err = program(command)
    assert code == 1 and "says nothing of any particle of J9.star" in err and err.count("\n") == 1
    for name in ("first.mrcs", "second.mrcs"):
        Path(name).unlink()
    assert program(command)[0] == 0
    np.testing.assert_array_equal(np.loadtxt("out.txt"), [0, 1, 2, 3])
    pose = dataclasses.replace(other.pose, rotation=np.roll(other.pose.rotation, 1, axis=0))
    defocus = {name: getattr(other.ctf, name)[::-1] + np.float32(5e3) for name in ("defocus_u", "defocus_v")}
    write_particles("J9.star", dataclasses.replace(other, pose=pose, ctf=dataclasses.replace(other.ctf, **defocus)))
    code, _, err = program(command)
    assert code == 1 and "are of another set. Give the list that these results are of" in err


def test_classes_are_those_of_the_tables_that_are_named(program, whole):
    """A .lst keeps its half-set by the name class, which is never taken for a class of a run."""
    write_particles("all.lst", whole)
    values = np.ones(COUNT)
    write_findings("particles_00.txt", ParticleFindings(values, values, values, values / 2))
    for way in ("--classes 1", "--split class --output set.lst"):
        code, _, err = program(f"all.lst --table particles_00.txt {way}")
        assert code == 1 and "particles_00.txt: no table of classes" in err and err.count("\n") == 1
    assert not list(Path().glob("set*"))


def test_values_of_a_project_list_that_are_several_numbers(program, whole):
    tilt = np.tile(np.float32([[2**-10, 0.0]]), (COUNT, 1))
    tilt[5:] = [0.0, 2**-9]
    write_particles("all.lst", dataclasses.replace(whole, ctf=dataclasses.replace(whole.ctf, beam_tilt=tilt)))
    code, _, err = program("all.lst --equal ctf=1")
    assert code == 1 and "no particle is left after ctf 1" in err
    code, _, err = program("all.lst --min hetero_beam_tilt=0")
    assert code == 1 and "'[0.0009765625, 0.0]'; expected a number" in err
    assert program("all.lst --split hetero_beam_tilt --output set.lst")[0] == 0
    assert places(read_particles("set_hetero_beam_tilt__0.0_0.001953125_.lst")) == [5, 6, 7, 8, 9]


def test_nothing_is_taken_away_by_a_list_of_other_images(program, whole):
    write_particles("second.star", whole.take(np.arange(5, 10)))
    write_particles("first.star", whole.take(np.arange(5)))
    code, _, err = program("first.star second.star --difference --output out.star")
    assert (code, mine("out.star")) == (0, [0, 1, 2, 3, 4]) and "no particle in common" in err


def test_random_and_split(program, whole):
    assert program("all.star --random 40% --seed 3 --output a.star")[0] == 0
    assert program("all.star --random 4 --seed 3 --output b.star")[0] == 0
    assert mine("a.star") == mine("b.star") == sorted(set(mine("a.star"))) and len(mine("a.star")) == 4
    code, out, _ = program("all.star --split half --output set.star --output set.txt")
    assert code == 0 and "wrote set_half_2.star, 5 particles" in out
    assert mine("set_half_1.star") == [0, 2, 4, 6, 8] == np.loadtxt("set_half_1.txt").tolist()
    assert program("all.star --split class --output set.lst")[0] == 0
    assert places(read_particles("set_class_3.lst")) == [2, 5, 8]
    for name, rows in (("a", [7, 1, 2]), ("b", [3, 8, 2])):
        write_particles(f"{name}.star", whole.take(np.array(rows)))
    assert program("a.star b.star --union --of all.star --split class --output set.star --output set.pkl")[0] == 0
    assert mine("set_class_3.star") == [2, 8] == read_pickle("set_class_3.pkl") and mine("set_class_2.star") == [7, 1]


def test_tilt_series_stay_whole(program, tmp_path):
    relion_star(tmp_path, (4, 3, 1, 4))
    code, out, _ = program("list.star --random 2 --seed 1 --output two.star")
    assert code == 0 and "whole tilt series" in out
    rows = read_particles("two.star").image_index.tolist()
    group = read_particles("list.star").group
    assert len(set(group[rows])) == 2 and rows == np.flatnonzero(np.isin(group, group[rows])).tolist()
    code, _, err = program("list.star --random 5 --output five.star")
    assert code == 1 and "expected at most the 4 particles there are" in err
    assert program("list.star --random 50% --seed 1 --output half.star")[0] == 0
    assert read_particles("half.star").image_index.tolist() == rows


@pytest.mark.parametrize("ending", [".star", ".lst"])
@pytest.mark.parametrize("other", [".star", ".lst"])
def test_particles_that_two_lists_share_stay_whole(program, tmp_path, ending, other):
    """As lists of classes of images do that a model looked at one by one."""
    whole = read_particles(relion_star(tmp_path, (4, 4, 4, 4)))
    write_particles(f"first{ending}", whole.take(np.arange(0, 16, 2)))
    write_particles(f"second{other}", whole.take(np.arange(1, 16, 2)))
    command = f"first{ending} second{other} --union --random 2 --seed 1 --output"
    code, out, err = program(f"{command} two.lst")
    assert code == 0 and "whole tilt series" in out, err
    rows = read_particles("two.lst").image_index
    assert np.bincount(whole.group[rows], minlength=4).tolist().count(4) == 2 and len(rows) == 8
    code, _, err = program(f"{command.replace('2 --seed', '5 --seed')} five.lst")
    assert code == 1 and "expected at most the 4 particles there are" in err


def test_columns_of_tilt_series(program, tmp_path):
    relion_star(tmp_path)
    assert "stage_tilt exposure series" in program("list.star --columns")[1]
    assert program("list.star --max stage_tilt=3 --output low.star")[0] == 0
    assert read_particles("low.star").image_index.tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert program("list.star --max exposure=4.5 --equal series=0,2 --output early.star")[0] == 0
    assert read_particles("early.star").image_index.tolist() == [0, 1, 7]


def test_half_sets_hold_whole_tilt_series(program, tmp_path):
    path = warp_star(tmp_path)
    code, _, err = program("list.star --split half --output set.star")
    assert code == 0 and "half-sets part" not in err
    assert read_particles("set_half_2.star").image_index.tolist() == [4, 5, 6]
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:-3], text[-3][:-1] + "1", *text[-2:]]) + "\n")
    code, _, err = program("list.star --half 2 --split half --output set.star")
    assert code == 0 and err.count("half-sets part images of a particle: 1 of ") == 1
    assert read_particles("set_half_2.star").image_index.tolist() == [4, 5, 6]


def test_nothing_that_is_read_is_written_onto(program, whole):
    """Neither by the name that --split gives nor where a list was imported from, and no part of it before."""
    write_particles("all.lst", whole)
    Path("all.star").rename("set_half_2.star")
    Path("all.star").symlink_to("set_half_2.star")
    for command in (
        "all.star --split half --output set.star",
        "all.lst --output ./set_half_2.star",
        "all.lst --table classes.txt --min class=1 --output classes.txt",
        "all.lst --table . --min class=1 --output ./classes.txt",
    ):
        write_classes(Path("classes.txt"), np.arange(COUNT), np.arange(COUNT) % 2, list_digest(whole))
        code, _, err = program(command)
        assert code == 1 and "this is an input itself" in err and err.count("\n") == 1
    assert not Path("set_half_1.star").exists() and len(read_particles("all.star")) == COUNT


def test_tables_of_cryosparc_are_joined_by_uid(program, tmp_path):
    """Images extracted anew lie in another stack, and are the same particles; all columns stay."""
    (tmp_path / "J1").mkdir()
    for name in ("stack", "again"):
        with MrcsWriter(tmp_path / "J1" / f"{name}.mrcs", BOX, 4, PIXEL) as writer:
            writer.write(np.zeros((4, BOX, BOX), np.float32))
    columns = cs_columns(4, BOX, PIXEL) | alignment_columns("alignments3D") | {"mine/x": np.arange(4.0)}
    save_cs(tmp_path / "a.cs", {name: values[:3] for name, values in columns.items()})
    again = columns | {"blob/path": np.full(4, b">J1/again.mrcs and more"[:14])}
    save_cs(tmp_path / "b.cs", {name: values[1:] for name, values in again.items()})
    assert program("a.cs b.cs --intersection --output both.cs")[0] == 0
    np.testing.assert_array_equal(np.load("both.cs")["uid"], [20, 30])
    expanded = {name: np.repeat(values, 2, axis=0) for name, values in columns.items()}
    expanded |= {"uid": np.arange(8, dtype="<u8"), "sym_expand/src_uid": expanded["uid"]}
    save_cs(tmp_path / "c2.cs", expanded)
    assert program("c2.cs b.cs --difference --output rest.cs")[0] == 0
    np.testing.assert_array_equal(np.load("rest.cs")["uid"], [0, 1])
    assert program("a.cs b.cs --union --min mine/x=1 --output all.cs")[0] == 0
    rows = np.load("all.cs")
    np.testing.assert_array_equal(rows["uid"], [20, 30, 40])
    assert [name.decode() for name in rows["blob/path"]] == 2 * [">J1/stack.mrcs"] + [">J1/again.mrcs"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("all.star --max junk=0.5", "all.star: no column junk"),
        ("all.star --min rlnDefocus=1", "Did you mean rlnDefocus"),
        ("all.star --min rlnMine=1", "rlnMine of particle 0 (from 0) is 'own0'; expected a number"),
        ("all.star all.star --output out.star", "add --union, --intersection or --difference"),
        ("all.star --union", "--union is of several lists"),
        ("all.star --output all.star", "this is an input itself"),
        ("all.star --passthrough beyond.txt --output beyond.txt", "this is an input itself"),
        ("all.star --output out.mrcs", "expected a name ending in .lst, .star, .cs, .txt, .pkl"),
        ("all.star --classes 9 --output out.star", "no particle is left after classes 9"),
        ("all.star --random 11", "--random 11: expected at most the 10"),
        ("all.star --ind beyond.txt", "beyond.txt: index 10 is beyond the 10 particles of all.star"),
        ("beyond.txt all.star", "expected that list"),
        ("all.star strange.star --intersection", "no particle in common"),
        ("all.star --table . --columns", "holds no table of particles"),
        ("all.star --table hype_07 --max junk=0.5", "hype_07: no such file"),
        ("all.star --output out.star --booleans", "--booleans is of a .txt or .pkl"),
    ],
)
def test_mistakes(program, whole, command, message):
    Path("beyond.txt").write_text("# chosen\n3\n10\n")
    text = Path("all.star").read_text().replace("first.mrcs", "away/first.mrcs").replace("second.mrcs", "other.mrcs")
    Path("strange.star").write_text(text)
    before = sorted(Path().iterdir())
    code, _, err = program(command)
    assert code == 1 and message in err and err.count("\n") == 1, err
    assert sorted(path for path in Path().iterdir() if path.name != ".eman2log.txt") == [
        path for path in before if path.name != ".eman2log.txt"
    ]


def test_a_list_to_write_that_is_named_as_one_to_read_is_told_how(program, whole):
    """As programs are called that take what to write last."""
    code, _, said = program("all.star chosen.cs")
    assert code == 1 and said.count("\n") == 1
    assert "chosen.cs: no such file" in said and "say --output chosen.cs" in said
    code, _, said = program("all.star absent.star --union --output both.star")
    assert code == 1 and "absent.star: no such file; check the name" in said
