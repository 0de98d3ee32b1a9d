"""What changes is told as it does: lines of a log, the state of a run, its samples, and the jobs."""

from __future__ import annotations

import fcntl
import json
import os

import pytest

from libhetero.dashboard import live
from tests.making.shown_runs import write_log, write_shown_run
from tests.making.visitor import visited


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live, "EVERY", 0.05)


@pytest.fixture
def training(tmp_path, quick):
    """Yield a visitor of a run that trains, and its folder."""
    run = write_shown_run(tmp_path, "gmm_00", 1)
    (run / ".lock").write_text(f"process 1 on {os.uname().nodename}\n")
    with visited([run]) as visitor:
        visitor.enter()
        yield visitor, run


def of(events, name: str):
    return next(event for event in events if event[0] == name)


def test_a_run_that_trains_is_followed(training) -> None:
    visitor, run = training
    with open(run / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with visitor.following("/api/runs/0/events?since=2") as events:
            assert next(events) == ("state", "", {"state": "training", "epoch": 1.0, "epochs": 3})
            assert [(event[1], event[2]["step"]) for event in (next(events), next(events))] == [("3", 3), ("4", 4)]
            line = {"step": 5, "epoch": 1.25, "loss": float("nan")}
            with (run / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            assert of(events, "log")[1:] == ("5", {"step": 5, "epoch": 1.25, "loss": None})
            (run / "samples.png").write_bytes(b"a figure")
            assert of(events, "samples")[2]["url"].startswith("/api/runs/0/file?path=samples.png")
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert of(events, "state")[2]["state"] == "stopped"


def test_a_page_that_comes_back_goes_on_where_it_was(training) -> None:
    visitor, _ = training
    said = visitor.get("/api/runs/0/log?since=3").json
    assert [line["step"] for line in said["lines"]] == [4] and said["next"] == 4 and said["state"] == "stopped"
    with visitor.following("/api/runs/0/events?since=4") as events:
        assert next(events)[0] == "state"


def test_a_run_that_went_back_is_told_from_its_start(training) -> None:
    visitor, run = training
    with visitor.following("/api/runs/0/events?since=0") as events:
        assert [next(events)[0] for _ in range(5)] == ["state", "log", "log", "log", "log"]
        (run / "log.jsonl").write_text('{"step": 1, "epoch": 0.25, "loss": 1.0}\n')
        assert of(events, "restart") and of(events, "log")[1:] == ("1", {"step": 1, "epoch": 0.25, "loss": 1.0})


def test_jobs_are_followed(visitor, quick, monkeypatch) -> None:
    with visitor.following("/api/events") as events:
        assert next(events) == ("jobs", "", [])
        monkeypatch.setattr("libhetero.dashboard.jobs.find_program", lambda name: "no_program.py")
        visitor.post("/api/jobs", {"kind": "analyze", "run": 0})
        states = []
        for _, _, jobs in events:
            states.append(jobs[0]["state"])
            if states[-1] == "failed":
                break
        assert states[-1] == "failed" and set(states[:-1]) <= {"queued", "running"}


def test_there_is_an_end_to_the_number_of_streams(visitor, quick, monkeypatch) -> None:
    monkeypatch.setattr(live, "MOST", 1)
    with visitor.following("/api/events") as events:
        next(events)
        said = visitor.get("/api/runs/0/events")
        assert said.status == 503 and "look on already" in said.json["error"]


@pytest.mark.parametrize("since", ["-1", "a", "1e9", "9" * 30])
def test_what_is_no_number_is_refused(visitor, since) -> None:
    assert visitor.get(f"/api/runs/0/log?since={since}").status == 400


def test_a_log_that_is_not_there_yet_is_empty(tmp_path, quick) -> None:
    run = write_shown_run(tmp_path, "gmm_00", 0)
    (run / "log.jsonl").unlink()
    with visited([run]) as visitor:
        visitor.enter()
        assert visitor.get("/api/runs/0/log").json["lines"] == []
        with visitor.following("/api/runs/0/events") as events:
            assert next(events)[2]["state"] == "empty"
            write_log(run, 1)
            assert of(events, "log")[2]["step"] == 1
