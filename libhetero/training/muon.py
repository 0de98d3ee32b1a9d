"""Muon: steps of matrices are orthogonal, all other parameters take Adam's (with Nesterov's momentum).

For a matrix with momentum M = 0.95 M + G (Nesterov's), Newton-Schulz iteration replaces the singular
values of 0.95 M + G by about 1, so that every direction that the gradients agree on moves as far as the
strongest:

    W ← W - r √(max(1, fan_out / fan_in)) U Vᵀ,     U S Vᵀ = 0.95 M + G,     r = `RATE` × the learning rate

A hypernetwork's gradient is nearly of rank 1 (measured in docs/history.md): what all images have in common
is far above what tells them apart, and Adam, which bounds entries and not directions, follows the former.

References
----------
Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; the width's factor as in
`optax.contrib.muon`, which this is.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
import optax.contrib

RATE = 10.0  # an orthogonal step's entries are smaller than Adam's: 1/√width against 1
LEAST_SIDE = 8  # a matrix with a shorter side is left to Adam
MATRICES = {"kernel": (-2, -1), "base": (-1, -2)}  # names of weights, with their axes in and out


def muon(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Return Muon for matrices and Adam for the rest.

    Parameters
    ----------
    schedule : Adam's learning rate by step; matrices move by `RATE` times that.
    """
    return optax.contrib.muon(
        lambda step: RATE * schedule(step), adam_learning_rate=schedule, muon_weight_dimension_numbers=matrices
    )


def matrices(params: Any) -> Any:
    """Return the axes in and out of every leaf that is a matrix to be multiplied with, None for others.

    Those named "kernel" (Flax's weights of a layer) or "base…" (a hypernetwork's), with two axes, or three
    where the first counts layers alike, and no side below `LEAST_SIDE`.
    """

    def axes(
        path: tuple[Any, ...], leaf: jax.Array | jax.ShapeDtypeStruct
    ) -> optax.contrib.MuonDimensionNumbers | None:
        name = str(getattr(path[-1], "key", "")).split("_")[0]
        if name not in MATRICES or leaf.ndim not in (2, 3) or min(leaf.shape[-2:]) < LEAST_SIDE:
            return None
        across, out = (leaf.ndim + axis for axis in MATRICES[name])
        return optax.contrib.MuonDimensionNumbers(across, out)

    return jax.tree_util.tree_map_with_path(axes, params)
