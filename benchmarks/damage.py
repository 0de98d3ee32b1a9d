"""Damage to files, by what they are made of: a valid file's bytes in, a description and damaged bytes out.

Every kind of damage draws from one generator of random numbers, so that a seed says all. What lies in a file's place
and is no file (a folder, a FIFO, a device, a loop of links) is a `Placed`.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import os
import pickle
import pickletools
import re
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")
WORD = re.compile(rb"[^\s]+")
HOSTILE = (
    "nan",
    "inf",
    "-inf",
    "1e309",
    "-1",
    "0",
    "1e-320",
    "2147483648",
    "-2147483649",
    "9223372036854775808",
    "18446744073709551616",
    "9" * 5000,
    "٣٢",  # digits, but not ASCII ones
    "１６",
    "",
    "1_0",
    "0x10",
    "1e",
    "1,5",
    "--1",
    "None",
    "true",
    "1.5",
    '"',
    "'",
    "#",
    "'a b'",
    "\x00",
    "1e30",
    "x" * 3000,
    "../../../../etc/passwd",
    "\x1b[31m",
)
NUMBERS = (np.nan, np.inf, -np.inf, -1, 0, 1, 2**31, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, 1e30, 1e-40, 1e308, 0.5)
HTML = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 123456\n"
HOLE = 3 << 30  # bytes of a file that is longer than it should be
DEEP = 50_000  # brackets one in the other


@dataclass(frozen=True)
class Placed:
    """What lies where the file should be.

    Parameters
    ----------
    what : "folder", "fifo", "loop", "dangling", "nothing", "hole" or a device's path.
    content : what a file with a hole begins with.
    """

    what: str
    content: bytes = b""

    def put(self, path: Path) -> None:
        """Put it there; nothing is there."""
        if self.what == "folder":
            path.mkdir()
        elif self.what == "fifo":
            os.mkfifo(path)
        elif self.what == "loop":
            path.symlink_to(path.name)
        elif self.what == "dangling":
            path.symlink_to("gone.away")
        elif self.what == "hole":
            path.write_bytes(self.content)
            os.truncate(path, HOLE)
        elif self.what.startswith("/dev/"):
            path.symlink_to(self.what)


Damaged = tuple[str, bytes | Placed]
Random = np.random.Generator


def pick(random: Random, values: Any) -> Any:
    """Return one of a sequence."""
    return values[int(random.integers(len(values)))]


# Bytes, whatever they mean ----------------------------------------------------------------------


def _span(random: Random, content: bytes, most: int = 200) -> tuple[int, int]:
    start = int(random.integers(len(content) + 1))
    return start, min(len(content), start + 1 + int(random.integers(most)))


def of_bytes(random: Random, content: bytes) -> Damaged:
    """Truncate, flip bits, insert, delete, repeat, swap or blank a piece."""
    what = pick(
        random, ("truncate", "truncate", "flip", "flip", "insert", "delete", "repeat", "swap", "blank", "append")
    )
    start, end = _span(random, content)
    if what == "truncate":
        return f"truncated to {start} bytes", content[:start]
    if what == "flip":
        changed = bytearray(content)
        places = random.integers(0, max(len(content), 1), int(random.integers(1, 9))) if content else []
        for place in places:
            changed[place] ^= 1 << int(random.integers(8))
        return f"bits flipped at {sorted(int(place) for place in places)}", bytes(changed)
    if what == "insert":
        return f"bytes inserted at {start}", content[:start] + random.bytes(int(random.integers(1, 60))) + content[
            start:
        ]
    if what == "delete":
        return f"bytes {start} to {end} deleted", content[:start] + content[end:]
    if what == "repeat":
        times = pick(random, (2, 3, 50))
        return f"bytes {start} to {end} {times} times", content[:start] + content[start:end] * times + content[end:]
    if what == "swap":
        other, stop = sorted(_span(random, content))
        first = content[: min(start, other)]
        return f"the piece from {start} and that from {other} exchanged", first + content[other:stop] + content[
            start:other
        ]
    if what == "blank":
        fill = pick(random, (b"\0", b"\xff", b" ", b"\n"))
        return f"bytes {start} to {end} are {fill!r}", content[:start] + fill * (end - start) + content[end:]
    return "something behind the end", content + random.bytes(500)


def of_encoding(random: Random, content: bytes) -> Damaged:
    """Write a text in another encoding, with other line ends, with NUL bytes."""
    text = content.decode("utf-8", "replace")
    what = pick(random, ("utf-16", "utf-16-be", "utf-8-sig", "latin-1", "crlf", "cr", "nul", "form feed"))
    if what == "crlf":
        return "lines end in CR LF", content.replace(b"\n", b"\r\n")
    if what == "cr":
        return "lines end in CR", content.replace(b"\n", b"\r")
    if what in ("nul", "form feed"):
        start, _ = _span(random, content)
        return f"a {what} at {start}", content[:start] + (b"\0" if what == "nul" else b"\f") + content[start:]
    if what == "latin-1":
        start, _ = _span(random, content)
        return f"Latin-1 at {start}", content[:start] + "Größe".encode("latin-1") + content[start:]
    return f"in {what}", text.encode(what, "replace")


def placed(random: Random, content: bytes) -> Damaged:
    """Put something else in the file's place."""
    what = pick(
        random,
        ("folder", "fifo", "loop", "dangling", "nothing", "/dev/zero", "/dev/null", "/dev/urandom", "empty", "page")
        + ("pointer", "zip", "gzip", "bzip2", "pickle", "json", "image"),
    )
    others: dict[str, bytes] = {
        "empty": b"",
        "page": HTML,
        "pointer": POINTER,
        "gzip": gzip.compress(content, mtime=0),
        "bzip2": bz2.compress(content),
        "pickle": pickle.dumps({"a": [1, 2]}, protocol=4),
        "json": b'{"a": [1, 2]}\n',
        "image": b"\x89PNG\r\n\x1a\n" + random.bytes(200),
        "zip": b"PK\x03\x04" + random.bytes(200),
    }
    return f"{what} in its place", others[what] if what in others else Placed(what)


