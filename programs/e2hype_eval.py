#!/usr/bin/env python
"""Write volumes of a run: of particles, classes, latent points, paths or grids."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Write the volumes a run gives to particles, to classes of particles or to points in latent space.

A class is decoded at the mean latent of its particles, which averages the noise of single images
away, or at its medoid, which is a particle's own volume. A path leads over particles from neighbour to
neighbour, so that every volume is of a particle, or straight, through points where there may be none.
Everything goes into RUN/volumes: volumes.txt says what each volume is, volumes.png shows them, and
volumes_plane.png where they lie once e2hype_embed.py has been run. A Gaussian run also gives every
volume as Gaussians: .txt in EMAN2's layout and .pdb."""

EPILOG = """\
examples:
  e2hype_eval.py hype_00 --particles 0,5,9
  e2hype_eval.py hype_00 --particles 100-107 --lowpass 8 --crop 96
  e2hype_eval.py hype_00 --all-classes 10 --box 128
  e2hype_eval.py hype_00 --classes hype_00/classes_particles.txt --centre medoid
  e2hype_eval.py hype_00 --path 12,480,33 --steps 5
  e2hype_eval.py hype_00 --grid 6 --over plane
  e2hype_eval.py hype_01 --latent trajectory.txt --format hdf
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_eval.py")
    parser.add_argument("run", metavar="RUN", help="run folder, such as hype_00")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--particles", type=_indices, metavar="LIST", help="particles by index from 0, such as 0,5,9 or 100-107"
    )
    which.add_argument("--classes", metavar="FILE", help="lines of particle index and class")
    which.add_argument("--latent", metavar="FILE", help="latent points laid out as mid_00.txt: index, then the latent")
    which.add_argument(
        "--all-classes",
        "--all_classes",
        type=int,
        metavar="K",
        help="sort all particles into K classes by k-means of their latents",
    )
    which.add_argument(
        "--path", type=_indices, metavar="A,B,…", help="a way through the latents of these particles, in order"
    )
    which.add_argument("--grid", type=int, metavar="N", help="a grid of N × N points, see --over")
    add = parser.add_argument
    add(
        "--centre",
        choices=("mean", "medoid"),
        help="of a class: its mean latent, or the member nearest to it (default: mean)",
    )
    add(
        "--steps",
        type=int,
        metavar="N",
        help="of a path, from each particle to the next; at most so many by --route graph (default: 10)",
    )
    add(
        "--route",
        choices=("graph", "direct"),
        help="of a path: from neighbour to neighbour, or a straight line (default: graph)",
    )
    add(
        "--over",
        choices=("pc", "plane"),
        help="of a grid: the first two principal components of the latents, 5th to 95th percentile; or the "
        "plane of e2hype_embed.py, by the particle nearest to the middle of each cell (default: pc)",
    )
    add("--box", type=int, metavar="N", help="voxels along each side (default: the run's)")
    add("--apix", type=float, metavar="Å", help="pixel size (default: the run's)")
    add("--lowpass", type=float, metavar="Å", help="filter to this resolution (default: none)")
    add(
        "--crop",
        type=int,
        metavar="N",
        help="keep N voxels about the centre, after all else; the header's origin keeps the place",
    )
    add("--format", choices=("mrc", "hdf"), default="mrc", help="of the volumes")
    add("--output", metavar="FOLDER", help="where to write (default: RUN/volumes)")
    add("--seed", type=int, default=0, metavar="N", help="of k-means")
    add("--batchsz", type=int, default=64, metavar="N", help="particles encoded at once")
    return parser


def _indices(text: str) -> tuple[int, ...]:
    """Parse 0,5,9 and 100-107."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"expected indices such as 0,5,9 or 3-7, got {text!r}")
        found.extend(range(int(first), int(last or first) + 1))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} holds no particle")
    return tuple(found)


def evaluate(options: argparse.Namespace, session: Session) -> None:
    """Write the volumes the options ask for."""
    from libhetero.pipelines.evaluate import EvaluateConfig, run

    config = EvaluateConfig(
        folder=options.run,
        particles=options.particles,
        classes=options.classes,
        latent=options.latent,
        all_classes=options.all_classes,
        path=options.path,
        grid=options.grid,
        centre=options.centre,
        steps=options.steps,
        route=options.route,
        over=options.over,
        box_size=options.box,
        pixel_size=options.apix,
        lowpass=options.lowpass,
        crop=options.crop,
        format=options.format,
        output=options.output,
        seed=options.seed,
        batch_size=options.batchsz,
    )
    result = run(config, session.progress)
    count, first, last = len(result.volumes), result.volumes[0], result.volumes[-1]
    print(f"wrote {count} volume(s), {first}" + (f" … {last.name}" if count > 1 else ""))
    print(f"{result.table} says what they are\nlook at {result.figure}")
    if result.plane is not None:
        print(f"look at {result.plane}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, evaluate)


if __name__ == "__main__":
    sys.exit(main())
