#!/usr/bin/env python
"""Find the regions of a Gaussian run and the classes of particles in each."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Find the regions of a complex that change together, and sort the particles by each of them.

Every Gaussian is a vector of its change over all particles. Those that hardly change are the
constant core (region 0); the others are embedded by UMAP and clustered by DBSCAN, with eps chosen
from the data (--auto, the default) and the clusters merged, split and weighed by what they change in
common. Then, region by region, particles are sorted by that region's outputs alone. Writes into the
run folder:
  index.html (all of it on one page), regions.txt (EMAN2 Gaussians, sixth column the region),
  regions.pdb, .mrc, .cxc (ChimeraX), masks/region_NN.mrc and .hdf, classes_region_NN.txt,
  region_NN_class_MM.lst and .star, volumes/ (Gaussians of classes, difference maps) and figures."""

EPILOG = """\
examples:
  e2hype_segment.py hype_01 --auto
  e2hype_segment.py hype_01 --feature motion --classes 5
  e2hype_segment.py hype_01 --eps 0.8 --min_size 20
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_segment.py")
    parser.add_argument("run", metavar="RUN", help="run folder of a Gaussian model")
    add = parser.add_argument_group("regions").add_argument
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--auto", action="store_true", help="choose eps from the data (default)")
    choice.add_argument(
        "--eps", type=float, metavar="X", help="DBSCAN's eps in the embedding; its clusters are then taken as they are"
    )
    add("--method", choices=("dbscan", "hdbscan"), default="dbscan", help="how to cluster")
    add(
        "--feature",
        choices=("auto", "amplitude", "motion", "both"),
        default="auto",
        help="what changes of a Gaussian; auto takes the larger",
    )
    add(
        "--min_size",
        type=int,
        metavar="N",
        help="fewest Gaussians of a region (default: a hundredth of all, at least 5)",
    )
    add(
        "--constant",
        type=float,
        metavar="X",
        help="change below which a Gaussian or a region is constant; 0.5 is a piece in half of the "
        "particles, 1 motion by one sigma (default: by the strong changes)",
    )
    add("--neighbours", type=int, metavar="N", help="UMAP's neighbours (default: 5 to 15)")
    add("--memory", type=float, default=4.0, metavar="GiB", help="for the covariance of Gaussians")
    add = parser.add_argument_group("particles").add_argument
    add("--classes", type=int, metavar="K", help="classes a region (default: chosen, 1 to 8)")
    add("--class_method", choices=("kmeans", "hdbscan"), default="kmeans", help="how to sort")
    add("--components", type=int, default=4, metavar="N", help="coordinates a region and particle")
    add("--batchsz", type=int, default=64, metavar="N", help="particles at once")
    add("--seed", type=int, default=0, metavar="N", help="of UMAP and k-means")
    return parser


def segment(options: argparse.Namespace, session: Session) -> None:
    """Segment as the options say."""
    from libhetero.pipelines.segment import SegmentConfig, run

    config = SegmentConfig(
        folder=options.run,
        method=options.method,
        eps=options.eps,
        feature=options.feature,
        min_size=options.min_size,
        constant=options.constant,
        neighbours=options.neighbours,
        seed=options.seed,
        classes=options.classes,
        class_method=options.class_method,
        components=options.components,
        batch_size=options.batchsz,
        memory=options.memory,
    )
    result = run(config, session.progress)
    print(f"{result.regions.count} region(s) change together, by {result.feature}")
    print(f"wrote {len(result.files)} files and the particle lists of the classes")
    print(f"look at {result.page}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, segment)


if __name__ == "__main__":
    sys.exit(main())
