"""What is of an image and not of its molecule: contrast, and what a pose is off by."""

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.gmm.latent.nuisances import Nuisances, noticeable
from libhetero.records import Observation, Pose
from tests.making.poses import poses


def test_contrast_is_always_inferred_and_poses_where_they_matter():
    spreads = np.array([0.1, 2.0, 1.0, 0.01, 0.02, 0.03])
    little, much = np.full(6, 0.1), np.array([100, 1.0, 1.0, 100, 100, 100])
    assert noticeable(spreads, little) == Nuisances(0.1)
    found = noticeable(spreads, much)
    assert (found.contrast, found.shift) == pytest.approx((0.1, np.sqrt(2.5)))
    assert found.rotation == pytest.approx(np.sqrt(14e-4 / 3))
    assert (Nuisances(0.1).numbers, found.numbers) == (1, 6)


def test_a_particle_is_seen_where_its_numbers_say():
    """Shift and turn about the axes of the image and the view, in units of their spreads; contrast about 1."""
    nuisances = Nuisances(contrast=0.2, shift=3.0, rotation=0.1)
    pose = poses(1).take(0)
    numbers = jnp.array([-1.5, 1.0, -2.0, 0.0, 0.0, 4.0])
    seen = nuisances.seen(Observation(pose=pose, ctf=None), numbers)
    np.testing.assert_allclose(seen.contrast, 0.7, rtol=1e-6)
    np.testing.assert_allclose(seen.pose.shift, np.asarray(pose.shift) + [3.0, -6.0], rtol=1e-5)
    turn = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    np.testing.assert_allclose(seen.pose.rotation, turn @ pose.rotation, atol=1e-5)
    still = nuisances.moved(pose, jnp.zeros(6))
    np.testing.assert_allclose(still.rotation, pose.rotation, atol=1e-6)


def test_poses_that_are_right_stay_as_they_are():
    pose = Pose(rotation=np.eye(3, dtype=np.float32), shift=np.ones(2, np.float32))
    assert Nuisances(0.3).moved(pose, jnp.array([2.0])) is pose