# Text -------------------------------------------------------------------------------------------


def hostile(random: Random) -> bytes:
    """Return a value that is hard to read."""
    return pick(random, HOSTILE).encode()


def shown(value: bytes | str) -> str:
    """Return a value as a description holds it."""
    text = value if isinstance(value, str) else value.decode("latin-1")
    return repr(text if len(text) <= 30 else f"{text[:12]}… ({len(text)} long)")


def of_number(random: Random, content: bytes) -> Damaged:
    """Put a hostile value in the place of a number, or of the same column of every line."""
    found = list(NUMBER.finditer(content))
    if not found:
        return of_bytes(random, content)
    place, value = pick(random, found), hostile(random)
    description = f"{shown(place[0])} at {place.start()} is {shown(value)}"
    return description, content[: place.start()] + value + content[place.end() :]


def of_word(random: Random, content: bytes) -> Damaged:
    """Put a hostile value in the place of a word, or drop or double it."""
    found = list(WORD.finditer(content))
    if not found:
        return of_bytes(random, content)
    place = pick(random, found)
    value = pick(random, (b"", place[0] + b" " + place[0], hostile(random), place[0].upper(), place[0][::-1]))
    return f"{shown(place[0])} at {place.start()} is {shown(value)}", content[: place.start()] + value + content[
        place.end() :
    ]


def of_lines(random: Random, content: bytes) -> Damaged:
    """Drop, double, exchange, shorten or lengthen a line, or put one in."""
    lines = content.splitlines(keepends=True)
    if not lines:
        return of_bytes(random, content)
    place, other = int(random.integers(len(lines))), int(random.integers(len(lines)))
    what = pick(
        random, ("dropped", "doubled", "exchanged", "shortened", "lengthened", "joined", "a comment", "all but")
    )
    if what == "dropped":
        del lines[place]
    elif what == "doubled":
        lines.insert(other, lines[place])
    elif what == "exchanged":
        lines[place], lines[other] = lines[other], lines[place]
    elif what == "shortened":
        lines[place] = b" ".join(lines[place].split()[:-1]) + b"\n"
    elif what == "lengthened":
        lines[place] = lines[place].rstrip(b"\n") + b" " + hostile(random) + b"\n"
    elif what == "joined":
        lines[place] = lines[place].rstrip(b"\n") + b" "
    elif what == "all but":
        lines = lines[: place + 1]
    else:
        lines.insert(
            place, pick(random, (b"# a comment\n", b"data_\n", b"loop_\n", b";\n", b"_rlnX\n", b"\t\n", b"'\n"))
        )
    return f"line {place + 1} {what}", b"".join(lines)


