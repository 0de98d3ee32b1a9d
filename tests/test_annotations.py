"""The annotations of the package are checked in every test, and all of them can be."""

import dataclasses
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import libhetero
from libhetero.physics.rotations import euler_to_matrix
from libhetero.records import Pose


def test_a_wrong_shape_or_kind_is_refused() -> None:
    assert euler_to_matrix(jnp.zeros((5, 3))).shape == (5, 3, 3)
    for wrong in (jnp.zeros((5, 2)), jnp.zeros((5, 3), jnp.int32)):
        with pytest.raises(jaxtyping.TypeCheckError, match="angles"):
            euler_to_matrix(wrong)


def test_a_record_of_wrong_shapes_is_refused_but_jax_may_fill_one_with_anything() -> None:
    pose = Pose(rotation=np.eye(3)[None], shift=np.zeros((1, 2)))
    for change in ({"shift": np.zeros((1, 3))}, {"shift": np.zeros((2, 2))}, {"rotation": np.eye(3, dtype=int)[None]}):
        with pytest.raises(jaxtyping.TypeCheckError, match=next(iter(change))):
            dataclasses.replace(pose, **change)
    assert jax.tree.map(np.shape, pose).shift == (1, 2)


def _defined(name: str) -> Iterator[tuple[str, Any]]:
    """Yield the functions, classes and methods that a module defines, by name."""
    module = importlib.import_module(name)
    for holder, values in [(name, vars(module)), *((f"{name}.{key}", vars(kind)) for key, kind in _classes(module))]:
        for key, value in values.items():
            value = getattr(value, "fget", None) or getattr(value, "__func__", None) or inspect.unwrap(value)
            if getattr(value, "__module__", None) == name and (inspect.isfunction(value) or inspect.isclass(value)):
                yield f"{holder}.{key}", value


def _classes(module: Any) -> list[tuple[str, type]]:
    return [
        (key, kind) for key, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__
    ]


FOR_TYPE_CHECKERS_ALONE = {  # modules with names that only a type checker imports, and why
    "libhetero.models": "light at import",
    "libhetero.models.families": "light at import",
    "libhetero.models.gmm.decoder": "light at import",
    "libhetero.models.gmm.storage": "the model imports it",
    "libhetero.pipelines.refine": "light at import",
}
MODULES = sorted(found.name for found in pkgutil.walk_packages(libhetero.__path__, "libhetero."))


def test_every_annotation_can_be_resolved() -> None:
    """One that cannot, for its name is imported for type checkers alone, is not checked when a test runs."""
    unresolved = []
    for module in set(MODULES) - set(FOR_TYPE_CHECKERS_ALONE):
        for name, value in _defined(module):
            try:
                typing.get_type_hints(value, include_extras=True)
            except Exception as error:  # whatever an annotation raises
                unresolved.append(f"{name}: {error}")
    assert not unresolved, "\n".join(sorted(unresolved))
