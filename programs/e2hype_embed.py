#!/usr/bin/env python
"""Embed the particles, or the Gaussians, of a run in a plane."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Embed the particles of a run in a plane by their latents: similar structures lie together.

With --gaussians, embed the Gaussians of a Gaussian run instead: each is a vector of its change over
all particles, so Gaussians that come and go, or move, together lie together. Writes
embed_particles.txt or embed_gaussians.txt (index x y) and a .png into the run folder."""

EPILOG = """\
examples:
  e2hype_embed.py hype_00                    UMAP of the particles
  e2hype_embed.py hype_00 --method pca       first two principal components
  e2hype_embed.py hype_01 --gaussians        Gaussians over all particles
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_embed.py")
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, such as hype_00")
    add("--gaussians", action="store_true", help="embed Gaussians instead of particles")
    add("--method", choices=("umap", "pca"), default="umap", help="how")
    add("--feature", choices=("auto", "amplitude", "motion", "both"),
        help="with --gaussians: what changes of a Gaussian (default: auto, the larger)")  # fmt: skip
    add("--neighbours", type=int, default=15, metavar="N", help="UMAP's neighbours of each point")
    add("--min_dist", type=float, default=0.1, metavar="X",
        help="UMAP's smallest distance of particles, 0 to 1")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="of UMAP")
    add("--batchsz", type=int, default=64, metavar="N", help="particles at once")
    add("--memory", type=float, metavar="GiB",
        help="with --gaussians: for the covariance (default: 4)")  # fmt: skip
    return parser


def embed(options: argparse.Namespace, session: Session) -> None:
    """Embed as the options say."""
    from libhetero.pipelines.embed import EmbedConfig, run

    config = EmbedConfig(
        folder=options.run,
        gaussians=options.gaussians,
        method=options.method,
        feature=options.feature,
        neighbours=options.neighbours,
        min_distance=options.min_dist,
        seed=options.seed,
        batch_size=options.batchsz,
        memory=options.memory,
    )
    result = run(config, session.progress)
    print(f"wrote {result.table}\nlook at {result.figure}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, embed)


if __name__ == "__main__":
    sys.exit(main())
