#!/usr/bin/env python
"""Test whether what a run found is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.configuration import FigureConfig
from libhetero.pipelines.validate import ValidateConfig, run

DESCRIPTION = """\
Test whether what a finished run found is there, and give a verdict on each region.

Half-sets: a model is trained on each half of the particles with the run's own settings (about as long
as the run itself took, both together; what is finished is not done again). Both models then see all
particles: do they find the same regions, do their latents say the same, and do their volumes of each
class agree? Null sets (Gaussians): the run's search is made again in sets with its poses and what these
are off by, CTFs and noise, in which nothing changes; a region that changes no more than what is found
there is none. Imaging: do latents and regions follow the direction of view, the in-plane angle, defocus,
astigmatism, the listed shift, the change of the pose by refinement, micrograph, contrast, half-set or the
place in the list? Molecules do not.

Writes RUN/validation: index.html, validation.json, figures, and the half-sets' runs, half1 and half2.
A region is supported where both half-sets have it, at most 1 of 20 null sets changes as much, and it
follows nothing of the imaging; doubtful where a test is in doubt or was left out; else not supported."""

EPILOG = """\
examples:
  e2hype_validate.py hype_01
  e2hype_validate.py hype_01 --skip_halves          a quick look, without training
  e2hype_validate.py hype_01 --nulls 100
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_validate.py", DESCRIPTION, EPILOG, ValidateConfig, FigureConfig)


def validate(options: argparse.Namespace, session: Session) -> None:
    """Validate as the options say."""
    result = run(configuration_of(options, ValidateConfig), session.progress)
    for line in result.lines:
        print(line)
    print(f"wrote {result.record}\nlook at {result.page}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, validate)


if __name__ == "__main__":
    sys.exit(main())
