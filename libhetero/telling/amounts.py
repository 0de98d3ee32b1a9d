"""Durations, sizes and rates as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as "3.21 s", "5 min 07 s" or "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def byte_size(count: float) -> str:
    """Return a number of bytes to four digits in the largest unit that leaves it above 1, up to GiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def pace(rate: float, unit: str, left: float) -> str:
    """Return what goes on at which rate, and for how long yet, such as "310 particles/s, 12 s left".

    Parameters
    ----------
    rate : a second.
    unit : of what, in the plural.
    left : seconds, told as whole ones.
    """
    each = f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
    return f"{each} {unit}/s, {duration(round(left))} left"
