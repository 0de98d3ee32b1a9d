"""What each image of a tilt series adds to the exposure of its particle.

RELION's rlnMicrographPreExposure is what a particle had received before an image, EMAN2's files state nothing, and
`CTFParams.exposure` counts half of the image's own exposure, too. That is the step from one image of a particle to the
next.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

SAME = 1e-3  # e⁻/Å²


def exposure_of_image(exposure: Float[np.ndarray, "images"], group: Int[np.ndarray, "images"]) -> float:
    """Return what an image adds, e⁻/Å²: the median step from one image of a particle to the next; 0 where none tells.

    Parameters
    ----------
    exposure : e⁻/Å², of each image, counted from anywhere within its own.
    group : particle that each image shows.
    """
    order = np.lexsort((exposure, group))
    step = np.diff(exposure[order])[np.diff(group[order]) == 0]
    step = step[step > SAME]
    return float(np.median(step)) if len(step) else 0.0
