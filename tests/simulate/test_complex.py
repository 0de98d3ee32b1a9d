"""Complexes made from a seed: chains, density, pieces apart and attached."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from libhetero.errors import ConfigurationError
from libhetero.simulate.chain import JITTER, SPACING
from libhetero.simulate.complex import Complex, generate_complex
from tests.making.rendering import made_mixture


def _pieces(model: Complex) -> list[np.ndarray]:
    return [model.gaussians.position[model.piece == k] for k in range(model.pieces)]


@pytest.mark.parametrize("seed, pieces, diameter", [(0, 3, 96.0), (1, 8, 150.0), (2, 1, 60.0)])
def test_every_piece_is_one_chain(seed: int, pieces: int, diameter: float) -> None:
    for piece in _pieces(generate_complex(seed, pieces, diameter)):
        steps = np.linalg.norm(np.diff(piece, axis=0), axis=1)
        assert steps.max() < SPACING + 2 * JITTER * np.sqrt(3)


@pytest.mark.parametrize("seed", range(4))
def test_beads_never_overlap(seed: int) -> None:
    model = generate_complex(seed, 3, 90.0)
    assert pdist(model.gaussians.position).min() > SPACING - 2 * JITTER


@pytest.mark.parametrize("seed", range(4))
def test_pieces_are_disjoint_and_touch_the_core_at_separate_places(seed: int) -> None:
    core, *pieces = _pieces(generate_complex(seed, 4, 120.0))
    assert len(pieces) == 4
    contacts = []
    for piece in pieces:
        distance, _ = cKDTree(core).query(piece)
        assert SPACING - 2 * JITTER < distance.min() < 7.0
        contacts.append(piece[distance < distance.min() + 4].mean(axis=0))
    directions = np.array([piece.mean(axis=0) for piece in pieces]) - core.mean(axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))
    assert angles[~np.eye(4, dtype=bool)].min() > 50
    assert pdist(np.array(contacts)).min() > 15


def test_density_and_size_are_those_of_protein() -> None:
    model = generate_complex(0, 3, 110.0)
    counts = np.bincount(model.piece)
    assert np.isclose(model.mass, len(model.piece) * 0.11, rtol=0.05)
    assert 0.8 * 110 < model.diameter < 1.15 * 110
    assert counts[0] > counts[1:].max() and counts[1:].min() >= 0.05 * counts.sum()
    core = _pieces(model)[0]
    inside = np.linalg.norm(core - core.mean(axis=0), axis=1) < 15
    assert np.isclose(inside.sum() * 135.0, 4 / 3 * np.pi * 15**3, rtol=0.2)


def test_same_seed_same_complex() -> None:
    one, two, other = (generate_complex(seed, 3, 90.0) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.gaussians.position, two.gaussians.position)
    assert one.gaussians.position.shape != other.gaussians.position.shape or not np.allclose(
        one.gaussians.position, other.gaussians.position
    )
    centre = np.average(one.gaussians.position, axis=0, weights=one.gaussians.amplitude)
    assert np.abs(centre).max() < 1e-3


def test_mixture_members_differ_in_shape() -> None:
    models = made_mixture(0, 8, 90.0)
    shapes = []
    for model in models:
        assert 0.7 * 90 < model.diameter < 1.5 * 90
        axes = np.sqrt(np.linalg.eigvalsh(np.cov(model.gaussians.position.T)))
        shapes.append([*axes, 10 * np.cbrt(len(model.piece)) / 10])
    assert pdist(np.array(shapes)).min() > 1.0
    np.testing.assert_array_equal(made_mixture(0, 3, 90.0)[2].gaussians.position, models[2].gaussians.position)


def test_impossible_complexes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected 0 to 12"):
        generate_complex(0, 13)
    with pytest.raises(ConfigurationError, match="40 to 400"):
        generate_complex(0, 3, 20.0)
