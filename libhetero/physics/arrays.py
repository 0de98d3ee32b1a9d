"""What computations take; they return arrays of JAX."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

AnyArray = Array | np.ndarray
Number = float | Float[AnyArray | np.floating, ""]  # one number, traced or not
