"""log.jsonl: what stands in a line, what a killed or resumed run leaves of it, and a full disk."""

import json
import logging
import os
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from libhetero.errors import DataError
from libhetero.training.log import RunLog, read_log
from libhetero.training.memory import peak_memory

VALUES = {"epoch": 0.5, "loss": 1.25}


def test_a_line_has_what_it_took_and_the_first_one_how_long_the_first_step_was(tmp_path, caplog):
    told = []
    caplog.set_level(logging.INFO, "libhetero")
    with RunLog(tmp_path / "log.jsonl", 4, 0, time.monotonic() - 12.34, told.append) as log:
        log.start_clock()
        log.report(1, VALUES)
        log.count(8)
        log.report(2, VALUES)
    first, second = read_log(tmp_path / "log.jsonl")
    assert told == [first, second]
    assert first.pop("first_step_seconds") >= 12.34
    assert "first step after 12." in caplog.messages[0]
    assert first.pop("memory_bytes") > 0 and second.pop("memory_bytes") > 0
    assert first == {"step": 1, **VALUES}
    assert second.pop("particles_per_second") > 0 and second.pop("seconds_left") >= 0
    assert second == {"step": 2, **VALUES}


def test_a_resumed_run_goes_on_after_its_step_and_times_its_own_first_one(tmp_path):
    path = tmp_path / "log.jsonl"
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        with RunLog(path, 4, start) as log:
            log.start_clock()
            for step in steps:
                log.report(step, {**VALUES, "start": start})
    lines = read_log(path)
    assert [(line["step"], line["start"]) for line in lines] == [(1, 0), (2, 0), (3, 2), (4, 2)]
    assert ["first_step_seconds" in line for line in lines] == [True, False, True, False]
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', "\0\0\0\0"])
def test_a_line_that_is_cut_is_left_out_and_then_dropped(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    whole = [json.dumps({"step": step, **VALUES}) for step in (1, 2)]
    path.write_text("\n".join([*whole, cut]))
    assert [line["step"] for line in read_log(path)] == [1, 2]
    RunLog(path, 9, 2).report(3, VALUES)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_an_empty_log_has_no_lines_and_a_pipe_is_none(tmp_path):
    (tmp_path / "log.jsonl").touch()
    assert read_log(tmp_path / "log.jsonl") == []
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, found in (("pipe.jsonl", "expected a file, found a pipe"), ("absent.jsonl", "no such file")):
        with pytest.raises(DataError, match=f"{name}: {found}"):
            read_log(tmp_path / name)


def test_a_killed_rewrite_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    RunLog(path, 9).report(1, VALUES)
    before = path.read_text()

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        RunLog(path, 9, 0)
    assert path.read_text() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path):
    path = tmp_path / "log.jsonl"
    log = RunLog(path, 4)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"log.jsonl: no space left on the disk; .*--resume") as raised:
        log.report(1, VALUES)
    assert "\n" not in str(raised.value)


def test_memory_is_that_of_the_fullest_device(monkeypatch):
    def devices():
        told = ({"peak_bytes_in_use": 7, "bytes_in_use": 99}, {"peak_bytes_in_use": 12}, None)
        return [SimpleNamespace(memory_stats=lambda stats=stats: stats) for stats in told]

    monkeypatch.setattr(jax, "local_devices", devices)
    assert peak_memory() == 12


def test_memory_without_such_devices_is_that_of_the_process():
    before = peak_memory()
    pages = bytearray(b"\1") * 2**28
    after = peak_memory()
    assert len(pages) <= after < 2**38
    assert before <= after
