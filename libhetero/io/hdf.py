"""EMAN2 HDF stacks and maps: /MDF/images/N/image with attributes named EMAN.key on group N.

Strings are fixed-length, NUL-terminated ASCII, integers int32, Transforms compounds of 12 float32:
other encodings crash EMAN2 or are read as 0. Integer-compressed images hold
value = stored_rendermin + d (stored_rendermax - stored_rendermin) / (2^stored_renderbits - 1).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import check_readable, first_line, replacing
from libhetero.io.image_header import KEYS, check_header
from libhetero.io.memory import check_promised
from libhetero.io.stack import Images, missing_image

logger = logging.getLogger(__name__)

SUFFIXES = (".hdf", ".h5")
NUMBER = re.compile("0|[1-9][0-9]{0,9}")  # an image's name
LONGEST_EDGE = 2**16  # pixels
MOST_COMPRESSED = 1100  # deflate, the one way EMAN2 packs, makes at most 1032 bytes of one
LARGEST_CHUNK = 2**20  # bytes, of which an image may fill a part
SMALL = 2**20  # bytes, for which no size of a file need be asked
MOST_BITS = 32
LARGEST_VALUE = 1e30  # of a pixel, far within float32
MOST_VALUES = 2**20  # of an attribute
MOST_COUNTED = 10**10  # particles of a map
ATTRIBUTE_KINDS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING, h5py.h5t.COMPOUND, h5py.h5t.ENUM)
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
        self._file: h5py.File | None = None
        self._held: h5py.Group | None = None
        try:
            self._look()
        except DataError:
            self.close()
            raise

    def _look(self) -> None:
        """Learn how many images there are, and of which shape and pixel size the first one is."""
        with _told(self.path):
            images = self._images()
            numbers = [int(name) for name in images if NUMBER.fullmatch(name)]
            if not numbers:
                raise DataError(f"{self.path}: no image in this EMAN2 stack; check the file.")
            lowest, highest = min(numbers), max(numbers)
            self.count = max(_claimed(images, self.path), highest + 1)
            self.reach, self.available = highest + 1, len(numbers)
            first = _group(images, lowest, self.path)
            shape = _dataset(first, self.path, lowest).shape
            self.shape, self.holds_volume = tuple(shape[-2:]), len(shape) == 3 and shape[0] > 1
            self.looks_like_map = self.holds_volume
            header = check_header(_values(first, ("apix_x",)), f"{self.path}: image {lowest + 1}")
            self.pixel_size = float(header.get("apix_x", 0.0))

    def missing(self) -> int | None:
        """Return the first image that the stack should hold and does not; None if it holds all."""
        if self.available == self.count:
            return None
        names = set(self._images())
        return next(number for number in range(self.available + 1) if str(number) not in names)

    def _images(self) -> h5py.Group:
        """Return the group of all images of the open file; it is opened when needed."""
        if self._held is None:
            self._file = _open(self.path)
            self._held = _images(self._file, self.path)
        return self._held

    def read(self, index: int) -> Float[np.ndarray, "rows columns"]:
        """Return one image as float32, (rows, columns); threads take turns, as HDF5 must."""
        with self._turn, _told(self.path, index):
            group = _group(self._images(), index, self.path)
            if group is None:
                raise DataError(missing_image(self, index))
            data = read_image(group, self.path, index, maps=False)
        return data[0] if data.ndim == 3 else data

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
                self._file = self._held = None


def is_hdf(path: str | os.PathLike) -> bool:
    """Return whether a file is an EMAN2 .hdf by its suffix, in whichever case."""
    return str(path).lower().endswith(SUFFIXES)


@contextlib.contextmanager
def _told(path: str, index: int | None = None) -> Iterator[None]:
    """Turn what HDF5 says of a damaged file, or of one that is not as EMAN2 makes them, into one line."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        where = path if index is None else f"{path}: image {index + 1}"
        reason = " ".join(str(error).split())[:100]
        raise DataError(
            f"{where} cannot be read ({reason}); expected a whole HDF5 file. Copy the stack again, then go on."
        ) from None


