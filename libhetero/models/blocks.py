"""Particles block by block, on all devices of this process.

What is computed for each particle apart (normal equations, the likelihoods of its classes) needs no program that is
divided over devices: blocks of particles are given to the devices in turn, several at a time, and what comes back is
put in order on the host. A block has the same rows whatever the devices are, and sums are added in the order of the
blocks, so that the answer does not depend on how many devices or cores there are: to the last bit, where a device
computes the same program alike each time, as processors do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Shaped

from libhetero.cores import in_threads

AHEAD = 2  # blocks at a time of an accelerator: one is computed while another comes or goes

Made = TypeVar("Made")


def in_lanes(
    work: Callable[[int, jax.Device], Made], count: int, most: int = AHEAD, on_cores: int = 1
) -> Iterator[Made]:
    """Yield what `work` returns for 0, 1, … count - 1 and the device that it is to use; accelerators work side by side.

    The first call is made alone, so that what it compiles for the first device is compiled once.

    Parameters
    ----------
    work, count : as of `cores.in_threads`.
    most : calls at a time for each accelerator, as memory allows it.
    on_cores : calls at a time where the devices are processors. XLA shares factors of matrices out to threads that all
        programs have in common, and waits for them: two programs with such factors at a time wait for ever (JAX 0.10.2,
        two cores). So more than 1 is only for programs without any.
    """
    devices = jax.local_devices()
    lanes = on_cores if devices[0].platform == "cpu" else min(AHEAD, most) * len(devices)
    return in_threads(lambda number: work(number, devices[number % len(devices)]), count, lanes, first_alone=True)


def over_blocks(
    function: Callable[..., Sequence[Any]],
    rows: Sequence[Shaped[Any, "particles *_"]],
    shared: Sequence[Any],
    size: int,
    **static: Any,
) -> tuple[np.ndarray, ...]:
    """Return function(*rows, *shared, **static), computed block by block, on the host.

    Parameters
    ----------
    function : compiled; returns arrays with a row for each particle.
    rows : arrays with a row for each particle; those that fill up the last block are 0.
    shared : what every block needs: arrays, or trees of them.
    size : particles of a block.
    static : further arguments.
    """
    count = len(rows[0])
    found: tuple[np.ndarray, ...] = ()
    for number, made in enumerate(_blocks(function, rows, shared, size, static)):
        found = found or tuple(np.empty((count, *one.shape[1:]), one.dtype) for one in made)
        for whole, one in zip(found, made, strict=True):
            part = whole[number * size : (number + 1) * size]
            part[:] = one[: len(part)]
    return found


def summed_over_blocks(
    function: Callable[..., Sequence[Any]],
    rows: Sequence[Shaped[Any, "particles *_"]],
    shared: Sequence[Any],
    size: int,
    **static: Any,
) -> list[np.ndarray]:
    """Return the sums over all blocks of function(*rows, *shared, **static), in double precision, on the host.

    Parameters
    ----------
    function : compiled; returns sums over the particles of a block, to which rows of 0 add nothing.
    rows, shared, size, static : as of `over_blocks`.
    """
    return added(_blocks(function, rows, shared, size, static))


def added(blocks: Iterator[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Return the sums of what is found of each block, in double precision, each let go of as it is added."""
    total = [one.astype(np.float64) for one in next(blocks)]
    for made in blocks:
        for whole, one in zip(total, made, strict=True):
            whole += one
    return total


def _blocks(
    function: Callable[..., Sequence[Any]],
    rows: Sequence[Any],
    shared: Sequence[Any],
    size: int,
    static: dict[str, Any],
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield what the function returns of each block, the last filled up; of no particles, of a block of zeros."""
    whole = [np.asarray(one) for one in rows]
    size = min(size, 1 << max(len(whole[0]) - 1, 0).bit_length())  # of few sizes, for each of which one is compiled
    count = max(-(-len(whole[0]) // size), 1)
    held = {device: jax.device_put(tuple(shared), device) for device in jax.local_devices()[:count]}

    def made(number: int, device: jax.Device) -> tuple[np.ndarray, ...]:
        block = [one[number * size : (number + 1) * size] for one in whole]
        missing = size - len(block[0])
        if missing:
            block = [np.pad(one, [(0, missing)] + [(0, 0)] * (one.ndim - 1)) for one in block]
        found = function(*jax.device_put(block, device), *held[device], **static)
        return tuple(np.asarray(one) for one in found)

    yield from in_lanes(made, count)
