"""What one GPU does, in at most 8 minutes: speed, a hundred molecules, and the full mixture as far as time allows.

    python benchmarks/gpu.py --json gpu.json
    python benchmarks/gpu.py --work work --json gpu.json        a second call goes on in the work folder of the first

Needs JAX with the plugin of the GPU (`pip install "jax[cuda12]"`), and the structures of ../shared. Each part is a
process of its own, stopped when its share of --limit is over; what one leaves, the next may take:

    speed      speed.py: the decoder and CryoHype's step against the published equations; a fifth of the time
    hundred    mixture.py --profile cpu100: classes solved for and the default row; three tenths
    full       mixture.py --profile full: the default row, trained for an eighth of the time; what is left

The JSON is written after each part: whether it finished, its seconds and figures, of one that was stopped the rows and
stages that were done by then, the last report of its training (images a second, epoch), and what it said last. A part
that fails leaves the others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import environment, reported
from mixture import MARK

from libhetero.configuration import read_json, write_json
from libhetero.training.log import read_log

BENCHMARKS = Path(__file__).resolve().parent
LIMIT = 470.0  # seconds: 8 minutes less what stopping and starting take
GRACE = 5.0  # seconds that a part which was stopped has to end
REPORT = "gpu.json"  # in the work folder
SAID = 20  # last lines of what a part said that are kept


@dataclass(frozen=True)
class Part:
    """One thing to run.

    Parameters
    ----------
    name : for the report.
    command : script below benchmarks/ and its options, run in the work folder.
    until : part of the time by which it must be done.
    row : whose training log is reported; None where nothing is trained.
    """

    name: str
    command: str
    until: float
    row: str | None = None

    @property
    def json(self) -> str:
        """Return the file of its figures, in the work folder."""
        return f"{self.name}.json"


def parts_of(limit: float, tiny: bool) -> tuple[Part, ...]:
    """Return what is run within `limit` seconds; `tiny` tries the script on small data."""
    speed, hundred, full, seconds = ("--quick", "tiny", "tiny", 1.0) if tiny else ("", "cpu100", "full", limit / 8)
    return (
        Part("speed", f"speed.py {speed}", 0.2),
        Part("hundred", f"mixture.py --profile {hundred} --rows start default --work hundred", 0.5, "default"),
        Part("full", f"mixture.py --profile {full} --seconds {seconds:.0f} --work full", 1.0, "default"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts; return 0, or 1 where one was stopped or failed."""
    options = build_parser().parse_args(argv)
    parts = parts_of(options.limit, options.tiny)
    report = reported("gpu.py", options, partial(run, parts, options.limit), mark=REPORT)
    return 1 if report is None or any(part["state"] != "finished" for part in report["parts"].values()) else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--json", metavar="FILE", help="write the report here too; it is in the work folder after each part")
    add("--work", metavar="FOLDER", help="run here and leave the files (default: a temporary folder)")
    add("--keep", action="store_true", help="leave the temporary folder, too")
    add("--limit", type=float, default=LIMIT, metavar="S", help=f"seconds of all parts (default: {LIMIT:g})")
    add("--tiny", action="store_true", help="small data, to try the script")
    return parser


def run(parts: Sequence[Part], limit: float, folder: Path) -> dict[str, Any]:
    """Run the parts one after another, each until its share of the time is over, and return the report."""
    begin = time.monotonic()
    report: dict[str, Any] = {"limit": limit, "parts": {}, **environment()}
    write_json(folder / REPORT, report)
    for part in parts:
        print(f"\n## {part.name}\n$ {part.command}", flush=True)
        found = run_part(part, begin + part.until * limit - time.monotonic(), folder)
        report["parts"][part.name] = found
        report["seconds"] = time.monotonic() - begin
        write_json(folder / REPORT, report)
        print("\n".join([*found["said"], f"{part.name}: {found['state']}, {found['seconds']:.0f} s"]), flush=True)
    return report


def run_part(part: Part, seconds: float, folder: Path) -> dict[str, Any]:
    """Run one part, stop it with all that it has started when its time is over, and return what is known of it."""
    script, *arguments = shlex.split(part.command)
    words = [sys.executable, str(BENCHMARKS / script), *arguments, "--json", part.json]
    start, said = time.monotonic(), folder / f"{part.name}.log"
    (folder / part.json).unlink(missing_ok=True)
    with open(said, "wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            state = "finished" if process.wait(max(seconds, 0)) == 0 else "failed"
        except subprocess.TimeoutExpired:
            state = "stopped"
        finally:
            end(process)
    return {
        "command": part.command,
        "state": state,
        "seconds": time.monotonic() - start,
        "figures": figures_of(part, folder),
        "training": last_report(part, folder),
        "said": said.read_text(errors="replace").splitlines()[-SAID:],
    }


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started: asked first, then made to."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # it has ended, and all others with it
            os.killpg(process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)


def figures_of(part: Part, folder: Path) -> dict[str, Any] | None:
    """Return what a part wrote: at its end, or of a mixture in its work folder so far."""
    for path in (folder / part.json, folder / part.name / MARK):
        if path.is_file():
            return read_json(path)
    return None


def last_report(part: Part, folder: Path) -> dict[str, Any] | None:
    """Return the last line of a training's log that tells its rate, or of its pilot's; None where there is none."""
    for run in (f"{part.row}", f"{part.row}_pilot"):
        log = folder / part.name / run / "log.jsonl"
        rates = [line for line in read_log(log) if line.get("particles_per_second")] if log.is_file() else []
        if rates:
            return rates[-1]
    return None


if __name__ == "__main__":
    sys.exit(main())
