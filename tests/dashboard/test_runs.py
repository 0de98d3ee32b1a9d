"""Which runs are shown, and where each stands."""

from __future__ import annotations

import fcntl
import os

import numpy as np
import pytest

from libhetero.dashboard.refusals import Refusal
from libhetero.dashboard.runs import Kept, ServedRun, find_runs, is_training, served_runs
from libhetero.errors import ConfigurationError
from tests.making.shown_runs import write_log, write_shown_run
from tests.making.visitor import visited


def test_runs_are_found_by_themselves_and_in_a_folder(tmp_path) -> None:
    first = write_shown_run(tmp_path / "a", "gmm_00")
    second = write_shown_run(tmp_path / "a", "gmm_01")
    assert find_runs([str(first)]) == [first]
    assert find_runs([str(tmp_path / "a")]) == find_runs([str(first), str(second), str(first)]) == [first, second]


@pytest.mark.parametrize("name, said", [("none", "no such folder"), (".", "neither a run folder nor a folder of runs")])
def test_what_is_no_run_is_refused(tmp_path, monkeypatch, name, said) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said):
        find_runs([name])


def test_runs_of_one_name_are_told_apart(tmp_path) -> None:
    folders = [write_shown_run(tmp_path / place, "gmm_00") for place in ("a", "b")]
    assert [run.name for run in served_runs(folders)] == ["a/gmm_00", "b/gmm_00"]


def test_a_state_for_each_stage_of_training(tmp_path) -> None:
    states = [ServedRun(0, write_shown_run(tmp_path, f"g{done}", done), "a").state() for done in (0, 2, 3)]
    assert [one["state"] for one in states] == ["empty", "stopped", "finished"]
    assert states[1]["epoch"] == 2.0 and states[1]["epochs"] == 3


def test_a_run_that_is_locked_trains_and_the_lock_is_left_alone(tmp_path) -> None:
    run = write_shown_run(tmp_path, "gmm_00", 1)
    (run / ".lock").write_text("")
    assert not is_training(run)
    with open(run / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert is_training(run) and ServedRun(0, run, "a").state()["state"] == "training"
    assert not is_training(run)


def test_a_run_whose_lock_is_of_another_machine_is_told_as_such(tmp_path) -> None:
    """Its lock cannot be seen from here: what is known is who took it, and when the log was written last."""
    run = write_shown_run(tmp_path, "gmm_00", 1)
    (run / ".lock").write_text("process 12 on node7\n")
    os.utime(run / "log.jsonl", (1000, 2000))
    told = ServedRun(0, run, "a").state()
    assert (told["state"], told["holder"], told["written"]) == ("elsewhere", "process 12 on node7", 2000.0)
    (run / ".lock").write_text(f"process 12 on {os.uname().nodename}\n")
    assert ServedRun(0, run, "a").state() == {"state": "stopped", "epoch": 1.0, "epochs": 3}
    (run / ".lock").write_text("process 12 on node7\n")
    write_log(run, 3)
    assert ServedRun(0, run, "a").state()["state"] == "finished", "whoever holds it"


def test_rows_are_checked(run) -> None:
    served = ServedRun(0, run, "gmm_00")
    np.testing.assert_array_equal(served.rows([3, 1]), [3, 1])
    for wrong in ([], [40], [-1], [0.5], [[1]], ["a"], [True]):
        with pytest.raises(Refusal):
            served.rows(wrong)
    with pytest.raises(Refusal, match="3 particles; expected at most 2"):
        served.rows([1, 2, 3], 2)


def test_lines_of_a_log_that_was_cut_back_come_from_the_start(tmp_path) -> None:
    run = ServedRun(0, write_shown_run(tmp_path, "gmm_00", 2), "a")
    lines, count = run.lines(6)
    assert count == 8 and [line["step"] for line in lines] == [7, 8]
    write_log(run.folder, 1)
    assert [line["step"] for line in run.lines(8)[0]] == [1, 2, 3, 4]


def test_folders_of_results_lead_nowhere_else(run, tmp_path) -> None:
    served = ServedRun(0, run, "a")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", run / "selections")
    with pytest.raises(Refusal, match="leads out of the run folder"):
        served.own_folder("selections", "a")
    with pytest.raises(Refusal, match="expected a name of letters"):
        served.own_folder("volumes", "..")


def test_what_is_kept_is_made_once_until_its_file_changes(tmp_path) -> None:
    kept, path, made = Kept(), tmp_path / "a", []
    path.write_text("1")
    for _ in range(3):
        kept.get("a", [path], lambda: made.append(path.read_text()))
    path.write_text("22")
    kept.get("a", [path], lambda: made.append(path.read_text()))
    assert made == ["1", "22"]


def test_the_session_tells_of_all_runs_also_of_one_that_is_damaged(tmp_path) -> None:
    good, bad = write_shown_run(tmp_path, "gmm_00"), write_shown_run(tmp_path, "gmm_01")
    (bad / "config.json").write_text("{")
    with visited([good, bad]) as visitor:
        visitor.enter()
        first, second = visitor.get("/api/session").json["runs"]
        assert visitor.get("/api/runs/1/columns").status == 400
    assert first["state"] == "finished" and first["particles"] == 40 and first["latent"] == 3 and first["box"] == 16
    assert first["warnings"] == [] and len(second["warnings"]) == 1 and "config.json" in second["warnings"][0]


def test_runs_that_appear_later_are_shown_and_numbers_stay(tmp_path) -> None:
    first = write_shown_run(tmp_path, "gmm_05")
    with visited([first], [tmp_path]) as visitor:
        visitor.enter()
        assert [one["name"] for one in visitor.get("/api/session").json["runs"]] == ["gmm_05"]
        write_shown_run(tmp_path, "gmm_01")
        assert [one["name"] for one in visitor.get("/api/session").json["runs"]] == ["gmm_05", "gmm_01"]
        assert visitor.get("/api/runs/1/column?name=z1").status == 200


def test_a_run_that_is_trained_here_is_shown_once_it_is_there(visitor, run, monkeypatch) -> None:
    program = run.parent / "train.py"
    program.write_text("import shutil, sys; shutil.copytree(sys.argv[0].replace('train.py', 'gmm_00'), sys.argv[-1])")
    monkeypatch.setattr("libhetero.dashboard.jobs.find_program", lambda name: program)
    visitor.post("/api/runs/0/selections", {"name": "few", "how": {"column": "z1", "from": 0}})
    job = visitor.post("/api/jobs", {"kind": "train", "run": 0, "selection": "few"}).json
    assert visitor.ended(job["job"])["result"] == {"run": "gmm_00_few"}
    assert [one["name"] for one in visitor.get("/api/session").json["runs"]] == ["gmm_00", "gmm_00_few"]


def test_the_session_names_what_was_made_of_a_run(visitor) -> None:
    told = visitor.get("/api/session").json["runs"][0]
    assert told["distinct"] is None
    assert [one["name"] for one in told["embeddings"]] == ["umap_classes_2"] and told["embeddings"][0]["classes"]
    assert told["segmentations"] == [{"name": "motion", "regions": 2, "page": None}]
