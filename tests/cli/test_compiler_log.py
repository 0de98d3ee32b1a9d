"""What the compiler writes past Python goes to a log; all else, and the last words of a crash, reach the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libhetero.cli.compiler_log import LARGEST, NAME, CompilerLog, Sorter

FOLDING = """\
E1129 17:11:48.106566   23953 slow_operation_alarm.cc:73] Constant folding an instruction is taking > 1s:

  %dot_general.3 = f32[3000,3000]{1,0} dot(%constant.8, %constant.9), lhs_contracting_dims={1}

This isn't necessarily a bug; constant-folding is inherently a trade-off between compilation time and speed at runtime.

If you'd like to file a bug, run with envvar XLA_FLAGS=--xla_dump_to=/tmp/foo and attach the results.
E1129 17:11:50.801920   23951 slow_operation_alarm.cc:140] The operation took 3.702993966s
Constant folding an instruction is taking > 1s:
"""
COMPILING = """\
2026-11-29 17:11:48.106566: E external/xla/xla/service/slow_operation_alarm.cc:73]
********************************
[Compiling module jit_step] Very slow compile? If you want to file a bug, run with envvar XLA_FLAGS=--xla_dump_to=/tmp
********************************
"""
TIMING = "E0000 00:00:1778834189.734124   80010 cuda_timer.cc:87] Delay kernel timed out: sub-optimal accuracy\n"
DRIVER = """\
E1129 17:11:48.106566   23953 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit:
2026-11-29 17:11:48.106566: E external/xla/xla/stream_executor/cuda/cuda_dnn.cc:502] Loaded runtime CuDNN library: 9.1.0
  a line that goes on
W1129 17:11:48.106566   23953 client.cc:12] a warning
"""
CRASH = """\
F1126 11:37:43.010661   31232 buffer.cc:80] Check failed: size > 0
*** Check failure stack trace: ***
    @     0x7f28c5a40634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
PROGRAM = """
import os, sys
from pathlib import Path
from libhetero.cli import common_parser, run_program
def call(options, session):
    os.write(2, os.environb[b"CHATTER"] + b"a native line\\n")
    print("a line of Python", file=sys.stderr)
    if "CRASH" in os.environ:
        os.write(2, os.environb[b"CRASH"])
        os.abort()
    session.compiler.keep_in(Path("run"))
    os.write(2, b"no newline at the end")
sys.exit(run_program(common_parser("Try.", prog="e2hype_try.py"), None, call))
"""
SHUT_IN = """
import contextlib, os, signal
from libhetero.cli import compiler_log
fork = os.fork
def interrupted():
    child = fork()
    if not child:
        os.kill(os.getpid(), signal.SIGINT)
    return child
def broken(source):
    raise ZeroDivisionError
if os.environ["FAULT"] == "interrupted":
    os.fork = interrupted
else:
    compiler_log._pass_on = broken
try:
    with compiler_log.compiler_kept_back(True, False), contextlib.suppress(BrokenPipeError):
        os.write(2, b"a native line\\n")
finally:
    os.write(1, b"the end\\n")
"""
FULL = """
import contextlib, os, sys
from libhetero.cli.compiler_log import compiler_kept_back
screen = os.fstat(2)
with compiler_kept_back(True, False), contextlib.suppress(OSError):
    print("no room for this", file=sys.stderr)
assert os.path.samestat(os.fstat(2), screen)
"""


@pytest.mark.parametrize("crash", ["", CRASH], ids=["done", "crash"])
def test_the_screen_shows_all_but_the_compiler(tmp_path: Path, crash: str) -> None:
    (tmp_path / "run").mkdir()
    variables = {"XDG_CACHE_HOME": str(tmp_path), "CHATTER": FOLDING + COMPILING} | ({"CRASH": crash} if crash else {})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60
    )
    last = crash or "no newline at the end"
    assert sorted(done.stderr.splitlines()) == sorted(["a native line", "a line of Python", *last.splitlines()])
    assert (done.returncode == 0) == (not crash)
    assert (tmp_path / "libhetero" / NAME).read_text() == FOLDING + COMPILING
    if not crash:
        assert (tmp_path / "run" / NAME).read_text() == FOLDING + COMPILING, "a run's log holds what was said before it"


def test_what_follows_the_compilers_words_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sorter = Sorter()
    lines = (FOLDING + "Traceback (most recent call last):\n  File\n").splitlines(keepends=True)
    assert [told for line in lines for told in sorter.told(line)] == lines[-2:]
    served = "E1126 11:37:38.513262   30830 coordination_service.cc:1549] Use error polling\n"
    assert list(sorter.told(served)) == [served], "the supervisor reads it"


def test_errors_of_other_native_code_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sorter = Sorter()
    lines = (FOLDING + DRIVER + TIMING + COMPILING + DRIVER).splitlines(keepends=True)
    assert "".join(told for line in lines for told in sorter.told(line)) == 2 * DRIVER
    assert (tmp_path / "libhetero" / NAME).read_text() == FOLDING + TIMING + COMPILING


def test_the_log_of_programs_stays_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sorter, log = Sorter(), tmp_path / "libhetero" / NAME
    log.parent.mkdir(exist_ok=True)
    log.write_text("x" * (LARGEST + 1))
    line = FOLDING.splitlines(keepends=True)[0]
    assert not list(sorter.told(line))
    assert log.read_text() == line


@pytest.mark.parametrize("fault", ["interrupted", "broken"])
def test_the_reader_never_becomes_a_second_program(tmp_path: Path, fault: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHUT_IN],
        env={"XDG_CACHE_HOME": str(tmp_path), "FAULT": fault},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "the end\n", done.stderr
    assert done.stderr == "a native line\n" if fault == "interrupted" else "ZeroDivisionError" in done.stderr


def test_a_full_screen_leaves_the_exit_code_and_the_descriptor_as_they_were(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", FULL]
        done = subprocess.run(command, env={"XDG_CACHE_HOME": str(tmp_path)}, stderr=full, timeout=60)
    assert done.returncode == 0


def test_a_run_goes_on_where_nobody_reads_what_the_compiler_says(tmp_path: Path) -> None:
    (read, write), screen = os.pipe(), os.dup(2)
    os.close(read)
    os.dup2(write, 2)
    try:
        CompilerLog(kept=True).keep_in(tmp_path)
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(write)
