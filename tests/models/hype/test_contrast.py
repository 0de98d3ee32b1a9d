"""CryoHype's contrasts: what an image weighs in the loss, how the set's spread and junk are learnt, the noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from libhetero.models.corner_noise import measure_noise
from libhetero.models.hype.contrast import prior_of, start_of_contrast, weigh
from tests.making.images import particles


def test_spread_and_junk_follow_the_likelihood_of_the_set():
    random = np.random.default_rng(0)
    count, pixels = 400, 60
    expected = (random.normal(size=(count, pixels)) + 1j * random.normal(size=(count, pixels))).astype(np.complex64)
    shows_nothing = np.arange(count) < 80
    contrast = np.where(shows_nothing, 0, 1 + 0.25 * random.normal(size=count))
    noise = random.normal(size=(count, pixels)) + 1j * random.normal(size=(count, pixels))
    images = (contrast[:, None] * expected + noise).astype(np.complex64)
    power = jnp.full(pixels, 2.0)

    @jax.jit
    def weighed(params):
        return jax.vmap(lambda one, image: weigh(params, one, image, power))(expected, images)

    optimiser, params = optax.adam(0.1), start_of_contrast()
    state = optimiser.init(params)

    @jax.jit
    def step(params, state):
        slope = jax.grad(lambda params: jnp.mean(weighed(params)[2]))(params)
        change, state = optimiser.update(slope, state)
        return optax.apply_updates(params, change), state

    for _ in range(100):
        params, state = step(params, state)
    prior = prior_of(params)
    np.testing.assert_allclose(prior.junk, 0.2, atol=0.03)
    np.testing.assert_allclose(prior.spread, 0.25, atol=0.04)
    found, junk, _ = weighed(params)
    assert np.mean((np.asarray(junk) > 0.5) == shows_nothing) > 0.98
    assert np.corrcoef(found[80:], contrast[80:])[0, 1] > 0.9


def test_no_spread_and_no_junk_leave_every_image_as_it_is():
    params = {"spread": jnp.float32(-30), "junk": jnp.float32(-90)}
    expected, image = jnp.ones(8, jnp.complex64), jnp.full(8, 0.3, jnp.complex64)
    contrast, junk, _ = weigh(params, expected, image, jnp.ones(8))
    assert (float(contrast), float(junk)) == (1, 0)
    empty = weigh(start_of_contrast(), 0 * expected, image, jnp.ones(8))
    assert np.isfinite(empty).all() and float(empty[0]) == 1


def test_the_noise_of_each_ring_is_that_of_the_corners():
    batch = particles()
    n = 32
    random = np.random.default_rng(1)
    coloured = np.fft.rfft2(random.normal(size=(200, n, n)))
    wave = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]) * n
    images = np.fft.irfft2(coloured * (1 + (wave < 8)), s=(n, n))
    axis = np.abs(np.arange(n) - n // 2)
    images += 30 * (np.maximum(axis[:, None], axis[None]) < n // 4)  # a particle, far above the noise
    many = dataclasses.replace(
        batch, images=images.astype(np.float32), weight=np.ones(200, np.float32), index=np.arange(200)
    )
    noise = measure_noise(many, n)
    assert noise.shape == (n // 2 + 1,)
    np.testing.assert_allclose(noise[[4, 5, n // 2 - 2]], [4, 4, 1], rtol=0.3)
