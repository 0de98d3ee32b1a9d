"""Classes of a mixture through the program: tables, lists, maps, and what cannot be sorted."""

import contextlib
import io
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import MrcsWriter, read_particles, read_volume, write_particles
from libhetero.io.particle_findings import read_findings
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.new import NewRun
from libhetero.pipelines.run.particles import load_particles
from libhetero.pipelines.run.starting_classes import starting_classes

COUNT, BOX = 150, 16


@pytest.fixture(scope="module")
def folder(load_program, tmp_path_factory):
    """A set of two molecules, and nothing in some of its images."""
    folder = tmp_path_factory.mktemp("classify")
    made = folder / "set"
    options = f"--structures 2 --n {COUNT} --box {BOX} --apix 8 --snr 2 --junk 0.1 --shift 4 --seed 3"
    assert load_program("e2hype_simulate.py").main(["mixture", str(made), *options.split()]) == 0
    return folder


@pytest.fixture
def program(load_program, folder, monkeypatch, capsys):
    """Run the program beside the set; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)
    module = load_program("e2hype_classify.py")

    def run(*arguments):
        code = module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def first(load_program, folder):
    """What the program printed for the set; what it wrote lies in `found`, to be read only."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(folder)
        assert load_program("e2hype_classify.py").main(["set/particles.star", "found", "--datadir", str(folder)]) == 0
    return said.getvalue()


@pytest.fixture
def found(first, folder):
    return folder / "found"


def test_molecules_are_sorted_with_lists_maps_and_a_page(first, found, folder):
    out = first
    assert "found 2 classes" in out and "found/index.html" in out
    training = f"e2hype_refine.py set/particles.star --datadir {folder} --classes found"
    assert out.rstrip().endswith(training) and training in (found / "index.html").read_text()
    truth = folder / "set/truth"
    table = np.loadtxt(found / "classes.txt")
    label, probability = table[:, 1].astype(int), table[:, 2]
    junk, molecule = np.load(truth / "junk.npy"), np.loadtxt(truth / "labels.txt").astype(int)[:, -1]
    assert np.mean((label < 0) == junk) > 0.95
    shown = ~junk & (label >= 0)
    assert adjusted_rand_score(molecule[shown], label[shown]) > 0.9
    assert ((probability >= 0) & (probability <= 1)).all() and probability[shown].mean() > 0.9
    assert np.bincount(label[label >= 0])[0] >= np.bincount(label[label >= 0])[1]
    findings = read_findings(found / "particles.txt", COUNT)
    np.testing.assert_array_equal(findings.junk > 0.5, label < 0)
    assert len(read_particles(found / "ptcls_junk.star", datadir=folder)) == (label < 0).sum()
    listed = read_particles(found / "class_01.star", datadir=folder)
    np.testing.assert_array_equal(listed.image_index, np.flatnonzero(label == 1))
    volume, pixel_size = read_volume(found / "class_00.mrc")
    assert volume.shape == (BOX,) * 3 and pixel_size == 8
    record = json.loads((found / "classification.json").read_text())
    assert [one["particles"] for one in record["classes"]] == list(np.bincount(label[label >= 0]))
    assert record["junk"] == (label < 0).sum() and record["left_out"] == 0
    page = (found / "index.html").read_text()
    for name in ("class_01.mrc", "class_01.star", "volumes.png", "fsc.png", "evidence.png"):
        assert name in page and (found / name).exists()


