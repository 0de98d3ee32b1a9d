"""Classes that CryoHype may begin with, of no particular molecules."""

import numpy as np

from libhetero.models.hype.latent.class_search import BALL
from libhetero.models.hype.latent.classes import Classes, judged_against
from libhetero.models.hype.latent.grid import FourierGrid
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
