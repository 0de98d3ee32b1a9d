"""Soft masks one pixel at a time."""

import itertools
import math

import numpy as np


def edge(distance, radius, width):
    if distance <= radius:
        return 1.0
    if distance >= radius + width:
        return 0.0
    return 0.5 * (1 + math.cos(math.pi * (distance - radius) / width))


def soft_ball(n, dimensions, radius, width):
    result = np.zeros((n,) * dimensions)
    for place in itertools.product(range(n), repeat=dimensions):
        distance = math.sqrt(sum((p - n // 2) ** 2 for p in place))
        result[place] = edge(distance, radius, width)
    return result
