"""What happens to an image between the stack and the model."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError, DataError
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import crop_fourier_image, fourier_image, half_plane, real_image
from libhetero.physics.observation import odd_factors
from libhetero.training.preprocess import (
    PreprocessConfig,
    as_models_expect,
    background_mean,
    estimate_deviation,
    fourier_crop,
    outside_circle,
    preprocess,
    remove_odd_phase,
    restore_signs,
    sample_indices,
)
from tests.making.feeds import ArrayReader
from tests.making.optics import aberrations
from tests.making.particles import make_particles


@pytest.fixture
def images() -> np.ndarray:
    return (3 + 2 * np.random.default_rng(0).normal(size=(6, 16, 16))).astype(np.float32)


def test_background_is_zero_and_the_set_has_unit_deviation(images) -> None:
    config = PreprocessConfig()
    deviation = estimate_deviation(ArrayReader(images), 6, config)
    done = preprocess(images, PreprocessConfig(deviation=deviation))
    assert done.dtype == np.float32
    np.testing.assert_allclose(done[:, outside_circle(16)].mean(axis=1), 0, atol=1e-6)
    assert np.sqrt(np.mean(done**2)) == pytest.approx(1, abs=1e-5)


def test_each_image_can_have_unit_deviation(images) -> None:
    images[2] *= 5
    done = preprocess(images, PreprocessConfig(normalise="image"))
    np.testing.assert_allclose(done.std(axis=(1, 2)), 1, rtol=1e-5)


def test_contrast_is_a_sign(images) -> None:
    plain, inverted = (preprocess(images, PreprocessConfig(contrast=c)) for c in (1, -1))
    np.testing.assert_array_equal(plain, -inverted)


@pytest.mark.parametrize("n, m", [(16, 8), (16, 10), (17, 8), (16, 7), (17, 9), (16, 16)])
def test_fourier_crop_is_that_of_physics(n, m) -> None:
    image = np.random.default_rng(1).normal(size=(2, n, n)).astype(np.float32)
    for one, cropped in zip(image, fourier_crop(image, m), strict=True):
        expected = real_image(crop_fourier_image(fourier_image(one), m), m)
        np.testing.assert_allclose(cropped, expected, atol=1e-6)


def test_fourier_crop_keeps_the_level_and_refuses_to_grow(images) -> None:
    flat = np.full((1, 16, 16), 7, np.float32)
    np.testing.assert_allclose(fourier_crop(flat, 8), 7, rtol=1e-6)
    with pytest.raises(ConfigurationError, match="larger than the particles' box 16"):
        fourier_crop(images, 18)


def test_signs_of_flipped_images_come_back() -> None:
    particles = make_particles(3, 16)
    raw = np.random.default_rng(2).normal(size=(3, 16, 16)).astype(np.float32)
    ctf = jax.vmap(lambda one: ctf_at(one, half_plane(16, 2.0)))(
        jax.tree.map(lambda a: np.asarray(a, np.float32), particles.ctf)
    )
    flipped = jax.vmap(lambda x, c: real_image(fourier_image(x) * c, 16))
    flipped = np.asarray(flipped(raw, np.where(ctf < 0, -1.0, 1.0)))
    np.testing.assert_allclose(restore_signs(flipped, particles.ctf, 2.0), raw, atol=1e-5)


def test_odd_aberrations_are_taken_off() -> None:
    """White noise stays white, and a flipped image gets its signs back besides."""
    particles, random = make_particles(3, 16), np.random.default_rng(2)
    raw = random.normal(size=(3, 16, 16)).astype(np.float32)
    raw = np.array([real_image(fourier_image(image).at[8].set(0).at[:, 8].set(0), 16) for image in raw])
    ctf = dataclasses.replace(particles.ctf, **aberrations(3))
    factors = odd_factors(ctf, half_plane(16, 2.0))
    aberrated = np.array([real_image(fourier_image(x) * factor, 16) for x, factor in zip(raw, factors, strict=True)])
    assert np.abs(aberrated - raw).max() > 0.5
    found = remove_odd_phase(aberrated, ctf, 2.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, raw, atol=1e-5)
    power = [np.sum(np.square(images), axis=(1, 2)) for images in (aberrated, raw)]
    np.testing.assert_allclose(*power, rtol=1e-5)
    flipped = as_models_expect(restore_signs(aberrated, ctf, 2.0), ctf, 2.0, phase_flipped=True)
    np.testing.assert_allclose(flipped, raw, atol=1e-4)
    assert as_models_expect(raw, particles.ctf, 2.0, phase_flipped=False) is raw


def test_the_sample_is_fixed() -> None:
    chosen = sample_indices(5000, 100, 0)
    np.testing.assert_array_equal(chosen, sample_indices(5000, 100, 0))
    assert len(np.unique(chosen)) == 100 and np.all(np.diff(chosen) > 0)
    np.testing.assert_array_equal(sample_indices(5, 100, 0), np.arange(5))


def test_bad_pixels_and_constant_images_are_named(images) -> None:
    with pytest.raises(DataError, match="constant"):
        estimate_deviation(ArrayReader(np.ones_like(images)), 6, PreprocessConfig())
    images[3, 2, 2] = np.nan
    with pytest.raises(DataError, match="not finite"):
        estimate_deviation(ArrayReader(images), 6, PreprocessConfig())


def test_configuration_is_strict_and_travels() -> None:
    config = PreprocessConfig(contrast=-1, normalise="image", box_size=32, deviation=2.5)
    assert from_dict(PreprocessConfig, to_dict(config)) == config
    for wrong in ({"contrast": 0}, {"normalise": "x"}, {"deviation": 0.0}, {"box_size": 2}):
        with pytest.raises(ConfigurationError):
            PreprocessConfig(**wrong)


def test_an_image_is_prepared_alike_whatever_lies_beside_it() -> None:
    """To the last bit: a run that is resumed cuts its reads elsewhere."""
    particles = make_particles(9, 20)
    raw = np.random.default_rng(3).normal(size=(9, 20, 20)).astype(np.float32)
    config = PreprocessConfig(normalise="image", box_size=14)
    whole = preprocess(restore_signs(raw, particles.ctf, 2.0), config)
    for i in range(9):
        one = restore_signs(raw[i : i + 1], particles.ctf.take(np.array([i])), 2.0)
        np.testing.assert_array_equal(preprocess(one, config)[0], whole[i])


def test_the_background_is_what_lies_outside_the_circle() -> None:
    axis = np.arange(12) - 6
    outside = axis[:, None] ** 2 + axis[None, :] ** 2 > 36
    images = np.where(outside, 2, np.array([5, -5])[:, None, None]).astype(np.float32)
    np.testing.assert_allclose(background_mean(images), [2, 2])


def test_no_particle_is_sampled_twice() -> None:
    found = sample_indices(1000, 900, seed=1)
    assert len(found) == 900 and (np.diff(found) > 0).all() and found[0] >= 0 and found[-1] < 1000
    np.testing.assert_array_equal(sample_indices(5, 9, seed=1), np.arange(5))
