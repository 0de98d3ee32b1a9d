"""Seconds on the clock and of processor time, and peak memory, of each stage of the demo.

    python benchmarks/path.py --json path.json        about 5 minutes on two cores

Runs the programs of e2hype_demo.py, one process a stage, and prints one table.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

from harness import environment

from libhetero.configuration import write_json
from libhetero.demo.configuration import DemoConfig
from libhetero.demo.recipe import run
from libhetero.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Run the demo's stages, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the table here too")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = run(DemoConfig(str(Path(folder) / "demo"))).results
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"\n{'stage':<32}{'seconds':>9}{'processor':>11}{'peak MiB':>10}")
    for result in results:
        print(_line(result.name, result.seconds, result.processor_seconds or 0, result.peak_bytes))
    total = sum(result.seconds for result in results)
    processor = sum(result.processor_seconds or 0 for result in results)
    print(_line("all", total, processor, max(result.peak_bytes for result in results)))
    if options.json:
        report = {**environment(), "stages": [dataclasses.asdict(result) for result in results], "seconds": total}
        write_json(Path(options.json), report)
    return 0


def _line(name: str, seconds: float, processor: float, peak_bytes: int) -> str:
    """Return a line of the table."""
    return f"{name:<32}{seconds:9.1f}{processor:11.1f}{peak_bytes / 2**20:10.0f}"


if __name__ == "__main__":
    sys.exit(main())
