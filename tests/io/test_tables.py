"""Tables of numbers in text: what is none is told by its line, whatever the file holds."""

import re
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_gaussians, tables
from libhetero.io.tables import read_numbers


@pytest.fixture(autouse=True, params=[tables.LARGE, 0], ids=["line by line", "quickly"])
def whether_quickly(request, monkeypatch) -> None:
    """Read small files as small ones are read, and as large ones are."""
    monkeypatch.setattr(tables, "LARGE", request.param)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 # c\n# only\n\n 3\t4\n",
        "1 2\r\n3 4\r\n",
        "\ufeff1 2\n3 4",
        "+1 -2.\n.5 5e-324\n",
        *("1 2\n3\n", "1 2\n3 4 5\n", '1 2\n"3" 4\n', "1,2\n", "1 2\n1_0 3\n", "1\u00a02\n", "1 2\r3 4\r"),
        *("1\0 2\n", "", "# only\n", "1 2\n3 NA\n", "0x1p3 1\n", "1d5 1\n", "1 inf\n", "1e400 1\n", "True 1\n"),
    ],
)
def test_what_is_read_quickly_is_what_is_read_line_by_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    quick = tables._quickly(path, None)
    if quick is not None:
        np.testing.assert_array_equal(quick, tables._line_by_line(path, None))
        assert quick.shape == (2, 2)


def test_numbers_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(3000, 3)) * 10.0 ** random.integers(-307, 307, (3000, 3))
    for digits in ("%.18e", "%.9g", "%.6f"):
        np.savetxt(tmp_path / "a.txt", numbers, fmt=digits, header="of all sizes")
        quick = tables._quickly(tmp_path / "a.txt", 2000)
        np.testing.assert_array_equal(quick, tables._line_by_line(tmp_path / "a.txt", 2000))
        assert quick.shape == (2000, 3)
    np.testing.assert_array_equal(tables._quickly(tmp_path / "a.txt", None)[:2000], quick)


def test_lines_without_end_are_not_read_quickly(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 2\n" + "3 " * (tables.LONGEST_LINE // 2) + "\n")
    assert tables._quickly(path, None) is None
    with pytest.raises(DataError, match="line 2 has more than"):
        read_numbers(path, "two numbers")


def test_comments_empty_lines_and_marks_are_no_numbers(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("\ufeff# x y\n\n1 2 # three\n-3e1 +.5\n", encoding="utf-8")
    np.testing.assert_array_equal(read_numbers(tmp_path / "a.txt", "x and y"), [[1, 2], [-30, 0.5]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n3 x\n", "line 2: 'x' is not a number"),
        ("# a\n\n1 ٢\n", "line 3: '٢' is not a number"),
        ("1 1_0\n", "line 1: '1_0' is not a number"),
        ("1,2\n", "line 1: '1,2' is not a number"),
        ("1 0x10\n", "'0x10' is not a number"),
        ("1 2\n3 4 5\n", "line 2: 3 numbers after lines of 2"),
        ("1 nan\n", "row 1 holds a number that is not finite"),
        ("1 2\n1 " + "9" * 5000 + "\n", "row 2 holds a number that is not finite"),
        ("1 " + "y" * 5000 + "\n", r"'y{40}…' is not a number"),
        ("0.5 1\n", "row 1 holds numbers that are not whole"),
        ("1e300 1\n", "row 1 holds numbers that are not whole"),
        ("1\n2\n", "1 column; expected index and label"),
        ("1 2 3\n", "3 columns; expected index and label"),
        ("# nothing\n", "empty"),
        ("1 2\n3 4\n5 6\n7 8\n", "more than 3 rows"),
        (b"\xff\xfe\x00", "line 1: .* is not a number"),
        (b"\x1f\x8b\x08\x00", "compressed .*, so not a table of numbers"),
    ],
)
def test_what_is_no_table_is_told_by_its_line(tmp_path, text, words) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: .*{words}") as error:
        read_numbers(path, "index and label", least=2, most=2, whole=(0,), rows=3)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_gaussians_beyond_all_measure_are_refused(tmp_path) -> None:
    (tmp_path / "model.txt").write_text("0 0 0 1 1\n0 0 0 1e30 1\n")
    with pytest.raises(DataError, match="Gaussian 2 holds a number beyond all measure"):
        read_gaussians(tmp_path / "model.txt", 64, 2.0)
