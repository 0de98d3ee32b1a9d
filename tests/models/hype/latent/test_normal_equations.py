"""What particles say of their place in a subspace, against dense algebra."""

import numpy as np
import pytest

from libhetero.models.hype.latent.grid import FourierGrid, on_grid
from libhetero.models.hype.latent.normal_equations import normal_equations, packed, symmetric
from libhetero.models.hype.latent.subspace import principal_subspace, spanned
from libhetero.models.hype.latent.volumes import class_volumes
from tests.making.slices import molecules, slices

GRID = FourierGrid(4, 1.0, 0.4)


@pytest.fixture(scope="module")
def seen():
    return on_grid(slices(np.arange(90) % 3, molecules(3), ring=4, strength=2.0), GRID)


@pytest.fixture(scope="module")
def subspace(seen):
    return spanned(class_volumes(seen, np.arange(90) % 3, 3), np.full(3, 30.0), 2)


def columns_of(seen, subspace, place):
    """Return the columns of a particle's slice and its image, real and imaginary parts, noise of variance 1."""
    slice_of = np.asarray(seen.transfer)[place][:, None] * np.asarray(subspace.table)[np.asarray(seen.point)[place]]
    image = np.asarray(seen.image)[place]
    both = np.sqrt(2) * np.concatenate([slice_of.real, slice_of.imag])
    return both, np.sqrt(2) * np.concatenate([image.real, image.imag])


def test_equations_are_products_of_columns_and_give_the_likelihood(seen, subspace):
    equations = normal_equations(seen, subspace.table)
    gradient, hessian = equations.whole(np.array([5, 17]))
    for row, place in enumerate((5, 17)):
        columns, image = columns_of(seen, subspace, place)
        np.testing.assert_allclose(gradient[row], columns.T @ image, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(hessian[row], columns.T @ columns, rtol=1e-4, atol=1e-2)
        v = np.array([1, 0.3, -0.7])
        likelihood = 0.5 * (image @ image - ((image - columns @ v) ** 2).sum())
        np.testing.assert_allclose(gradient[row] @ v - 0.5 * v @ hessian[row] @ v, likelihood, rtol=1e-3, atol=1e-2)
    square = packed(np.outer(v, v))
    np.testing.assert_allclose(np.asarray(equations.hessian)[17] @ square, v @ hessian[1] @ v, rtol=1e-4)


def test_moments_are_those_of_the_posterior(seen, subspace):
    equations = normal_equations(seen, subspace.table)
    mean, second = equations.moments()
    gradient, hessian = equations.whole(np.arange(90))
    precision = hessian[:, 1:, 1:] + np.eye(2)
    expected = np.linalg.solve(precision, (gradient[:, 1:] - hessian[:, 0, 1:])[:, :, None])[:, :, 0]
    np.testing.assert_allclose(mean, expected, rtol=1e-3, atol=1e-3)
    whole = symmetric(np.asarray(second), 2, np.triu_indices(2))
    np.testing.assert_allclose(whole, np.linalg.inv(precision) + expected[:, :, None] * expected[:, None], atol=1e-3)


def test_the_span_holds_the_volumes_and_its_coordinates_have_variance_one(seen, subspace):
    volumes = class_volumes(seen, np.arange(90) % 3, 3)
    mean, modes = np.asarray(subspace.mean), np.asarray(subspace.modes)
    place = np.linalg.lstsq(modes, (volumes - mean).T, rcond=None)[0].real
    np.testing.assert_allclose(mean + (modes @ place).T, volumes, atol=1e-3 * np.abs(volumes).max())
    np.testing.assert_allclose(place @ place.T / 3, np.eye(2), atol=1e-2)


def test_principal_subspace_tells_the_molecules_apart(seen):
    equations = normal_equations(seen, principal_subspace(seen, 2, seed=1).table)
    place = np.asarray(equations.moments()[0])
    centres = np.stack([place[np.arange(90) % 3 == one].mean(axis=0) for one in range(3)])
    within = np.concatenate([place[np.arange(90) % 3 == one] - centres[one] for one in range(3)])
    assert centres.var(axis=0).sum() > within.var(axis=0).sum()
    np.testing.assert_allclose(place.std(axis=0), 1, atol=0.25)
