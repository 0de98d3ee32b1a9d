"""From a list to particles, whatever its format: other kinds of data are not taken for images."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import MrcsWriter, read_particles, write_particles
from libhetero.io.mrc import MrcStack, make_header, write_map

N = 8
LISTS = {
    ".star": "data_\n\nloop_\n_rlnImageName\n1@{0}\n",
    ".txt": "{0}\n",
    ".lst": '#LSX\n# c\n# 40\n0\t{0}\t{{"apix_x":2.0}}     \n',
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_list(folder, suffix, name):
    """A list of one image of a stack, or of all in a .txt."""
    path = folder / f"list{suffix}"
    if suffix == ".cs":
        with MrcsWriter(folder / "right.mrcs", N, N, 2.0) as writer:
            writer.write(np.zeros((N, N, N)))
        write_particles(path, read_particles(folder / "right.mrcs").take(slice(0, 1)))
        rows = np.load(path)
        kinds = [(key, f"S{len(name)}" if key == "blob/path" else kind, *rest) for key, kind, *rest in rows.dtype.descr]
        rows = rows.astype(kinds)
        rows["blob/path"] = name.encode()
        with open(path, "wb") as file:
            np.save(file, rows)
    else:
        path.write_text(LISTS[suffix].format(name))
    return path


def test_a_map_is_no_stack(folder):
    """Given itself, in a list of stacks, or by its bare name."""
    write_map("sub.mrc", np.zeros((N, N, N)), 2.0)
    (folder / "bare.star").write_text(LISTS[".star"].replace("1@", "").format("sub.mrc"))
    for name in (write_list(folder, ".txt", "sub.mrc"), "bare.star", "sub.mrc"):
        with pytest.raises(DataError, match=r"sub\.mrc: holds a volume \(8 × 8 × 8"):
            read_particles(name)


@pytest.mark.parametrize("suffix", [".star", ".lst", ".cs"])
def test_a_list_that_numbers_images_says_what_a_cube_is(folder, suffix, caplog):
    """As many images as pixels of an edge, in a file of which only the suffix could say that it is a stack."""
    caplog.set_level("WARNING", logger="libhetero")
    write_map("cube.mrc", np.zeros((N, N, N)), 2.0)
    write_map("other.mrc", np.zeros((N, N, N)), 2.0)
    path = write_list(folder, suffix, "cube.mrc")
    assert len(read_particles(path)) == 1
    assert caplog.text.count("cube.mrc: a cube, by its header a map; read as images") == len(caplog.records) == 1
    if suffix != ".cs":
        path.write_text(path.read_text() + path.read_text().splitlines()[-1].replace("cube", "other") + "\n")
        assert len(read_particles(path)) == 2
        assert "(so are 1 more)" in caplog.text and len(caplog.records) == 2
    header = make_header((N, N, N), 2.0, volume=True)
    header["ispg"] = 401
    (folder / "cube.mrc").write_bytes(header.tobytes() + bytes(4 * N**3))
    with pytest.raises(DataError, match="holds a volume"):
        read_particles(path)


def test_stacks_under_the_header_of_a_map(folder):
    """Many programs write the space group of a map, and a depth in the cell, for a stack of images."""
    for name, count, space_group, expected in (
        ("old.mrc", N + 1, 1, (False, False)),
        ("cube.mrcs", N, 1, (False, False)),
        ("cube.st", N, 1, (False, False)),
        ("cube.mrc", N, 1, (False, True)),
        ("images.mrc", N, 0, (False, False)),
        ("volumes.mrcs", 2 * N, 401, (True, False)),
    ):
        header = make_header((count, N, N), 2.0, volume=True)
        header["ispg"] = space_group
        (folder / name).write_bytes(header.tobytes() + bytes(4 * count * N * N))
        stack = MrcStack(name)
        assert (stack.holds_volume, stack.looks_like_map) == expected, name
        if not any(expected):
            assert len(read_particles(name)) == count


@pytest.mark.parametrize("suffix", [".star", ".lst"])
def test_two_stacks_that_become_one(folder, suffix):
    """Of one name in two folders, and one of that name in the data folder."""
    for name in ("s1", "s2", "flat"):
        (folder / name).mkdir()
        with MrcsWriter(folder / name / "p.mrcs", N, 2, 2.0) as writer:
            writer.write(np.zeros((2, N, N)))
    first = write_list(folder, suffix, "s1/p.mrcs").read_text()
    row = first.splitlines()[-1].replace("s1", "s2")
    (folder / f"list{suffix}").write_text(f"{first}{row}\n")
    assert len(read_particles(f"list{suffix}").files) == 2
    with pytest.raises(DataError, match=r"s1/p\.mrcs and s2/p\.mrcs would both be .*flat/p\.mrcs"):
        read_particles(f"list{suffix}", datadir="flat")


def test_a_list_of_stacks_is_utf_8(folder):
    with MrcsWriter(folder / "é.mrcs", N, 2, 2.0) as writer:
        writer.write(np.zeros((2, N, N)))
    (folder / "list.txt").write_bytes("é.mrcs\r\n".encode("utf-8-sig"))
    assert len(read_particles("list.txt")) == 2
    (folder / "list.txt").write_bytes("é.mrcs\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8.*0xe9.*iconv"):
        read_particles("list.txt")
