"""What CryoHype's encoder sees, and the measured spectra of signal and noise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.seen import MONOMIALS, lifted, measure_spectra, seen_image, turn_in_plane, view_features
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.records import Batch, Observation, Pose
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture
from tests.making.models import HYPE
from tests.reference.rotations import about_z, from_euler

SNR = np.full(BOX // 2 + 1, 2.0, np.float32)


def test_turned_projection_is_the_projection_at_psi_0():
    gaussians = mixture()
    position = gaussians.position * np.array([1.5, 1.0, 0.5], np.float32)
    gaussians = dataclasses.replace(gaussians, position=position)
    for psi in (0.4, -2.0, np.pi / 2):
        tilted = jnp.asarray(from_euler(0.7, 1.1, 0.0), jnp.float32)
        turned = jnp.asarray(about_z(psi), jnp.float32) @ tilted
        images = [
            np.asarray(real_image(project_gaussians(gaussians, Pose(rotation=r, shift=jnp.zeros(2)), 32, 3.0), 32))
            for r in (tilted, turned)
        ]
        found = np.asarray(turn_in_plane(jnp.asarray(images[1]), jnp.asarray(psi, jnp.float32)))
        assert np.corrcoef(found.ravel(), images[0].ravel())[0, 1] > 0.995
        assert np.corrcoef(images[1].ravel(), images[0].ravel())[0, 1] < 0.97


def test_aligned_encoder_does_not_see_shift_and_turn():
    """With the CTF's phases flipped, latents of one view differ little; without alignment, much."""
    batch = particles(noise=0.0)
    upright = from_euler(0.7, 1.1, 0.0)
    rotation = np.stack([about_z(psi) @ upright for psi in (0.0, 1.2, -0.8, 2.5)])
    shift = np.array([[0, 0], [4, -2], [-3, 5], [1, 4]], np.float32)
    ctf = jax.tree.map(lambda array: np.repeat(array[:1], 4), batch.ctf)
    ctf = dataclasses.replace(ctf, defocus_v=ctf.defocus_u)
    pose = Pose(rotation=rotation.astype(np.float32), shift=shift)

    def image(pose, ctf):
        plane = project_gaussians(mixture(), pose, BOX, PIXEL) * ctf_at(ctf, half_plane(BOX, PIXEL))
        return real_image(plane, BOX)

    images = jax.jit(jax.vmap(image))(pose, ctf)
    seen = {}
    for align in (True, False):
        config = HypeConfig(**HYPE, align=align, encoder_input="flipped")
        see = jax.vmap(lambda *one, config=config: seen_image(*one, config, PIXEL, SNR))
        seen[align] = np.asarray(jax.jit(see)(images, Observation(pose=pose, ctf=ctf)))

    def least(images):
        return min(np.corrcoef(images[0].ravel(), image.ravel())[0, 1] for image in images[1:])

    assert least(seen[True]) > 0.97
    assert least(seen[False]) < 0.8


