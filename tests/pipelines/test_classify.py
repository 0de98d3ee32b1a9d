"""Classes of a mixture through the program: tables, lists, maps, and what cannot be sorted."""

import contextlib
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.io import MrcsWriter, read_particles, read_volume
from libhetero.io.particle_findings import read_findings

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


def test_molecules_are_sorted_with_lists_maps_and_a_page(program, folder):
    code, out, _ = program("set/particles.star", "found", "--datadir", folder)
    assert code == 0 and "found 2 classes" in out and "found/index.html" in out
    found, truth = folder / "found", folder / "set/truth"
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


def test_a_classification_is_scored_as_a_run_is(load_program, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    score = load_program("e2hype_score.py").main
    assert score(["found", "--images", "20", "--json", "scored.json"]) == 0
    values = json.loads((folder / "scored.json").read_text())
    labels = values["labels"]["classes.txt"]
    assert values["family"] == "classification" and labels["classes"] == 2 and labels["ari"] > 0.9
    assert values["junk"]["recall"] > 0.9 and labels["sure"]["right"] > 0.9
    volumes = values["volumes"]
    areas = [volumes[one]["fsc_auc"]["mean"] for one in ("floor", "model", "bound")]
    assert areas[0] < areas[1] <= areas[2] + 0.05 and volumes["gap_closed"] > 0.6
    (folder / "found/class_00.mrc").unlink()
    assert score(["found", "--images", "20"]) == 1
    assert "class_00.mrc: no such map; classify without --nomaps" in capsys.readouterr().err


def test_a_second_call_leaves_nothing_of_the_first(program, folder, monkeypatch):
    said, search = [], "libhetero.pipelines.classifying.search"
    with monkeypatch.context() as small:
        small.setattr(f"{search}.most_particles", lambda views: 130)
        small.setattr(f"{search}.working", lambda say, what: said.append(what) or contextlib.nullcontext())
        code, out, err = program("set/particles.star", "found", "--datadir", folder, "--classes", 1, "--nomaps")
    assert f"searching in 130 of {COUNT} particles" in out
    assert said == ["search for classes of 130 particles", "changes within the classes"], "sorting has a bar of its own"
    assert code == 0 and "found 1 class\n" in out and "junk" in err
    found = folder / "found"
    assert not list(found.glob("*.mrc")) and not (found / "class_01.lst").exists()
    assert not (found / "fsc.png").exists() and not (found / "volumes.png").exists()
    assert "fsc.png" not in (found / "index.html").read_text()
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
