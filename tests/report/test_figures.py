"""Every figure is drawn, also from the least that can be found, and is a PNG of some size."""

import numpy as np
import pytest

from libhetero.analysis.density import EpsScan
from libhetero.report.embedding import draw_gaussians, draw_particles
from libhetero.report.eps import draw_eps
from libhetero.report.fsc import draw_fsc
from libhetero.report.maps import draw_maps
from libhetero.report.presence import draw_presence
from libhetero.report.region import draw_region
from libhetero.report.regions import draw_regions_in_space

RNG = np.random.default_rng(0)


@pytest.fixture
def figure(tmp_path):
    """A path, checked afterwards to hold a PNG and nothing beside it."""
    path = tmp_path / "figure.png"
    yield path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 3000
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("count", [1, 30_000])
@pytest.mark.parametrize("labelled", [False, True])
def test_particles(figure, count, labelled):
    label = RNG.integers(-1, 4, count) if labelled else None
    draw_particles(figure, RNG.normal(size=(count, 2)), label)


@pytest.mark.parametrize("constant", [0, 200])
def test_gaussians(figure, constant):
    plane = RNG.normal(size=(200, 2))
    plane[:constant] = np.nan
    draw_gaussians(figure, plane, RNG.integers(-1, 15, 200))


@pytest.mark.parametrize("regions", [1, 14])
def test_regions_in_space(figure, regions):
    draw_regions_in_space(figure, 50 * RNG.normal(size=(400, 3)), RNG.integers(-1, regions, 400))


@pytest.mark.parametrize("chosen", [None, 1.2])
def test_eps(figure, chosen):
    eps = np.geomspace(0.1, 10, 20)
    number, part = RNG.integers(0, 9, 20), RNG.random(20)
    draw_eps(figure, EpsScan(eps, number, number, part, part, np.zeros((20, 5), int)), chosen)


@pytest.mark.parametrize("regions", [1, 6])
def test_presence(figure, regions):
    values = [RNG.random(100) for _ in range(regions)]
    draw_presence(figure, values, [RNG.integers(0, 3, 100) for _ in range(regions)], "amplitude")


def test_presence_of_a_region_that_never_changes(figure):
    draw_presence(figure, [np.ones(20)], [np.zeros(20, int)], "amplitude")


@pytest.mark.parametrize("count", [1, 20])
def test_maps(figure, count):
    volumes = [RNG.normal(size=(12, 12, 12)).astype(np.float32) for _ in range(count)]
    draw_maps(figure, volumes, [f"map {number}" for number in range(count)])


@pytest.mark.parametrize("moves, columns", [(0.0, 4), (5.0, 4), (0.0, 1)])
def test_region(figure, moves, columns):
    position = 40 * RNG.normal(size=(200, 3))
    member = np.arange(200) < 40
    label = RNG.integers(-1, 3, 300)
    draw_region(
        figure, "region 1", RNG.normal(size=(300, columns)), label, RNG.random(300), "amplitude",
        position, member, moves * RNG.normal(size=(200, 3)), RNG.random(200),
    )  # fmt: skip


@pytest.mark.parametrize("shells", [8, 64])
def test_correlations(figure, shells):
    falling = np.linspace(1, -0.2, shells)
    draw_fsc(figure, {"map and Gaussians": falling, "half-maps": falling**2}, 2.0)