def test_spectra_of_signal_and_noise():
    """From images of known spectrum, with CTF and noise; padding has no say."""
    n, count = 32, 400
    random = np.random.default_rng(3)
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]) * n
    truth = 6 * np.exp(-radius / 5)
    sample = particles(count)
    noise = np.fft.rfft2(random.normal(size=(count, n, n)))
    transfer = np.asarray(jax.jit(jax.vmap(lambda c: ctf_at(c, half_plane(n, 3.0))))(sample.ctf))
    images = np.fft.irfft2(noise * truth * transfer, (n, n)) + random.normal(size=(count, n, n))
    images[-10:] *= 100
    weight = np.ones(count, np.float32)
    weight[-10:] = 0
    sample = Batch(images.astype(np.float32), sample.pose, sample.ctf, sample.index, weight)
    signal, noise = measure_spectra(sample, n, 3.0)
    assert signal.shape == (n // 2 + 1,) and signal.dtype == np.float32
    assert noise == pytest.approx(1, rel=0.06)
    rings = np.arange(2, 8)
    np.testing.assert_allclose(np.sqrt(signal[rings]), 6 * np.exp(-rings / 5), rtol=0.12)


def test_wiener_input_is_the_best_linear_guess():
    """Of CTF V + noise with known spectra, no other factor of an image is closer to V on average."""
    n, count = 32, 300
    random = np.random.default_rng(5)
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]) * n
    spectrum = 6 * np.exp(-radius / 5)
    rings = np.arange(n // 2 + 1)
    snr = (36 * np.exp(-rings / 2.5)).astype(np.float32)
    batch = particles(count)
    ctf = jax.tree.map(lambda leaf: leaf[:1], batch.ctf)
    transfer = np.asarray(ctf_at(jax.tree.map(lambda leaf: leaf[0], ctf), half_plane(n, 3.0)))
    truth = np.fft.rfft2(random.normal(size=(count, n, n))) * spectrum
    noise = np.fft.rfft2(random.normal(size=(count, n, n)))
    images = np.fft.irfft2(truth * transfer + noise, (n, n)).astype(np.float32)
    truth = np.fft.irfft2(truth, (n, n))
    pose = Pose(rotation=np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)), shift=np.zeros((count, 2), np.float32))

    def error(kind, factor=1.0):
        config = HypeConfig(**HYPE, align=False, encoder_input=kind, window=1.0)
        see = jax.vmap(
            lambda image, pose: seen_image(
                image, Observation(pose=pose, ctf=jax.tree.map(lambda leaf: leaf[0], ctf)), config, 3.0, factor * snr
            )
        )
        middle = slice(n // 4, 3 * n // 4)  # inside the soft disc
        difference = np.asarray(jax.jit(see)(images, pose)) - truth
        return np.mean(difference[:, middle, middle] ** 2)

    best = error("wiener")
    assert best < 0.5 * error("flipped") and best < 0.5 * error("real")
    assert best < error("wiener", 0.2) and best < error("wiener", 5.0)


def test_seen_image_is_cropped_and_only_moved_where_it_is_real():
    batch = particles(noise=0.0)
    one = jax.tree.map(lambda leaf: leaf[0], batch)
    pose = Pose(rotation=np.asarray(from_euler(0.7, 1.1, 0.0), np.float32), shift=np.array([4.0, -8.0], np.float32))
    observation = Observation(pose=pose, ctf=one.ctf)
    config = HypeConfig(**HYPE, encoder_input="real", align=False, window=1.0)
    seen = np.asarray(seen_image(one.images, observation, config, PIXEL, SNR))
    middle = slice(BOX // 4, 3 * BOX // 4)
    moved = np.roll(one.images, (2, -1), axis=(0, 1))  # by -shift, in pixels
    np.testing.assert_allclose(seen[middle, middle], moved[middle, middle], atol=1e-4)
    small = dataclasses.replace(config, encoder_box=8)
    assert seen_image(one.images, observation, small, PIXEL, SNR).shape == (8, 8)


def test_view_is_where_the_beam_comes_from_whatever_psi():
    """Of the direction d, the third row of the rotation, all products up to degree 4."""
    found = [np.asarray(view_features(jnp.asarray(from_euler(0.7, 1.1, psi), jnp.float32))) for psi in (0.0, 2.0)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    direction = np.asarray(from_euler(0.7, 1.1, 0.0))[2]
    assert len(MONOMIALS) == 3 + 6 + 10 + 15
    np.testing.assert_allclose(found[0][:3], direction, atol=1e-6)
    np.testing.assert_allclose(found[0][-1], direction[2] ** 4, atol=1e-6)


def test_lifted_image_stands_where_it_is_projected_from():
    """At (x, y, z) the pixel at (R x)_xy, between pixels the mean of four by their nearness."""
    m, side, extent = 16, 6, 0.8
    image = np.random.default_rng(7).normal(size=(m, m)).astype(np.float32)
    rotation = np.asarray(from_euler(0.7, 1.1, -0.4), np.float32)
    found = np.asarray(lifted(jnp.asarray(image), jnp.asarray(rotation), side, extent))
    spacing = extent * m / side
    for k in range(side):
        for j in range(side):
            for i in range(side):
                point = spacing * (np.array([i, j, k]) - (side - 1) / 2)
                x, y, _ = rotation.astype(float) @ point + m // 2
                expected = 0.0
                for row in range(int(np.floor(y)), int(np.floor(y)) + 2):
                    for column in range(int(np.floor(x)), int(np.floor(x)) + 2):
                        inside = 0 <= row < m and 0 <= column < m
                        value = image[row, column] if inside else 0.0
                        expected += value * (1 - abs(y - row)) * (1 - abs(x - column))
                assert found[k, j, i] == pytest.approx(expected, abs=1e-4)


def test_lifted_images_tell_two_molecules_apart_in_all_views():
    """The mean over some views is nearer to other views of the same molecule than to the other's."""
    views = 100
    first = dataclasses.replace(mixture(), position=mixture().position * np.float32([1.6, 0.8, 0.4]))
    second = dataclasses.replace(first, position=first.position[:, ::-1])
    config = HypeConfig(**HYPE | {"patch": 4}, lift=8, encoder_input="real", window=1.0)
    optics = jax.tree.map(lambda leaf: leaf[0], particles().ctf)

    def see(gaussians, rotation):
        pose = Pose(rotation=rotation, shift=jnp.zeros(2))
        image = real_image(project_gaussians(gaussians, pose, BOX, PIXEL), BOX)
        return seen_image(image, Observation(pose=pose, ctf=optics), config, PIXEL, SNR).reshape(-1)

    rotations = random_rotations(jax.random.key(2), (views,))
    look = jax.jit(lambda one: jax.vmap(lambda rotation: see(one, rotation))(rotations))
    seen = np.stack([np.asarray(look(one)) for one in (first, second)])
    seen -= seen.mean(axis=(0, 1))
    templates = seen[:, : views // 2].mean(axis=1)
    score = np.einsum("kvx,cx->kvc", seen[:, views // 2 :], templates)
    right = score.argmax(axis=-1) == np.arange(2)[:, None]
    assert right.mean() > 0.8
