"""What of a model goes into its run folder besides parameters and configuration, as plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.decoder.topology import Level
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.records import Gaussians

if TYPE_CHECKING:
    from libhetero.models.gmm.model import GmmModel

LEVEL = tuple(Level.__dataclass_fields__)


def to_arrays(model: GmmModel) -> dict[str, np.ndarray]:
    """Return the neutral mixture, hierarchy, subspace and statistics of a model."""
    arrays = {
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
    }
    if model.subspace is not None:
        arrays |= {"subspace_mean": model.subspace.mean, "subspace_modes": model.subspace.modes}
    for number, level in enumerate(model.levels):
        arrays |= {f"level_{number}_{name}": getattr(level, name) for name in LEVEL}
    return {name: np.asarray(array) for name, array in arrays.items()}


def fields_of(config: GmmConfig, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the fields of a model that `to_arrays` has stored."""
    count = int(arrays["level_count"])
    subspace = None
    if config.encoder == "posterior":
        layout = Layout.of(config.vary).linear
        subspace = Subspace(layout, arrays["subspace_mean"], arrays["subspace_modes"])
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
    }
