#!/usr/bin/env python
"""Reconstruct a map from particles with known poses and CTF."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Reconstruct one map from all particles of a list, by CTF-weighted backprojection.

Writes OUT.mrc, its half-maps OUT_half1.mrc and OUT_half2.mrc (half-sets of the list where it has
them, every other particle otherwise) and OUT_fsc.txt. Use it for the consensus that
e2hype_guess_n.py starts from, or on a class written by e2hype_segment.py."""

EPILOG = """\
examples:
  e2hype_make3d.py particles.star consensus.mrc
  e2hype_make3d.py hype_00/region_01_class_00.lst class0.mrc
  e2hype_make3d.py particles.mrcs map.mrc --poses poses.pkl --ctf ctf.pkl
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_make3d.py")
    add = parser.add_argument
    add("particles", help=".star, .cs, .lst, .hdf, .mrcs or .txt")
    add("output", metavar="OUT", help="map to write, .mrc or .hdf")
    add("--datadir", metavar="FOLDER", help="where the list's relative paths start")
    add("--apix", type=float, metavar="Å", help="in place of the files' own")
    add("--poses", metavar="PKL", help="cryoDRGN poses")
    add("--ctf", metavar="PKL", help="cryoDRGN CTF parameters")
    add("--ind", metavar="PKL", help="cryoDRGN indices of the particles to use")
    add("--noctf", action="store_true", help="the images carry no CTF")
    sign = parser.add_mutually_exclusive_group()
    sign.add_argument("--invert", action="store_const", const=-1, dest="contrast",
        help="protein is dark (default: estimated from the images)")  # fmt: skip
    sign.add_argument("--noinvert", action="store_const", const=1, dest="contrast",
        help="protein is white")  # fmt: skip
    add("--box", type=int, metavar="N", help="Fourier crop to N pixels (default: the stack's)")
    add("--sym", default="c1", metavar="GROUP", help="symmetry: c4, d2, t, o, i … (default: c1)")
    add("--batchsz", type=int, default=64, metavar="N", help="images inserted at once")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, _call)


def _call(options: argparse.Namespace, session: Session) -> None:
    from libhetero.pipelines.make3d import Make3dConfig, run
    from libhetero.pipelines.run_folder import DataConfig, PreprocessConfig

    data = DataConfig(
        options.particles,
        datadir=options.datadir,
        pixel_size=options.apix,
        poses=options.poses,
        ctf=options.ctf,
        indices=options.ind,
        no_ctf=options.noctf,
        preprocess=PreprocessConfig(box_size=options.box),
    )
    config = Make3dConfig(
        data, options.output, options.contrast, options.batchsz, symmetry=options.sym
    )
    run(config, session.progress)


if __name__ == "__main__":
    sys.exit(main())
