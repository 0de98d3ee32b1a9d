#!/usr/bin/env python
"""Simulate particle sets with known truth: assembly, motion or mixture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.simulate import SimulateConfig, run

DESCRIPTION = """\
Simulate a particle set with known truth.

assembly  a complex whose pieces, besides the core, are each present or not
motion    a complex whose pieces, besides the core, each turn about a hinge
mixture   several complexes in equal shares, some of which may move (--moving)

From atomic models (--pdb), maps (--map) or, with neither, complexes made from the seed.
Poses are uniform, the CTF is that of 300 kV, noise is white, and the list tells what the images
have, unless the options of "what real data have besides" ask for other things. Writes OUT/particles.mrcs,
.star and .lst, and OUT/truth, and appears when complete: until then a hidden folder
beside it holds what is done, for --resume. Protein is white, as in inverted particles, unless --dark."""

EPILOG = """\
examples:
  e2hype_simulate.py assembly sim_assembly --n 2000 --box 40 --apix 4 --pieces 3
  e2hype_simulate.py mixture sim_mixture --n 4000 --box 40 --apix 4 --structures 4 --snr 0.5
  e2hype_simulate.py mixture tomotwin --pdb cif/*.cif.gz --n 100000 --box 128 --apix 3 --snr 0.01
  e2hype_simulate.py mixture moving --pdb cif/*.cif.gz --moving 1 2 3 --pieces 2 --rmsd 6 --n 3000 --apix 5
  e2hype_simulate.py assembly sim50S --pdb 50S.cif.gz --segments 50S_segments9.json --n 12800
  e2hype_simulate.py mixture big --structures 1000 --n 1000000 --box 256 --apix 3 --crop 128 \\
      --processes 8 --subsets 10 100 200 500
  e2hype_simulate.py motion sim_motion --pdb 4ZXB.cif.gz --domains domains.json --angle 20
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_simulate.py", DESCRIPTION, EPILOG, SimulateConfig)


def simulate(options: argparse.Namespace, session: Session) -> None:
    """Simulate as the options say."""
    run(configuration_of(options, SimulateConfig, threads=options.threads), session.progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, simulate)


if __name__ == "__main__":
    sys.exit(main())