def _open(path: str | os.PathLike) -> h5py.File:
    try:
        file = h5py.File(path, "r")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = first_line(error)
        raise DataError(f"{path}: not a readable HDF5 file ({reason}); copy it again.") from None
    try:
        with _told(str(path)):
            _images(file, str(path))
    except DataError:
        file.close()
        raise
    return file


def _images(file: h5py.File, path: str) -> h5py.Group:
    """Return the group of all images."""
    group = file
    for name in IMAGES.split("/"):
        group = _member(group, name, h5py.Group, path)
        if group is None:
            raise DataError(f"{path}: no group /{IMAGES}; expected an EMAN2 .hdf image file.")
    return group


def _member(group: h5py.Group, name: str, kind: type, where: str) -> Any:
    """Return a member of a group that lies in it, of the kind expected; None if there is none.

    A link by name is refused before it is followed: it may lead into any other file.
    """
    links, key = group.id.links, name.encode()
    if not links.exists(key):
        return None
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise DataError(f"{where}: {name} is a link to somewhere else; expected it in the file. Copy the images out.")
    member = group[name]
    if not isinstance(member, kind):
        found = type(member).__name__.lower()
        raise DataError(f"{where}: {name} is a {found}; expected a {kind.__name__.lower()}, as EMAN2 writes it.")
    return member


def _group(images: h5py.Group, index: int, path: str) -> Any:
    return _member(images, str(index), h5py.Group, path)


def _claimed(images: h5py.Group, path: str) -> int:
    """Return how many images the stack says it has; 0 where it does not say."""
    value = _stored(images, "imageid_max")
    if value is None:
        return 0
    numbers = np.ravel(value)
    if numbers.dtype.kind not in "iu" or len(numbers) != 1:
        raise DataError(f"{path}: imageid_max is {str(value)[:40]!r}; expected one whole number, the last image's.")
    return int(numbers[0]) + 1


def _dataset(group: h5py.Group, path: str, index: int) -> h5py.Dataset:
    """Return the pixels of an image, not yet read: numbers on two or three axes that the file really holds."""
    where = f"{path}: image {index + 1}"
    data = _member(group, "image", h5py.Dataset, where)
    if data is None:
        raise DataError(f"{where} has a header but no pixels; the file is damaged.")
    kind, shape, plist = data.dtype, data.shape, data.id.get_create_plist()
    layout = plist.get_layout()
    if layout == h5py.h5d.VIRTUAL or plist.get_external_count():
        raise DataError(f"{where}: its pixels lie in other files; expected them in this one. Copy the images out.")
    if kind.kind not in "iuf":
        raise DataError(f"{where}: its pixels are of type {kind}; expected numbers.")
    if shape is None or len(shape) not in (2, 3) or not all(1 <= edge <= LONGEST_EDGE for edge in shape):
        raise DataError(f"{where}: its pixels are an array of shape {shape}; expected an image or a map.")
    size = math.prod(shape) * kind.itemsize
    check_promised(size, where)
    most = stored = data.id.get_storage_size()
    if layout == h5py.h5d.CHUNKED:
        most = MOST_COMPRESSED * stored
        size = max(size, math.prod(plist.get_chunk()) * kind.itemsize - LARGEST_CHUNK)
    elif stored > SMALL:
        most = min(stored, os.path.getsize(path))
    if size > most:
        raise DataError(
            f"{where} is said to be of shape {shape}, but only {stored} bytes of it are there; copy it again."
        )
    return data


def _image_shape(data: h5py.Dataset, path: str, index: int) -> tuple[int, int]:
    """Return rows and columns of an image; a map is none."""
    shape = data.shape
    if len(shape) == 3 and shape[0] > 1:
        raise DataError(
            f"{path}: image {index + 1} is a map of {shape} voxels; expected an image. Particles in three dimensions "
            "(subtomograms) cannot be used; give a stack of their images."
        )
    return shape[-2:]


