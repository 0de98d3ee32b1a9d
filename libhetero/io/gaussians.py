"""Gaussian models as EMAN2 text, `x y z amp sigma [group]`, and as .pdb for viewers.

    x = X / (n a)   y = -Y / (n a)   z = -Z / (n a)   amp = √A   sigma = 2π² (σ / n a)² / 0.001

with X, Y, Z and σ in Å, A linear in projected density, n the box size and a the pixel size in Å:
EMAN2 squares `amp` and multiplies Fourier pixel k by exp(-0.001 · sigma · k²). Numbers are read between any white space
and written between tabs, beside which e2gmm.py takes nothing where it is given a file in place of a threshold.
"""

from __future__ import annotations

import os

import numpy as np
from jaxtyping import Integer, Real

from libhetero.errors import DataError
from libhetero.files import replacing
from libhetero.io.tables import read_numbers
from libhetero.records import Gaussians

COLUMNS = "x y z amp sigma (EMAN2 Gaussian model)"
LARGEST = 1e30  # of numbers in Å, which single precision and their squares hold
EMAN2_WIDTH = 0.001 / (2 * np.pi**2)  # σ² in boxes for each unit of EMAN2's fifth column


def read_gaussians(path: str | os.PathLike, box_size: int, pixel_size: float) -> Gaussians:
    """Read a Gaussian model.

    Parameters
    ----------
    path : EMAN2 text file of five or six columns.
    box_size : pixels, of the particles it was made for.
    pixel_size : Å.

    Returns
    -------
    Gaussians of N: position (N, 3) Å, amplitude (N,), sigma (N,) Å, all float32.

    Raises
    ------
    DataError : if it is missing or is no such table of finite numbers, naming the line.
    """
    table = read_numbers(path, COLUMNS, least=5)
    length = box_size * pixel_size
    position = table[:, :3] * np.array([length, -length, -length])
    amplitude = table[:, 3] ** 2
    sigma = np.sqrt(np.abs(table[:, 4]) * EMAN2_WIDTH) * length
    lost = np.flatnonzero(~(np.abs(np.column_stack([position, amplitude, sigma])) < LARGEST).all(axis=1))
    if len(lost):
        raise DataError(f"{path}: Gaussian {lost[0] + 1} holds a number beyond all measure; expected {COLUMNS}.")
    return Gaussians(*(np.asarray(array, np.float32) for array in (position, amplitude, sigma)))


def write_gaussians(
    path: str | os.PathLike,
    gaussians: Gaussians,
    box_size: int,
    pixel_size: float,
    group: Integer[np.ndarray, "gaussians"] | None = None,
) -> None:
    """Write a Gaussian model that EMAN2 reads; negative amplitudes become 0.

    Parameters
    ----------
    path : text file to make.
    gaussians : N of them, Å.
    box_size : pixels.
    pixel_size : Å.
    group : written as a sixth column; None for five columns.
    """
    length = box_size * pixel_size
    position = np.asarray(gaussians.position, np.float64) / np.array([length, -length, -length])
    amplitude = np.sqrt(np.maximum(np.asarray(gaussians.amplitude, np.float64), 0.0))
    sigma = (np.asarray(gaussians.sigma, np.float64) / length) ** 2 / EMAN2_WIDTH
    columns = [position, amplitude[:, None], sigma[:, None]]
    formats = ["%.18e"] * 5
    if group is not None:
        columns.append(np.asarray(group)[:, None])
        formats.append("%d")
    with replacing(path) as beside:
        np.savetxt(beside, np.concatenate(columns, axis=1), fmt=formats, delimiter="\t")


def write_gaussians_pdb(
    path: str | os.PathLike,
    gaussians: Gaussians,
    b_factor: Real[np.ndarray, "gaussians"] | None = None,
    chain: Integer[np.ndarray, "gaussians"] | None = None,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> None:
    """Write a Gaussian model as pseudo-atoms for ChimeraX and the like.

    Parameters
    ----------
    path : .pdb to make.
    gaussians : N of them, Å; relative amplitude is written as occupancy.
    b_factor : any number to colour by; default 8π² σ².
    chain : 0 … 61, for instance a region; default one chain, A.
    origin : Å added to every position: the map's box centre (n // 2 · pixel size) lays it on a map.
    """
    position = np.asarray(gaussians.position, np.float64) + np.asarray(origin)
    amplitude = np.asarray(gaussians.amplitude, np.float64)
    occupancy = amplitude / max(float(np.abs(amplitude).max(initial=0.0)), 1e-30)
    if b_factor is None:
        b_factor = 8 * np.pi**2 * np.asarray(gaussians.sigma, np.float64) ** 2
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    chain = np.zeros(len(position), int) if chain is None else np.asarray(chain, int)
    if np.abs(position).max(initial=0.0) >= 1000:
        raise DataError(f"{path}: a Gaussian lies beyond 999 Å; the .pdb format cannot hold it.")
    with replacing(path) as beside, open(beside, "w", encoding="utf-8") as file:
        for i, (x, y, z) in enumerate(position):
            file.write(
                f"HETATM{(i + 1) % 100000:5d}  CA  GMM "
                f"{letters[chain[i] % 62]}{i % 9999 + 1:4d}    "
                f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy[i]:6.2f}{min(b_factor[i], 999.99):6.2f}"
                f"           C\n"
            )
        file.write("END\n")
