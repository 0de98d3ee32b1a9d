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

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.physics.fourier import dft_image, half_plane
from libhetero.physics.gaussians import group_quadrants, project_amplitudes
from libhetero.physics.observation import transfer
from libhetero.physics.quadrants import in_quadrants, weights_in_quadrants
from libhetero.physics.rotations import HIGHEST
from libhetero.physics.symmetry import symmetric_copies
from libhetero.records import Gaussians, Observation

LARGEST_GRID = 96  # pixels; finer rings say little of a latent and cost much


@dataclass(frozen=True, eq=False)
class Subspace:
    """Mean change and modes of change of N Gaussians.

    Parameters
    ----------
    layout : of the columns: position in Å, amplitude relative.
    mean : (N, F), the mean change from the neutral mixture.
    modes : (N, F, r), the change for one standard deviation of each of r coordinates; r may be 0.
    kinds : "a" or "p" of each mode, what of the Gaussians it changes.
    p : (r,), the chance that nothing gives as much.
    strength : (r,), mean over particles of the variance of its signal over that of noise.
    nuisances : that the particles show.
    """

    layout: Layout
    mean: np.ndarray
    modes: np.ndarray
    kinds: str
    p: np.ndarray
    strength: np.ndarray
    nuisances: Nuisances

    @property
    def rank(self) -> int:
        """Number of coordinates r."""
        return self.modes.shape[-1]

    def in_layout(self, layout: Layout) -> Subspace:
        """Return the same in the columns of a layout that has all of them; 0 in those that are new."""
        place = np.flatnonzero([kind in self.layout.kinds for kind in layout.kinds])
        mean, modes = (
            np.zeros((len(array), len(layout.kinds), *array.shape[2:]), np.float32) for array in (self.mean, self.modes)
        )
        mean[:, place], modes[:, place] = self.mean, self.modes
        return replace(self, layout=layout, mean=mean, modes=modes)


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
        operators: Float[np.ndarray, "copies 3 3"],
        scale: float,
        ring_weight: Float[np.ndarray, "n half"],
        box_size: int,
        pixel_size: float,
        grid: int = LARGEST_GRID,
    ) -> Imaging:
        """Keep the rings of at most `grid` pixels."""
        weight = low_rings(ring_weight, min(box_size, grid))
        root = np.sqrt(2 * weight).astype(np.float32)
        return cls(neutral, operators, scale, root, box_size, pixel_size)

    def on(self, grid: int) -> Imaging:
        """Return the same on a grid of fewer pixels, an even number: the low rings alone."""
        return self if grid == self.grid else replace(self, root_weight=low_rings(self.root_weight, grid))

    @property
    def grid(self) -> int:
        """Pixels m of the grid."""
        return self.root_weight.shape[0]

    @cached_property
    def pixels(self) -> Float[np.ndarray, "m half 2"]:
        """Frequencies (kx, ky) of the grid, 1/Å: the low ones of the images' own."""
        return half_plane(self.grid, self.grid_pixel_size)

    @property
    def grid_pixel_size(self) -> float:
        """Å a pixel of the grid."""
        return self.pixel_size * self.box_size / self.grid

    @cached_property
    def compared(self) -> int:
        """Numbers of an image that have weight."""
        return int(np.count_nonzero(weights_in_quadrants(self.root_weight)))

    def factor(self, observation: Observation) -> Float[Array, "m half"]:
        """Return what whitens a projection: transfer · scale · root of the weights."""
        return transfer(observation, self.pixels) * self.scale * self.root_weight

    def whitened(
        self,
        image: Float[AnyArray, "n n"],
        mixture: Gaussians,
        amplitudes: Float[Array, "sets points"],
        observation: Observation,
    ) -> tuple[Float[Array, "sets 2 m half"], Float[Array, "2 m half"]]:
        """Return projections of a mixture under several sets of amplitudes, and the image.

        Both are multiplied by the root of the weights.
        """
        made = project_amplitudes(
            mixture.position, mixture.sigma, amplitudes, observation.pose, self.grid, self.grid_pixel_size
        )
        target = dft_image(image, self.grid) * self.root_weight
        return made * self.factor(observation), jnp.stack([jnp.real(target), jnp.imag(target)])

    def patches(
        self,
        position: Float[AnyArray, "points 3"],
        sigma: Float[AnyArray, "points"],
        amplitude: Float[AnyArray, "patches members"],
        observation: Observation,
    ) -> Float[Array, "patches side side"]:
        """Return projections of patches of Gaussians, those of a patch standing together.

        Multiplied by the root of the weights, in `physics.quadrants`.
        """
        made = group_quadrants(position, sigma, amplitude, observation.pose, self.grid, self.grid_pixel_size)
        return made * weights_in_quadrants(self.factor(observation))

    def target(self, image: Float[AnyArray, "n n"]) -> Float[Array, "side side"]:
        """Return the image multiplied by the root of the weights, in `physics.quadrants`."""
        return in_quadrants(dft_image(image, self.grid)) * weights_in_quadrants(self.root_weight)

    def frequencies(self) -> tuple[Float[np.ndarray, "m half"], Float[np.ndarray, "m half"]]:
        """Return 2π (kx, ky) on the grid, 1/Å."""
        turns = np.float32(2 * np.pi) * self.pixels
        return turns[..., 0], turns[..., 1]


