"""How the work on a set is shared and gone on with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import jax

import libhetero
from libhetero.configuration import declared_options, named, to_dict
from libhetero.pipelines.simulate import SimulateConfig


def begun_with(config: SimulateConfig) -> dict[str, Any]:
    """Return what must be the same to go on with a set: all that its bits may depend on."""
    values = to_dict(config)
    values["subsets"] = sorted(set(values["subsets"]))
    for name in ("folder", "threads", "processes", "share", "resume"):
        del values[name]
    if config.tilts is None:
        del values["tilts"], values["dose"]
    versions = {"libhetero": libhetero.__version__, "jax": jax.__version__}
    return {**values, **versions, "device": jax.default_backend()}


def flags_of(config: Any) -> dict[str, str]:
    """Return what a user calls each of the keys of `begun_with` that an option sets."""
    found = {}
    for field, _ in declared_options(config):
        called = named(config, field.name)
        if called.startswith("-"):
            found[field.name] = called
    return found


@contextlib.contextmanager
def gpu_to_share(processes: int) -> Iterator[None]:
    """Let JAX not take most of a GPU's memory when it is first used, if other processes need some.

    It does so by an environment variable, for the time of the call; a user's own stands.
    """
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    given = name in os.environ
    if processes > 1:
        os.environ.setdefault(name, "false")
    try:
        yield
    finally:
        if not given:
            os.environ.pop(name, None)