def of_text(random: Random, content: bytes) -> Damaged:
    """Damage a text."""
    return pick(random, (of_number, of_number, of_word, of_lines))(random, content)


def of_star(random: Random, content: bytes) -> Damaged:
    """Damage labels, blocks and cells of a STAR file, or any text."""
    labels = sorted(set(re.findall(rb"_rln\w+", content)))
    what = pick(random, ("label", "label", "cell", "cell", "block", "text", "text"))
    if what == "label" and labels:
        label = pick(random, labels)
        value = pick(
            random, (b"_rlnNoSuchThing", pick(random, labels), label.lower(), label[:-1], b"rlnX", b"_rln", b"_")
        )
        return f"label {shown(label)} is {shown(value)}", re.sub(label + rb"\b", value, content, count=1)
    if what == "block":
        value = pick(
            random, (b"data_", b"data_particles\n\nloop_", b"data_other", b"loop_", b"save_x", b"data_optics", b"")
        )
        block = pick(random, re.findall(rb"(?m)^(?:data_\w*|loop_)", content) or [b"data_"])
        return f"{shown(block)} is {shown(value)}", content.replace(block, value, 1)
    rows = [row for row in re.finditer(rb"(?m)^(?!data_|loop_|_|#)\S.*$", content) if len(row[0].split()) > 1]
    if what == "cell" and rows:
        row, column = pick(random, rows), int(random.integers(40))
        cells = row[0].split()
        value, place = hostile(random), column % len(cells)
        cells[place] = value
        return f"cell {place + 1} of a row is {shown(value)}", content[: row.start()] + b" ".join(cells) + content[
            row.end() :
        ]
    return of_text(random, content)


