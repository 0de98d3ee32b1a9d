"""Tell JAX that the records are pytrees, so that they pass through jit, vmap and grad.

JAX fills a pytree with whatever a transformation puts in the place of its arrays: shapes, shardings, axes, `None`.
So its leaves are set beside the constructor, whose annotations say what a record of data holds.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax
from jax.tree_util import GetAttrKey

from libhetero.records import Batch, CTFParams, Gaussians, Observation, Pose, PoseChange, Posterior

Record = TypeVar("Record", bound=type)


def register_record(record: Record) -> Record:
    """Make a dataclass whose fields are arrays, or trees of arrays, a pytree; return it."""
    names = [field.name for field in dataclasses.fields(record)]

    def leaves(value: Any) -> tuple[tuple[Any, ...], None]:
        return tuple(getattr(value, name) for name in names), None

    def named_leaves(value: Any) -> tuple[tuple[Any, ...], None]:
        return tuple((GetAttrKey(name), getattr(value, name)) for name in names), None

    def filled(_: None, values: Iterable[Any]) -> Any:
        value: Any = object.__new__(record)
        for name, leaf in zip(names, values, strict=True):
            object.__setattr__(value, name, leaf)
        return value

    jax.tree_util.register_pytree_with_keys(record, named_leaves, filled, leaves)
    return record


for _record in (Pose, CTFParams, Observation, Gaussians, Batch, PoseChange, Posterior):
    register_record(_record)
