"""Poses refined against the volumes of classes: derivatives, what is recovered, and what is left alone."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent import pose_refinement
from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.pose_refinement import Found, _learnt, _linearised, _tables, refine_poses
from tests.making.slices import molecules, points_of, slices, transform

RING, BALL = 6.0, 0.4
TURN, SHIFT = np.radians(3.0), 0.012  # spreads along each axis


@pytest.fixture(scope="module")
def shown():
    return molecules(2, reach=0.18)  # in the ball


def moved(right, state):
    """Return slices whose list tells a pose from which they are off by a state: turned, then shifted."""
    turn = Rotation.from_rotvec(state[:, :3]).as_matrix()
    listed = np.einsum("nji,njk->nik", turn, right.rotation).astype(np.float32)
    phase = np.exp(-2j * np.pi * (state[:, 3:] @ right.frequencies.T))
    return dataclasses.replace(right, image=(right.image * phase).astype(np.complex64), rotation=listed)


def drawn(count, seed=5):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 5)) * np.array([TURN] * 3 + [SHIFT] * 2)


def refined(seen, label, half=None):
    def blocks(ring):
        inside = seen.within(ring)
        for start in range(0, len(inside), 128):
            yield inside.take(np.arange(start, min(start + 128, len(inside))))

    return refine_poses(blocks, label, np.ones(len(label), np.float32), RING, BALL, half)


def angles(turn, state):
    """Return by how much turns are off, radians."""
    return (Rotation.from_rotvec(turn) * Rotation.from_rotvec(state[:, :3]).inv()).magnitude()


def test_derivatives_are_those_of_the_error_of_the_image(shown):
    grid = FourierGrid(RING, 1.5, BALL)
    molecule = [part[0] for part in shown]
    volume = transform(molecule, points_of(grid)).astype(np.complex64)
    tables, unit = _tables(1e6 * np.stack([volume, volume])[None], grid)
    assert np.abs(tables).max() < 100  # in half precision, whatever the images' unit
    seen = slices(np.zeros(3, int), shown).within(5.5)  # on the last ring a turned pixel may be rounded out of it

    def error(one, place):
        turned = Rotation.from_rotvec(one[:3]).as_matrix() @ seen.rotation[place]
        phase = np.exp(-2j * np.pi * seen.frequencies @ one[3:])
        made = seen.transfer[place] * phase * transform(molecule, seen.frequencies @ turned[:2])
        return (np.abs(seen.image[place] - made) ** 2).sum()

    for place in range(3):
        passed = 1e-6 * unit * seen.transfer[place]
        parts = (seen.image[place], passed, seen.rotation[place], seen.frequencies)
        arrays = [jnp.asarray(part) for part in parts]
        start = np.zeros(5)
        found, hessian, slope = _linearised(*arrays, jnp.zeros(5), jnp.int32(0), tables, grid)
        assert found == pytest.approx(error(start, place), rel=0.15)  # trilinear
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


def test_images_are_compared_with_the_half_set_that_is_given_and_they_are_not_in(shown):
    """Where all are in one, the other has no volume, of which nothing is said."""
    label = np.zeros(150, int)
    seen = moved(slices(label, shown, strength=3.0), drawn(150))
    one_sided, alternating = refined(seen, label, label), refined(seen, label, np.arange(150) % 2)
    assert not one_sided.state.any()
    assert np.median(angles(alternating.turn, drawn(150))) < 0.5 * np.median(angles(0 * alternating.turn, drawn(150)))


def test_spreads_are_the_most_probable_ones():
    """Of states seen with known noise, H = 1 / noise² and b = H y: variance of y less that of the noise."""
    random = np.random.default_rng(1)
    noise, true = np.array([0.02] * 3 + [0.005] * 2), np.array([0.05] * 3 + [0.02] * 2)
    seen = random.normal(size=(4000, 5)) * np.sqrt(noise**2 + true**2)
    hessian = np.tile(np.diag(noise**-2), (4000, 1, 1)).astype(np.float32)
    target = (seen / noise**2).astype(np.float32)
    said = Found(np.zeros((4000, 5), np.float32), hessian, target)
    found = _learnt(said, np.array([0.07, 0.07, 0.07, 0.015, 0.015]))
    np.testing.assert_allclose(found, true, rtol=0.05)
    np.testing.assert_allclose(said.deviation(true)[0], (true**-2 + noise**-2) ** -0.5, rtol=1e-5)
    silent = Found.nothing(3)
    np.testing.assert_array_equal(_learnt(silent, true), true)
    np.testing.assert_allclose(silent.deviation(true), np.tile(true, (3, 1)))


def test_what_is_no_number_says_nothing_of_a_pose():
    found = Found.nothing(4)
    state, hessian = np.ones((3, 5), np.float32), np.tile(np.eye(5, dtype=np.float32), (3, 1, 1))
    hessian[1, 2, 2] = np.nan
    found.put(np.array([3, 1]), (state, hessian, state))
    assert found.known.tolist() == [False, False, False, True] and not found.state[:3].any()
    assert (found + found).state[3, 0] == 2


def test_classes_in_parts_give_nearly_the_same_as_all_at_once(shown, monkeypatch):
    label = np.arange(150) % 2
    seen = moved(slices(label, shown, strength=2.0), drawn(150))
    whole = refined(seen, label)
    grid = FourierGrid(RING, 1.5, BALL)
    monkeypatch.setattr(pose_refinement, "OVERSAMPLING", (1.5,))
    monkeypatch.setattr(pose_refinement, "MOST_TABLES", pose_refinement.TABLE_BYTES * grid.size)
    parts = refined(seen, label)
    for column in range(5):  # the power of the signal is that of the classes that are solved for together
        assert np.corrcoef(parts.state[:, column], whole.state[:, column])[0, 1] > 0.9
    monkeypatch.setattr(pose_refinement, "MOST_TABLES", pose_refinement.TABLE_BYTES * grid.size // 2)
    assert np.isfinite(refined(seen, label).state).all()  # on fewer rings


def test_more_classes_than_fit_at_a_time_do_not_make_the_grid_coarser(monkeypatch, caplog):
    """Two fit here, and three are taken in parts; of many, and where not one fits, what is cut is told."""
    fine = FourierGrid(RING, 1.5, BALL)
    monkeypatch.setattr(pose_refinement, "MOST_TABLES", 2 * pose_refinement.TABLE_BYTES * fine.size)
    assert pose_refinement._grid_of(RING, BALL, 3) == pose_refinement._grid_of(RING, BALL, 16) == fine
    assert not caplog.records
    assert pose_refinement._grid_of(RING, BALL, 17).oversampling == 1.0
    monkeypatch.setattr(pose_refinement, "MOST_TABLES", pose_refinement.TABLE_BYTES * fine.size // 8)
    assert pose_refinement._grid_of(RING, BALL, 1).ring < RING
    first, second = (record.getMessage() for record in caplog.records)
    assert "6 of 6 rings, oversampled 1 times and not 1.5" in first and "of 6 rings, oversampled 1 times" in second


def test_no_pose_explains_its_image_worse_than_the_one_that_it_began_with(shown):
    """The last round's poses against the volumes that it saw: steps that lose are not taken."""
    label = np.zeros(64, int)
    grid = FourierGrid(RING, 1.5, BALL)
    volume = transform([part[0] for part in shown], points_of(grid)).astype(np.complex64)
    tables, unit = _tables(np.stack([volume, volume])[None], grid)
    seen = moved(slices(label, shown, strength=4.0), 4 * drawn(64))
    spread = np.array([TURN] * 3 + [SHIFT] * 2)
    at = np.full(64, unit, np.float32), np.zeros((64, 5), np.float32), label, tables, spread, grid
    for steps in (1, 4):
        state, *_ = pose_refinement._solved(seen, *at, steps)
        for place in range(64):
            parts = [seen.image[place], unit * seen.transfer[place], seen.rotation[place], seen.frequencies]
            arrays = [jnp.asarray(part) for part in parts]
            said = [
                float(_linearised(*arrays, jnp.asarray(one), jnp.int32(0), tables, grid)[0])
                + 0.5 * np.sum((one / spread) ** 2)
                for one in (np.zeros(5, np.float32), state[place])
            ]
            assert said[1] <= said[0] + 1e-3
