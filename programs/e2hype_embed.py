#!/usr/bin/env python
"""Embed the particles, or the Gaussians, of a run in a plane."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.embed import EmbedConfig, run

DESCRIPTION = """\
Embed the particles of a run in a plane by their latents: similar structures lie together.

With --gaussians, embed the Gaussians of a Gaussian run instead: each is a vector of its change over
all particles, so Gaussians that come and go, or move, together lie together. Writes
embed_particles.txt or embed_gaussians.txt (index x y) and a .png into the run folder, where other programs
find the latest, and keeps what each call found in RUN/embeddings/NAME (--name). RUN/results.html lists all.

--classes sorts the particles too, by a mixture of Gaussians of their latents (at most 100 numbers, after
PCA), begun by k-means for K classes. auto finds how many there are, 1 to 1000: classes are told apart
where fewer particles are between them than in either, along the directions that tell any apart; one
blob, an arc or another continuum is 1 class, whose latent is a coordinate to look along
(e2hype_eval.py --path). Where CryoHype's training began with several molecules, auto takes these.
--class_method hdbscan takes the islands of the plane instead, however many there are, and leaves particles
between them in no class (-1). Classes go to classes_particles.txt (index,
class, and by --classes the probability of being of that class), and the figure shows the plane by
density, by class with numbers at medoids (the particle nearest to the mean of its class), and by what
is known of the particles (--truth, --labels)."""

EPILOG = """\
examples:
  e2hype_embed.py hype_00                    UMAP of the particles
  e2hype_embed.py hype_00 --method pca       first two principal components
  e2hype_embed.py hype_00 --classes 10 --lists
                                             ten classes, and a particle list for each
  e2hype_embed.py hype_00 --class_method hdbscan --min_size 200
  e2hype_embed.py hype_00 --classes auto --name by_itself
  e2hype_embed.py hype_01 --gaussians        Gaussians over all particles
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_embed.py", DESCRIPTION, EPILOG, EmbedConfig, FigureConfig)


def embed(options: argparse.Namespace, session: Session) -> None:
    """Embed as the options say."""
    result = run(configuration_of(options, EmbedConfig), session.progress)
    if result.figure is not None:
        print(f"wrote {result.table}\nlook at {result.figure}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, embed)


if __name__ == "__main__":
    sys.exit(main())
