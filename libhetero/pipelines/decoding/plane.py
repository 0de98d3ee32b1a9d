"""What the axes of a plane of particles are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from libhetero.analysis.embedding import principal_plane
from libhetero.report.style import axis_names

SAME = 1e-4  # of the plane's width


def plane_names(
    plane: Float[np.ndarray, "particles 2"], latent: Float[np.ndarray, "particles columns"]
) -> tuple[str, str]:
    """Return the names of a plane's axes, for figures: principal components, with what they explain, or UMAP's.

    Parameters
    ----------
    plane : where e2hype_embed.py put the particles, by either method.
    latent : of the particles, reduced; a plane that holds their first two principal components is that.
    """
    principal = principal_plane(latent)
    if np.abs(plane - principal).max(initial=0) > SAME * max(float(np.abs(principal).max(initial=0)), 1e-30):
        return axis_names("umap")
    total = max(float(np.asarray(latent, np.float64).var(axis=0).sum()), 1e-30)
    return axis_names("pca", np.asarray(principal, np.float64).var(axis=0) / total)
