"""Faults that a training run survives: each tried N times, at random moments, through the program itself.

A trial starts e2hype_refine.py on a small simulated set, brings the fault about, and checks exit code and
line; then it mends the fault, resumes, and compares every loss of log.jsonl with those of a run that nothing
happened to. Disks that are full are real ones, mounted in a namespace of the trial's own.

    python benchmarks/faults.py --trials 20 --json faults.json

Prints how many of the trials each fault was survived in; exit code 1 if not all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import WorkFolder, environment

from libhetero.configuration import read_json, write_json
from libhetero.errors import UserError
from libhetero.training.checkpoint import ROOM
from libhetero.training.log import read_log

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
SIMULATE = "assembly set --n 48 --box 16 --apix 12 --snr 1"
REFINE = (
    "set/particles.star --preset small --batchsz 12 --niter 25 --report 1 --checkpoint 1 --seed 5 --set dim=16 "
    "--set depth=1 --set heads=2 --set head_dim=8 --set feed_forward=16 --set weight_tokens=2 --set inr_width=16 "
    "--set inr_layers=1 --set inr_frequencies=8"
)
HEADER, IMAGE, IMAGES = 1024, 4 * 16 * 16, 48  # bytes of the stack
PATIENCE = 300  # seconds that anything may take
TOLERANCE = 1e-5  # of losses, relative


class NotSurvived(Exception):
    """A trial did not end as it should."""


@dataclass(frozen=True)
class Reference:
    """What a run does that nothing happens to.

    Parameters
    ----------
    folder : with the set `set/` and the run `whole/`.
    losses : of each step.
    seconds : from start to end.
    """

    folder: Path
    losses: np.ndarray
    seconds: float


class Trial:
    """One folder with the set and at most one run, `run/`.

    Parameters
    ----------
    folder : of its own.
    reference : what to compare with.
    random : of the moment of the fault.
    """

    def __init__(self, folder: Path, reference: Reference, random: np.random.Generator) -> None:
        self.folder, self.reference, self.random = folder, reference, random
        folder.mkdir(parents=True)
        shutil.copytree(reference.folder / "set", folder / "set")
        self.run, self.stack = folder / "run", folder / "set" / "particles.mrcs"

    def start(self, *options: str) -> subprocess.Popen:
        """Start a new training run."""
        return start("refine", [*shlex.split(REFINE), "--path", "run", *options], self.folder)

    def wait_for_steps(self, process: subprocess.Popen, most: float = 0.6) -> None:
        """Wait for a random step below this part of the run."""
        step = self.random.integers(2, int(most * len(self.reference.losses)))
        log = self.run / "log.jsonl"
        wait(process, lambda: log.is_file() and len(read_log(log)) >= step)

    def finish(self) -> None:
        """Resume, or start again what was stopped before it had a folder, and compare all losses."""
        begun = (self.run / "config.json").is_file()
        process = start("refine", ["--resume", "run"], self.folder) if begun else self.start()
        expect(process, 0)
        self.compare()

    def compare(self) -> None:
        """Compare the losses of the finished run with those of the reference."""
        losses = losses_of(self.run)
        if losses.shape != self.reference.losses.shape:
            raise NotSurvived(f"{len(losses)} lines in log.jsonl; expected {len(self.reference.losses)}")
        if not np.allclose(losses, self.reference.losses, rtol=TOLERANCE, atol=0):
            step = int(np.argmin(np.isclose(losses, self.reference.losses, rtol=TOLERANCE, atol=0)))
            raise NotSurvived(f"other losses from step {step + 1} on")

    def overwrite(self, images: Sequence[int], value: float) -> None:
        """Set a pixel of some images of the stack."""
        with self.stack.open("r+b") as file:
            for image in images:
                file.seek(HEADER + image * IMAGE + 4 * 100)
                file.write(np.float32(value).tobytes())

    def mend(self) -> None:
        """Put the stack back as it was."""
        shutil.copy(self.reference.folder / "set" / "particles.mrcs", self.stack)


def start(program: str, arguments: Sequence[str], folder: Path) -> subprocess.Popen:
    """Start one of the programs in a folder."""
    command = [sys.executable, str(PROGRAMS / f"e2hype_{program}.py"), *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait(process: subprocess.Popen, reached: Callable[[], bool]) -> None:
    """Return once it is reached; it must be while the process runs."""
    end = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise NotSurvived(f"ended before the fault: {process.communicate()[1][-300:]}")
        time.sleep(0.005)


def expect(process: subprocess.Popen, code: int, *patterns: str) -> str:
    """Wait for the end; check exit code, and where that is 1 that one line matches all patterns.

    Returns what was warned of.
    """
    return check(*ended(process), code, *patterns)


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Wait for the end; return exit code and what was said on stderr."""
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    return process.returncode, said


def check(found: int, said: str, code: int, *patterns: str) -> str:
    """Compare an exit code and what was said on stderr with what is expected."""
    lines = [line for line in said.splitlines() if ": warning: " not in line]
    if found != code or len(lines) != (code == 1):
        raise NotSurvived(f"exit code {found}, expected {code}, saying {said[-1500:]!r}")
    missing = [pattern for pattern in patterns if lines and not re.search(pattern, lines[0])]
    if missing:
        raise NotSurvived(f"{lines[0]!r} lacks {missing}")
    return said


