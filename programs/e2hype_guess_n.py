#!/usr/bin/env python
"""Fit a starting Gaussian mixture to a map or an atomic model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Fit Gaussians to a map or an atomic model: the neutral model that e2hype_refine.py changes.

K-means places them in the density above a threshold; then positions, amplitudes and widths are
refined until their map correlates with the given one. Writes EMAN2's Gaussian text and a .pdb."""

EPILOG = """\
examples:
  e2hype_guess_n.py consensus.mrc gmm.txt
  e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 1024 --threshold 0.02
  e2hype_guess_n.py model.cif gmm.txt --box 128 --apix 2.5
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_guess_n.py")
    add = parser.add_argument
    add("source", metavar="MAP|MODEL", help=".mrc, .map, .hdf, or .pdb, .cif; also gzipped")
    add("output", metavar="OUT.txt", help="Gaussians to write")
    add("--ngauss", type=int, metavar="N",
        help="how many (default: one every 1.5 voxels of the molecule, 64 to 4096)")  # fmt: skip
    add("--threshold", type=float, metavar="X",
        help="density that holds the molecule (default: mean + 2 standard deviations)")  # fmt: skip
    add("--box", type=int, metavar="N", help="pixels, for an atomic model")
    add("--apix", type=float, metavar="Å", help="pixel size, for a model or in place of the map's")
    add("--niter", type=int, default=200, metavar="N", help="steps of the fit")
    add("--seed", type=int, default=0, metavar="N", help="of k-means")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, _call)


def _call(options: argparse.Namespace, session: Session) -> None:
    from libhetero.pipelines.guess import GuessConfig, run

    config = GuessConfig(
        source=options.source,
        output=options.output,
        count=options.ngauss,
        threshold=options.threshold,
        box_size=options.box,
        pixel_size=options.apix,
        steps=options.niter,
        seed=options.seed,
    )
    run(config, session.progress)


if __name__ == "__main__":
    sys.exit(main())
