"""An on-disk cache of prepared images: read, decoded, cropped and normalised once for many epochs.

One file for each way of preparing one set of particles, named by a fingerprint of what its images depend
on: stacks (path, size, time of change), image numbers, contrast, normalisation, deviation, crop, and the
CTF where images are phase-flipped or have odd aberrations. It is a float32 .mrcs, in the storage order of the
particles; images are real, as the models' encoders take them, which is as many numbers as their half plane but
for 2 in n.

    particles_FINGERPRINT.mrcs    complete: it appears by renaming, once it lies on the disk
    particles_FINGERPRINT.part    being filled; it can be gone on with after any interruption
    particles_FINGERPRINT.json    how many images lie on the disk, and which are not finite (zeros)
    particles_FINGERPRINT.lock    held by the process that fills; others wait
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool, Float

from libhetero.configuration import check_options, internal, read_document, to_dict, write_json
from libhetero.configuration.limits import MOST_PARTICLES
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import flush_folder_to_disk, flush_to_disk, lock_file, require_space, writing
from libhetero.io import ImageReader
from libhetero.io.mrc_header import HEADER_SIZE, make_header
from libhetero.physics.observation import has_odd_part
from libhetero.records import ParticleSet
from libhetero.telling import byte_size
from libhetero.telling.progress import tracked
from libhetero.training.bad_images import BadImages
from libhetero.training.feed import ParticleFeed, prefetch, reader_threads
from libhetero.training.order import storage_order

LOGGER = logging.getLogger(__name__)
LAYOUT = 1  # of these files
BLOCK = 256  # images prepared at a time
SECONDS_BETWEEN_RECORDS = 10.0
SECONDS_BETWEEN_LOOKS = 1.0
WITHOUT_SPACE = "name another folder with --cache, crop with --box, or leave --cache out"
ON_FULL_DISK = (
    "free some and run again, which goes on with the cache from there, or remove this file and leave --cache out"
)


@dataclass(frozen=True)
class CacheRecord:
    """What particles_FINGERPRINT.json says: how many images lie on the disk, and the places of those not finite."""

    images: int = internal(help="on the disk", least=0, most=MOST_PARTICLES)
    bad: tuple[int, ...] = internal((), "not finite", least=0, most=MOST_PARTICLES)

    def __post_init__(self) -> None:
        check_options(self)


class ImageCache:
    """Images of a complete cache, by place in the particle set; see `libhetero.training.feed.Prepared`.

    Parameters
    ----------
    path : the .mrcs file.
    particles : the set it was made from.
    box_size : of the prepared images, pixels.
    bad : counts images that were not finite; None refuses the first.
    """

    def __init__(self, path: Path, particles: ParticleSet, box_size: int, bad: BadImages | None) -> None:
        count = len(particles)
        order = storage_order(particles.file_id, particles.image_index)
        place = np.empty(count, np.int64)
        place[order] = np.arange(count)
        self._bad = BadImages(particles) if bad is None else bad
        self._finite = np.ones(count, bool)
        self._finite[order[list(_read_record(path.with_suffix(".json"), count).bad)]] = False
        self._reader = ImageReader(
            ParticleSet(
                files=(str(path),),
                file_id=np.zeros(count, np.int64),
                image_index=place,
                box_size=np.full(count, box_size),
                pixel_size=particles.pixel_size,
            )
        )

    def read(self, index: np.ndarray) -> tuple[Float[np.ndarray, "count m m"], Bool[np.ndarray, " count"]]:
        """Return images as `ParticleFeed.prepared` makes them, and which are finite."""
        finite = self._finite[index]
        self._bad.add(np.asarray(index)[~finite])
        return self._reader.read(index), finite


def cached(feed: ParticleFeed, folder: str | os.PathLike | None) -> ParticleFeed:
    """Return the feed with its images from the cache in a folder, which is filled first if need be.

    Parameters
    ----------
    folder : made if there is none; None returns the feed as it is.

    Raises
    ------
    DataError : if there is too little space, or an image cannot be read or written.
    """
    if folder is None:
        return feed
    path = cache_path(feed, folder)
    with contextlib.ExitStack() as held:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context(lock_file(path.with_suffix(".lock")))
            if not path.exists() and not lock.take():
                LOGGER.info("%s: another process fills it; waiting", path)
                while not lock.take():
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        if not path.exists():
            _fill(feed, path, "" if lock.works else f".{socket.gethostname()}.{os.getpid()}")
    return _opened(feed, path)


def if_cached(feed: ParticleFeed, folder: str | os.PathLike | None) -> ParticleFeed:
    """Return the feed with its images from a cache that is complete, else the feed as it is."""
    if folder is None:
        return feed
    path = cache_path(feed, folder)
    return _opened(feed, path) if path.exists() else feed


def _opened(feed: ParticleFeed, path: Path) -> ParticleFeed:
    LOGGER.info("images come from the cache %s", path)
    cache = ImageCache(path, feed.particles, feed.box_size, feed.bad)
    return dataclasses.replace(feed, cache=cache)


def cache_path(feed: ParticleFeed, folder: str | os.PathLike) -> Path:
    """Return where the prepared images of a feed lie in a folder of caches.

    Raises
    ------
    DataError : when one of the stacks is missing.
    """
    particles, digest = feed.particles, hashlib.sha256()
    said = {
        "layout": LAYOUT,
        "preprocess": to_dict(feed.config),
        "box_size": particles.uniform_box_size(),
        "phase_flipped": bool(particles.phase_flipped),
        "files": [_state(path) for path in particles.files],
    }
    arrays = [particles.file_id, particles.image_index]
    _, ctf = particles.poses_and_ctfs()
    if particles.phase_flipped or has_odd_part(ctf):
        said["pixel_size"] = particles.uniform_pixel_size()
        arrays += ctf.columns().values()
    digest.update(json.dumps(said, sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return Path(folder) / f"particles_{digest.hexdigest()[:16]}.mrcs"


def _state(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be found for the cache ({error.strerror}); put the stack back.") from None
    return os.path.abspath(path), found.st_size, found.st_mtime_ns


def _fill(feed: ParticleFeed, path: Path, own: str = "") -> None:
    """Prepare the images that are missing, in storage order, and let the file take its place.

    Parameters
    ----------
    own : part of the names of unfinished files, where several processes may fill at once for want of locks.
    """
    part, record = path.with_suffix(f"{own}.part"), path.with_suffix(f"{own}.json")
    particles, m = feed.particles, feed.box_size
    done, bad = _recorded(part, record, 4 * m * m)
    what = f"caching {len(feed)} images of {m} × {m} pixels"
    needed = (len(feed) - done) * 4 * m * m
    require_space(path.parent, needed, what, WITHOUT_SPACE)
    LOGGER.info("%s in %s: %s", what, path, byte_size(needed))
    if done:
        LOGGER.info("%s: %d images are there; going on", path, done)
    order = storage_order(particles.file_id, particles.image_index)
    with writing(part, ON_FULL_DISK), open(part, "r+b" if done else "wb") as file:
        file.truncate(HEADER_SIZE + done * 4 * m * m)
        file.write(make_header((len(feed), m, m), feed.pixel_size, volume=False).tobytes())
        file.seek(0, os.SEEK_END)
        recorded = time.monotonic()
        for images, finite in _prepared_blocks(feed, order[done:]):
            file.write(images.data)
            bad += (done + np.flatnonzero(~finite)).tolist()
            done += len(images)
            if time.monotonic() - recorded >= SECONDS_BETWEEN_RECORDS:
                _record(file, record, done, bad)
                recorded = time.monotonic()
        _record(file, record, done, bad)
        os.replace(record, path.with_suffix(".json"))
        os.replace(part, path)
        flush_folder_to_disk(path.parent)


def _prepared_blocks(feed: ParticleFeed, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images at `order` a block at a time, telling how far they are."""
    blocks = (order[start : start + BLOCK] for start in range(0, len(order), BLOCK))
    with contextlib.closing(prefetch(feed.prepared, blocks, threads=reader_threads())) as prepared:
        yield from tracked(prepared, len(order), "filling the cache", size=lambda block: len(block[1]))


def _recorded(part: Path, record: Path, image_size: int) -> tuple[int, list[int]]:
    """Return how many images of a file being filled lie on the disk, and which of them are not finite."""
    if not (part.exists() and record.exists()):
        return 0, []
    said = _read_record(record)
    whole = part.stat().st_size >= HEADER_SIZE + said.images * image_size
    return (said.images, list(said.bad)) if whole else (0, [])


def _read_record(path: Path, count: int | None = None) -> CacheRecord:
    """Read what a cache says of itself, of `count` images where it is complete.

    Raises
    ------
    ConfigurationError : if it does not, or of other images than it has.
    """
    said = read_document(path, CacheRecord)
    if (count is not None and said.images != count) or max(said.bad, default=-1) >= said.images:
        raise ConfigurationError(f"{path}: says other images than there are; remove it and {path.stem}.*, beside it.")
    return said


def _record(file: BinaryIO, record: Path, done: int, bad: list[int]) -> None:
    """Say how many images there are, once they lie on the disk."""
    file.flush()
    flush_to_disk(file.name)
    write_json(record, {"images": done, "bad": bad})
