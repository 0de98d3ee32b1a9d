"""Density of atomic models: electron form factors as sums of Gaussians.

    V(k) = Σ_e f_e(|k|) Σ_{i of element e} exp(-B_i |k|² / 4) exp(-2πi k·x_i)
    f_e(s) = Σ_j a_j exp(-b_j s² / 4),  five Gaussians for each element

so one structure factor is needed per element, not per Gaussian. The coefficients are gemmi's.

References
----------
International Tables for Crystallography C, table 4.3.2.2 (elastic scattering of electrons).
"""

from __future__ import annotations

import functools
import operator

import gemmi
import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.io.atoms import Atoms
from libhetero.simulate.density import radial_frequency, real_density, structure_factor

DEBYE_WALLER = 8 * np.pi**2  # B = 8π² σ²


def form_factor(element: str, frequency: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Return the electron form factor of an element in Å.

    Parameters
    ----------
    element : symbol, such as "C".
    frequency : |k|, 1/Å.

    Raises
    ------
    DataError : for an element without tabulated form factor.
    """
    coefficients = _coefficients(element)
    square = np.asarray(frequency, np.float32) ** 2 / 4
    return functools.reduce(
        operator.add,
        (np.float32(a) * np.exp(-np.float32(b) * square) for a, b in zip(coefficients.a, coefficients.b, strict=True)),
    )


def _coefficients(element: str) -> gemmi.C4322Coef:
    known = gemmi.Element(element)
    found = known.c4322
    if found is None or known.atomic_number == 0:
        raise DataError(
            f"element {str(element)!r} has no electron form factor; expected a chemical symbol of "
            "International Tables C 4.3.2.2. Correct or remove these atoms."
        )
    return found


def scattering_weights(atoms: Atoms) -> Float[np.ndarray, "atoms"]:
    """Return the form factor of each atom at s = 0, (A,) float32, Å."""
    elements, kind = np.unique(atoms.element, return_inverse=True)
    return np.array([form_factor(e, np.zeros(1))[0] for e in elements], np.float32)[kind]


def density_of_atoms(atoms: Atoms, n: int, pixel_size: float) -> Float[np.ndarray, "n n n"]:
    """Return the map of an atomic model, (n, n, n) float32 (z, y, x), origin n // 2.

    Band-limited to the grid; a voxel holds the integral over it, so the map sums to Σ f(0) in Å.

    Parameters
    ----------
    atoms : positions in Å from the box centre, inside the box; their B-factors are applied.
    n : box size, voxels (even).
    pixel_size : Å.
    """
    frequency = radial_frequency(n, pixel_size)
    total = np.zeros((n, n, n // 2 + 1), np.complex64)
    for element in np.unique(atoms.element):
        these = atoms.take(atoms.element == element)
        variance = these.b_factor / DEBYE_WALLER
        points = structure_factor(these.position, np.ones(len(these)), variance, n, pixel_size)
        total += points * form_factor(element, frequency)
    return real_density(total)
