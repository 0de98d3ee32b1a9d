"""Regions of toy runs are found, written, and sort the particles by what each piece does."""

import html
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis.configuration import RegionConfig
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import CREATOR
from libhetero.io import read_gaussians, read_latent, read_volume, write_gaussians, write_latent
from libhetero.pipelines import segment
from libhetero.pipelines.regions.record import read_record
from libhetero.pipelines.scoring.regions import read_regions
from libhetero.pipelines.segment import SegmentConfig
from tests.making.runs import BOX, PIXEL, field_run, gaussian_run


@pytest.mark.parametrize("motion", [False, True])
def test_regions_and_classes_are_those_of_the_truth(tmp_path, monkeypatch, motion):
    run, piece, states = gaussian_run(tmp_path, motion=motion)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    result = segment.run(SegmentConfig(str(tmp_path)))
    assert result.feature == ("motion" if motion else "amplitude")
    assert adjusted_rand_score(piece, result.regions.label) == 1.0
    for item in result.classes:
        region_piece = piece[result.regions.members(item.region)][0]
        truth = states[:, region_piece - 1]
        assert adjusted_rand_score(truth, item.label) == 1.0
        if not motion:
            np.testing.assert_array_equal(item.label, truth)
    assert all(path.exists() for path in result.files)
    assert read_record(tmp_path) == result.record and result.record.count == 3 and not result.record.dropped
    for region in result.record.regions:
        assert region.kind == result.feature and region.p_value < 1e-6 and region.agreement > 0.9
        seen, other = (region.motion, region.amplitude) if motion else (region.amplitude, region.motion)
        assert seen.change == pytest.approx(6.0 if motion else 0.5, rel=0.2) and other.p_value > 0.05
        assert region.gaussians == np.sum(result.regions.label == region.region)
        assert not region.continuous and sum(region.classes) == 300
    assert "noise alone gives" in result.page.read_text()


def test_files_hold_what_their_readers_expect(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    written = {}
    monkeypatch.setattr(
        "libhetero.pipelines.listing.writing.write_particles",
        lambda path, particles: written.update({path.name: particles.image_index}),
    )
    result = segment.run(SegmentConfig(str(tmp_path), classes=3))
    label = result.regions.label
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "regions.txt")[:, 5], label)
    mixture = read_gaussians(tmp_path / "regions.txt", BOX, PIXEL)
    np.testing.assert_allclose(mixture.position, run.model.neutral.position, atol=1e-3)

    chains = [line[21] for line in (tmp_path / "regions.pdb").read_text().splitlines()[:-1]]
    assert chains == ["ABCD"[region] for region in label]

    masks = sorted(path.name for path in (tmp_path / "masks").iterdir())
    kinds = ("hdf", "mrc")
    assert masks == [f"region_{region:02d}.{kind}" for region in range(4) for kind in kinds]
    for region in range(4):
        mask, pixel_size = read_volume(tmp_path / "masks" / f"region_{region:02d}.mrc")
        voxel = np.round(mixture.position[label == region] / pixel_size).astype(int) + BOX // 2
        inside = (voxel >= 0).all(axis=1) & (voxel < BOX).all(axis=1)
        x, y, z = voxel[inside].T
        assert mask[z, y, x].min() > 0.9 and mask.min() == 0.0
        same, _ = read_volume(tmp_path / "masks" / f"region_{region:02d}.hdf")
        np.testing.assert_array_equal(same, mask)

    classes = np.loadtxt(tmp_path / "classes_region_01.txt")
    assert classes.shape == (300, 3) and set(classes[:, 1]) == {0, 1, 2}
    probabilities = np.loadtxt(tmp_path / "probabilities_region_01.txt")[:, 1:]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(probabilities[np.arange(300), classes[:, 1].astype(int)], classes[:, 2], atol=1e-3)
    for suffix in ("lst", "star"):
        expected = np.flatnonzero(classes[:, 1] == 2)
        np.testing.assert_array_equal(written[f"region_01_class_02.{suffix}"], expected)
    script = (tmp_path / "regions.cxc").read_text()
    opened = re.findall(r"^open (\S+)", script, re.MULTILINE)
    assert opened == ["regions.pdb", "regions.mrc", *(f"masks/region_{k:02d}.mrc" for k in range(4))]
    assert all((tmp_path / name).exists() for name in opened)


