"""The log line that EMAN2 programs and its workflow read, byte for byte."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from libhetero.cli import Eman2Log
from libhetero.cli.eman2_log import LOG_NAME

LINE = re.compile(rb"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\t(.{19})\t([ \d]{6})/([ \d-]{6})\t([^\t]+)\t([^\t\n]+)\n")


def test_start_writes_the_format_of_eman2(tmp_path: Path) -> None:
    Eman2Log("e2hype_refine.py ptcls.lst --box 64", ppid=17, folder=tmp_path).start()
    match = LINE.fullmatch((tmp_path / ".eman2log.txt").read_bytes())
    assert match[2] == b"incomplete         "
    assert int(match[3]) == os.getpid()
    assert match[4] == b"    17"
    assert match[5].decode() == socket.gethostname()
    assert match[6] == b"e2hype_refine.py ptcls.lst --box 64"


def test_status_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / ".eman2log.txt"
    log = Eman2Log("e2hype_refine.py", folder=tmp_path)
    log.start()
    size = path.stat().st_size
    for fraction, status in ((0.0, b"  0%"), (0.426, b" 42%"), (1.5, b"100%"), (-1, b"  0%")):
        log.progress(fraction)
        assert LINE.fullmatch(path.read_bytes())[2] == status.ljust(19)
    log.end()
    assert re.fullmatch(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", LINE.fullmatch(path.read_bytes())[2])
    assert path.stat().st_size == size


def test_runs_side_by_side_keep_to_their_own_lines(tmp_path: Path) -> None:
    path = tmp_path / ".eman2log.txt"
    path.write_text("2020/01/01 00:00:00\tby EMAN2            \t     1/    -1\thost\te2boxer.py\n")
    first, second = (Eman2Log(f"e2hype_{name}.py", folder=tmp_path) for name in ("é", "b"))
    first.start()
    second.start()
    first.progress(0.5)
    second.end()
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    assert b"by EMAN2" in lines[0]
    assert LINE.fullmatch(lines[1])[2].strip() == b"50%"
    assert b":" in LINE.fullmatch(lines[2])[2]


def test_a_command_of_several_lines_stays_one_line(tmp_path: Path) -> None:
    Eman2Log("e2hype_refine.py 'a\nb\tc'", folder=tmp_path).start()
    assert LINE.fullmatch((tmp_path / ".eman2log.txt").read_bytes())[6].endswith(b"'a b c'")


@pytest.mark.parametrize("pid", [7, 123456, 4194303])
def test_the_project_manager_marks_runs_that_stand_in_its_notebook(
    pid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes -2 over the two bytes from 51 of a line whose third field holds -1."""
    monkeypatch.setattr(os, "getpid", lambda: pid)
    log = Eman2Log("e2hype_refine.py", folder=tmp_path)
    log.start()
    line = bytearray((tmp_path / LOG_NAME).read_bytes())
    assert line[51:53] == b"-1"
    line[51:53] = b"-2"
    (tmp_path / LOG_NAME).write_bytes(line)
    log.end()
    fields = (tmp_path / LOG_NAME).read_text().split("\t")
    assert [int(number) for number in fields[2].split("/")] == [pid, -2]
    assert fields[1][4] == "/" and fields[4] == "e2hype_refine.py\n"


def test_a_name_in_another_encoding_leaves_the_log_readable(tmp_path: Path) -> None:
    """Otherwise the project manager would see no run from there on."""
    Eman2Log("e2hype_refine.py caf\udce9.lst", folder=tmp_path).start()
    Eman2Log("e2hype_refine.py café.lst", folder=tmp_path).start()
    first, second = (tmp_path / LOG_NAME).read_bytes().decode().splitlines()
    assert first.endswith("\te2hype_refine.py caf\\udce9.lst") and second.endswith("\te2hype_refine.py café.lst")


def test_a_folder_without_log_costs_nothing(tmp_path: Path) -> None:
    log = Eman2Log("e2hype_refine.py", folder=tmp_path / "absent")
    log.start()
    log.progress(0.5)
    log.end()
    assert not (tmp_path / "absent").exists()


def test_a_log_removed_meanwhile_costs_nothing(tmp_path: Path) -> None:
    log = Eman2Log("e2hype_refine.py", folder=tmp_path)
    log.start()
    log.path.unlink()
    log.progress(0.5)
    log.end()
    assert not log.path.exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/full", path)])
def test_a_log_that_is_no_file_is_done_without(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / LOG_NAME)
    log = Eman2Log("e2hype_try.py", folder=tmp_path)
    log.start()
    log.progress(0.5)
    log.end()
