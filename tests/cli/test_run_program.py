"""Exit codes, one-line messages, the log, threads and the compilation cache."""

import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from libhetero.cli import Session, common_parser, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.errors import INTERRUPTED, DataError, StoppedEarly
from libhetero.files import vector_format
from tests.making.signals import heard_as_in_a_terminal

PROG = "e2hype_try.py"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE"))]:
        monkeypatch.delenv(name)


def _run(call: Callable, *argv: str) -> int:
    parser = common_parser("Try.", prog=PROG)
    parser.add_argument("--batch", type=int, default=4, help="particles a step")
    return run_program(parser, list(argv), call)


def _status() -> str:
    return Path(".eman2log.txt").read_text().split("\t")[1].strip()


def test_success_returns_0_and_completes_the_log(capsys: pytest.CaptureFixture) -> None:
    seen = []

    def call(options: object, session: Session) -> None:
        session.progress(0.25)
        seen.append((options.batch, options.cmd, session.threads, _status()))

    assert _run(call, "--batch", "7", "--threads", "2", "--ppid", "9") == 0
    assert seen == [(7, f"{PROG} --batch 7 --threads 2 --ppid 9", 2, "25%")]
    assert ":" in _status()
    assert "/     9\t" in Path(".eman2log.txt").read_text()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("typed", "kind"), [((), "png"), (("--figure", "svg"), "svg")])
def test_figures_are_vectors_where_that_is_asked_for(typed: tuple[str, ...], kind: str) -> None:
    seen: list[str] = []
    parser = configuration_parser(PROG, "Draw.", "", FigureConfig)
    assert run_program(parser, list(typed), lambda *_: seen.append(vector_format())) == 0
    assert (seen, vector_format()) == ([kind], "png")


@pytest.mark.parametrize("number", ["-1", "-2", "-77", "0"])
def test_a_caller_may_say_that_it_is_none_by_any_number(number: str) -> None:
    """As the programs that hand on what they were given."""
    assert _run(lambda *_: None, "--ppid", number) == 0
    assert f"/{int(number):6d}\t" in Path(".eman2log.txt").read_text()


def test_garbage_is_looked_for_rarely_until_the_work_is_under_way() -> None:
    of_the_tests, before, seen = gc.get_threshold(), (700, 10, 10), []
    gc.set_threshold(*before)

    def call(_: object, session: Session) -> None:
        seen.append(gc.get_threshold())
        session.progress(0.1)
        seen.append(gc.get_threshold())

    assert _run(call) == 0
    assert seen[0][0] > before[0] and seen[1] == before and gc.isenabled()
    assert gc.get_threshold() == before
    gc.set_threshold(*of_the_tests)


ENOSPC = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/particles.mrcs")
DENIED = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/out")
DEVICE = type("JaxRuntimeError", (RuntimeError,), {})("RESOURCE_EXHAUSTED: 9 GiB\nof 8")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("a.mrcs: truncated.\nGet it again."), "a.mrcs: truncated. Get it again."),
        (DataError("a.txt: '\x1b[31m\0\u202etxt' is \t no\u00a0name."), r"a.txt: '\x1b[31m\x00\u202etxt' is no name."),
        (DataError("Größe_Å_名.star: empty."), "Größe_Å_名.star: empty."),
        (ENOSPC, "out/particles.mrcs: no space left on the disk; free some and run again, or write elsewhere."),
        (OSError(errno.ENOSPC, "full"), "no space left on the disk; free some and run again, or write elsewhere."),
        (DENIED, "/data/out: permission denied; change its permissions, or choose another place."),
        (
            FileNotFoundError(errno.ENOENT, "gone", "x.star"),
            "x.star: no such file or folder; check the name, and the folder the program runs in.",
        ),
        (OSError(errno.EIO, "Input/output error", b"x.star"), "x.star: Input/output error."),
        (OSError("Unable to open file"), "Unable to open file."),
        (MemoryError(), "the memory is exhausted: use a smaller batch, a smaller box or a larger machine."),
        (DEVICE, "the device's memory is exhausted: use a smaller batch, a smaller box or a larger machine."),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(error: Exception, line: str, capsys: pytest.CaptureFixture) -> None:
    def call(options: object, session: Session) -> None:
        raise error

    assert _run(call) == 1
    assert capsys.readouterr() == ("", f"{PROG}: {line}\n")
    assert _status() == "incomplete"


def test_a_defect_keeps_its_traceback() -> None:
    def call(options: object, session: Session) -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        _run(call)


@pytest.mark.parametrize(
    ("number", "code", "who"), [(signal.SIGINT, 130, "by Ctrl-C"), (signal.SIGTERM, 143, "as the system asked")]
)
def test_what_stops_a_program_is_one_line_on_what_is_kept_and_how_to_go_on(number, code, who, capsys) -> None:
    def call(options: object, session: Session) -> None:
        os.kill(os.getpid(), number)
        time.sleep(20)

    with heard_as_in_a_terminal():
        assert _run(call) == code
    (line,) = capsys.readouterr().err.splitlines()
    kept = "no file is half-written, and those of before are kept"
    assert line == f"{PROG}: stopped {who}; {kept}. The same command begins anew: {PROG}"
    assert _status() == "incomplete"


