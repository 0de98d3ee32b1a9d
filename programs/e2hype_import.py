#!/usr/bin/env python
"""Import particles from RELION, cryoSPARC, cryoDRGN or EMAN2 into a project list, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.importing import ImportConfig, run

DESCRIPTION = """\
Import particles into a project list (.lst), or export one.

Reads .star (RELION 3.0, 3.1, 5), .cs (cryoSPARC), .lst and .hdf (EMAN2), .mrcs, or a .txt of
stacks, with cryoDRGN's .pkl tables if given; checks stacks, boxes, pixel sizes, poses and CTF;
says what it found. Images stay where they are. A list exported from an imported one has every
column of the file it came from, and points to the original images."""

EPILOG = """\
examples:
  e2hype_import.py particles.star                        writes particles.lst here
  e2hype_import.py J24_particles.cs --datadir /data/P12  stacks are below /data/P12
  e2hype_import.py stack.mrcs --poses pose.pkl --ctf ctf.pkl --ind ind.pkl
  e2hype_import.py hype_00/class_01.lst --lst2star class_01.star
  e2hype_import.py sets/all.lst --lst2star all.star --stack all.mrcs   images of .hdf stacks, for RELION
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_import.py", DESCRIPTION, EPILOG, ImportConfig)


def import_particles(options: argparse.Namespace, session: Session) -> None:
    """Import as the options say, and tell what was found."""
    report = run(configuration_of(options, ImportConfig))
    for name, finding in report.lines:
        print(f"{name:14s} {finding}")
    print(report.contrast)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"wrote          {report.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, import_particles)


if __name__ == "__main__":
    sys.exit(main())
