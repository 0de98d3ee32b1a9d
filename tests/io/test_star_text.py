"""The text of STAR files by RELION's rules: names untouched, nothing lost, nothing filled up."""

import numpy as np
import pandas as pd
import pytest

from libhetero.errors import DataError
from libhetero.io import star_text
from libhetero.io.paths import NameNotHeld
from libhetero.io.star_text import StarFile, read_star_file, words_of, write_star_file

LOOP = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnMicrographName #2\n_rlnAngleRot #3\n"


@pytest.fixture
def blocks_of(tmp_path):
    def read(text, encoding="utf-8"):
        path = tmp_path / "list.star"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_star_file(path).blocks

    return read


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1@grid#2/p.mrcs Ann's/m.mrc a#b'c\"d", ["1@grid#2/p.mrcs", "Ann's/m.mrc", "a#b'c\"d"]),
        ("1@p.mrcs \"a name.mrc\" 'one more'", ["1@p.mrcs", "a name.mrc", "one more"]),
        ("a  \t b\t", ["a", "b"]),
        ("a \"\" ''  # a comment 'of quotes", ["a", "", ""]),
        ('\'it\'s\' "say "x""', ["it's", 'say "x"']),
        ('"#x" b', ["#x", "b"]),
        ("  # nothing", []),
        ("a\u00a0b c", ["a\u00a0b", "c"]),
    ],
)
def test_words_of_a_line(line, words):
    assert words_of(line) == words


def test_a_quote_that_is_not_closed():
    with pytest.raises(ValueError, match="not closed"):
        words_of("a 'name b")


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
def test_rows_are_words_and_quotes_are_theirs_alone(blocks_of, monkeypatch, chunk):
    """Plain and quoted rows and comments in turn, however the file is cut into parts."""
    monkeypatch.setattr(star_text, "CHUNK", chunk)
    rows = "\n".join(f"{i}@p.mrcs {'Ann#' if i % 3 else chr(34) + 'a name' + chr(34)} {i / 4}" for i in range(50))
    rows = rows.replace("\n7@", "\n# a comment\n7@")
    table = blocks_of(f"{LOOP}{rows}\n\ndata_other\n\n_a b\n")
    assert list(table["particles"]["rlnImageName"]) == [f"{i}@p.mrcs" for i in range(50)]
    assert list(table["particles"]["rlnMicrographName"]) == ["Ann#" if i % 3 else "a name" for i in range(50)]
    assert list(table["particles"]["rlnAngleRot"]) == [str(i / 4) for i in range(50)]
    assert table["other"] == {"a": "b"}


def test_a_row_may_begin_with_data(blocks_of):
    text = LOOP + "m/1@p.mrcs a 1\ndata_2021/1@p.mrcs a 1\nm/2@p.mrcs a 1\n"
    for end in ("", "\ndata_other\n\nloop_\n_note #1\nx\n"):
        found = blocks_of(text + end)
        assert list(found["particles"]["rlnImageName"]) == ["m/1@p.mrcs", "data_2021/1@p.mrcs", "m/2@p.mrcs"]
    assert list(found["other"]["note"]) == ["x"]


def test_a_loop_ends_at_a_blank_line_or_a_block(blocks_of):
    for end in ("\n", " \t\n", ""):
        found = blocks_of(f"{LOOP}1@p.mrcs a 1\n{end}data_other\n\nloop_\n_a\n_b\n")
        assert len(found["particles"]) == 1 and list(found["other"]) == ["a", "b"] and len(found["other"]) == 0
    one = blocks_of("data_\n\nloop_\n_name\ndata_1\ndata_2\n\ndata_more\n\nloop_\n_x\n\ndata_end\n\n_a 1\n")
    assert list(one[""]["name"]) == ["data_1", "data_2"] and len(one["more"]) == 0 and one["end"] == {"a": "1"}