def read_image(group: h5py.Group, path: str, index: int, maps: bool = True) -> Float[np.ndarray, "*rows columns"]:
    """Return the pixels of one image group as float32, decompressed; without `maps` a map is refused."""
    stored = _dataset(group, path, index)
    if not maps:
        _image_shape(stored, path, index)
    data = stored[()].astype(np.float32)
    found = [attribute(group, key) for key in COMPRESSION_KEYS[:3]]
    if None in found:
        return data
    if (
        not all(isinstance(value, int | float) and abs(value) <= LARGEST_VALUE for value in found)
        or found[2] > MOST_BITS
    ):
        raise DataError(
            f"{path}: image {index + 1}: {', '.join(COMPRESSION_KEYS[:3])} are {str(found)[:60]}; expected two numbers "
            f"and at most {MOST_BITS} bits. Write the stack again with EMAN2."
        )
    low, high, bits = found
    if bits <= 0:
        return data
    return data * np.float32((high - low) / (2.0**bits - 1)) + np.float32(low)


def _stored(group: h5py.Group, name: str) -> Any:
    """Return an attribute as HDF5 holds it, of a type and a size that EMAN2 could have written; None when absent.

    Through HDF5's own calls, which take a fifth of the time: a stack has a dozen attributes an image.
    """
    key = name.encode()
    if not h5py.h5a.exists(group.id, key):
        return None
    opened = h5py.h5a.open(group.id, key)
    kind, space = opened.get_type().get_class(), opened.get_space()
    if kind not in ATTRIBUTE_KINDS or space.get_simple_extent_type() == h5py.h5s.NULL:
        raise DataError(f"{_place(group)}: {name} is of a type that EMAN2 does not write; expected a number or text.")
    if space.get_simple_extent_npoints() > MOST_VALUES:
        raise DataError(f"{_place(group)}: {name} has {opened.shape} values; expected at most {MOST_VALUES}.")
    if kind not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT):
        return group.attrs[name]
    values = np.empty(opened.shape, opened.dtype)
    opened.read(values)
    return values


def _place(group: h5py.Group) -> str:
    """Return file and image of a group, for messages."""
    name = str(group.name).rpartition("/")[2]
    return f"{group.file.filename}: " + (f"image {int(name) + 1}" if NUMBER.fullmatch(name) else name)


def attribute(group: h5py.Group, key: str) -> Any:
    """Return EMAN.key of an image group as int, float, str or array; None when absent.

    Transforms come as (3, 4) float64, booleans of older files ('T', 'F') as bool.

    Raises
    ------
    DataError : for a value of a type that EMAN2 does not write.
    """
    value = _stored(group, f"EMAN.{key}")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | np.bytes_):
        return value.decode("utf-8", "surrogateescape")
    value = np.asarray(value)
    if value.dtype.names:
        numbers = [value.ravel()[0][name] for name in value.dtype.names]
        if value.size != 1 or len(numbers) != 12 or not all(np.isreal(number) for number in numbers):
            raise DataError(f"{_place(group)}: {key} is a record of {len(numbers)} values; expected a Transform's 12.")
        return np.array(numbers, np.float64).reshape(3, 4)
    if value.dtype.kind not in "iufb":
        raise DataError(f"{_place(group)}: {key} is of type {value.dtype}; expected a number or text.")
    if value.dtype == np.int8 and value.size == 1:
        return int(value.ravel()[0]) in (ord("T"), 1)
    return value.ravel()[0].item() if value.size == 1 else value


def _values(group: h5py.Group, keys: Iterable[str]) -> dict[str, Any]:
    """Return those of the attributes `keys` that an image has."""
    values = {key: attribute(group, key) for key in keys}
    return {key: value for key, value in values.items() if value is not None}


