"""EMAN2 HDF stacks and maps: /MDF/images/N/image with attributes named EMAN.key on group N.

Strings are fixed-length, NUL-terminated ASCII, integers int32, Transforms compounds of 12 float32:
other encodings crash EMAN2 or are read as 0. Integer-compressed images hold
value = stored_rendermin + d (stored_rendermax - stored_rendermin) / (2^stored_renderbits - 1).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.paths import check_readable
from libhetero.io.stack import Images, missing_image

SUFFIXES = (".hdf", ".h5")
IMAGES = "MDF/images"
TRANSFORM = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
COMPRESSION_KEYS = (
    "stored_rendermin",
    "stored_rendermax",
    "stored_renderbits",
    "stored_truncated",
    "render_compress_level",
)


class HdfStack:
    """An EMAN2 stack on disk, read image by image; see `libhetero.io.stack.Stack`."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(check_readable(path))
        self._turn = threading.Lock()
        self._file: h5py.File | None = _open(self.path)
        images = self._file[IMAGES]
        numbers = [int(name) for name in images if name.isdigit()]
        if not numbers:
            raise DataError(f"{path}: no image in this EMAN2 stack; check the file.")
        highest = images.attrs.get("imageid_max", [max(numbers)])
        self.count = self.reach = int(np.ravel(highest)[0]) + 1
        self.available = len(numbers)
        first = images[str(min(numbers))]
        shape = _dataset(first, self.path, min(numbers)).shape
        self.shape, self.holds_volume = tuple(shape[-2:]), len(shape) == 3 and shape[0] > 1
        self.pixel_size = float(attribute(first, "apix_x") or 0.0)

    def read(self, index: int) -> Float[np.ndarray, "rows columns"]:
        """Return one image as float32, (rows, columns); threads take turns, as HDF5 must."""
        with self._turn:
            if self._file is None:
                self._file = _open(self.path)
            try:
                group = self._file[IMAGES].get(str(index))
                if group is None:
                    raise DataError(missing_image(self, index))
                data = read_image(group, self.path, index)
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{self.path}: image {index + 1} cannot be read ({' '.join(str(error).split())[:100]}); "
                    "expected a whole HDF5 file. Copy the stack again, then go on."
                ) from None
        return data[0] if data.ndim == 3 and data.shape[0] == 1 else data

    def read_run(self, first: int, images: Images) -> None:
        """Read the images `first`, `first` + 1, … into arrays (rows, columns)."""
        for index, image in enumerate(images, first):
            stored = self.read(index)
            if stored.shape != image.shape:
                raise DataError(
                    f"{self.path}: image {index + 1} is {stored.shape}; expected {image.shape}. "
                    f"Particles must be square and of one size in a batch."
                )
            image[:] = stored

    def close(self) -> None:
        """Close the file."""
        with self._turn:
            if self._file is not None:
                self._file.close()
                self._file = None


def _open(path: str | os.PathLike) -> h5py.File:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable HDF5 file ({reason}); copy it again.") from None
    if IMAGES not in file:
        file.close()
        raise DataError(f"{path}: no group /{IMAGES}; expected an EMAN2 .hdf image file.")
    return file


def _dataset(group: h5py.Group, path: str, index: int) -> h5py.Dataset:
    if "image" not in group:
        raise DataError(f"{path}: image {index} has a header but no pixels; the file is damaged.")
    return group["image"]


def read_image(group: h5py.Group, path: str, index: int) -> Float[np.ndarray, "*rows columns"]:
    """Return the pixels of one image group as float32, decompressed."""
    data = _dataset(group, path, index)[()].astype(np.float32)
    low, high, bits = (attribute(group, key) for key in COMPRESSION_KEYS[:3])
    if low is None or high is None or bits is None or bits <= 0:
        return data
    return data * np.float32((high - low) / (2.0**bits - 1)) + np.float32(low)


def attribute(group: h5py.Group, key: str) -> Any:
    """Return EMAN.key of an image group as int, float, str or array; None when absent.

    Transforms come as (3, 4) float64, booleans of older files ('T', 'F') as bool.
    """
    name = f"EMAN.{key}"
    if name not in group.attrs:
        return None
    value = group.attrs[name]
    if isinstance(value, bytes | np.bytes_):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    value = np.asarray(value)
    if value.dtype.names:
        return np.array([float(value.ravel()[0][n]) for n in value.dtype.names]).reshape(3, -1)
    if value.dtype == np.int8 and value.size == 1:
        return int(value.ravel()[0]) in (ord("T"), 1)
    return value.ravel()[0].item() if value.size == 1 else value


