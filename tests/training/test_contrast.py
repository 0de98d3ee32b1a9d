"""Is protein white or dark?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.records import Pose
from libhetero.training.contrast import blob_projector, estimate_contrast
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig
from tests.making.feeds import ArrayReader
from tests.making.particles import make_particles

BOX, PIXEL = 32, 4.0


def noisy_feed(sign: int, count: int = 60) -> ParticleFeed:
    """Small blobs off the centre, through the CTF, in noise ten times stronger."""
    particles = make_particles(count, BOX, PIXEL)
    random = np.random.default_rng(4)
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    images = []
    for number in range(count):
        x, y = particles.pose.shift[number]
        square = (axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2
        density = jnp.fft.rfft2(jnp.fft.ifftshift(jnp.exp(-square / (2 * 14.0**2))))
        seen = density * ctf_at(particles.ctf.take(number), half_plane(BOX, PIXEL))
        images.append(sign * np.asarray(real_image(seen, BOX)))
    images = np.stack(images)
    images += 3 * images.std() * random.normal(size=images.shape)
    return ParticleFeed(ArrayReader(images.astype(np.float32)), particles, PreprocessConfig())


@pytest.mark.parametrize("sign", [1, -1])
def test_sign_of_noisy_particles(sign) -> None:
    estimate = estimate_contrast(noisy_feed(sign).batch(np.arange(60)), PIXEL)
    assert estimate.sign == sign and estimate.images == 60
    assert ("dark" in estimate.describe()) == (sign < 0)


def test_noise_is_not_clear() -> None:
    batch = noisy_feed(1).batch(np.arange(60))
    noise = np.random.default_rng(0).normal(size=batch.images.shape).astype(np.float32)
    estimate = estimate_contrast(dataclasses.replace(batch, images=noise), PIXEL)
    assert estimate.sign == 0 and "not clear" in estimate.describe()


def test_padding_does_not_count_and_one_image_is_not_enough() -> None:
    feed = noisy_feed(-1)
    padded = estimate_contrast(feed.batch(np.arange(40), 64), PIXEL)
    plain = estimate_contrast(feed.batch(np.arange(40)), PIXEL)
    assert padded.images == 40
    assert padded.correlation == pytest.approx(plain.correlation, abs=1e-6)
    one = estimate_contrast(feed.batch(np.arange(1)), PIXEL)
    assert one.sign == 0 and one.describe().endswith("with white protein, 1 image)")


def test_a_model_may_take_the_place_of_the_blob() -> None:
    def black(pose: Pose) -> jax.Array:
        return -blob_projector(BOX, PIXEL)(pose)

    assert estimate_contrast(noisy_feed(1).batch(np.arange(60)), PIXEL, black).sign == -1
