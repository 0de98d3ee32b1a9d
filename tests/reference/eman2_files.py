"""EMAN2's files read as strictly as EMAN2 takes them, by the plainest means and without libhetero.

What is asserted here is what EMAN2 2.99 needs of a file, or would mend by rewriting it:

- a list (.lst): ASCII, three header lines, then records of exactly the length that the third line states, each of
  number, stack and compact JSON with sorted keys; stacks are found from the current folder;
- a stack or map (.hdf): int32 and float attributes of shape (1,), text of fixed length, Transforms as twelve float32,
  float32 pixels, and `imageid_max` on the group of all images;
- Gaussians and latents as text, and `.eman2log.txt`, whose fields the project manager finds by their bytes.
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

CTF_FIELDS = {"ampcont", "apix", "background", "bfactor", "cs", "defocus", "dfang", "dfdiff", "dsbg", "snr", "voltage"}
HEADER = ("nx", "ny", "nz", "apix_x", "apix_y", "apix_z", "is_complex", "datatype")
TRANSFORM = [f"{row}{column}" for row in range(3) for column in range(4)]
LARGEST_FLOAT = 3.4e38
LOG_LINE = re.compile(
    rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\t"
    rb"(incomplete {9}|[ \d]{3}% {15}|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\t"
    rb"([ \d]+)/([ \d-]+)\t[^\t\n]+\t[^\t\n]+\n"
)


def read_list(path: str | Path) -> list[tuple[int, str, dict[str, Any]]]:
    """Return number, stack and JSON of every record; stacks are looked for from the current folder."""
    data = Path(path).read_bytes()
    assert data.isascii() and not re.search(rb"[\0\r]", data), path
    first, comment, third, body = data.split(b"\n", 3)
    assert first == b"#LSX", path
    assert comment.startswith(b"#") and not comment.startswith(b"#keys: ") and len(comment) < 1000, path
    assert b"parent=" not in comment, path
    assert re.fullmatch(rb"# [1-9]\d*", third), path
    length = int(third[2:])
    assert len(body) % length == 0, f"{path}: {len(body)} bytes are no records of {length}"
    lines = [body[start : start + length] for start in range(0, len(body), length)]
    for line in lines:
        assert line.endswith(b"\n") and line.count(b"\n") == 1, f"{path}: {line!r}"
    texts = [line.decode("ascii").rstrip() for line in lines]
    return [_record(text, str(path)) for text in texts]


def _record(text: str, path: str) -> tuple[int, str, dict[str, Any]]:
    fields = text.split("\t")
    assert len(fields) in (2, 3), f"{path}: {text[:80]}"
    number, stack = fields[:2]
    assert re.fullmatch(r"0|[1-9]\d*", number) and int(number) < 2**31, f"{path}: {text[:80]}"
    assert stack and not re.search(r"\s", stack), f"{path}: {stack!r} would be cut at its white space"
    assert int(number) < images_in(stack), f"{path}: {stack} has no image {number}"
    values = json.loads(fields[2], parse_constant=_no_number) if len(fields) == 3 else {}
    if len(fields) == 3:
        assert fields[2] == json.dumps(values, sort_keys=True, separators=(",", ":")), f"{path}: {fields[2][:80]}"
    for key, value in values.items():
        _check_value(value, f"{path}: {key}")
    return int(number), stack, values


def _no_number(text: str) -> NoReturn:
    raise AssertionError(f"{text} is no number of JSON")


def _check_value(value: Any, where: str) -> None:
    """A number, text, list of numbers or of texts, Transform or Ctf, which EMAN2 can put into an image's header."""
    if isinstance(value, dict):
        assert value.get("__class__") in ("Transform", "EMAN2Ctf"), where
        (_check_transform if value["__class__"] == "Transform" else _check_ctf)(value, where)
    elif isinstance(value, list):
        assert value and len({isinstance(one, str) for one in value}) == 1, where
        for one in value:
            assert isinstance(one, str) or _is_number(one), where
    else:
        assert isinstance(value, str) or _is_number(value), where


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -(2**31) <= value < 2**31 if isinstance(value, int) else abs(value) < LARGEST_FLOAT