def low_rings(plane: Float[np.ndarray, "n half"], m: int) -> Float[np.ndarray, "m half2"]:
    """Return the half plane of the m × m grid inside that of a larger one; its Nyquist rows are not zeroed."""
    n = plane.shape[0]
    return plane if m == n else np.concatenate([plane[: m // 2], plane[n - m // 2 :]])[:, : m // 2 + 1]


def shifted(made: Float[Array, "sets 2 m half"], frequency: np.ndarray) -> Float[Array, "sets 2 m half"]:
    """Return the change of whitened projections for a displacement of 1 Å along the axis of `frequency`.

    F exp(-2πi k d) has the derivative -2πi k F: real part 2πk Im F, imaginary part -2πk Re F.
    """
    return jnp.stack([frequency * made[:, 1], -frequency * made[:, 0]], axis=1)


def rigid_changes(
    made: Float[Array, "4 2 m half"], frequencies: tuple[np.ndarray, np.ndarray]
) -> Float[Array, "5 2 m half"]:
    """Return what a projection changes by for a shift of 1 Å along x and y, and a turn of 1 radian about x, y and z.

    Parameters
    ----------
    made : the projection, and those with amplitudes times x, y and z from the pivot, in the image's axes, Å.
    frequencies : from `Imaging.frequencies`.
    """
    along_x, along_y = (shifted(made, frequency) for frequency in frequencies)
    return jnp.stack([along_x[0], along_y[0], -along_y[3], along_x[3], along_y[1] - along_x[2]])


def gauss_newton(
    imaging: Imaging,
    layout: Layout,
    mixture: Gaussians,
    tangents: tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]],
    image: Float[AnyArray, "n n"],
    observation: Observation,
    state: Float[Array, "numbers"],
    nuisances: Nuisances | None = None,
) -> tuple[Float[Array, "numbers"], Float[Array, "numbers numbers"]]:
    """Return one Gauss-Newton step towards the most probable latent of one particle.

    With X̂ the image of the mixture at z and J its derivative in z,

        z ← z + (JᵀWJ + 1)⁻¹ (JᵀW (X - X̂) - z)

    Parameters
    ----------
    imaging : of the set; its neutral mixture is not used.
    layout : what of a Gaussian changes.
    mixture : at z, one unit of the complex.
    tangents : of the mixture at z: displacement in Å and amplitude.
    image, observation : of the particle.
    state : z, and after it the numbers of the nuisances where there are any.
    nuisances : of the set; None where none is inferred.

    Returns
    -------
    the new state and the precision JᵀWJ + 1.
    """
    seen, said = normal_system(imaging, layout, mixture, tangents, image, observation, state, nuisances)
    precision, slope = seen + jnp.eye(len(state)), said - state
    return state + jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(precision), slope), precision


