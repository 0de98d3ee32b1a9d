"""CryoHype on particles of several images: one latent and one volume of all of them, in any order and number."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype import transformer
from libhetero.models.hype.config import MOST_IMAGES, HypeConfig
from libhetero.models.hype.latent.class_search import most_particles
from libhetero.models.hype.latent.classes import joint_likelihood
from libhetero.models.hype.latent.normal_equations import equations_of
from libhetero.models.hype.model import SERIES, HypeModel
from libhetero.models.hype.series import TILT_FEATURES, some_shown, tilt_features
from libhetero.models.sample import spread_over
from libhetero.tilts import rows_of_views
from tests.making.images import BOX, PIXEL, particles
from tests.making.models import HYPE, random_params, square_errors
from tests.making.series import in_series
from tests.making.starts import moving_start

VIEWS, COUNT = 4, 3
LACKING = (5, 6, 7)  # all but the first of the second particle


def batch_of_series(lacking=()):
    """Return particles of four tilts, each with an exposure of its own."""
    batch = in_series(VIEWS * COUNT, VIEWS, lacking=lacking)
    exposure = np.tile(np.arange(VIEWS, dtype=np.float32) * 30, COUNT)
    return dataclasses.replace(batch, ctf=dataclasses.replace(batch.ctf, exposure=exposure))


@cache
def made(start=False, **changes):
    model = HypeModel.from_data(HypeConfig(**HYPE | changes), BOX, PIXEL, batch_of_series())
    model = dataclasses.replace(model, start=moving_start(BOX)) if start else model
    return model, random_params(model.init)


@cache
def encoder(start=False):
    model, _ = made(start)
    return jax.jit(model.encode)


def latents(batch, start=False):
    found = np.asarray(encoder(start)(made(start)[1], batch))
    of_each = found.reshape(-1, batch.views, found.shape[1])
    assert np.all(of_each == of_each[:, :1])
    return of_each[:, 0]


@pytest.mark.parametrize("start", [False, True])
def test_images_of_one_particle_have_one_latent_in_any_order(start):
    batch = batch_of_series()
    found = latents(batch, start)
    assert np.ptp(found, axis=0).max() > 0.1
    random = np.random.default_rng(0)
    rows = np.concatenate([VIEWS * place + random.permutation(VIEWS) for place in (2, 0, 1)])
    mixed = jax.tree.map(lambda leaf: leaf[rows], batch)
    np.testing.assert_allclose(latents(mixed, start), found[[2, 0, 1]], atol=2e-4)


@pytest.mark.parametrize("start", [False, True])
def test_images_that_a_particle_lacks_say_nothing(start):
    batch = batch_of_series(LACKING)
    other = np.array(batch.images)
    other[list(LACKING)] = 3 * np.random.default_rng(1).normal(size=other[:3].shape)
    changed = dataclasses.replace(batch, images=other)
    np.testing.assert_allclose(latents(changed, start), latents(batch, start), atol=1e-5)
    whole = dataclasses.replace(changed, weight=np.ones(VIEWS * COUNT, np.float32))
    assert np.abs(latents(whole, start) - latents(batch, start))[1].max() > 1e-2
    alone = jax.tree.map(lambda leaf: leaf[[4]], batch)
    one = np.asarray(made(start)[0].encode(made(start)[1], dataclasses.replace(alone, views=1)))
    np.testing.assert_allclose(one, latents(batch, start)[1:2], atol=2e-4)


def test_exposure_and_tilt_are_positions_of_images():
    batch = batch_of_series()
    swapped = dataclasses.replace(batch.ctf, exposure=batch.ctf.exposure[::-1].copy())
    assert np.abs(latents(dataclasses.replace(batch, ctf=swapped)) - latents(batch)).max() > 1e-3


def test_what_is_told_of_tilts():
    ctf = batch_of_series().ctf.take(np.arange(VIEWS))
    found = np.asarray(tilt_features(ctf, VIEWS))
    np.testing.assert_allclose(found, np.stack([[0, 0.6, 1.2, 1.8], [0, 0.36, 1.44, 3.24], ctf.scale, ctf.scale**2], 1))
    warp = dataclasses.replace(ctf, exposure=None, b_factor=4 * ctf.exposure)
    np.testing.assert_allclose(tilt_features(warp, VIEWS), found, rtol=1e-6)
    assert tilt_features(None, 2).shape == (2, TILT_FEATURES) and not np.any(tilt_features(None, 2))


def test_in_training_half_of_the_particles_show_all_of_their_images_and_others_any_number():
    there = np.arange(8) < np.repeat([8, 5, 1, 0], 2000)[:, None]
    shown = np.asarray(some_shown(jax.random.key(0), jnp.asarray(there)))
    assert not np.any(shown & ~there)
    count = shown.sum(axis=1).reshape(4, -1)
    assert count[:3].min() == 1 and not count[3].any() and set(count[0]) == set(range(1, 9))
    assert np.mean(count[0] == 8) == pytest.approx(0.5 + 0.5 / 9, abs=0.04)
    assert np.all(np.asarray(some_shown(jax.random.key(1), jnp.asarray(there))).sum(axis=1)[4000:6000] == 1)


def test_loss_is_the_square_error_of_all_images_there_are():
    model, params = made(particle_contrast="none")
    batch = batch_of_series(LACKING)

    @jax.jit
    def compare(params, batch):
        each = square_errors(model, params, batch)
        return jnp.sum(batch.weight * each) / jnp.sum(batch.weight), model.loss(params, batch, jax.random.key(0), False)

    expected, (loss, metrics) = compare(params, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4) and metrics["mse"] == loss


def test_training_hides_images_and_compares_some_pixels_of_all():
    model, params = made(coordinates=40)
    assert (
        model.config.compared(1) == 40
        and model.config.compared(VIEWS) == 20
        and model.config.compared(41) == 7
        and model.config.compared(3) == 24
    )
    assert HypeConfig(**HYPE).compared(41) == 0
    batch = batch_of_series()
    step = jax.jit(jax.value_and_grad(lambda *given: model.loss(*given)[0]))
    (first, gradient), (second, _) = (step(params, batch, jax.random.key(seed)) for seed in (0, 1))
    assert first != second
    for name in ("tilt", "patch", "view"):
        assert np.abs(gradient["encoder"][name]["kernel"]).max() > 0


def test_molecules_are_told_by_the_sum_of_what_images_say():
    model, _ = made(start=True)
    start, batch = model.start, batch_of_series(LACKING)
    found = np.asarray(jax.jit(model.memberships)(batch))
    assert found.shape[0] == VIEWS * COUNT
    for place in range(COUNT):
        rows = [row for row in rows_of_views(np.array([place]), VIEWS) if batch.weight[row]]
        gradient, hessian = 0.0, 0.0
        for row in rows:
            observation = jax.tree.map(lambda leaf, row=row: leaf[row], batch.observation)
            pixels = start.pixels(jnp.asarray(batch.images[row]), observation, PIXEL)
            one = equations_of(*pixels, jnp.asarray(start.table))
            gradient, hessian = gradient + one[0], hessian + one[1]
        joint = joint_likelihood(
            gradient[None], hessian[None], start.vectors, start.squares, start.share, np.float32(start.spread)
        )
        np.testing.assert_allclose(found[VIEWS * place + 2], jax.nn.softmax(joint[0]), atol=2e-3)


def test_queries_that_attend_some_at_a_time_find_the_same(monkeypatch):
    """Latents, and their gradients."""
    model, params = made()
    batch = batch_of_series(LACKING)

    def found():
        def size(params):
            latent = model.encode(params, batch)
            return jnp.sum(jnp.sin(jnp.arange(latent.size)) * latent.ravel()), latent

        (_, latent), gradient = jax.jit(jax.value_and_grad(size, has_aux=True))(params)
        return latent, gradient

    latent, gradient = found()
    monkeypatch.setattr(transformer, "QUERIES", 5)
    other, same = found()
    np.testing.assert_allclose(other, latent, atol=2e-5)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    for one, another in zip(jax.tree.leaves(gradient), jax.tree.leaves(same), strict=True):
        np.testing.assert_allclose(one, another, atol=1e-4 * largest)


def test_attention_of_many_tokens_needs_no_square_of_memory():
    tokens, shape = 8 * transformer.QUERIES - 3, (2, 4)
    query, key, value = (
        jnp.asarray(part, jnp.float32) for part in np.random.default_rng(0).normal(size=(3, tokens, *shape))
    )
    attended = jnp.arange(tokens) % 3 > 0

    def compiled(attention):
        def size(*tokens):
            return jnp.sum(attention(*tokens, attended) ** 2)

        return jax.jit(jax.value_and_grad(size, (0, 1, 2))).lower(query, key, value).compile()

    whole, parted = (compiled(one) for one in (transformer._attention, transformer._in_blocks))
    used = [one.memory_analysis().temp_size_in_bytes for one in (whole, parted)]
    assert used[0] > 4 * shape[0] * tokens**2 > 2 * used[1]
    for one, other in zip(
        jax.tree.leaves(whole(query, key, value)), jax.tree.leaves(parted(query, key, value)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_posteriors_are_of_images_and_their_latents_of_particles():
    model, params = made()
    batch = batch_of_series()
    found = jax.jit(model.posterior)(params, batch)
    np.testing.assert_allclose(found.latent, np.repeat(latents(batch), VIEWS, axis=0), atol=1e-5)
    contrast = np.asarray(found.contrast).reshape(COUNT, VIEWS)
    assert np.ptp(contrast, axis=1).min() > 0 and np.asarray(found.evidence).shape == (COUNT * VIEWS,)


def test_a_model_of_series_is_stored_as_one():
    model, params = made()
    stored = model.arrays()
    assert stored[SERIES] == 1
    again = HypeModel.from_arrays(model.config, stored)
    assert again.series
    assert jax.tree.structure(again.init(jax.random.key(0))) == jax.tree.structure(params)
    single = HypeModel.from_data(HypeConfig(**HYPE), BOX, PIXEL, particles())
    assert SERIES not in single.arrays() and "tilt" not in single.init(jax.random.key(0))["encoder"]
    assert HypeConfig(**HYPE).takes_series and not HypeConfig(**HYPE, encoder="mlp").takes_series


def test_statistics_are_of_all_tilts_and_of_no_padding():
    """Of as many particles as make a regular draw take the same tilt of each."""
    views, count = 8, 512
    batch = in_series(views * count, views, lacking=np.arange(1, views * count, views))
    drawn = spread_over(batch, 256)
    tilt = np.asarray(drawn.index) % views
    assert drawn.views == 1 and len(tilt) == 256 and np.all(drawn.weight == 1)
    assert np.bincount(tilt, minlength=views)[[0, 2, 3, 4, 5, 6, 7]].min() > 15 and not np.any(tilt == 1)


def test_no_more_particles_are_searched_than_slices_are_held():
    begun = HypeConfig(**HYPE, start="classes")
    for box, views in ((32, 41), (32, 11), (64, 41), (128, 2)):
        assert begun.sample_size(box, 256, views) <= most_particles(views)
        assert begun.sample_size(box, 256, views) * views * 4 * box**2 <= MOST_IMAGES
