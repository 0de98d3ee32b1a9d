"""From a command line to an exit code: 0 done, 1 the user's mistake, 2 a wrong option, 130 or 143 stopped early."""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libhetero.cli.allocator import allocator_variables, keep_freed_memory
from libhetero.cli.compilation_cache import cache_variables, one_warning_of_the_cache
from libhetero.cli.compiler_log import CompilerLog, compiler_kept_back
from libhetero.cli.eman2_log import Eman2Log
from libhetero.cli.failure import describe_failure, readable
from libhetero.cli.supervisor import hold_to_parent, is_one_of_several, supervise
from libhetero.cli.terminal import forget, tell, usable_streams
from libhetero.configuration import flags_typed, shortened
from libhetero.configuration.limits import MOST_THREADS
from libhetero.errors import INTERRUPTED, StoppedEarly
from libhetero.files import RASTER, figures_as
from libhetero.telling.stopping import stopped_early

_LOGGER = logging.getLogger(__name__)

# Objects made before the garbage collector looks for cycles, and its rounds before it looks at older ones.
# Importing, and tracing programs for JAX, make a million objects that stay: by Python's own thresholds a
# tenth of the time to a training's first step goes into looking through them. Its own apply again once a
# program tells of progress, for JAX gives arrays back when garbage is looked for.
COLLECT_AFTER = (50_000, 20, 20)

