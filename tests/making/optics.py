"""CTFs: one maker, in which every number may be given by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from libhetero.records import CTFParams


def optics(
    defocus: ArrayLike, astigmatism: ArrayLike = 300.0, dtype: type = np.float32, **others: ArrayLike
) -> CTFParams:
    """Return CTFs of one microscope, a number each where `defocus` is a list and a float where it is a float.

    Parameters
    ----------
    defocus : the larger defocus in Å.
    astigmatism : by how much the other is smaller, in Å.
    others : any other field of `CTFParams`.
    """
    values = {
        "defocus_u": defocus,
        "defocus_v": np.asarray(defocus) - astigmatism,
        "defocus_angle": 0.4,
        "voltage": 300.0,
        "spherical_aberration": 2.7,
        "amplitude_contrast": 0.1,
        "phase_shift": 0.0,
        "b_factor": 0.0,
        "scale": 1.0,
    } | others
    if np.ndim(defocus) == 0:
        return CTFParams(**{name: float(value) for name, value in values.items()})
    shape = np.shape(defocus)
    return CTFParams(**{name: np.array(np.broadcast_to(value, shape), dtype) for name, value in values.items()})


def two_microscopes(**others: ArrayLike) -> CTFParams:
    """Return one CTF of each of two microscopes."""
    own = {"defocus_angle": [0, 1], "voltage": [300, 200], "spherical_aberration": [2.7, 2.0]}
    return optics([1e4, 2e4], 0.0, amplitude_contrast=[0.1, 0.07], **own, **others)


def defocus_series(count: int) -> CTFParams:
    """Return CTFs with defocus 1 to 2 µm."""
    return optics(np.linspace(10000, 20000, count, dtype=np.float32))


def varied_optics(count: int) -> CTFParams:
    """Return CTFs with astigmatism, a phase shift, a B-factor and a scale."""
    rng = np.random.default_rng(8)
    defocus = rng.uniform(8000, 25000, count)
    return optics(
        defocus,
        rng.uniform(0, 500, count),
        defocus_angle=rng.uniform(-1.5, 1.5, count),
        phase_shift=rng.uniform(0, 2.5, count),
        b_factor=rng.uniform(0, 80, count),
        scale=rng.uniform(0.8, 1.2, count),
    )


def aberrations(count: int) -> dict[str, np.ndarray]:
    """Return fields of `CTFParams` beyond the CTF's own numbers, strong ones, of two optics groups in turn."""
    group = np.arange(count) % 2
    both = {
        "magnification": [[[1.05, 0.03], [-0.02, 0.96]], [[0.97, 0.0], [0.01, 1.02]]],
        "beam_tilt": [[2.5e-3, -1.5e-3], [0, 1e-3]],
        "even_zernike": [[0.2, 30, -20, 15, 200], [0, 10, 0, -5, 0]],
        "odd_zernike": [[1, -2, 300, 0, 0, 250], [0, 0, -90, 0, 0, 20]],
    }
    return {name: np.array(values, np.float32)[group] for name, values in both.items()}
