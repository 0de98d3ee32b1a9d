"""Classes of tilt series come back as rows of the user's own list of 3-D particles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libhetero.io import read_particles, write_particles
from libhetero.io.star_text import read_star_file
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.run.list_digest import list_digest
from tests.making.tilt_series import relion_star, warp_star
from tests.reference.shared_data import shared_file

RELION5 = """\
# version 50001

data_general

_rlnTomoSubTomosAre2DStacks                       1

# version 50001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnImageDimensionality #4
1 optics1 300.000000 2
2 "optics 2" 300.000000 2

# version 50001

data_particles

loop_
_rlnTomoName #1
_rlnTomoParticleName #2
_rlnTomoVisibleFrames #3
_rlnImageName #4
_rlnOpticsGroup #5
"""
WARP = """\

data_

loop_
_rlnMicrographName #1
_rlnImageName #2
_rlnCtfImage #3
_rlnClassNumber #4
"""
SELECT = "list.star --classes 0 --class_from classes.txt"


@pytest.fixture
def program(list_program):
    """Run e2hype_list.py in an empty folder; return (exit code, stdout, stderr)."""
    return list_program


def relion5(names: list[str]) -> list[str]:
    """Write particles.star of these particles as RELION 5 does; return its rows."""
    rows = [
        f"TS_01 {name} [0,1,1] Extract/job013/Subtomograms/{name}_stack2d.mrcs {place % 2 + 1}"
        for place, name in enumerate(names)
    ]
    Path("particles.star").write_text(RELION5 + "\n".join(rows) + "\n")
    return rows


def classes(label: list[int]) -> None:
    """Write classes of the particles of list.star, in the order of its rows."""
    particles = read_particles("list.star")
    of_image = np.array(label)[particles.group]
    write_classes(Path("classes.txt"), np.arange(len(of_image)), of_image, list_digest(particles))


def words(path: str) -> list[list[str]]:
    """Return the words of the lines that say something, without comments."""
    lines = Path(path).read_text().splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def test_a_class_has_the_rows_of_its_particles_and_all_else(program, tmp_path):
    """In the order of the user's list, which holds more particles than the class and in another order."""
    relion_star(tmp_path)
    classes([0, 1, 0])
    rows = relion5(["TS_02/1", "TS_01/3", "TS_01/2", "TS_01/1"])
    code, out, err = program(f"{SELECT} --particles3d particles.star --output class.star")
    assert code == 0, err
    assert "wrote class.star, 2 particles" in out
    whole, kept = words("particles.star"), words("class.star")
    left_out = [rows[0].split(), rows[2].split()]
    assert [line for line in whole if line not in left_out] == kept
    file = read_star_file("class.star")
    assert list(file.blocks) == ["general", "optics", "particles"] and set(file.versions.values()) == {"50001"}
    assert not list(tmp_path.glob(".class*"))


@pytest.mark.parametrize("ending", [".star", ".lst"])
def test_lists_of_a_class_lead_to_their_rows(program, tmp_path, ending):
    """As those of a run, also of some images of a particle, and of several lists."""
    whole = read_particles(relion_star(tmp_path, (4, 3, 1, 4)))
    relion5([f"TS_01/{number}" for number in (1, 2, 3, 4)])
    write_particles(f"first{ending}", whole.take(np.array([5, 7])))
    write_particles(f"second{ending}", whole.take(np.array([0])))
    code, _, err = program(f"first{ending} second{ending} --union --particles3d particles.star --output out.star")
    assert code == 0, err
    assert [line[1] for line in words("out.star")[-3:]] == ["TS_01/1", "TS_01/2", "TS_01/3"]
    code, out, err = program("list.star --split series --particles3d particles.star --output out.star")
    assert code == 0 and "wrote out_series_3.star, 1 particles" in out, err
    assert words("out_series_3.star")[-1][1] == "TS_01/4"