_THREAD_VARIABLES = (
    "NPROC",  # XLA's pool of CPU threads
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass
class Voice:
    """What this process may say: process 0 of several tells, the others only warn.

    Parameters
    ----------
    place : stands before its warnings and errors.
    quiet : whether it leaves out all but these.
    """

    place: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Session:
    """What a running program may tell the world.

    Parameters
    ----------
    program : the program's name.
    command : the command line as typed.
    threads : CPU threads asked for, 0 for all.
    log : this run's line of `.eman2log.txt`.
    voice : what the process may say.
    compiler : where what the compiler says goes.
    collections : how often Python looks for garbage once the work is under way.
    """

    program: str
    command: str
    threads: int
    log: Eman2Log
    voice: Voice = field(default_factory=Voice)
    compiler: CompilerLog = field(default_factory=CompilerLog)
    collections: tuple[int, int, int] = field(default_factory=gc.get_threshold)

    def progress(self, fraction: float) -> None:
        """Say how much of the work is done, 0 to 1, in `.eman2log.txt`."""
        gc.set_threshold(*self.collections)
        self.log.progress(fraction)

    def joined(self, index: int, count: int) -> None:
        """Note that this is process `index` of `count`: only process 0 tells, and writes the log."""
        if count > 1:
            self.voice.place = f"process {index}: "
        self.voice.quiet = index > 0
        if index == 0:
            self.log.start()


def run_program(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, call: Callable[[argparse.Namespace, Session], None]
) -> int:
    """Parse, do the work, and return the exit code.

    Parameters
    ----------
    parser : made by `common_parser`.
    argv : the arguments; None takes those of the process.
    call : does the work. `options.cmd` holds the command line. JAX must be imported inside,
        so that `--threads` and the compilation cache take effect.

    Returns
    -------
    0 when done; 1 after one line on stderr for a user's mistake, a full disk or exhausted
    memory; 2 for a wrong option; 130 after Ctrl-C and 143 when the system asked to stop, after one line on what
    is kept and how to go on: training writes a checkpoint first. A defect of the program keeps its traceback.
    """
    with usable_streams():
        return flushed(parser.prog, _answered(parser, argv, call))


def _answered(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, call: Callable[[argparse.Namespace, Session], None]
) -> int:
    """Parse and do the work; see `run_program`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        os.getcwd()
    except OSError:
        tell(f"{parser.prog}: the current folder is no more; go to another one, or to this one anew.")
        return 1
    several = is_one_of_several(options, os.environ)
    if several and argv is None and not hold_to_parent(os.environ):
        return supervise(parser.prog)
    options.cmd = shlex.join([parser.prog, *arguments])
    log = Eman2Log(options.cmd, options.ppid)
    voice, usual = Voice(), gc.get_threshold()
    keep_freed_memory(os.environ)
    with (
        compiler_kept_back(argv is None, several and argv is None) as compiler,
        _logging(parser.prog, options.verbose, voice),
        flags_typed(arguments),
        figures_as(getattr(options, "figure", RASTER)),
        _environment(options.threads),
        _rare_collections(usual),
        one_warning_of_the_cache(),
    ):
        session = Session(parser.prog, options.cmd, options.threads, log, voice, compiler, usual)
        if not several:
            log.start()
        code = _worked(lambda: _stoppable(call, options, session), parser.prog, voice)
        if code == 0:
            log.end()
    return code


def _stoppable(
    call: Callable[[argparse.Namespace, Session], None], options: argparse.Namespace, session: Session
) -> None:
    """Do the work; where it is asked to stop, say what holds of every program (`libhetero.files`) and how to go on."""
    again = f"The same command begins anew: {session.command}"
    with stopped_early(lambda: f"no file is half-written, and those of before are kept. {again}"):
        call(options, session)


def _worked(work: Callable[[], None], program: str, voice: Voice) -> int:
    """Do the work; return the exit code, after one line on what ended it."""
    try:
        work()
    except KeyboardInterrupt:  # outside of `_stoppable`, for a moment
        tell(f"{program}: interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        forget(sys.stdout)  # its reader has gone (`… | head`): nobody to tell
        return 1
    except StoppedEarly as stop:
        if not voice.quiet:
            tell(f"{program}: {stop}")
        return stop.code
    except Exception as error:
        message = describe_failure(error)
        if message is None:
            raise
        tell(f"{program}: {voice.place}{message}")
        return 1
    return 0


def flushed(program: str, code: int) -> int:
    """Return the exit code once all that was printed has gone; 1 where it could not."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        forget(sys.stdout)
        return code or 1
    except OSError as error:
        forget(sys.stdout)
        tell(f"{program}: {describe_failure(error)}")
        return code or 1
    return code


@contextlib.contextmanager
def _rare_collections(usual: tuple[int, int, int]) -> Iterator[None]:
    """Look for garbage in cycles as `COLLECT_AFTER` says, and as usual afterwards."""
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _Warning(logging.Formatter):
    """One line with the program's name and, of several processes, which one it is."""

    def __init__(self, program: str, voice: Voice) -> None:
        super().__init__()
        self._program, self._voice = program, voice

    def format(self, record: logging.LogRecord) -> str:
        kind = "warning: " if record.levelno < logging.ERROR else ""
        return f"{self._program}: {self._voice.place}{kind}{readable(record.getMessage())}"


class _Told(logging.StreamHandler):
    """Lines to a stream; where it takes no more the work goes on, for it is not done to be told of."""

    def __init__(self, stream: Any, program: str) -> None:
        super().__init__(stream)
        self._program = program

    def handleError(self, record: logging.LogRecord) -> None:  # its name in logging
        error = sys.exc_info()[1]
        forget(self.stream)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            lost = "the output is lost from here on, the work goes on"
            tell(f"{self._program}: warning: {lost}: {describe_failure(error)}")


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set the variables that numerical libraries read when they load, for the time of the call."""
    if threads > 0:
        added = {name: str(threads) for name in _THREAD_VARIABLES}
    else:
        added = {name: str(os.cpu_count() or 1) for name in _absurd_thread_counts(os.environ)}
    added.update(cache_variables(os.environ))
    added.update(allocator_variables(os.environ))
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _absurd_thread_counts(environment: Mapping[str, str]) -> list[str]:
    """Return the variables that no runtime can follow, and tell of them: one hangs, another aborts or is silent."""
    found = []
    for name in _THREAD_VARIABLES:
        text = environment.get(name, "")
        first = re.fullmatch(r"\s*([0-9]{1,9})\s*(,[0-9, ]*)?", text)  # OpenMP takes a number for each level
        if text and (first is None or not 1 <= int(first[1]) <= MOST_THREADS):
            _LOGGER.warning("%s=%s: expected 1 to %d; all processors are used", name, shortened(text), MOST_THREADS)
            found.append(name)
    return found


@contextlib.contextmanager
def _logging(program: str, verbose: int, voice: Voice) -> Iterator[None]:
    """Send the library's messages to stdout and its warnings to stderr, for the time of the call."""
    logger, drawing = logging.getLogger("libhetero"), logging.getLogger("matplotlib")
    level_before, propagate_before, drawing_before = logger.level, logger.propagate, drawing.level
    drawing.setLevel(logging.ERROR)  # without a folder to write to it takes another, which is nobody's business
    told = _Told(sys.stdout, program)
    told.addFilter(lambda record: record.levelno < logging.WARNING and not voice.quiet)
    warned = _Told(sys.stderr, program)
    warned.setLevel(logging.WARNING)
    warned.setFormatter(_Warning(program, voice))
    logger.addHandler(told)
    logger.addHandler(warned)
    logger.propagate = False  # some packages give the root logger a handler of its own
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(max(verbose, 0), 2)])
    try:
        yield
    finally:
        logger.setLevel(level_before)
        drawing.setLevel(drawing_before)
        logger.propagate = propagate_before
        logger.removeHandler(told)
        logger.removeHandler(warned)
