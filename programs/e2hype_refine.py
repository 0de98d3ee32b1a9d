#!/usr/bin/env python
"""Train a heterogeneity model on a particle set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, given, next_run_folder, run_program, write_params_json
from libhetero.cli.refine_options import DATA, MODEL, TRAINING, add_refine_options

DESCRIPTION = """Train a heterogeneity model on particles with known poses and CTF.

By default a CryoHype hypernetwork, which gives every image a neural volume of its own. With
--pointtransformer or --decoder mlp, Gaussians (--model) that move, fade and widen. Everything
lands in the next run folder, hype_NN."""

EPILOG = """examples:
  e2hype_refine.py particles.star --datadir /data --niter 30
  e2hype_refine.py particles.lst --pointtransformer --model gmm.txt
  e2hype_refine.py particles.mrcs --poses poses.pkl --ctf ctf.pkl --hype_preset small
  e2hype_refine.py --resume hype_03
  e2hype_refine.py particles.star --path hype_04 --coordinator node01:5000 --nprocs 2 --procid 0
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_refine.py")
    parser.add_argument(
        "particles", nargs="?", help=".star, .cs, .lst, .hdf, .mrcs or .txt; may be left out with --resume"
    )
    add_refine_options(parser)
    return parser


def refine(options: argparse.Namespace, session: Session) -> None:
    """Train as the options say."""
    from libhetero.pipelines.refine import RefineConfig, run

    model = given(options, *MODEL)
    if options.minres or options.maxres:
        model["resolution"] = (options.minres or 0.0, options.maxres or 0.0)
    training = given(options, *TRAINING)
    automatic = training.get("batch_size") == "auto"
    if automatic:
        del training["batch_size"]
    config = RefineConfig(
        particles=options.particles,
        family="gmm" if options.decoder else None,
        preset=options.preset,
        model=model,
        settings=tuple(options.settings or ()),
        training=training,
        data=given(options, *DATA),
        contrast=options.contrast,
        preprocess=given(options, "box_size", "normalise"),
        folder=options.path,
        resume=options.resume,
        automatic_batch=automatic,
        tensorboard=options.tensorboard,
        requeue=options.requeue,
        processes=(options.coordinator, options.nprocs, options.procid),
    )
    if options.dry_run:
        from libhetero.pipelines.run.budget import dry_run

        budget = dry_run(config, session.joined)
        if not session.voice.quiet:
            print(*budget.lines(), sep="\n")
        return
    run(
        config,
        new_folder=next_run_folder,
        started=lambda folder: write_params_json(folder, "e2hype", options),
        progress=session.progress,
        joined=session.joined,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0, 1 for a mistake in files or values, 2 for a wrong option."""
    return run_program(build_parser(), argv, refine)


if __name__ == "__main__":
    sys.exit(main())