def test_the_page_links_the_lists_that_could_be_written(tmp_path, monkeypatch):
    """Of images in .hdf stacks there are no .star."""
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    monkeypatch.setattr("libhetero.pipelines.listing.writing.endings_of", lambda particles: (".lst",))
    page = segment.run(SegmentConfig(str(tmp_path), classes=2)).page
    targets = set(re.findall(r'href="([^"]*)"', page.read_text()))
    assert "region_01_class_00.lst" in targets and not [name for name in targets if name.endswith((".star", ".cs"))]


def test_some_particles_alone_are_segmented(tmp_path, monkeypatch):
    """Among those that all have the first piece only the two others change; numbers stay those of the run."""
    run, piece, states = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    rows, chosen = np.flatnonzero(states[:, 0]), tmp_path / "with_piece_1.txt"
    np.savetxt(chosen, rows, fmt="%d")
    whole = segment.run(SegmentConfig(str(tmp_path)))
    result = segment.run(SegmentConfig(str(tmp_path), indices=str(chosen)))
    assert (whole.regions.count, result.regions.count) == (3, 2)
    assert result.folder.name == f"{whole.folder.name}_of_with_piece_1"
    np.testing.assert_array_equal(result.regions.label > 0, piece > 1)
    assert result.record.particles == len(rows)
    for item in result.classes:
        index, label = np.loadtxt(tmp_path / f"classes_region_{item.region:02d}.txt")[:, :2].astype(int).T
        np.testing.assert_array_equal(index, rows)
        truth = states[rows, piece[result.regions.members(item.region)][0] - 1]
        assert adjusted_rand_score(truth, label) == 1.0
        np.testing.assert_array_equal(read_latent(tmp_path / f"embed_region_{item.region:02d}.txt")[0], rows)
    lists = [(tmp_path / f"region_01_class_{one:02d}.lst").read_text().splitlines() for one in (0, 1)]
    assert sum(not line.startswith("#") for lines in lists for line in lines) == len(rows)
    assert f"Of {len(rows)} of the 300 particles, those of" in result.page.read_text()
    np.savetxt(chosen, rows[:19], fmt="%d")
    with pytest.raises(ConfigurationError, match=r"with_piece_1.txt: 19 particle\(s\); expected 20 or more"):
        segment.run(SegmentConfig(str(tmp_path), indices=str(chosen)))


@pytest.mark.parametrize("motion", [False, True])
def test_classes_come_with_their_gaussians_and_what_differs(tmp_path, monkeypatch, motion):
    run, piece, _ = gaussian_run(tmp_path, motion=motion)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    result = segment.run(SegmentConfig(str(tmp_path), classes=2))
    for item in result.classes:
        stem = tmp_path / "volumes" / f"region_{item.region:02d}_class_"
        low, high = (read_gaussians(f"{stem}{label:02d}.txt", BOX, PIXEL) for label in (0, 1))
        inside = result.regions.label == item.region
        if motion:
            change = np.linalg.norm(high.position - low.position, axis=1)
        else:
            change = high.amplitude - low.amplitude
        assert change[inside].min() > 5 * np.abs(change[~inside]).max()
        difference, _ = read_volume(f"{stem}01_minus_00.mrc")
        gained = float(high.amplitude.sum() - low.amplitude.sum())
        assert difference.sum() == pytest.approx(gained, abs=0.02 * inside.sum())


