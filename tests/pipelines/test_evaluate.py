"""Volumes of toy runs: of particles, classes and latent points, on the grid asked for."""

import shutil
from types import SimpleNamespace

import h5py
import mrcfile
import numpy as np
import pytest
from PIL import Image, ImageSequence

from libhetero.configuration import read_document, write_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_gaussians, read_latent, read_volume, write_gaussians, write_latent
from libhetero.pipelines import evaluate
from libhetero.pipelines.decoding.evaluation_folder import Evaluation
from libhetero.pipelines.decoding.gaussians import neutral_gaussians
from libhetero.pipelines.evaluate import EvaluateConfig
from tests.making.runs import BOX, PIXEL, field_run, gaussian_run


@pytest.fixture
def gaussians(tmp_path, monkeypatch):
    run, piece, states = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    return run, piece, states


def test_particles_give_volumes_and_gaussians(tmp_path, gaussians):
    run, piece, states = gaussians
    result = evaluate.run(EvaluateConfig(str(tmp_path), particles=(7, 0, 59, 3, 1)))
    names = [path.name for path in result.volumes]
    assert names == [f"particle_{index:06d}.mrc" for index in (7, 0, 59, 3, 1)]
    volume, pixel_size = read_volume(result.volumes[0])
    assert volume.shape == (BOX,) * 3 and pixel_size == pytest.approx(PIXEL)
    mixture = read_gaussians(result.volumes[0].with_suffix(".txt"), BOX, PIXEL)
    present = np.array([True, *states[7]])[piece]
    np.testing.assert_allclose(mixture.amplitude, present, atol=0.15)
    assert result.volumes[0].with_suffix(".pdb").exists() and result.figure.exists()


def test_class_volumes_are_those_of_their_mean_latent(tmp_path, gaussians):
    run, _, states = gaussians
    table = tmp_path / "mine.txt"
    np.savetxt(table, np.column_stack([np.arange(60), np.where(states[:, 0], 4, -1)]), fmt="%d")
    result = evaluate.run(EvaluateConfig(str(tmp_path), classes=str(table)))
    assert [path.name for path in result.volumes] == ["class_04.mrc"]
    mean = read_latent(tmp_path / "mid_00.txt")[1][states[:, 0]].mean(axis=0)
    write_latent(tmp_path / "mean.txt", np.arange(1), mean[None])
    config = EvaluateConfig(str(tmp_path), latent=str(tmp_path / "mean.txt"), output=str(tmp_path / "other"))
    point = evaluate.run(config).volumes[0]
    np.testing.assert_allclose(read_volume(result.volumes[0])[0], read_volume(point)[0], atol=1e-4)


def test_regions_are_shown_along_what_their_gaussians_do(tmp_path, gaussians):
    """Pieces that come and go: along the region of a piece, or of two merged by hand, it is absent, then present."""
    run, piece, states = gaussians
    neutral = neutral_gaussians(run)
    label = np.where(piece == 1, 1, np.where(piece > 1, 2, 0))
    write_gaussians(tmp_path / "regions_01.txt", neutral, BOX, PIXEL, group=label)
    config = EvaluateConfig(str(tmp_path), regions=str(tmp_path / "regions_01.txt"), steps=3)
    result = evaluate.run(config)
    assert [path.stem for path in result.volumes] == [
        f"region_{region:02d}_{one:02d}" for region in (1, 2) for one in range(3)
    ]
    assert result.volumes[0].parent == tmp_path / "volumes" / "regions_01"
    shown = [read_gaussians(path.with_suffix(".txt"), BOX, PIXEL).amplitude for path in result.volumes]
    amount = np.array([[one[piece == number].mean() for number in (1, 2, 3)] for one in shown])
    low, high = sorted((amount[0, 0], amount[2, 0]))
    assert low < 0.2 and high > 0.8, "region 1, absent and present"
    assert np.linalg.norm(amount[5, 1:] - amount[3, 1:]) > 0.8, "region 2, one way and the other"
    assert np.abs(amount[2, 1:] - amount[0, 1:]).max() < 0.4, "the other region stays about its mean"
    rows = table(result.volumes[0].parent)
    assert rows[0] == [path.stem for path in result.volumes]
    write_gaussians(tmp_path / "regions_01.txt", neutral, BOX, PIXEL, group=(piece > 0).astype(int))
    changed = evaluate.run(config)
    assert len(changed.volumes) == 3 and changed.volumes[0].parent.name == "regions_01_2", "a changed file is another"


