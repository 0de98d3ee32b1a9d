"""The few directions in which a set's Gaussians change, found before any network is trained.

To first order the image of particle i is linear in the changes c of its Gaussians (relative
amplitude, displacement in Å), and a set of molecules that assemble or move explores few directions:

    X_i = A_i c_i + noise,   c_i = mean + modes z_i,   z_i ~ N(0, 1)

A_i projects each Gaussian's change at the particle's pose and multiplies by its CTF. For a particle
the expected z and its precision follow in closed form (Wiener filter),

    z = (MᵀH M + 1)⁻¹ Mᵀ (g - H mean),   H = A*WA,   g = A*W (X - A_neutral)

with M the modes and W the inverse noise power: unlike a gradient alone, H knows what this pose and
this CTF can show. z is the encoder's input. `subspace_fit` finds mean and modes by expectation
maximisation.

References
----------
Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611 (probabilistic PCA); for cryo-EM with projections and
CTF, Tagare et al., J. Struct. Biol. 191 (2015) 245, and Gilles & Singer, PNAS 122 (2025) e2419140122,
there for voxels, here for Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.physics.ctf import ctf_image
from libhetero.physics.fourier import dft_image
from libhetero.physics.gaussians import group_quadrants, project_amplitudes
from libhetero.physics.quadrants import in_quadrants, weights_in_quadrants
from libhetero.physics.rotations import HIGHEST
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import CTFParams, Gaussians, Pose

LARGEST_GRID = 96  # pixels; finer rings say little of a latent and cost much


@dataclass(frozen=True, eq=False)
class Subspace:
    """Mean change and modes of change of N Gaussians.

    Parameters
    ----------
    kinds : letters of what changes, "p" (three columns, Å) before "a" (one, relative).
    mean : (N, F), the mean change from the neutral mixture.
    modes : (N, F, r), the change for one standard deviation of each of r coordinates.
    """

    kinds: str
    mean: np.ndarray
    modes: np.ndarray

    @property
    def rank(self) -> int:
        """Number of coordinates r."""
        return self.modes.shape[-1]


@dataclass(frozen=True, eq=False)
class Imaging:
    """How mixtures become images, on the grid that the subspace is seen on.

    Parameters
    ----------
    neutral : the mixture, N Gaussians, one unit of the complex.
    operators : (copies, 3, 3) of its symmetry.
    scale : of the images.
    root_weight : (m, m // 2 + 1), square root of twice the weight of each Fourier pixel.
    box_size : of the images, pixels n.
    pixel_size : of the images, Å.
    """

    neutral: Gaussians
    operators: np.ndarray
    scale: float
    root_weight: np.ndarray
    box_size: int
    pixel_size: float

    @classmethod
    def of(
        cls,
        neutral: Gaussians,
        operators: np.ndarray,
        scale: float,
        ring_weight: np.ndarray,
        box_size: int,
        pixel_size: float,
        grid: int = LARGEST_GRID,
    ) -> Imaging:
        """Keep the rings of at most `grid` pixels."""
        weight = _low_rings(ring_weight, min(box_size, grid))
        root = np.sqrt(2 * weight).astype(np.float32)
        return cls(neutral, operators, scale, root, box_size, pixel_size)

    @property
    def grid(self) -> int:
        """Pixels m of the grid."""
        return self.root_weight.shape[0]

    def whitened(
        self, image: Array, mixture: Gaussians, amplitudes: Float[Array, "sets points"], pose: Pose, ctf: CTFParams
    ) -> tuple[Array, Array]:
        """Return projections of a mixture under several sets of amplitudes, and the image.

        Both are multiplied by the root of the weights: (sets, 2, m, m // 2 + 1) and (2, m, m // 2 + 1).
        """
        m = self.grid
        pixel_size = self.pixel_size * self.box_size / m
        transfer = _low_rings(ctf_image(ctf, self.box_size, self.pixel_size), m)
        factor = transfer * self.scale * self.root_weight
        made = project_amplitudes(mixture.position, mixture.sigma, amplitudes, pose, m, pixel_size)
        target = dft_image(image, m) * self.root_weight
        return made * factor, jnp.stack([jnp.real(target), jnp.imag(target)])

    def patches(
        self,
        position: np.ndarray,
        sigma: np.ndarray,
        amplitude: Float[np.ndarray, "patches members"],
        pose: Pose,
        ctf: CTFParams,
    ) -> Float[Array, "patches side side"]:
        """Return projections of patches of Gaussians, those of a patch standing together.

        Multiplied by the root of the weights, in `physics.quadrants`.
        """
        m = self.grid
        transfer = _low_rings(ctf_image(ctf, self.box_size, self.pixel_size), m)
        factor = weights_in_quadrants(transfer * self.scale * self.root_weight)
        extent = self.pixel_size * self.box_size
        return group_quadrants(position, sigma, amplitude, pose, m, extent / m) * factor

    def target(self, image: Array) -> Float[Array, "side side"]:
        """Return the image multiplied by the root of the weights, in `physics.quadrants`."""
        return in_quadrants(dft_image(image, self.grid)) * weights_in_quadrants(self.root_weight)

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Return 2π (kx, ky) on the grid, 1/Å."""
        m, extent = self.grid, self.box_size * self.pixel_size
        ky = np.fft.fftfreq(m, 1 / m)[:, None] * np.ones((1, m // 2 + 1))
        kx = np.arange(m // 2 + 1)[None] * np.ones((m, 1))
        return (2 * np.pi * kx / extent).astype(np.float32), (2 * np.pi * ky / extent).astype(np.float32)


def _low_rings(plane: Array, m: int) -> Array:
    """Return the half plane of the m × m grid inside that of a larger one; its Nyquist rows are not zeroed."""
    n = plane.shape[0]
    module = np if isinstance(plane, np.ndarray) else jnp
    if m == n:
        return plane
    return module.concatenate([plane[: m // 2], plane[n - m // 2 :]])[:, : m // 2 + 1]


def shifted(made: Float[Array, "sets 2 m half"], frequency: np.ndarray) -> Float[Array, "sets 2 m half"]:
    """Return the change of whitened projections for a displacement of 1 Å along the axis of `frequency`.

    F exp(-2πi k d) has the derivative -2πi k F: real part 2πk Im F, imaginary part -2πk Re F.
    """
    return jnp.stack([frequency * made[:, 1], -frequency * made[:, 0]], axis=1)


def gauss_newton(
    imaging: Imaging,
    mixture: Gaussians,
    tangents: tuple[Array | None, Array | None],
    image: Array,
    pose: Pose,
    ctf: CTFParams,
    latent: Float[Array, "rank"],
) -> tuple[Float[Array, "rank"], Float[Array, "rank rank"]]:
    """Return one Gauss-Newton step towards the most probable latent of one particle.

    With X̂ the image of the mixture at z and J its derivative in z,

        z ← z + (JᵀWJ + 1)⁻¹ (JᵀW (X - X̂) - z)

    Parameters
    ----------
    imaging : of the set; its neutral mixture is not used.
    mixture : at z, one unit of the complex.
    tangents : of the mixture at z: displacement (N, 3, r) in Å and amplitude (N, r), or None.
    image, pose, ctf : of the particle.
    latent : z.

    Returns
    -------
    the new z and the precision JᵀWJ + 1.
    """
    displacement, amplitude = tangents
    rank, copies = len(latent), len(imaging.operators)
    mixture = symmetric_copies(mixture, imaging.operators)
    if displacement is not None and copies > 1:
        turned = jnp.einsum("cij,njr->cnir", imaging.operators, displacement, precision=HIGHEST)
        displacement = turned.reshape(-1, 3, rank)
    if amplitude is not None:
        amplitude = jnp.tile(amplitude, (copies, 1))
    sets = [mixture.amplitude[None]]
    if displacement is not None:
        plane = jnp.einsum("ai,nir->arn", pose.rotation[:2], displacement, precision=HIGHEST)
        sets += [plane[0] * mixture.amplitude, plane[1] * mixture.amplitude]
    if amplitude is not None:
        sets += [amplitude.T]
    made, target = imaging.whitened(image, mixture, jnp.concatenate(sets), pose, ctf)
    change, place = jnp.zeros(()), 1
    if displacement is not None:
        kx, ky = imaging.frequencies()
        change = shifted(made[1 : 1 + rank], kx) + shifted(made[1 + rank : 1 + 2 * rank], ky)
        place += 2 * rank
    if amplitude is not None:
        change = change + made[place:]
    change = change.reshape(rank, -1)
    precision = jnp.matmul(change, change.T, precision=HIGHEST) + jnp.eye(rank)
    slope = jnp.matmul(change, (target - made[0]).reshape(-1), precision=HIGHEST) - latent
    return latent + jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(precision), slope), precision