def read_headers(
    path: str | os.PathLike, indices: Iterable[int] | np.ndarray, keys: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return the attributes `keys` (those present) of some images of a stack."""
    headers = []
    with _open(check_readable(path)) as file:
        images = file[IMAGES]
        for index in indices:
            group = images.get(str(int(index)))
            values = {} if group is None else {key: attribute(group, key) for key in keys}
            headers.append({key: value for key, value in values.items() if value is not None})
    return headers


def all_attributes(path: str | os.PathLike, index: int) -> dict[str, Any]:
    """Return every attribute of one image, unprefixed, except those of its compression."""
    with _open(path) as file:
        group = file[IMAGES].get(str(index))
        if group is None:
            return {}
        keys = [name.removeprefix("EMAN.") for name in group.attrs]
        return {key: attribute(group, key) for key in keys if key not in COMPRESSION_KEYS}


def write_attribute(group: h5py.Group, key: str, value: Any) -> None:
    """Write EMAN.key in the encoding that EMAN2 reads.

    Parameters
    ----------
    group : image group.
    key : without the prefix.
    value : str, bool, int, float, (3, 4) Transform, or a one-axis array of numbers.
    """
    name = f"EMAN.{key}"
    if isinstance(value, str):
        _write_string(group, name, value)
        return
    value = np.asarray(value)
    if value.shape == (3, 4):
        record = np.array([tuple(np.float32(value).ravel())], TRANSFORM)
        group.attrs.create(name, record, shape=(1,), dtype=TRANSFORM)
        return
    whole = value.dtype.kind in "iub"
    group.attrs.create(name, value.ravel().astype(np.int32 if whole else np.float32))


def _write_string(group: h5py.Group, name: str, text: str) -> None:
    data = text.encode("ascii", "replace") + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(data))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    created = h5py.h5a.create(group.id, name.encode(), kind, space)
    created.write(np.array(data, dtype=f"S{len(data)}"), mtype=kind)


class HdfWriter:
    """Write an EMAN2 stack image by image; it takes its place when complete.

    Parameters
    ----------
    path : the .hdf file to make.
    pixel_size : Å, of the images whose attributes do not say otherwise.
    """

    def __init__(self, path: str | os.PathLike, pixel_size: float):
        self.path = Path(path)
        self._pixel_size = pixel_size
        self._count = 0

    def __enter__(self) -> HdfWriter:
        with contextlib.ExitStack() as resources:
            beside = resources.enter_context(replacing(self.path))
            self._file = resources.enter_context(h5py.File(beside, "w"))
            self._images = self._file.create_group(IMAGES)
            self._resources = resources.pop_all()
        return self

    def write(self, image: Float[np.ndarray, "*rows columns"], attributes: dict[str, Any] | None = None) -> None:
        """Append one image (y, x) or map (z, y, x) with its attributes (unprefixed)."""
        image = np.asarray(image, np.float32)
        group = self._images.create_group(str(self._count))
        group.create_dataset("image", data=image)
        depth, rows, columns = (1, *image.shape) if image.ndim == 2 else image.shape
        values = {f"apix_{axis}": float(self._pixel_size) for axis in "xyz"}
        values.update(attributes or {})
        values.update(nx=columns, ny=rows, nz=depth, is_complex=0, datatype=7)
        for key, value in values.items():
            write_attribute(group, key, value)
        self._count += 1

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is not None:
            return self._resources.__exit__(kind, error, trace)
        with self._resources:
            highest = np.array([self._count - 1], np.int32)
            self._images.attrs.create("imageid_max", highest)
            self._file.flush()
        return None


def read_map(path: str | os.PathLike) -> tuple[Float[np.ndarray, "z y x"], float]:
    """Return the first map of a file as float32 (z, y, x) and its pixel size in Å (0: unknown)."""
    with _open(check_readable(path)) as file:
        group = file[IMAGES].get("0")
        if group is None or _dataset(group, str(path), 0).ndim != 3:
            raise DataError(f"{path}: expected a 3-D map, found images; give a map.")
        return read_image(group, str(path), 0), float(attribute(group, "apix_x") or 0.0)


def write_map(
    path: str | os.PathLike,
    volume: Float[np.ndarray, "z y x"],
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a float32 map, (z, y, x) with voxels of `pixel_size` Å, the first at `origin` (x, y, z) Å."""
    attributes = {f"origin_{axis}": float(place) for axis, place in zip("xyz", origin, strict=True)}
    with HdfWriter(path, pixel_size) as writer:
        writer.write(volume, attributes if any(origin) else None)
