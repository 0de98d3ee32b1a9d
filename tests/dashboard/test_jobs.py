"""Jobs: one at a time, with log and progress, stopped by a signal."""

from __future__ import annotations

import os
import threading
import time

import pytest

from libhetero.dashboard import jobs as jobs_module
from libhetero.dashboard.jobs import ENDED, Jobs, Reading, Work
from libhetero.dashboard.refusals import Refusal
from libhetero.errors import DataError
from libhetero.telling.stages import timed

PROGRAMS = {
    "good": "print('1/2 first …'); print('reading 5/10, 3 particles/s'); print('2/2 second …'); print('done of it')",
    "bad": "import sys; print('e2hype_x.py: a.star: no such file; check the name.', file=sys.stderr); sys.exit(1)",
    "long": "import sys, time; print('begun', flush=True); time.sleep(120)",
    "polite": (
        "import signal, sys, time\n"
        "def stop(number, frame): print('wrote a checkpoint', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); print('begun', flush=True); time.sleep(120)"
    ),
    "stubborn": "import signal, time; signal.signal(15, signal.SIG_IGN); print('begun', flush=True); time.sleep(120)",
    "loud": "for i in range(9000): print('line', i)",
}


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(jobs_module, "find_program", lambda name: tmp_path / name)
    found = Jobs()
    yield found
    found.close()


def until(condition) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def ended(job):
    until(lambda: job.state in ENDED)
    return job


def test_a_program_is_run_and_its_result_is_read_when_it_is_done(jobs) -> None:
    job = ended(jobs.add(Work("volumes", "two", ["good"], 0, lambda: {"name": "a"})))
    assert job.state == "done" and job.message == "done of it" and job.result == {"name": "a"}
    told = job.described()
    assert told["progress"] == 1.0 and told["command"] == "good" and told["lines"] == 4
    assert job.log(2) == {"lines": ["2/2 second …", "done of it"], "next": 4, "state": "done"}


def test_what_fails_says_so_in_its_last_line(jobs) -> None:
    job = ended(jobs.add(Work("train", "it", ["bad"], 0)))
    assert job.state == "failed" and job.message == "e2hype_x.py: a.star: no such file; check the name."


def test_a_result_that_cannot_be_read_is_a_failure_and_the_next_job_runs(jobs) -> None:
    def unreadable():
        raise DataError("gone")

    job, after = jobs.add(Work("volumes", "a", ["good"], 0, unreadable)), jobs.add(Work("volumes", "b", ["good"], 0))
    assert ended(job).state == "failed" and "gone" in job.message and ended(after).state == "done"


def test_one_runs_at_a_time_and_one_that_waits_is_never_begun(jobs) -> None:
    first, second, third = (jobs.add(Work("train", "a", [name], 0)) for name in ("long", "long", "good"))
    until(lambda: first.told == 1)
    assert [job.state for job in (first, second, third)] == ["running", "queued", "queued"]
    assert jobs.cancel(second.number).state == "cancelled" and second.process is None
    jobs.cancel(first.number)
    assert ended(first).state == "cancelled" and ended(third).state == "done"


def test_a_program_that_is_stopped_may_end_its_work(jobs) -> None:
    job = jobs.add(Work("train", "a", ["polite"], 0))
    until(lambda: job.told == 1)
    jobs.cancel(job.number)
    assert ended(job).state == "cancelled" and job.message == "wrote a checkpoint"


def test_one_that_does_not_stop_is_stopped(jobs, monkeypatch) -> None:
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.3)
    job = jobs.add(Work("train", "a", ["stubborn"], 0))
    until(lambda: job.told == 1)
    jobs.cancel(job.number)
    assert ended(job).state == "cancelled" and job.message == "stopped"


def test_the_end_of_the_server_ends_what_runs(jobs) -> None:
    job = jobs.add(Work("train", "a", ["long"], 0))
    until(lambda: job.told == 1)
    jobs.close()
    ended(job)
    with pytest.raises(ProcessLookupError):
        os.kill(job.process.pid, 0)
    with pytest.raises(Refusal):
        jobs.add(Work("train", "a", ["good"], 0))


def test_there_is_an_end_to_the_queue_and_to_a_log(jobs, monkeypatch) -> None:
    loud = ended(jobs.add(Work("train", "a", ["loud"], 0)))
    assert loud.told == 9000 and len(loud.lines) == jobs_module.MOST_LINES
    assert loud.log(0)["lines"][0] == "line 4000" and loud.log(8999)["lines"] == ["line 8999"]
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 2)
    begun = jobs.add(Work("train", "a", ["long"], 0))
    until(lambda: begun.state == "running")
    waiting = [jobs.add(Work("train", "a", ["good"], 0)) for _ in range(2)]
    with pytest.raises(Refusal, match="wait already") as refused:
        jobs.add(Work("train", "a", ["good"], 0))
    assert refused.value.status == 503
    for job in (*waiting, begun):
        jobs.cancel(job.number)


def test_a_worker_does_what_a_command_would(jobs) -> None:
    def work(job):
        jobs.note(job, {"line": "decoding"})
        jobs.note(job, {"fraction": 0.5})

    job = ended(jobs.add(Work("volumes", "a", ["good"], 0, lambda: 7, work)))
    assert job.state == "done" and job.result == 7 and job.process is None and job.reading.fraction == 0.5

    def refuse(job):
        raise DataError("no such particle")

    refused = ended(jobs.add(Work("volumes", "a", ["good"], 0, lambda: 7, refuse)))
    assert refused.state == "failed" and refused.message == "no such particle"


def test_what_a_worker_does_does_not_wait_for_a_program(jobs) -> None:
    program = jobs.add(Work("train", "a", ["long"], 0))
    until(lambda: program.told == 1)
    go_on = threading.Event()
    first, second = (jobs.add(Work("volumes", "a", ["good"], 0, worker=lambda job: go_on.wait(60))) for _ in range(2))
    until(lambda: first.state == "running")
    assert program.state == "running" and second.state == "queued"  # one worker at a time
    go_on.set()
    assert ended(first).state == ended(second).state == "done" and program.state == "running"
    jobs.cancel(program.number)


def test_a_worker_that_was_not_there_yet_when_it_was_stopped_goes_on_with_nothing(jobs) -> None:
    asked, cancelled = threading.Event(), threading.Event()

    def work(job):
        asked.set()
        cancelled.wait(60)
        jobs.note(job, {"line": "decoding"})

    job = jobs.add(Work("volumes", "a", ["good"], 0, worker=work))
    asked.wait(60)
    jobs.cancel(job.number)
    cancelled.set()
    assert ended(job).state == "cancelled" and not job.lines


def test_progress_is_read_from_what_programs_tell(caplog) -> None:
    reading = Reading()
    for line, fraction in (
        ("set.star: 40 particles, box 16", 0.0),
        ("1/4 how Gaussians change over all particles …", 0.0),
        ("decoding 20/40, 310 particles/s, 12 s left", 0.125),
        ("1/4 how Gaussians change over all particles: 3.1 s", 0.125),
        ("3/4 evidence …", 0.5),
        ("2/4 of an earlier one …", 0.5),
        ("step 40/40, epoch 3", 0.5),
    ):
        reading.take(line)
        assert reading.fraction == pytest.approx(fraction), line
    whole = Reading()
    whole.take("step 6/12, epoch 1.5, loss 0.9")
    assert whole.fraction == 0.5
    with caplog.at_level("INFO"), timed(jobs_module.LOGGER, "2/4 something"):
        pass
    stage = Reading()
    stage.take(caplog.messages[0])
    assert stage.fraction == 0.25  # as programs tell it
