"""Whole sets rendered into memory, to be looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import jax
import numpy as np

from libhetero.simulate.complex import Complex, generate_member
from libhetero.simulate.simulation import Block, SignalSums, Simulation


def made_mixture(seed: int, structures: int, diameter: float) -> tuple[Complex, ...]:
    """Return the complexes of a mixture; `diameter` in Å."""
    return tuple(generate_member(seed, k, diameter) for k in range(structures))


def signal_variance(simulation: Simulation) -> float:
    """Return the variance over all pixels of noise-free images with CTF, before cropping."""
    return sum(map(simulation.signal_sums, range(simulation.structures)), SignalSums()).variance


def noise_deviation(simulation: Simulation) -> float:
    """Return the standard deviation of the noise that the SNR asks for."""
    return simulation.noise_deviation(signal_variance(simulation))


def rendered(simulation: Simulation, deviation: float, block_size: int = 256, threads: int = 1) -> Iterator[Block]:
    """Render all particles in the blocks of `Simulation.work(block_size)`."""
    for k, blocks in groupby(simulation.work(block_size), key=lambda block: block[0]):
        bodies = simulation.prepared(k)
        for _, index in blocks:
            yield _joined(list(simulation.render(k, bodies, index, deviation, threads)))


def collect(simulation: Simulation) -> Block:
    """Render a whole set with its noise, in the order of the particles."""
    block = _joined(list(rendered(simulation, noise_deviation(simulation))))
    order = np.argsort(block.index)
    return Block(*jax.tree.map(lambda leaf: leaf[order], _fields(block)))


def _joined(parts: list[Block]) -> Block:
    return Block(*jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(_fields, parts)))


def _fields(block: Block) -> tuple[Any, ...]:
    return tuple(getattr(block, field.name) for field in dataclasses.fields(block))
