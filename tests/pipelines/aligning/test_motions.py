"""Motions of regions in particles of one image and of several."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.metrics.amplitude import closest_atoms
from libhetero.physics.rotations import axis_angle_to_matrix
from libhetero.pipelines.aligning.motions import decoded_motions, refined_motion
from libhetero.tilts import one_image_each
from tests.making.oracles import refining_run, simulated

COUNT = 60
REGION = 1


def aligned(run, truth):
    """Return the motion of a region as decoded and as refined; images are in the order of the truth."""
    piece = truth.piece[closest_atoms(run.model.neutral.position, truth.position)[0]]
    first, shown = one_image_each(run.particles)
    latent = first[shown].astype(np.float64)[:, None]  # the oracle's: where its table has the particle
    (decoded,) = decoded_motions(run, latent, piece, [REGION], 24)
    return decoded, refined_motion(run, latent, piece, decoded, 24)


def errors(run, truth, motion):
    """Return the angle (degrees) of each image's pose from that at which the piece is seen."""
    axis = np.array(truth.document.axes[REGION])
    turn = np.stack([np.asarray(axis_angle_to_matrix(axis, np.asarray(one))) for one in truth.angles[:, REGION]])
    true = np.asarray(run.particles.pose.rotation) @ turn
    trace = np.einsum("pij,pij->p", np.asarray(motion.poses.rotation), true)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


@pytest.fixture(scope="module")
def tilted(tmp_path_factory):
    """A run on a motion of two pieces that half follows it, each particle seen at three tilts; and the truth."""
    folder = tmp_path_factory.mktemp("tilted")
    truth = simulated(folder / "set", "motion", COUNT, rmsd=3.0, tilts=(-50.0, 50.0, 50.0), dose=0.01)
    return refining_run(folder / "run", truth, sluggish=0.5, noise=0.3), truth


def test_images_of_one_particle_have_one_motion(tilted):
    """In the axes of the molecule, nearer to the truth than what is decoded, and than images by themselves are."""
    run, truth = tilted
    decoded, refined = aligned(run, truth)
    assert len(decoded.residual) == len(decoded.moved) == COUNT and len(refined.shown) == 3 * COUNT
    group, listed = np.asarray(run.particles.group), np.asarray(run.particles.pose.rotation)
    for motion in (decoded, refined):
        within = np.swapaxes(listed, 1, 2) @ np.asarray(motion.poses.rotation)
        for one in range(0, COUNT, 7):
            np.testing.assert_allclose(*np.broadcast_arrays(within[group == one], within[group == one][:1]), atol=1e-5)
    apart = dataclasses.replace(run, particles=dataclasses.replace(run.particles, group=None))
    by_image = aligned(apart, truth)[1]
    found = [float(np.sqrt(np.mean(errors(run, truth, one) ** 2))) for one in (decoded, by_image, refined)]
    assert found[2] < 0.85 * found[1] < found[0], found
    assert refined.numbers.shape == refined.variance.shape == (3 * COUNT, 5)
    assert np.all(refined.variance.mean(axis=0) < by_image.variance.mean(axis=0))


def test_series_of_one_image_are_single_images(tilted):
    run, truth = tilted
    single = run.particles.take(np.arange(0, 3 * COUNT, 3))
    found = []
    for group in (None, np.arange(COUNT)):
        particles = dataclasses.replace(single, group=group)
        found.append(aligned(dataclasses.replace(run, particles=particles), truth)[1])
    alone, series = (jax.tree.leaves(dataclasses.asdict(one)) for one in found)
    for one, other in zip(alone, series, strict=True):
        np.testing.assert_array_equal(one, other)
