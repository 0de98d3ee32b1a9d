"""Fewer Gaussians in the place of many."""

import jax
import numpy as np
import pytest

from libhetero.models.gmm.coarser import Coarser, fitted, merged
from libhetero.models.gmm.latent.nuisances import Nuisances
from libhetero.models.gmm.latent.subspace import Imaging, Subspace
from libhetero.models.gmm.layout import Layout
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetry_operators
from libhetero.records import Gaussians
from tests.making.mixtures import gaussians
from tests.making.poses import poses

BOX, PIXEL = 24, 5.0
MANY, FEW = 240, 60


def mixture(seed: int = 0) -> Gaussians:
    """Return many Gaussians that overlap, of different amplitudes and widths."""
    random = np.random.default_rng(seed)
    position = random.uniform(-30, 30, (MANY, 3)) * [1, 0.8, 0.6]
    return gaussians(position, random.uniform(0.5, 2, MANY), random.uniform(3, 5, MANY))


def imaging_of(many: Gaussians) -> Imaging:
    weight = np.ones((BOX, BOX // 2 + 1), np.float32)
    return Imaging.of(many, symmetry_operators("c1"), 1.0, weight, BOX, PIXEL)


def coarser(mobile: np.ndarray | None = None) -> Coarser:
    return Coarser.of(imaging_of(mixture()), np.ones(MANY, bool) if mobile is None else mobile, FEW, 0)


def subspace_of(modes: np.ndarray, letters: str, kinds: str) -> Subspace:
    rank = len(kinds)
    return Subspace(Layout.of(letters), 0 * modes[..., 0], modes, kinds, np.zeros(rank), np.ones(rank), Nuisances())


def rigid(position: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return (np.cross(turn, position) + shift).astype(np.float32)


def misfit(one: Gaussians, other: Gaussians) -> float:
    """Return the part of the power of projections of one mixture that another leaves."""
    pose = poses(20, 1)

    @jax.vmap
    def both(pose):
        return project_gaussians(one, pose, BOX, PIXEL), project_gaussians(other, pose, BOX, PIXEL)

    first, second = (np.asarray(image) for image in both(pose))
    return float(np.sum(np.abs(first - second) ** 2) / np.sum(np.abs(first) ** 2))


def test_a_group_becomes_one_gaussian_with_its_sum_centre_and_extent():
    many, group = mixture(), np.random.default_rng(1).integers(0, 7, MANY)
    one = merged(many, group)
    for k in range(7):
        inside = np.flatnonzero(group == k)
        share = many.amplitude[inside] / many.amplitude[inside].sum()
        centre = sum(share[i] * many.position[j] for i, j in enumerate(inside))
        square = sum(
            share[i] * (many.sigma[j] ** 2 + np.sum((many.position[j] - centre) ** 2) / 3) for i, j in enumerate(inside)
        )
        np.testing.assert_allclose(one.amplitude[k], many.amplitude[inside].sum(), rtol=1e-5)
        np.testing.assert_allclose(one.position[k], centre, atol=1e-4)
        np.testing.assert_allclose(one.sigma[k], np.sqrt(square), rtol=1e-5)


def test_the_fewer_show_what_all_do():
    many, fewer = mixture(), coarser()
    assert len(fewer.coarse.sigma) == FEW and len(fewer.group) == MANY
    before = misfit(many, merged(many, fewer.group))
    assert misfit(many, fewer.coarse) < before / 2 < 3e-3
    assert misfit(many, fitted(imaging_of(many), merged(many, fewer.group), steps=0)) == pytest.approx(before, rel=1e-3)


def test_a_piece_that_moves_as_a_whole_does_so_with_all_its_gaussians():
    """The neighbours' rotation is held back by a fiftieth, which keeps those on a line from turning about it."""
    fewer, random = coarser(), np.random.default_rng(2)
    turn, shift = random.normal(0, 0.05, 3), random.normal(0, 2.0, 3)
    coarse, many = fewer.coarse, mixture()
    settled = Gaussians(coarse.position + rigid(coarse.position, turn, shift), coarse.amplitude, coarse.sigma)
    mode = rigid(settled.position, 2 * turn, shift)[:, :, None]
    neutral, subspace = fewer.spread(settled, subspace_of(mode, "p", "p"))
    expected = many.position + rigid(many.position, turn, shift)
    np.testing.assert_allclose(neutral.position, expected, atol=0.05)
    np.testing.assert_allclose(subspace.modes[:, :, 0], rigid(expected, 2 * turn, shift), atol=0.1)
    np.testing.assert_allclose(neutral.amplitude, many.amplitude, rtol=1e-5)
    np.testing.assert_allclose(neutral.sigma, many.sigma, rtol=1e-5)
    assert subspace.mean.shape == (MANY, 3) and not subspace.mean.any()


def test_amplitudes_and_widths_change_by_the_same_factors():
    fewer, coarse, many = coarser(), coarser().coarse, mixture()
    settled = Gaussians(coarse.position, 1.5 * coarse.amplitude, 0.8 * coarse.sigma)
    presence = np.full((FEW, 4, 2), 0.0, np.float32)
    presence[:, 3, 0], presence[:, 0, 1] = -0.5, 1.0
    neutral, subspace = fewer.spread(settled, subspace_of(presence, "pa", "ap"))
    np.testing.assert_allclose(neutral.position, many.position, atol=1e-4)
    np.testing.assert_allclose(neutral.amplitude, 1.5 * many.amplitude, rtol=1e-4)
    np.testing.assert_allclose(neutral.sigma, 0.8 * many.sigma, rtol=1e-4)
    np.testing.assert_allclose(subspace.modes, np.broadcast_to(presence[:1], (MANY, 4, 2)), atol=1e-4)


def test_what_may_not_change_is_grouped_by_itself_and_stays():
    mobile = np.asarray(mixture().position)[:, 0] > 0
    fewer = coarser(mobile)
    np.testing.assert_array_equal(fewer.coarse_mobile[fewer.group], mobile)
    assert abs(fewer.coarse_mobile.sum() / len(fewer.coarse_mobile) - mobile.mean()) < 0.05
    coarse = fewer.coarse
    shift = np.where(fewer.coarse_mobile[:, None], np.float32([1, 2, 3]), 0).astype(np.float32)
    mode = shift[:, :, None]
    neutral, subspace = fewer.spread(
        Gaussians(coarse.position + shift, coarse.amplitude, coarse.sigma), subspace_of(mode, "p", "p")
    )
    many = mixture()
    np.testing.assert_array_equal(neutral.position[~mobile], many.position[~mobile])
    assert not subspace.modes[~mobile].any()
    gone = neutral.position[mobile] - many.position[mobile]  # beside what stays, too: that turns nothing
    np.testing.assert_allclose(gone, np.tile([1, 2, 3], (mobile.sum(), 1)), atol=1e-3)


def test_a_subspace_of_all_is_one_of_the_fewer():
    """Means over each group, weighted by amplitude, against a loop; what is alike in all stays as it is."""
    fewer, many, random = coarser(), mixture(), np.random.default_rng(3)
    modes = random.normal(size=(MANY, 4, 2)).astype(np.float32)
    gathered = fewer.gathered(subspace_of(modes, "pa", "ap"))
    for k in (0, FEW // 2, FEW - 1):
        inside = fewer.group == k
        expected = np.average(modes[inside], axis=0, weights=many.amplitude[inside])
        np.testing.assert_allclose(gathered.modes[k], expected, atol=1e-5)
    same = fewer.gathered(subspace_of(np.ones((MANY, 3, 1), np.float32), "p", "p"))
    np.testing.assert_allclose(same.modes, 1, rtol=1e-5)
    assert gathered.kinds == "ap" and gathered.mean.shape == (FEW, 4)
