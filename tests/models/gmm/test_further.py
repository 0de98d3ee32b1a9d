"""Particles whose full images are not held: the low rings of them say the same to a search."""

from __future__ import annotations

import dataclasses
from functools import cache

import jax
import numpy as np
import pytest

from libhetero import models
from libhetero.models.contrast import ContrastPrior
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.further import SEARCHED_BOX, SUBSPACE_GRID, read_coarsely, searched_sample, seen_coarsely
from libhetero.models.gmm.latent.normal_equations import normal_equations
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.models.gmm.model import GmmModel
from libhetero.models.gmm.noise import Measured, measure_noise, measure_sample
from libhetero.physics.fourier import dft_image, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed
from libhetero.records import Batch
from tests.making.images import batch_of
from tests.making.mixtures import mixture
from tests.making.optics import defocus_series
from tests.making.poses import poses

N, PIXEL = 72, 2.0


@cache
def full_images(count: int = 24) -> Batch:
    """Return particles whose images are larger than those of a search."""
    pose, ctf = poses(count, 3), defocus_series(count)
    batch = batch_of(np.zeros((count, N, N)), pose, ctf)
    frequencies = half_plane(N, PIXEL)

    def one(observation):
        return real_image(
            observed(project_gaussians(mixture(), observation.pose, N, PIXEL), observation, frequencies), N
        )

    images = np.asarray(jax.jit(jax.vmap(one))(batch.observation))
    noise = np.random.default_rng(1).normal(size=images.shape)
    return dataclasses.replace(batch, images=(images + images.std() * noise).astype(np.float32))


def some(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a batch."""
    return jax.tree.map(lambda leaf: leaf[rows], batch)


def test_the_rings_of_the_search_are_kept():
    batch = full_images()
    coarse = seen_coarsely(batch)
    assert coarse.images.shape == (24, SEARCHED_BOX, SEARCHED_BOX)
    expected, found = (jax.vmap(lambda image: dft_image(image, SUBSPACE_GRID))(one.images) for one in (batch, coarse))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert seen_coarsely(coarse) is coarse, "small images stay as they are"


def test_particles_read_in_blocks_say_what_full_images_say():
    batch = full_images()
    scale, weight = measure_noise(mixture(), batch, N, PIXEL, (1, N // 2))
    seen = Imaging.of(mixture(), np.eye(3)[None], scale, weight, N, PIXEL, SUBSPACE_GRID)
    coarse = read_coarsely(some(batch, slice(start, start + 8)) for start in (0, 8, 16))
    patch = np.repeat([0, 1], 10)
    expected, found = (normal_equations(seen, one, patch, Layout.of("pa"), nuisances=True) for one in (batch, coarse))
    for name in ("hessian", "gradient"):
        one, other = getattr(expected, name), getattr(found, name)
        np.testing.assert_allclose(other, one, atol=1e-4 * np.abs(one).max())


def test_further_particles_are_searched_and_junk_among_them_is_not():
    batch = full_images()
    junk = np.arange(24) % 4 == 3
    noise = np.random.default_rng(2).normal(size=batch.images.shape).astype(np.float32) * batch.images.std()
    mixed = dataclasses.replace(batch, images=np.where(junk[:, None, None], noise, batch.images))
    measured = measure_sample(mixture(), some(batch, slice(8)), N, PIXEL, (1, N // 2), judged=False)
    assert searched_sample(mixture(), measured, None, N, PIXEL, judged=True) is measured.sample
    measured = Measured(measured.sample, measured.scale, measured.ring_weight, ContrastPrior(spread=0.1, junk=0.2))
    further = read_coarsely([some(mixed, slice(8, 24))])
    found = searched_sample(mixture(), measured, further, N, PIXEL, judged=True)
    np.testing.assert_array_equal(found.index, np.arange(24))
    np.testing.assert_array_equal(found.weight > 0, np.r_[np.ones(8, bool), ~junk[8:]])
    assert found.images.shape == (24, SEARCHED_BOX, SEARCHED_BOX)
    unjudged = searched_sample(mixture(), measured, further, N, PIXEL, judged=False)
    assert (unjudged.weight > 0).all()


def test_a_model_searches_in_the_sample_and_in_further_particles(monkeypatch: pytest.MonkeyPatch):
    searched: list[Batch] = []
    monkeypatch.setattr(GmmModel, "_with_subspace", lambda model, sample, seed: searched.append(sample) or model)
    batch, further = full_images(), read_coarsely([some(full_images(), slice(8, 24))])
    asked = {"box_size": N, "pixel_size": PIXEL, "gaussians": mixture(), "sample": some(batch, slice(8))}
    config = GmmConfig(decoder="mlp")
    for more in (None, further):
        models.create("gmm", config, **asked, further=more)
    assert [len(one.weight) for one in searched] == [8, 24]
    assert [one.images.shape[-1] for one in searched] == [N, SEARCHED_BOX]
