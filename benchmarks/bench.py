"""Run the quick benchmarks and rewrite their section of docs/benchmarks.md with machine, date and versions.

    make bench        or: python benchmarks/bench.py --only startup

The section lies between two markers; everything else in the document is left alone, and so is the section
when one of the benchmarks fails.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness import environment

from libhetero.errors import DataError, UserError
from libhetero.files import replacing

BENCHMARKS = Path(__file__).resolve().parent
DOCUMENT = BENCHMARKS.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
QUICK = {"startup": "startup.py", "feed": "feed.py", "scaling": "scaling.py"}


def run_benchmark(command: str) -> str:
    """Run one benchmark, show and return what it prints.

    Raises
    ------
    UserError : if it failed; what it said is then on the screen.
    """
    print(f"$ python benchmarks/{command}", flush=True)
    name, *arguments = shlex.split(command)
    done = subprocess.run([sys.executable, str(BENCHMARKS / name), *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, end="")
        raise UserError(f"{name}: failed with exit code {done.returncode}; the document is left as it was.")
    print(done.stdout, end="", flush=True)
    return done.stdout


def section(outputs: dict[str, str]) -> str:
    """Return the section: machine, date and versions, then each command and what it printed."""
    found = environment()
    machine, versions = found["machine"], found["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"{time.strftime('%Y-%m-%d')}; {machine['processor']}, {machine['cores']} cores; devices: "
        f"{machine['devices']}; {named}."
    ]
    for command, output in outputs.items():
        lines += ["", f"`python benchmarks/{command}`", "", "```text", output.strip("\n"), "```"]
    return "\n".join(lines)


def rewrite(document: Path, text: str) -> None:
    """Put `text` between the markers of the document, written beside and renamed.

    Raises
    ------
    DataError : if the markers are not there, each once and in order.
    """
    before, begin, rest = document.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise DataError(f"{document}: expected the markers {BEGIN} and {END}, each once; put them back.")
    with replacing(document) as beside:
        beside.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the quick benchmarks; return 0, or 1 after one line on what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=tuple(QUICK),
        default=list(QUICK),
        help="run these alone; the section then holds these alone",
    )
    parser.add_argument("--document", metavar="FILE", default=str(DOCUMENT), help="default: docs/benchmarks.md")
    options = parser.parse_args(argv)
    try:
        outputs = {QUICK[name]: run_benchmark(QUICK[name]) for name in options.only}
        rewrite(Path(options.document), section(outputs))
    except (UserError, OSError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
