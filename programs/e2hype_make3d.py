#!/usr/bin/env python
"""Reconstruct a map, or one for each class, from particles with known poses and CTF."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from libhetero.cli import Session, common_parser, run_program
from libhetero.cli.parser import given
from libhetero.errors import ConfigurationError

if TYPE_CHECKING:
    from libhetero.pipelines.run.data import DataConfig

DESCRIPTION = """\
Reconstruct one map from all particles of a list, or one from each class, by CTF-weighted backprojection.

Writes OUT.mrc, its half-maps OUT_half1.mrc and OUT_half2.mrc (half-sets of the list where it has
them, every other particle otherwise) and OUT_fsc.txt. Use it for the consensus that
e2hype_guess_n.py starts from, or on a class written by e2hype_segment.py or e2hype_embed.py.

With --classes, OUT is a folder: class_03.mrc, its half-maps and its table of FSC for each class,
resolution.txt and fsc.png of all classes. With a run folder in place of the list, the particles are
those of the run as it saw them, and the volume that the run gives the class is written too and
compared: where class_03_network.mrc agrees with class_03.mrc (FSC 0.5) as far as the half-maps with
each other (FSC 0.143), the data bear it out. Both come from the same images, so agreement beyond that is
of noise."""

EPILOG = """\
examples:
  e2hype_make3d.py particles.star consensus.mrc
  e2hype_make3d.py hype_00/region_01_class_00.lst class0.mrc
  e2hype_make3d.py hype_00 hype_00/maps --classes hype_00/classes_particles.txt
  e2hype_make3d.py particles.star maps --classes classes.txt
  e2hype_make3d.py particles.mrcs map.mrc --poses poses.pkl --ctf ctf.pkl
"""

OF_LIST = ("datadir", "apix", "poses", "ctf", "ind", "noctf", "contrast", "box")
SIGN = {-1: "invert", 1: "noinvert"}


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_make3d.py")
    add = parser.add_argument
    add("particles", help=".star, .cs, .lst, .hdf, .mrcs or .txt; with --classes a run folder too")
    add("output", metavar="OUT", help="map to write, .mrc or .hdf; with --classes a folder")
    add("--classes", metavar="FILE", help="lines of particle index and class: a map for each class, -1 is none")
    add(
        "--centre",
        choices=("mean", "medoid"),
        help="with --classes of a run: its volume at the class's mean latent, or of the member nearest to it "
        "(default: mean)",
    )
    add("--datadir", metavar="FOLDER", help="where the list's relative paths start")
    add("--apix", type=float, metavar="Å", help="in place of the files' own")
    add("--poses", metavar="PKL", help="cryoDRGN poses")
    add("--ctf", metavar="PKL", help="cryoDRGN CTF parameters")
    add("--ind", metavar="PKL", help="cryoDRGN indices of the particles to use")
    add("--noctf", action="store_true", help="the images carry no CTF")
    sign = parser.add_mutually_exclusive_group()
    sign.add_argument(
        "--invert",
        action="store_const",
        const=-1,
        dest="contrast",
        help="protein is dark (default: estimated from the images)",
    )
    sign.add_argument("--noinvert", action="store_const", const=1, dest="contrast", help="protein is white")
    add("--box", type=int, metavar="N", help="Fourier crop to N pixels (default: the stack's)")
    add("--sym", default="c1", metavar="GROUP", help="symmetry: c4, d2, t, o, i … (default: c1)")
    add("--batchsz", type=int, default=64, metavar="N", help="images inserted at once")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, _call)


def _call(options: argparse.Namespace, session: Session) -> None:
    from libhetero.pipelines.make3d import Make3dConfig, run

    if options.classes is not None:
        _call_classes(options, session)
        return
    if options.centre is not None:
        raise ConfigurationError("--centre goes with --classes; leave it out, or give classes.")
    if _is_run(options.particles):
        raise ConfigurationError(
            f"{options.particles}: a run folder; expected a particle list, or --classes to reconstruct "
            "the run's classes."
        )
    config = Make3dConfig(_data(options), options.output, options.contrast, options.batchsz, symmetry=options.sym)
    run(config, session.progress)


def _call_classes(options: argparse.Namespace, session: Session) -> None:
    from libhetero.pipelines.make3d_classes import ClassMapsConfig, run

    trained = _is_run(options.particles)
    unwanted = given(options, *OF_LIST) if trained else {}
    if unwanted:
        names = [SIGN[value] if name == "contrast" else name for name, value in unwanted.items()]
        raise ConfigurationError(
            f"{options.particles}: a run folder, whose particles are prepared as they were in training; "
            f"leave out the options of a list ({', '.join(f'--{name}' for name in names)})."
        )
    config = ClassMapsConfig(
        options.classes,
        options.output,
        data=None if trained else _data(options),
        run=options.particles if trained else None,
        centre=options.centre,
        contrast=options.contrast,
        batch_size=options.batchsz,
        symmetry=options.sym,
    )
    result = run(config, session.progress)
    print(f"wrote {len(result.classes)} maps and {result.table}\nlook at {result.figure}")


def _is_run(path: str) -> bool:
    return (Path(path) / "config.json").is_file()


def _data(options: argparse.Namespace) -> DataConfig:
    from libhetero.pipelines.run.data import DataConfig
    from libhetero.training.configuration import PreprocessConfig

    return DataConfig(
        options.particles,
        datadir=options.datadir,
        pixel_size=options.apix,
        poses=options.poses,
        ctf=options.ctf,
        indices=options.ind,
        no_ctf=options.noctf,
        preprocess=PreprocessConfig(box_size=options.box),
    )


if __name__ == "__main__":
    sys.exit(main())
