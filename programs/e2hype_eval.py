#!/usr/bin/env python
"""Write volumes of a run: of particles, classes, latent points, paths or grids."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.evaluate import EvaluateConfig, run

DESCRIPTION = """\
Write the volumes a run gives to particles, to classes of particles or to points in latent space.

A class is decoded at the mean latent of its particles, which averages the noise of single images
away, or at its medoid, which is a particle's own volume. A path leads over particles from neighbour to
neighbour, so that every volume is of a particle, or straight, through points where there may be none.
Every evaluation has a folder of its own in RUN/volumes, named by what it shows or by --name: volumes.txt
says what each volume is, volumes.png shows them, volumes.cxc opens them in ChimeraX at one level, and
volumes_plane.png shows where they lie once e2hype_embed.py has been run. A Gaussian run also gives
every volume as Gaussians: .txt in EMAN2's layout and .pdb."""

EPILOG = """\
examples:
  e2hype_eval.py hype_00 --particles 0,5,9
  e2hype_eval.py hype_00 --particles 100-107 --lowpass 8 --crop 96
  e2hype_eval.py hype_00 --all_classes 10 --box 128
  e2hype_eval.py hype_00 --classes hype_00/classes_particles.txt --centre medoid
  e2hype_eval.py hype_00 --path 12,480,33 --steps 5
  e2hype_eval.py hype_00 --path 12,480 --steps 20 --movie
  e2hype_eval.py hype_00 --grid 6 --over plane
  e2hype_eval.py hype_01 --latent trajectory.txt --format hdf
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_eval.py", DESCRIPTION, EPILOG, EvaluateConfig, FigureConfig)


def evaluate(options: argparse.Namespace, session: Session) -> None:
    """Write the volumes the options ask for."""
    result = run(configuration_of(options, EvaluateConfig), session.progress)
    count, first, last = len(result.volumes), result.volumes[0], result.volumes[-1]
    print(f"wrote {count} volume(s), {first}" + (f" … {last.name}" if count > 1 else ""))
    print(f"{result.table} says what they are\nlook at {result.figure}, or: chimerax {result.script}")
    if result.movie is not None:
        print(f"look at {result.movie}")
    if result.plane is not None:
        print(f"look at {result.plane}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, evaluate)


if __name__ == "__main__":
    sys.exit(main())