def normal_system(
    imaging: Imaging,
    layout: Layout,
    mixture: Gaussians,
    tangents: tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]],
    image: Float[AnyArray, "n n"],
    observation: Observation,
    state: Float[Array, "numbers"],
    nuisances: Nuisances | None = None,
) -> tuple[Float[Array, "numbers numbers"], Float[Array, "numbers"]]:
    """Return JᵀWJ and JᵀW (X - X̂) of one image, without what is known before it; see `gauss_newton`."""
    rank = tangents[1].shape[1]
    if nuisances is not None:
        observation = replace(observation, pose=nuisances.moved(observation.pose, state[rank:]))
    change, made, moves, target = _linearised(imaging, layout, mixture, tangents, image, observation, nuisances)
    if nuisances is not None:
        contrast = nuisances.contrast_of(state[rank:])
        rows = [contrast * change, nuisances.contrast * made[None], contrast * moves]
        change, made = jnp.concatenate(rows), contrast * made
    change, rest = change.reshape(len(state), -1), target - made
    seen = jnp.matmul(change, change.T, precision=HIGHEST)
    return seen, jnp.matmul(change, rest.reshape(-1), precision=HIGHEST)


def _linearised(
    imaging: Imaging,
    layout: Layout,
    mixture: Gaussians,
    tangents: tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]],
    image: Float[AnyArray, "n n"],
    observation: Observation,
    nuisances: Nuisances | None,
) -> tuple[
    Float[Array, "rank 2 m half"], Float[Array, "2 m half"], Float[Array, "moves 2 m half"], Float[Array, "2 m half"]
]:
    """Return the derivative of the mixture's whitened image in z, that image, its derivative in the pose, and X.

    Each kind of change is a set of amplitudes that is projected, and what is then done to the projection.
    """
    displacement, amplitude = _in_all_units(imaging.operators, tangents)
    mixture = symmetric_copies(mixture, imaging.operators)
    across = jnp.einsum("ai,nir->arn", observation.pose.rotation[:2], displacement, precision=HIGHEST)
    kx, ky = imaging.frequencies()
    sets = layout.chosen(position=across * mixture.amplitude, amplitude=[amplitude.T])
    effects: list[Callable[[Array], Array]] = layout.chosen(
        position=[partial(shifted, frequency=kx), partial(shifted, frequency=ky)], amplitude=[lambda made: made]
    )
    posed = nuisances is not None and nuisances.posed
    place = jnp.matmul(observation.pose.rotation, mixture.position.T, precision=HIGHEST)
    amplitudes = jnp.concatenate([mixture.amplitude[None], (place * mixture.amplitude)[: 3 * posed], *sets])
    made, target = imaging.whitened(image, mixture, amplitudes, observation)
    first = 1 + 3 * posed
    parts = jnp.split(made[first:], len(sets))
    changes = (effect(part) for effect, part in zip(effects, parts, strict=True))
    moves = jnp.zeros((0, *made.shape[1:]))
    if nuisances is not None and posed:
        rigid = rigid_changes(made[:4], (kx, ky))
        moves = jnp.concatenate([nuisances.shift * rigid[:2], nuisances.rotation * rigid[2:]])
    return reduce(jnp.add, changes), made[0], moves, target


def _in_all_units(
    operators: Float[np.ndarray, "copies 3 3"],
    tangents: tuple[Float[AnyArray, "points 3 rank"], Float[AnyArray, "points rank"]],
) -> tuple[Float[AnyArray, "all 3 rank"], Float[AnyArray, "all rank"]]:
    """Return the tangents of a whole complex, given those of one unit."""
    displacement, amplitude = tangents
    if len(operators) == 1:
        return displacement, amplitude
    turned = jnp.einsum("cij,njr->cnir", operators, displacement, precision=HIGHEST)
    return turned.reshape(-1, *displacement.shape[1:]), jnp.tile(amplitude, (len(operators), 1))