def test_a_classification_is_scored_as_a_run_is(load_program, found, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shutil.copytree(found, "scored")
    score = load_program("e2hype_score.py").main
    assert score(["scored", "--images", "20", "--json", "scored.json"]) == 0
    values = json.loads((folder / "scored.json").read_text())
    labels = values["labels"]["classes.txt"]
    assert values["family"] == "classification" and labels["classes"] == 2 and labels["ari"] > 0.9
    assert values["junk"]["recall"] > 0.9 and labels["sure"]["right"] > 0.9
    volumes = values["volumes"]
    areas = [volumes[one]["fsc_auc"]["mean"] for one in ("floor", "model", "bound")]
    assert areas[0] < areas[1] <= areas[2] + 0.05 and volumes["gap_closed"] > 0.6
    (folder / "scored/class_00.mrc").unlink()
    assert score(["scored", "--images", "20"]) == 1
    assert "class_00.mrc: no such map; classify without --nomaps" in capsys.readouterr().err


@pytest.fixture
def begun_with(found, folder, monkeypatch):
    """Return what a run is told of the particles of a list by the classes in a folder."""
    monkeypatch.chdir(folder)

    def told(particles, classes="found"):
        data = DataConfig(particles=str(particles), datadir=str(folder), classes=str(classes))
        return starting_classes(data, load_particles(data))

    return told


def test_training_begins_with_the_classes_of_the_folder(found, folder, monkeypatch):
    """The same list and seed: images are of the molecules that the folder says, in its order, and none is searched."""
    label = np.loadtxt(found / "classes.txt")[:, 1].astype(int)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("libhetero.models.hype.start.find_classes", None)
    sizes = {"dim": 16, "inr_width": 16, "inr_layers": 1, "inr_frequencies": 8, "heads": 2, "head_dim": 8}
    data = {"datadir": str(folder), "classes": "found"}
    start = NewRun(RefineConfig("set/particles.star", preset="small", data=data, model=sizes)).start()
    batch = start.feed.batch(np.arange(COUNT))
    shown = label >= 0
    assert start.model.start.molecules == 2 and start.config.data.classes == str(found)
    np.testing.assert_array_equal(np.argmax(start.model.memberships(batch), axis=1)[shown], label[shown])


def test_classes_follow_the_images_of_a_list(begun_with, found, folder):
    """A list in another order, without junk and some others; a folder of a version that kept no record."""
    label, listed = np.loadtxt(found / "classes.txt")[:, 1], read_particles(folder / "set/particles.star")
    rows = np.random.default_rng(0).permutation(np.flatnonzero(label >= 0)[5:])
    write_particles(folder / "some.star", listed.take(rows))
    findings = read_findings(found / "particles.txt", COUNT)
    known = begun_with("some.star")
    np.testing.assert_array_equal(known.label, label[rows])
    np.testing.assert_allclose(known.contrast, findings.contrast[rows])
    np.testing.assert_allclose(known.square - known.contrast**2, findings.contrast_deviation[rows] ** 2, atol=1e-9)
    shutil.copytree(found, folder / "earlier")
    (folder / "earlier/particles.npz").unlink()
    np.testing.assert_array_equal(begun_with("some.star", "earlier").label, label[rows])
    whole = begun_with("set/particles.star")
    np.testing.assert_array_equal(whole.label, label)
    np.testing.assert_array_equal(whole.contrast[label < 0], 1)


def test_classes_of_other_particles_are_refused(begun_with, found, folder):
    other = folder / "other"
    other.mkdir()
    shutil.copy(folder / "set/particles.mrcs", other / "more.mrcs")
    text = (folder / "set/particles.star").read_text()
    (other / "particles.star").write_text(text.replace("particles.mrcs", "more.mrcs").replace("set/", "other/"))
    told = f"found: its classes are of other particles than {COUNT} of {COUNT} images of other/particles.star"
    with pytest.raises(DataError, match=f"{told}, first of number 0 .*, image 0 of .*more.mrcs; expected the list"):
        begun_with("other/particles.star")
    shutil.copytree(found, folder / "cut")
    lines = (folder / "cut/classes.txt").read_text().splitlines(keepends=True)
    (folder / "cut/classes.txt").write_text("".join(lines[:-2]))
    told = f"cut/classes.txt: tells of {COUNT - 2} of {COUNT} images; expected all. Classify the particles again"
    with pytest.raises(DataError, match=told):
        begun_with("set/particles.star", "cut")
    label = np.loadtxt(found / "classes.txt")[:, 1]
    few = read_particles(folder / "set/particles.star").take(np.flatnonzero(label >= 0)[:4])
    write_particles(folder / "few.star", few)
    with pytest.raises(DataError, match="found: 4 of 4 particles of few.star are in a class; expected at least 10"):
        begun_with("few.star")
    for name, what in (("set", "holds no classification.json"), ("nowhere", "no such folder")):
        with pytest.raises(ConfigurationError, match=f"--classes {name}: {what}; expected a folder that e2hype_class"):
            begun_with("set/particles.star", name)
    shutil.copytree(found, folder / "torn")
    (folder / "torn/particles.txt").write_text("0 1 2 3\n")
    with pytest.raises(DataError, match="torn/particles.txt"):
        begun_with("set/particles.star", "torn")


def test_a_part_of_a_list_that_repeats_images_is_refused(begun_with, found, folder):
    """After symmetry expansion the rows of an image have poses of their own, and may be in different classes."""
    shutil.copytree(found, folder / "expanded")
    with np.load(found / "particles.npz") as record:
        arrays = dict(record)
    arrays["image_index"] = arrays["image_index"] // 2
    np.savez(folder / "expanded/particles.npz", **arrays)
    write_particles(folder / "part.star", read_particles(folder / "set/particles.star").take(np.arange(5, 60)))
    told = r"expanded: names the image of particle 0 \(from 0\) of part.star 2 times .*; expected once. Give the list"
    remedy = r"that was classified as it is, classify this one \(e2hype_classify.py\), or leave --classes out.$"
    with pytest.raises(DataError, match=f"{told} {remedy}"):
        begun_with("part.star", "expanded")


def test_a_second_call_leaves_nothing_of_the_first(program, found, folder, monkeypatch):
    shutil.copytree(found, folder / "again")
    said, search = [], "libhetero.pipelines.classifying.search"
    with monkeypatch.context() as small:
        small.setattr(f"{search}.most_particles", lambda views: 130)
        small.setattr(f"{search}.working", lambda say, what: said.append(what) or contextlib.nullcontext())
        code, out, err = program("set/particles.star", "again", "--datadir", folder, "--classes", 1, "--nomaps")
    assert f"searching in 130 of {COUNT} particles" in out
    assert said == ["search for classes of 130 particles", "changes within the classes"], "sorting has a bar of its own"
    assert code == 0 and "found 1 class\n" in out and "junk" in err
    again = folder / "again"
    assert not list(again.glob("*.mrc")) and not (again / "class_01.lst").exists()
    assert not (again / "fsc.png").exists() and not (again / "volumes.png").exists()
    assert "fsc.png" not in (again / "index.html").read_text()
    code, _, err = program("set/particles.star", "seven", "--datadir", folder, "--classes", 7, "--nomaps")
    assert code == 0 and "--classes 7: the images tell 2 apart, and no more" in err


def test_a_folder_of_other_files_is_left_alone(program, folder):
    code, _, err = program("set/particles.star", "set", "--datadir", folder)
    assert code == 1 and "set: holds other files than those of a classification" in err
    assert not (folder / "set/classes.txt").exists()


def test_images_of_nothing_are_refused(program, folder):
    noise = np.random.default_rng(0).normal(size=(COUNT, BOX, BOX)).astype(np.float32)
    (folder / "noise").mkdir()
    with MrcsWriter(folder / "noise/particles.mrcs", BOX, COUNT, 8.0) as writer:
        writer.write(noise)
    star = (folder / "set/particles.star").read_text().replace("set/particles.mrcs", "noise/particles.mrcs")
    (folder / "noise/particles.star").write_text(star)
    code, _, err = program("noise/particles.star", "nothing", "--noinvert")
    assert code == 1 and "show nothing that their poses agree on" in err
    assert not list((folder / "nothing").glob("*"))
