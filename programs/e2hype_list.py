#!/usr/bin/env python
"""Combine lists of particles, choose from them, and write them in any format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.lists import COMBINED, ListConfig, run

DESCRIPTION = """\
Combine lists of particles, choose from them by class, value or at random, and write what is left.

Lists of any format may be mixed. The same particle is the one with the same image: stack and number, or
the uid where all lists are of cryoSPARC. Rows keep all columns of the list that they come from. A particle
may also be named by its number from 0 in the first list, or in the list given with --of: in a .txt, or in a
.pkl of numbers or truth values as cryoDRGN keeps them.

Order: lists are combined; then those are kept that fulfil all of --ind, --classes, --half, --min, --max and
--equal; then --complement, --random and --split. Without --output nothing is written, and it is told how many
particles are left. With --particles3d every list written has rows of a list of 3-D particles, as of RELION's
subtomograms, in place of those of their tilt images.

Columns are labels of a .star (rlnDefocusU), columns of a .cs (alignments3D/error), keys of a .lst, and of
every list: defocus and astigmatism (µm), phase_shift (degrees), voltage (kV), shift (Å), tilt (degrees), half
(1 or 2), box, pixel_size (Å), image, stack; of tilt series stage_tilt (degrees, without its sign), exposure
(e-/Å²) and series (the particle, from 0). --table RUN adds those that a run wrote: contrast, contrast_sd,
evidence, junk (probability of showing nothing of the molecule), class, probability, latent0 …, x, y (the
plane of e2hype_embed.py), region_01_class, region_01_0 … --columns names them all. A .star or .lst that is
written with --table RUN has the run's contrast and junk as columns (libheteroContrast and libheteroJunk;
hetero_particle_contrast and hetero_junk), and a list that has them keeps them in any other of these formats."""

EPILOG = """\
examples:
  e2hype_list.py a.star b.star                                         how many particles they share
  e2hype_list.py a.star b.star --union --output both.star
  e2hype_list.py all.star bad.star --difference --output good.star
  e2hype_list.py particles.star good.pkl --intersection --output good.star   cryoDRGN's indices
  e2hype_list.py particles.star --ind good.pkl --complement --output rest.star --output rest.pkl
  e2hype_list.py run_data.star --classes 1,3,5 --output good.star      by rlnClassNumber
  e2hype_list.py particles.lst --classes 0,2 --class_from hype_00/classes_particles.txt --output good.cs
  e2hype_list.py particles.star --table hype_00 --max junk=0.5 --min contrast=0.7 --output clean.star
  e2hype_list.py particles.star --min defocus=0.8 --max defocus=2.5 --equal rlnOpticsGroup=1,2 --output some.star
  e2hype_list.py particles.star --random 10% --seed 1 --output tenth.star
  e2hype_list.py particles.star --split half --output set.star         set_half_1.star and set_half_2.star
  e2hype_list.py hype_00/class_03.star --particles3d run_data.star --output class_03_3d.star   of tilt series
  e2hype_list.py hype_00/class_03.lst --of particles.star --output class_03.pkl --booleans
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_list.py", DESCRIPTION, EPILOG, ListConfig, headings=(COMBINED,))


def choose(options: argparse.Namespace, session: Session) -> None:
    """Choose as the options say, and tell how many particles are left at each step."""
    report = run(configuration_of(options, ListConfig))
    width = max(len(what) for what, _, _ in report.lines)
    for what, count, remark in report.lines:
        print(f"{what:{width}s} {count:9d} particles{f', {remark}' if remark else ''}")
    if report.columns:
        print(f"columns: {' '.join(report.columns)}")
    for path, count in report.outputs:
        print(f"wrote {path}, {count} particles")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, choose)


if __name__ == "__main__":
    sys.exit(main())
