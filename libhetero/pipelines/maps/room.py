"""Whether a map can be made in a box, told before images are read."""

from __future__ import annotations

from libhetero.files import require_memory
from libhetero.reconstruction.sums import check_box

BYTES = 500  # a voxel of the map, as measured: sums of both half-sets, oversampled, and what they are solved with
MOVING = 140  # the same of one that moves: where it lies, the Gaussians that say where it goes, what is read there
FINER = 200  # a pixel of each image at hand, which is read on a grid three times as fine


def require_room(n: int) -> None:
    """Refuse a map that memory cannot hold.

    Parameters
    ----------
    n : box size, voxels.

    Raises
    ------
    DataError : if the box is larger than any map may be.
    ConfigurationError : if there is not memory enough.
    """
    check_box(n)
    require_memory(BYTES * n**3, f"a map of {n} voxels to a side", "crop the images in Fourier space (--box)")


def require_room_to_move(n: int, share: float, batch_size: int) -> None:
    """Refuse a map of particles that move that memory cannot hold.

    Parameters
    ----------
    n : box size, voxels.
    share : of the voxels that move.
    batch_size : images inserted at once.

    Raises
    ------
    ConfigurationError : if there is not memory enough.
    """
    needed = (BYTES + MOVING * share) * n**3 + FINER * n**2 * batch_size
    what = f"--deform: a map of {n} voxels to a side, of which {100 * share:.0f} % move,"
    require_memory(needed, what, "crop the images in Fourier space (--box), or insert fewer at once (--batchsz)")
