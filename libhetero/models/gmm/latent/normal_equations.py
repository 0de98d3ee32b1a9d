"""What the particles of a sample say of changes: the normal equations H, g of each, and what noise alone would say.

With A the derivative of the whitened image in the columns of a change and r what the neutral mixture leaves of the
particle's image,

    H = A Aᵀ,   g = A r,   and for noise n of the images' own power alone  A n ~ N(0, H)

The columns are, in this order (`Equations`),

1. nuisances, which are no change of the molecule: a relative change of contrast, displacements of the whole along
   the axes of the image (Å), rotations of the whole about the axes of the image and of view (radians);
2. given fields of change, such as modes that are known (`Fields`), for one unit of each;
3. changes of patches: Gaussians are grouped by place, and all of a patch change alike; kind by kind.

Where changes are known and large, each particle's image is taken as linear about its own mixture (`About`): with J the
fields there, z their numbers and X̂ the image, r = X - X̂ + Jz, so that g is what it would be if all were linear.

Images are in quadrants (`libhetero.physics.quadrants`), where one product of matrices projects all patches. A
displacement of 1 Å changes an image F by -2πi k F and a relative amplitude of 1 by F; both sides are multiplied by i,
so that displacements, which are more, are real factors 2πk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from libhetero.cores import usable_cores
from libhetero.models.blocks import in_lanes
from libhetero.models.gmm.clusters import group_points
from libhetero.models.gmm.latent.noise_power import NoisePower, Said
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.physics.arrays import AnyArray
from libhetero.physics.gaussians import project_amplitudes
from libhetero.physics.quadrants import in_quadrants, times_i, weights_in_quadrants
from libhetero.physics.rotations import HIGHEST
from libhetero.records import Batch, Gaussians, Observation, Pose

FINE_COLUMNS = 192
COARSE_COLUMNS = {"a": 72, "p": 120, "pa": 168}
TOGETHER = 8  # particles whose normal equations are formed at once
NUISANCES = ("contrast", "shift_x", "shift_y", "rotation_x", "rotation_y", "rotation_z")


@dataclass(frozen=True, eq=False)
class Fields:
    """Changes of all Gaussians, for one unit of each of q numbers.

    Parameters
    ----------
    displacement : (N, 3, q), Å.
    amplitude : (N, q), relative to the neutral amplitude.
    """

    displacement: AnyArray
    amplitude: AnyArray

    @property
    def count(self) -> int:
        """How many."""
        return self.amplitude.shape[1]

    @classmethod
    def none(cls, count: int) -> Fields:
        """Return no field of `count` Gaussians."""
        return cls(np.zeros((count, 3, 0), np.float32), np.zeros((count, 0), np.float32))


@dataclass(frozen=True, eq=False)
class About:
    """Each particle's own mixture, about which its image is taken as linear.

    Parameters
    ----------
    at : gives, for the numbers of a particle, its mixture, and as fields what a unit more of each number changes,
        amplitudes relative to those of the mixture.
    latent : (particles, q), the numbers.
    """

    at: Callable[[Float[Array, "q"]], tuple[Gaussians, Fields]]
    latent: np.ndarray


@dataclass(frozen=True, eq=False)
class Solved:
    """Nuisances of images that were solved for, image by image.

    Parameters
    ----------
    spread, mean : (6,), over the images.
    images : equations of some images, with columns of nuisances.
    particle : of these, place of the particle that each shows among those of the equations.
    """

    spread: np.ndarray
    mean: np.ndarray
    images: Equations
    particle: np.ndarray


@dataclass(frozen=True, eq=False)
class Equations:
    """The normal equations of a sample.

    Parameters
    ----------
    hessian : (particles, P, P), H.
    gradient : (particles, P), g.
    noise : (particles, draws, P), what draws of noise alone say in the place of g.
    nuisances : number of columns that are nuisances, the first.
    fields : number of columns of given fields, the next.
    kinds : of the columns of patches, one letter a group of as many columns as there are patches.
    power : of the images' noise, by which what they say is divided already.
    solved : nuisances that were of images and are taken off; None where they have columns, or where there are none.
    """

    hessian: np.ndarray
    gradient: np.ndarray
    noise: np.ndarray
    nuisances: int
    fields: int
    kinds: str
    power: NoisePower = NoisePower(0)
    solved: Solved | None = None

    @property
    def columns(self) -> int:
        """Number of columns P."""
        return self.gradient.shape[1]

    def of_patches(self, kinds: str) -> Int[np.ndarray, "columns"]:
        """Return the columns of the patches' changes of some kinds, such as "a"."""
        first, patches = self.nuisances + self.fields, self._patches
        chosen = [i for i, kind in enumerate(self.kinds) if kind in kinds]
        return (first + np.concatenate([i * patches + np.arange(patches) for i in chosen])).astype(np.int64)

    @property
    def _patches(self) -> int:
        return (self.columns - self.nuisances - self.fields) // max(len(self.kinds), 1)


