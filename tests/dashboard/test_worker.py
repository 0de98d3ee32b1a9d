"""A worker holds a run open: images beside projections, and volumes, without a program's start each time."""

from __future__ import annotations

import json
import os
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.dashboard import worker as worker_module
from libhetero.dashboard import workers as workers_module
from libhetero.dashboard.images import Projections, stored_images
from libhetero.dashboard.runs import ServedRun
from libhetero.dashboard.worker import Projector, Worker
from libhetero.dashboard.workers import WorkerProcess, Workers
from libhetero.errors import UserError
from libhetero.io import read_latent
from libhetero.pipelines.run.watching import projections, projections_at
from programs.e2hype_refine import main as refine
from tests.making.commands import NETWORK, TRAINING
from tests.making.series import series_run
from tests.making.sets import write_tiny_set
from tests.making.shown_runs import write_shown_run
from tests.making.visitor import visited


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run that was trained for an epoch."""
    folder, before = tmp_path_factory.mktemp("trained"), os.getcwd()
    write_tiny_set(folder, 24)
    os.chdir(folder)
    try:
        assert refine(["particles.star", *NETWORK, *TRAINING, "--niter", "1", "--path", "run"]) == 0
    finally:
        os.chdir(before)
    return folder / "run"


def test_a_trained_run_shows_images_projections_residuals_and_volumes(trained) -> None:
    """In one test, as a worker takes seconds to start."""
    with visited([trained]) as visitor:
        visitor.enter()
        image, projection, residual = (
            visitor.get(f"/api/runs/0/images?rows=3,1&what={what}").array
            for what in ("image", "projection", "residual")
        )
        assert image.shape == projection.shape == (2, 16, 16)
        np.testing.assert_allclose(image - projection, residual, atol=1e-4)
        assert np.corrcoef(image.ravel(), projection.ravel())[0, 1] > 0.3 and residual.std() < image.std()
        before = visitor.get("/api/runs/0/images?rows=1,3&what=projection").array
        np.testing.assert_allclose(before[::-1], projection, atol=1e-5)

        points = read_latent(trained / "mid_00.txt")[1][:2].tolist()
        job = visitor.ended(visitor.post("/api/runs/0/volumes", {"points": points}).json["job"])
        assert job["state"] == "done", job
        assert len(job["result"]["series"]) == 2 and job["result"]["level"] > 0 and job["lines"] > 0
        volume = visitor.get(job["result"]["series"][0]["url"]).body
        assert len(volume) == 1024 + 4 * 16**3
        again = visitor.post("/api/runs/0/volumes", {"points": points}).json
        assert again["state"] == "done" and again["result"] == job["result"]
        refused = visitor.post("/api/runs/0/volumes", {"rows": [0], "box": 9})
        assert refused.status == 400 and "--box: expected an even number" in refused.json["error"]


def test_projections_of_tilt_series_are_those_of_the_whole_particle(tmp_path) -> None:
    """Each at its own pose and scale, at the latent that all images of the particle give."""
    group = np.array([1, 0, 1, 2, 0, 2, 1])
    run = series_run(tmp_path, group)
    seen = Projector(run)
    rows = np.array([6, 1, 2])
    images, model = seen.both(rows)
    pixel = run.feed().batch(np.arange(len(group))).images.mean(axis=(1, 2))
    latent = np.array([[pixel[group == one].mean()] for one in group[rows]])
    batch = run.feed().batch(rows)
    whole = np.array(projections_at(run.model, run.params, jnp.asarray(latent), batch.observation))
    whole -= whole.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(model, seen._scale * whole, rtol=1e-3, atol=1e-4 * abs(model).max())
    np.testing.assert_allclose(images, batch.images - batch.images.mean(axis=(1, 2), keepdims=True), atol=1e-5)
    alone = np.asarray(projections(run.model, run.params, batch)).std(axis=(1, 2))
    assert abs(alone / whole.std(axis=(1, 2)) - 1).max() > 0.05, "each image alone says something else"


def test_a_worker_that_is_stopped_is_started_anew_when_it_is_asked(trained) -> None:
    run, worker = ServedRun(0, trained, "a"), WorkerProcess()
    try:
        first = worker.images(run, np.array([2]))
        process = worker._process
        worker.close()
        process.wait(30)
        np.testing.assert_allclose(worker.images(run, np.array([2])), first, atol=1e-5)
        assert worker._process is not process
    finally:
        worker.close()


def test_a_run_that_cannot_be_opened_is_refused_in_one_line(tmp_path) -> None:
    run, worker = ServedRun(0, write_shown_run(tmp_path, "gmm_00", 1), "a"), WorkerProcess()
    with pytest.raises(UserError) as refused:
        worker.images(run, np.array([0]))
    assert "model.npz" in str(refused.value) and "\n" not in str(refused.value)


def test_an_answer_that_does_not_come_is_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("libhetero.dashboard.workers.sys.executable", "/bin/cat")
    run, worker = ServedRun(0, write_shown_run(tmp_path, "gmm_00", 1), "a"), WorkerProcess(0.5)
    start = time.monotonic()
    with pytest.raises(UserError, match="ask again"):
        worker.images(run, np.array([0]))
    assert time.monotonic() - start < 30


def test_a_worker_that_is_told_to_stop_while_it_starts_is_asked_nothing(tmp_path, monkeypatch) -> None:
    (tmp_path / "worker").write_text(f"#!/bin/sh\necho '{{\"ready\": true}}'\ncat > {tmp_path}/asked\n")
    (tmp_path / "worker").chmod(0o755)
    monkeypatch.setattr("libhetero.dashboard.workers.sys.executable", str(tmp_path / "worker"))
    run, worker = ServedRun(0, write_shown_run(tmp_path, "gmm_00", 1), "a"), WorkerProcess()
    said = []

    def told(one):
        said.append(one)
        raise InterruptedError

    with pytest.raises(UserError):
        worker.evaluate(run, ["e2hype_eval.py"], told)
    assert said == [{}] and worker._process is None
    assert not (tmp_path / "asked").exists() or not (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    "error, told",
    [
        (MemoryError(), "the memory is exhausted"),
        (PermissionError(13, "Permission denied", "a.npz"), "a.npz"),
        (KeyError("params"), "KeyError: 'params'"),
    ],
)
def test_whatever_goes_wrong_in_a_worker_is_told(monkeypatch, capfd, error, told) -> None:
    def fail(*arguments):
        raise error

    monkeypatch.setattr(worker_module.os, "dup2", lambda *descriptors: None)
    monkeypatch.setattr(worker_module, "Worker", fail)
    assert worker_module.main("run") == 1
    assert told in json.loads(capfd.readouterr().out)["error"]

    class Failing(Worker):
        def __init__(self, folder, out):
            self._out, self.answer = out, fail

    monkeypatch.setattr(worker_module, "Worker", Failing)
    monkeypatch.setattr(worker_module.sys, "stdin", ['{"images": [0]}\n', '{"images": [1]}\n'])
    assert worker_module.main("run") == 0
    ready, *failures = map(json.loads, capfd.readouterr().out.splitlines())
    assert ready == {"ready": True} and len(failures) == 2
    assert all(told in one["error"] and "\n" not in one["error"] for one in failures)


def test_images_are_as_their_model_is_shown_them(run) -> None:
    """White, less their means, and cropped to what a page can show."""
    served = ServedRun(0, run, "a")
    found = stored_images(served, np.array([5, 0]))
    assert found.shape == (2, 16, 16)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0, atol=1e-5)
    config = json.loads((run / "config.json").read_text())
    config["data"]["preprocess"]["contrast"] = -1
    (run / "config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(stored_images(served, np.array([5, 0])), -found, atol=1e-5)


def test_one_page_of_images_is_asked_for_once(run) -> None:
    shown, asked, go_on = Projections(), [], threading.Event()

    def slow(served, rows):
        asked.append(rows)
        go_on.wait(60)
        return np.zeros((2, 1, 4, 4), np.float32)

    shown._workers.images = slow
    served = ServedRun(0, run, "a")
    both = [
        threading.Thread(target=shown.images, args=(served, np.array([1]), what)) for what in ("projection", "residual")
    ]
    for one in both:
        one.start()
    time.sleep(0.3)
    go_on.set()
    for one in both:
        one.join(60)
    assert len(asked) == 1


def test_images_that_wait_leave_threads_to_others(visitor, monkeypatch) -> None:
    go_on, begun, said = threading.Event(), [], []

    def slow(run, rows):
        begun.append(rows)
        go_on.wait(60)
        return np.zeros((1, 4, 4), np.float32)

    monkeypatch.setattr("libhetero.dashboard.images.stored_images", slow)
    ask = [threading.Thread(target=lambda: said.append(visitor.get("/api/runs/0/images?rows=1"))) for _ in range(4)]
    for one in ask:
        one.start()
    while len(begun) < 2:
        time.sleep(0.02)
    assert visitor.get("/api/jobs").status == 200
    time.sleep(0.3)
    assert len(begun) == 2
    go_on.set()
    for one in ask:
        one.join(60)
    assert [one.status for one in said] == [200] * 4


@pytest.mark.parametrize("query", ["rows=", "rows=99", "rows=-1", "rows=a", "what=image", f"rows={','.join('0' * 65)}"])
def test_images_of_none_or_too_many_are_refused(visitor, query) -> None:
    assert visitor.get(f"/api/runs/0/images?{query}").status == 400
    assert visitor.get("/api/runs/0/images?rows=1&what=phase").status == 400


def test_a_stack_that_is_gone_is_told_in_one_line(visitor, run) -> None:
    assert visitor.get("/api/runs/0/images?rows=1").status == 200
    (run.parent / "particles.mrcs").unlink()
    said = visitor.get("/api/runs/0/images?rows=1")
    assert said.status == 400 and "particles.mrcs" in said.json["error"]


class Counting:
    """Stands in for a worker: tells what is started, and answers when it may.

    Parameters
    ----------
    patience : as of a worker.
    """

    all: list[Counting]
    may_answer: threading.Event

    def __init__(self, patience: float | None) -> None:
        self.closed, self.asked = False, 0
        self.all.append(self)

    def images(self, run, rows):
        self.asked += 1
        assert self.may_answer.wait(60) and not self.closed
        return rows

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def counting(monkeypatch):
    """Return the workers that are started, in order; they answer at once until that is cleared."""
    Counting.all, Counting.may_answer = [], threading.Event()
    Counting.may_answer.set()
    monkeypatch.setattr(workers_module, "WorkerProcess", Counting)
    return Counting.all


def runs_of(tmp_path, count):
    return [ServedRun(one, write_shown_run(tmp_path, f"gmm_0{one}", 1), str(one)) for one in range(count)]


def test_runs_have_a_worker_each_and_that_asked_longest_ago_ends(counting, tmp_path) -> None:
    runs, workers = runs_of(tmp_path, 3), Workers(most=2)
    for place in (0, 1, 0, 1, 0, 2):
        workers.images(runs[place], np.arange(1))
    assert [one.asked for one in counting] == [3, 2, 1] and [one.closed for one in counting] == [False, True, False]
    workers.images(runs[1], np.arange(1))
    assert len(counting) == 4 and counting[0].closed, "run 0 was asked before run 2"
    workers.close(runs[2])
    assert counting[2].closed and not counting[3].closed
    workers.close()
    assert counting[3].closed


def test_a_worker_that_answers_is_not_ended_for_another_run(counting, tmp_path) -> None:
    runs, workers = runs_of(tmp_path, 2), Workers(most=1)
    Counting.may_answer.clear()
    threads = [threading.Thread(target=workers.images, args=(run, np.arange(1))) for run in runs]
    threads[0].start()
    while not counting or not counting[0].asked:
        time.sleep(0.01)
    threads[1].start()
    time.sleep(0.2)
    assert len(counting) == 1 and not counting[0].closed, "the second run waits"
    Counting.may_answer.set()
    for thread in threads:
        thread.join(60)
    assert counting[0].closed and [one.asked for one in counting] == [1, 1]