# JSON -------------------------------------------------------------------------------------------


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def of_json(random: Random, content: bytes) -> Damaged:
    """Drop, rename, retype or double a key, or change a value, anywhere in a JSON text."""
    if random.random() < 0.25:
        return of_text(random, content)
    values = json.loads(content)
    places = _places(values)[1:]
    if not places or random.random() < 0.1:
        other = pick(
            random, ("[]", "null", "1", '"text"', "{}", "[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP)
        )
        return f"the whole is {shown(other)}", other.encode()
    path = pick(random, places)
    holder = values
    for key in path[:-1]:
        holder = holder[key]
    key, old = path[-1], holder[path[-1]]
    what = pick(random, ("dropped", "renamed", "retyped", "retyped", "value", "value", "twice", "unknown"))
    new: Any = None
    if what == "dropped":
        del holder[key]
    elif what in ("renamed", "unknown") and isinstance(holder, dict):
        holder[f"{key}_"] = holder.pop(key) if what == "renamed" else old
    elif what == "twice" and isinstance(holder, dict):
        name = json.dumps(key).encode()
        return f"{path} stands twice", content.replace(name + b":", name + b": 7, " + name + b":", 1)
    elif what == "value":
        new = holder[key] = pick(
            random, (float("nan"), float("inf"), -1, 0, 2**31, 10**400, 0.5, 1e308, "", "x" * 3000)
        )
    else:
        new = holder[key] = pick(random, (None, [], {}, True, "text", 3, [[1]], {"a": 1}, [None] * 4, -7.5, "12", "٣"))
    return f"{'.'.join(map(str, path))} {what} {shown(repr(new))}", json.dumps(values).encode()


def of_json_lines(random: Random, content: bytes) -> Damaged:
    """Damage one line of JSON."""
    lines = [line for line in content.splitlines() if line]
    place = int(random.integers(len(lines)))
    what, damaged = of_json(random, lines[place])
    lines[place] = bytes(damaged)
    return f"line {place + 1}: {what}", b"\n".join(lines) + b"\n"


# Arrays -----------------------------------------------------------------------------------------

KINDS = ("f4", "f8", "f2", "i4", "u8", "i8", "?", "c8", "S4", "U4", "M8[s]", "O", "i1", ">f4", "V3")


def other_kind(random: Random, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return an array of another dtype."""
    kind = pick(random, KINDS)
    if kind in ("V3", "M8[s]"):
        return f"dtype {kind}", np.zeros(array.shape, kind)
    with np.errstate(all="ignore"):
        try:
            return f"dtype {kind}", array.astype(kind)
        except (ValueError, TypeError):
            return f"dtype {kind}", np.zeros(array.shape, kind)


def other_array(random: Random, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return an array of another dtype, shape, order or with another value."""
    what = pick(random, ("dtype", "shape", "value", "value", "rows", "order"))
    if what == "dtype":
        return other_kind(random, array)
    if what == "shape":
        shapes = (array.ravel(), array[None], array[..., None], np.zeros(0, array.dtype), np.zeros((0, 7), array.dtype))
        found = pick(random, (*shapes, np.zeros((), array.dtype), array.T))
        return f"shape {found.shape}", found
    if what == "rows":
        found = pick(random, (array[:1], array[:-1], np.concatenate([array, array]))) if array.ndim else array[None]
        return f"shape {found.shape}", found
    if what == "order":
        return "other order of bytes and axes", np.asfortranarray(array.astype(array.dtype.newbyteorder()))
    found = np.array(array)
    if found.size and found.dtype.kind in "fiu":
        value = pick(random, NUMBERS)
        place = int(random.integers(found.size))
        with np.errstate(all="ignore"), contextlib.suppress(OverflowError, ValueError):
            target = slice(None) if random.random() < 0.2 else place
            found.reshape(-1)[target] = np.asarray(value).astype(found.dtype)
        return f"value {place} is {value}", found
    return "dtype bool", np.zeros(array.shape, bool)


def npy(array: np.ndarray) -> bytes:
    """Return an array as the bytes of a .npy file; pickled where it holds objects, which readers refuse."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _header_of_npy(random: Random, content: bytes) -> Damaged:
    """Say another shape, dtype or length in the header of a .npy file."""
    length = struct.unpack("<H", content[8:10])[0]
    header, rest = content[10 : 10 + length], content[10 + length :]
    shape = re.search(rb"'shape': (\([^)]*\))", header)
    value = pick(
        random, (b"(1099511627776,)", b"(-3,)", b"(3.5,)", b"(" * 300, b"(2,2,2)", b"'a'", b"(9999999999999999999999,)")
    )
    if shape and random.random() < 0.8:
        header = header[: shape.start(1)] + value + header[shape.end(1) :]
    else:
        header = header.replace(b"False", pick(random, (b"None", b"__import__('os').getcwd()", b"1")))
        value = b"other flags"
    sizes = struct.pack("<H", pick(random, (len(header), len(header), len(header), 65535, 1)))
    return f"header says {shown(value)}", content[:8] + sizes + header + rest


def of_npy(random: Random, content: bytes) -> Damaged:
    """Change the header, fields, dtype, shape or values of a .npy file."""
    if random.random() < 0.25:
        return _header_of_npy(random, content)
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        what, array = other_array(random, array)
    else:
        what, array = other_field(random, array)
    return what, npy(array)


def other_field(random: Random, rows: np.ndarray) -> tuple[str, np.ndarray]:
    """Return a record array with a field dropped, renamed, or of another type, shape or value."""
    names = list(rows.dtype.names or ())
    name = pick(random, names)
    columns = {one: rows[one] for one in names}
    what = pick(random, ("dropped", "renamed", "changed", "changed", "changed", "text"))
    if what == "dropped":
        del columns[name]
    elif what == "renamed":
        columns[pick(random, ("blob/pathh", name.upper(), "uid2", "alignments3D_multi/pose"))] = columns.pop(name)
    elif what == "text" and rows[name].dtype.kind == "S":
        value = pick(random, (b"", b"\xff\xfe", b">", b"../../x", b"/dev/zero", b"a\nb", b"x" * 3000))
        columns[name] = np.full(len(rows), value)
        what = f"is {shown(value)}"
    else:
        what, columns[name] = other_array(random, rows[name])
        if columns[name].shape[:1] != (len(rows),):
            columns[name] = np.zeros((len(rows), 2, 2), "f4")
    kinds = [(one, column.dtype.newbyteorder("="), column.shape[1:]) for one, column in columns.items()]
    changed = np.zeros(len(rows), np.dtype(kinds))
    for one, column in columns.items():
        changed[one] = column
    return f"{name} {what}", changed


def of_npz(random: Random, content: bytes) -> Damaged:
    """Drop, rename or change an array of a .npz file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        arrays = dict(held)
    name = pick(random, sorted(arrays))
    what = pick(random, ("dropped", "renamed", "changed", "changed", "changed", "header", "bomb"))
    members = {key: npy(array) for key, array in arrays.items()}
    if what == "dropped":
        del members[name]
    elif what == "renamed":
        members[f"{name}_"] = members.pop(name)
    elif what == "header":
        what, members[name] = _header_of_npy(random, members[name])
    elif what == "bomb":
        members[name] = npy(np.zeros(0, "f4")).replace(b"(0,)", b"(%d,)" % (3 << 28)) + bytes(1 << 20)
    else:
        what, changed = other_array(random, arrays[name])
        members[name] = npy(changed)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)), data)
    return f"{name} {what}", stream.getvalue()


