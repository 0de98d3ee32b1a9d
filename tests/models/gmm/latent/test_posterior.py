"""The latent that Gauss-Newton steps find, also from far."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.changes import changed
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.posterior import draw, infer, newton_grids
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetry_operators
from tests.making.images import batch_of, clean_images
from tests.making.mixtures import gaussians
from tests.making.optics import defocus_series
from tests.making.poses import poses

BOX, PIXEL, COUNT = 16, 4.0, 4


def test_steps_go_from_coarse_to_fine_where_positions_change():
    assert newton_grids(Layout.of("pa"), 64, 6) == (12, 16, 22, 32, 46, 64)
    assert newton_grids(Layout.of("p"), 16, 4) == (8, 8, 12, 16)
    assert newton_grids(Layout.of("p"), 64, 1) == (64,)
    assert newton_grids(Layout.of("a"), 64, 2) == (64, 64)
    assert newton_grids(Layout.of("p"), 6, 3) == (6, 6, 6)


def far_particles(shift: float) -> tuple:
    """Return a neutral mixture, a mode, and images in which half of the narrow Gaussians are `shift` Å along it."""
    place = np.random.default_rng(0).normal(0, 7, (40, 3))
    neutral = gaussians(place, 1.0, 2.0)
    mode = np.zeros((40, 3, 1), np.float32)
    mode[:20, 0] = 1.0
    moved = dataclasses.replace(neutral, position=neutral.position + shift * mode[..., 0])
    pose, ctf = poses(COUNT, 0), defocus_series(COUNT)
    return neutral, mode, batch_of(np.asarray(clean_images(moved, pose, ctf)), pose, ctf)


def test_a_piece_far_away_is_found():
    neutral, mode, batch = far_particles(7.0)
    config = GmmConfig(vary="p", displacement_scale=3.5)
    weight = np.full((BOX, BOX // 2 + 1), 1e3, np.float32)
    weight[:, 0], weight[:, -1], weight[BOX // 2] = 0, 0, 0
    imaging = Imaging.of(neutral, symmetry_operators("c1"), 1.0, weight, BOX, PIXEL)
    start = jax.tree.map(jnp.asarray, neutral)

    def mixtures(latent):
        return jax.vmap(lambda z: changed(config, start, mode @ z))(latent)

    def tangents(z):
        return config.displacement_scale * mode, jnp.zeros((40, 1))

    latent, _ = infer(imaging, Layout.of("p"), mixtures, tangents, batch, 1, 4)
    np.testing.assert_allclose(latent, 2.0, atol=1e-3)


def linear_problem(images: int, views: int) -> tuple:
    """Return what `infer` takes of a mixture two of whose parts come and go, and single images of it."""
    neutral = gaussians(np.random.default_rng(0).normal(0, 7, (40, 3)), 1.0, 2.0)
    mode = np.zeros((40, 2), np.float32)
    mode[:15, 0], mode[15:25, 1] = 0.5, 0.5
    pose, ctf = poses(images, 3), defocus_series(images)
    clean = np.asarray(clean_images(neutral, pose, ctf))
    noisy = clean + clean.std() * np.random.default_rng(2).normal(size=clean.shape)
    batch = dataclasses.replace(batch_of(noisy, pose, ctf), views=views)
    weight = np.full((BOX, BOX // 2 + 1), 30.0, np.float32)
    weight[:, 0], weight[:, -1], weight[BOX // 2] = 0, 0, 0
    imaging = Imaging.of(neutral, symmetry_operators("c1"), 1.0, weight, BOX, PIXEL)
    start = jax.tree.map(jnp.asarray, neutral)

    def mixtures(latent):
        made = jax.vmap(lambda z: start.amplitude * (1 + mode @ z))(latent)
        same = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(latent), *leaf.shape)), start)
        return dataclasses.replace(same, amplitude=made)

    def tangents(z):
        return jnp.zeros((40, 3, 2)), start.amplitude[:, None] * mode

    return imaging, Layout.of("a"), mixtures, tangents, batch


def joint_solution(alone: tuple, weight: np.ndarray, views: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and precisions of latents of particles, all numbers of a particle's images solved for at once.

    From those of single images after one step from 0, where the prior is 1 and b = P m.
    """
    mean, precision = (np.asarray(part, np.float64) for part in alone)
    size, found, known = mean.shape[1] - rank, np.zeros_like(mean), []
    for first in range(0, len(mean), views):
        rows = [row for row in range(first, first + views) if weight[row]]
        whole, said = np.eye(rank + size * len(rows)), np.zeros(rank + size * len(rows))
        places = [np.r_[:rank, rank + size * k : rank + size * (k + 1)] for k in range(len(rows))]
        for place, row in zip(places, rows, strict=True):
            whole[np.ix_(place, place)] += precision[row] - np.eye(rank + size)
            said[place] += precision[row] @ mean[row]
        solved = np.linalg.solve(whole, said)
        for place, row in zip(places, rows, strict=True):
            found[row] = solved[place]
        known.append(np.linalg.inv(np.linalg.inv(whole)[:rank, :rank]))
    return found, np.array(known)


@pytest.mark.parametrize(
    "nuisances", [None, Nuisances(0.2), Nuisances(0.2, 1.0, 0.05)], ids=["none", "contrast", "all"]
)
def test_images_of_one_particle_have_one_latent(nuisances):
    """Against all their numbers solved for at once; an image without weight says nothing."""
    *problem, batch = linear_problem(6, 3)
    weight = np.array([1, 1, 1, 1, 0, 1], np.float32)
    batch = dataclasses.replace(batch, weight=weight)
    single = dataclasses.replace(batch, views=1)
    alone = infer(*problem, single, 2, 1, nuisances)
    found, precision = infer(*problem, batch, 2, 1, nuisances)
    expected, known = joint_solution(alone, weight, 3, 2)
    used = weight > 0
    np.testing.assert_allclose(np.asarray(found)[used], expected[used], atol=2e-3 * np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(found)[:3, :2], np.broadcast_to(found[0, :2], (3, 2)), atol=1e-6)
    covariance = np.linalg.inv(np.asarray(precision, np.float64))[:, :2, :2]
    np.testing.assert_allclose(covariance[::3], np.linalg.inv(known), rtol=5e-3)


def test_images_of_one_particle_share_what_is_drawn_of_its_latent():
    *problem, batch = linear_problem(6, 3)
    mean, precision = infer(*problem, batch, 2, 1, Nuisances(0.2))
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda key: draw(mean, precision, key, 2, 3))(keys) - mean, np.float64)
    latent = drawn[..., :2].reshape(4000, 2, 3, 2)
    np.testing.assert_allclose(latent, np.broadcast_to(latent[:, :, :1], latent.shape), atol=1e-5)
    for row in (0, 4):
        covariance = np.linalg.inv(np.asarray(precision[row], np.float64))
        said = drawn[:, row].T @ drawn[:, row] / len(keys)
        np.testing.assert_allclose(said, covariance, atol=0.08 * np.abs(covariance).max())