def _check_transform(value: dict[str, Any], where: str) -> None:
    assert set(value) == {"__class__", "matrix"} and isinstance(value["matrix"], str), where
    _check_pose(np.array(json.loads(value["matrix"]), float), where)


def _check_pose(numbers: np.ndarray, where: str) -> None:
    """Twelve numbers, row by row: a proper rotation, and a shift in the plane."""
    assert numbers.shape == (12,) and np.isfinite(numbers).all(), where
    matrix = numbers.reshape(3, 4)
    rotation = matrix[:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4, err_msg=where)
    assert np.linalg.det(rotation) > 0 and matrix[2, 3] == 0, where


def _check_ctf(value: dict[str, Any], where: str) -> None:
    assert set(value) == CTF_FIELDS | {"__class__"}, where
    for name in CTF_FIELDS:
        numbers = value[name] if name in ("background", "snr") else [value[name]]
        assert isinstance(numbers, list) and all(map(_is_number, numbers)), f"{where}: {name}"
    assert value["apix"] > 0 and value["voltage"] > 0, where


def images_in(stack: str | Path) -> int:
    """Return how many images a stack has, by its header alone."""
    if Path(stack).suffix == ".hdf":
        with h5py.File(stack) as file:
            return int(file["MDF/images"].attrs["imageid_max"][0]) + 1
    with open(stack, "rb") as file:
        return struct.unpack("<3i", file.read(12))[2]


def read_hdf(path: str | Path) -> list[dict[str, Any]]:
    """Return the attributes of every image or map, without their prefix, and its pixels as `image`."""
    with h5py.File(path) as file:
        assert list(file) == ["MDF"] and list(file["MDF"]) == ["images"], path
        images = file["MDF/images"]
        highest = h5py.h5a.open(images.id, b"imageid_max")
        assert highest.dtype == np.dtype("<i4") and highest.shape == (1,), path
        count = int(images.attrs["imageid_max"][0]) + 1
        assert set(images) == {str(number) for number in range(count)}, path
        return [_image(images[str(number)], f"{path}: image {number}") for number in range(count)]


def _image(group: h5py.Group, where: str) -> dict[str, Any]:
    assert list(group) == ["image"], where
    values = {}
    for name in group.attrs:
        assert name.startswith("EMAN."), f"{where}: {name}"
        values[name.removeprefix("EMAN.")] = _attribute(group, name, f"{where}: {name}")
    assert set(HEADER) <= set(values) and not any(key.startswith("stored_") for key in values), where
    data = group["image"]
    assert data.dtype == np.dtype("<f4"), f"{where}: {data.dtype}"
    size = (values["nz"], values["ny"], values["nx"])
    assert data.shape == (size if data.ndim == 3 else size[1:]) and (data.ndim == 3 or size[0] == 1), where
    assert values["is_complex"] == 0 and values["datatype"] == 7, where
    assert all(values[f"apix_{axis}"] > 0 for axis in "xyz"), where
    assert np.isfinite(data[()]).all(), where
    return values | {"image": data[()]}