@pytest.mark.parametrize("label", ["rlnGroupName", "rlnTomoParticleName", "rlnImageName"])
def test_warps_particles_by_any_label_that_has_their_names(program, tmp_path, label):
    """Its subtomograms have them as names of files, before the pixel size; groups of micrographs are passed over."""
    warp_star(tmp_path)
    classes([1, 0, 0])
    named = {"rlnGroupName": "group_1", label: "series_{0}"}
    own = f"../subtomo/TS_1/{'series' if label == 'rlnImageName' else 'subtomo'}_{{0}}_10.00A.mrc"
    head = WARP if label != "rlnTomoParticleName" else WARP + "_rlnTomoParticleName\n"
    rows = [
        f"TS_1.tomostar {own.format(one)} ctf_{one}.mrc 1 "
        + (f"series_{one} " if label == "rlnTomoParticleName" else "")
        + named["rlnGroupName"].format(one)
        for one in range(3)
    ]
    Path("particles.star").write_text(head + "_rlnGroupName\n" + "\n".join(rows) + "\n")
    code, _, err = program(f"{SELECT} --particles3d particles.star --output out.star")
    assert code == 0, err
    assert words("out.star")[-2:] == [row.split() for row in rows[1:]]


def test_the_export_of_m(program, tmp_path):
    """By the names of its subtomograms, of which the list has more than the two chosen."""
    star = shared_file("formats", "tilt_series", "sta_testing_bin8.star")
    names = [f"ay19102021_L3_position6_ribo_it09_bin8_{number:07d}" for number in range(9)]
    rows = [f"TS_1.tomostar sub/{name}_1.82A.mrc sub/{name}_ctf_1.82A.mrc 1" for name in names]
    Path("particles.star").write_text(WARP + "\n".join(rows) + "\n")
    code, out, err = program(f"{star} --equal series=1,5 --particles3d particles.star --output out.star")
    assert code == 0, err
    assert words("out.star")[-2:] == [rows[1].split(), rows[5].split()] and "2 particles" in out


def test_names_that_do_not_match_are_refused(program, tmp_path):
    relion_star(tmp_path)
    classes([0, 0, 0])
    command = f"{SELECT} --particles3d particles.star --output out.star"

    def refused(text: str, asked: str = command) -> None:
        code, _, err = program(asked)
        assert code == 1 and text in err and err.count("\n") == 1, err
        assert not Path("out.star").exists()

    relion5(["TS_01/1", "TS_01/3", "TS_02/2"])
    refused("has 2 of the 3 particles of list.star by their names (rlnTomoParticleName, as TS_01/1), not TS_01/2;")
    relion5(["TS_01/1", "TS_01/2", "TS_01/3", "TS_01/2"])
    refused("particle TS_01/2 of list.star stands in rows 2 and 4 (rlnTomoParticleName); expected one row a particle")
    Path("images.star").write_text(Path("list.star").read_text())
    refused("stands in rows 1 and 2 (rlnTomoParticleName)", command.replace("particles.star", "images.star"))
    Path("particles.star").write_text("data_particles\n\nloop_\n_rlnTomoParticleId\n_rlnCoordinateX\n1 5\n2 5\n3 5\n")
    refused("has no rlnTomoParticleName or rlnGroupName or rlnImageName, by which particles of list.star are told")
    Path("particles.star").write_text("data_global\n\nloop_\n_rlnTomoName\nTS_01\n")
    refused("expected one table of particles (rlnTomoParticleName, ")
    relion5(["TS_01/1", "TS_01/2", "TS_01/3"])
    refused("with --particles3d expected a name ending in .star", command.replace("out.star", "out.lst"))
    refused("this is an input itself", command.replace("out.star", "particles.star"))


def test_particles_that_no_star_names_are_refused(program, tmp_path):
    """Numbers of a project list whose .star is gone mean nothing elsewhere; single images have no particles."""
    whole = read_particles(relion_star(tmp_path))
    write_particles("list.lst", whole)
    relion5(["1", "2", "3"])
    (tmp_path / "list.star").unlink()
    code, _, err = program("list.lst --particles3d particles.star --output out.star")
    assert code == 1 and "names particles by ptcl3d_id; expected one label of a .star" in err.splitlines()[-1]
    text = Path("list.lst").read_text().replace('"ptcl3d_id"', '"ptcl3d_no"')
    Path("list.lst").write_text(text)
    code, _, err = program("list.lst --particles3d particles.star --output out.star")
    assert code == 1 and "holds no tilt series" in err and not Path("out.star").exists()
