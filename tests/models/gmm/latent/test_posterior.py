"""The latent that Gauss-Newton steps find, also from far."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from libhetero.models.gmm.changes import changed
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.posterior import infer, newton_grids
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
