"""The implicit neural representation: a pure function from frequency to Fourier value.

    features = [sin 2πk·x_m, cos 2πk·x_m]     x_m fixed random points of real space
    h_1 = relu(W_1 features + b_1)
    h_l = relu(W_l h_{l-1} + b_l + h_{l-1})   hidden layers
    V(k) = W_out h + b_out

Weights are an argument: what the hypernetwork makes for one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from libhetero.models.precision import dot_general
from libhetero.physics.arrays import AnyArray
from libhetero.physics.pytrees import register_record
from libhetero.physics.rotations import HIGHEST
from libhetero.physics.trigonometry import cosine_sine


@register_record
@dataclass(frozen=True, eq=False)
class INRWeights:
    """Weights of one INR (or of a batch, with a leading axis on every array).

    Parameters
    ----------
    kernels : per layer (fan_out, fan_in).
    biases : per layer (fan_out,).
    place : of the volume that the INR adds to among those of classes (`start`); None for none.
    gain : of the INR by ring 0 … n // 2, where there is a place.
    """

    kernels: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]
    place: Float[Array, "..."] | None = None
    gain: Float[Array, "..."] | None = None


def inr_apply(
    weights: INRWeights,
    frequencies: Float[AnyArray, "points 3"],
    anchors: Float[AnyArray, "features 3"],
    precision: str = "float32",
) -> Float[Array, "points outputs"]:
    """Evaluate one INR.

    Parameters
    ----------
    weights : of one INR.
    frequencies : (x, y, z), cycles per pixel.
    anchors : the points x_m, pixels.
    precision : policy of the matrix products (`libhetero.models.precision`).
    """
    product = dot_general(precision)
    cosine, sine = cosine_sine(jnp.matmul(frequencies, anchors.T, precision=HIGHEST))
    hidden = jnp.concatenate([sine, cosine], axis=-1)
    last = len(weights.kernels) - 1
    for number, (kernel, bias) in enumerate(zip(weights.kernels, weights.biases, strict=True)):
        result = product(hidden, kernel, (((1,), (1,)), ((), ()))) + bias
        if number == last:
            return result
        hidden = jax.nn.relu(result if number == 0 else result + hidden)
    raise AssertionError("an INR has at least one layer")
