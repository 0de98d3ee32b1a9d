"""How long a user waits: import, --help, and the first step of training, cold and warm.

    python benchmarks/startup.py --json startup.json        about 2 minutes on two CPU cores

The first step is counted from the start of the process to the first line of log.jsonl, on small sets made
here (larger than those of the demo): cold with an empty cache of compiled programs, warm with that of the run before.
While a training runs on, the CPU seconds it takes a second tell how many cores are busy.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import environment

from libhetero.cli.stages import find_program
from libhetero.configuration import write_json
from libhetero.errors import UserError

PATIENCE = 600.0  # seconds for a first step
BUSY_SECONDS = 8.0  # over which busy cores are counted
TARGETS = {"import": None, "--help": 1.0, "cold": 25.0, "warm": 8.0}  # seconds


@dataclass(frozen=True)
class Training:
    """A training whose first step is waited for.

    Parameters
    ----------
    name : for people.
    stages : programs that make what it needs.
    command : arguments of e2hype_refine.py.
    """

    name: str
    stages: tuple[str, ...]
    command: str


TRAININGS = (
    Training(
        "CryoHype small",
        ("e2hype_simulate.py mixture mixture --n 1600 --box 32 --apix 5 --snr 1 --structures 4 --seed 2",),
        "mixture/particles.star --preset small",
    ),
    Training(
        "Point Transformer small",
        (
            "e2hype_simulate.py assembly assembly --n 1200 --box 32 --apix 5 --snr 0.3 --pieces 3 --seed 1",
            "e2hype_make3d.py assembly/particles.star consensus.mrc",
            "e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 256",
        ),
        "assembly/particles.star --pointtransformer --model gmm.txt --preset small",
    ),
)
QUICK = (
    Training(
        "CryoHype tiny",
        ("e2hype_simulate.py mixture mixture --n 64 --box 16 --apix 10 --snr 1 --structures 2 --seed 2",),
        "mixture/particles.star --preset small --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 "
        "--set feed_forward=16 --set inr_width=16 --set inr_layers=1 --set inr_frequencies=8",
    ),
)


def time_process(command: Sequence[str], repeats: int) -> float:
    """Return the median seconds of a process, after one that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def first_step(training: Training, folder: Path, path: str, cache: Path, busy: float) -> tuple[float, float]:
    """Start a training, return the seconds to its first step and the cores that it then keeps busy.

    Parameters
    ----------
    path : run folder to make.
    cache : the user's cache folder.
    busy : seconds over which busy cores are counted; 0 for not.

    Raises
    ------
    UserError : if it ends, or takes too long, before its first step.
    """
    words = [*shlex.split(training.command), "--path", path, "--report", "1", "--niter", "1000"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        environment.pop(name, None)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(find_program("e2hype_refine.py")), *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        log = folder / path / "log.jsonl"
        _wait_for(lambda: log.exists() and log.stat().st_size > 0, process, training.name)
        seconds = time.perf_counter() - start
        return seconds, _busy_cores(process.pid, busy) if busy else 0.0
    finally:
        process.kill()
        process.wait()


def _prepare(command: str, folder: Path) -> None:
    """Run a program that makes what a training needs."""
    program, *words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, str(find_program(program)), *words], cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise UserError(f"{command}: {done.stderr.strip()}")


def _wait_for(reached: Callable[[], bool], process: subprocess.Popen, name: str) -> None:
    limit = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None or time.monotonic() > limit:
            raise UserError(f"{name}: no first step (exit code {process.poll()}); run its command by hand.")
        time.sleep(0.01)


def _busy_cores(pid: int, seconds: float) -> float:
    """Return the CPU seconds that a process takes a second, with all its threads."""
    before = _cpu_seconds(pid)
    start = time.perf_counter()
    time.sleep(seconds)
    return (_cpu_seconds(pid) - before) / (time.perf_counter() - start)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def run(trainings: Sequence[Training], repeats: int, busy: float) -> dict[str, Any]:
    """Measure everything and return the figures."""
    python = sys.executable
    found: dict[str, Any] = {
        "import": time_process([python, "-c", "import libhetero"], repeats),
        "--help": time_process([python, str(find_program("e2hype_refine.py")), "--help"], repeats),
        "first_step": {},
    }
    for training in trainings:
        with tempfile.TemporaryDirectory(prefix="startup_") as name:
            folder = Path(name)
            for stage in training.stages:
                _prepare(stage, folder)
            cold, _ = first_step(training, folder, "cold", folder / "cache", 0)
            warm, cores = first_step(training, folder, "warm", folder / "cache", busy)
        found["first_step"][training.name] = {"cold": cold, "warm": warm, "busy_cores": cores}
    return {**found, "targets": TARGETS, **environment()}


def table(found: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [f"{'':<28}{'seconds':>9}{'target':>8}"]
    for name in ("import", "--help"):
        target = TARGETS[name]
        lines.append(f"{name:<28}{found[name]:9.2f}{'' if target is None else f'{target:8.0f}'}")
    for name, times in found["first_step"].items():
        for state in ("cold", "warm"):
            lines.append(f"{f'{name}, {state}':<28}{times[state]:9.2f}{TARGETS[state]:8.0f}")
        lines.append(f"{f'{name}, cores busy':<28}{times['busy_cores']:9.2f}{os.cpu_count():8d}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    parser.add_argument("--quick", action="store_true", help="one tiny training, to try the program")
    parser.add_argument("--repeats", type=int, default=5, help="processes a median is over (default: 5)")
    options = parser.parse_args(argv)
    try:
        found = run(QUICK if options.quick else TRAININGS, options.repeats, 1.0 if options.quick else BUSY_SECONDS)
    except UserError as error:
        print(f"startup.py: {error}", file=sys.stderr)
        return 1
    print(table(found))
    if options.json:
        write_json(Path(options.json), found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
