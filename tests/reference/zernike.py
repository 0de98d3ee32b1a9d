"""Zernike polynomials in polar coordinates, one term and one pixel at a time."""

import math


def polynomial(n, m, x, y):
    """Z of degree n and order m: cosines for m ≥ 0, sines for m < 0."""
    r, angle, k = math.hypot(x, y), math.atan2(y, x), abs(m)
    radial = 0.0
    for s in range((n - k) // 2 + 1):
        below = math.factorial(s) * math.factorial((n + k) // 2 - s) * math.factorial((n - k) // 2 - s)
        radial += (-1) ** s * math.factorial(n - s) / below * r ** (n - 2 * s)
    return radial * (math.cos(k * angle) if m >= 0 else math.sin(k * angle))


def even_phase(coefficients, x, y):
    """Term i: k = floor √i, n = 2k, m = 2 (i - k² - k)."""
    total = 0.0
    for i, c in enumerate([] if coefficients is None else coefficients):
        k = math.isqrt(i)
        total += c * polynomial(2 * k, 2 * (i - k * k - k), x, y)
    return total


def odd_phase(coefficients, x, y):
    """Term i: k = floor (√(1 + 4i) - 1) / 2, n = 2k + 1, m = 2 (i - k² - k) - n."""
    total = 0.0
    for i, c in enumerate([] if coefficients is None else coefficients):
        k = (math.isqrt(1 + 4 * i) - 1) // 2
        n = 2 * k + 1
        total += c * polynomial(n, 2 * (i - k * k - k) - n, x, y)
    return total
