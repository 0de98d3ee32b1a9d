"""What of a model goes into its run folder besides parameters and configuration, as plain arrays."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from libhetero.configuration import ArraySchema
from libhetero.errors import DataError
from libhetero.models.contrast import ContrastPrior
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.topology import Level
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.records import Gaussians

if TYPE_CHECKING:
    from libhetero.models.gmm.model import GmmModel

KINDS = "ap"  # of a direction, by number
LEVEL = tuple(Level.__dataclass_fields__)
NUMBER, PLACES = ArraySchema("float", least=0), "gaussians"
SCHEMA = {
    "position": ArraySchema("float", (PLACES, 3)),
    "amplitude": ArraySchema("float", (PLACES,)),
    "sigma": ArraySchema("float", (PLACES,), least=0),
    "feature_scale": ArraySchema("float", (5,), least=0),
    "image_scale": NUMBER,
    "ring_weight": ArraySchema("float", ("pixels", "half"), least=0),
    "box_size": ArraySchema("int", least=2, below=2**15),
    "pixel_size": ArraySchema("float", least=1e-3, below=1e5),
    "level_count": ArraySchema("int", least=0, below=100),
    "edges": ArraySchema("int", ("edges", 2), least=0, below=PLACES),
    "mobile": ArraySchema("bool", (PLACES,), optional=True),
    "contrast": ArraySchema("float", (4,), least=0, optional=True),
    "turning": ArraySchema("bool", optional=True),
    "averaged": ArraySchema("bool", optional=True),
    "explainable": ArraySchema("float", least=0, optional=True),
}


def to_arrays(model: GmmModel) -> dict[str, np.ndarray]:
    """Return the neutral mixture, hierarchy, subspace and statistics of a model."""
    contrast = model.contrast
    arrays: dict[str, Any] = {
        "contrast": (contrast.mean, contrast.spread, contrast.junk, contrast.stray),
        "position": model.neutral.position,
        "amplitude": model.neutral.amplitude,
        "sigma": model.neutral.sigma,
        "feature_scale": model.feature_scale,
        "image_scale": model.image_scale,
        "ring_weight": model.ring_weight,
        "box_size": model.box_size,
        "pixel_size": model.pixel_size,
        "level_count": len(model.levels),
        "edges": model.edges,
        "mobile": model.mobile,
        "turning": model.turning,
        "averaged": model.averaged,
        "explainable": model.explainable,
    }
    if model.subspace is not None:
        found = model.subspace
        arrays |= {
            "subspace_mean": found.mean,
            "subspace_modes": found.modes,
            "subspace_kinds": np.array([KINDS.index(kind) for kind in found.kinds], np.int32),
            "subspace_p": found.p,
            "subspace_strength": found.strength,
            "subspace_nuisances": dataclasses.astuple(found.nuisances),
        }
    for number, level in enumerate(model.levels):
        arrays |= {f"level_{number}_{name}": getattr(level, name) for name in LEVEL}
    return {name: np.asarray(array) for name, array in arrays.items()}


def schema_of(config: GmmConfig, names: Iterable[str]) -> dict[str, ArraySchema]:
    """Return what `to_arrays` stores of a model of this configuration.

    Parameters
    ----------
    names : of the arrays that there are, which tell the number of levels.
    """
    schema, levels = dict(SCHEMA), sorted(filter(re.compile(r"level_\d+_points").fullmatch, names))
    if config.encoder == "posterior":
        columns = len(config.layout.linear.kinds)
        schema["subspace_mean"] = ArraySchema("float", (PLACES, columns))
        rank = config.latent_size
        schema["subspace_modes"] = ArraySchema("float", (PLACES, columns, rank))
        schema["subspace_kinds"] = ArraySchema("int", (rank,), least=0, below=len(KINDS), optional=True)
        schema["subspace_p"] = ArraySchema("float", (rank,), least=0, optional=True)
        schema["subspace_strength"] = ArraySchema("float", (rank,), least=0, optional=True)
        schema["subspace_nuisances"] = ArraySchema("float", (3,), least=0, optional=True)
    for i in range(len(levels)):
        points, near = f"points of level {i}", f"neighbours of level {i}"
        finer = PLACES if i == len(levels) - 1 else f"points of level {i + 1}"
        level = {
            "points": ArraySchema("float", (points, 3)),
            "neighbours": ArraySchema("int", (points, near), least=0, below=points),
            "listed_by": ArraySchema("int", (points, f"listed at level {i}"), least=0),
            "offsets": ArraySchema("float", (points, near, 3)),
            "to_next": ArraySchema("float", (finer, points)),
            "to_gaussians": ArraySchema("float", (PLACES, points)),
        }
        schema |= {f"level_{i}_{name}": level[name] for name in LEVEL}
    return schema


def fields_of(config: GmmConfig, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a model that `to_arrays` has stored.

    Raises
    ------
    DataError : if they are not of one box, or levels are missing.
    """
    count, box = int(arrays["level_count"]), int(arrays["box_size"])
    if arrays["ring_weight"].shape != (box, box // 2 + 1):
        raise DataError(f"ring_weight: expected ({box}, {box // 2 + 1}), got {arrays['ring_weight'].shape}")
    if f"level_{count - 1}_points" not in arrays and count or f"level_{count}_points" in arrays:
        raise DataError(f"level_count: is {count}; expected the number of levels that there are")
    subspace = None
    if config.encoder == "posterior":
        layout = config.layout.linear
        subspace = _subspace(layout, config.latent_size, arrays)
    return {
        "config": config,
        "neutral": Gaussians(arrays["position"], arrays["amplitude"], arrays["sigma"]),
        "levels": tuple(Level(**{name: arrays[f"level_{i}_{name}"] for name in LEVEL}) for i in range(count)),
        "feature_scale": arrays["feature_scale"],
        "image_scale": float(arrays["image_scale"]),
        "ring_weight": arrays["ring_weight"],
        "box_size": int(arrays["box_size"]),
        "pixel_size": float(arrays["pixel_size"]),
        "subspace": subspace,
        "edges": arrays["edges"],
        "mobile": arrays.get("mobile"),
        "contrast": ContrastPrior(*map(float, arrays["contrast"])) if "contrast" in arrays else ContrastPrior(),
        "explainable": float(arrays.get("explainable", 0.0)),
        # Runs from before modes could turn, or changes were averaged, are decoded as they were trained.
        "turning": bool(arrays.get("turning", False)),
        "averaged": bool(arrays.get("averaged", False)),
    }


def _subspace(layout: Layout, rank: int, arrays: dict[str, np.ndarray]) -> Subspace:
    """Return a stored subspace; runs from before directions had p-values know the modes alone."""
    kinds = "".join(KINDS[kind] for kind in arrays.get("subspace_kinds", ()))
    unknown = np.zeros(rank)
    return Subspace(
        layout,
        arrays["subspace_mean"],
        arrays["subspace_modes"],
        kinds or layout.letters[-1] * rank,
        arrays.get("subspace_p", unknown),
        arrays.get("subspace_strength", unknown),
        Nuisances(*map(float, arrays.get("subspace_nuisances", np.zeros(3)))),
    )
