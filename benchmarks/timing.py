"""Times of compiled functions, taken in turn so that they see the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def measure(compiled: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least seconds of each function, called in turn after one call of each."""
    for call in compiled.values():
        jax.block_until_ready(call())
    least = dict.fromkeys(compiled, np.inf)
    for _ in range(repeats):
        for name, call in compiled.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def compiled_call(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Return a call of the function, compiled for these arguments."""
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: compiled(*arguments)
