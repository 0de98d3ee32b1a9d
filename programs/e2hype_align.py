#!/usr/bin/env python
"""Write lists of particles in which a region of a Gaussian run stands still."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.align import AlignConfig, run

DESCRIPTION = """\
Write, for each region of a segmented Gaussian run, a list of all particles with the poses of that region
in place of the molecule's: the rigid motion of its Gaussians in every particle is put into the pose, so
that the region stands still in a map of the list, and what moves against it is blurred.

Writes RUN/aligned: region_NN.lst and .star, and .cs where the particles came from one, with all columns
of the original list; region_NN_motion.txt, how the region is turned and where its middle goes in each
particle; and motion.bild, arrows of the main motions, for ChimeraX beside RUN/regions.mrc.
--refine refines the poses against the images, with everything else as it is decoded, and the other
regions where they were refined to. --subtract takes everything else, as it is decoded, off copies of
the images, for refinement in other programs. Of a run with a symmetry, lists hold each image once for
every unit of the complex; maps of them are made without --sym.
A map of each list, in the region's mask: e2hype_make3d.py --mask."""

EPILOG = """\
examples:
  e2hype_align.py hype_00
  e2hype_align.py hype_00 --region 2 --refine
  e2hype_make3d.py hype_00/aligned/region_02.star region_02.mrc --mask hype_00/masks/region_02.mrc
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_align.py", DESCRIPTION, EPILOG, AlignConfig)


def align(options: argparse.Namespace, session: Session) -> None:
    """Align as the options say."""
    result = run(configuration_of(options, AlignConfig), session.progress)
    names = [table.name.removesuffix("_motion.txt") for table in result.tables]
    print(f"wrote lists of {len(names)} region(s) into {result.folder}: {', '.join(names)}")
    print(f"arrows of their motion: chimerax {result.arrows}")
    listed, mask = result.folder / f"{names[0]}.lst", result.masks[0]
    print(f"a map of one of them: e2hype_make3d.py {listed} {names[0]}.mrc --mask {mask}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, align)


if __name__ == "__main__":
    sys.exit(main())
