"""Tell JAX that the records are pytrees, so that they pass through jit, vmap and grad."""

import dataclasses

import jax

from libhetero.records import Batch, CTFParams, Gaussians, Observation, Pose


def _register(record: type) -> None:
    names = [field.name for field in dataclasses.fields(record)]
    jax.tree_util.register_dataclass(record, data_fields=names, meta_fields=[])


for _record in (Pose, CTFParams, Observation, Gaussians, Batch):
    _register(_record)
