"""Pixels drawn in place of all: every ring its share, and a loss that is the same on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.sampling import MOST_HIDDEN, draw, inclusion_probability, kept
from libhetero.physics.fourier import disc_indices

RADIUS = np.sort(np.random.default_rng(0).uniform(1, 16, 400))
SIGNAL = np.exp(-RADIUS / 4)


@pytest.mark.parametrize("count", [1, 60, 250, 399])
def test_probabilities_sum_to_the_count(count):
    probability = inclusion_probability(SIGNAL, count)
    assert probability.sum() == pytest.approx(count)
    assert probability.min() > 0 and probability.max() <= 1
    assert (np.diff(probability) <= 1e-12).all()


def test_all_pixels_where_no_fewer_are_asked_for():
    assert (inclusion_probability(SIGNAL, 400) == 1).all()
    assert (inclusion_probability(SIGNAL, 1000) == 1).all()


def test_pixels_without_signal_keep_a_part_of_the_mean():
    signal = np.where(np.arange(100) < 10, 1.0, 0.0)
    probability = inclusion_probability(signal, 30)
    assert (probability[:10] == 1).all()
    np.testing.assert_allclose(probability[10:], 20 / 90)


def test_draws_are_fair_and_without_repeats():
    count = 60
    probability = inclusion_probability(SIGNAL, count)
    keys = jax.random.split(jax.random.key(1), 20_000)
    chosen = np.asarray(jax.jit(jax.vmap(lambda key: draw(key, jnp.asarray(probability, jnp.float32), count)))(keys))
    assert chosen.shape == (20_000, count)
    assert (np.diff(chosen, axis=1) > 0).all()
    share = np.bincount(chosen.ravel(), minlength=400) / len(keys)
    error = np.sqrt(probability * (1 - probability) / len(keys))
    assert (np.abs(share - probability) < 5 * error + 1e-3).all()
    values = np.random.default_rng(2).normal(size=400) ** 2
    estimate = (values[chosen] / probability[chosen]).sum(axis=1)
    assert estimate.mean() == pytest.approx(values.sum(), rel=0.01)


def test_every_ring_has_its_share_in_every_draw():
    probability = inclusion_probability(SIGNAL, 60)
    for seed in range(20):
        chosen = np.asarray(draw(jax.random.key(seed), jnp.asarray(probability, jnp.float32), 60))
        for low in range(0, 400, 50):
            inside = ((chosen >= low) & (chosen < low + 50)).sum()
            assert abs(inside - probability[low : low + 50].sum()) <= 1


@pytest.mark.parametrize("count", [1, 60, 150, 199])
def test_no_pixel_is_drawn_more_often_than_it_may_be(count):
    probability = inclusion_probability(SIGNAL, count, MOST_HIDDEN)
    assert probability.sum() == pytest.approx(count)
    assert probability.min() > 0 and probability.max() <= MOST_HIDDEN + 1e-12
    assert (inclusion_probability(SIGNAL, 200, MOST_HIDDEN) == MOST_HIDDEN).all()


def test_what_is_drawn_is_hidden_and_the_image_stays_on_average():
    """Both of k and -k, which rows of kx = 0 hold; beyond the disc nothing is changed."""
    n = 12
    disc = disc_indices(n)
    probability = jnp.asarray(inclusion_probability(np.linspace(2, 1, len(disc)), 20, MOST_HIDDEN), jnp.float32)
    keys = jax.random.split(jax.random.key(2), 4000)
    chosen = jax.vmap(lambda key: draw(key, probability, 20))(keys)
    shown = np.asarray(jax.jit(jax.vmap(lambda chosen: kept(chosen, disc, probability, n)))(chosen))
    assert shown.shape == (4000, n, n // 2 + 1)
    flat = shown.reshape(4000, -1)
    assert np.all(np.take_along_axis(flat, disc[np.asarray(chosen)], axis=1) == 0)
    assert np.all(np.count_nonzero(flat[:, disc] == 0, axis=1) == 20)
    np.testing.assert_array_equal(shown[:, 1:, 0], shown[:, :0:-1, 0])
    np.testing.assert_allclose(flat.mean(axis=0), 1, atol=0.1)
    outside = np.ones((n, n // 2 + 1), bool)
    outside.reshape(-1)[disc] = False
    outside[1:, 0] &= outside[:0:-1, 0]
    assert np.all(shown[:, outside] == 1)
    image = np.fft.irfft2(np.fft.rfft2(np.random.default_rng(0).normal(size=(n, n))) * shown[0], (n, n))
    hidden = disc[np.asarray(chosen[0])]
    assert np.abs(np.fft.rfft2(image).reshape(-1)[hidden]).max() < 1e-12