def test_regions_of_other_gaussians_are_refused(tmp_path, gaussians):
    run, piece, _ = gaussians
    neutral, path = neutral_gaussians(run), tmp_path / "regions_01.txt"
    config = EvaluateConfig(str(tmp_path), regions=str(path), steps=3)
    write_gaussians(path, neutral.take(slice(0, 20)), BOX, PIXEL, group=np.ones(20, int))
    with pytest.raises(DataError, match=r"regions_01.txt: 20 Gaussians; expected the run's"):
        evaluate.run(config)
    write_gaussians(path, neutral.take(slice(None, None, -1)), BOX, PIXEL, group=piece)
    with pytest.raises(DataError, match=r"regions_01.txt: Gaussians lie .* from the run's"):
        evaluate.run(config)
    with pytest.raises(ConfigurationError, match=r"^--steps 61: expected at most the 60 particles"):
        write_gaussians(path, neutral, BOX, PIXEL, group=piece)
        evaluate.run(EvaluateConfig(str(tmp_path), regions=str(path), steps=61))


def test_a_disk_with_too_little_room_is_told_before_anything_is_decoded(tmp_path, gaussians, monkeypatch):
    needed = 4 * (BOX // 2) ** 3 * 2
    config = EvaluateConfig(str(tmp_path), particles=(0, 1), crop=BOX // 2)
    monkeypatch.setattr("libhetero.files.space.shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    free = needed - 1
    with (
        monkeypatch.context() as patch,
        pytest.raises(DataError, match=r"particles_0_1: no space left .* 2 volume\(s\): "),
    ):
        patch.setattr("libhetero.pipelines.decoding.volumes.decoded_volumes", None)
        evaluate.run(config)
    free = needed
    assert len(evaluate.run(config).volumes) == 2


@pytest.mark.parametrize("suffix", ["mrc", "hdf"])
def test_all_classes_on_another_grid(tmp_path, gaussians, suffix):
    config = EvaluateConfig(
        str(tmp_path), all_classes=8, pixel_size=20.0, lowpass=60.0, format=suffix, output=str(tmp_path / "elsewhere")
    )
    result = evaluate.run(config)
    assert len(result.volumes) == 8
    volume, pixel_size = read_volume(result.volumes[-1])
    assert volume.shape == (8, 8, 8) and pixel_size == pytest.approx(20.0)
    assert (tmp_path / "classes_08.txt").exists()


def test_latent_points_of_gaussians_are_decoded_as_they_are(tmp_path, gaussians):
    points = tmp_path / "points.txt"
    write_latent(points, np.arange(2), np.array([[0.0, 0, 0], [-1.0, -1, -1]]))
    result = evaluate.run(EvaluateConfig(str(tmp_path), latent=str(points), box_size=24))
    whole, none = (read_volume(path)[0] for path in result.volumes)
    assert whole.shape == (24, 24, 24) and none.sum() < whole.sum()


def test_reduced_latents_are_taken_back(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    config = EvaluateConfig(str(tmp_path), particles=(3, 20), batch_size=16)
    direct = [read_volume(path)[0] for path in evaluate.run(config).volumes]
    evaluate.run(EvaluateConfig(str(tmp_path), all_classes=2))
    latent = np.loadtxt(tmp_path / "mid_00.txt")[[3, 20]]
    np.savetxt(tmp_path / "two.txt", latent)
    result = evaluate.run(EvaluateConfig(str(tmp_path), latent=str(tmp_path / "two.txt")))
    assert [path.name for path in result.volumes] == ["latent_0003.mrc", "latent_0020.mrc"]
    for path, expected in zip(result.volumes, direct, strict=True):
        np.testing.assert_allclose(read_volume(path)[0], expected, rtol=1e-3, atol=1e-3)


def table(folder):
    """Return names, particles and distances of volumes.txt."""
    rows = [line.split() for line in (folder / "volumes.txt").read_text().splitlines()[1:]]
    names, particles, distances, *_ = zip(*rows, strict=True)
    return list(names), np.array(particles, int), np.array(distances, float)


def test_a_class_may_be_shown_by_its_medoid(tmp_path, gaussians):
    run, _, states = gaussians
    latent = np.loadtxt(tmp_path / "mid_00.txt")[:, 1:]
    np.savetxt(tmp_path / "mine.txt", np.column_stack([np.arange(60), states[:, 0]]), fmt="%d")
    options = {"classes": str(tmp_path / "mine.txt"), "output": str(tmp_path / "out")}
    result = evaluate.run(EvaluateConfig(str(tmp_path), centre="medoid", **options))
    names, particles, distances = table(tmp_path / "out")
    assert names == ["class_00", "class_01"] and not distances.any()
    for one, particle in enumerate(particles):
        members = np.flatnonzero(states[:, 0] == one)
        mean = latent[members].mean(axis=0)
        assert particle == members[np.linalg.norm(latent[members] - mean, axis=1).argmin()]
    own = evaluate.run(EvaluateConfig(str(tmp_path), particles=tuple(int(one) for one in particles)))
    for path, other in zip(result.volumes, own.volumes, strict=True):
        np.testing.assert_array_equal(read_volume(path)[0], read_volume(other)[0])
    evaluate.run(EvaluateConfig(str(tmp_path), **options))
    assert table(tmp_path / "out")[2].min() > 0, "a mean is no particle"
    points = np.loadtxt(tmp_path / "out" / "points.txt")[:, 1:]
    np.testing.assert_allclose(points[1], latent[states[:, 0]].mean(axis=0), atol=1e-5)


def test_every_evaluation_has_a_folder_of_its_own(tmp_path, gaussians):
    def folder(**options):
        return evaluate.run(EvaluateConfig(str(tmp_path), **options)).table.parent

    volumes = tmp_path / "volumes"
    assert folder(particles=(1, 5)) == volumes / "particles_1_5"
    assert folder(particles=(1, 5), box_size=8) == volumes / "particles_1_5_2", "other voxels"
    assert folder(particles=(1, 5)) == volumes / "particles_1_5", "the same again"
    assert folder(particles=(1, 2, 3, 4, 5)) == volumes / "particles_1_2_3_and_2_more"
    assert folder(all_classes=2) == volumes / "kmeans_2"
    table = tmp_path / "mine.txt"
    np.savetxt(table, np.column_stack([np.arange(60), np.arange(60) % 2]), fmt="%d")
    assert folder(classes=str(table)) == volumes / "mine"
    assert folder(particles=(3, 4), name="mine") == volumes / "mine"
    files = {path.name for path in (volumes / "mine").iterdir()}
    assert not {name for name in files if name.startswith("class_")}, "a name of one's own is replaced whole"
    assert {"particle_000003.mrc", "particle_000003.txt", "evaluation.json", "volumes.cxc", "volumes.png"} <= files
    assert folder(classes=str(table), name="theirs") == volumes / "theirs"
    shutil.rmtree(volumes / "mine")
    record = read_document((volumes / "theirs").rename(volumes / "mine") / "evaluation.json", Evaluation)
    before = {name: value for name, value in record.options.items() if name != "classes_digest"}
    write_json(volumes / "mine" / "evaluation.json", {"options": before, "volumes": record.volumes})
    assert folder(classes=str(table)) == volumes / "mine", "of an older version, which wrote no digest"
    (volumes / "mine" / "evaluation.json").write_text("{")
    assert folder(classes=str(table)) == volumes / "mine_2", "what cannot be read is left alone"


def test_a_script_opens_all_volumes_at_one_level(tmp_path, gaussians):
    run, _, states = gaussians
    shown = evaluate.run(EvaluateConfig(str(tmp_path), particles=(0, 7, 9))).script.read_text().splitlines()
    assert [line for line in shown if line.startswith("open")] == [
        f"open particle_{particle:06d}.mrc id {number}" for number, particle in enumerate((0, 7, 9), 1)
    ]
    (level,) = [line.split()[-1] for line in shown if line.startswith("volume")]
    volumes = [read_volume(tmp_path / "volumes/particles_0_7_9" / f"particle_{one:06d}.mrc")[0] for one in (0, 7, 9)]
    assert np.min(volumes) < float(level) < np.max(volumes)
    path = evaluate.run(EvaluateConfig(str(tmp_path), path=(0, 7), route="direct", steps=2)).script.read_text()
    assert "open path_00.mrc path_01.mrc path_02.mrc vseries true id 1" in path


@pytest.mark.parametrize(("route", "count"), [("direct", 7), ("graph", None)])
def test_a_path_leads_from_particle_to_particle(tmp_path, monkeypatch, route, count):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    config = EvaluateConfig(str(tmp_path), path=(3, 30, 12), steps=3, route=route, batch_size=16)
    volumes = [read_volume(path)[0] for path in evaluate.run(config).volumes]
    assert len(volumes) == count or count is None and 3 <= len(volumes) <= 7
    names, particles, _ = table(tmp_path / "volumes" / "path_3_30_12")
    assert names == [f"path_{number:02d}" for number in range(len(names))]
    assert particles[0] == 3 and particles[-1] == 12 and 30 in particles
    whole = EvaluateConfig(str(tmp_path), particles=(3, 30, 12), batch_size=16)
    ends = [read_volume(path)[0] for path in evaluate.run(whole).volumes]
    np.testing.assert_allclose(volumes[0], ends[0], atol=1e-5)
    np.testing.assert_allclose(volumes[-1], ends[2], atol=1e-5)
    if route == "direct":
        np.testing.assert_allclose(volumes[3], ends[1], atol=1e-5)
        np.testing.assert_allclose(volumes[1], (2 * ends[0] + ends[1]) / 3, atol=1e-5)


def test_a_path_between_islands_says_what_to_do(tmp_path, gaussians):
    run, *_ = gaussians
    latent = np.loadtxt(tmp_path / "mid_00.txt")[:, 1:]
    latent[30:] += 100
    write_latent(tmp_path / "mid_00.txt", np.arange(60), latent)
    with pytest.raises(DataError, match="straight line"):
        evaluate.run(EvaluateConfig(str(tmp_path), path=(0, 59)))


def test_a_grid_over_principal_components_can_be_decoded_again(tmp_path, gaussians):
    result = evaluate.run(EvaluateConfig(str(tmp_path), grid=3, output=str(tmp_path / "grid")))
    names = [f"grid_{row:02d}_{column:02d}" for row in range(3) for column in range(3)]
    assert [path.stem for path in result.volumes] == names
    points = str(tmp_path / "grid" / "points.txt")
    again = evaluate.run(EvaluateConfig(str(tmp_path), latent=points))
    for path, other in zip(result.volumes, again.volumes, strict=True):
        np.testing.assert_allclose(read_volume(path)[0], read_volume(other)[0], atol=1e-5)


def test_a_grid_over_the_plane_is_of_particles(tmp_path, gaussians):
    with pytest.raises(ConfigurationError, match="e2hype_embed.py"):
        evaluate.run(EvaluateConfig(str(tmp_path), grid=3, over="plane"))
    plane = np.random.default_rng(0).normal(size=(60, 2))
    write_latent(tmp_path / "embed_particles.txt", np.arange(60), plane)
    result = evaluate.run(EvaluateConfig(str(tmp_path), grid=3, over="plane"))
    names, particles, distances = table(tmp_path / "volumes" / "grid_3")
    assert 3 <= len(names) <= 9 and not distances.any()
    assert len(set(particles)) == len(particles) and result.plane.exists()
    numbers = np.array([name.split("_")[1:] for name in names], int)
    order = np.argsort(plane[particles, 0])
    assert np.all(np.diff(numbers[order, 0]) >= 0), "the first number follows the first coordinate"
    volumes = tmp_path / "volumes"
    assert evaluate.run(EvaluateConfig(str(tmp_path), grid=3, over="plane")).table.parent == volumes / "grid_3"
    write_latent(tmp_path / "embed_particles.txt", np.arange(60), plane[::-1])
    other = evaluate.run(EvaluateConfig(str(tmp_path), grid=3, over="plane"))
    assert other.table.parent == volumes / "grid_3_2", "another plane chooses other particles"


@pytest.mark.parametrize("suffix", ["mrc", "hdf"])
def test_a_cropped_map_keeps_its_voxels_and_its_place(tmp_path, gaussians, suffix):
    options = {"particles": (4,), "format": suffix, "lowpass": 40.0}
    whole = evaluate.run(EvaluateConfig(str(tmp_path), **options)).volumes[0]
    expected = read_volume(whole)[0]
    atoms = whole.with_suffix(".pdb").read_text()
    path = evaluate.run(EvaluateConfig(str(tmp_path), crop=10, **options)).volumes[0]
    found, pixel_size = read_volume(path)
    np.testing.assert_array_equal(found, expected[3:13, 3:13, 3:13])
    assert found[5, 5, 5] == expected[BOX // 2, BOX // 2, BOX // 2], "the middle stays the middle"
    if suffix == "mrc":
        with mrcfile.open(path) as file:
            assert file.header.origin.tolist() == pytest.approx((3 * PIXEL,) * 3)
    else:
        with h5py.File(path) as file:
            attributes = file["MDF/images/0"].attrs
            places = [float(attributes[f"EMAN.origin_{axis}"][0]) for axis in "xyz"]
        assert places == pytest.approx([3 * PIXEL] * 3)
    assert path.with_suffix(".pdb").read_text() == atoms, "atoms lie on the map as before"
    with pytest.raises(ConfigurationError, match="--crop 18: expected at most the box of 16"):
        evaluate.run(EvaluateConfig(str(tmp_path), particles=(4,), crop=18))


def test_atoms_lie_on_a_map_of_another_box(tmp_path, gaussians):
    result = evaluate.run(EvaluateConfig(str(tmp_path), particles=(4,), box_size=24))
    volume = read_volume(result.volumes[0])[0]
    lines = result.volumes[0].with_suffix(".pdb").read_text().splitlines()
    atoms = np.array([[float(line[at : at + 8]) for at in (46, 38, 30)] for line in lines[:-1]])
    place = np.round(atoms / PIXEL).astype(int)
    inside = ((place >= 0) & (place < 24)).all(axis=1)
    assert volume[tuple(place[inside].T)].mean() > 3 * volume.mean()


def test_mistakes_are_told_in_one_line(tmp_path, gaussians):
    with pytest.raises(ConfigurationError, match="no particle 60"):
        evaluate.run(EvaluateConfig(str(tmp_path), particles=(60,)))
    with pytest.raises(ConfigurationError, match="particle 5 follows itself"):
        evaluate.run(EvaluateConfig(str(tmp_path), path=(2, 5, 5)))
    with pytest.raises(DataError, match="no such file"):
        evaluate.run(EvaluateConfig(str(tmp_path), classes=str(tmp_path / "none.txt")))
    write_latent(tmp_path / "wide.txt", np.arange(2), np.zeros((2, 5)))
    with pytest.raises(ConfigurationError, match="expected 3"):
        evaluate.run(EvaluateConfig(str(tmp_path), latent=str(tmp_path / "wide.txt")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "expected one of --particles, --classes, --latent, --all_classes, --path, --pc, --regions, --grid"),
        ({"particles": (1,), "all_classes": 2}, "--particles and --all_classes exclude each other"),
        ({"particles": (1,), "lowpass": 0.0}, "--lowpass: expected more than 0"),
        ({"particles": (1,), "format": "spi"}, "--format: expected mrc or hdf"),
        ({"path": (3,)}, "--path: expected two or more particles, such as 5,120; got 3"),
        ({"path": (3, 4), "route": "rail"}, "--route: expected graph or direct"),
        ({"grid": 1}, "--grid: expected 2 to 300; got 1"),
        ({"particles": (1,), "steps": 3}, "--steps goes with one of --path, --pc, --regions"),
        ({"grid": 3, "centre": "mean"}, "--centre goes with --classes or --all_classes"),
        ({"particles": (1,), "crop": 7}, "--crop: expected an even number, 2 to 4096; got 7"),
        ({"path": (1, 2), "over": "pc"}, "--over goes with --grid"),
        ({"particles": (1,), "name": "../mine"}, "--name: expected letters, digits, _, - and .; got '../mine'"),
        ({"particles": (1,), "name": "a", "output": "b"}, "--name and --output exclude each other"),
    ],
)
def test_configuration_is_checked(wrong, message):
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        EvaluateConfig("hype_00", **wrong)


def test_program(tmp_path, gaussians, monkeypatch, load_program, capsys):
    monkeypatch.chdir(tmp_path)
    program = load_program("e2hype_eval.py")
    assert program.main([str(tmp_path), "--particles", "0,2-3"]) == 0
    assert "3 volume(s)" in capsys.readouterr().out
    assert program.main([str(tmp_path), "--path", "0,2", "--route", "direct", "--steps", "2"]) == 0
    assert "volumes.txt says what they are" in capsys.readouterr().out
    assert program.main([str(tmp_path), "--grid", "2", "--centre", "mean"]) == 1
    assert "--centre goes with --classes" in capsys.readouterr().err
    assert program.main([str(tmp_path), "--particles", "x"]) == 2
    assert program.main([str(tmp_path)]) == 2


def test_a_movie_that_memory_cannot_hold_is_refused_before_it_is_made(
    tmp_path, gaussians, load_program, capsys, monkeypatch
):
    """Each of its frames is in memory; without it, the volumes are made."""
    program, command = load_program("e2hype_eval.py"), [str(tmp_path), "--path", "0,2", "--route", "direct"]
    monkeypatch.setattr("libhetero.files.memory.free_memory", lambda: 3 * 2**20)
    assert program.main([*command, "--steps", "3", "--movie"]) == 1
    error = capsys.readouterr().err
    assert "--movie of 4 volumes: about 4." in error and "fewer volumes (--steps)" in error and error.count("\n") == 1
    assert program.main([*command, "--steps", "3"]) == 0


def test_a_path_as_a_movie(tmp_path, gaussians, load_program, capsys):
    """There and back; the script plays it, coloured by how much each voxel changes; without --movie, both go."""
    program, command = load_program("e2hype_eval.py"), [str(tmp_path), "--path", "0,2", "--route", "direct"]
    assert program.main([*command, "--steps", "3", "--movie"]) == 0
    folder = tmp_path / "volumes" / "path_0_2"
    assert f"look at {folder / 'volumes.gif'}" in capsys.readouterr().out
    paths = sorted(folder.glob("path_*.mrc"))
    volumes = np.stack([read_volume(path)[0] for path in paths])
    change, pixel_size = read_volume(folder / "volumes_change.mrc")
    assert len(paths) == 4 and pixel_size == read_volume(paths[0])[1]
    np.testing.assert_allclose(change, volumes.std(axis=0), atol=1e-5 * volumes.max())
    frames = [np.asarray(frame, float) for frame in imread_frames(folder / "volumes.gif")]
    assert len(frames) == 6, "four, and two on the way back"
    apart = [np.abs(frame - frames[0]).mean() for frame in frames]
    assert max(apart) == max(apart[2:5]) > 0.2 and np.abs(frames[1] - frames[5]).mean() < 0.3 * max(apart)
    script = (folder / "volumes.cxc").read_text()
    assert (
        "open volumes_change.mrc id 2" in script and "color sample #1 map #2" in script and "vseries play #1" in script
    )
    assert program.main([*command, "--steps", "3"]) == 0
    assert not list(folder.glob("*.gif")) and not list(folder.glob("volumes_change*"))
    assert "play" not in (folder / "volumes.cxc").read_text()
    assert program.main([str(tmp_path), "--particles", "0,2", "--movie"]) == 1
    assert "--movie goes with --path" in capsys.readouterr().err


def imread_frames(path):
    """Yield the frames of a .gif."""
    with Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield frame.convert("RGB")
