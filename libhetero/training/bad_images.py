"""Images with NaN or infinite pixels: left out, counted, and too many of them end the run.

Such an image becomes zeros, which every model can encode, and its particle has weight 0, so that it
changes neither loss nor statistics. A particle counts once, however often it is met. Each process of
several counts the particles that it reads itself.
"""

from __future__ import annotations

import logging
import threading

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.errors import DataError
from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)
NAMED = 10  # warnings that name an image; the rest are summed up


class BadImages:
    """The particles met so far whose images are not finite; several threads may add to it.

    Parameters
    ----------
    particles : the set that places refer to.
    most : how many are left out before the next one is an error; 0 refuses the first.
    """

    def __init__(self, particles: ParticleSet, most: int = 0) -> None:
        self._particles, self._most = particles, most
        self._places: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._places)

    def places(self) -> Int[np.ndarray, "bad"]:
        """Return the places of the particles found, in rising order."""
        with self._lock:
            return np.array(sorted(self._places), np.int64)

    def without_limit(self) -> None:
        """Leave out any further ones: after training, which other processes have seen the whole of."""
        self._most = len(self._particles)

    def screen(self, images: Float[np.ndarray, "batch n n"], index: np.ndarray) -> Bool[np.ndarray, " batch"]:
        """Set images that are not finite to zero, count them, and return which images are finite.

        Parameters
        ----------
        images : changed in place.
        index : (batch,) places of their particles.

        Raises
        ------
        DataError : beyond `most` particles.
        """
        finite = np.ones(len(images), bool)
        with np.errstate(invalid="ignore"):  # of infinity less infinity
            total = images.sum(dtype=np.float64)
        if not np.isfinite(total):
            finite = np.isfinite(images).all(axis=(1, 2))
            images[~finite] = 0
            self.add(np.asarray(index)[~finite])
        return finite

    def add(self, places: Int[np.ndarray, "found"]) -> None:
        """Count particles whose images are not finite.

        Raises
        ------
        DataError : beyond `most` particles.
        """
        with self._lock:
            for place in map(int, places):
                if place in self._places:
                    continue
                if len(self._places) >= self._most:
                    raise DataError(self._too_many(place))
                self._places.add(place)
                self._warn(place)

    def _warn(self, place: int) -> None:
        count = len(self._places)
        if count <= NAMED:
            LOGGER.warning(
                "%s has pixels that are not finite (NaN or infinity) and is left out (%d of at most %d)",
                self._name(place),
                count,
                self._most,
            )
        elif count % (5 * NAMED) == 0:
            LOGGER.warning("%d images with pixels that are not finite are left out so far", count)

    def _too_many(self, place: int) -> str:
        said = f"{self._name(place)} has pixels that are not finite (NaN or infinity)"
        remedy = "Remove such particles from the list or write the stack again; --maxbad N leaves out up to N."
        if not self._most:
            return f"{said}; expected finite pixels. {remedy}"
        return f"{said}, and so have {self._most} before; expected at most {self._most}. {remedy}"

    def _name(self, place: int) -> str:
        path = self._particles.files[self._particles.file_id[place]]
        return f"{path}: image {self._particles.image_index[place] + 1}"
