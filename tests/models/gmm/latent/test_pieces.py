"""Where a piece lies in each particle, by its images with the rest modelled."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.pieces import centre_of, piece_pose, pieces_placed, refined_pieces, seen_in_image
from libhetero.models.gmm.latent.subspace import Imaging
from libhetero.models.gmm.model import GmmModel
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.observation import observed
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Gaussians, Observation
from tests.making.images import BOX, batch_of, particles
from tests.making.images import PIXEL as PIXEL_OF_SET
from tests.making.mixtures import gaussians, mixture
from tests.making.models import GMM
from tests.making.optics import optics
from tests.making.poses import poses

N, PIXEL, COUNT, NOISE = 32, 4.0, 24, 0.02
MEMBER = np.arange(60) >= 40
SPREAD = np.array([2.0, 0.12], np.float32)


def molecule():
    """A core about the centre, and a piece of twenty Gaussians beside it."""
    random = np.random.default_rng(1)
    place = random.normal(0, 11, (60, 3)) + np.where(MEMBER, 26, 0)[:, None] * np.array([1, 0.3, 0])
    return gaussians(place, random.uniform(0.5, 1.5, 60), 5.0)


PIVOT = np.asarray(centre_of(molecule().take(np.flatnonzero(MEMBER))))


@functools.cache
def seen(symmetry="c1"):
    """Images in which the piece is off by shifts and turns, those numbers, the contrasts, and how images come about."""
    random = np.random.default_rng(2)
    mixture, pose = molecule(), poses(COUNT)
    ctf = optics(random.uniform(8e3, 2e4, COUNT).astype(np.float32))
    numbers = random.normal(size=(COUNT, 5)).astype(np.float32)
    contrast = random.uniform(0.7, 1.3, COUNT).astype(np.float32)
    inside, operators = np.flatnonzero(MEMBER), symmetry_operators(symmetry)
    piece = mixture.take(inside)
    whole = symmetric_copies(mixture, operators)
    others = jnp.asarray(whole.amplitude).at[inside].set(0)

    def image(pose, ctf, numbers, contrast):
        own = piece_pose(pose, centre_of(piece), numbers, SPREAD)
        rest = Gaussians(whole.position, others, whole.sigma)
        projection = project_gaussians(rest, pose, N, PIXEL) + project_gaussians(piece, own, N, PIXEL)
        observation = Observation(pose=pose, ctf=ctf, contrast=contrast)
        return real_image(observed(projection, observation, half_plane(N, PIXEL)), N), own

    images, own = jax.jit(jax.vmap(image))(pose, ctf, numbers, contrast)
    images = np.asarray(images) + NOISE * random.normal(size=images.shape)
    inside_nyquist = np.linalg.norm(frequencies_2d(N), axis=-1) < 0.5
    weight = (inside_nyquist / (N * NOISE) ** 2).astype(np.float32)
    imaging = Imaging.of(mixture, operators, 1.0, weight, N, PIXEL)
    return batch_of(images.astype(np.float32), pose, ctf), numbers, contrast, own, imaging


def lands(pose, pivot):
    """Return where a point of the piece is seen, Å."""
    return (np.asarray(pose.rotation) @ pivot)[..., :2] + np.asarray(pose.shift)


def found(symmetry="c1", spread=SPREAD, contrast=None):
    batch, _, true, _, imaging = seen(symmetry)
    mixtures = jax.tree.map(lambda column: np.broadcast_to(column, (COUNT, *column.shape)), molecule())
    return refined_pieces(imaging, mixtures, MEMBER, batch, true if contrast is None else contrast, spread)


def test_a_piece_is_found_where_it_is_seen():
    """Shifts to a tenth of an Å, turns to a tenth of a degree or so: by what the variances say."""
    _, numbers, _, own, _ = seen()
    pose, state, covariance = found()
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    error = np.asarray(state) - numbers
    assert np.sqrt(np.mean(error**2)) < 0.15
    assert 0.3 < np.mean(error**2 / np.asarray(variance)) < 3
    np.testing.assert_allclose(pose.rotation, own.rotation, atol=0.06)
    np.testing.assert_allclose(lands(pose, PIVOT), lands(own, PIVOT), atol=0.7)


def test_other_copies_of_a_symmetric_complex_stay():
    _, numbers, _, _, _ = seen("c2")
    assert np.sqrt(np.mean((np.asarray(found("c2")[1]) - numbers) ** 2)) < 0.15


def test_what_the_image_does_not_say_stays_as_it_was_decoded():
    """With spreads of next to nothing, or images that show next to nothing, the pose is the molecule's."""
    batch = seen()[0]
    for pose, state, covariance in (found(spread=1e-4 * SPREAD), found(contrast=np.full(COUNT, 1e-4, np.float32))):
        assert np.abs(np.asarray(state)).max() < 0.1
        np.testing.assert_allclose(covariance, np.broadcast_to(np.eye(5), (COUNT, 5, 5)), atol=0.01)
        np.testing.assert_allclose(pose.rotation, batch.pose.rotation, atol=0.02)
        np.testing.assert_allclose(lands(pose, PIVOT), lands(batch.pose, PIVOT), atol=0.3)