def test_the_page_links_only_what_is_there_and_tells_commands_that_parse(tmp_path, monkeypatch, load_program):
    folder = tmp_path / "it's a <run>; $HOME"
    folder.mkdir()
    run, *_ = gaussian_run(folder)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    page = segment.run(SegmentConfig(str(folder))).page
    text = page.read_text()
    targets = set(re.findall(r'(?:href|src)="([^"]*)"', text))
    assert {"regions.png", "regions_eps.png", "region_03.png", "masks/region_02.hdf"} <= targets
    assert {"region_01_class_00.lst", "region_01_class_00.star"} <= targets
    assert [target for target in targets if not (folder / target).exists()] == []
    assert "http" not in text and "<run>" not in text
    commands = re.findall(r"^(e2hype_\w+\.py|chimerax) (.*)$", html.unescape(text), re.MULTILINE)
    assert len(commands) == 1 + 3 * (2 + 1), "all in ChimeraX; a map of each class and the volumes, for each region"
    for name, arguments in commands:
        words = shlex.split(arguments)
        assert words[0].startswith(str(folder)), "one word for a shell, whatever the folder's name"
        if name != "chimerax":
            load_program(name).build_parser().parse_args(words)


def test_a_second_segmentation_leaves_nothing_of_the_first(tmp_path, monkeypatch):
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    (tmp_path / "masks").mkdir()
    (tmp_path / "volumes").mkdir()
    left_over = (
        "classes_region_04.txt",
        "region_01_class_07.lst",
        "region_04.png",
        "region_04.pdf",
        "regions_presence.png",
        "embed_region_04.txt",
        "embed_region_04_sd.txt",
        "masks/region_04.mrc",
        "masks/region_04.hdf",
        "volumes/region_01_low.txt",
        "volumes/region_01_high_minus_low.mrc",
        "volumes/region_01_class_07.txt",
        "volumes/region_01_class_07_minus_06.mrc",
    )
    for stale in left_over:
        (tmp_path / stale).write_text(CREATOR)
    own = [tmp_path / name for name in ("region_01.pdf", "regions.svg", "regions_presence.pdf")]
    for path in own:
        path.write_text("of a user")
    segment.run(SegmentConfig(str(tmp_path), regions=RegionConfig(constant=100.0)))
    assert [stale for stale in left_over if (tmp_path / stale).exists()] == []
    assert all(path.read_text() == "of a user" for path in own)
    assert not list((tmp_path / "masks").iterdir())
    assert "No region changes" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("trained", [True, False], ids=["decoded in vain", "no latent numbers"])
def test_nothing_is_found_in_nothing(tmp_path, monkeypatch, load_program, capsys, trained):
    """What the decoder makes of noise, the particles do not bear out; a run without latents decodes nothing."""
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    (tmp_path / "masks").mkdir()
    left_over = (
        "regions.txt",
        "regions.cxc",
        "regions_eps.png",
        "regions_eps.svg",
        "masks/region_00.mrc",
        "classes_region_01.txt",
        "probabilities_region_01.txt",
    )
    for stale in left_over:
        (tmp_path / stale).write_text(CREATOR)
    run.model.seen = 0.0
    if not trained:
        run.model.config = SimpleNamespace(latent_size=0)
    assert load_program("e2hype_segment.py").main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "0 region(s)" in said.out and "no region changes more than noise alone gives" in said.out + said.err
    assert [stale for stale in left_over if (tmp_path / stale).exists()] == []
    assert {path.name for path in tmp_path.iterdir()} >= {"index.html", "regions.json"}
    record = read_record(tmp_path)
    assert (record.count, len(record.dropped), record.tested) == ((0, 3, 300) if trained else (0, 0, 0))
    page = (tmp_path / "index.html").read_text()
    assert "No region changes" in page and page.count("<td>dropped</td>") == len(record.dropped)
    assert ("All particles are one structure" in page) == (not trained), "latents with numbers may still differ"
    assert set(read_regions(tmp_path, 160)) == {0}, "for scores, all Gaussians are of the core"


