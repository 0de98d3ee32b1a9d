"""A list of particles in a few letters, by which a table of classes says which list its rows are of.

Two things are told. First a digest: sixteen digits of the SHA-256 of the names of the stacks without their folders,
and of stack and image of each row. It stays when a project moves, and when poses, CTF or pixel size are refined. Then,
since stacks of many projects have the same names, how large the images are, and twelve sums of the particles' mean
defocus (Å) with signs of their own, divided by the root of their number: what a refinement of the CTF changes in them
is small beside what another set changes. They are numbers with a tolerance, and no digest, because programs round
defocus each in its way. Lists without a CTF, or all of one defocus, are told apart by names, rows and box alone. Poses
are left out: any refinement may change them.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from libhetero.records import ParticleSet

SUMS = 12
SAME_SUM = 500.0  # Å, of half of the sums: as much as a change of the defocus by 750 Å, particle by particle
LONGEST = 400  # letters


def list_digest(particles: ParticleSet) -> str:
    """Return a few words that are those of this list of particles, wherever its stacks lie; see `is_of_list`."""
    ctf = particles.ctf
    sums = [] if ctf is None else _signed_sums((np.asarray(ctf.defocus_u) + np.asarray(ctf.defocus_v)) / 2)
    box = int(np.max(particles.box_size, initial=0))
    images = images_digest(particles.files, particles.file_id, particles.image_index)
    return " ".join([images, str(box), *(f"{value:.0f}" for value in sums)])


def images_digest(
    files: Sequence[str], file_id: Integer[np.ndarray, "particles"], image_index: Integer[np.ndarray, "particles"]
) -> str:
    """Return the first of these words, which is that of the images alone: of their stacks, and of the place of each."""
    digest = hashlib.sha256()
    _, first, place = np.unique(file_id, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    for row in np.sort(first):
        digest.update(os.fsencode(os.path.basename(files[int(file_id[row])])) + b"\0")
    digest.update(np.ascontiguousarray(rank[place], np.int64).tobytes())
    digest.update(np.ascontiguousarray(image_index, np.int64).tobytes())
    return digest.hexdigest()[:16]


def is_of_list(told: str, digest: str) -> bool:
    """Return whether what a table tells of its list is true of the list with this digest.

    What only one of the two tells, as defocus, is not compared.
    """
    then, now = told.split(), digest.split()
    if then[:1] != now[:1] or (len(then) > 1 and len(now) > 1 and then[1] != now[1]):
        return False
    try:
        changes = [abs(float(one) - float(other)) for one, other in zip(then[2:], now[2:], strict=False)]
    except ValueError:  # what stands there is none of ours
        return False
    return not changes or float(np.median(changes)) <= SAME_SUM


def _signed_sums(values: Float[np.ndarray, "particles"]) -> list[float]:
    """Return sums of values with signs that are the same in every list, divided by the root of their number."""
    count = len(values)
    signs = (hashlib.shake_128(b"%d" % number).digest(count // 8 + 1) for number in range(SUMS))
    bits = (np.unpackbits(np.frombuffer(text, np.uint8))[:count] for text in signs)
    return [float(np.sum(np.where(bit, values, -values), dtype=np.float64)) / math.sqrt(max(count, 1)) for bit in bits]
