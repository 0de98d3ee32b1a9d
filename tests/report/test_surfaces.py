"""Surfaces of a ball and of a pole: where they lie, which way they face, and at which level."""

import numpy as np
import pytest

from libhetero.report.surfaces import at_surface, common_level, cropped, refined, seen_along

N = 24
Z, Y, X = np.indices((N, N, N)) - N // 2


def ball(radius, centre=(0, 0, 0)):
    """A ball of density 1 with an edge of two voxels; centre (x, y, z)."""
    x, y, z = centre
    distance = np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2)
    return np.clip((radius + 1 - distance) / 2, 0, 1)


def test_the_surface_of_a_ball_lies_at_its_radius_and_is_lit_from_the_upper_left():
    seen = seen_along(ball(7), 0.5, "z")
    rows, columns = np.indices((N, N)) - N // 2
    off = np.sqrt(rows**2 + columns**2)
    assert np.isfinite(seen.depth)[off < 6.5].all() and np.isnan(seen.depth)[off > 8].all()
    inside = off < 5
    nearest = (N - 1 - N // 2) - np.sqrt(49 - off[inside] ** 2)  # from the viewer, who is beyond the last plane
    np.testing.assert_allclose(seen.depth[inside], nearest, atol=0.25)
    bright = np.unravel_index(np.nanargmax(seen.brightness), (N, N))
    assert bright[0] > N // 2 and bright[1] < N // 2, "upper left"


@pytest.mark.parametrize(
    ("view", "place", "row", "column"), [("z", (6, 3, 0), 3, 6), ("y", (6, 0, 3), 3, 6), ("x", (0, 6, 3), 3, 6)]
)
def test_views_have_their_axes_to_the_right_and_up(view, place, row, column):
    depth = seen_along(ball(2, place), 0.5, view).depth
    middle = np.argwhere(np.isfinite(depth)).mean(axis=0) - N // 2
    np.testing.assert_allclose(middle, (row, column), atol=0.2)


@pytest.mark.parametrize(("view", "towards"), [("z", (0, 0, 6)), ("y", (0, -6, 0)), ("x", (6, 0, 0))])
def test_what_is_nearer_to_the_viewer_hides_the_rest(view, towards):
    near, far = ball(3, towards), ball(3, tuple(-one for one in towards))
    both = seen_along(near + far, 0.5, view)
    np.testing.assert_array_equal(both.depth, seen_along(near, 0.5, view).depth)
    np.testing.assert_allclose(np.nan_to_num(at_surface(near, both, view), nan=0.5), 0.5, atol=0.05)


def test_the_level_parts_molecule_from_solvent_for_all_alike():
    noise = 0.05 * np.random.default_rng(0).normal(size=(2, N, N, N))
    assert common_level([ball(7) + noise[0], ball(4) + noise[1]]) == pytest.approx(0.5, abs=0.15)
    assert common_level([np.zeros((4, 4, 4))]) == 0


def test_all_surfaces_fit_the_crop():
    (first, *_), (side, *_) = cropped([ball(3), ball(2, (6, 0, 0))], 0.5)
    assert first <= N // 2 - 8 and first + side >= N // 2 + 9 and side < N


@pytest.mark.parametrize("n", [12, 13])
def test_a_refined_map_keeps_its_values_and_adds_those_between(n):
    wave = np.cos(2 * np.pi * 2 * np.arange(n) / n)
    volume = wave[:, None, None] + 0 * wave[:, None] + wave
    fine = refined(volume)
    assert fine.shape == (4 * n,) * 3
    np.testing.assert_allclose(fine[::4, ::4, ::4], volume, atol=1e-5)
    between = np.cos(2 * np.pi * 2 * np.arange(4 * n) / (4 * n))
    np.testing.assert_allclose(fine, between[:, None, None] + 0 * between[:, None] + between, atol=1e-5)
