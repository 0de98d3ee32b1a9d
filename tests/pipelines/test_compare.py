"""Runs of the same particles are compared by what the particles are, whatever rows they stand in."""

import dataclasses
import os
import re
import shlex
import shutil

import numpy as np
import pytest

from libhetero.configuration import read_document, write_json
from libhetero.errors import ConfigurationError
from libhetero.io import write_gaussians, write_latent, write_volume
from libhetero.pipelines.compare import CompareConfig
from libhetero.pipelines.comparing import pairs
from libhetero.pipelines.comparing.record import Comparison, LatentAgreement, verdict_of
from libhetero.pipelines.comparing.subjects import Regioned
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.decoding.evaluation_folder import file_digest
from libhetero.pipelines.run.list_digest import list_digest
from tests.making.runs import BOX, PIXEL, field_run, gaussian_run

RNG = np.random.default_rng(5)
COUNT = 120
MAPS = RNG.normal(size=(4, BOX, BOX, BOX)).astype(np.float32)


def reordered(run, folder, order):
    """Return a run of some of a run's particles in another order, with their latents."""
    folder.mkdir()
    latent = np.loadtxt(run.folder / "mid_00.txt")[order, 1:]
    write_latent(folder / "mid_00.txt", np.arange(len(order)), latent)
    return dataclasses.replace(run, folder=folder, particles=run.particles.take(order))


