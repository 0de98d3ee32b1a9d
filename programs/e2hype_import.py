#!/usr/bin/env python
"""Import particles from RELION, cryoSPARC, cryoDRGN or EMAN2 into a project list, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

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
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_import.py")
    parser.add_argument("particles", help=".star, .cs, .lst, .hdf, .mrcs, .mrc or .txt")
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--output", metavar="FILE", help="list to write, .lst, .star or .cs (default: NAME.lst in the current folder)"
    )
    output.add_argument("--lst2star", metavar="FILE", help="export as this RELION .star")
    output.add_argument("--lst2cs", metavar="FILE", help="export as this cryoSPARC .cs")
    parser.add_argument(
        "--datadir",
        metavar="FOLDER",
        help="look for stacks here first (default: the list's folder, then the current one)",
    )
    parser.add_argument(
        "--apix", type=float, metavar="A", help="pixel size in Å, in place of the files' own (default: theirs)"
    )
    parser.add_argument("--poses", metavar="PKL", help="cryoDRGN's poses (default: the list's)")
    parser.add_argument("--ctf", metavar="PKL", help="cryoDRGN's CTF (default: the list's)")
    parser.add_argument("--ind", metavar="PKL", help="cryoDRGN's choice of particles (default: all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""

    def call(options: argparse.Namespace, session: Session) -> None:
        from libhetero.pipelines.importing import ImportConfig, run
        from libhetero.pipelines.run.data import DataConfig

        data = DataConfig(
            options.particles,
            datadir=options.datadir,
            pixel_size=options.apix,
            poses=options.poses,
            ctf=options.ctf,
            indices=options.ind,
        )
        output = options.output or options.lst2star or options.lst2cs
        report = run(ImportConfig(data, output))
        for name, finding in report.lines:
            print(f"{name:14s} {finding}")
        print(report.contrast.describe())
        for warning in report.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"wrote          {report.output}")

    return run_program(build_parser(), argv, call)


if __name__ == "__main__":
    sys.exit(main())