# MRC --------------------------------------------------------------------------------------------

WORDS = (0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 21, 22, 23, 24, 27, 28, 49, 52, 53, 54)


def of_mrc(random: Random, content: bytes) -> Damaged:
    """Set words of an MRC header."""
    if random.random() < 0.05:
        return "a hole of 3 GiB behind it", Placed("hole", content)
    header = bytearray(content[:1024])
    said = []
    for _ in range(pick(random, (1, 1, 1, 2, 3))):
        word = pick(random, WORDS)
        value = pick(random, (*NUMBERS, 4, 6, 12, 101, 3, 5, 17, 1000, 65536))
        packed = struct.pack("<f", np.clip(value, -3e38, 3e38)) if 10 <= word <= 15 or 19 <= word <= 21 else None
        if packed is None:
            packed = struct.pack("<I", int(value) & 0xFFFFFFFF if np.isfinite(value) else 0x7FC00000)
        header[4 * word : 4 * word + 4] = packed
        said.append(f"word {word + 1} is {value:g}")
    return ", ".join(said), bytes(header) + content[1024:]


def of_gzip(random: Random, content: bytes) -> Damaged:
    """Damage what is compressed, or compress more than anybody has memory for."""
    if random.random() < 0.15:
        zeros = gzip.compress(bytes(1 << 26), 1, mtime=0)
        return "4 GiB of zeros behind it", content + zeros * 64
    inner = gzip.decompress(content)
    what, damaged = pick(random, (of_mrc, of_bytes))(random, inner)
    return f"inside: {what}", gzip.compress(damaged if isinstance(damaged, bytes) else inner[:500], mtime=0)


def of_gzipped_text(random: Random, content: bytes) -> Damaged:
    """Damage a compressed text."""
    what, damaged = of_text(random, gzip.decompress(content))
    return f"inside: {what}", gzip.compress(bytes(damaged), mtime=0)  # type: ignore[arg-type]


# HDF5 -------------------------------------------------------------------------------------------