@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
@pytest.mark.parametrize("end", ["", "\n", " \t\n"])
@pytest.mark.parametrize("other", ["\nloop_\n_a\n1\n", "loop_ # of rows\n_a\n1\n", "\n# a comment\n\n_a 1\n", "\t_a 1"])
def test_a_loop_of_one_label_ends_there_too(blocks_of, monkeypatch, chunk, end, other):
    """In such a loop alone a line with data_NAME is as long as a row."""
    monkeypatch.setattr(star_text, "CHUNK", chunk)
    for rows in (["1@p.mrcs", "2@p.mrcs"], ["data_1", "loop_", "x#1", "data_2"], []):
        found = blocks_of(
            "data_particles\n\nloop_\n_name\n" + "".join(f"{row}\n" for row in rows) + f"{end}data_other\n{other}"
        )
        assert list(found) == ["particles", "other"] and list(found["particles"]["name"]) == rows
        assert list(found["other"]["a"]) == ["1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOOP + "1@p.mrcs a 1\n2@p.mrcs a\n", "line 8: 2 values for 3 labels"),
        (LOOP + "1@p.mrcs a 1\ndata_2021/2@p.mrcs a\n", "line 8: 2 values for 3 labels"),
        (LOOP + "1@p.mrcs a 1\n2@p.mrcs a 1 2\n", "line 8: 4 values for 3 labels"),
        (LOOP + "1@p.mrcs 'a b 1\n", "line 7: the quote before 'a b 1' is not closed"),
        (LOOP + "1@p.mrcs a 1\n\n2@p.mrcs a 1\n", "line 9: '2@p.mrcs' after the end of the loop"),
        (LOOP + "_rlnAngleRot\n1@p.mrcs a 1 1\n", "line 7: label _rlnAngleRot for the second time"),
        ("data_a\n\n_x 1\n_x 2\n", "line 4: label _x for the second time"),
        ("data_a\n\n_x \n", "line 3: label _x without value"),
        ("data_a\n\n_x 1 2\n", "line 3: label _x with 2 values"),
        ("data_a\n\n_x 1\n\ndata_a\n", "line 5: a second block data_a"),
        ("data_a\n\n_x 1\nloop_\n_y\n", "line 4: 'loop_' in data_a"),
        ("data_a\n\nloop_\n1 2\n", "line 4: loop_ of data_a without labels"),
        ("data_a\n\nloop_\n_x 5\n", "line 4: label _x of a loop with a value"),
        ("data_a\n\nx 1\n", "line 3: 'x' in data_a"),
        ("x data_a\n", "line 1: 'x' stands before any block"),
        (LOOP.encode() + b"1@p.mrcs donn\xe9es 1\n", "line 7 is not UTF-8.*0xe9.*iconv"),
        (LOOP + "1@p.mrcs a\0 1\n", r"line 7 holds a control character \(0x00\)"),
        (LOOP.encode("utf-16"), "not UTF-8"),
    ],
)
def test_what_breaks_the_rules_is_told_with_its_line(blocks_of, text, message):
    with pytest.raises(DataError, match=message) as raised:
        blocks_of(text)
    assert "\n" not in str(raised.value)


def test_a_file_that_ends_within_a_row(blocks_of, caplog):
    """Nothing tells a last value that was cut from a whole one but the missing end of the line."""
    assert len(blocks_of(LOOP + "1@p.mrcs a 12\n")["particles"]) == 1 and not caplog.text
    assert list(blocks_of(LOOP + "1@p.mrcs a 12\n2@p.mrcs a 1")["particles"]["rlnAngleRot"]) == ["12", "1"]
    assert "list.star: the last row does not end with a line break; the file may be cut short" in caplog.text


def test_lines_and_marks_of_other_systems(blocks_of):
    text = (LOOP + "1@données.mrcs a 1\n").replace("\n", "\r\n")
    for encoding in ("utf-8", "utf-8-sig"):
        assert list(blocks_of(text, encoding)["particles"].iloc[0]) == ["1@données.mrcs", "a", "1"]


def test_what_is_written_is_read_again(tmp_path):
    values = [
        "x#y",
        "Ann's/p",
        "a#b'c\"d",
        "a name",
        "#x",
        "",
        '"q',
        "_a",
        ";",
        "data_1",
        "loop_",
        "é",
        'a" b',
        "it's a",
    ]
    loop = pd.DataFrame({"name": values, "number": [str(i) for i in range(len(values))]}, dtype=object)
    star = StarFile(
        {"single": {"a": "1", "long_label": "two words", "none": ""}, "": loop, "one": loop[["name"]], "no": loop[:0]},
        {"single": "30001", "": "50001"},
    )
    write_star_file(tmp_path / "a.star", star)
    again = read_star_file(tmp_path / "a.star")
    assert list(again.blocks) == list(star.blocks) and again.versions == star.versions
    assert again.blocks["single"] == star.blocks["single"]
    for name in ("", "one", "no"):
        assert again.blocks[name].equals(star.blocks[name].reset_index(drop=True)), name
    write_star_file(tmp_path / "b.star", again)
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()


@pytest.mark.parametrize("value", ["two\nlines", "a\tb", "bell\a", "\udce9", "both \" and ' x"])
def test_what_no_star_can_hold(tmp_path, value):
    with pytest.raises(NameNotHeld, match=r"a\.star.*rename"):
        write_star_file(tmp_path / "a.star", StarFile({"a": pd.DataFrame({"x": ["1", value]}, dtype=object)}))
    assert not list(tmp_path.iterdir())


def test_numbers_of_a_large_loop(blocks_of):
    values = np.random.default_rng(0).normal(size=(2000, 3)).round(6).astype(str)
    text = "data_\n\nloop_\n_a\n_b\n_c\n" + "\n".join("   ".join(row) for row in values) + "\n \n"
    assert np.array_equal(blocks_of(text)[""].to_numpy(), values)
