"""Numbers for images: the same for an image in every list, and different for different images.

cryoSPARC joins and unites tables by `uid`. Ours is the first 64 bits of BLAKE2b over the file in which the image lies
(its real path, links followed), its number in it, and how often the list named it before; the last for particles that
a list holds several times with other poses (symmetry expansion). A project that was moved gives other numbers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Integer, Shaped

BYTES = 8


def image_uids(
    files: Sequence[str],
    file_id: Integer[np.ndarray, "images"],
    image_index: Integer[np.ndarray, "images"],
    occurrence: Integer[np.ndarray, "images"],
) -> Shaped[np.ndarray, "images"]:
    """Return the uid of each image, uint64.

    Parameters
    ----------
    files : stacks.
    file_id : index into `files`.
    image_index : 0-based place in that stack.
    occurrence : how often the list named the same image before.
    """
    begun = [hashlib.blake2b(os.fsencode(os.path.realpath(file)), digest_size=BYTES) for file in files]
    uids = np.zeros(len(file_id), np.uint64)
    for i, (file, index, times) in enumerate(zip(file_id, image_index, occurrence, strict=True)):
        digest = begun[file].copy()
        digest.update(b"\0%d\0%d" % (index, times))
        uids[i] = int.from_bytes(digest.digest(), "little")
    return uids


def text_uids(texts: Shaped[np.ndarray, "texts"]) -> Shaped[np.ndarray, "texts"]:
    """Return a number for each text, uint64: equal for equal ones, in every list."""
    known: dict[str, int] = {}
    for text in texts:
        if text not in known:
            digest = hashlib.blake2b(os.fsencode(text), digest_size=BYTES).digest()
            known[text] = int.from_bytes(digest, "little")
    return np.array([known[text] for text in texts], np.uint64)