def of_hdf(random: Random, content: bytes) -> Damaged:
    """Change attributes, datasets, groups and links of an EMAN2 stack."""
    if random.random() < 0.04:
        return "a hole of 3 GiB behind it", Placed("hole", content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.hdf"
        path.write_bytes(content)
        with h5py.File(path, "r+") as file:
            what = pick(random, (_attribute, _attribute, _attribute, _dataset, _dataset, _group, _count))(random, file)
        return what, path.read_bytes()


def _image(random: Random, file: h5py.File) -> h5py.Group:
    images = file["MDF/images"]
    return images[pick(random, sorted(images, key=int))]


ATTRIBUTES: tuple[Any, ...] = (
    "text",
    b"bytes",
    np.nan,
    np.inf,
    -1,
    2**31,
    2**62,
    np.zeros(0, "f4"),
    np.zeros((3, 4), "f4"),
    np.zeros(100, "i4"),
    np.array([b"x" * 2000]),
    np.array([(1.0, 2)], dtype=[("a", "f4"), ("b", "i4")]),
    h5py.Empty("f4"),
    h5py.Empty("S1"),
    True,
    1 + 2j,
    np.array([b"E1 2 3", b"E4"]),
    "E1.6 nan 30 100 10 300 2.7 2.5 0.01 3,1 2,2",
    "E" + "9" * 5000,
    "E1.6",
    "O1 2 3",
    "٣",
    np.float64(1e300),
    np.uint64(2**64 - 1),
)


def _attribute(random: Random, file: h5py.File) -> str:
    image = _image(random, file)
    name = pick(random, sorted(image.attrs))
    what = pick(random, ("dropped", "changed", "changed", "everywhere", "reference"))
    if what == "dropped":
        del image.attrs[name]
        return f"{name} dropped from {image.name}"
    value = pick(random, ATTRIBUTES)
    targets = file["MDF/images"].values() if what == "everywhere" else (image,)
    for target in targets:
        if what == "reference":
            target.attrs.create(name, file.ref, dtype=h5py.ref_dtype)
        else:
            target.attrs[name] = value
    return f"{name} of {image.name} is {shown(repr(value))} ({what})"


def _dataset(random: Random, file: h5py.File) -> str:
    image = _image(random, file)
    pixels = image["image"][()]
    del image["image"]
    what = pick(
        random, ("gone", "group", "scalar", "kind", "shape", "huge", "text", "external", "soft", "empty", "objects")
    )
    if what == "group":
        image.create_group("image")
    elif what == "scalar":
        image["image"] = 3.0
    elif what == "kind":
        image["image"] = pixels.astype(pick(random, ("i1", "c8", "f8", ">f4", "?", "S4")))
    elif what == "shape":
        image["image"] = pick(
            random, (pixels.ravel(), pixels[None, None], pixels[:3], pixels[:, :0], np.stack([pixels] * 3))
        )
    elif what == "huge":
        image.create_dataset("image", shape=(2**20, 2**20), chunks=(64, 64), dtype="f4")
    elif what == "text":
        image["image"] = "text"
    elif what == "external":
        image["image"] = h5py.ExternalLink("elsewhere.hdf", "/MDF/images/0/image")
    elif what == "soft":
        image["image"] = h5py.SoftLink(image.name + "/image")
    elif what == "empty":
        image["image"] = h5py.Empty("f4")
    elif what == "objects":
        image.create_dataset(
            "image", shape=(4, 4), dtype=pick(random, (h5py.string_dtype(), h5py.ref_dtype, np.dtype("c8")))
        )
    return f"the pixels of {image.name}: {what}"


def _group(random: Random, file: h5py.File) -> str:
    images = file["MDF/images"]
    what = pick(random, ("renamed", "renamed", "dropped", "cycle", "all", "dataset", "soft", "unicode", "external"))
    name = pick(random, sorted(images, key=int))
    if what == "renamed":
        new = pick(random, ("1000000", "-1", "007", "²", "٣", "99999999999999999999", "x", " 1"))
        images.move(name, new)
        return f"image {name} is called {new}"
    if what == "all":
        del file["MDF"]
        file["MDF"] = h5py.SoftLink("/MDF")
        return "MDF is a link to itself"
    if what == "unicode":
        images.create_group("é\u202e")
        return "a group of another name"
    del images[name]
    if what == "cycle":
        images[name] = images
    elif what == "dataset":
        images[name] = np.zeros(3)
    elif what == "soft":
        images[name] = h5py.SoftLink("/nowhere")
    elif what == "external":
        images[name] = h5py.ExternalLink("/dev/zero", "/")
    return f"image {name}: {what}"


def _count(random: Random, file: h5py.File) -> str:
    images = file["MDF/images"]
    value = pick(
        random, (2**31 - 1, -1, -5, 2**62, 0, "text", 1.5, np.nan, h5py.Empty("i4"), np.zeros(0, "i4"), 100, b"x")
    )
    images.attrs["imageid_max"] = value
    return f"imageid_max is {shown(repr(value))}"


# Pickles ----------------------------------------------------------------------------------------


def _doublings() -> bytes:
    """Return a pickle of few bytes whose value is 2^33 long."""
    return b"(lp0\nI0\na" + b"".join(b"(lp%d\ng%d\nag%d\na" % (i, i - 1, i - 1) for i in range(1, 34)) + b"."


CRAFTED: tuple[tuple[str, bytes], ...] = (
    ("a call of os.system", b"cos\nsystem\n(S'true'\ntR."),
    ("a call of builtins.eval", b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R."),
    ("33 doublings", _doublings()),
    ("a memo of 2^31", b"\x80\x02]r\xff\xff\xff\x7f."),
    ("a string of 2^40 bytes", b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"abc."),
    ("bytes of 2^40", b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc."),
    ("a frame of 2^60", b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N."),
    ("a whole number of 2^31 bytes", b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc."),
    ("a decimal of 100000 digits", b"I" + b"9" * 100_000 + b"\n."),
    ("lists in lists", b"]" * DEEP + b"a" * (DEEP - 1) + b"."),
    ("tuples in tuples", b"\x80\x02N" + b"\x85" * DEEP + b"."),
    ("marks alone", b"(" * DEEP + b"."),
    ("a persistent object", b"\x80\x02U\x01aQ."),
    ("an extension", b"\x80\x02\x82\x01."),
    ("protocol 200", b"\x80\xc8N."),
    (
        "a dtype with a state of its own",
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\x7fJ\xff\xff\xff\x7fK?tb.",
    ),
    (
        "a dtype of names without fields",
        b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00V8\x85R(K\x03X\x01\x00\x00\x00|N(X\x01\x00\x00\x00atN}J\x08\x00\x00\x00K\x01K\x00tb.",
    ),
    ("an array of 2^40", b"\x80\x02cnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85\x85R."),
    (
        "an array that is its own base",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87Rq\x00(K\x01K\x05\x85h\x00\x89U\x01xtb.",
    ),
    ("a class that is built", b"\x80\x02cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb."),
    ("an attribute of a module", b"\x80\x04\x8c\x05numpy\x8c\x10f2py.os.getcwd__\x93)R."),
)


def of_pickle(random: Random, content: bytes) -> Damaged:
    """Drop, double or exchange instructions of a pickle, change its arrays, or craft one."""
    what = pick(random, ("crafted", "crafted", "instructions", "instructions", "arrays", "arrays"))
    if what == "crafted":
        said, crafted = pick(random, CRAFTED)
        return said, crafted
    if what == "arrays":
        held = pickle.loads(content)
        protocol = pick(random, (0, 1, 2, 3, 4, 5))
        if isinstance(held, tuple):
            place = int(random.integers(len(held)))
            said, changed = other_array(random, held[place])
            parts = [changed if i == place else one for i, one in enumerate(held)]
            return f"part {place + 1}: {said}", pickle.dumps(pick(random, (tuple, list))(parts), protocol)
        said, changed = other_array(random, held)
        other = pick(
            random, (changed, changed, changed, {"a": held}, [held, held, held], held.tolist(), None, 3, "text")
        )
        return said, pickle.dumps(other, protocol)
    starts = [place for _, _, place in pickletools.genops(content) if place is not None]
    places = sorted(int(i) for i in random.integers(0, len(starts) - 1, 2))
    first, second = (content[starts[i] : starts[i + 1]] for i in places)
    start, end = starts[places[0]], starts[places[0] + 1]
    what = pick(random, ("dropped", "doubled", "replaced"))
    middle = {"dropped": b"", "doubled": first * 2, "replaced": second}[what]
    return f"instruction {places[0]} {what}", content[:start] + middle + content[end:]


# What is done to a file of a kind ---------------------------------------------------------------

STRUCTURES: dict[str, Callable[[Random, bytes], Damaged]] = {
    "text": of_text,
    "star": of_star,
    "json": of_json,
    "json lines": of_json_lines,
    "npy": of_npy,
    "npz": of_npz,
    "mrc": of_mrc,
    "gzip": of_gzip,
    "gzipped text": of_gzipped_text,
    "hdf": of_hdf,
    "pickle": of_pickle,
    "bytes": of_bytes,
}
TEXTS = ("text", "star", "json", "json lines")


def damage(random: Random, structure: str, content: bytes) -> Damaged:
    """Damage a file once, sometimes twice.

    Parameters
    ----------
    random : decides on everything.
    structure : what the file is made of, one of `STRUCTURES`.
    content : of the valid file.
    """
    chance = random.random()
    if chance < 0.12:
        return placed(random, content)
    if chance < 0.2 and structure in TEXTS:
        return of_encoding(random, content)
    if chance < 0.4:
        return of_bytes(random, content)
    what, damaged = STRUCTURES[structure](random, content)
    if isinstance(damaged, bytes) and random.random() < 0.1:
        more, damaged = of_bytes(random, damaged)
        what = f"{what}; {more}"
    return what, damaged
