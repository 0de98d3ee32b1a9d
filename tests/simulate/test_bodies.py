"""Rigid bodies against the projection of the same Gaussians, moved and hidden by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.physics.fourier import frequencies_2d, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import axis_angle_to_matrix, random_rotations
from libhetero.physics.slices import prepare_volume
from libhetero.records import Gaussians, Pose
from libhetero.simulate.bodies import prepare_bodies, prepare_map, project_bodies
from libhetero.simulate.complex import Complex, generate_complex
from libhetero.simulate.states import hinge_and_axis, state_number
from libhetero.simulate.structures import BeadStructure, bodies_of_structure

BOX, PIXEL_SIZE = 32, 4.0


@pytest.fixture(scope="module")
def model() -> Complex:
    return generate_complex(0, 3, 80.0)


def _moved(model: Complex, bodies: list, present: np.ndarray, angle: np.ndarray) -> Gaussians:
    position = model.gaussians.position.copy()
    for k, body in enumerate(bodies):
        turn = np.asarray(axis_angle_to_matrix(jnp.asarray(body.axis), jnp.asarray(angle[k])))
        own = model.piece == k
        position[own] = (position[own] - body.hinge) @ turn.T + body.hinge
    amplitude = model.gaussians.amplitude * present[model.piece]
    return Gaussians(*map(jnp.asarray, (position, amplitude, model.gaussians.sigma)))


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.corrcoef(np.ravel(one), np.ravel(two))[0, 1])


def test_projection_of_bodies_is_that_of_the_moved_gaussians(model: Complex) -> None:
    bodies = bodies_of_structure(BeadStructure(model), PIXEL_SIZE, moving=True)
    prepared = prepare_bodies(bodies)
    rng = np.random.default_rng(0)
    disc = np.sum(frequencies_2d(BOX) ** 2, axis=-1) <= 0.25
    project = jax.jit(project_bodies, static_argnums=(4, 5))
    for i, rotation in enumerate(random_rotations(jax.random.key(0), (4,))):
        present = np.array([1, *(rng.random(3) < 0.5)], np.float32)
        angle = np.array([0, *rng.uniform(-0.6, 0.6, 3)], np.float32)
        pose = Pose(rotation=rotation, shift=jnp.asarray([3.0 * i, -5.0]))
        image = project(prepared, present, angle, pose, BOX, PIXEL_SIZE)
        expected = project_gaussians(_moved(model, bodies, present, angle), pose, BOX, PIXEL_SIZE)
        image, expected = real_image(image, BOX), real_image(expected * disc, BOX)
        assert _correlation(image, expected) > 0.9995
        assert np.isclose(image.sum(), expected.sum(), rtol=1e-3)


def test_motion_keeps_the_geometry_of_a_piece(model: Complex) -> None:
    bodies = bodies_of_structure(BeadStructure(model), PIXEL_SIZE, moving=True)
    angle = np.array([0, 0.5, -0.3, 0.2], np.float32)
    moved = np.asarray(_moved(model, bodies, np.ones(4), angle).position)
    for k in range(4):
        before, after = (p[model.piece == k] for p in (model.gaussians.position, moved))
        distances = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (before, after)]
        np.testing.assert_allclose(*distances, atol=1e-3)
    core = model.piece == 0
    np.testing.assert_array_equal(moved[core], model.gaussians.position[core])


def test_hinge_lies_at_the_contact_and_axis_across_the_arm(model: Complex) -> None:
    position = model.gaussians.position
    core, piece = position[model.piece == 0], position[model.piece == 1]
    hinge, axis = hinge_and_axis(core, piece, seed=1)
    assert np.min(np.linalg.norm(core - hinge, axis=1)) < 9.0
    assert np.isclose(np.linalg.norm(axis), 1.0, atol=1e-6)
    assert abs(axis @ (piece.mean(axis=0) - hinge)) < 1e-3


def test_preparation_on_the_host_is_that_of_physics() -> None:
    volume = np.random.default_rng(0).normal(size=(12, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(prepare_map(volume, 3), prepare_volume(volume, 3), atol=1e-3)


def test_state_numbers_are_binary() -> None:
    present = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]], np.uint8)
    assert state_number(present).tolist() == [0, 1, 4, 7]
