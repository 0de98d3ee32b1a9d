"""Floating-point operations of the matrix products in a JAX function, counted in its program.

A product of (m, k) with (k, n) counts 2mkn, a convolution as the product it is, and the body of a scan
as often as it runs, which XLA's own cost analysis counts once. Element-wise work and Fourier transforms
are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def product_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Return the operations of one call of `function`; of the arguments only shapes and dtypes matter."""
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            total += _product(equation)
        if equation.primitive.name == "conv_general_dilated":
            total += _convolution(equation)
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(_count(inner) for inner in _inner(equation.params))
    return total


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * depth * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(kernel) // outputs * math.prod(equation.outvars[0].aval.shape)


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """Yield the programs that an equation calls."""
    for name, value in params.items():
        if name in ("fwd_jaxpr_thunk", "jvp_jaxpr_fun", "bwd"):  # how to differentiate, not called here
            continue
        for item in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                yield inner
