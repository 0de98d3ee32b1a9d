"""Starting Gaussians fitted anew to a map at solved poses, where listed poses are off."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.family import MixtureFamily
from libhetero.pipelines.run import sharper_start as sharper
from libhetero.pipelines.run.sharper_start import sharper_start
from libhetero.records import Batch, Gaussians, Pose
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture
from tests.making.series import in_series

SCALE = 3.0


class Searched(MixtureFamily):
    """A model as a search has left it, that solves for the true poses."""

    family, config, box_size, pixel_size = "gmm", None, BOX, PIXEL
    ring_weight, image_scale = np.ones((BOX, BOX // 2 + 1), np.float32), SCALE
    blur = 0.0

    def __init__(self, true: Pose, blur: float, junk: Sequence[int] = ()) -> None:
        self.true, self.blur = true, blur
        self.junk = np.isin(np.arange(len(true.shift)), junk).astype(np.float32)

    def init(self, key):
        return {}

    def solved_poses(self, params, batch):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[batch.index], self.true), jnp.asarray(self.junk)[batch.index]


def blurred(gaussians: Gaussians) -> Gaussians:
    """Return Gaussians as a map of images at wrong poses would give them."""
    return dataclasses.replace(gaussians, sigma=np.hypot(gaussians.sigma, 5).astype(np.float32))


def wrongly_listed(images: Batch) -> Batch:
    """Return images whose listed poses are off by some Å."""
    off = np.random.default_rng(3).normal(0, 5, images.pose.shift.shape).astype(np.float32)
    return dataclasses.replace(images, pose=dataclasses.replace(images.pose, shift=images.pose.shift + off))


def start_of(images: Batch, given: Gaussians, blur: float = 4.0, junk: Sequence[int] = ()) -> Gaussians | None:
    """Return what `sharper_start` makes of images listed with wrong poses, the true ones being solved for."""
    return sharper_start(Searched(images.pose, blur, junk), given, wrongly_listed(images), "c1", BOX, PIXEL)


@pytest.fixture(autouse=True)
def _few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharper, "TOGETHER", 24)  # so that the last part is filled up


def test_gaussians_are_as_narrow_as_the_map_at_solved_poses_shows():
    images = particles(200, noise=0.5, scale=SCALE)
    start = start_of(images, blurred(mixture()))
    assert start is not None
    assert np.median(start.sigma) < 0.85 * np.median(blurred(mixture()).sigma)
    total = mixture().amplitude.sum()  # in the unit of the given ones, whatever the images' scale
    np.testing.assert_allclose(start.amplitude.sum(), total, rtol=0.15)
    assert all(np.asarray(leaf).dtype == np.float32 for leaf in jax.tree.leaves(start))


def test_junk_has_no_part_in_the_map_or_in_its_judgement():
    images = particles(200, noise=0.5, scale=SCALE)
    junk = np.arange(0, 200, 3)
    noise = images.images.copy()
    noise[junk] = images.images.std() * np.random.default_rng(4).normal(size=noise[junk].shape)
    start = start_of(dataclasses.replace(images, images=noise), blurred(mixture()), junk=junk)
    assert start is not None
    np.testing.assert_allclose(start.amplitude.sum(), mixture().amplitude.sum(), rtol=0.15)


def test_better_gaussians_than_the_map_of_a_sample_gives_stay():
    assert start_of(particles(40, noise=3.0, scale=SCALE), mixture()) is None


def test_too_few_particles_to_judge_by_change_nothing():
    assert start_of(particles(3, scale=SCALE), blurred(mixture())) is None


def test_nothing_is_done_where_poses_blur_nothing():
    assert start_of(particles(8, scale=SCALE), blurred(mixture()), blur=0.3) is None


def test_gaussians_stay_where_the_sample_makes_no_map(caplog: pytest.LogCaptureFixture):
    images = particles(8, scale=SCALE)
    nothing = dataclasses.replace(images, images=np.zeros_like(images.images))
    with caplog.at_level("INFO"):
        assert start_of(nothing, blurred(mixture())) is None
    assert "the given Gaussians stay" in caplog.text


def test_images_of_a_series_are_put_at_poses_of_their_own():
    images = in_series(120, 3, lacking=(1, 5))
    start = start_of(images, blurred(mixture()))
    assert start is None or np.isfinite(start.sigma).all()
    images, of_particle = sharper._at_solved_poses(Searched(images.pose, 4.0), wrongly_listed(images), 7)
    assert len(images.weight) == len(of_particle) == 118
    assert list(of_particle[:5]) == [0, 0, 1, 1, 2]
