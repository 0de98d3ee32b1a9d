"""Poses found by search: what images are told of views, and that poses are found near, far, and from nothing."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from libhetero.models.hype.latent import pose_search
from libhetero.models.hype.latent.grid import FourierGrid
from libhetero.models.hype.latent.pose_search import Map, Poses, found_map, search_poses
from libhetero.physics.rotation_grids import even_rotations, shifts_within
from tests.making.slices import molecules, points_of, slices, transform

RING, BALL, COUNT = 6.0, 0.4, 200


@pytest.fixture(scope="module")
def shown():
    return molecules(1, reach=0.18)


@pytest.fixture(scope="module")
def right(shown):
    """Slices at the poses at which the molecule was seen."""
    return slices(np.zeros(COUNT, int), shown, RING, strength=3.0)


@pytest.fixture(scope="module")
def true_map(shown):
    grid = FourierGrid(RING, 2.0, BALL)
    return Map(transform([part[0] for part in shown], points_of(grid)).astype(np.complex64), grid)


def blocks_of(seen):
    def blocks(ring):
        inside = seen.within(ring)
        for start in range(0, len(inside), 64):
            yield inside.take(np.arange(start, min(start + 64, len(inside))))

    return blocks


def shifted(seen, shift):
    phase = np.exp(-2j * np.pi * (shift @ seen.frequencies.T))
    return dataclasses.replace(seen, image=(seen.image * phase).astype(np.complex64))


def off(found, true):
    """Return by how much rotations are off, degrees."""
    return np.degrees(Rotation.from_matrix(found @ np.swapaxes(true, 1, 2)).magnitude())


@pytest.mark.parametrize("scaled", [True, False])
def test_scores_are_what_each_view_and_shift_explains(right, scaled):
    """By definition: |x|² less |x - a exp(-2πi f·d) τ V|², of a = 1 or of the best one that is not negative."""
    random = np.random.default_rng(3)
    seen, shifts = right.take(np.arange(4)), random.uniform(-0.1, 0.1, (5, 2)).astype(np.float32)
    views = (random.normal(size=(7, len(seen.frequencies), 2)) @ [1, 1j]).astype(np.complex64)
    moved = pose_search._shifted(*map(jnp.asarray, (seen.image, seen.transfer, seen.frequencies, shifts)))
    found = pose_search._scores(moved, jnp.asarray(seen.transfer), jnp.asarray(views), scaled)
    made = seen.transfer[:, None, None] * np.exp(-2j * np.pi * shifts @ seen.frequencies.T)[:, None] * views
    made = made.reshape(4, 5, 7, -1)
    image = seen.image[:, None, None]
    factors = np.ones(1) if scaled else np.linspace(0, 2, 4001)
    left = np.stack([(np.abs(image - a * made) ** 2).sum(-1) for a in factors[:: 1 if scaled else 100]])
    expected = (np.abs(image) ** 2).sum(-1) - left.min(axis=0)
    scale = np.abs(expected).max()
    if scaled:
        np.testing.assert_allclose(found, expected, atol=1e-4 * scale)
    else:
        assert (np.asarray(found) >= expected - 1e-4 * scale).all()  # factors were tried in steps
        cross = (image.conj() * made).real.sum(-1)
        np.testing.assert_allclose(found, np.maximum(cross, 0) ** 2 / (np.abs(made) ** 2).sum(-1), atol=1e-4 * scale)


def test_sums_at_views_are_those_of_weighted_images(right):
    random = np.random.default_rng(4)
    seen, shifts = right.take(np.arange(6)).within(3.0), shifts_within(0.1, 0.1).astype(np.float32)
    views = (0.3 * random.normal(size=(5, len(seen.frequencies), 2)) @ [1, 1j]).astype(np.complex64)
    padded = dataclasses.replace(seen, image=seen.image * (np.arange(6) < 5)[:, None])
    padded = dataclasses.replace(padded, transfer=seen.transfer * (np.arange(6) < 5)[:, None])
    parts = padded.image, padded.transfer, seen.frequencies, shifts, views
    numerator, weight, said, apart = pose_search._expected(*map(jnp.asarray, parts))
    wave = np.exp(2j * np.pi * shifts @ seen.frequencies.T)
    expected, squares, total = np.zeros_like(views), np.zeros(views.shape), []
    tops = []
    for image, passed in zip(padded.image[:5], padded.transfer[:5], strict=True):
        back = wave * image
        score = 2 * (back[:, None].conj() * passed * views).real.sum(-1) - (np.abs(passed * views) ** 2).sum(-1)
        share = np.exp(score - score.max())
        total.append(score.max() + np.log(share.sum()))
        share /= share.sum()
        tops.append(share.sum(axis=0).max())
        expected += np.einsum("sg,sp->gp", share, back * passed)
        squares += share.sum(axis=0)[:, None] * passed**2
    np.testing.assert_allclose(numerator, expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(weight, squares, atol=1e-3 * squares.max())
    np.testing.assert_allclose(said[:5], total, rtol=1e-4)
    np.testing.assert_allclose(apart[:5], tops, rtol=1e-3)


@pytest.mark.parametrize("scale", [None, 40.0])
def test_the_best_view_and_shift_are_those_an_image_was_made_of(right, true_map, scale):
    """A map of another scale is told by its best fit."""
    shifts = shifts_within(0.08, 0.04)
    chosen = np.arange(COUNT) % len(shifts)
    now = true_map if scale is None else Map(true_map.values * scale, true_map.grid, scaled=False)
    moved = shifted(right, shifts[chosen])
    views = np.concatenate([right.rotation, even_rotations(0.5).astype(np.float32)])
    read = now.views(views, moved.frequencies)
    view, shift = pose_search._best_views(moved, views, shifts, read, now.scaled)
    assert np.mean(view == np.arange(COUNT)) > 0.97 and np.mean(shift == chosen) > 0.97
    turns = np.random.default_rng(5).normal(0, 0.3, (6, 3))
    own = Rotation.from_rotvec(turns[np.arange(COUNT) % 6]).as_matrix()
    listed = dataclasses.replace(moved, rotation=(np.swapaxes(own, 1, 2) @ right.rotation).astype(np.float32))
    turn, shift = pose_search._best_turns(listed, turns, shifts, now)
    assert np.mean(turn == np.arange(COUNT) % 6) > 0.97 and np.mean(shift == chosen) > 0.97


def test_views_further_from_the_lists_than_allowed_are_not_taken(right, true_map):
    """The list's rotations are half a turn off: the best of those near to them, and not the true one."""
    listed = Rotation.from_rotvec([0, 0, np.pi]).as_matrix() @ right.rotation
    views, within = even_rotations(0.4).astype(np.float32), np.radians(30)
    allowed = pose_search.Allowed(listed, within)
    read = true_map.views(views, right.frequencies)
    view, _ = pose_search._best_views(right, views, np.zeros((1, 2)), read, True, allowed)
    assert off(views[view], listed).max() < 30.1
    none = pose_search.Allowed(listed, np.radians(0.01))
    assert np.mean(pose_search._best_views(right, views, np.zeros((1, 2)), read, True, none)[0] == -1) > 0.9
    free, _ = pose_search._best_views(right, views, np.zeros((1, 2)), read, True)
    assert np.median(off(views[free], right.rotation)) < 15


