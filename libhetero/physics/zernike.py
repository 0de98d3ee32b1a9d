"""Zernike polynomials of a frequency in 1/Å, in the order of RELION's lists; they are not scaled to a disc.

    Z(n, m) = R(n, |m|) cos mφ for m ≥ 0, R(n, |m|) sin |m|φ for m < 0
    R(n, m) = Σ_k (-1)^k (n - k)! / ( k! ((n + m)/2 - k)! ((n - m)/2 - k)! ) r^(n - 2k)

Even ones stand in the order (n, m) = (0, 0), (2, -2), (2, 0), (2, 2), (4, -4), …, odd ones in the order
(1, -1), (1, 1), (3, -3), (3, -1), (3, 1), (3, 3), …  As r^m exp(imφ) = (x + iy)^m, each is a polynomial in x
and y: no pixel needs an angle of its own, and r = 0 is a pixel like any other.

References
----------
Zivanov, Nakane & Scheres (2020), IUCrJ 7, 253, of the aberrations; the indices are those of RELION 3.1.
"""

from __future__ import annotations

from math import factorial
from typing import Any

from jaxtyping import Float

from libhetero.physics.arrays import AnyArray


def orders(count: int, odd: bool) -> list[tuple[int, int]]:
    """Return (n, m) of the first `count` odd or even polynomials."""
    found: list[tuple[int, int]] = []
    n = int(odd)
    while len(found) < count:
        found += [(n, m) for m in range(-n, n + 1, 2)]
        n += 2
    return found[:count]


def radial_coefficients(n: int, m: int) -> list[int]:
    """Return the factors of r^n, r^(n-2), … r^m in R(n, m), m ≥ 0."""
    return [
        (-1) ** k * factorial(n - k) // (factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k))
        for k in range((n - m) // 2 + 1)
    ]


def zernike_sum(
    coefficients: Float[AnyArray, "... terms"], x: Float[AnyArray, "..."], y: Float[AnyArray, "..."], odd: bool
) -> Float[AnyArray, "..."]:
    """Return Σ_i c_i Z_i(x, y).

    Parameters
    ----------
    coefficients : c, those of a pixel along the last axis; the other axes broadcast against those of x and y.
    x, y : 1/Å.
    odd : whether the Z_i are the odd ones, or the even ones.
    """
    square = x**2 + y**2
    powers: list[tuple[Any, Any]] = [(1.0, 0.0)]  # of x + iy
    total: Any = 0.0 * square
    for i, (n, m) in enumerate(orders(coefficients.shape[-1], odd)):
        while len(powers) <= abs(m):
            real, imaginary = powers[-1]
            powers.append((real * x - imaginary * y, real * y + imaginary * x))
        radial: Any = 0.0
        for factor in radial_coefficients(n, abs(m)):
            radial = radial * square + factor
        total = total + coefficients[..., i] * radial * powers[abs(m)][m < 0]
    return total
