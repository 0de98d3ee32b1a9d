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
    """Make a dataclass whose fields are arrays, or trees of arrays, a pytree; return it.

    A field with "static" in its metadata is no array and part of the structure.
    """
    names = [field.name for field in dataclasses.fields(record) if not field.metadata.get("static")]
    static = [field.name for field in dataclasses.fields(record) if field.metadata.get("static")]

    def structure(value: Any) -> tuple[Any, ...]:
        return tuple(getattr(value, name) for name in static)

    def leaves(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(value, name) for name in names), structure(value)

    def named_leaves(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple((GetAttrKey(name), getattr(value, name)) for name in names), structure(value)

    def filled(structure: tuple[Any, ...], values: Iterable[Any]) -> Any:
        value: Any = object.__new__(record)
        for name, leaf in zip((*names, *static), (*values, *structure), strict=True):
            object.__setattr__(value, name, leaf)
        return value

    jax.tree_util.register_pytree_with_keys(record, named_leaves, filled, leaves)
    return record


for _record in (Pose, CTFParams, Observation, Gaussians, Batch, PoseChange, Posterior):
    register_record(_record)