def test_a_run_that_was_asked_to_stop_is_one_line_and_143(capsys: pytest.CaptureFixture) -> None:
    def call(options: object, session: Session) -> None:
        raise StoppedEarly("stopped as the system asked, after step 3.")

    assert _run(call) == 143
    assert capsys.readouterr() == ("", f"{PROG}: stopped as the system asked, after step 3.\n")
    assert _status() == "incomplete"


def test_a_run_that_ctrl_c_stopped_is_one_line_and_130(capsys: pytest.CaptureFixture) -> None:
    def call(options: object, session: Session) -> None:
        raise StoppedEarly("stopped by Ctrl-C, after step 3.", INTERRUPTED)

    assert _run(call) == 130
    assert capsys.readouterr().err == f"{PROG}: stopped by Ctrl-C, after step 3.\n"


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--bacth", "3"], "unknown option or argument: --bacth 3 (did you mean --batch?)"),
        (["--zzz"], "unknown option or argument: --zzz"),
        (["--bat", "3"], "unknown option or argument: --bat 3 (did you mean --batch?)"),
        (["--batch", "x"], "argument --batch: invalid int value: 'x'"),
        (["--threads", "-2"], "argument --threads: expected 0 to 1024; got '-2'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(argv: list[str], line: str, capsys: pytest.CaptureFixture) -> None:
    assert _run(lambda options, session: None, *argv) == 2
    assert capsys.readouterr() == ("", f"{PROG}: {line}; see {PROG} --help.\n")
    assert not Path(".eman2log.txt").exists()


def test_help_states_defaults_and_version_answers(capsys: pytest.CaptureFixture) -> None:
    assert _run(lambda options, session: None, "--help") == 0
    text = capsys.readouterr().out
    assert "particles a step (default: 4)" in text
    assert text.count("default: -1") == 1
    assert _run(lambda options, session: None, "--version") == 0
    assert capsys.readouterr().out.startswith(f"{PROG} (libhetero ")


@pytest.mark.parametrize(
    ("verbose", "told"), [("0", ""), ("1", "done\n"), ("2", "done\ndetail\n"), ("9", "done\ndetail\n")]
)
def test_messages_go_to_stdout_and_warnings_to_stderr(verbose: str, told: str, capsys: pytest.CaptureFixture) -> None:
    def call(options: object, session: Session) -> None:
        logger = logging.getLogger("libhetero.try")
        logger.info("done")
        logger.debug("detail")
        logger.warning("careful\x1b[2J")

    assert _run(call, "-v", verbose) == 0
    assert capsys.readouterr() == (told, f"{PROG}: warning: careful\\x1b[2J\n")
    assert not logging.getLogger("libhetero").handlers


def test_threads_and_cache_are_set_for_the_time_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    seen = {}
    assert _run(lambda options, session: seen.update(os.environ), "--threads", "3") == 0
    assert seen["OMP_NUM_THREADS"] == seen["NPROC"] == "3"
    assert seen["JAX_COMPILATION_CACHE_DIR"].startswith(str(tmp_path / "cache" / "libhetero"))
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    _run(lambda options, session: seen.update(os.environ))
    assert seen["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize("name", ["JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"])
def test_the_users_own_choice_of_cache_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "mine")
    seen = {}
    _run(lambda options, session: seen.update(os.environ))
    assert seen[name] == "mine"
    assert "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES" not in seen


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    seen = {}
    assert _run(lambda options, session: seen.update(os.environ)) == 0
    assert "JAX_COMPILATION_CACHE_DIR" not in seen


def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    code = (
        "from libhetero.cli import common_parser, run_program\n"
        "def call(options, session):\n"
        "    import jax\n"
        "    print(jax.jit(lambda x: x * 2 + 1)(3.0))\n"
        "raise SystemExit(run_program(common_parser('Try.'), [], call))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    kept = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
        kept.append({path.name for path in (tmp_path / "cache").rglob("*-cache")})
    assert kept[0]
    assert kept[0] == kept[1]


COMPILES = (
    "from libhetero.cli import common_parser, run_program\n"
    "def call(options, session):\n"
    "    import jax\n"
    "    def first(x): return x * 2 + 1\n"
    "    def second(x): return x - 1\n"
    "    print(jax.jit(first)(3.0), jax.jit(second)(3.0))\n"
    "raise SystemExit(run_program(common_parser('Try.', prog='try.py'), [], call))"
)


def _compile(**variables: str) -> list[str]:
    """Run a program that compiles two functions; return what it tells on stderr."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0 and done.stdout == "7.0 2.0\n"
    return done.stderr.splitlines()


def test_a_damaged_cache_is_told_once_and_mended(tmp_path: Path) -> None:
    assert _compile() == []
    entries = list((tmp_path / "cache").rglob("*-cache"))
    assert len(entries) >= 2
    for entry in entries:
        entry.write_bytes(b"garbage")
    told = _compile()
    assert len(told) == 1 and "cache of compiled programs is damaged" in told[0] and str(tmp_path) in told[0]
    assert _compile() == []


def test_a_cache_of_the_users_own_is_told_of_and_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = _compile(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "file"), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0")
    assert len(told) == 1 and told[0].startswith(f"try.py: warning: {tmp_path / 'file'}: the cache of compiled")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "from libhetero.cli import common_parser, run_program\n"
        "def call(options, session):\n"
        "    for i in range(100000): print(i)\n"
        "raise SystemExit(run_program(common_parser('Try.'), [], call))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = f'{sys.executable} -c "{code}" | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "0\n"
    assert done.stderr == ""