def test_the_pivot_stays_where_only_turns_are_and_shifts_by_what_is_said():
    pose, pivot = jax.tree.map(lambda leaf: leaf[0], poses(1)), np.array([20.0, -5.0, 3.0], np.float32)
    moved = piece_pose(pose, pivot, jnp.array([1.0, -2.0, 0.5, 1.0, -1.5]), SPREAD)
    np.testing.assert_allclose(lands(moved, pivot) - lands(pose, pivot), SPREAD[0] * np.array([1, -2]), atol=1e-4)
    still = piece_pose(pose, pivot, jnp.zeros(5), SPREAD)
    np.testing.assert_allclose(still.rotation, pose.rotation, atol=1e-6)


VIEWS, PARTICLES = 3, 4
NARROW = np.array([1.0, 0.05], np.float32)  # what is linear in it holds
WEIGHT = np.array([1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1], np.float32)


def moved(numbers):
    """Return the molecule with its piece turned about its pivot and shifted, in the axes of the molecule."""
    mixture = molecule()
    place = np.asarray(mixture.position, np.float64).copy()
    turn = Rotation.from_rotvec(NARROW[1] * np.asarray(numbers[3:], np.float64)).as_matrix()
    place[MEMBER] = (place[MEMBER] - PIVOT) @ turn.T + PIVOT + NARROW[0] * np.asarray(numbers[:3], np.float64)
    return dataclasses.replace(mixture, position=place.astype(np.float32))


