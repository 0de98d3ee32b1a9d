"""Whether a map can be made in a box, told before images are read."""

from __future__ import annotations

from libhetero.files import require_memory
from libhetero.reconstruction.sums import check_box

BYTES = 500  # a voxel of the map, as measured: sums of both half-sets, oversampled, and what they are solved with


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