def losses_of(run: Path) -> np.ndarray:
    """Return the losses of a run by step, checking that no step is missing or doubled."""
    lines = read_log(run / "log.jsonl")
    if [line["step"] for line in lines] != list(range(1, len(lines) + 1)):
        raise NotSurvived("log.jsonl has other steps than 1, 2, 3 …")
    return np.array([line["loss"] for line in lines])


# The faults ------------------------------------------------------------------------------------


def killed(trial: Trial) -> None:
    """SIGKILL at any moment from the start of the program to its end."""
    process = trial.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(trial.random.uniform(0, trial.reference.seconds))
    process.kill()
    process.communicate()
    trial.finish()


def killed_writing(trial: Trial) -> None:
    """SIGKILL while a checkpoint is being written."""
    process = trial.start()
    seen: set[str] = set()
    wanted = trial.random.integers(1, 20)

    def writing() -> bool:
        seen.update(path.name for path in trial.run.glob("checkpoints/*.orbax-checkpoint-tmp*"))
        return len(seen) >= wanted

    wait(process, writing)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    trial.finish()


def on_a_small_disk(trial: Trial, size: int, first: str, then: str, kept: str) -> list[tuple[int, str]]:
    """Run `first` in disk/, on a disk of `size` bytes, and `then` once it is larger; copy `kept` out.

    Returns exit code and what was said on stderr, of both.
    """
    script = (
        f"mount -t tmpfs -o size={size} none disk && {{ {first} 2>one; echo $? >one.code; "
        f"mount -o remount,size=1g disk && {then} 2>two; echo $? >two.code; cp -r disk/{kept} .; }}"
    )
    (trial.folder / "disk").mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(command, cwd=trial.folder, capture_output=True, text=True, timeout=2 * PATIENCE)
    if not (trial.folder / "two.code").is_file():
        raise NotSurvived(f"no small disk: {done.stderr[-300:]}")
    names = ("one", "two")
    return [(int((trial.folder / f"{name}.code").read_text()), (trial.folder / name).read_text()) for name in names]


def disk_full(trial: Trial) -> None:
    """The disk is full at one of the first checkpoints."""
    checkpoint = used(trial.reference.folder / "whole" / "checkpoints") / 2  # two are kept
    rest = used(trial.reference.folder / "whole") - 2 * checkpoint
    size = int(rest + ROOM + trial.random.uniform(0.3, 2.5) * checkpoint)
    refine = f"{sys.executable} {PROGRAMS / 'e2hype_refine.py'}"
    (code, said), (after, also) = on_a_small_disk(
        trial, size, f"{refine} {REFINE} --path disk/run", f"{refine} --resume disk/run", "run"
    )
    check(code, said, 1, "no space left", "free some")
    check(after, also, 0)
    trial.compare()


def disk_full_stack(trial: Trial) -> None:
    """The disk is full while a simulated stack is written."""
    simulate = f"{sys.executable} {PROGRAMS / 'e2hype_simulate.py'} {SIMULATE.replace(' set ', ' disk/set ')}"
    size = int(trial.random.uniform(0.1, 0.9) * IMAGES * IMAGE)
    shutil.rmtree(trial.folder / "set")
    (code, said), (after, also) = on_a_small_disk(trial, size, simulate, f"{simulate} --resume", "set")
    check(code, said, 1, "no space left|full")
    check(after, also, 0)
    if trial.stack.read_bytes() != (trial.reference.folder / "set" / "particles.mrcs").read_bytes():
        raise NotSurvived("another stack than without the fault")


def truncated(trial: Trial) -> None:
    """The stack is cut short while it is trained on."""
    process = trial.start()
    trial.wait_for_steps(process)
    with trial.stack.open("r+b") as file:
        file.truncate(HEADER + int(trial.random.uniform(0, 0.9) * IMAGES * IMAGE))
    expect(process, 1, "particles.mrcs", r"image \d+")
    trial.mend()
    trial.finish()


def vanished(trial: Trial) -> None:
    """The stack is removed while it is trained on: an open file may be read to the end, a new one not."""
    process = trial.start()
    trial.wait_for_steps(process)
    trial.stack.unlink()
    if ended(process)[0] == 0:
        trial.compare()
        return
    expect(start("refine", ["--resume", "run"], trial.folder), 1, "particles.mrcs")
    trial.mend()
    trial.finish()


def bad_pixels(trial: Trial) -> None:
    """Some images hold NaN or infinity, no more than --maxbad allows: told, and the run ends well."""
    count = int(trial.random.integers(1, 5))
    images = trial.random.choice(IMAGES, count, replace=False)
    trial.overwrite(images, trial.random.choice([np.nan, np.inf, -np.inf]))
    warned = expect(trial.start("--maxbad", str(count)), 0)
    if not any(f"image {image + 1}" in warned for image in images):
        raise NotSurvived(f"no image is named: {warned[-300:]!r}")
    losses_of(trial.run)


