"""A region has evidence where particles bear out its change, and none in noise, contrast and pose."""

import numpy as np
import pytest

from libhetero.analysis.region_columns import rigid_equations
from libhetero.analysis.region_evidence import (
    GAMMA,
    Equations,
    evidence_of,
    fit_variances,
    region_evidence,
    scores,
    wishart_edge,
)
from tests.making.patch_images import bodies, equations

COUNT = 240
HALF = np.arange(COUNT) % 2 == 1


def evidence(rng, patches, change):
    hessian, gradient = equations(rng, patches, change)
    return region_evidence(rigid_equations(hessian, gradient, patches), HALF, 20, 0.01)


def nuisances(rng, patches, contrast=0.2, shift=1.5):
    """Return changes of all patches together: contrast and a shift along x."""
    count = len(patches.region)
    change = np.zeros((COUNT, 4, count))
    change[:, 3] = contrast * rng.normal(size=(COUNT, 1))
    change[:, 0] = shift * rng.normal(size=(COUNT, 1))
    return change


@pytest.mark.parametrize("contrast, shift", [(0.0, 0.0), (0.2, 1.5)], ids=["noise", "contrast and shift"])
def test_nothing_that_changes_gives_no_evidence(contrast, shift):
    rng = np.random.default_rng(0)
    patches = bodies(rng)
    found = evidence(rng, patches, nuisances(rng, patches, contrast, shift).reshape(COUNT, -1))
    assert set(found) == {(region, kind) for region in (1, 2, 3) for kind in ("amplitude", "motion")}
    assert min(one.p_value for one in found.values()) > 0.05
    assert all(one.change < one.null for one in found.values())


def test_each_change_is_found_in_its_region_and_kind_alone():
    rng = np.random.default_rng(1)
    patches = bodies(rng)
    change = nuisances(rng, patches)
    change[:, 3, patches.region == 1] += rng.choice([-0.5, 0.5], (COUNT, 1))
    change[:, 1, patches.region == 2] += 3.0 * rng.normal(size=(COUNT, 1))
    found = evidence(rng, patches, change.reshape(COUNT, -1))
    shown = {name for name, one in found.items() if one.p_value < 0.01}
    assert shown == {(1, "amplitude"), (2, "motion")}
    present, moves = found[1, "amplitude"], found[2, "motion"]
    assert present.change == pytest.approx(0.5, rel=0.1) and moves.change == pytest.approx(3.0, rel=0.2)
    assert min(present.agreement, moves.agreement) > 0.7
    assert present.null < 0.5 * present.change


def test_a_body_that_turns_about_its_own_centre_moves():
    rng = np.random.default_rng(2)
    patches = bodies(rng)
    inside = patches.region == 1
    arm = (patches.centre - patches.centre[inside].mean(axis=0)) * inside[:, None]
    change = np.zeros((COUNT, 4, len(inside)))
    change[:, :3] = np.cross([0.0, 0, 1], arm).T * 0.3 * rng.normal(size=(COUNT, 1, 1))
    found = evidence(rng, patches, change.reshape(COUNT, -1))
    assert {name for name, one in found.items() if one.p_value < 0.01} == {(1, "motion")}


def test_the_core_as_a_region_is_the_contrast():
    """One region holds all but a few Gaussians, as where the contrast of particles passes for a change."""
    rng = np.random.default_rng(3)
    patches = bodies(rng, regions=2)
    patches.region[patches.region == 0] = 1
    patches.region[0] = 0
    found = evidence(rng, patches, nuisances(rng, patches, shift=0.0).reshape(COUNT, -1))
    assert found[1, "amplitude"].p_value > 0.05


