"""Compilation that is quick rather than thorough: the models here are tiny, and many."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def quick_compilation() -> Iterator[None]:
    """Leave most optimisations of XLA out while these tests run, and nothing for others of what was compiled so."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
