#!/usr/bin/env python
"""Reconstruct a map, or one for each class, from particles with known poses and CTF."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.make3d import Make3dConfig, run

DESCRIPTION = """\
Reconstruct one map from all particles of a list, or one from each class, by CTF-weighted backprojection.

Writes OUT.mrc, its half-maps OUT_half1.mrc and OUT_half2.mrc (half-sets of the list where it has
them, every other particle otherwise), OUT_fsc.txt and OUT_fsc.png. --mask adds the FSC within a mask, as it is, with
random phases, and corrected by that, as RELION's postprocessing; --bfactor writes OUT_sharpened.mrc,
--local_resolution OUT_local_resolution.mrc, whose values are the Å to which the half-maps agree there. Use
it for the consensus that e2hype_guess_n.py starts from, or on a class written by e2hype_segment.py or e2hype_embed.py.

With --deform RUN, a Gaussian run of the same particles (or of more), every image is put back along the displacements
that the run decodes for its particle: one map of all particles, as if none of them moved, in whatever box the list's
images have. The half-maps then share the run's network; compare with the map without --deform.
Here and with --probabilities, images count by 1 less the probability of being junk, which the list states
or, where it has no such column, the run.

With --probabilities, as e2hype_segment.py writes them for each region, there is a map for each class in which every
image counts by the probability that it is of that class: present and absent of a piece, without hard classes.

With --classes, OUT is a folder: class_03.mrc, its half-maps and its table of FSC for each class,
resolution.txt and fsc.png of all classes. With a run folder in place of the list, the particles are
those of the run as it saw them, and the volume that the run gives the class is written too and
compared: where class_03_network.mrc agrees with class_03.mrc (FSC 0.5) as far as the half-maps with
each other (FSC 0.143), the data bear it out. Both come from the same images, so agreement beyond that is
of noise."""

EPILOG = """\
examples:
  e2hype_make3d.py particles.star consensus.mrc
  e2hype_make3d.py particles.star consensus.mrc --mask mask.mrc --bfactor auto --local_resolution
  e2hype_make3d.py hype_00/region_01_class_00.lst class0.mrc
  e2hype_make3d.py particles.star still.mrc --deform hype_00
  e2hype_make3d.py hype_00 hype_00/maps --classes hype_00/classes_particles.txt
  e2hype_make3d.py particles.star maps --classes classes.txt
  e2hype_make3d.py particles.star occupancy --probabilities hype_00/probabilities_region_01.txt
  e2hype_make3d.py particles.mrcs map.mrc --poses poses.pkl --ctf ctf.pkl
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_make3d.py", DESCRIPTION, EPILOG, Make3dConfig, FigureConfig)


def make3d(options: argparse.Namespace, session: Session) -> None:
    """Reconstruct as the options say."""
    result = run(configuration_of(options, Make3dConfig), session.progress)
    if result.table is not None:
        print(f"wrote {len(result.maps)} maps and {result.table}")
    print(f"look at {result.figure}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, make3d)


if __name__ == "__main__":
    sys.exit(main())