def test_a_change_in_one_half_set_is_no_agreement():
    rng = np.random.default_rng(4)
    seen = np.broadcast_to(9.0 * np.eye(1), (COUNT, 1, 1))
    slope = 3.0 * rng.normal(size=(COUNT, 1))
    only = evidence_of(np.where(HALF[:, None], 3, 1) * slope, seen, HALF, 1, 0.01)
    both = evidence_of(2 * slope, seen, HALF, 1, 0.01)
    assert only.p_value < 0.01 and both.p_value < 0.01
    assert only.agreement < 0.3 and both.agreement > 0.8


def twin(equations, covariance):
    """Return w and K by the inverse of V = H + H C H, mean changes by least squares."""
    slopes, seen = [], []
    for hessian, gradient in zip(equations.hessian, equations.gradient, strict=True):
        inverse = np.linalg.inv(hessian + hessian @ covariance @ hessian)
        slopes.append(hessian @ inverse @ gradient)
        seen.append(hessian @ inverse @ hessian)
    mean = np.linalg.solve(np.sum(seen, axis=0), np.sum(slopes, axis=0))
    return np.array(slopes) - np.array(seen) @ mean, np.array(seen)


def some_equations(rng, columns=4, count=50):
    shown = rng.normal(size=(count, columns, 9))
    gradient = np.einsum("ncp,np->nc", shown, rng.normal(size=(count, 9)))
    kind = np.array(["amplitude", "amplitude", "motion", "motion"][:columns])
    return Equations(shown @ shown.swapaxes(1, 2), gradient, kind, np.array([0, 1, 1, 1][:columns]))


def test_scores_are_those_of_the_whole_covariance():
    rng = np.random.default_rng(5)
    said, root = some_equations(rng), rng.normal(size=(4, 4))
    block = np.array([False, True, False, True])
    slope, seen = scores(said, root @ root.T, block)
    expected, known = twin(said, root @ root.T)
    np.testing.assert_allclose(slope, expected[:, block], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(seen, known[:, block][:, :, block], rtol=1e-6, atol=1e-8)


def test_what_is_left_to_each_particle_is_integrated_over():
    said = some_equations(np.random.default_rng(6))
    moves = said.kind == "motion"
    left = said.without(moves)
    free = np.diag(np.where(moves, 25.0, 0.0))
    for row in range(3):
        hessian = said.hessian[row]
        inverse = np.linalg.inv(np.linalg.inv(hessian) + free)  # of what is known of all changes, these being free
        np.testing.assert_allclose(left.hessian[row], inverse[~moves][:, ~moves], rtol=1e-6)
    np.testing.assert_array_equal(left.region, [0, 1])


def test_fitted_variances_are_those_of_the_changes():
    rng = np.random.default_rng(7)
    shown = rng.normal(size=(600, 3, 30))
    change = rng.normal(size=(600, 3)) * [0.3, 0.5, 0.0]
    gradient = np.einsum("ncp,np->nc", shown, np.einsum("ncp,nc->np", shown, change) + rng.normal(size=(600, 30)))
    said = Equations(shown @ shown.swapaxes(1, 2), gradient, np.array(["amplitude"] * 3), np.array([0, 1, 2]))
    fitted = fit_variances(said, 30)
    np.testing.assert_allclose(np.sqrt(np.diag(fitted)), [0.3, 0.5, 0.0], atol=0.08)
    np.testing.assert_array_equal(fitted[0, 1:], 0)
    without = fit_variances(said, 3, fitted, np.array([False, True, False]))
    assert without[1, 1] == 0 and without[0, 0] > 0


def test_the_most_that_noise_shows_has_the_law_that_is_used():
    rng = np.random.default_rng(8)
    samples, columns = 200, 12
    middle, width = wishart_edge(samples, columns)
    rows = rng.normal(size=(300, samples, columns))
    largest = np.linalg.svd(rows, compute_uv=False)[:, 0] ** 2
    beyond = [np.mean(GAMMA.sf((largest - middle) / width) < level) for level in (0.5, 0.1)]
    np.testing.assert_allclose(beyond, [0.5, 0.1], atol=0.08)
