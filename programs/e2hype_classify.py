#!/usr/bin/env python
"""Sort the particles of a mixture into classes, with a map of each; no network is trained."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.classify import ClassifyConfig, run

DESCRIPTION = """\
Find which molecules a set of particles holds, how many, and which molecule each image is of.

Poses and CTF must be known; nothing else is asked. A subspace of volumes on the low Fourier rings is
solved for, particles are sorted in it, classes are split where the evidence asks for two, and joined
where one map predicts images that it was not made of as well as two do: so their number is found.
Minutes on two cores for ten thousand particles. Particles that show none of the molecules go to
ptcls_junk.lst and .star, and the contrast of each particle is estimated.

Writes into the folder OUT: classes.txt (index, class, probability; -1 for junk), a list of each class
(class_03.lst and .star), its map and half-maps, the particles' contrast and evidence (particles.txt),
classification.json, and index.html, which shows it all. Class 0 has the most particles, class 1 the
next most, and so on. The number says nothing else: another run may give the same molecule another one.

For continuous change of the molecules, train CryoHype on all particles (e2hype_refine.py particles.star
--classes OUT begins with these classes; the last line names the whole command), or the Gaussians on one
class."""

EPILOG = """\
examples:
  e2hype_classify.py particles.star classes
  e2hype_classify.py particles.star classes --nomaps
  e2hype_classify.py particles.star ten --classes 10
  e2hype_classify.py particles.mrcs classes --poses poses.pkl --ctf ctf.pkl
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_classify.py", DESCRIPTION, EPILOG, ClassifyConfig, FigureConfig)


def classify(options: argparse.Namespace, session: Session) -> None:
    """Classify as the options say."""
    result = run(configuration_of(options, ClassifyConfig), session.progress)
    several = "es, numbered from the one of most particles" if result.count != 1 else ""
    print(f"found {result.count} class{several}\nlook at {result.page}")
    print(f"to train CryoHype from these classes: {result.training}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, classify)


if __name__ == "__main__":
    sys.exit(main())
