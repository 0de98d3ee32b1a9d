"""Regions: what was found of each, and what is written of those that were changed by hand."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from libhetero.configuration import write_json
from libhetero.dashboard.regions import COLUMNS, described, gaussians_of, save
from libhetero.dashboard.runs import ServedRun
from libhetero.errors import UserError
from libhetero.pipelines.regions.files import read_labels
from tests.making.shown_runs import GAUSSIANS, LABEL


@pytest.fixture
def served(run):
    return ServedRun(0, run, "gmm_00")


def body(**given):
    return {"name": "mine", "based_on": "motion", "labels": LABEL.tolist(), **given}


def test_gaussians_are_told_with_change_plane_and_region(visitor) -> None:
    told = visitor.get("/api/runs/0/gaussians?segmentation=motion").json
    assert told["count"] == GAUSSIANS and told["columns"] == list(COLUMNS) and len(told["units"]) == len(COLUMNS)
    found = visitor.get("/api/runs/0/gaussians/raw?segmentation=motion").array
    np.testing.assert_array_equal(found[:, 8], LABEL)
    np.testing.assert_allclose(found[:, 5], 0.1 * LABEL, atol=1e-6)
    changing = LABEL > 0
    np.testing.assert_allclose(found[changing, 6:8], found[changing, :2], rtol=1e-3, atol=1e-3)
    assert np.isnan(found[~changing, 6:8]).all()


def test_without_a_segmentation_they_are_those_that_the_run_began_with(served) -> None:
    found = gaussians_of(served, None)
    assert found.shape == (GAUSSIANS, len(COLUMNS)) and (found[:, 8] == 0).all() and np.isnan(found[:, 5:8]).all()
    np.testing.assert_allclose(found[:, :3], gaussians_of(served, "motion")[:, :3], rtol=1e-4, atol=1e-4)


def test_regions_are_told_with_what_speaks_for_them(visitor, run) -> None:
    first, second = visitor.get("/api/runs/0/regions?segmentation=motion").json
    assert (first["number"], first["kind"], first["p"], first["agreement"]) == (1, "motion", 1e-9, 0.97)
    assert first["motion"]["change"] == 3.0 and first["validation"] is None and first["coordinates"]
    assert [state["label"] for state in first["states"]] == ["class_00", "class_01"] and second["states"] == []
    assert visitor.get(first["states"][0]["url"]).headers["x-shape"] == f"{GAUSSIANS},5"
    finding = {
        "region": 1,
        "gaussians": 10,
        "change": 3.0,
        "overlap": (0.9, 0.8),
        "coordinate": 0.9,
        "false_positive": 0.1,
        "follows": "",
        "verdict": "supported",
        "reasons": ("both half-sets",),
    }
    told = {"run": "a", "family": "gmm", "particles": 40, "regions": [finding], "halves": None, "nulls": None}
    (run / "validation").mkdir()
    write_json(run / "validation/validation.json", {**told, "following": [], "volumes": [], "format_version": 1})
    assert visitor.get("/api/runs/0/regions?segmentation=motion").json[0]["validation"]["verdict"] == "supported"


def test_a_name_of_no_segmentation_is_nowhere(visitor) -> None:
    for what in ("regions", "gaussians", "gaussians/raw"):
        said = visitor.get(f"/api/runs/0/{what}?segmentation=none")
        assert said.status == 404 and "expected one of motion" in said.json["error"]


def test_a_run_without_regions_has_none(served, run) -> None:
    (run / "segmentations").rename(run / "elsewhere")
    assert described(served, None) == []


def test_regions_changed_by_hand_are_what_segmentation_takes(visitor, run, load_program) -> None:
    """Merged, a Gaussian of the core added, and one set aside; numbered without gaps."""
    label = np.where(LABEL == 2, 5, LABEL)
    label[0], label[1] = 5, -1
    edits = ["region 2 with one Gaussian more"]
    said = visitor.post("/api/runs/0/regions", body(labels=label.tolist(), names={"5": "arm <b>"}, edits=edits))
    assert said.status == 200 and said.json["regions"] == 2, said.body
    expected = np.where(label == 5, 2, label)
    np.testing.assert_array_equal(read_labels(run / said.json["path"], GAUSSIANS), expected)
    before = np.loadtxt(run / "segmentations/motion/regions.txt")
    np.testing.assert_allclose(np.loadtxt(run / said.json["path"])[:, :5], before[:, :5], rtol=1e-4, atol=1e-6)
    told = json.loads((run / "regions_01.json").read_text())
    assert told["edits"] == edits and told["based_on"] == "motion" and told["names"] == {"2": "arm <b>"}
    assert told["gaussians"] == {str(one): int((expected == one).sum()) for one in (-1, 0, 1, 2)}
    name, *words = said.json["words"]
    options = load_program(name).build_parser().parse_args(words)
    assert options.regions == str(run / "regions_01.txt") and options.name == "mine"


def test_names_go_with_their_regions(served, run) -> None:
    """Numbers are given anew where a region is gone, or is of the core by now."""
    label = np.select([LABEL == 1, LABEL == 2], [3, 4], LABEL)
    label[LABEL == 1] = np.where(np.arange((LABEL == 1).sum()) < 3, 1, 3)
    save(served, body(labels=np.where(label == 3, 0, label).tolist(), names={"1": "region 1", "4": "region 4"}))
    assert json.loads((run / "regions_01.json").read_text())["names"] == {}, "the name of a number is that number's"
    names = {"1": "foot", "2": "gone", "3": "head", "4": "arm", "x": "none"}
    save(served, body(labels=label.tolist(), names=names))
    assert json.loads((run / "regions_02.json").read_text())["names"] == {"1": "foot", "2": "head", "3": "arm"}
    save(served, body(labels=label.tolist(), names=names, constant=[1]))
    told = json.loads((run / "regions_03.json").read_text())
    assert told["names"] == {"1": "head", "2": "arm"} and told["constant"] == [1]
    np.testing.assert_array_equal(read_labels(run / "regions_03.txt", GAUSSIANS) == 2, label == 4)


def test_a_region_that_is_set_constant_is_of_the_core(served, run) -> None:
    save(served, body(constant=[1]))
    label = read_labels(run / "regions_01.txt", GAUSSIANS)
    np.testing.assert_array_equal(label, np.where(LABEL == 2, 1, 0))
    with pytest.raises(UserError, match="no region is left"):
        save(served, body(constant=[1, 2]))


def test_files_are_never_overwritten_also_by_two_at_once(served, run) -> None:
    threads = [threading.Thread(target=save, args=(served, body(name=f"n{number}"))) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    names = sorted(path.name for path in run.glob("regions_*.txt"))
    assert names == [f"regions_0{number}.txt" for number in range(1, 7)]
    told = {json.loads((run / name).with_suffix(".json").read_text())["name"] for name in names}
    assert told == {f"n{number}" for number in range(6)}


@pytest.mark.parametrize(
    "given",
    [
        {"labels": None},
        {"labels": [1] * (GAUSSIANS - 1)},
        {"labels": [0] * GAUSSIANS},
        {"labels": [0.5] * GAUSSIANS},
        {"labels": [-2] * GAUSSIANS},
        {"labels": [10**6] * GAUSSIANS},
        {"labels": [[1]] * GAUSSIANS},
        {"labels": ["1"] * GAUSSIANS},
        {"name": "../x"},
        {"name": None},
        {"based_on": "none"},
        {"based_on": 3},
        {"names": []},
        {"edits": "a"},
        {"constant": "1"},
    ],
)
def test_what_is_no_regions_is_refused_and_nothing_is_written(visitor, run, given) -> None:
    said = visitor.post("/api/runs/0/regions", body(**given))
    assert said.status in (400, 404) and "error" in said.json
    assert not list(run.glob("regions_*"))


@pytest.mark.parametrize("name", ["regions.txt", "regions_changes.txt"])
def test_gaussians_that_lead_out_of_the_run_are_not_read(visitor, run, name) -> None:
    path = run / "segmentations" / "motion" / name
    path.rename(run.parent / name)
    path.symlink_to(run.parent / name)
    found = visitor.get("/api/runs/0/gaussians/raw?segmentation=motion")
    if name == "regions.txt":
        assert found.status == 404
    else:
        assert found.status == 200 and np.isnan(found.array[:, 5]).all()
