"""Poses refined against the volumes of classes: derivatives, what is recovered, and what is left alone."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.pose_refinement import _learnt, _linearised, _posterior, _tables, refine_poses
from tests.making.slices import molecules, points_of, slices, transform

RING, BALL = 6.0, 0.4
TURN, SHIFT = np.radians(3.0), 0.012  # spreads along each axis


@pytest.fixture(scope="module")
def shown():
    return molecules(2)


def moved(right, state):
    """Return slices whose list tells a pose from which they are off by a state: turned, then shifted."""
    turn = Rotation.from_rotvec(state[:, :3]).as_matrix()
    listed = np.einsum("nji,njk->nik", turn, right.rotation).astype(np.float32)
    phase = np.exp(-2j * np.pi * (state[:, 3:] @ right.frequencies.T))
    return dataclasses.replace(right, image=(right.image * phase).astype(np.complex64), rotation=listed)


def drawn(count, seed=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 5)) * np.array([TURN] * 3 + [SHIFT] * 2)


def refined(seen, label):
    def blocks(ring):
        inside = seen.within(ring)
        for start in range(0, len(inside), 128):
            yield inside.take(np.arange(start, min(start + 128, len(inside))))

    return refine_poses(blocks, label, np.ones(len(label), np.float32), RING, BALL)


def angles(turn, state):
    """Return by how much turns are off, radians."""
    return (Rotation.from_rotvec(turn) * Rotation.from_rotvec(state[:, :3]).inv()).magnitude()


def test_derivatives_are_those_of_the_error_of_the_image(shown):
    grid = FourierGrid(RING, 1.5, BALL)
    molecule = [part[0] for part in shown]
    volume = transform(molecule, points_of(grid)).astype(np.complex64)
    tables = _tables(np.stack([volume, volume])[None], grid)
    seen = slices(np.zeros(3, int), shown)

    def error(one, place):
        turned = Rotation.from_rotvec(one[:3]).as_matrix() @ seen.rotation[place]
        phase = np.exp(-2j * np.pi * seen.frequencies @ one[3:])
        made = seen.transfer[place] * phase * transform(molecule, seen.frequencies @ turned[:2])
        return (np.abs(seen.image[place] - made) ** 2).sum()

    for place in range(3):
        parts = (seen.image[place], seen.transfer[place], seen.rotation[place], seen.frequencies)
        arrays = [jnp.asarray(part) for part in parts]
        start = np.zeros(5)
        found, hessian, slope = _linearised(*arrays, jnp.zeros(5), jnp.int32(0), tables, grid)
        assert found == pytest.approx(error(start, place), rel=0.1)
        step = 1e-4 * np.eye(5)
        expected = np.array([(error(-one, place) - error(one, place)) / 2e-4 for one in step])
        scale = np.sqrt(np.diag(hessian))
        np.testing.assert_allclose(slope / scale, expected / scale, atol=0.3)
        assert np.linalg.eigvalsh(np.asarray(hessian, np.float64)).min() > 0


def test_poses_and_their_spreads_are_found_and_known_as_well_as_is_said(shown):
    label = np.arange(600) % 2
    state = drawn(600)
    found = refined(moved(slices(label, shown, strength=1.0), state), label)
    before, after = angles(np.zeros((600, 3)), state), angles(found.turn, state)
    assert np.median(after) < 0.5 * np.median(before)
    shifts = np.linalg.norm(found.shift - state[:, 3:], axis=1)
    assert np.median(shifts) < 0.5 * np.median(np.linalg.norm(state[:, 3:], axis=1))
    assert found.spread == pytest.approx((TURN, SHIFT), rel=0.25)
    off = (found.state - state) / found.deviation
    assert 0.7 < np.sqrt(np.mean(off**2)) < 1.4


def test_poses_that_are_right_hardly_move(shown):
    label = np.arange(400) % 2
    found = refined(slices(label, shown, strength=4.0), label)
    assert np.degrees(np.median(np.linalg.norm(found.turn, axis=1))) < 0.5
    assert np.median(np.linalg.norm(found.shift, axis=1)) < 0.002


def test_particles_of_no_class_stay_where_they_are(shown):
    label = np.where(np.arange(200) < 40, -1, 0)
    found = refined(moved(slices(label, shown, strength=4.0), drawn(200)), label)
    assert not found.state[:40].any() and found.state[40:].any()
    np.testing.assert_allclose(found.deviation[:40], np.repeat(found.spread, [3, 2])[None].repeat(40, 0), rtol=1e-6)


def test_spreads_are_the_most_probable_ones():
    """Of states seen with known noise, H = 1 / noise² and b = H y: variance of y less that of the noise."""
    random = np.random.default_rng(1)
    noise, true = np.array([0.5, 0.5, 0.5, 0.2, 0.2]), np.array([1.0, 1.0, 1.0, 0.5, 0.5])
    seen = random.normal(size=(4000, 5)) * np.sqrt(noise**2 + true**2)
    hessian = np.tile(np.diag(noise**-2), (4000, 1, 1)).astype(np.float32)
    target = (seen / noise**2).astype(np.float32)
    found = _learnt(hessian, target, np.array([0.07, 0.07, 0.07, 0.015, 0.015]))
    np.testing.assert_allclose(found, true, rtol=0.05)
    mean, covariance = _posterior(hessian[:1], target[:1], true)
    np.testing.assert_allclose(mean[0], seen[0] * true**2 / (true**2 + noise**2), rtol=1e-5)
    np.testing.assert_allclose(np.diag(covariance[0]), 1 / (true**-2 + noise**-2), rtol=1e-5)