@dataclass(frozen=True, eq=False)
class Patches:
    """Gaussians grouped by place, and the groups again.

    Parameters
    ----------
    fine : (N,) patch of each Gaussian, 0 .. K - 1; -1 where it may not change.
    coarse : (K,) coarse patch of each fine one.
    """

    fine: np.ndarray
    coarse: np.ndarray

    @classmethod
    def of(
        cls, position: Float[np.ndarray, "points 3"], mobile: Bool[np.ndarray, "points"], layout: Layout, seed: int
    ) -> Patches:
        """Group the Gaussians that may change by k-means, and the groups again, each counting once.

        Parameters
        ----------
        layout : what changes; patches are fewer where more of each does.
        """
        inside, columns = np.asarray(position, np.float64)[mobile], len(layout.kinds)
        fine = min(len(inside), FINE_COLUMNS // columns)
        coarse = min(fine, COARSE_COLUMNS[layout.letters] // columns)
        centre, label = group_points(inside, fine, seed)
        held, label = np.unique(label, return_inverse=True)
        _, merged = group_points(centre[held], min(coarse, len(held)), seed)
        patch = np.full(len(mobile), -1)
        patch[mobile] = label
        return cls(patch, np.unique(merged, return_inverse=True)[1])

    @property
    def together(self) -> Int[np.ndarray, "points"]:
        """The coarse patch of each Gaussian; -1 where it may not change."""
        return np.where(self.fine < 0, -1, self.coarse[self.fine])

    def copied(self, layout: Layout, first: int) -> Float[np.ndarray, "fine coarse"]:
        """Return the matrix that copies changes of coarse patches, kind by kind, to the fine ones.

        Parameters
        ----------
        layout : what changes.
        first : number of columns before those of the patches, which stay as they are.
        """
        same = np.eye(self.coarse.max() + 1)[self.coarse]
        return scipy.linalg.block_diag(np.eye(first), np.kron(np.eye(len(layout.kinds)), same))


def normal_equations(
    imaging: Imaging,
    sample: Batch,
    patch: np.ndarray,
    layout: Layout,
    *,
    fields: Fields | None = None,
    about: About | None = None,
    nuisances: bool = False,
    draws: int = 0,
    seed: int = 0,
) -> Equations:
    """Return what every particle of a sample says.

    Parameters
    ----------
    imaging : of the set.
    sample : particles; those without weight are left out.
    patch : of each Gaussian, -1 for none; there is one at least.
    layout : what of a patch changes.
    fields : that have columns of their own; None for none.
    about : what images are linear about, in place of the neutral mixture and of `fields`; None for that.
    nuisances : whether these have columns.
    draws, seed : of noise, for each particle.
    """
    options: dict[str, Any] = {"fields": fields, "about": about, "nuisances": nuisances}
    images, given = np.count_nonzero(sample.weight), given_columns(fields, about)
    columns = number_of_columns(patch, layout, **options)
    shapes = (columns, columns), (columns,), (draws, columns), ()
    said = Said(*(np.empty((images, *shape), np.float32) for shape in shapes))
    each_image(imaging, sample, patch, layout, said.keep, draws=draws, seed=seed, **options)
    power = NoisePower.learnt(said, imaging.compared)
    power.divide(said)
    count = len(NUISANCES) * nuisances
    return Equations(said.hessian, said.gradient, said.noise, count, given, layout.kinds, power)


def given_columns(fields: Fields | None, about: About | None) -> int:
    """Return the number of columns of given fields; see `normal_equations`."""
    return (0 if fields is None else fields.count) + (0 if about is None else about.latent.shape[1])


def number_of_columns(
    patch: Int[np.ndarray, "points"],
    layout: Layout,
    *,
    fields: Fields | None = None,
    about: About | None = None,
    nuisances: bool = False,
) -> int:
    """Return the number of columns P of the equations; see `normal_equations`."""
    patches = (int(patch.max()) + 1) * len(layout.kinds)
    return len(NUISANCES) * nuisances + given_columns(fields, about) + patches


def each_image(
    imaging: Imaging,
    sample: Batch,
    patch: np.ndarray,
    layout: Layout,
    take: Callable[[slice, Said], None],
    *,
    fields: Fields | None = None,
    about: About | None = None,
    nuisances: bool = False,
    draws: int = 0,
    seed: int = 0,
) -> None:
    """Form the normal equations of some images at a time; see `normal_equations`.

    Parameters
    ----------
    take : called by several threads, with places among the images that have weight, and what these say, their noise
        power not taken into account.
    """
    own = np.zeros((len(sample.weight), 0), np.float32) if about is None else about.latent
    imaging = replace(imaging, neutral=jax.tree.map(np.asarray, imaging.neutral))
    images = PatchImages.of(imaging, patch, layout, fields, nuisances)

    def one(image: Array, seen: Observation, key: Array, z: Array) -> tuple[Array, Array, Array, Array]:
        here = images if about is None else images.at(*about.at(z))
        hessian, gradient, said, power = here.equations(image, seen, key, draws)
        known = slice(here.first_field, here.first_field + len(z))
        linear = jnp.matmul(hessian[:, known], z, precision=HIGHEST)
        return hessian, gradient + linear, said, power + z @ (2 * gradient + linear)[known]

    several = jax.jit(jax.vmap(one))
    used = np.flatnonzero(sample.weight)
    keys = jax.random.split(jax.random.key(seed), len(sample.weight))

    def fill(number: int, device: jax.Device) -> None:
        start = number * TOGETHER
        here = used[start : start + TOGETHER]
        rows, padded = slice(start, start + len(here)), np.resize(here, TOGETHER)  # one shape is compiled
        part = jax.tree.map(lambda leaf: leaf[padded], sample)
        given = jax.device_put((part.images, part.observation, keys[padded], own[padded]), device)
        take(rows, Said(*(np.asarray(array)[: len(here)] for array in several(*given))))

    for _ in in_lanes(fill, -(-len(used) // TOGETHER), on_cores=usable_cores()):
        pass


@dataclass(frozen=True, eq=False)
class PatchImages:
    """What one particle shows of patches of Gaussians, which stand patch by patch, padded to equal number.

    Parameters
    ----------
    imaging : of the set.
    layout : what of a patch changes.
    position : (K · M, 3), Å, of the K patches' M members.
    sigma : (K · M,), Å.
    amplitude : (K, M), 0 for padding.
    patch : of each Gaussian, -1 for none.
    still : the Gaussians that are in no patch.
    fields : given, of all Gaussians.
    nuisances : whether these have columns.
    """

    imaging: Imaging
    layout: Layout
    position: AnyArray
    sigma: AnyArray
    amplitude: AnyArray
    patch: np.ndarray
    still: Gaussians
    fields: Fields
    nuisances: bool = False

    @classmethod
    def of(
        cls,
        imaging: Imaging,
        patch: Int[np.ndarray, "points"],
        layout: Layout,
        fields: Fields | None = None,
        nuisances: bool = False,
    ) -> PatchImages:
        """Lay the neutral mixture out by the patch of each Gaussian; -1 for none."""
        place, inside = _layout(patch)
        neutral = imaging.neutral
        return cls(
            imaging,
            layout,
            neutral.position[place.ravel()],
            neutral.sigma[place.ravel()],
            neutral.amplitude[place] * inside,
            patch,
            jax.tree.map(lambda array: array[patch < 0], neutral),
            Fields.none(len(patch)) if fields is None else fields,
            nuisances,
        )

    def at(self, mixture: Gaussians, fields: Fields) -> PatchImages:
        """Return the same about another mixture and with other fields."""
        imaging = replace(self.imaging, neutral=mixture)
        return PatchImages.of(imaging, self.patch, self.layout, fields, self.nuisances)

    @property
    def first_field(self) -> int:
        """The column of the first field."""
        return len(NUISANCES) * self.nuisances

    @property
    def columns(self) -> int:
        """Number of columns."""
        patches = len(self.amplitude) * len(self.layout.kinds)
        return self.first_field + self.fields.count + patches

    def equations(
        self, image: Float[AnyArray, "n n"], observation: Observation, key: PRNGKeyArray, draws: int = 0
    ) -> tuple[
        Float[Array, "columns columns"], Float[Array, "columns"], Float[Array, "draws columns"], Float[Array, ""]
    ]:
        """Return H and g of one particle, what draws of noise say, and |r|²."""
        target = times_i(self.imaging.target(image))
        noise = self._noise(key, draws)
        if len(self.imaging.operators) > 1:
            changes, whole = self._complex(observation)
            return _products(changes, target - whole, noise)
        changes, whole = self._unit(observation)
        hessian, gradient, said, power = _products(changes, target - whole, noise)
        turned = self._turn(observation.pose.rotation)
        hessian = jnp.matmul(turned.T, jnp.matmul(hessian, turned, precision=HIGHEST), precision=HIGHEST)
        gradient = jnp.matmul(turned.T, gradient, precision=HIGHEST)
        return hessian, gradient, jnp.matmul(said, turned, precision=HIGHEST), power

    def _noise(self, key: PRNGKeyArray, draws: int) -> Float[Array, "draws side side"]:
        """Return white noise of variance 1 wherever an image is compared."""
        seen = weights_in_quadrants(self.imaging.root_weight) > 0
        return jax.random.normal(key, (draws, *seen.shape)) * seen

    def _unit(self, observation: Observation) -> tuple[Float[Array, "rows pixels"], Float[Array, "side side"]]:
        """Return what one unit shows, times i: changes along the axes of the image, and the unit itself."""
        made = self.imaging.patches(self.position, self.sigma, self.amplitude, observation)
        whole = jnp.sum(made, axis=0)
        if len(self.still.sigma):
            still = self.still
            whole = whole + self.imaging.patches(still.position, still.sigma, still.amplitude[None], observation)[0]
        kx, ky = (weights_in_quadrants(frequency) for frequency in self.imaging.frequencies())
        parts = self.layout.chosen(position=[kx * made, ky * made], amplitude=[times_i(made)])
        rows = jnp.concatenate([*self._of_all(observation, whole), *parts])
        return rows.reshape(len(rows), -1), times_i(whole)

    def _of_all(
        self, observation: Observation, whole: Float[Array, "side side"]
    ) -> list[Float[Array, "rows side side"]]:
        """Return what nuisances and fields show of one unit, times i."""
        neutral, rotation = self.imaging.neutral, observation.pose.rotation
        kx, ky = (weights_in_quadrants(frequency) for frequency in self.imaging.frequencies())
        rows: list[Array] = []
        count = self.fields.count
        place = jnp.matmul(rotation, jnp.asarray(neutral.position).T, precision=HIGHEST)
        across = jnp.einsum("ai,niq->aqn", rotation[:2], self.fields.displacement, precision=HIGHEST)
        sets = [place[: 3 * self.nuisances], across[0], across[1], self.fields.amplitude.T]
        amplitudes = jnp.concatenate([jnp.asarray(one) for one in sets]) * neutral.amplitude
        made = self._projected(amplitudes, observation) if len(amplitudes) else jnp.zeros((0, *whole.shape))
        if self.nuisances:
            x, y, z = made[:3]
            turns = [-ky * z, kx * z, ky * x - kx * y]
            rows.append(jnp.stack([times_i(whole), kx * whole, ky * whole, *turns]))
            made = made[3:]
        if count:
            rows.append(jnp.asarray(kx * made[:count] + ky * made[count : 2 * count] + times_i(made[2 * count :])))
        return rows

    def _projected(
        self, amplitudes: Float[Array, "sets points"], observation: Observation
    ) -> Float[Array, "sets side side"]:
        """Return whitened projections of the neutral mixture under several sets of amplitudes."""
        imaging, neutral = self.imaging, self.imaging.neutral
        made = project_amplitudes(
            neutral.position, neutral.sigma, amplitudes, observation.pose, imaging.grid, imaging.grid_pixel_size
        )
        planes = jax.vmap(in_quadrants)(jax.lax.complex(made[:, 0], made[:, 1]))
        return planes * weights_in_quadrants(imaging.factor(observation))

    def _turn(self, rotation: Float[Array, "3 3"]) -> Float[Array, "rows columns"]:
        """Return the matrix from changes of patches to those of `_unit`; the columns before stay as they are."""
        same = jnp.eye(len(self.amplitude))
        first = jnp.eye(self.columns - len(self.layout.kinds) * len(self.amplitude))
        parts = self.layout.chosen(position=[jnp.kron(rotation[:2], same)], amplitude=[same])
        return jax.scipy.linalg.block_diag(first, *parts)

    def _complex(self, observation: Observation) -> tuple[Float[Array, "columns pixels"], Float[Array, "side side"]]:
        """Return the sum over all units of a symmetric complex, changes in the model's own axes."""
        pose = observation.pose

        def add(total: tuple[Array, Array], operator: Array) -> tuple[tuple[Array, Array], None]:
            rotation = jnp.matmul(pose.rotation, operator, precision=HIGHEST)
            changes, whole = self._unit(replace(observation, pose=Pose(rotation=rotation, shift=pose.shift)))
            changes = jnp.matmul(self._turn(rotation).T, changes, precision=HIGHEST)
            return (total[0] + changes, total[1] + whole), None

        side = self.imaging.grid + 2
        start = jnp.zeros((self.columns, side**2)), jnp.zeros((side, side))
        return jax.lax.scan(add, start, jnp.asarray(self.imaging.operators))[0]


def _products(flat: Array, rest: Array, noise: Array) -> tuple[Array, Array, Array, Array]:
    """Return A Aᵀ, A r, what the noise says and |r|²; in full precision, for A Aᵀ must stay positive definite."""
    said = jnp.matmul(noise.reshape(len(noise), flat.shape[1]), flat.T, precision=HIGHEST)
    gradient = jnp.matmul(flat, rest.reshape(-1), precision=HIGHEST)
    return jnp.matmul(flat, flat.T, precision=HIGHEST), gradient, said, jnp.sum(rest**2)


def _layout(patch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (K, M) Gaussians of each patch, repeated to equal number, and 1 where not repeated."""
    count = np.bincount(patch[patch >= 0])
    place = np.zeros((len(count), count.max()), np.int64)
    inside = np.arange(count.max()) < count[:, None]
    place[inside] = np.argsort(patch, kind="stable")[np.count_nonzero(patch < 0) :]
    return place, inside.astype(np.float32)