def too_many_bad_pixels(trial: Trial) -> None:
    """More images than --maxbad allows hold NaN or infinity: the run stops, naming one."""
    count = int(trial.random.integers(1, 5))
    images = trial.random.choice(IMAGES, count, replace=False)
    trial.overwrite(images, trial.random.choice([np.nan, np.inf, -np.inf]))
    expect(trial.start("--maxbad", str(count - 1)), 1, "particles.mrcs", r"image \d+")


def not_finite(trial: Trial) -> None:
    """One image makes the loss infinite from some step on: its steps are skipped and counted."""
    process = trial.start()
    trial.wait_for_steps(process)
    trial.overwrite([int(trial.random.integers(IMAGES))], 3e38)
    warned = expect(process, 0)
    if "the step is skipped" not in warned or not read_log(trial.run / "log.jsonl")[-1]["skipped"]:
        raise NotSurvived(f"no step was skipped: {warned[-300:]!r}")


def diverged(trial: Trial) -> None:
    """Every image makes the loss infinite: back at a lower rate, then one line; mended, it goes on."""
    process = trial.start()
    trial.wait_for_steps(process)
    trial.overwrite(range(IMAGES), 3e38)
    warned = expect(process, 1, "expected a finite number", "lower learning rate")
    if warned.count("of the learning rate") != 3:
        raise NotSurvived(f"did not go back three times: {warned[-500:]!r}")
    trial.mend()
    trial.finish()


def two_runs(trial: Trial) -> None:
    """A second run is refused in the folder of the first, which goes on."""
    process = trial.start()
    trial.wait_for_steps(process, 0.3)
    expect(start("refine", ["--resume", "run"], trial.folder), 1, "is training in this folder", "run: process")
    expect(process, 0)
    trial.compare()


def older_folder(trial: Trial) -> None:
    """A run folder of another format version is refused by name."""
    shutil.copytree(trial.reference.folder / "whole", trial.run)
    path = trial.run / "config.json"
    stored = read_json(path)
    other = int(trial.random.choice([number for number in range(10) if number != stored["format_version"]]))
    path.write_text(json.dumps(stored | {"format_version": other}))
    expect(start("refine", ["--resume", "run"], trial.folder), 1, f"format_version is {other}; this version reads")


FAULTS: dict[str, Callable[[Trial], None]] = {
    fault.__name__: fault
    for fault in (
        killed,
        killed_writing,
        disk_full,
        disk_full_stack,
        truncated,
        vanished,
        bad_pixels,
        too_many_bad_pixels,
        not_finite,
        diverged,
        two_runs,
        older_folder,
    )
}


def prepare(folder: Path) -> Reference:
    """Simulate the set and train on it undisturbed, twice: the first time compiles."""
    expect(start("simulate", SIMULATE.split(), folder), 0)
    for name in ("first", "whole"):
        began = time.monotonic()
        expect(start("refine", [*REFINE.split(), "--path", name], folder), 0)
    return Reference(folder, losses_of(folder / "whole"), time.monotonic() - began)


def used(folder: Path) -> int:
    """Return the bytes that the files of a folder take on a disk of pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def trials(options: argparse.Namespace, reference: Reference) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each fault and how its trials failed, "" where one was survived."""
    for name in options.only or FAULTS:
        failures = []
        for number in range(options.trials):
            random = np.random.default_rng([options.seed, list(FAULTS).index(name), number])
            trial = Trial(reference.folder / f"{name}_{number}", reference, random)
            try:
                FAULTS[name](trial)
                failures.append("")
                shutil.rmtree(trial.folder)
            except (NotSurvived, subprocess.TimeoutExpired) as failure:
                failures.append(str(failure))
                print(f"{name}, trial {number}: {failure}", file=sys.stderr, flush=True)
        yield name, failures


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--trials", type=int, default=20, metavar="N", help="of each fault (default: 20)")
    add(
        "--only",
        nargs="+",
        choices=tuple(FAULTS),
        metavar="NAME",
        help=f"these faults: {', '.join(FAULTS)} (default: all)",
    )
    add("--seed", type=int, default=0, help="of the moments (default: 0)")
    add("--json", metavar="FILE", help="write the table here too")
    add("--work", metavar="FOLDER", help="run here and leave the files (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Try the faults; return 0 if all were survived, else 1."""
    options = build_parser().parse_args(argv)
    table = {}
    try:
        with WorkFolder(options.work, keep=False) as folder:
            reference = prepare(folder)
            print(f"{'fault':<24}{'survived':>10}{'trials':>8}", flush=True)
            for name, failures in trials(options, reference):
                table[name] = {"survived": failures.count(""), "trials": len(failures), "failures": failures}
                print(f"{name:<24}{failures.count(''):>10}{len(failures):>8}", flush=True)
        if options.json:
            write_json(Path(options.json), {"faults": table, "seed": options.seed, **environment()})
    except (UserError, OSError, NotSurvived) as error:
        print(f"faults.py: {error}", file=sys.stderr)
        return 1
    return 0 if all(row["survived"] == row["trials"] for row in table.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
