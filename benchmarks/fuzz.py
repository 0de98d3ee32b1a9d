"""Damaged files for every reader: no traceback, no crash, no wait over 20 s, no memory over 2 GiB.

Each trial damages one valid file (`damage.py`) and reads it by the door that a program uses (`doors.py`), in a process
that is watched (`trials.py`). It must be read, or refused in one line that names the file and ends in a full stop, with
nothing printed besides and nothing left behind. Some trials go through a whole program, too.

    python benchmarks/fuzz.py --seed 0 --count 2000 --json fuzz.json     about 10 minutes on two cores
    python benchmarks/fuzz.py --replay 0:1234                            one trial, its damaged file kept

A trial is told by seed and index alone, whatever --only says. Bytes of checkpoints hold times and random names, so
that there the same damage may fall on other bytes; --keep keeps the damaged inputs themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from damage import Placed, damage
from doors import KINDS, PROGRAMS, Kind, make_inputs
from harness import environment
from trials import FAILURES, MEMORY, PATIENCE, READ, REFUSED, Child, Outcome, judge_line

from libhetero.configuration import write_json
from libhetero.errors import ConfigurationError, UserError

SLOWEST_PROGRAM = 120  # seconds of a whole program that reads its input and works


@dataclass(frozen=True)
class Trial:
    """One damaged file.

    Parameters
    ----------
    seed, index : what it is told by.
    kind : of the file.
    file : damaged, relative to the folder.
    damage : what was done to it.
    outcome : how reading it ended.
    """

    seed: int
    index: int
    kind: Kind
    file: str
    damage: str
    outcome: Outcome

    def told(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "replay": f"{self.seed}:{self.index}",
            "kind": self.kind.name,
            "file": self.file,
            "damage": self.damage,
            "outcome": self.outcome.name,
            "said": self.outcome.said,
            "where": self.outcome.where,
        }


def kind_of(index: int) -> Kind:
    """Return what a trial damages."""
    return KINDS[index % len(KINDS)]


def arrange(kind: Kind, inputs: Path, folder: Path, random: np.random.Generator) -> tuple[str, str]:
    """Fill a trial's folder and damage its file; return which file, and what was done.

    Parameters
    ----------
    inputs : the valid files, which stay as they are.
    folder : to make.
    random : decides.
    """
    folder.mkdir(parents=True)
    top = kind.file.split("/", 1)[0]
    for path in inputs.iterdir():
        if path.is_file():
            os.link(path, folder / path.name)
        elif path.name == top:
            shutil.copytree(path, folder / path.name)
    fitting = sorted(path for path in folder.glob(kind.file) if path.is_file())
    path = fitting[int(random.integers(len(fitting)))]
    what, damaged = damage(random, kind.structure, path.read_bytes())
    path.unlink()
    if isinstance(damaged, Placed):
        damaged.put(path)
    else:
        path.write_bytes(damaged)
    return str(path.relative_to(folder)), what


def names_of(kind: Kind, file: str) -> tuple[str, ...]:
    """Return what a refusal must hold one of."""
    tables = () if kind.structure != "pickle" else (f"{kind.name}.pkl",)
    return (*kind.says, Path(file).name, *tables, "out.")


def try_one(seed: int, index: int, inputs: Path, work: Path, child: Child) -> Trial:
    """Do one trial in a folder of its own, which stays where it failed."""
    kind = kind_of(index)
    folder = work / f"{seed}_{index}"
    file, what = arrange(kind, inputs, folder, np.random.default_rng([seed, index]))
    outcome = child.try_once(folder, kind.name, index // len(KINDS), names_of(kind, file))
    if not outcome.failed:
        shutil.rmtree(folder)
    return Trial(seed, index, kind, file, what, outcome)


def try_program(seed: int, index: int, inputs: Path, work: Path) -> Trial:
    """Do one trial through the whole program."""
    kind = kind_of(index)
    folder = work / f"{seed}_{index}_program"
    file, what = arrange(kind, inputs, folder, np.random.default_rng([seed, index]))
    program, *arguments = shlex.split(kind.command.format(kind.file))
    before = set(os.listdir(folder))
    command = [sys.executable, str(PROGRAMS / program), *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=SLOWEST_PROGRAM)
        left = set(os.listdir(folder)) - before - {".eman2log.txt"}
        said = done.stderr.decode(errors="replace")
        outcome = judge_program(done.returncode, said, sorted(left), (*names_of(kind, file), *arguments[:1]))
    except subprocess.TimeoutExpired:
        outcome = Outcome("slow", f"more than {SLOWEST_PROGRAM} s")
    if not outcome.failed:
        shutil.rmtree(folder)
    return Trial(seed, index, kind, file, what, outcome)


def judge_program(code: int, said: str, left: list[str], names: tuple[str, ...]) -> Outcome:
    """Return the outcome of a whole program from its exit code, stderr and what is new in the folder."""
    lines = [line for line in said.splitlines() if "warning: " not in line]
    if code < 0:
        return Outcome("crash", f"signal {-code}: {said[-800:]}")
    if "Traceback" in said or code not in (0, 1):
        return Outcome("traceback", f"exit code {code}: {said[-1500:]}")
    if code == 0:
        return Outcome("warning printed", said[-800:]) if lines else Outcome(READ)
    if len(lines) != 1:
        return Outcome("poor line", f"{len(lines)} lines: {said[-800:]}")
    if left:
        return Outcome("left behind", f"{', '.join(left)} after: {lines[0]}")
    wrong = judge_line(lines[0], names)
    return Outcome("poor line", f"{wrong}: {lines[0]}") if wrong else Outcome(REFUSED, lines[0])


def fuzz(
    seed: int, indices: Sequence[int], inputs: Path, work: Path, jobs: int, patience: float = PATIENCE
) -> Iterator[Trial]:
    """Yield the trials in order of their indices, done by as many children."""
    free: SimpleQueue[Child] = SimpleQueue()
    children = [Child(work / f"stderr_{number}", patience) for number in range(jobs)]
    for child in children:
        free.put(child)

    def one(index: int) -> Trial:
        child = free.get()
        try:
            return try_one(seed, index, inputs, work, child)
        finally:
            free.put(child)

    try:
        with ThreadPoolExecutor(jobs) as threads:
            yield from threads.map(one, indices)
    finally:
        for child in children:
            child.stop()


def chosen(options: argparse.Namespace) -> list[int]:
    """Return the indices of the trials that are asked for."""
    wanted = [kind for kind in KINDS if not kind.heavy or not options.light]
    if options.only:
        wanted = [kind for kind in wanted if any(part in kind.name for part in options.only)]
    if not wanted:
        raise ConfigurationError(
            f"--only {' '.join(options.only)}: no such kind; expected of {', '.join(kind.name for kind in KINDS)}."
        )
    indices: list[int] = []
    index = 0
    while len(indices) < options.count:
        if kind_of(index) in wanted:
            indices.append(index)
        index += 1
    return indices


def tell(trials: Sequence[Trial]) -> None:
    """Print outcomes by kind, then every failure."""
    print(f"\n{'kind':<24}{'trials':>7}{'read':>6}{'refused':>8}{'failed':>7}")
    kinds = dict.fromkeys(trial.kind.name for trial in trials)
    for name in (*kinds, "all"):
        of_kind = [trial.outcome for trial in trials if name in (trial.kind.name, "all")]
        count = Counter(outcome.name for outcome in of_kind)
        failed = sum(outcome.failed for outcome in of_kind)
        print(f"{name:<24}{len(of_kind):>7}{count[READ]:>6}{count[REFUSED]:>8}{failed:>7}")
    count = Counter(trial.outcome.name for trial in trials)
    print("".join(f"\n{name}: {count[name]}" for name in (*FAILURES, "no such door") if count[name]))


def failure(trial: Trial) -> str:
    """Return one line on a trial that failed."""
    first = (trial.outcome.said.strip().splitlines() or [""])[0][:200]
    return f"{trial.seed}:{trial.index} {trial.kind.name}, {trial.damage}: {trial.outcome.name}: {first}"


def run(options: argparse.Namespace, work: Path) -> list[Trial]:
    """Make the inputs, do the trials, tell of failures as they come, and return all."""
    inputs = work / "inputs" if options.inputs is None else Path(options.inputs).resolve()
    indices = chosen(options) if options.replay is None else [options.replay[1]]
    heavy = any(kind_of(index).heavy for index in indices)
    if not (inputs / ("run" if heavy else "particles.star")).exists():
        make_inputs(inputs, heavy)
    trials = []
    seed = options.seed if options.replay is None else options.replay[0]
    for trial in fuzz(seed, indices, inputs, work, options.jobs, options.patience):
        trials.append(trial)
        if trial.outcome.failed:
            print(failure(trial), flush=True)
    through = [index for index in indices if kind_of(index).command]
    step = max(1, len(through) // max(options.programs, 1))
    for index in through[::step][: options.programs]:
        trial = try_program(seed, index, inputs, work)
        trials.append(trial)
        if trial.outcome.failed:
            print(f"{trial.kind.command}: {failure(trial)}", flush=True)
    return trials


def _replay(text: str) -> tuple[int, int]:
    seed, index = text.split(":")
    return int(seed), int(index)


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of the damage (default: 0)")
    add("--count", type=int, default=2000, metavar="N", help="trials (default: 2000)")
    add(
        "--only",
        nargs="+",
        metavar="KIND",
        help=f"these alone, by a part of their names: {', '.join(k.name for k in KINDS)}",
    )
    add("--light", action="store_true", help="only what needs no program to be made first")
    add("--programs", type=int, default=40, metavar="N", help="trials through a whole program, too (default: 40)")
    add("--replay", type=_replay, metavar="SEED:INDEX", help="do one trial again, and keep its folder")
    add("--jobs", type=int, default=2, metavar="N", help="children at once (default: 2)")
    add(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="S",
        help=f"seconds a reader may take (default: {PATIENCE:g})",
    )
    add("--inputs", metavar="FOLDER", help="the valid files, made there if they are not (default: a temporary folder)")
    add("--keep", metavar="FOLDER", help="put the folders of failed trials here (default: removed)")
    add("--json", metavar="FILE", help="write the figures and every failure here too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do the trials; return 0 if none failed, else 1."""
    options = build_parser().parse_args(argv)
    if options.replay is not None:
        options.programs, options.keep = 0, options.keep or "replayed"
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
            trials = run(options, Path(folder))
            if options.keep:
                keep(Path(folder), Path(options.keep), options.replay)
        tell(trials)
        if options.replay is not None:
            print(json.dumps(trials[0].told(), indent=1))
        if options.json:
            write_json(Path(options.json), report(trials, options))
    except (UserError, OSError) as error:
        print(f"fuzz.py: {error}", file=sys.stderr)
        return 1
    return 1 if any(trial.outcome.failed for trial in trials) else 0


def keep(work: Path, place: Path, replayed: tuple[int, int] | None) -> None:
    """Move the folders of failed trials to a place that stays; of a replayed trial, make it again."""
    place.mkdir(parents=True, exist_ok=True)
    for folder in work.glob("[0-9]*_[0-9]*"):
        shutil.move(folder, place / folder.name)
    if replayed is not None and not any(place.glob(f"{replayed[0]}_{replayed[1]}")):
        seed, index = replayed
        inputs = work / "inputs"
        if inputs.is_dir():
            arrange(kind_of(index), inputs, place / f"{seed}_{index}", np.random.default_rng([seed, index]))
    print(f"damaged inputs are in {place}")


def report(trials: Sequence[Trial], options: argparse.Namespace) -> dict[str, Any]:
    """Return figures and failures as JSON types."""
    outcomes = Counter(trial.outcome.name for trial in trials)
    failures = [trial.told() for trial in trials if trial.outcome.failed]
    limits = {"seconds": options.patience, "bytes": MEMORY}
    return {
        **environment(),
        "seed": options.seed,
        "trials": len(trials),
        "outcomes": dict(outcomes),
        "limits": limits,
        "failures": failures,
    }


if __name__ == "__main__":
    sys.exit(main())