@functools.cache
def series():
    """Images of particles at several poses each, in which the piece is off by one motion, and those numbers."""
    random = np.random.default_rng(4)
    count = VIEWS * PARTICLES
    pose, ctf = poses(count, 7), optics(random.uniform(8e3, 2e4, count).astype(np.float32))
    numbers = random.normal(size=(PARTICLES, 6))
    contrast = random.uniform(0.7, 1.3, count).astype(np.float32)
    mixtures = [moved(numbers[i // VIEWS]) for i in range(count)]
    mixtures = jax.tree.map(lambda *leaves: np.stack(leaves), *mixtures)

    def image(mixture, pose, ctf, contrast):
        observation = Observation(pose=pose, ctf=ctf, contrast=contrast)
        projection = project_gaussians(mixture, pose, N, PIXEL)
        return real_image(observed(projection, observation, half_plane(N, PIXEL)), N)

    images = np.asarray(jax.jit(jax.vmap(image))(mixtures, pose, ctf, contrast))
    images = images + NOISE * random.normal(size=images.shape)
    batch = batch_of(images.astype(np.float32), pose, ctf)
    return dataclasses.replace(batch, weight=WEIGHT, views=VIEWS), numbers, contrast, seen()[-1]


def of_series():
    batch, _, contrast, imaging = series()
    mixtures = jax.tree.map(lambda column: np.broadcast_to(column, (PARTICLES, *column.shape)), molecule())
    return refined_pieces(imaging, mixtures, MEMBER, batch, contrast, NARROW)


def slow_twin(place):
    """Return v of a particle and its covariance: least squares over all pixels of its images, derivatives by
    differences."""
    batch, _, contrast, imaging = series()
    rows = [row for row in range(VIEWS * place, VIEWS * (place + 1)) if WEIGHT[row]]

    @jax.jit
    def residual(mixture):
        def one(image, pose, ctf, contrast):
            observation = Observation(pose=pose, ctf=ctf, contrast=contrast)
            made, target = imaging.whitened(image, mixture, mixture.amplitude[None], observation)
            return made[0] - target

        here = jax.tree.map(
            lambda leaf: jnp.asarray(leaf)[np.array(rows)], (batch.images, batch.pose, batch.ctf, contrast)
        )
        return jax.vmap(one)(*here)

    def of_numbers(numbers):
        return np.concatenate([np.asarray(residual(moved(numbers)), np.float64).ravel(), numbers])

    def slopes(numbers):
        steps = 0.02 * np.eye(6)
        return np.stack([(of_numbers(numbers + step) - of_numbers(numbers - step)) / 0.04 for step in steps], axis=1)

    solved = least_squares(of_numbers, np.zeros(6), slopes)
    return solved.x, np.linalg.inv(solved.jac.T @ solved.jac)


def test_images_of_one_particle_show_one_motion():
    """Against a slow twin; the truth is as near as that says, and each image has the pose composed with the motion."""
    batch, numbers, _, _ = series()
    pose, state, covariance = of_series()
    assert state.shape == (PARTICLES, 6)
    for place in range(PARTICLES):
        expected, known = slow_twin(place)
        np.testing.assert_allclose(state[place], expected, atol=0.05)
        np.testing.assert_allclose(covariance[place], known, atol=0.05 * np.abs(known).max())
        for row in range(VIEWS * place, VIEWS * (place + 1)):
            turn = Rotation.from_rotvec(NARROW[1] * np.asarray(state[place, 3:])).as_matrix()
            np.testing.assert_allclose(pose.rotation[row], np.asarray(batch.pose.rotation[row]) @ turn, atol=1e-5)
            gone = PIVOT + NARROW[0] * np.asarray(state[place, :3])
            at = jax.tree.map(lambda leaf, row=row: np.asarray(leaf[row]), (pose, batch.pose))
            np.testing.assert_allclose(lands(at[0], PIVOT), lands(at[1], gone), atol=1e-3)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    assert 0.2 < np.mean((np.asarray(state) - numbers) ** 2 / variance) < 3


def test_a_particle_of_one_image_among_others_is_refined_as_a_single_image():
    """What its image does not see, the shift along its axis, is not known."""
    batch, _, contrast, imaging = series()
    pose, state, covariance = of_series()
    row, place = 6, 2
    only = dataclasses.replace(jax.tree.map(lambda leaf: leaf[row : row + 1], batch), views=1)
    mixture = jax.tree.map(lambda column: np.asarray(column)[None], molecule())
    alone, numbers, known = refined_pieces(imaging, mixture, MEMBER, only, contrast[row : row + 1], NARROW)
    frame = np.asarray(seen_in_image(batch.pose.rotation[row]), np.float64)
    np.testing.assert_allclose(frame @ np.asarray(state[place]), numbers[0], atol=5e-3)
    np.testing.assert_allclose(frame @ np.asarray(covariance[place]) @ frame.T, known[0], atol=5e-3)
    np.testing.assert_allclose(pose.rotation[row], alone.rotation[0], atol=1e-3)
    unseen = np.concatenate([np.asarray(batch.pose.rotation)[row, 2], np.zeros(3)])
    assert unseen @ np.asarray(covariance[place]) @ unseen > 0.999


def test_a_piece_is_placed_where_its_pose_shows_it():
    """Also by a magnification that is not the same in all directions; all else stays to the bit."""
    mixture, pose = molecule(), jax.tree.map(lambda leaf: leaf[0], poses(1, 5))
    stretch = np.diag([1.02, 0.99, 1.0]).astype(np.float32)
    pose = dataclasses.replace(pose, rotation=stretch @ pose.rotation)
    numbers = np.array([1.0, -2.0, 0.5, 1.0, -1.5], np.float32)
    moved = np.stack([np.zeros(5), np.repeat(SPREAD, [2, 3]) * numbers]).astype(np.float32)
    piece = np.where(MEMBER, 1, np.where(np.arange(60) < 20, 0, -1))
    found = pieces_placed(mixture, piece, moved, pose.rotation)
    np.testing.assert_array_equal(np.asarray(found.position)[piece < 0], mixture.position[piece < 0])
    np.testing.assert_allclose(found.position[:20], mixture.position[:20], atol=1e-4)
    own = piece_pose(pose, PIVOT, jnp.asarray(numbers), SPREAD)
    seen_at = found.position[MEMBER] @ np.asarray(pose.rotation).T
    expected = mixture.position[MEMBER] @ np.asarray(own.rotation).T
    np.testing.assert_allclose(seen_at[:, :2] + pose.shift, expected[:, :2] + own.shift, atol=1e-3)
    np.testing.assert_array_equal(found.amplitude, mixture.amplitude)


def found_beside(whole, piece, moved, symmetry, others):
    """Return how far u of the last piece, as refined, is off the truth where others are as decoded, and as told."""
    batch, _, contrast, _, imaging = seen(symmetry)

    def image(moved, pose, ctf, contrast):
        placed = pieces_placed(whole, piece, moved, pose.rotation)
        observation = Observation(pose=pose, ctf=ctf, contrast=contrast)
        return real_image(observed(project_gaussians(placed, pose, N, PIXEL), observation, half_plane(N, PIXEL)), N)

    images = np.asarray(jax.jit(jax.vmap(image))(moved, batch.pose, batch.ctf, contrast))
    images = images + NOISE * np.random.default_rng(7).normal(size=images.shape)
    batch = dataclasses.replace(batch, images=images.astype(np.float32))
    mixtures = jax.tree.map(lambda column: np.broadcast_to(column, (COUNT, *column.shape)), molecule())
    off = []
    for told in ((), others):
        state = refined_pieces(imaging, mixtures, MEMBER, batch, contrast, SPREAD, *told)[1]
        off.append(float(np.sqrt(np.mean((np.asarray(state) - moved[:, -1] / np.repeat(SPREAD, [2, 3])) ** 2))))
    return off


def test_a_piece_is_refined_with_another_where_it_was_found():
    """Of two that are off, the second is found where it is once the first is put where it is."""
    moved = (np.repeat(SPREAD, [2, 3]) * np.random.default_rng(5).normal(size=(COUNT, 2, 5))).astype(np.float32)
    piece = np.where(MEMBER, 1, np.where(np.arange(60) < 20, 0, -1))
    told = moved.copy()
    told[:, 1] = 9.0  # of the piece that is looked for it does not count
    off = found_beside(molecule(), piece, moved, "c1", (piece, told[:, None]))
    assert off[1] < 0.2 < 0.5 * off[0], off


def test_other_copies_of_a_piece_are_where_they_were_found():
    moved = (np.repeat(SPREAD, [2, 3]) * np.random.default_rng(6).normal(size=(COUNT, 2, 5))).astype(np.float32)
    whole = symmetric_copies(molecule(), symmetry_operators("c2"))
    of_copy = np.concatenate([np.where(MEMBER, 1 - copy, -1) for copy in range(2)])  # the first unit's comes last
    off = found_beside(whole, of_copy, moved, "c2", (np.where(MEMBER, 0, -1), moved[:, ::-1, None]))
    assert off[1] < 0.25 and off[1] < 0.8 * off[0], off


def test_a_gaussian_model_refines_a_piece_with_others_where_they_were_found():
    """What is said of the others reaches what a run's model asks; of none it is as if nothing were said."""
    batch, neutral = particles(4), mixture(5)
    model = GmmModel(
        GmmConfig(**GMM, decoder="mlp"), neutral, (), np.ones(5), 1.0, np.ones((BOX, 9)), BOX, PIXEL_OF_SET
    )
    params, latent = model.init(jax.random.key(0)), jnp.zeros((4, model.config.latent_size))
    piece = np.array([-1, 0, 0, 1, 1])

    @jax.jit
    def numbers(moved):
        told = () if moved is None else (piece, moved)
        return model.piece_poses(params, latent, batch, np.ones(4, np.float32), piece == 1, SPREAD, *told)[1]

    moved = np.zeros((4, 1, 2, 5), np.float32)
    as_decoded, unmoved = np.asarray(numbers(None)), np.asarray(numbers(moved))
    np.testing.assert_allclose(unmoved, as_decoded, atol=1e-4)
    moved[:, 0, 0, :2] = 5.0
    assert np.abs(np.asarray(numbers(moved)) - as_decoded).max() > 0.01
