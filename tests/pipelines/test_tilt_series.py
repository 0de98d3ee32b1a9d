"""Particles of a tilt series go through the programs whole: one latent and one class, in the row of every image."""

import contextlib
import dataclasses
import io
import shutil

import numpy as np
import pytest

from libhetero.configuration import read_json
from libhetero.errors import DataError
from libhetero.io import read_latent, read_particles
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.pose_refinement import Placed
from libhetero.pipelines.classifying import poses
from libhetero.pipelines.decoding.mid_latent import LatentStream
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import open_run
from libhetero.pipelines.run.starting_classes import starting_classes
from libhetero.tilts import one_image_each
from libhetero.training.feed import ParticleFeed
from libhetero.training.preprocess import PreprocessConfig
from libhetero.training.series import drawn_from
from tests.making import commands
from tests.making.feeds import ArrayReader

COUNT, TILTS = 40, 3
SIZES = "--preset small --niter 2 --batchsz 8 --seed 1"
GMM = "--model gmm.txt --decoder mlp --set mlp_width=16 --nmid 2 --pas 010"
HYPE = "--set inr_width=16 --set dim=16 --set coordinates=40"
SMALL_MLP = " ".join([*commands.HYPE[2:], "--encoder mlp --set encoder_width=16"])


@pytest.fixture(scope="module")
def folder(load_program, tmp_path_factory):
    """A complex of which two pieces come and go, each particle at three tilts; images stand in a mixed order."""
    folder = tmp_path_factory.mktemp("tilted")
    options = f"--pieces 2 --diameter 75 --n {COUNT} --box 16 --apix 8 --snr 2 --tilts -40,40,40 --dose 3 --seed 3"
    assert load_program("e2hype_simulate.py").main(["assembly", str(folder / "set"), *options.split()]) == 0
    (folder / "gmm.txt").write_text("0.1 0.05 0 3 4\n-0.1 0 0.1 3 4\n0 -0.1 -0.05 3 4\n0.05 0.1 -0.1 3 4\n")
    text = (folder / "set/particles.star").read_text().splitlines()
    rows = [place for place, line in enumerate(text) if "@" in line]
    order = np.random.default_rng(0).permutation(rows)
    for place, other in zip(rows, [text[other] for other in order], strict=True):
        text[place] = other
    (folder / "set/mixed.star").write_text("\n".join(text) + "\n")
    return folder


@pytest.fixture
def program(load_program, folder, monkeypatch, capsys):
    """Run a program beside the set; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def run(name, words):
        code = load_program(f"e2hype_{name}.py").main(words.split())
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def classified(load_program, folder):
    """A classification of the images in a mixed order, to be read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = "set/mixed.star found --classes 2 --seed 1"
        assert load_program("e2hype_classify.py").main(words.split()) == 0
    return folder / "found"


