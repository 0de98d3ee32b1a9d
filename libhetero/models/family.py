"""What training, embedding and evaluation know of a model: these protocols and nothing else.

`ModelFamily` is what every family offers; `MixtureFamily` is what those offer whose representations are Gaussians.
`libhetero.models.families` says which a family follows, and consumers of the second refuse other runs in words.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int, PRNGKeyArray

from libhetero.physics.arrays import AnyArray
from libhetero.records import Batch, Direction, Gaussians, Pose, Posterior


@runtime_checkable
class ModelFamily(Protocol):
    """A frozen object that knows its configuration and geometry; parameters are passed in.

    A representation is whatever stands for one molecule: INR weights, or Gaussians. Fourier images
    are half planes (n, n // 2 + 1) with DC at [0, 0] and origin n // 2.
    """

    @property
    def family(self) -> str:
        """Name of the family, by which `families` knows it."""

    @property
    def config(self) -> Any:
        """The configuration it was made with."""

    @property
    def box_size(self) -> int:
        """Pixels of the images that it sees."""

    @property
    def pixel_size(self) -> float:
        """Pixel size of the images that it sees, Å."""

    @classmethod
    def from_data(cls, config: Any, *start: Any, **given: Any) -> ModelFamily:
        """Return a model measured on a sample, given by keyword what `libhetero.models.create` takes."""

    @classmethod
    def from_arrays(cls, config: Any, arrays: dict[str, np.ndarray]) -> ModelFamily:
        """Return the model that `arrays` saved."""

    def init(self, key: PRNGKeyArray) -> Any:
        """Return fresh float32 parameters."""

    def encode(self, params: Any, batch: Batch) -> Float[Array, "batch latent"]:
        """Return the latent of every image."""

    def posterior(self, params: Any, batch: Batch) -> Posterior:
        """Return what each image says: its latent, as `encode` gives it, contrast and evidence, with deviations."""

    def memberships(self, batch: Batch) -> Float[Array, "batch molecules"]:
        """Return how probable it is of every image to be of each molecule that was known before training."""

    def decode(self, params: Any, latent: Float[Array, "batch latent"]) -> Any:
        """Return representations with a leading batch axis."""

    def render(self, representation: Any, pose: Pose, n: int, pixel_size: float) -> Complex[Array, "n half"]:
        """Return the Fourier image of one representation at one pose, without CTF."""

    def volume(self, representation: Any, n: int, pixel_size: float) -> Float[Array, "n n n"]:
        """Return the map (z, y, x) of one representation."""

    def loss(
        self, params: Any, batch: Batch, key: PRNGKeyArray, training: bool = True
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """Return the mean over the batch, weighted by `batch.weight`, and figures to report.

        `training` is False for particles that are not trained on: no dropout.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """Return geometry and statistics to save; `libhetero.models.build` takes them back."""


@runtime_checkable
class MixtureFamily(ModelFamily, Protocol):
    """A family whose representations are Gaussians: one mixture, of which every particle's is a change."""

    def neutral_mixture(self, params: Any) -> Gaussians:
        """Return the mixture that all particles' are changes of, Å; one unit of a symmetric complex."""

    @property
    def image_scale(self) -> float:
        """Factor from projections of mixtures to images as models see them."""

    @property
    def ring_weight(self) -> Float[AnyArray, "n half"]:
        """Weight of each Fourier pixel's squared error."""

    @property
    def blur(self) -> float:
        """How far errors of the listed poses displace Gaussians, in root mean square along an axis of the image, Å.

        0 where poses are right or not looked at, and where Gaussians move: then it is not poses alone that blur a map.
        """

    def solved_poses(self, params: Any, batch: Batch) -> tuple[Pose, Float[Array, "batch"]]:
        """Return the pose at which each image is most probably seen, solved for beside the latent.

        Besides, the probability that it shows nothing of the molecule.
        """

    def directions(self) -> tuple[Direction, ...]:
        """Return the directions of change that the particles showed before training; none where nobody looked."""

    def decode(self, params: Any, latent: Float[Array, "batch latent"]) -> Gaussians:
        """Return mixtures with a leading batch axis, Gaussian by Gaussian those of `neutral_mixture`."""

    def patch_equations(
        self, params: Any, sample: Batch, patch: Int[np.ndarray, "points"]
    ) -> tuple[Float[np.ndarray, "particles columns columns"], Float[np.ndarray, "particles columns"]]:
        """Return H and g of every particle for changes of patches of Gaussians from the neutral mixture.

        Columns are displacement along x, y and z (Å) and relative amplitude of every patch, in this order; `patch` is
        that of each Gaussian, -1 for none. Particles of weight 0 are left out.
        """

    def piece_poses(
        self,
        params: Any,
        latent: Float[Array, "batch latent"],
        batch: Batch,
        contrast: Float[AnyArray, "batch"],
        member: Bool[np.ndarray, "points"],
        spread: Float[AnyArray, "2"],
        piece: Int[np.ndarray, "points"] | None = None,
        moved: Float[AnyArray, "batch copies pieces 5"] | None = None,
    ) -> tuple[Pose, Float[Array, "particles numbers"], Float[Array, "particles numbers numbers"]]:
        """Return the pose at which a piece, as decoded, is seen in each image, with the rest of the molecule modelled.

        Besides, the numbers u that it is off the molecule's pose by, N(0, 1) over the set, and their posterior
        covariances: shift along x and y and rotation about x, y and z of the image, or, of a particle of several
        images, shift along x, y and z and rotation about them in the axes of the molecule, one motion for all images.

        Parameters
        ----------
        latent : of the particle of each image, by which it is decoded.
        batch : the particles.
        contrast : of each image.
        member : which Gaussians of `neutral_mixture` are the piece; one at least.
        spread : Å of shift and radians of rotation for u of 1.
        piece : number of the piece of each Gaussian, -1 for none.
        moved : where each image has shown these pieces, in each copy of a symmetric complex: what it has seen them off
            the molecule's pose by, shift (Å) and rotation (radians); None where all but the piece are as decoded.
        """