def read_headers(
    path: str | os.PathLike, indices: Iterable[int] | np.ndarray, keys: tuple[str, ...] = KEYS
) -> list[dict[str, Any]]:
    """Return declared attributes (`libhetero.io.image_header`) of some images, all of one shape.

    Raises
    ------
    DataError : for an attribute that is not what it should be, an image of another shape, or a map.
    """
    headers: list[dict[str, Any]] = []
    first: tuple[int, tuple[int, int]] | None = None
    path = str(check_readable(path))
    with _open(path) as file:
        images = _images(file, path)
        for index in map(int, indices):
            with _told(path, index):
                group = _group(images, index, path)
                if group is None:
                    headers.append({})
                    continue
                shape = _image_shape(_dataset(group, path, index), path, index)
                if first is None:
                    first = index, shape
                if shape != first[1]:
                    raise DataError(
                        f"{path}: image {index + 1} is {shape}, image {first[0] + 1} {first[1]}; expected one size. "
                        "Clip them to one, or list those of each size by themselves."
                    )
                headers.append(check_header(_values(group, keys), f"{path}: image {index + 1}"))
    return headers


def all_attributes(path: str | os.PathLike, index: int) -> dict[str, Any]:
    """Return every attribute of one image that EMAN2 could have written, unprefixed, but those of its compression."""
    found = {}
    with _open(path) as file, _told(str(path), index):
        group = _group(_images(file, str(path)), index, str(path))
        names = [] if group is None else [name for name in group.attrs if name.startswith("EMAN.")]
        for key in (name.removeprefix("EMAN.") for name in names):
            try:
                found[key] = attribute(group, key)
            except DataError as error:
                logger.warning("%s It is left out.", error)
    return {key: value for key, value in found.items() if key not in COMPRESSION_KEYS}


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
    kind: type = np.float32
    if value.dtype.kind in "iub":
        fits = value.size == 0 or (value.min() >= -(2**31) and value.max() < 2**31)
        kind = np.int32 if fits else np.float64  # EMAN2 reads an int64 as 0
    group.attrs.create(name, value.ravel().astype(kind))


def _write_string(group: h5py.Group, name: str, text: str) -> None:
    data = text.partition("\0")[0].encode("utf-8", "surrogateescape") + b"\0"
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
    path = str(check_readable(path))
    with _open(path) as file, _told(path):
        group = _group(_images(file, path), 0, path)
        if group is None or _dataset(group, path, 0).ndim != 3:
            raise DataError(f"{path}: expected a 3-D map, found images; give a map.")
        header = check_header(_values(group, ("apix_x",)), f"{path}: the map")
        return read_image(group, path, 0), float(header.get("apix_x", 0.0))


def particles_in_map(path: str | os.PathLike) -> int | None:
    """Return EMAN2's ptcl_repr of the first map of a file: the particles it was made of, None where it says none."""
    path = str(check_readable(path))
    with _open(path) as file, _told(path):
        group = _group(_images(file, path), 0, path)
        count = None if group is None else _values(group, ("ptcl_repr",)).get("ptcl_repr")
    return count if isinstance(count, int) and 0 < count <= MOST_COUNTED else None


def write_map(
    path: str | os.PathLike,
    volume: Float[np.ndarray, "z y x"],
    pixel_size: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    particles: int | None = None,
) -> None:
    """Write a float32 map, (z, y, x) with voxels of `pixel_size` Å, the first at `origin` (x, y, z) Å.

    The number of particles that it was made of, where given, is EMAN2's ptcl_repr.
    """
    places = {f"origin_{axis}": float(place) for axis, place in zip("xyz", origin, strict=True)}
    attributes: dict[str, Any] = places if any(origin) else {}
    if particles is not None:
        attributes["ptcl_repr"] = int(particles)
    with HdfWriter(path, pixel_size) as writer:
        writer.write(volume, attributes or None)