def test_poses_that_are_off_by_fifteen_degrees_are_found_about_the_lists(right):
    random = np.random.default_rng(6)
    turn, shift = random.normal(0, np.radians(10), (COUNT, 3)), random.normal(0, 0.02, (COUNT, 2))
    listed = np.swapaxes(Rotation.from_rotvec(turn).as_matrix(), 1, 2) @ right.rotation
    seen = dataclasses.replace(shifted(right, shift), rotation=listed.astype(np.float32))
    given = Poses(listed, np.zeros((COUNT, 2)))
    silent = np.arange(COUNT) < 5
    blank = dataclasses.replace(seen, image=seen.image * ~silent[:, None], transfer=seen.transfer * ~silent[:, None])
    told = []
    found = search_poses(blocks_of(blank), given, BALL, np.radians(40), None, RING, 0, told.append)
    np.testing.assert_array_equal(found.rotation[silent], listed[silent])
    assert not found.shift[silent].any(), "what says nothing stays where it is"
    assert np.median(off(listed, right.rotation)) > 12
    assert np.median(off(found.rotation, right.rotation)) < 6
    assert np.median(np.linalg.norm(found.shift - shift, axis=1)) < 0.01
    assert told == sorted(told) and told[-1] == 1


def test_a_map_and_poses_are_found_from_nothing(right):
    """Up to a rotation of the whole and its hand, which no image tells."""
    seen = dataclasses.replace(right, rotation=np.tile(np.eye(3, dtype=np.float32), (COUNT, 1, 1)))
    told = []
    begun = found_map(seen, BALL, 1, (3,) * 8 + (4,) * 8, progress=told.append)
    assert begun.borne_out and begun.gain > 10 * begun.error
    assert told == sorted(told) and told[-1] == 1 and len(told) == 17
    nowhere = Poses(seen.rotation.astype(np.float64), np.zeros((COUNT, 2)))
    found = search_poses(blocks_of(seen), nowhere, BALL, None, begun.map, RING, 0)
    mirror = np.diag([1.0, 1.0, -1.0])
    best = []
    for rotation in (found.rotation, mirror @ found.rotation @ mirror):
        whole = np.swapaxes(right.rotation, 1, 2) @ rotation
        best.append(min(np.median(off(whole, np.tile(one, (COUNT, 1, 1)))) for one in whole[:20]))
    assert min(best) < 8 and max(best) > 20


@pytest.mark.parametrize("highest", [4.0, 5.0])
def test_poses_stay_near_the_lists_where_rings_are_few(right, highest):
    """Views all round are further apart there than poses may be off."""
    listed = Rotation.from_rotvec([0, 0.05, 0]).as_matrix() @ right.rotation
    given = Poses(listed, np.zeros((COUNT, 2)))
    seen = dataclasses.replace(right, rotation=listed.astype(np.float32))
    found = search_poses(blocks_of(seen), given, BALL, np.radians(10), None, highest, 0)
    assert off(found.rotation, listed).max() < 15.1


@pytest.mark.parametrize("strength", [0.0, 0.03])
def test_a_map_of_images_that_tell_no_rotation_is_not_borne_out(shown, strength):
    noise = slices(np.zeros(COUNT, int), shown, RING, strength=max(strength, 1e-3))
    assert not found_map(noise, BALL, 1, (3,) * 4, (4,) * 2).borne_out


def test_a_map_averaged_over_rotations_has_the_same_views_everywhere(true_map):
    frequencies = np.array([[1, 0], [0, 1], [2, 2], [-2, 2]], np.float32)
    views = np.asarray(true_map.averaged().views(even_rotations(0.8).astype(np.float32), frequencies))
    np.testing.assert_allclose(views, np.tile(views[:1], (len(views), 1)), atol=0.12 * np.abs(views).max())
    np.testing.assert_allclose(views[:, 0], views[:, 1], atol=0.05 * np.abs(views).max())