def test_a_continuum_has_a_coordinate_and_ends_but_no_classes(tmp_path, monkeypatch):
    run, *_ = gaussian_run(tmp_path, motion=True)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    latent = np.random.default_rng(3).uniform(-1, 0, (300, 3)).astype(np.float32)
    run.model.latent = latent
    write_latent(tmp_path / "mid_00.txt", np.arange(300), latent)
    write_latent(tmp_path / "mid_00_sd.txt", np.arange(300), np.full((300, 3), 0.1))
    result = segment.run(SegmentConfig(str(tmp_path)))
    assert [one.continuous for one in result.record.regions] == [True] * 3
    assert {one.kind for one in result.record.regions} == {"motion"}
    assert not list(tmp_path.glob("classes_region_*")) and not list(tmp_path.glob("region_*_class_*"))
    for item in result.classes:
        stem = f"region_{item.region:02d}"
        truth = np.abs([np.corrcoef(item.coordinates[:, 0], column)[0, 1] for column in latent.T])
        assert truth.max() > 0.99
        along = latent[:, truth.argmax()] - latent[:, truth.argmax()].mean()
        sign = np.sign(np.dot(along, item.value))
        np.testing.assert_allclose(sign * item.value, 12 * along, atol=1.5, err_msg="Å, of the 12 from end to end")
        assert item.explained[0] > 0.9 and not item.explained[1:].max() > 0.1
        deviation = read_latent(tmp_path / f"embed_{stem}_sd.txt")[1]
        np.testing.assert_allclose(
            deviation[:, 0], 0.1 * item.coordinates[:, 0].std() / latent[:, truth.argmax()].std(), rtol=0.1
        )
        low, high = (read_gaussians(tmp_path / "volumes" / f"{stem}_{end}.txt", BOX, PIXEL) for end in ("low", "high"))
        moved = np.linalg.norm(high.position - low.position, axis=1)
        assert moved[result.regions.label == item.region].min() > 8, "of the 12 Å from end to end"
        assert (tmp_path / "volumes" / f"{stem}_high_minus_low.mrc").exists()
    assert "continuous" in result.page.read_text()


def test_hdbscan_for_both(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    grouping = RegionConfig(method="hdbscan")
    config = SegmentConfig(str(tmp_path), class_method="hdbscan", feature="both", regions=grouping)
    result = segment.run(config)
    assert adjusted_rand_score(piece, result.regions.label) == 1.0
    assert "HDBSCAN finds" in result.page.read_text()
    assert not (tmp_path / "regions_eps.png").exists()


def test_a_run_without_gaussians_says_so(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    with pytest.raises(ConfigurationError, match="has no Gaussians"):
        segment.run(SegmentConfig(str(tmp_path)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"class_method": "som"},
        {"classes": 0},
        {"components": 1},
        {"feature": "colour"},
        {"memory": 0.0},
        {"p_value": 0.0},
    ],
)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigurationError, match=f"^--{next(iter(wrong)).replace('p_value', 'pvalue')}: expected "):
        SegmentConfig("hype_00", **wrong)


def test_program(tmp_path, monkeypatch, load_program, capsys):
    run, *_ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    monkeypatch.chdir(tmp_path)
    program = load_program("e2hype_segment.py")
    assert program.main([str(tmp_path), "--feature", "amplitude", "--classes", "2"]) == 0
    said = capsys.readouterr().out
    assert "eps" in said and "silhouette" in said and "3 region(s)" in said
    assert said.rstrip().endswith(f"look at {tmp_path / 'index.html'}")
    assert program.main([str(tmp_path), "--auto", "--eps", "1"]) == 2
    assert program.main([str(tmp_path), "--eps", "-1"]) == 2
    assert program.main([str(tmp_path), "--eps", "1", "--method", "hdbscan"]) == 1
    said = capsys.readouterr().err
    assert "--eps: expected more than 0 and at most 1000000; got '-1'" in said and "--eps is DBSCAN's" in said


