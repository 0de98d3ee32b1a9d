"""Point groups: they are groups, of the right size, about the axes that RELION and EMAN2 use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.physics.symmetry import in_unit, symmetric_copies, symmetry_operators
from libhetero.records import Pose
from tests.making.mixtures import mixture
from tests.reference import rotations as rotation_twin

ORDERS = {
    "c1": 1,
    "c2": 2,
    "C4": 4,
    "c7": 7,
    "d1": 2,
    "d2": 4,
    "D7": 14,
    "t": 12,
    "tet": 12,
    "o": 24,
    "oct": 24,
    "i": 60,
    "I1": 60,
    "i2": 60,
    "i3": 60,
    "i4": 60,
    "icos": 60,
    "icos2": 60,
}


def contains(operators: np.ndarray, wanted: np.ndarray) -> bool:
    return bool((np.abs(operators - wanted).max(axis=(1, 2)) < 1e-4).any())


@pytest.mark.parametrize("name", ORDERS)
def test_it_is_a_group_of_rotations(name):
    operators = symmetry_operators(name)
    assert operators.shape == (ORDERS[name], 3, 3) and operators.dtype == np.float32
    np.testing.assert_array_equal(operators[0], np.eye(3))
    np.testing.assert_allclose(
        operators @ operators.transpose(0, 2, 1), np.eye(3)[None] * np.ones((len(operators), 1, 1)), atol=1e-6
    )
    np.testing.assert_allclose(np.linalg.det(operators), 1, atol=1e-5)
    for first in operators[:: max(len(operators) // 8, 1)]:
        for second in operators:
            assert contains(operators, first @ second)
    distances = np.abs(operators[:, None] - operators[None]).max(axis=(2, 3))
    assert np.sort(distances, axis=1)[:, 1:].min(initial=1) > 0.05, "each operator once"


def turn(axis, fold):
    """Rodrigues' formula, independent of the module's closure."""
    axis = np.asarray(axis) / np.linalg.norm(axis)
    angle = 2 * np.pi / fold
    cross = np.cross(np.eye(3), axis).T
    return np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)


# Axes as RELION lists them in its symmetry files.
RELION = {
    "c5": [((0, 0, 1), 5)],
    "d3": [((0, 0, 1), 3), ((1, 0, 0), 2)],
    "t": [((0, 0, 1), 3), ((0, 0.816496, 0.577350), 2)],
    "o": [((0.5773502, 0.5773502, 0.5773502), 3), ((0, 0, 1), 4)],
    "i1": [((1, 0, 0), 2), ((0.85065080702670, 0, -0.5257311142635), 5), ((0.9341723640, 0.3568220765, 0), 3)],
    "i2": [((0, 0, 1), 2), ((0.525731114, 0, 0.850650807), 5), ((0, 0.356822076, 0.934172364), 3)],
    "i3": [
        ((-0.5257311143, 0, 0.8506508070), 2),
        ((0, 0, 1), 5),
        ((-0.491123477863, 0.356822076471, 0.794654475376), 3),
    ],
    "i4": [
        ((0.5257311143, 0, 0.8506508070), 2),
        ((0.894427195321, 0, 0.447213590990), 5),
        ((0.491123477863, 0.356822076471, 0.794654475376), 3),
    ],
}


@pytest.mark.parametrize("name", RELION)
def test_axes_are_those_of_relion(name):
    operators = symmetry_operators(name)
    for axis, fold in RELION[name]:
        assert contains(operators, turn(axis, fold)), (axis, fold)


def eman(az, alt, phi):
    """EMAN2's rotation, Rz(phi) Rx(alt) Rz(az), degrees."""
    az, alt, phi = np.radians([az, alt, phi])
    x = np.array([[1, 0, 0], [0, np.cos(alt), np.sin(alt)], [0, -np.sin(alt), np.cos(alt)]])
    return rotation_twin.about_z(phi) @ x @ rotation_twin.about_z(az)


# Members of EMAN2's groups, as the Euler angles it lists; two that generate each.
EMAN2 = {
    "tet": [(0, 0, 120), (0, 109.4712, 60)],
    "oct": [(0, 0, 90), (0, 90, 0)],
    "icos": [(90, 0, 72 - 90), (90, 63.4349, 36 - 90)],
}


@pytest.mark.parametrize("name", EMAN2)
def test_axes_are_those_of_eman2(name):
    operators = symmetry_operators(name)
    for angles in EMAN2[name]:
        assert contains(operators, eman(*angles)), angles


def test_the_other_eman2_icosahedron():
    first = np.array([[0.30902, -0.80902, 0.5], [0.80902, 0.5, 0.30902], [-0.5, 0.30902, 0.80902]])
    assert contains(symmetry_operators("icos2"), first)
    assert contains(symmetry_operators("icos2"), np.array([[0, 0, 1], [1, 0, 0], [0, 1.0, 0]]))


@pytest.mark.parametrize("name", ["", "c", "c0", "d-2", "x3", "c4 ", "i5", "c101", "tt"])
def test_unknown_symmetry(name):
    with pytest.raises(ConfigurationError, match="symmetry .* expected c1"):
        symmetry_operators(name)


N, PIXEL = 16, 3.0
UNIT = mixture(5, spread=7, sigma=(3, 4))


@pytest.mark.parametrize("name", ["c3", "d2", "t"])
def test_projections_at_r_and_r_s_are_equal(name):
    operators = symmetry_operators(name)
    whole = symmetric_copies(UNIT, operators)
    assert whole.position.shape == (5 * len(operators), 3)
    np.testing.assert_array_equal(whole.position[:5], UNIT.position)
    rotation = np.asarray(random_rotations(jax.random.key(1), (1,)))[0]
    shift = jnp.asarray([2.0, -1.0])
    project = jax.jit(jax.vmap(lambda r: project_gaussians(whole, Pose(rotation=r, shift=shift), N, PIXEL)))
    planes = np.asarray(project(jnp.asarray(rotation @ operators)))
    np.testing.assert_allclose(planes, planes[:1] * np.ones((len(planes), 1, 1)), atol=2e-3)


def test_one_copy_is_the_unit_itself():
    gaussians = UNIT
    assert symmetric_copies(gaussians, symmetry_operators("c1")) is gaussians


def test_the_map_of_all_copies_is_symmetric():
    whole = symmetric_copies(UNIT, symmetry_operators("c4"))
    volume = np.asarray(jax.jit(lambda g: gaussians_to_volume(g, N, PIXEL))(whole))
    inner = volume[1:, 1:, 1:]
    np.testing.assert_allclose(np.rot90(inner, axes=(1, 2)), inner, atol=1e-4)
    assert volume.sum() == pytest.approx(4 * float(UNIT.amplitude.sum()), rel=1e-4)


@pytest.mark.parametrize("name", ["c1", "c5", "d3", "t", "o", "i2"])
def test_copies_of_the_unit_fill_space_once(name):
    operators = symmetry_operators(name)
    points = np.random.default_rng(2).normal(size=(300, 3))
    held = sum(in_unit(points @ operator.T, operators).astype(int) for operator in operators)
    np.testing.assert_array_equal(held, 1)
