"""Classes that CryoHype may begin with, of no particular molecules."""

import dataclasses

import numpy as np

from libhetero.models.hype.latent.class_search import BALL
from libhetero.models.hype.latent.classes import Classes, judged_against
from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.within import tables_of
from libhetero.models.hype.start import OVERSAMPLING, Start

RING, VOLUME_RING, CLASSES, RANK = 4.0, 6.0, 3, 2


def made_start(n: int, seed: int = 0) -> Start:
    """Return three classes in two directions, for a box of n pixels."""
    random = np.random.default_rng(seed)
    low, fine = FourierGrid(RING, 1.0, BALL), FourierGrid(VOLUME_RING, OVERSAMPLING[0], BALL)
    mean = random.normal(size=(CLASSES, RANK))
    covariance = np.broadcast_to(0.01 * np.eye(RANK), (CLASSES, RANK, RANK))
    told = judged_against(Classes(mean, covariance, np.array([0.5, 0.3, 0.2]), np.zeros(CLASSES)))
    parts = random.normal(size=(RANK + 1, fine.size, 2)).astype(np.float32)
    volumes = np.asarray(fine.unsmoothed(parts[..., 0] + 1j * parts[..., 1])).T
    return Start(
        ring=low.ring,
        oversampling=low.oversampling,
        table=random.normal(size=(low.size, 2 * (RANK + 1))).astype(np.float32),
        vectors=told.vectors,
        squares=told.squares,
        share=told.share,
        spread=0.1,
        noise=np.ones(n // 2 + 1, np.float32),
        place=random.normal(size=(CLASSES, RANK)).astype(np.float32),
        volume_ring=fine.ring,
        volume_oversampling=fine.oversampling,
        volume_scale=4.0,
        volumes=(np.stack([volumes.real, volumes.imag], axis=1) / 4).astype(np.float16),
    )


def moving_start(n: int, seed: int = 0) -> Start:
    """Return the same, of which the molecules 2 and 0 change, in two modes each; each class is a molecule."""
    random, start = np.random.default_rng(seed + 1), made_start(n, seed)
    modes = start.grid.confined(random.normal(size=(4, start.grid.size, 2)).astype(np.float32) @ np.array([1, 1j]))
    modes = np.asarray(modes).astype(np.complex64)
    volume = np.asarray(start.grid.confined(random.normal(size=(2, start.grid.size)).astype(np.complex64)))
    return dataclasses.replace(
        start,
        changing=np.array([2, 0]),
        within=tables_of(volume, modes.reshape(2, 2, -1).transpose(0, 2, 1)),
        modes=(np.stack([modes.real, modes.imag], axis=1).transpose(2, 1, 0) / 4).astype(np.float16),
        modes_ring=start.ring,
        modes_oversampling=start.oversampling,
        molecule=np.arange(CLASSES),
    )


def many_start(start: Start, seed: int = 0) -> Start:
    """Return a start as of many molecules: with what components leave of each of those that it has."""
    random, fine = np.random.default_rng(seed + 2), start.volume_grid
    parts = random.normal(size=(start.molecules, fine.size, 2)).astype(np.float32)
    left = np.asarray(fine.unsmoothed(parts[..., 0] + 1j * parts[..., 1])).T
    left = (np.stack([left.real, left.imag], axis=1) / 4).astype(np.float16)
    return dataclasses.replace(start, volumes=np.concatenate([start.volumes, left], axis=2))