def test_regions_that_were_changed_by_hand_are_taken_as_they_are(tmp_path, monkeypatch):
    """Two of the pieces joined, as in the dashboard: particles are sorted by both at once, and nothing is dropped."""
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    joined = np.where(piece == 3, 2, piece)
    write_gaussians(tmp_path / "regions_01.txt", run.model.neutral, BOX, PIXEL, group=joined)
    found = segment.run(
        SegmentConfig(str(tmp_path), given=str(tmp_path / "regions_01.txt"), p_value=1e-12, name="mine")
    )
    np.testing.assert_array_equal(found.regions.label, joined)
    np.testing.assert_array_equal(read_regions(found.folder, len(piece)), joined)
    assert found.record.count == 2 and not found.record.dropped and found.folder.name == "mine"
    assert [region.gaussians for region in found.record.regions] == [(joined == 1).sum(), (joined == 2).sum()]
    assert "as they were given" in found.page.read_text() and not (tmp_path / "regions_eps.png").exists()
    assert (tmp_path / "regions_01.txt").exists()


@pytest.mark.parametrize(
    "labels, said",
    [
        (lambda piece: np.where(piece == 2, 4, piece), r"regions 0, 1, 3, 4; expected .* without gaps"),
        (lambda piece: 0 * piece, "regions 0; expected"),
        (lambda piece: piece - 2, "regions -2"),
        (lambda piece: piece[:-1], r"159 Gaussians; expected the run's 160"),
    ],
)
def test_regions_of_a_file_that_are_none_are_refused(tmp_path, monkeypatch, labels, said):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    label = labels(piece)
    neutral = run.model.neutral.take(slice(0, len(label)))
    write_gaussians(tmp_path / "regions_01.txt", neutral, BOX, PIXEL, group=label)
    with pytest.raises(DataError, match=said):
        segment.run(SegmentConfig(str(tmp_path), given=str(tmp_path / "regions_01.txt")))


@pytest.mark.parametrize("order", [lambda count: np.arange(count)[::-1], lambda count: np.roll(np.arange(count), 40)])
def test_regions_of_other_gaussians_are_refused(tmp_path, monkeypatch, order):
    """As many of them, and elsewhere: those of another run, or sorted since."""
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    neutral = run.model.neutral.take(order(len(piece)))
    write_gaussians(tmp_path / "regions_01.txt", neutral, BOX, PIXEL, group=piece)
    with pytest.raises(DataError, match=r"regions_01.txt: Gaussians lie .* Å from the run's"):
        segment.run(SegmentConfig(str(tmp_path), given=str(tmp_path / "regions_01.txt")))


def test_a_file_of_regions_that_was_changed_takes_nothing_from_those_before(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    config = SegmentConfig(str(tmp_path), given=str(tmp_path / "regions_01.txt"))
    folders = []
    for label in (piece, np.where(piece == 3, 2, piece), piece):
        write_gaussians(tmp_path / "regions_01.txt", run.model.neutral, BOX, PIXEL, group=label)
        folders.append(segment.run(config).folder)
    assert [folder.name for folder in folders] == ["regions_01", "regions_01_2", "regions_01"]
    np.testing.assert_array_equal(read_regions(folders[0], len(piece)), piece)


def test_options_of_finding_regions_do_not_go_with_given_ones():
    with pytest.raises(ConfigurationError, match=r"--eps is of finding regions; leave it out, or --regions mine.txt"):
        SegmentConfig("run", given="mine.txt", regions=RegionConfig(eps=1.0))


def test_how_much_each_gaussian_changes_is_told(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    found = segment.run(SegmentConfig(str(tmp_path)))
    table = np.loadtxt(tmp_path / "regions_changes.txt")
    presence = read_latent(tmp_path / "segmentations/amplitude/regions_presence.txt")[1]
    np.testing.assert_allclose(presence, np.stack([item.value for item in found.classes], axis=1), rtol=1e-6)
    assert table.shape == (160, 4) and (tmp_path / "segmentations/amplitude/regions_changes.txt").exists()
    assert table[piece > 0, 1].min() > 3 * table[piece == 0, 1].max()
    assert (table[piece == 0, 2:] == 0).all() and (table[piece > 0, 2:] != 0).any(axis=1).all()
