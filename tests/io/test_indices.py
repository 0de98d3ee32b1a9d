"""Which particles, by files of numbers or of truth values: told apart, read and refused alike."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io.indices import holds_indices, read_indices, write_indices


@pytest.mark.parametrize("name", ["chosen.pkl", "chosen.txt"])
@pytest.mark.parametrize("mask_of", [None, 6])
def test_there_and_back(tmp_path, name, mask_of):
    write_indices(tmp_path / name, np.array([0, 2, 5]), mask_of)
    assert holds_indices(tmp_path / name)
    np.testing.assert_array_equal(read_indices(tmp_path / name, 6, "list"), [0, 2, 5])


def test_numbers_0_and_1_are_a_mask_only_where_there_is_one_for_each_particle(tmp_path):
    (tmp_path / "chosen.txt").write_text("# from 0\n1\n0\n")
    for count, expected in ((2, [1, 0]), (4, [1, 0])):
        np.testing.assert_array_equal(read_indices(tmp_path / "chosen.txt", count, "list"), expected)
    (tmp_path / "mask.txt").write_text("1\n0\n1\n")
    np.testing.assert_array_equal(read_indices(tmp_path / "mask.txt", 3, "list"), [0, 2])


def test_a_list_of_stacks_holds_none(tmp_path):
    (tmp_path / "stacks.txt").write_text("a.mrcs\nb.mrcs\n")
    assert not holds_indices(tmp_path / "stacks.txt") and not holds_indices("particles.star")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "3\n-1\n", "index -1 is below 0"),
        ("a.txt", "3\n9\n", "index 9 is beyond the 6 particles of list"),
        ("a.txt", "3 1\n", "2 columns; expected one number"),
        ("a.txt", "0.5\n", "not whole"),
        ("a.txt", "a.mrcs\n", "not a number"),
        ("a.star", "data_\n", "e2hype_list.py --output"),
    ],
)
def test_what_is_none_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_indices(tmp_path / name, 6, "list")