@pytest.fixture(scope="module")
def trained(load_program, folder):
    """A run of the Gaussians on the images in a mixed order."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        patch.chdir(folder)
        words = f"set/mixed.star {SIZES} {GMM} --path run"
        assert load_program("e2hype_refine.py").main(words.split()) == 0
    assert f"{COUNT} particles in {COUNT * TILTS} images" in said.getvalue()
    return folder / "run"


def alike(values, group):
    """Return whether the rows of each particle hold the same."""
    return all(np.ptp(values[group == one], axis=0).max() < 1e-5 for one in np.unique(group))


def test_images_of_one_particle_have_one_latent(trained):
    run = open_run(trained)
    group = np.asarray(run.particles.group)
    assert not np.all(np.diff(group) >= 0)  # mixed
    index, latent = read_latent(trained / "mid_00.txt")
    np.testing.assert_array_equal(index, np.arange(COUNT * TILTS))
    assert alike(latent, group) and np.ptp(latent, axis=0).min() > 0.1


def test_an_image_is_encoded_with_all_of_its_particle(trained):
    run = open_run(trained)
    chosen = np.array([7, 100, 3])
    found = np.concatenate(list(LatentStream(run.model, run.params, run.feed(), 16).blocks(chosen)))
    np.testing.assert_allclose(found, read_latent(trained / "mid_00.txt")[1][chosen], atol=2e-3)


def test_classes_are_of_particles(trained, program):
    code, _, err = program("embed", "run --method pca --classes 2 --lists")
    assert code == 0, err
    group = np.asarray(open_run(trained).particles.group)
    label = np.loadtxt(trained / "classes_particles.txt")[:, 1]
    assert alike(label[:, None], group)
    assert alike(read_latent(trained / "embed_particles.txt")[1], group)
    lists = [read_particles(trained / f"class_{number:02d}.star") for number in range(2)]
    assert sum(one.distinct for one in lists) == COUNT
    assert [len(one) for one in lists] == [TILTS * one.distinct for one in lists]


def test_regions_and_scores_are_found(trained, program):
    code, _, err = program("segment", "run --pvalue 1 --seed 1")
    assert code == 0, err
    code, out, err = program("score", "run --images 0")
    assert code == 0, out + err


def test_a_run_goes_on_with_the_same_particles(trained, program):
    code, out, err = program("refine", "--resume run")
    assert code == 0 and "finished" in out + err
    code, out, err = program("refine", "--resume run --niter 3")
    assert code == 0, err
    assert alike(read_latent(trained / "mid_00.txt")[1], np.asarray(open_run(trained).particles.group))


def test_classes_without_a_network_are_of_particles(program, folder, classified):
    group = np.asarray(read_particles(folder / "set/mixed.star").group)
    table = np.loadtxt(classified / "classes.txt")
    assert len(table) == COUNT * TILTS and alike(table[:, 1:2], group)
    record = read_json(classified / "classification.json")
    assert record["particles"] == COUNT and sum(one["particles"] for one in record["classes"]) <= COUNT
    lists = sorted(classified.glob("class_*.star"))
    assert sum(read_particles(path).distinct for path in lists) == sum(one["particles"] for one in record["classes"])
    code, out, err = program("classify", "set/mixed.star searched --search_poses 10")
    assert code == 1 and "--search_poses: set/mixed.star lists tilt series" in err


def test_a_particle_begins_with_the_class_of_any_of_its_images(folder, classified, monkeypatch):
    """One that is not finite is in none; two classes of a particle are refused."""
    monkeypatch.chdir(folder)
    lines = (classified / "classes.txt").read_text().splitlines()
    rows = [place for place, line in enumerate(lines) if not line.startswith("#")]
    particles = read_particles(folder / "set/mixed.star")
    first, of = one_image_each(particles)
    label = np.loadtxt(classified / "classes.txt")[:, 1].astype(int)
    one, other = np.flatnonzero(label[first] >= 0)[:2]
    images = first[one], np.flatnonzero(of == other)[-1]
    shutil.copytree(classified, folder / "holes")

    def told(image, name):
        lines[rows[image]] = f"{image} {name} 1"
        (folder / "holes/classes.txt").write_text("\n".join(lines) + "\n")
        return starting_classes(DataConfig(particles="set/mixed.star", classes="holes"), particles)

    for image in images:
        known = told(image, -1)
    np.testing.assert_array_equal(known.label, label)
    assert alike(known.contrast[:, None], of)
    with pytest.raises(DataError, match="images of 1 particles of set/mixed.star are in different classes"):
        told(images[0], label[images[0]] + 1)


def test_a_hypernetwork_gives_a_particle_one_volume(program, folder, classified):
    """Begun with the classes that were found before, which it needs no more to be opened and gone on with."""
    shutil.copytree(classified, folder / "begun")
    code, out, err = program("refine", f"set/mixed.star {SIZES} {HYPE} --classes begun --path hype")
    assert code == 0, err
    assert f"{COUNT} particles in {COUNT * TILTS} images" in out + err and "take each image" not in out + err
    run = open_run(folder / "hype")
    group = np.asarray(run.particles.group)
    assert run.model.series and alike(read_latent(folder / "hype/mid_00.txt")[1], group)
    label = np.loadtxt(classified / "classes.txt")[:, 1].astype(int)
    shutil.rmtree(folder / "begun")
    first, _ = one_image_each(run.particles)
    told = np.argmax(run.model.memberships(drawn_from(run.feed()).batch(np.arange(COUNT)))[::TILTS], axis=1)
    assert np.mean(told[label[first] >= 0] == label[first][label[first] >= 0]) > 0.9
    code, out, err = program("refine", "--resume hype")
    assert code == 0 and "this run is finished" in out, err
    code, out, err = program("embed", "hype --method pca --classes 2 --lists")
    assert code == 0, err
    assert alike(np.loadtxt(folder / "hype/classes_particles.txt")[:, 1:2], group)
    code, out, err = program("eval", "hype --classes hype/classes_particles.txt")
    assert code == 0, err


def test_a_model_of_single_images_says_that_it_takes_them_apart(program, folder):
    code, out, err = program("refine", f"set/particles.star {SIZES} {SMALL_MLP} --path apart")
    assert code == 0, err
    assert f"its {COUNT * TILTS} images show {COUNT} particles" in out + err
    assert open_run(folder / "apart").particles.group is None
    listed = read_particles(folder / "apart/ptcls_00.lst")
    assert listed.distinct == COUNT and listed.tilt is not None and listed.ctf.exposure is not None


def test_a_batch_in_parts_is_refused(program):
    code, out, err = program("refine", f"set/particles.star {SIZES} {GMM} --accum 2 --path parts")
    assert code == 1 and "would cut the tilt series of particles" in out + err


def test_poses_of_series_are_refined_against_half_sets_of_whole_particles(folder, monkeypatch):
    particles = read_particles(folder / "set/mixed.star")
    images = np.zeros((len(particles), 16, 16), np.float32)
    asked = {}

    def refined(blocks, label, contrast, ring, ball, half):
        asked["half"] = half
        return Placed(np.zeros((len(label), 5)), np.zeros((len(label), 5)), (0.0, 0.0))

    monkeypatch.setattr(poses, "refine_poses", refined)
    ones, label = np.ones(len(particles)), np.array([-1, 0, 0, 1])[np.minimum(particles.group, 3)]
    known = KnownClasses(label, np.zeros(len(particles), int), ones, ones, 0.05)
    for list_of, alone in ((particles, False), (dataclasses.replace(particles, group=None), True)):
        poses.refined_poses(ParticleFeed(ArrayReader(images), list_of, PreprocessConfig()), 0, known)
        if alone:
            assert asked["half"] is None
        else:
            of_particle = [set(asked["half"][particles.group == one]) for one in np.unique(particles.group)]
            assert all(len(half) == 1 for half in of_particle)
            first, second = ([half == {one} for half in of_particle] for one in (0, 1))
            assert sum(first[1:3]) == sum(second[1:3]) == 1  # of each class, half of the particles
            assert abs(sum(first[3:]) - sum(second[3:])) <= 1
