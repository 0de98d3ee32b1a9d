"""Lists in several formats: one that cannot hold them is left out, and told once."""

import numpy as np
import pytest

from libhetero.io import MrcsWriter, read_particles, write_particles
from libhetero.io.paths import NameNotHeld
from libhetero.pipelines.listing.writing import write_lists
from tests.making.cs_tables import cs_columns, save_cs


@pytest.fixture
def stack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with MrcsWriter("p.mrcs", 8, 4, 2.0) as writer:
        writer.write(np.zeros((4, 8, 8)))
    return tmp_path / "p.mrcs"


def test_both_formats(stack, caplog):
    particles = read_particles(stack)
    write_lists(stack.parent, {"a": particles, "b": particles.take(slice(1, 2))})
    assert {path.name for path in stack.parent.glob("*.[ls]*")} == {"a.lst", "a.star", "b.lst", "b.star"}
    assert not caplog.text


def test_lists_of_a_cs_are_written_as_cs_too(stack):
    save_cs(stack.with_name("all.cs"), cs_columns(4, 8, 2.0) | {"blob/path": np.full(4, b"p.mrcs")})
    particles = read_particles("all.cs")
    write_particles("all.lst", particles)
    for name, listed in (("a", particles), ("b", read_particles("all.lst"))):
        assert write_lists(stack.parent, {name: listed.take(np.array([3, 1]))}) == [".lst", ".star", ".cs"]
        np.testing.assert_array_equal(np.load(f"{name}.cs")["uid"], [40, 20])


def test_no_star_of_stacks_of_eman2(stack, caplog):
    write_particles("p.hdf", read_particles(stack))
    particles = read_particles("p.hdf")
    write_lists(stack.parent, {"a": particles, "b": particles})
    assert {path.name for path in stack.parent.glob("*.[ls]*")} == {"a.lst", "b.lst"}
    assert caplog.text.count("no .star for some of the lists") == 1 and "--stack" in caplog.text


def test_a_name_that_no_list_can_hold(stack):
    odd = stack.with_name("tab\t.mrcs")
    stack.rename(odd)
    with pytest.raises(NameNotHeld):
        write_lists(stack.parent, {"a": read_particles(odd)})
    assert not list(stack.parent.glob("a.*"))