def with_results(run, label, region, maps, box=BOX):
    """Write classes, regions and volumes of a run, as the programs do."""
    folder = run.folder
    write_classes(folder / "classes_particles.txt", np.arange(len(label)), label, list_digest(run.particles))
    write_gaussians(folder / "regions.txt", run.model.neutral, BOX, PIXEL, group=region)
    place = folder / "volumes" / "classes_particles"
    place.mkdir(parents=True)
    names = [f"class_{number:02d}.mrc" for number in range(len(maps))]
    for name, one in zip(names, maps, strict=True):
        write_volume(place / name, one[:box, :box, :box], PIXEL)
    write_json(place / "evaluation.json", {"options": {"classes": "classes_particles.txt"}, "volumes": names})


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs of shared particles in different orders, with all results, and the opener of runs by their names."""
    (tmp_path / "a").mkdir()
    first, piece, states = gaussian_run(tmp_path / "a", count=COUNT, pieces=2)
    order = RNG.permutation(COUNT)[:100]
    second = reordered(first, tmp_path / "b", order)
    label = states @ [1, 2]
    with_results(first, label, piece, MAPS)
    with_results(second, np.array([2, 0, 3, 1])[label[order]], piece, MAPS[[1, 3, 0, 2]])
    known = {"a": first, "b": second}
    monkeypatch.setattr("libhetero.pipelines.comparing.subjects.open_run", known.__getitem__)
    monkeypatch.chdir(tmp_path)
    return known


def targets(page):
    return set(re.findall(r'(?:href|src)="([^"]+)"', page.read_text(encoding="utf-8")))


def test_runs_that_say_the_same_agree(tmp_path, runs, load_program, capsys):
    assert load_program("e2hype_compare.py").main(["a", "b"]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "compare_a_b"
    assert "a and b, 100 particles of both, agree: classes: ARI 1.00" in said and f"look at {folder.name}" in said
    found = read_document(folder / "comparison.json", Comparison)
    (pair,) = found.pairs
    assert (found.particles, pair.shared, pair.left_out) == ((COUNT, 100), 100, ())
    assert pair.classes.ari == pair.classes.ami == pair.classes.in_matched == 1
    assert set(pair.classes.matched) == {(0, 2), (1, 0), (2, 3), (3, 1)}
    assert np.trace(np.array(pair.classes.table)) == 100, "matched classes stand on the diagonal"
    assert min(pair.latents.canonical) > 0.99 and pair.latents.beyond_chance == 2 and pair.latents.chance < 0.5
    assert min(pair.latents.predicted) > 0.99 and pair.latents.neighbours == 1
    assert pair.regions.ari == 1 and [one[:2] for one in pair.regions.matched] == [(1, 1), (2, 2)]
    named = {one.names for one in pair.volumes}
    assert named == {(f"class_0{one}.mrc", f"class_0{other}.mrc") for one, other in enumerate((2, 0, 3, 1))}
    assert all(one.to_the_last_shell and one.area > 0.99 > 0.6 > one.runner_up for one in pair.volumes)
    page = folder / "index.html"
    shown = targets(page)
    assert {"classes_1_2.png", "latents_1_2.png", "volumes_1_2.png", "comparison.txt"} <= shown
    assert all((folder / name).exists() for name in shown)
    text = (folder / "comparison.txt").read_text(encoding="utf-8")
    assert "region 1: region 1, IoU 1.00" in text and "volumes class_00.mrc = class_02.mrc: FSC 0.5 at" in text
    assert load_program("e2hype_compare.py").main(["a", "b"]) == 1
    assert "compare_a_b: exists already" in capsys.readouterr().err


def test_runs_that_share_nothing_but_particles_do_not(tmp_path, runs, load_program, capsys):
    second = runs["b"]
    write_latent(second.folder / "mid_00.txt", np.arange(100), RNG.normal(size=(100, 3)))
    label = RNG.integers(0, 3, 100)
    write_classes(second.folder / "classes_particles.txt", np.arange(100), label, list_digest(second.particles))
    region = RNG.permutation(np.arange(len(second.model.neutral.sigma)) % 3)
    write_gaussians(second.folder / "regions.txt", second.model.neutral, BOX, PIXEL, group=region)
    assert load_program("e2hype_compare.py").main(["a", "b", "--novolumes", "--path", "out/it"]) == 0
    assert "100 particles of both, do not agree: classes: ARI" in capsys.readouterr().out
    (pair,) = read_document(tmp_path / "out" / "it" / "comparison.json", Comparison).pairs
    assert pair.latents.beyond_chance == 0 and pair.latents.neighbours < 0.25 and abs(pair.regions.ari) < 0.15
    assert pair.volumes == () and pair.left_out == ("Volumes are left out: --novolumes was asked for.",)


@pytest.mark.parametrize("both", [True, False])
def test_images_of_one_particle_are_no_further_evidence(tmp_path, runs, load_program, both):
    """Latents and classes drawn for each of 60 particles of 20 images, in the second run, which may take them apart."""
    random, group = np.random.default_rng(0), RNG.permutation(np.repeat(np.arange(60), 20))
    for name in ("c", "d"):
        (tmp_path / name).mkdir()
        run = gaussian_run(tmp_path / name, count=len(group), pieces=2)[0]
        told = group if both or name == "c" else None
        runs[name] = dataclasses.replace(run, particles=dataclasses.replace(run.particles, group=told))
        write_latent(tmp_path / name / "mid_00.txt", np.arange(len(group)), random.normal(size=(60, 2))[group])
        label = random.integers(0, 20, 60)[group]
        write_classes(tmp_path / name / "classes_particles.txt", np.arange(len(group)), label)
    assert load_program("e2hype_compare.py").main(["c", "d", "--novolumes"]) == 0
    found = read_document(tmp_path / "compare_c_d" / "comparison.json", Comparison)
    (pair,) = found.pairs
    assert found.particles == (60, 60 if both else 1200) and pair.shared == pair.latents.particles == 60
    assert pair.latents.beyond_chance == 0 and pair.latents.neighbours < 2 * pair.latents.neighbours_chance
    assert pair.classes.particles == 60 and abs(pair.classes.ari) < 0.05


def test_what_a_run_lacks_is_left_out_with_the_command_that_makes_it(tmp_path, runs, load_program, capsys):
    (tmp_path / "c").mkdir()
    runs["c"] = field_run(tmp_path / "c", COUNT)
    assert load_program("e2hype_compare.py").main(["a", "b", "c", "--path", "three"]) == 0
    said = capsys.readouterr().out
    assert "c has no Gaussians, and so no regions." in said and said.count("particles of both") == 3
    commands = re.findall(r"c has no [\w ]+; (e2hype_\w+\.py) (.*?) makes them", said)
    assert [name for name, _ in commands] == ["e2hype_embed.py", "e2hype_analyze.py"]
    for name, words in commands:
        load_program(name).build_parser().parse_args(shlex.split(words))
    found = read_document(tmp_path / "three" / "comparison.json", Comparison)
    assert [one.runs for one in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [one.classes is None for one in found.pairs] == [False, True, True]
    assert found.pairs[1].shared == COUNT and found.pairs[1].latents is not None
    assert "all_pairs.png" in targets(tmp_path / "three" / "index.html")


def test_volumes_are_of_the_parameters_and_of_the_classes_that_are_compared(tmp_path, runs, load_program):
    program, volumes = load_program("e2hype_compare.py"), tmp_path / "a" / "volumes"
    (volumes / "classes_particles").rename(volumes / "ours")
    digest = file_digest(tmp_path / "a" / "classes_particles.txt")
    options = {"classes": "classes_particles.txt", "classes_digest": digest}
    maps = [f"class_0{one}.mrc" for one in range(4)]
    write_json(volumes / "ours" / "evaluation.json", {"options": options, "volumes": maps})
    shutil.copytree(volumes / "ours", volumes / "others")
    write_json(volumes / "others" / "evaluation.json", {"options": {"all_classes": 4}, "volumes": maps})
    for place, age in (("ours", 200), ("others", 300)):
        os.utime(volumes / place / "evaluation.json", (age, age))

    def compared(path, written, *options):
        runs["a"] = dataclasses.replace(runs["a"], written=written)
        assert program.main(["a", "b", "--path", path, *options]) == 0
        return read_document(tmp_path / path / "comparison.json", Comparison)

    assert compared("all", None).volumes[0] == str(volumes / "ours"), "those of the classes, though others are newer"
    text = (tmp_path / "all" / "comparison.txt").read_text(encoding="utf-8")
    assert f"a: {COUNT} particles, family gmm, volumes of {volumes / 'ours'}" in text
    assert compared("newer", 250.0).volumes[0] == str(volumes / "others"), "the others are of older parameters"
    found = compared("newest", 400.0)
    assert found.volumes[0] == "" and found.pairs[0].volumes == ()
    assert "are older than its parameters; e2hype_eval.py a --classes" in found.pairs[0].left_out[0]


def test_a_run_without_gaussians_or_classes_is_compared_by_the_rest(tmp_path, runs, load_program, capsys):
    (tmp_path / "c").mkdir()
    runs["c"] = field_run(tmp_path / "c", COUNT)
    kept = tmp_path / "a" / "segmentations" / "mine"
    kept.mkdir(parents=True)
    (tmp_path / "a" / "regions.txt").rename(kept / "regions.txt")
    write_json(kept / "made.json", {})
    none = np.full(COUNT, -1)
    write_classes(tmp_path / "c" / "classes_particles.txt", np.arange(COUNT), none, list_digest(runs["c"].particles))
    assert load_program("e2hype_compare.py").main(["a", "c", "--segmentation", "mine"]) == 0
    said = capsys.readouterr().out
    assert "c has no Gaussians" in said and "c has no particle in a class (" in said and "a has no regions" not in said


def test_runs_that_cannot_be_compared_are_told_in_one_line(tmp_path, runs, load_program, capsys):
    program = load_program("e2hype_compare.py")

    def refused(*arguments):
        assert program.main([*arguments]) == 1
        said = capsys.readouterr().err.strip()
        assert "\n" not in said and not list(tmp_path.glob("compare_*"))
        return said

    assert "a: one run alone; expected two or more" in refused("a")
    assert "./a: named twice" in refused("a", "./a")
    assert "a has no evaluation of this name; expected one of" in refused("a", "b", "--volumes", "other")
    assert "a has no segmentation of this name" in refused("a", "b", "--segmentation", "other")
    other = dataclasses.replace(runs["b"].particles, files=("other.mrcs",))
    runs["b"] = dataclasses.replace(runs["b"], particles=other)
    (tmp_path / "b" / "classes_particles.txt").unlink()
    assert "a and b: no particle of one is in the other" in refused("a", "b")
    (tmp_path / "small").mkdir()
    small, piece, states = gaussian_run(tmp_path / "small", count=COUNT, pieces=2)
    with_results(small, states @ [1, 2], piece, MAPS, box=BOX // 2)
    runs["small"] = small
    said = refused("a", "small")
    assert "small/volumes/classes_particles: volumes of 8 voxels of 10 Å" in said and "are 16 of 10 Å" in said


def test_a_folder_that_is_no_run_is_told(tmp_path, monkeypatch, load_program, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    assert load_program("e2hype_compare.py").main(["nothing", "neither"]) == 1
    assert "nothing" in capsys.readouterr().err and not (tmp_path / "compare_nothing_neither").exists()


def test_a_comparison_that_cannot_be_written_leaves_nothing(tmp_path, runs, load_program, monkeypatch, capsys):
    program = load_program("e2hype_compare.py")

    def full(path, *arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("libhetero.pipelines.comparing.files.draw_cross_table", full)
        assert program.main(["a", "b", "--novolumes"]) == 1
    assert "compare_a_b: no space left" in capsys.readouterr().err and not list(tmp_path.glob("*compare_a*"))
    (tmp_path / "list.star").touch()
    monkeypatch.setattr("libhetero.pipelines.comparing.subjects.open_run", None)
    assert program.main(["a", "b", "--path", "list.star/new"]) == 1
    assert "list.star/new: list.star is no folder" in capsys.readouterr().err, "before anything is read"


def test_folders_are_named_by_their_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CompareConfig(("x/hype_00", "y/hype_00")).folder().name == "compare_hype_00_hype_00"
    assert CompareConfig(("a", "b", "c", "d e")).folder().name == "compare_a_b_c_and_1_more"
    with pytest.raises(ConfigurationError, match="--novolumes"):
        CompareConfig(("a", "b"), volumes="x", no_volumes=True)


def test_regions_of_clouds_that_differ_meet_at_the_nearest_gaussians():
    position = RNG.uniform(-50, 50, (300, 3))
    region = np.digitize(position[:, 0], [-15, 15])
    fewer = position[::2] + RNG.normal(scale=0.5, size=(150, 3))
    found = pairs.region_agreement(Regioned(position, region), Regioned(fewer, region[::2]))
    assert 0.75 < found.ari < 1 and found.gaussians == (300, 150) and found.regions == (2, 2)
    assert [one[:2] for one in found.matched] == [(1, 1), (2, 2)] and min(one[2] for one in found.matched) > 0.75
    far = pairs.region_agreement(Regioned(position, region), Regioned(position + 1000.0, region))
    assert far.paired == (0, 0) and far.ari == 0 and [one[1] for one in far.matched] == [-1, -1]


def test_classes_of_which_no_particle_has_both_are_left_out():
    assert pairs.class_agreement(np.array([0, -1, 1]), np.array([-1, 2, -1])) is None
    found = pairs.class_agreement(np.array([0, -1, 1, 0]), np.array([7, 7, 5, 7]))
    assert found.particles == 3 and found.ari == 1 and found.matched == ((0, 7), (1, 5))


def test_the_verdict_is_by_what_agrees_least_and_most():
    def latents(predicted, beyond=2):
        return LatentAgreement(100, (2, 2), (0.9, 0.5), 0.3, beyond, (predicted, 0.1), 0.5, 0.1)

    def word(latent):
        return verdict_of(("a", "b"), 100, None, latent, None, ()).split(": ")[0]

    assert word(latents(0.9)).endswith("both, agree")
    assert word(latents(0.5)).endswith("both, agree in part")
    assert word(latents(0.2)).endswith("both, do not agree")
    assert word(latents(0.9, beyond=0)).endswith("do not agree")
    assert word(None).endswith("are not judged")


def test_what_both_runs_have_not_found_is_told_and_not_judged():
    one, two = np.zeros(4, int), np.array([0, 0, 1, 1])
    position = RNG.uniform(-50, 50, (40, 3))
    core, half = Regioned(position, np.zeros(40, int)), Regioned(position, np.arange(40) % 2)

    def said(labels, clouds):
        return verdict_of(("a", "b"), 4, pairs.class_agreement(*labels), None, pairs.region_agreement(*clouds), ())

    nothing = said((one, one), (core, core))
    assert nothing == "a and b, 4 particles of both, are not judged: classes: one in both; regions: none in both."
    assert "do not agree: classes: ARI 0.00" in said((one, two), (core, half))
    assert "agree: classes: one in both; regions: ARI 1.00" in said((one, one), (half, half))
