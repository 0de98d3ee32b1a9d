"""A list that was sorted anew after training: every program that joins it with what the run wrote refuses."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import read_particles, write_particles
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.run.list_digest import list_digest
from programs.e2hype_refine import main as refine
from tests.making.commands import NETWORK, TRAINING
from tests.making.sets import write_tiny_set

COMMANDS = (
    "e2hype_embed.py run --method pca --classes 3 --lists",
    "e2hype_eval.py run --particles 0",
    "e2hype_segment.py run",
    "e2hype_score.py run",
    "e2hype_make3d.py run maps --classes classes.txt",
    "e2hype_refine.py --resume run",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a list, its stack, and a run of them."""
    folder, before = tmp_path_factory.mktemp("trained"), os.getcwd()
    write_tiny_set(folder, 12)
    os.chdir(folder)
    try:
        assert refine(["particles.star", *NETWORK, *TRAINING, "--niter", "1", "--path", "run"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(trained, tmp_path, monkeypatch):
    """A copy of it, entered; the list is not where the run was trained, and stands there for it."""
    shutil.copytree(trained, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace(str(trained), str(tmp_path / "project")))
    star = Path("particles.star")
    star.write_text(star.read_text().replace(str(trained), str(tmp_path / "project")))
    np.savetxt("classes.txt", [[i, i % 2] for i in range(12)], fmt="%d")
    return tmp_path / "project"


def turn_around(star: Path) -> None:
    """Write the rows of a list from the last to the first."""
    lines = star.read_text().splitlines()
    rows = [line for line in lines if "@" in line]
    star.write_text("\n".join([*(line for line in lines if "@" not in line), *rows[::-1]]) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def run_program(load_program, command: str) -> int:
    name, *arguments = command.split()
    return load_program(name).main(arguments)


def test_the_list_as_it_was_is_taken(project, load_program, capsys) -> None:
    """Though the whole project has moved."""
    assert run_program(load_program, COMMANDS[0]) == 0
    assert "trust" not in capsys.readouterr().err


def test_a_run_that_moved_with_its_project_is_used_from_anywhere(trained, tmp_path, load_program, monkeypatch, capsys):
    """By its absolute path, or a link: the list lies below the project, its stack is named from there."""
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    (moved / "Select/job4").mkdir(parents=True)
    text = (moved / "particles.star").read_text().replace(f"{trained}/particles.mrcs", "Extract/particles.mrcs")
    (moved / "Select/job4/particles.star").write_text(text)
    (moved / "Extract").mkdir()
    shutil.move(moved / "particles.mrcs", moved / "Extract")
    os.remove(moved / "particles.star")
    config = moved / "run/config.json"
    config.write_text(config.read_text().replace(f"{trained}/", "/gone/project/Select/job4/"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    os.symlink(moved / "run", "linked")
    for run in (moved / "run", "linked"):
        assert run_program(load_program, f"e2hype_eval.py {run} --particles 0 --output volumes") == 0
        assert "taken from" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_list_in_another_order_is_refused(project, load_program, capsys, command) -> None:
    turn_around(Path("particles.star"))
    before = contents(project / "run")
    assert run_program(load_program, command) == 1
    error = capsys.readouterr().err
    assert "particles.star: particle 0 (from 0) is image 11 of" in error and "was trained with image 0 of" in error
    assert "the same in another order" in error and len(error.strip().splitlines()) == 1
    assert contents(project / "run") == before and not Path("maps").exists()


def test_classes_of_another_list_are_refused(project, load_program, capsys) -> None:
    """Also where no run is at hand that could tell, as with the classes of a list."""
    assert run_program(load_program, COMMANDS[0]) == 0
    shutil.copy("particles.star", "sorted.star")
    turn_around(Path("sorted.star"))
    command = "e2hype_make3d.py {} maps --classes run/classes_particles.txt --noinvert"
    assert run_program(load_program, command.format("sorted.star")) == 1
    assert "classes_particles.txt: its classes are of another list of particles" in capsys.readouterr().err
    assert run_program(load_program, command.format("particles.star")) == 0
    write_classes(Path("mine.txt"), np.arange(12), np.arange(12) % 2, "0" * 16)
    for given in ("embed.py run --method pca --labels mine.txt", "eval.py run --classes mine.txt"):
        assert run_program(load_program, f"e2hype_{given}") == 1
        assert "mine.txt: its classes are of another list" in capsys.readouterr().err


def test_classes_of_another_set_of_the_same_names_are_refused(project, load_program, capsys) -> None:
    """As two simulated sets, or two extractions: particles.mrcs of as many images in two folders."""
    Path("second").mkdir()
    particles = read_particles("particles.star")
    defocus = 10000 + 15000 * np.random.default_rng(9).random(len(particles))
    ctf = dataclasses.replace(particles.ctf, defocus_u=defocus, defocus_v=defocus)
    shutil.copy("particles.mrcs", "second/particles.mrcs")
    stack = str(Path("second/particles.mrcs").absolute())
    write_particles("second/particles.star", dataclasses.replace(particles, files=(stack,), ctf=ctf))
    assert run_program(load_program, COMMANDS[0]) == 0
    command = "e2hype_make3d.py second/particles.star maps --classes run/classes_particles.txt --noinvert"
    assert run_program(load_program, command) == 1
    assert "classes_particles.txt: its classes are of another list of particles" in capsys.readouterr().err


def test_what_is_written_names_the_list_and_other_programs_read_it(project, load_program) -> None:
    from libhetero.pipelines.run.folder import open_run

    assert run_program(load_program, COMMANDS[0]) == 0
    first = Path("run/classes_particles.txt").read_text().splitlines()[0]
    assert first == f"# particle, class; of list {list_digest(open_run('run').particles)}"
    assert np.loadtxt("run/classes_particles.txt").shape == (12, 3)


def split_in_two(star: Path) -> None:
    """Name the images of one stack as those of two, each with half of them."""
    stack = read_particles(star)
    for half in range(2):
        write_particles(f"half_{half}.mrcs", stack.take(np.arange(6 * half, 6 * half + 6)))
    lines = star.read_text().splitlines()
    for place, line in enumerate(lines):
        number, at, rest = line.partition("@")
        if at:
            image = int(number) - 1
            lines[place] = f"{image % 6 + 1:06d}@half_{image // 6}.mrcs {rest.split(None, 1)[1]}"
    star.write_text("\n".join(lines) + "\n")


def test_classes_of_an_imported_list_whose_source_was_sorted_are_refused(
    tmp_path, monkeypatch, load_program, capsys
) -> None:
    """The list is as it was, so the run goes on; the .star of a class would take rows of other particles."""
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path, 12)
    split_in_two(Path("particles.star"))
    assert run_program(load_program, "e2hype_import.py particles.star --output p.lst") == 0
    assert refine(["p.lst", *NETWORK, *TRAINING, "--niter", "1", "--path", "run"]) == 0
    assert run_program(load_program, COMMANDS[0]) == 0
    assert list(Path("run").glob("class_*.star"))
    capsys.readouterr()
    before = contents(tmp_path / "run")
    lines = Path("particles.star").read_text().splitlines()
    rows = [line for line in lines if "@" in line]
    Path("particles.star").write_text("\n".join([*(x for x in lines if "@" not in x), *rows[6:], *rows[:6]]) + "\n")
    assert run_program(load_program, COMMANDS[0]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "now names 00000" in error and "the file has changed. Restore it, or import it again." in error
    assert contents(tmp_path / "run") == before
