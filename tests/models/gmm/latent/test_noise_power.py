"""The noise of each image: known from what no change explains, and what keeps noise from passing for a change."""

import dataclasses

import numpy as np
import pytest

from libhetero.models.gmm.latent.directions import find_directions
from libhetero.models.gmm.latent.noise_power import NOTICEABLE, NoisePower, Said
from libhetero.models.gmm.latent.normal_equations import Equations, each_image, normal_equations
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.layout import Layout
from libhetero.physics.symmetry import symmetry_operators
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture

IMAGES, COLUMNS, COMPARED, DRAWS = 400, 12, 300, 20
COUNT = 20  # Gaussians of the tiny mixture


def said_of(noise: np.ndarray, change: float = 0.0, seed: int = 0) -> Said:
    """Return what images say whose noise has these standard deviations, each with a change of its own."""
    random = np.random.default_rng(seed)
    seen = random.normal(size=(len(noise), COLUMNS, COMPARED)).astype(np.float32)
    seen[:, -1] = 0  # a column that shows nothing
    own = change * random.normal(size=(len(noise), COLUMNS)).astype(np.float32)
    rest = noise[:, None].astype(np.float32) * random.normal(size=(len(noise), COMPARED)).astype(np.float32)
    rest = rest + np.einsum("ip,ipd->id", own, seen)
    drawn = random.normal(size=(len(noise), DRAWS, COMPARED)).astype(np.float32)
    hessian = np.einsum("ipd,iqd->ipq", seen, seen)
    gradient, noise_said = np.einsum("ipd,id->ip", seen, rest), np.einsum("ipd,ind->inp", seen, drawn)
    return Said(hessian, gradient, noise_said, (rest**2).sum(axis=1))


def uneven() -> np.ndarray:
    """Return standard deviations of noise, one image in twenty having 2.5 times as much."""
    return np.where(np.arange(IMAGES) % 20 == 0, 2.5, 1.0)


@pytest.mark.parametrize("change", [0.0, 3.0])
def test_noise_of_an_image_is_known_whatever_changes(change: float) -> None:
    noise = uneven()
    said = said_of(noise, change)
    power, freedom = said.unexplained(COMPARED)
    np.testing.assert_allclose(freedom, COMPARED - COLUMNS + 1, rtol=1e-3)
    off = power / noise**2 - 1
    assert np.std(off) == pytest.approx(np.sqrt(2 / (COMPARED - COLUMNS)), rel=0.15)
    assert abs(np.mean(off)) < 0.02


def test_equal_noise_is_left_as_it_is() -> None:
    said = said_of(np.ones(IMAGES), 1.0)
    before = [said.hessian.copy(), said.gradient.copy(), said.noise.copy()]
    power = NoisePower.learnt(said, COMPARED)
    assert power == NoisePower(COMPARED)
    power.divide(said)
    for now, then in zip((said.hessian, said.gradient, said.noise), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_images_say_is_divided_by_their_noise() -> None:
    noise = uneven()
    said = said_of(noise)
    power = NoisePower.learnt(said, COMPARED)
    assert power.spread == pytest.approx(np.std(np.log(noise**2)), rel=0.1)
    few = power.divided(said.take(slice(0, 30)))
    ratio = said.hessian[:30, 0, 0] / few.hessian[:, 0, 0]
    np.testing.assert_allclose(ratio, noise[:30] ** 2, rtol=0.3)
    np.testing.assert_allclose(few.gradient, said.gradient[:30] / ratio[:, None], rtol=1e-5)
    np.testing.assert_allclose(few.noise, said.noise[:30] / np.sqrt(ratio)[:, None, None], rtol=1e-5)
    power.divide(said)
    np.testing.assert_array_equal(said.hessian[:30], few.hessian)


def test_too_few_numbers_to_tell_noise_by_are_left_as_they_are() -> None:
    said = said_of(uneven())
    assert NoisePower.learnt(said, COLUMNS + 10) == NoisePower(COLUMNS + 10)
    assert NoisePower.learnt(said.take(slice(0, 1)), COMPARED) == NoisePower(COMPARED)


def test_images_of_much_noise_are_no_direction_of_change() -> None:
    said = said_of(uneven())

    def directions() -> int:
        return find_directions(Equations(said.hessian, said.gradient, said.noise, 0, 0, "a"), "a", 8).model.rank

    assert directions() > 0
    NoisePower.learnt(said, COMPARED).divide(said)
    assert directions() == 0


def imaging(scale: float) -> Imaging:
    """Return how images are compared that have noise of variance 1, every number of them counted once."""
    plane = np.full((BOX, BOX // 2 + 1), 1 / BOX**2, np.float32)
    plane[0, 0], plane[BOX // 2 :, 0], plane[:, -1], plane[BOX // 2] = 0, 0, 0, 0
    return Imaging.of(mixture(), symmetry_operators("c1"), scale, plane, BOX, PIXEL)


@pytest.mark.parametrize("size", [1.0, 2.0])
def test_noise_of_images_is_measured_in_that_of_the_weights(size: float) -> None:
    """By the equations themselves; images of noise alone, a mixture that shows nothing."""
    random = np.random.default_rng(2)
    seen = imaging(scale=1e-6)
    noisy = dataclasses.replace(particles(64), images=size * random.normal(size=(64, BOX, BOX)).astype(np.float32))
    said: list[Said] = []
    each_image(seen, noisy, np.arange(COUNT) % 2, Layout.of("a"), lambda _, few: said.append(few), nuisances=True)
    power = np.concatenate([few.unexplained(seen.compared)[0] for few in said])
    assert power.mean() == pytest.approx(size**2, rel=0.04)


def test_equations_of_images_know_their_noise() -> None:
    """An image of four times the noise power says what it would say with weights of a fourth."""
    random = np.random.default_rng(3)
    loud = np.where(np.arange(200) % 4 == 0, 2.0, 1.0)[:, None, None]
    noisy = dataclasses.replace(particles(200), images=(loud * random.normal(size=(200, BOX, BOX))).astype(np.float32))
    patch, layout = np.arange(COUNT) % 2, Layout.of("a")
    found = normal_equations(imaging(scale=1e-2), noisy, patch, layout, draws=1)
    assert found.power.spread > NOTICEABLE
    strength = found.gradient[:, 0] ** 2 / found.hessian[:, 0, 0]
    assert strength[::4].mean() == pytest.approx(1, rel=0.5)
    assert strength[1::4].mean() == pytest.approx(1, rel=0.5)
