#!/usr/bin/env python
"""Find the regions of a Gaussian run and the classes of particles in each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.segment import RegionConfig, SegmentConfig, run

DESCRIPTION = """\
Find the regions of a complex that change together, and sort the particles by each of them.

Every Gaussian is a vector of its change over all particles. Those that hardly change are the
constant core (region 0); the others are embedded by UMAP and clustered by DBSCAN, with eps (the distance
of neighbours) chosen from the data (--auto, the default) and the clusters merged, split and weighed by
what they change in common. A region is reported where the particles' images bear it out beyond what
noise alone gives (--pvalue) and both half-sets agree; where none is, none is written. Then, region by region, particles
are sorted by that region's outputs alone, into classes where they are told apart; a continuum has a
coordinate and no classes. Writes into the run folder:
  index.html (all of it on one page), regions.json (what speaks for each region), regions.txt (EMAN2
  Gaussians, sixth column the region), regions.pdb, .mrc, .cxc (ChimeraX), masks/region_NN.mrc and .hdf,
  embed_region_NN.txt (coordinates) and _sd.txt, classes_region_NN.txt, region_NN_class_MM.lst and .star,
  volumes/ (Gaussians of classes, difference maps) and figures.
There other programs find the latest; what each call found is kept in RUN/segmentations/NAME (--name), and
RUN/results.html lists all.
Whether the regions are there: e2hype_validate.py."""

EPILOG = """\
examples:
  e2hype_segment.py hype_01 --auto
  e2hype_segment.py hype_01 --feature motion --classes 5
  e2hype_segment.py hype_01 --eps 0.8 --min_size 20
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_segment.py", DESCRIPTION, EPILOG, SegmentConfig, RegionConfig, FigureConfig)


def segment(options: argparse.Namespace, session: Session) -> None:
    """Segment as the options say."""
    regions = configuration_of(options, RegionConfig)
    result = run(configuration_of(options, SegmentConfig, regions=regions), session.progress)
    print(f"{result.record.count} region(s) change together, by {result.feature}")
    lists = " and the particle lists of the classes" if any(one.classes for one in result.record.regions) else ""
    print(f"wrote {len(result.files)} files{lists}")
    print(f"look at {result.page}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, segment)


if __name__ == "__main__":
    sys.exit(main())
