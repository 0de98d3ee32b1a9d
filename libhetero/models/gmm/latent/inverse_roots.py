"""Inverses of many small symmetric positive definite matrices, as products of triangular ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

AT_ONCE = 12  # rows of a matrix that is not halved further


def inverses(matrices: Float[np.ndarray, "count size size"]) -> Float[np.ndarray, "count size size"]:
    """Return the inverses.

    Parameters
    ----------
    matrices : float64, symmetric, positive definite but for rounding.
    """
    try:
        roots = inverse_roots(matrices)
    except np.linalg.LinAlgError:
        return np.linalg.inv(matrices)  # LU factors, which rounding errors do not stop
    return roots.transpose(0, 2, 1) @ roots


def inverse_roots(matrices: Float[np.ndarray, "count size size"]) -> Float[np.ndarray, "count size size"]:
    """Return the lower triangular X of each M with XᵀX = M⁻¹, by halves.

    With M = (A Bᵀ; B C), X_A that of A, E = B X_Aᵀ and X_S that of the Schur complement C - E Eᵀ,

        X = ( X_A              0  )
            ( -X_S E X_A      X_S )

    Matrix products do most of the work, where LAPACK goes through matrices of this size row by row. Only
    the lower triangles are read, and XᵀX is positive semidefinite whatever the rounding.

    Parameters
    ----------
    matrices : float64, which ill-conditioned ones need.

    Raises
    ------
    np.linalg.LinAlgError : if one is not positive definite.

    References
    ----------
    Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. (2002), ch. 13 (block factors) and 14.
    """
    size = matrices.shape[-1]
    if size <= AT_ONCE:
        return np.linalg.inv(np.linalg.cholesky(matrices))
    low, high = slice(0, size // 2), slice(size // 2, size)
    first = inverse_roots(matrices[:, low, low])
    across = matrices[:, high, low] @ first.transpose(0, 2, 1)
    last = inverse_roots(matrices[:, high, high] - across @ across.transpose(0, 2, 1))
    roots = np.zeros_like(matrices)
    roots[:, low, low], roots[:, high, high] = first, last
    roots[:, high, low] = -last @ (across @ first)
    return roots
