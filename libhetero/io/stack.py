"""What a stack of images is to those who read from it, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Images = Sequence[Float[np.ndarray, "rows columns"]] | Float[np.ndarray, "count rows columns"]


@runtime_checkable
class Stack(Protocol):
    """A stack on disk, read image by image.

    Attributes
    ----------
    path : of the file.
    count : images that its header promises.
    available : images that it really holds.
    reach : images that may be asked for have numbers below it.
    shape : (rows, columns), pixels.
    pixel_size : Å; 0 when the header holds none.
    holds_volume : whether its header says that it is a map, or several, not images.
    looks_like_map : whether its header may be that of a map: a cube. Then a list that numbers its images decides.
    """

    path: str
    count: int
    available: int
    reach: int
    shape: tuple[int, int]
    pixel_size: float
    holds_volume: bool
    looks_like_map: bool

    def read(self, index: int) -> Float[np.ndarray, "rows columns"]:
        """Return one image as float32."""

    def read_run(self, first: int, images: Images) -> None:
        """Read the images `first`, `first` + 1, … into float32 arrays (rows, columns)."""

    def close(self) -> None:
        """Close the file; it is opened again when needed."""


def missing_image(stack: Stack, index: int) -> str:
    """Say why a stack has no image `index` (0-based): the file is cut short, or never had it."""
    if index < stack.count:
        return (
            f"{stack.path}: truncated: the header says {stack.count} images of {stack.shape}, the "
            f"file holds {stack.available}; image {index + 1} is missing. Copy the stack again."
        )
    return (
        f"{stack.path}: image {index + 1} is asked for, the stack holds {stack.count}; "
        f"list and stack do not belong together. Give the stack that the list was made from."
    )
