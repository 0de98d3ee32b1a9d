"""Lowest, highest, mean and deviation of pixels that come block by block, for the header of a stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelStatistics:
    """What is known of some pixels.

    Parameters
    ----------
    count : pixels.
    low, high : lowest and highest value.
    total, squares : sums of the values and of their squares, taken in float64.
    """

    count: int = 0
    low: float = np.inf
    high: float = -np.inf
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, pixels: np.ndarray) -> PixelStatistics:
        """Return the statistics of an array, of any shape."""
        if pixels.size == 0:
            return cls()
        return cls(
            count=pixels.size,
            low=float(pixels.min()),
            high=float(pixels.max()),
            total=float(pixels.sum(dtype=np.float64)),
            squares=float(np.square(pixels, dtype=np.float64).sum()),
        )

    def __add__(self, other: PixelStatistics) -> PixelStatistics:
        return PixelStatistics(
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            self.total + other.total,
            self.squares + other.squares,
        )

    def put_into(self, header: np.ndarray) -> None:
        """Set dmin, dmax, dmean and rms of an MRC header; without pixels it stays as it is."""
        if self.count == 0:
            return
        mean = self.total / self.count
        header["dmin"], header["dmax"], header["dmean"] = self.low, self.high, mean
        header["rms"] = np.sqrt(max(self.squares / self.count - mean**2, 0.0))
