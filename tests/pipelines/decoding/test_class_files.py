"""Files of classes: what is read, and what each mistake in one is called."""

from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import UserError
from libhetero.pipelines.decoding.class_files import class_names, read_classes, whole_classes, write_classes
from libhetero.pipelines.run.list_digest import list_digest
from tests.making.particles import make_particles


def test_classes_round_trip_in_any_order(tmp_path: Path) -> None:
    index, label = np.array([3, 0, 5]), np.array([1, -1, 0])
    write_classes(tmp_path / "classes.txt", index, label, list_digest(make_particles(6)))
    found = read_classes(tmp_path / "classes.txt", 6)
    np.testing.assert_array_equal(found[0], index)
    np.testing.assert_array_equal(found[1], label)
    np.testing.assert_array_equal(whole_classes(tmp_path / "classes.txt", make_particles(6)), [-1, -1, -1, 1, -1, 0])


def test_a_probability_is_a_third_column_that_readers_take(tmp_path: Path) -> None:
    index, label = np.arange(3), np.array([1, -1, 0])
    write_classes(tmp_path / "classes.txt", index, label, None, np.array([0.25, 0.5, 1.0]))
    np.testing.assert_allclose(np.loadtxt(tmp_path / "classes.txt")[:, 2], [0.25, 0.5, 1.0])
    np.testing.assert_array_equal(read_classes(tmp_path / "classes.txt", 3)[1], label)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("0 1\n6 2", "no particle 6"),
        ("0 1\n-1 2", "no particle -1"),
        ("0 1 0.5 2", "4 columns"),
        ("a b", "not a table of numbers"),
        ("1 2\n1 3", "particle 1 2 times"),
        ("0 1.5", "not whole"),
        ("", "empty"),
        (None, "no such file"),
    ],
)
def test_a_table_that_is_none_of_classes(tmp_path: Path, table: str | None, message: str) -> None:
    if table is not None:
        (tmp_path / "classes.txt").write_text(table)
    with pytest.raises(UserError, match=message):
        read_classes(tmp_path / "classes.txt", 6)


def test_no_particle_in_a_class(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("0 -1\n1 -1\n")
    with pytest.raises(UserError, match="no particle is in a class"):
        whole_classes(tmp_path / "classes.txt", make_particles(6))


def test_names_have_digits_enough() -> None:
    assert class_names(np.array([0, 2, -1])) == {0: "class_00", 2: "class_02"}
    assert class_names(np.array([7, 120]), "region_01_class") == {7: "region_01_class_007", 120: "region_01_class_120"}