def _attribute(group: h5py.Group, name: str, where: str) -> Any:
    opened = h5py.h5a.open(group.id, name.encode())
    kind, shape = opened.get_type(), opened.shape
    if isinstance(kind, h5py.h5t.TypeStringID):
        assert not kind.is_variable_str(), f"{where}: text of variable length crashes EMAN2"
        assert kind.get_strpad() == h5py.h5t.STR_NULLTERM and kind.get_cset() == h5py.h5t.CSET_ASCII, where
        text = group.attrs[name]
        assert shape == () and text.isascii() and len(text) == kind.get_size() - 1, where
        text = text.decode() if isinstance(text, bytes) else text
        return _ctf_string(text, where) if name == "EMAN.ctf" else text
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        names = [kind.get_member_name(i).decode() for i in range(kind.get_nmembers())]
        assert names == TRANSFORM and kind.get_size() == 48 and shape == (1,), where
        numbers = np.array(group.attrs[name][0].tolist())
        _check_pose(numbers, where)
        return numbers.reshape(3, 4)
    assert len(shape) == 1 and shape[0] >= 1, where
    allowed = (np.dtype("<i4"), np.dtype("<f4")) + ((np.dtype("<f8"),) if shape == (1,) else ())
    assert opened.dtype in allowed, f"{where}: {opened.dtype} of shape {shape}"
    numbers = group.attrs[name]
    assert np.isfinite(numbers).all(), where
    return numbers[0].item() if shape == (1,) else numbers


def _ctf_string(text: str, where: str) -> str:
    """`E`, nine numbers, and two lists that begin with the count of their numbers."""
    assert text.startswith("E"), where
    *numbers, background, snr = text[1:].split(" ")
    assert len(numbers) == 9 and all(math.isfinite(float(number)) for number in numbers), where
    for curve in (background, snr):
        count, *values = curve.split(",")
        assert int(count) == len(values) and all(math.isfinite(float(value)) for value in values), where
    return text


def read_gaussians(path: str | Path) -> np.ndarray:
    """Return x y z amp sigma [group] of every Gaussian; the GUI of e2gmm takes tabs alone between numbers."""
    rows = _numbers(path, "\t")
    assert rows.shape[1] in (5, 6), path
    assert (np.abs(rows[:, :3]) <= 1).all() and (rows[:, 3:5] >= 0).all(), path
    assert rows.shape[1] == 5 or (rows[:, 5] == np.round(rows[:, 5])).all(), path
    return rows


def read_latents(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Return particle indices, which rise, and latents."""
    rows = _numbers(path, None)
    index = rows[:, 0]
    assert (index == np.round(index)).all() and index[0] >= 0 and (np.diff(index) > 0).all(), path
    return index.astype(int), rows[:, 1:]


def _numbers(path: str | Path, between: str | None) -> np.ndarray:
    """Return a table of finite numbers, in lines of one length of columns, without header."""
    data = Path(path).read_bytes()
    assert data.isascii() and data.endswith(b"\n") and b"\r" not in data and b"#" not in data, path
    rows = np.array([[float(cell) for cell in line.split(between)] for line in data.decode().splitlines()])
    assert rows.ndim == 2 and np.isfinite(rows).all(), path
    return rows


def read_log(path: str | Path) -> list[tuple[str, int, int]]:
    """Return status, process id and caller of every run of a `.eman2log.txt`."""
    lines = Path(path).read_bytes().splitlines(keepends=True)
    found = []
    for line in lines:
        line.decode("utf-8")
        match = LOG_LINE.fullmatch(line)
        assert match, line
        assert line[19:20] == line[39:40] == b"\t" and b"/" in line[40:53], line
        assert match[3].strip() != b"-1" or line[51:53] == b"-1", line
        found.append((match[1].decode().strip(), int(match[2]), int(match[3])))
    return found


def check_folder(folder: str | Path) -> set[str]:
    """Read every file of a folder, and of those in it, that EMAN2 would open; return their names."""
    readers = {
        r".*\.lst": read_list,
        r".*\.hdf": read_hdf,
        r"(gmm|model_\d\d|regions|region_\d\d_(class_\d\d|low|high))\.txt": read_gaussians,
        r"(mid_\d\d|mid_\d\d_sd|embed_(particles|gaussians))\.txt": read_latents,
        r"\.eman2log\.txt": read_log,
    }
    found = set()
    for path in sorted(Path(folder).rglob("*")):
        for pattern, read in readers.items():
            if path.is_file() and re.fullmatch(pattern, path.name):
                read(path)
                found.add(path.name)
    return found
