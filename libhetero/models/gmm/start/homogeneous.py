"""One mixture for all particles: what a starting mixture is refined with against the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from libhetero.models.batch_mean import batch_mean
from libhetero.models.gmm.changes import adapted
from libhetero.models.gmm.noise import measure_noise, ring_limits
from libhetero.physics.fourier import dft_image, half_plane
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import squared_error
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Batch, Gaussians, Observation


@dataclass(frozen=True, eq=False)
class HomogeneousModel:
    """The same mixture in every image; for `libhetero.training.loop`.

    Parameters
    ----------
    start : one unit of the complex, position and sigma in Å.
    operators : (copies, 3, 3) of its symmetry.
    scale : factor that takes projections to the level of the images.
    ring_weight : (n, n // 2 + 1), weight of each Fourier pixel's squared error.
    box_size : pixels.
    pixel_size : Å.
    """

    start: Gaussians
    operators: np.ndarray
    scale: float
    ring_weight: np.ndarray
    box_size: int
    pixel_size: float

    @classmethod
    def from_data(
        cls, start: Gaussians, operators: np.ndarray, sample: Batch, box_size: int, pixel_size: float, finest: float
    ) -> HomogeneousModel:
        """Measure scale and noise on a sample; rings finer than `finest` Å (0 for none) are left out."""
        start = jax.tree.map(lambda array: np.asarray(array, np.float32), start)
        whole = jax.tree.map(np.asarray, symmetric_copies(start, operators))
        limits = ring_limits((0.0, finest), box_size, pixel_size)
        scale, weight = measure_noise(whole, sample, box_size, pixel_size, limits)
        return cls(start, operators, scale, weight, box_size, pixel_size)

    def init(self) -> dict[str, Array]:
        """Return the parameters of the start itself; see `changes.adapted`."""
        zeros = jnp.zeros(len(self.start.sigma))
        return {"position": jnp.zeros_like(self.start.position), "amplitude": zeros, "sigma": zeros}

    def mixture(self, params: Any) -> Gaussians:
        """Return the unit that the parameters stand for."""
        return adapted(jax.tree.map(jnp.asarray, self.start), params)

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the mean over pixels and particles of w |CTF P(R, t) G - X|²; 1 at the start."""
        del key, training
        whole = symmetric_copies(self.mixture(params), self.operators)
        frequencies = half_plane(self.box_size, self.pixel_size)

        def error(image: Array, observation: Observation) -> Array:
            projection = self.scale * project_gaussians(whole, observation.pose, self.box_size, self.pixel_size)
            return squared_error(projection, dft_image(image), observation, frequencies, self.ring_weight)

        return batch_mean(error, batch) / np.count_nonzero(self.ring_weight), {}
