"""Every figure is drawn, also from the least that can be found, and is a PNG of some size."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from matplotlib.text import Text

from libhetero.analysis.density import EpsScan
from libhetero.files import CREATOR, figures_as
from libhetero.report.embedding import Labelling, draw_gaussians, draw_particles, draw_places
from libhetero.report.eps import draw_eps
from libhetero.report.fsc import Curve, draw_class_fsc, draw_fsc
from libhetero.report.latent import draw_columns
from libhetero.report.maps import draw_maps
from libhetero.report.outline import VIEWS, Molecule
from libhetero.report.presence import draw_presence
from libhetero.report.region import RegionView, draw_region
from libhetero.report.regions import draw_regions_in_space
from libhetero.report.samples import contrast_factor, draw_samples
from libhetero.report.scale_bar import scale_length
from libhetero.report.style import axis_names, class_colours, colour_of, colours_of, new_figure, save_figure
from libhetero.report.training import draw_training, spans_a_decade

RNG = np.random.default_rng(0)


def _molecule(count):
    return Molecule(50 * RNG.normal(size=(count, 3)), np.ones(count), np.full(count, 6.0))


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they were when they were saved."""
    kept = []
    save = Figure.savefig

    def saved(one, *args, **options):
        kept.append(one)
        save(one, *args, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    return kept


def _texts(figure):
    """Return all that is written in a figure."""
    return {text.get_text() for text in figure.findobj(Text)}


@pytest.fixture
def figure(tmp_path):
    """A path, checked afterwards to hold a PNG and nothing beside it."""
    path = tmp_path / "figure.png"
    yield path
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 3000
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize("count", [1, 30_000])
@pytest.mark.parametrize("labels", [0, 4, 1000])
def test_particles(figure, count, labels):
    label = RNG.integers(-1, max(labels, 1), count)
    medoids = {int(one): int(np.flatnonzero(label == one)[0]) for one in np.unique(label[label >= 0])}
    known = [Labelling("class", label, medoids), Labelling("true label", label)] if labels else []
    draw_particles(figure, RNG.normal(size=(count, 2)), known)


@pytest.mark.parametrize("places", [1, 9, 100])
def test_places(figure, places):
    names = [str(number) for number in range(places)]
    draw_places(figure, RNG.normal(size=(300, 2)), RNG.normal(size=(places, 2)), names, joined=True)


def test_a_vector_file_lies_beside_where_it_is_asked_for_and_goes_where_it_is_not(tmp_path):
    figure, _ = new_figure(2, 2)
    path, own = tmp_path / "a.png", tmp_path / "a.svg"
    own.write_text("of somebody else")
    with figures_as("pdf"):
        save_figure(figure, path)
    assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert CREATOR.encode() in path.with_suffix(".pdf").read_bytes()
    save_figure(figure, path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "a.svg"]
    assert own.read_text() == "of somebody else"
    with figures_as("svg"):
        save_figure(figure, path)
    assert "<svg" in own.read_text() and CREATOR in own.read_text()


def test_a_class_has_one_colour_in_every_figure(tmp_path, drawn):
    colour = to_rgb(class_colours(np.array([2]))[0])
    label = np.repeat([-1, 1, 2], 20)
    plane, path = RNG.normal(size=(60, 2)), tmp_path / "a.png"
    draw_particles(path, plane, [Labelling("class", label)])
    draw_columns(path, plane, {"class": label})
    draw_presence(path, [plane[:, 0]], [label], ["amplitude"])
    draw_class_fsc(path, {"class_02": Curve(np.linspace(1, 0, 8), number=2)}, pixel_size=1.0)
    for figure in drawn:
        legends = (axes.get_legend() for axes in figure.axes)
        entries = {
            text.get_text().split(" (")[0].replace("_0", " "): handle
            for legend in legends
            if legend
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        found = entries["class 2"]
        np.testing.assert_allclose(
            to_rgb(found.get_color() if hasattr(found, "get_color") else found.get_facecolor()), colour
        )


def test_colours_of_many_labels_differ_and_few_are_the_palette():
    many = colours_of(np.arange(1, 200))
    assert np.abs(np.diff(many, axis=0)).sum(axis=1).min() > 0.2
    assert len(np.unique(many.round(4), axis=0)) == 199
    np.testing.assert_allclose(colours_of(np.array([-1, 0, 3])), [to_rgb(colour_of(one)) for one in (-1, 0, 3)])
    assert colours_of(np.zeros(0, int)).shape == (0, 3)


@pytest.mark.parametrize("constant", [0, 200])
def test_gaussians(figure, constant):
    plane = RNG.normal(size=(200, 2))
    plane[:constant] = np.nan
    draw_gaussians(figure, plane, RNG.integers(-1, 15, 200))


@pytest.mark.parametrize("regions", [1, 14])
def test_regions_in_space(figure, regions):
    draw_regions_in_space(figure, _molecule(400), RNG.integers(-1, regions, 400))


@pytest.mark.parametrize("chosen", [None, 1.2])
def test_eps(figure, chosen):
    eps = np.geomspace(0.1, 10, 20)
    number, part = RNG.integers(0, 9, 20), RNG.random(20)
    draw_eps(figure, EpsScan(eps, number, number, part, part, np.zeros((20, 5), int)), chosen)


def test_the_title_of_eps_says_what_the_text_says(tmp_path, drawn):
    eps, groups = np.geomspace(0.1, 10, 20), np.array([3] * 5 + [2] * 15)
    scan = EpsScan(eps, groups + 4, groups, eps, eps, np.zeros((20, 5), int))
    draw_eps(tmp_path / "a.png", scan, float(eps[8]))
    draw_eps(tmp_path / "a.png", scan, 0.123)
    said, given = ({text.replace("\n", " ") for text in _texts(figure)} for figure in drawn)
    assert f"eps {eps[8]:.3g} (dashed): 6 cluster(s), 2 region(s), as many as at 15 of 20 eps tried (shaded)" in said
    assert "eps 0.123, as given (dashed)" in given


@pytest.mark.parametrize("regions", [1, 6])
def test_presence(figure, regions):
    values = [RNG.random(100) for _ in range(regions)]
    draw_presence(figure, values, [RNG.integers(0, 3, 100) for _ in range(regions)], ["amplitude"] * regions)


def test_presence_of_a_region_that_never_changes(figure):
    draw_presence(figure, [np.ones(20)], [np.zeros(20, int)], ["amplitude"])


@pytest.mark.parametrize("count", [1, 20])
def test_maps(figure, count):
    volumes = [RNG.normal(size=(12, 12, 12)).astype(np.float32) for _ in range(count)]
    draw_maps(figure, volumes, [f"map {number}" for number in range(count)], 2.0)


def test_slices_and_surfaces_have_one_scale(figure, drawn):
    """A sphere of 60 Å across: the bars of both pictures say how many Å a pixel is of either."""
    grid = np.indices((48, 48, 48)) - 24
    ball = (np.sqrt((grid**2).sum(axis=0)) <= 10).astype(np.float32)
    draw_maps(figure, [ball], ["ball"], 3.0)
    for place, pixels in ((0, 26 * 4), (3, 26)):  # cropped to 2 · (10 + 2) + 1 or so, and refined four times
        axis = drawn[0].axes[place]
        (bar,), (text,) = axis.lines, axis.texts
        shown = axis.images[0].get_array().shape[0]
        assert abs(shown - pixels) <= 0.1 * pixels
        length = float(np.ptp(bar.get_xdata()))
        assert text.get_text() == "20 Å" and length / shown == pytest.approx(20 / (25 * 3.0))


def _region(moves, columns, ends=None):
    label = RNG.integers(-1, 3, 300) if ends is None else np.zeros(300, int)
    return RegionView(
        1,
        "region 1",
        RNG.normal(size=(300, columns)),
        axis_names("pca", np.full(columns, 0.2)),
        label,
        ends,
        RNG.normal(size=300),
        "amplitude",
        np.arange(200) < 40,
        moves * RNG.normal(size=(200, 3)),
        RNG.random(200),
    )


@pytest.mark.parametrize("moves, columns", [(0.0, 4), (5.0, 4), (0.0, 1)])
def test_region(figure, moves, columns):
    draw_region(figure, _region(moves, columns), _molecule(200))


def test_a_continuum_shows_its_ends_and_no_classes(figure, drawn):
    draw_region(figure, _region(5.0, 4, ends=np.repeat([0, -1, 1], 100)), _molecule(200))
    texts = _texts(drawn[0])
    assert {"lowest fifth", "highest fifth"} <= texts
    assert not any("class" in text for text in texts)
    assert "PC 1 (20.0 % of the variance)" in texts


def test_arrows_of_a_motion_end_inside_of_the_frame(figure, drawn):
    draw_region(figure, _region(500.0, 4), _molecule(200))
    (quiver,) = drawn[0].findobj(Quiver)
    heads = quiver.XY + np.stack([quiver.U, quiver.V], axis=-1)
    low, high = quiver.axes.get_xlim()
    assert low < heads.min() and heads.max() < high
    assert quiver.get_clim()[0] == 0


@pytest.mark.parametrize("shells", [8, 64])
def test_correlations(figure, shells):
    falling = np.linspace(1, -0.2, shells)
    draw_fsc(figure, {"map and Gaussians": Curve(falling, 0.5, 9.0, "9 Å"), "half-maps": Curve(falling**2)}, 2.0)


@pytest.mark.parametrize("classes", [1, 40])
@pytest.mark.parametrize("compared", [False, True])
def test_correlations_of_classes(figure, classes, compared):
    curves = {f"class_{one:02d}": Curve(np.linspace(1, 0.01 * one, 16), 0.5, 8.0) for one in range(classes)}
    draw_class_fsc(figure, curves, curves if compared else None, pixel_size=2.0)


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("reports", [1, 200])
def test_training(figure, reports, tested):
    lines = [{"epoch": 0.1 * step, "loss": 5 / step, "learning_rate": 1e-3} for step in range(1, reports + 1)]
    explained = [line | {"signal": 1 - line["loss"] / 9} for line in lines]
    lines[-1] |= {"test_loss": float("nan")} if reports == 1 else {"test_loss": 1.0}
    if not tested:
        del lines[-1]["test_loss"]
    draw_training(figure, lines)
    explained[-1] |= {"test_signal": 0.4} if tested else {}
    epochs = np.arange(1.0, 21.0)
    draw_training(figure, explained, {"signal": (epochs, 1 - 0.5 / epochs), "loss": (epochs, 0.5 / epochs)})


def test_a_logarithm_is_for_positive_losses_over_a_decade():
    assert spans_a_decade(np.array([0.1, np.nan, 1.0]))
    assert not spans_a_decade(np.array([0.11, 1.0]))
    assert not spans_a_decade(np.array([-0.1, 1.0, 20.0]))
    assert not spans_a_decade(np.array([np.nan, np.inf]))


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize("signal", [0.0, 0.05, 1.0])
def test_samples(figure, count, signal):
    data = RNG.normal(size=(count, 12, 12))
    draw_samples(figure, "step 7", [f"particle {one}" for one in range(count)], data, signal * data, 2.0)


def test_samples_show_the_residual_on_the_grey_levels_of_the_data(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "imshow", lambda axis, image, **options: drawn.append((image, options)))
    data = RNG.normal(size=(2, 12, 12))
    draw_samples(tmp_path / "figure.png", "", ["a", "b"], data, 0.09 * data, 2.0)
    images = np.array([image for image, _ in drawn])
    np.testing.assert_allclose(images[:2], data)
    np.testing.assert_allclose(images[2:4], 10 * 0.09 * data)
    np.testing.assert_allclose(images[4:], 0.91 * data)
    assert len({(options["vmin"], options["vmax"]) for _, options in drawn}) == 1


def test_the_scale_bar_is_round_and_fits():
    assert [scale_length(width) for width in (250.0, 256.0, 130.0, 49.9, 12.0)] == [100, 100, 50, 10, 2]


def test_the_outline_is_of_what_a_view_shows():
    molecule = Molecule(np.array([[30.0, 0, 0], [0, -10, 0]]), np.ones(2), np.full(2, 2.0))
    for view in VIEWS:
        cells, density = molecule.projection(view)
        for place in molecule.position:
            near = [np.abs(cells - place[axis]).argmin() for axis in (view.up, view.across)]
            assert density[tuple(near)] > 0.8 * density.max() / 2
        assert density[0, 0] < 1e-6 * density.max()
    np.testing.assert_allclose(molecule.nearness(VIEWS[1]), [0, 1])  # from −y: what lies at y = −10 is nearer


def test_a_faint_model_is_stretched_and_one_that_can_be_compared_is_not():
    data = RNG.normal(size=(4, 32, 32))
    factors = [contrast_factor(data, part * data) for part in (2.0, 1.0, 0.4, 0.3, 0.11, 0.03, 0.0)]
    assert factors == [1, 1, 1, 2, 5, 20, 1]
