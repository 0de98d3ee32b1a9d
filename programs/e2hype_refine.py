#!/usr/bin/env python
"""Train a heterogeneity model on a particle set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from libhetero.cli import (
    Session,
    configuration_of,
    configuration_parser,
    next_run_folder,
    run_program,
    values_given,
    write_params_json,
)
from libhetero.configuration import FigureConfig
from libhetero.pipelines import refine
from libhetero.pipelines.refine import HEADINGS, PARTS, RefineConfig, described_defaults

DESCRIPTION = """Train a heterogeneity model on particles with known poses and CTF.

By default a CryoHype hypernetwork, which gives every image a neural volume of its own. With
--pointtransformer or --decoder mlp, Gaussians (--model) that move, fade and widen. Everything
lands in the next run folder, hype_NN."""

EPILOG = """examples:
  e2hype_refine.py particles.star --datadir /data --niter 30
  e2hype_refine.py particles.lst --pointtransformer --model gmm.txt
  e2hype_refine.py particles.mrcs --poses poses.pkl --ctf ctf.pkl --hype_preset small
  e2hype_refine.py particles.star --classes classes        what e2hype_classify.py found
  e2hype_refine.py --resume hype_03 --niter 40
  e2hype_refine.py particles.star --path hype_04 --coordinator node01:5000 --nprocs 2 --procid 0
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    kinds = (*(kind for each in PARTS.values() for kind in each), RefineConfig)
    parser = configuration_parser(
        "e2hype_refine.py", DESCRIPTION, EPILOG, *kinds, FigureConfig, headings=HEADINGS, defaults=described_defaults()
    )
    parser.set_defaults(coordinator=None)  # says to `run_program` that this program can be one of several processes
    return parser


def train(options: argparse.Namespace, session: Session) -> None:
    """Train as the options say."""
    parts: dict[str, dict[str, object]] = {name: {} for name in PARTS}
    for name, kinds in PARTS.items():
        for kind in kinds:
            parts[name].update(values_given(options, kind))
    config = configuration_of(options, RefineConfig, **parts)
    if config.dry_run:
        refine.dry_run(config, lambda line: session.voice.quiet or print(line, flush=True), session.joined)
        return
    if config.resume is not None:
        session.compiler.keep_in(Path(config.resume))

    def started(folder: Path) -> None:
        session.compiler.keep_in(folder)
        write_params_json(folder, "e2hype", options)

    folder = refine.run(
        config, new_folder=next_run_folder, started=started, progress=session.progress, joined=session.joined
    )
    if options.verbose > 0 and not session.voice.quiet:
        print(*refine.next_steps(folder), sep="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0, 1 for a mistake in files or values, 2 for a wrong option."""
    return run_program(build_parser(), argv, train)


if __name__ == "__main__":
    sys.exit(main())
