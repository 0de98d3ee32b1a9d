"""Modes of large motions, refined on low rings; small ones are left as they are."""

import dataclasses

import jax
import numpy as np

from libhetero.models.gmm import large_motions
from libhetero.models.gmm.changes import neighbouring_pairs
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.large_motions import LinearModel, phase_at_edge, refine_large_motions
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetry_operators
from tests.making.images import BOX, PIXEL, batch_of, clean_images
from tests.making.mixtures import gaussians
from tests.making.optics import defocus_series
from tests.making.poses import poses

COUNT, POINTS, SWING = 32, 24, 5.0  # particles, Gaussians, Å for a latent of 1


def subspace_of(displacement: float, true: np.ndarray) -> Subspace:
    """Return one mode of motion, `displacement` Å along a direction for those that move."""
    modes = (displacement * true)[..., None].astype(np.float32)
    one = np.ones(1, np.float32)
    return Subspace(Layout.of("p"), np.zeros_like(modes[..., 0]), modes, "p", one, one, Nuisances())


def swinging() -> tuple[LinearModel, object, np.ndarray]:
    """Return a linear model, images in which half of the Gaussians swing, and the direction of each."""
    random = np.random.default_rng(0)
    neutral = gaussians(random.normal(0, 6, (POINTS, 3)), 1.0, 3.0)
    direction = np.where(np.arange(POINTS)[:, None] < POINTS // 2, [1.0, 0.0, 0.0], 0.0)
    latent = random.uniform(-1.7, 1.7, COUNT)
    moved = np.float32(neutral.position + SWING * latent[:, None, None] * direction)
    pose, ctf = poses(COUNT, 0), defocus_series(COUNT)
    images = [
        clean_images(dataclasses.replace(neutral, position=place), pose.take([i]), ctf.take([i]))
        for i, place in enumerate(moved)
    ]
    weight = np.full((BOX, BOX // 2 + 1), 20.0, np.float32)
    weight[:, 0], weight[:, -1], weight[BOX // 2] = 0, 0, 0
    imaging = Imaging.of(neutral, symmetry_operators("c1"), 1.0, weight, BOX, PIXEL)
    config = GmmConfig(vary="p", latent_size=1, inference_steps=2)
    model = LinearModel(config, imaging, neighbouring_pairs(neutral.position), np.ones(POINTS, np.float32))
    return model, batch_of(np.concatenate(images), pose, ctf), direction


def test_modes_that_came_out_short_grow_to_the_motion(monkeypatch):
    monkeypatch.setattr(large_motions, "ROUNDS", ((12, 50),))
    monkeypatch.setattr(large_motions, "LARGE", 1.0)
    model, batch, direction = swinging()
    start = subspace_of(2.0, direction)
    neutral, found = refine_large_motions(model, batch, start, 0)
    along = np.sum(found.modes[..., 0] * direction, axis=1)[: POINTS // 2]
    assert np.median(np.abs(along)) > 0.75 * SWING
    assert np.abs(found.modes[POINTS // 2 :]).max() < 0.5 * SWING
    assert not np.any(found.mean)
    assert np.isfinite(jax.tree.leaves(neutral)[0]).all()


def test_small_motions_are_left_as_they_are():
    model, batch, direction = swinging()
    start = subspace_of(0.5, direction)
    neutral, found = refine_large_motions(model, batch, start, 0)
    assert neutral is model.imaging.neutral
    assert found is start


def test_phase_at_the_edge_is_that_of_what_moves_most():
    model, _, direction = swinging()
    expected = np.pi * BOX * 0.5 / (BOX * PIXEL)
    np.testing.assert_allclose(phase_at_edge(model.imaging, subspace_of(0.5, direction)), expected, rtol=1e-6)
    nothing = dataclasses.replace(subspace_of(0.5, direction), layout=Layout.of("a"))
    assert phase_at_edge(model.imaging, nothing) == 0
