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
embed_particles.txt or embed_gaussians.txt (index x y) and a .png into the run folder.

--classes sorts the particles too, by k-means of their latents (at most 100 numbers, after PCA). Where
particles × classes exceeds 2e7, k-means goes through mini-batches: 1000 classes of a million particles
take some minutes. --class_method hdbscan takes the islands of the plane instead, however many there
are, and leaves particles between them in no class (-1). Classes go to classes_particles.txt (index
class), and the figure shows the plane by density, by class with numbers at medoids (the particle
nearest to the mean of its class), and by what is known of the particles (--truth, --labels)."""

EPILOG = """\
examples:
  e2hype_embed.py hype_00                    UMAP of the particles
  e2hype_embed.py hype_00 --method pca       first two principal components
  e2hype_embed.py hype_00 --classes 10 --lists
                                             ten classes, and a particle list for each
  e2hype_embed.py hype_00 --class_method hdbscan --min_size 200
  e2hype_embed.py hype_00 --classes auto --truth sim/truth
  e2hype_embed.py hype_01 --gaussians        Gaussians over all particles
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_embed.py")
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, such as hype_00")
    add("--gaussians", action="store_true", help="embed Gaussians instead of particles")
    add("--method", choices=("umap", "pca"), default="umap", help="how")
    add(
        "--feature",
        choices=("auto", "amplitude", "motion", "both"),
        help="with --gaussians: what changes of a Gaussian (default: auto, the larger)",
    )
    add("--neighbours", type=int, default=15, metavar="N", help="UMAP's neighbours of each point")
    add("--min_dist", type=float, default=0.1, metavar="X", help="UMAP's smallest distance of particles, 0 to 1")
    add("--seed", type=int, default=0, metavar="N", help="of UMAP and of k-means")
    add("--batchsz", type=int, default=64, metavar="N", help="particles at once")
    add("--memory", type=float, metavar="GiB", help="with --gaussians: for the covariance (default: 4)")
    add = parser.add_argument_group("classes of particles").add_argument
    add(
        "--classes",
        type=_classes,
        metavar="K",
        help="sort the particles into K classes by k-means of their latents; auto tries 2 to 20 and takes "
        "the number of best silhouette",
    )
    add(
        "--class_method",
        choices=("kmeans", "hdbscan"),
        help="how to sort (default: kmeans); hdbscan finds the number of classes in the plane",
    )
    add(
        "--min_size",
        type=int,
        metavar="N",
        help="with hdbscan: fewest particles of a class (default: a thousandth of all, at least 10)",
    )
    add("--lists", action="store_true", help="write class_NN.lst and .star for each class")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--truth", metavar="FOLDER", help="truth of a simulated set: its labels colour the figure, and nothing else"
    )
    known.add_argument(
        "--labels", metavar="FILE", help="lines of particle index and label, from another program, to colour the figure"
    )
    return parser


def _classes(text: str) -> int | str:
    """Parse a number of classes, or auto."""
    if text != "auto" and not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of classes, or auto; got {text!r}")
    return text if text == "auto" else int(text)


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
        classes=options.classes,
        class_method=options.class_method,
        min_size=options.min_size,
        lists=options.lists,
        truth=options.truth,
        labels=options.labels,
    )
    result = run(config, session.progress)
    print(f"wrote {result.table}\nlook at {result.figure}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, embed)


if __name__ == "__main__":
    sys.exit(main())
