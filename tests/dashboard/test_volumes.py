"""Volumes: what is asked for becomes a command of e2hype_eval.py, and what lies there is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from libhetero.dashboard.columns import Columns
from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.volumes import MOST, along, is_current, series_names, series_of, wanted
from libhetero.errors import UserError
from libhetero.io import read_latent, write_gaussians
from libhetero.pipelines.decoding.class_files import whole_classes
from tests.making.mixtures import gaussians
from tests.making.sets import BOX, PIXEL

ONE_CLASS = {"class": {"embedding": "umap_classes_2", "number": 1}}


@pytest.fixture
def served(run):
    return ServedRun(0, run, "gmm_00")


def asked(served, body):
    return wanted(served, Columns(served), body)


def option(words, flag):
    return words[words.index(flag) + 1]


def test_points_are_written_as_they_are_and_named_by_what_they_are(served, load_program) -> None:
    points = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.5]]
    found = asked(served, {"points": points, "box": 32, "lowpass": 12.5})
    np.testing.assert_array_equal(read_latent(option(found.words, "--latent"))[1], points)
    options = load_program("e2hype_eval.py").build_parser().parse_args(found.words[1:])
    assert options.box == 32 and options.lowpass == 12.5 and options.name == found.name and not found.named
    assert asked(served, {"points": points, "box": 32, "lowpass": 12.5}).name == found.name
    assert asked(served, {"points": points}).name != found.name
    assert asked(served, {"points": points, "name": "mine"}).words[-1] == "mine"


def test_a_path_over_points_is_even_in_the_latent(served) -> None:
    found = asked(served, {"path": {"points": [[0, 0, 0], [4, 0, 0], [4, 4, 0]], "steps": 5}})
    latent = read_latent(option(found.words, "--latent"))[1]
    np.testing.assert_allclose(latent, [[0, 0, 0], [2, 0, 0], [4, 0, 0], [4, 2, 0], [4, 4, 0]])
    same = along(np.ones((2, 3)), 4)
    np.testing.assert_array_equal(same, np.ones((4, 3)))


def test_a_path_over_particles_is_the_programs_own(served) -> None:
    words = asked(served, {"path": {"rows": [3, 9, 12], "steps": 10}}).words
    assert option(words, "--path") == "3,9,12" and option(words, "--steps") == "5"
    assert option(asked(served, {"rows": [3, 9]}).words, "--particles") == "3,9"


def test_one_class_or_all_of_them(served) -> None:
    every = asked(served, {"class": {"embedding": "umap_classes_2"}})
    assert option(every.words, "--classes").endswith("umap_classes_2/classes_particles.txt")
    alone = asked(served, {"class": {"embedding": "umap_classes_2", "number": 1, "centre": "medoid"}})
    label = whole_classes(option(alone.words, "--classes"), served.particles())  # of this list, as it says
    assert np.flatnonzero(label == 1).tolist() == list(range(1, 39, 2)) and (label[::2] == -1).all()
    of_region = asked(served, {"class": {"segmentation": "motion", "region": 1, "number": 0}})
    assert whole_classes(option(of_region.words, "--classes"), served.particles())[::2].tolist() == [0] * 20


def test_the_table_of_a_class_is_replaced_and_never_written_into(served, run) -> None:
    """A worker that reads it meanwhile has it whole."""
    path = Path(option(asked(served, ONE_CLASS).words, "--classes"))
    (run / "open.txt").hardlink_to(path)
    asked(served, ONE_CLASS)
    assert not path.samefile(run / "open.txt") and path.read_bytes() == (run / "open.txt").read_bytes()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rows": [1], "points": [[0, 0, 0]]},
        {"points": [[0, 0]]},
        {"points": [[0, 0, float("nan")]]},
        {"points": [[0, 0, "a"]]},
        {"points": []},
        {"points": [[0, 0, 10**400]]},
        {"rows": [[1], [1, 2]]},
        {"rows": [10**400]},
        {"points": [[0, 0, 0]] * (MOST + 1)},
        {"rows": [99]},
        {"rows": list(range(30)) * 4},
        {"path": {"rows": [1]}},
        {"path": {"points": [[0, 0, 0]]}},
        {"path": {"rows": [1, 2], "steps": 1}},
        {"path": {"rows": [1, 2], "points": [[0, 0, 0]]}},
        {"path": []},
        {"class": {"embedding": "none"}},
        {"class": {"embedding": "umap_classes_2", "number": 7}},
        {"class": {"embedding": "umap_classes_2", "number": "1"}},
        {"class": {"segmentation": "motion", "region": 9}},
        {"class": {"segmentation": "motion", "region": "../1"}},
        {"rows": [1], "name": "../a"},
        {"rows": [1], "box": 10**9},
        {"rows": [1], "box": 9},
        {"rows": [1], "box": 16.5},
        {"rows": [1], "lowpass": -1},
    ],
)
def test_what_is_none_of_these_is_refused(served, body) -> None:
    with pytest.raises(UserError) as refused:
        asked(served, body)
    assert "\n" not in str(refused.value)


def lie(run, name="points_a"):
    """Write a folder of volumes, as e2hype_eval.py does."""
    folder = run / "volumes" / name
    folder.mkdir(parents=True)
    for stem in ("latent_0000", "latent_0001"):
        (folder / f"{stem}.mrc").write_bytes(b"map")
        (folder / f"{stem}.pdb").write_text("END\n")
        write_gaussians(folder / f"{stem}.txt", gaussians(np.ones((2, 3), np.float32)), BOX, PIXEL)
    (folder / "volumes.txt").write_text("# volume …\nlatent_0000 5 0.1 nan nan\nlatent_0001 7 0.2 0 0\n")
    (folder / "volumes.cxc").write_text("open a.mrc\nvolume #1-2 show style surface level 0.0361241\nview\n")
    (folder / "evaluation.json").write_text("{}")
    return folder


def test_volumes_that_lie_there_are_told_with_where_to_get_them(visitor, run) -> None:
    lie(run)
    told = visitor.get("/api/session").json["runs"][0]["volumes"]
    assert [one["name"] for one in told] == ["points_a"]
    first = told[0]["series"][0]
    assert first["label"] == "latent_0000" and first["level"] == 0.0361241 and first["particle"] == 5
    assert visitor.get(first["url"]).body == b"map" and visitor.get(told[0]["gaussians"][1]).body == b"END\n"
    mixture = visitor.get(told[0]["mixtures"][0])
    assert mixture.headers["x-shape"] == "2,5"
    np.testing.assert_allclose(mixture.array[:, :3], 1.0, rtol=1e-5)
    assert visitor.get(told[0]["cxc"]).headers["content-disposition"].startswith("attachment")


def test_volumes_older_than_the_parameters_are_made_anew(served, run) -> None:
    record = lie(run) / "evaluation.json"
    assert is_current(served, "points_a") and not is_current(served, "none")
    (run / "checkpoints" / "12").mkdir(parents=True)
    os.utime(record, (1, 1))
    assert not is_current(served, "points_a")


def test_volumes_are_of_the_step_that_they_say(served, run) -> None:
    """A checkpoint came while the worker decoded the parameters before: the record is newer, and not of it."""
    (run / "checkpoints" / "12").mkdir(parents=True)
    record = lie(run) / "evaluation.json"
    for step, current in ((8, False), (12, True)):
        record.write_text(json.dumps({"options": {"step": step}, "volumes": []}))
        assert is_current(served, "points_a") == current


def test_a_checkpoint_that_is_removed_meanwhile_is_passed_over(served, run) -> None:
    lie(run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "8").symlink_to(run / "gone")
    assert is_current(served, "points_a")


def test_other_classes_under_the_same_name_are_other_volumes(visitor, served, run, monkeypatch) -> None:
    """As of an embedding that was made anew with --name."""
    monkeypatch.setattr("libhetero.dashboard.jobs.find_program", lambda name: run / "none.py")
    lie(run, asked(served, ONE_CLASS).name)
    assert visitor.post("/api/runs/0/volumes", ONE_CLASS).json["state"] == "done"
    table = run / "embeddings/umap_classes_2/classes_particles.txt"
    head, *lines = table.read_text().splitlines()
    label = (1 - np.array([line.split()[1] for line in lines], int)).clip(0, 1)
    table.write_text("\n".join([head, *(f"{row} {one} 0.9" for row, one in enumerate(label))]) + "\n")
    assert visitor.post("/api/runs/0/volumes", ONE_CLASS).json["state"] != "done"
    made = whole_classes(option(asked(served, ONE_CLASS).words, "--classes"), served.particles())
    np.testing.assert_array_equal(made == 1, label == 1)


def test_volumes_that_are_there_are_no_work(visitor, served, run) -> None:
    body = {"points": [[0.0, 0.0, 0.0]]}
    lie(run, asked(served, body).name)
    job = visitor.post("/api/runs/0/volumes", body).json
    assert job["state"] == "done" and len(job["result"]["series"]) == 2


def test_lines_of_a_table_that_name_no_volume_are_left_out(visitor, run) -> None:
    (lie(run) / "volumes.txt").write_bytes(b"alone\n\xff \xff\nlatent_0000 many\n../a 1\nlatent_0001 7 0.2 0 0\n")
    (run / "volumes" / "points_a" / "volumes.cxc").write_text("surface level e-\n")
    told = visitor.get("/api/session").json["runs"][0]
    (only,) = told["volumes"]
    assert [one["label"] for one in only["series"]] == ["latent_0001"] and only["level"] is None


@pytest.mark.parametrize("name", ["volumes.txt", "volumes.cxc"])
def test_volumes_that_lead_out_of_the_run_are_a_warning_and_the_others_are_shown(visitor, run, name) -> None:
    lie(run)
    odd = lie(run, "points_b") / name
    odd.rename(run.parent / name)
    odd.symlink_to(run.parent / name)
    told = visitor.get("/api/session").json["runs"][0]
    assert [one["name"] for one in told["volumes"]] == ["points_a"]
    assert told["warnings"] == [f"volumes/points_b/{name}: leads out of the run folder"]


def test_folders_that_are_no_volumes_are_left_out(served, run) -> None:
    (lie(run) / "volumes.txt").unlink()
    (run / "volumes" / "other").mkdir()
    assert series_names(served) == []
    with pytest.raises(Refusal):
        series_of(served, "points_a")
