#!/usr/bin/env python
"""Fit a starting Gaussian mixture to a map or an atomic model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Fit Gaussians to a map or an atomic model: the neutral model that e2hype_refine.py changes.

The molecule is what stands out of the map's background, weak pieces too. Without --ngauss, more and
more Gaussians are fitted, a line each, until 1.6 times as many explain less than 2 % more of the map
(its FSC with them, as far as the map's own noise allows). Writes EMAN2's Gaussian text and, beside it,
a .pdb, the FSC of map and Gaussians as _fsc.txt and a figure of it."""

EPILOG = """\
examples:
  e2hype_guess_n.py consensus.mrc gmm.txt
  e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 1024 --trainmodel --particles particles.lst
  e2hype_guess_n.py consensus.mrc gmm.txt --halfmaps half1.mrc half2.mrc --sym c4
  e2hype_guess_n.py model.cif gmm.txt --box 128 --apix 2.5 --maxres 8
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_guess_n.py")
    add = parser.add_argument
    add("source", metavar="MAP|MODEL", help=".mrc, .map, .hdf, or .pdb, .cif; also gzipped")
    add("output", metavar="OUT.txt", help="Gaussians to write")
    add(
        "--ngauss",
        type=int,
        metavar="N",
        help="how many, of one asymmetric unit (default: as many as explain more, at most 4096)",
    )
    add(
        "--threshold",
        type=float,
        metavar="X",
        help="density that holds the molecule (default: from the background of the smoothed map)",
    )
    add(
        "--maxres",
        type=float,
        metavar="Å",
        help="finest detail fitted (default: where the map ends, by half-maps or its background)",
    )
    add(
        "--halfmaps",
        nargs=2,
        metavar="MAP",
        help="half-maps of the map (default: MAP_half1 and MAP_half2 beside it, if there)",
    )
    add(
        "--sym",
        default="c1",
        metavar="GROUP",
        help="symmetry of the map, c4, d2, t, o, i … (default: c1); the Gaussians are one unit",
    )
    add(
        "--trainmodel",
        action="store_true",
        help="refine at the end against projections of the map, all directions at once",
    )
    add(
        "--particles",
        metavar="LIST",
        help="refine at the very end against these particles, poses and CTFs in the list (.star, .lst, "
        ".cs); one mixture for all of them",
    )
    add("--box", type=int, metavar="N", help="pixels, for an atomic model")
    add("--apix", type=float, metavar="Å", help="pixel size, for a model or in place of the map's")
    add("--niter", type=int, default=200, metavar="N", help="steps of the fit (default: 200)")
    add("--seed", type=int, default=0, metavar="N", help="of the first choice of voxels (default: 0)")
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
        max_resolution=options.maxres,
        half_maps=None if options.halfmaps is None else tuple(options.halfmaps),
        symmetry=options.sym,
        views=options.trainmodel,
        particles=options.particles,
    )
    run(config, session.progress)


if __name__ == "__main__":
    sys.exit(main())
