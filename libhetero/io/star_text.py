"""The text of a STAR file, read and written by RELION's rules, every value kept as the text it is.

    data_NAME                begins a block
    _label value             one value of a block
    loop_, _label #1, rows   a table of a block: as many values in each row as there are labels

A value is a word between blanks. It may hold `#` and quotes; only one that begins with a quote ends at the
same quote before a blank, and only one that begins with `#` is a comment, to the end of the line. A loop ends
at a blank line, or at a line that is data_NAME and nothing else; where a loop has one label only, that may be a row,
and is one unless loop_ or a label follows, as in a block. What breaks these rules is an error with the number of its
line: RELION stops there too, or leaves out what follows without a word.

The starfile package is not used: it takes `#` within a name for a comment and `'` for `"`, ends a loop at a row
that begins with data_, fills short rows, and leaves names that begin with `#` or a quote without quotes.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from libhetero.errors import DataError
from libhetero.files import check_readable, replacing
from libhetero.io.paths import NameNotHeld

logger = logging.getLogger(__name__)

TOKEN = re.compile(r"""[ ]*(?:(?P<comment>\#.*)|(?P<quote>['"])(?P<quoted>.*?)(?P=quote)(?=[ ]|$)|(?P<word>[^ ]+))""")
VERSION = re.compile(r"#\s*version\s+(\S+)")
BLOCK = re.compile(r"data_([^ \t]*)(?:[ \t]+\#.*)?")
MAY_BE_BLOCK = re.compile(rb"^[ \t]*data_", re.MULTILINE)
NOTHING = rb"(?:[ \t]*(?:#[^\n]*)?\n)*+[ \t]*"  # blank lines and comments
IN_BLOCK = re.compile(NOTHING + rb"(?:loop_[ \t]*(?:#[^\n]*)?\n" + NOTHING + rb"_|_[^ \t\n]+[ \t]+[^ \t\n])")
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
TEXT = bytes({9, 10, *range(32, 127), *range(128, 256)})
IN_QUOTES = re.compile(r"""^$|^["'#_;]|[ \t]""", re.MULTILINE)
ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # what no word can hold: of names, bytes that are not UTF-8
CHUNK = 1 << 23  # bytes whose words are counted at a time
ROWS = 1 << 16  # written at a time


@dataclass(frozen=True, eq=False)
class StarFile:
    """The blocks of a file.

    Parameters
    ----------
    blocks : by name, in the file's order: a table of text for a loop, a dictionary for single values.
    versions : what the comment `# version N` before a block says, for the blocks that have one.
    """

    blocks: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)


def read_star_file(path: str | os.PathLike) -> StarFile:
    """Read every block of a file.

    Raises
    ------
    DataError : naming the line that breaks the rules.
    """
    check_readable(path)
    with open(path, "rb") as file:
        data = file.read()
    return _Parser(path, _checked(data, path)).file()


def _checked(data: bytes, path: str | os.PathLike) -> bytes:
    """Return the text without what some editors add, as UTF-8 with lines that end in a line feed."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        if not data.isascii():
            data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line} is not UTF-8 (byte 0x{data[error.start]:02x}), the encoding expected of a .star; "
            f"convert the file, as with iconv -f latin1 -t utf-8."
        ) from None
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    odd = CONTROL.search(data) if data.translate(None, TEXT) else None
    if odd is not None:
        line = data.count(b"\n", 0, odd.start()) + 1
        raise DataError(
            f"{path}: line {line} holds a control character (0x{data[odd.start()]:02x}); expected text. "
            f"Give a particle .star, or copy the file again."
        )
    return data


def words_of(line: str) -> list[str]:
    """Return the values of one line, without quotes and comment.

    Raises
    ------
    ValueError : for a quote that is not closed.
    """
    words, position = [], 0
    line = line.replace("\t", " ").rstrip(" \n")
    while position < len(line):
        found = TOKEN.match(line, position)
        if found is None or found["comment"] is not None:
            break
        word = found["quoted"] if found["quote"] else found["word"]
        if not found["quote"] and word[0] in "'\"":
            raise ValueError(f"the quote before '{line[found.start('word') + 1 :][:20]}' is not closed")
        words.append(word)
        position = found.end()
    return words


class _Parser:
    """Reads blocks one after the other; `_position` is where the next line starts."""

    def __init__(self, path: str | os.PathLike, data: bytes) -> None:
        self._path, self._data, self._position = path, data, 0
        self._line, self._line_start = "", 0  # the line read last
        self._blank = self._after_blank = False  # it, and the one before
        self._version: str | None = None

    def file(self) -> StarFile:
        found = StarFile({})
        while (words := self._next()) is not None:
            if not words:
                continue
            name = self._name()
            if name is None:
                raise self._wrong(f"'{words[0][:30]}' stands before any block; expected data_NAME")
            if name in found.blocks:
                raise self._wrong(f"a second block data_{name}; expected one of each name")
            if self._version is not None:
                found.versions[name] = self._version
            self._version = None
            found.blocks[name] = self._block(name)
        return found

    def _next(self) -> list[str] | None:
        """Return the words of the next line; None at the end of the file."""
        if self._position >= len(self._data):
            return None
        self._line_start = self._position
        end = self._data.find(b"\n", self._position)
        end = len(self._data) if end < 0 else end
        self._line = self._data[self._position : end].decode().strip(" \t")
        self._position = end + 1
        self._blank, self._after_blank = not self._line, self._blank
        version = VERSION.match(self._line)
        if version:
            self._version = version[1]
        try:
            return words_of(self._line)
        except ValueError as error:
            raise self._wrong(str(error)) from None

    def _name(self) -> str | None:
        """Return NAME where the line read last is data_NAME and nothing else."""
        found = BLOCK.fullmatch(self._line)
        return None if found is None else found[1]

    def _starts_block(self, labels: list[str]) -> bool:
        """Return whether the line read last, in a loop, is the start of another block and not a row."""
        return self._name() is not None and (len(labels) > 1 or IN_BLOCK.match(self._data, self._position) is not None)

    def _back(self) -> None:
        """Go back to the start of the line that was read last."""
        self._position = self._line_start

    def _wrong(self, what: str) -> DataError:
        number = self._data.count(b"\n", 0, self._line_start) + 1
        return DataError(
            f"{self._path}: line {number}: {what[:200]}; not a well-formed star file. Mend or export it again."
        )

    def _block(self, name: str) -> Any:
        """Return the values or the table of the block whose data_NAME was read."""
        values: dict[str, str] = {}
        table: pd.DataFrame | None = None
        while (words := self._next()) is not None:
            if not words:
                continue
            if self._name() is not None:
                self._back()
                break
            if table is not None:
                raise self._wrong(f"'{words[0][:30]}' after the end of the loop of data_{name}, a blank line")
            if words == ["loop_"] and not values:
                table = self._loop(name)
            elif self._line.startswith("_") and len(words[0]) > 1:
                self._put_value(values, words)
            else:
                raise self._wrong(f"'{words[0][:30]}' in data_{name}; expected a label, or loop_ once and first")
        return values if table is None else table

    def _put_value(self, values: dict[str, str], words: list[str]) -> None:
        label = words[0][1:]
        if len(words) == 1:
            raise self._wrong(f"label _{label} without value")
        if len(words) > 2:
            raise self._wrong(f"label _{label} with {len(words) - 1} values; expected one, in quotes if it has blanks")
        if label in values:
            raise self._wrong(f"label _{label} for the second time; expected one value a label")
        values[label] = words[1]

    def _labels(self, name: str) -> list[str]:
        """Return the labels of a loop, and stand at its first row or the end of the block."""
        labels: list[str] = []
        while (words := self._next()) is not None:
            if not words or self._line.startswith(";"):
                continue
            if not self._line.startswith("_"):
                self._back()
                break
            if len(words) > 1:
                raise self._wrong(f"label {words[0]} of a loop with a value beside it")
            if words[0][1:] in labels:
                raise self._wrong(f"label {words[0]} for the second time; expected one column a label")
            labels.append(words[0][1:])
        if not labels:
            raise self._wrong(f"loop_ of data_{name} without labels")
        return labels

    def _loop(self, name: str) -> pd.DataFrame:
        """Return the table whose loop_ was read."""
        labels = self._labels(name)
        pieces: list[bytes] = []
        quoted: dict[int, list[str]] = {}
        count, ended = 0, self._name() is not None and self._after_blank
        while not ended and self._position < len(self._data):
            start = self._position
            stop = self._data.find(b"\n", start + CHUNK) + 1 or len(self._data)
            lines, ended, stop = self._rows(start, stop, labels, quoted, count)
            pieces.append(lines)
            count += lines.count(b"\n")
            self._position = stop
        return _table(b"".join(pieces), labels, quoted)

    def _rows(
        self, start: int, stop: int, labels: list[str], quoted: dict[int, list[str]], count: int
    ) -> tuple[bytes, bool, int]:
        """Check the rows of a loop in one part of the file.

        Parameters
        ----------
        start, stop : of the part, which holds whole lines.
        quoted : takes the words of the rows to which the rules of quotes and comments apply.
        count : rows before.

        Returns
        -------
        rows : one a line, the quoted ones filled with something; whether the loop ends; and where the next
            line to be read starts.
        """
        part = self._data[start:stop]
        firsts, words_in, special = _count_words(part)
        if len(labels) == 1:
            starts = [found.start() for found in MAY_BE_BLOCK.finditer(part)]
            special[np.searchsorted(firsts, starts)] = True
        kept: list[bytes] = []
        done = left_out = 0
        for line in np.flatnonzero((words_in != len(labels)) | special):
            self._position = start + int(firsts[line])
            words = self._next() or []
            if self._blank or self._starts_block(labels):
                kept.append(part[done : firsts[line]])
                return b"".join(kept), True, start + int(firsts[line])
            kept.append(part[done : firsts[line]])
            done = self._position - start
            if not words:
                left_out += 1  # a comment
                continue
            if len(words) != len(labels):
                raise self._wrong(f"{len(words)} values for {len(labels)} labels; the row is damaged or cut short")
            quoted[count + int(line) - left_out] = words
            kept.append(b"- " * len(labels) + b"\n")
        kept.append(part[done:])
        rows = b"".join(kept)
        if rows and not rows.endswith(b"\n"):
            logger.warning("%s: the last row does not end with a line break; the file may be cut short.", self._path)
            rows += b"\n"
        return rows, False, stop


def _count_words(part: bytes) -> tuple[Int[np.ndarray, "lines"], Int[np.ndarray, "lines"], Bool[np.ndarray, "lines"]]:
    """Return where each line starts, how many words it has, and whether one of them begins with a quote or #."""
    text = np.frombuffer(part, np.uint8)
    begins = (text != 32) & (text != 9) & (text != 10)
    begins[1:] &= ~begins[:-1]
    ends = np.flatnonzero(text == 10)
    firsts = np.concatenate([[0], ends + 1])
    firsts = firsts[firsts < len(text)]
    special = begins & ((text == 34) | (text == 39) | (text == 35))
    counts = np.add.reduceat(begins, firsts, dtype=np.int64)
    return firsts, counts, np.logical_or.reduceat(special, firsts)


def _table(rows: bytes, labels: list[str], quoted: Mapping[int, list[str]]) -> pd.DataFrame:
    """Return rows of plain words as a table of text, with the words of the quoted rows in their places."""
    if not rows:
        return pd.DataFrame({label: np.empty(0, object) for label in labels})
    table = pd.read_csv(
        io.BytesIO(rows),
        sep=r"\s+",
        header=None,
        names=labels,
        index_col=False,
        dtype=object,
        na_filter=False,
        quoting=csv.QUOTE_NONE,
        encoding="utf-8",
        low_memory=False,
    )
    if quoted:
        columns = list(zip(*quoted.values(), strict=True))
        for label, words in zip(labels, columns, strict=True):
            values = table[label].to_numpy(object).copy()
            values[list(quoted)] = words
            table[label] = pd.Series(values, dtype=object)
    return table


def write_star_file(path: str | os.PathLike, star: StarFile) -> None:
    """Write blocks, beside and renamed.

    Raises
    ------
    NameNotHeld : for a value that no .star can hold.
    """
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for text in _lines_of(star, path):
            file.write(text)


def _lines_of(star: StarFile, path: str | os.PathLike) -> Iterator[str]:
    for name, block in star.blocks.items():
        if name in star.versions:
            yield f"\n# version {star.versions[name]}\n"
        yield f"\ndata_{name}\n\n"
        if isinstance(block, pd.DataFrame):
            yield "loop_\n"
            yield from (f"_{label} #{number}\n" for number, label in enumerate(block, 1))
            for start in range(0, len(block), ROWS):
                part = block.iloc[start : start + ROWS]
                columns = [_in_quotes(part[label].to_numpy(object), path) for label in block]
                yield "".join(f"{' '.join(row)}\n" for row in zip(*columns, strict=True))
        else:
            width = max(map(len, block), default=0) + 4
            yield from (f"_{label:{width}s}{_quoted(str(value), path)}\n" for label, value in block.items())
        yield "\n"


def _in_quotes(values: Iterable[Any], path: str | os.PathLike) -> list[str]:
    """Return the values as they stand in a row."""
    words = list(map(str, values))
    joined = "\n".join(words)
    plain = joined.count("\n") == len(words) - 1 and not IN_QUOTES.search(joined) and not ODD.search(joined)
    return words if plain else [_quoted(word, path) for word in words]


def _quoted(value: str, path: str | os.PathLike) -> str:
    """Return a value in quotes if it needs any."""
    if ODD.search(value) or "\n" in value or "\t" in value:
        raise NameNotHeld(
            f"{path}: {ascii(value[:60])} holds a tab, a line break or a byte that is no text, which no .star can "
            f"hold; rename it."
        )
    if not IN_QUOTES.search(value):
        return value
    for quote in "\"'":
        if f"{quote} " not in value:
            return f"{quote}{value}{quote}"
    raise NameNotHeld(f"{path}: {value[:60]} holds both quotes before blanks, which no .star can hold; rename it.")
