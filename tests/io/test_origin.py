"""Rows of the list that particles were imported from: each is the particle that it was, or the export is refused."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import MrcsWriter, read_particles, star, write_particles
from libhetero.io.origin import original_table, tables_kept
from libhetero.io.star_text import read_star_file
from libhetero.pipelines.listing.copying import copy_images
from tests.making.cs_tables import cs_columns, save_cs

N, COUNT = 8, 3
START = "data_\n\nloop_\n_rlnImageName\n_rlnMicrographName\n"
KEY = re.compile(r'"hetero_image":"[^"]*",')
STACKS = {"two stacks": ("st0.mrcs", "st1.mrcs"), "one name": ("sa/p.mrcs", "sb/p.mrcs")}


def images(stacks) -> list[str]:
    return [f"{i + 1:06d}@{stack}" for stack in stacks for i in range(COUNT)]


def write_star(path, names) -> None:
    Path(path).write_text(START + "".join(f"{name} of_{name.replace('/', '_')}\n" for name in names))


def write_stacks(*names) -> None:
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        with MrcsWriter(name, N, COUNT, 2.0) as writer:
            writer.write(np.zeros((COUNT, N, N)))


def exported(path="list.lst") -> list[str]:
    """Names of images in the .star that a project list gives; their micrographs must be theirs."""
    write_particles("exported.star", read_particles(path))
    rows = read_star_file("exported.star").blocks[""]
    assert [f"of_{name.replace('/', '_')}" for name in rows["rlnImageName"]] == [*rows["rlnMicrographName"]]
    return [*rows["rlnImageName"]]


def without_key(path="list.lst") -> None:
    """Make a list one of before it held what the rows named."""
    text, count = KEY.subn("", Path(path).read_text())
    assert count == len(read_particles(path))
    Path(path).write_text(text)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(params=STACKS)
def names(request) -> list[str]:
    """Images of two stacks, in a list.star that was imported."""
    write_stacks(*STACKS[request.param])
    found = images(STACKS[request.param])
    write_star("list.star", found)
    write_particles("list.lst", read_particles("list.star"))
    return found


@pytest.mark.parametrize("old", [False, True], ids=["with the key", "without"])
def test_rows_that_were_swapped_are_refused(names, old) -> None:
    """Rows of one stack before those of the other: the image numbers stay as they were."""
    if old:
        without_key()
    assert exported() == names
    write_star("list.star", names[COUNT:] + names[:COUNT])
    Path("exported.star").unlink()
    for suffix in ("star", "cs"):
        with pytest.raises(DataError, match="row 1 now names") as error:
            write_particles(f"exported.{suffix}", read_particles("list.lst"))
        assert names[COUNT] in str(error.value) and "has changed. Restore it, or import it again." in str(error.value)
        assert not Path(f"exported.{suffix}").exists()
    assert old or f"is {names[0]}:" in str(error.value)


def test_a_list_of_another_stack_is_refused(names) -> None:
    write_stacks("z.mrcs")
    write_star("list.star", images(["z.mrcs"]) * 2)
    with pytest.raises(DataError, match=r"row 1 now names 000001@z\.mrcs; the particle.* is 000001@"):
        exported()


def test_the_key_goes_from_list_to_list(names) -> None:
    write_particles("again.lst", read_particles("list.lst").take(np.array([4, 1])))
    assert exported("again.lst") == [names[4], names[1]]
    write_star("list.star", names[::-1])
    with pytest.raises(DataError, match="row 5 now names"):
        exported("again.lst")


@pytest.mark.parametrize("old", [False, True], ids=["with the key", "without"])
def test_a_project_that_has_moved_is_taken(names, old, folder, monkeypatch) -> None:
    if old:
        without_key()
    shutil.move(folder, folder.parent / "moved")
    monkeypatch.chdir(folder.parent / "moved")
    assert exported() == names


def test_names_that_were_mended_for_the_same_stacks_are_taken(names, folder) -> None:
    write_star("list.star", [name.replace("@", f"@{folder}/") for name in names])
    write_particles("exported.star", read_particles("list.lst"))
    found = read_particles("exported.star")
    assert found.files == read_particles("list.lst").files
    write_star("list.star", [name.replace("@", f"@{folder}/") for name in names[COUNT:] + names[:COUNT]])
    with pytest.raises(DataError, match="row 1 now names"):
        write_particles("exported.star", read_particles("list.lst"))


@pytest.mark.parametrize("copy", ["copy.mrcs", "copies/p.mrcs"])
@pytest.mark.parametrize("old", [False, True], ids=["with the key", "without"])
def test_copies_stand_for_their_images(names, copy, old, caplog) -> None:
    """A part of the list, copied: rows are those of the file, and the export names the original images."""
    Path("copies").mkdir()
    chosen = np.arange(6) if old else np.array([1, 4, 5])
    write_particles("list.lst", copy_images(read_particles("list.star").take(chosen), copy))
    if old:
        without_key()
    found = read_particles("list.lst")
    assert found.files == (str(Path(copy).absolute()),)
    write_particles("exported.star", found)
    rows = read_star_file("exported.star").blocks[""]
    assert [*rows["rlnMicrographName"]] == [f"of_{names[i].replace('/', '_')}" for i in chosen]
    assert [*rows["rlnImageName"]] == [names[i] for i in chosen]
    assert ("on trust" in caplog.text) == (old and (copy == "copy.mrcs" or names[0].endswith("st0.mrcs")))
    if not old:
        write_star("list.star", names[1:] + names[:1])
        with pytest.raises(DataError, match="row 2 now names"):
            write_particles("exported.star", read_particles("list.lst"))


@pytest.mark.parametrize("old", [False, True], ids=["with the key", "without"])
def test_rows_of_a_cryosparc_table(old) -> None:
    """The same image may stand in two rows, as in a list expanded by symmetry: the uid tells them apart."""
    columns = cs_columns(4, N)
    columns["blob/path"] = np.array([b">a.mrcs", b">a.mrcs", b">b.mrcs", b">b.mrcs"])
    columns["blob/idx"] = np.array([0, 0, 0, 1], "<u4")
    write_stacks("a.mrcs", "b.mrcs")
    save_cs(Path("list.cs"), columns)
    write_particles("list.lst", read_particles("list.cs"))
    if old:
        without_key()
    else:
        assert '"hetero_image":"1@b.mrcs uid 40"' in Path("list.lst").read_text()
    write_particles("exported.cs", read_particles("list.lst"))
    np.testing.assert_array_equal(np.load("exported.cs")["uid"], columns["uid"])
    for order in ([2, 1, 0, 3], [1, 0, 2, 3]):
        save_cs(Path("list.cs"), {name: values[order] for name, values in columns.items()})
        if old and order[0] == 1:
            write_particles("exported.cs", read_particles("list.lst"))
            continue
        with pytest.raises(DataError, match=rf"list\.cs: row 1 now names 0@.* uid {columns['uid'][order[0]]}; the"):
            write_particles("exported.cs", read_particles("list.lst"))


def test_stacks_that_are_not_at_hand(names) -> None:
    """Names tell then; where these are the same, numbers."""
    without_key()
    for stack in {name.partition("@")[2] for name in names}:
        Path(stack).unlink()
    particles = read_particles("list.lst", need_images=False)
    write_particles("exported.star", particles)
    write_star("list.star", names[::-1])
    with pytest.raises(DataError, match="row 1 now names 000003@"):
        write_particles("exported.star", particles)


def test_the_last_row_is_one_less_than_there_are(names) -> None:
    write_star("list.star", names[:-1])
    write_particles("exported.star", read_particles("list.lst").take(np.arange(5)))
    with pytest.raises(DataError, match=r"list\.star: 5 particles, the list refers to row 6"):
        exported()


def test_a_name_that_is_not_utf8_is_kept_in_escapes() -> None:
    write_stacks("p.mrcs")
    columns = cs_columns(COUNT, N)
    columns["blob/path"] = np.full(COUNT, b"\xe9/p.mrcs")
    save_cs(Path("list.cs"), columns)
    write_particles("list.lst", read_particles("list.cs", datadir="."))
    assert r'"0@\\udce9/p.mrcs uid 10"' in Path("list.lst").read_text()
    write_particles("exported.cs", read_particles("list.lst"))
    assert np.load("exported.cs")["blob/path"][0] == b"\xe9/p.mrcs"


def test_many_lists_of_one_import_read_its_table_once(names) -> None:
    """Outside, a table is read as it then is."""
    particles, read = read_particles("list.lst"), []

    def read_table(path):
        read.append(path)
        return star.read_table(path)

    with tables_kept():
        for i in range(3):
            found = original_table(particles.take(np.array([i])), "star", read_table)
            assert found is not None and [*found[1]] == [i]
    assert len(read) == 1
    for _ in range(2):
        original_table(particles, "star", read_table)
    assert len(read) == 3
