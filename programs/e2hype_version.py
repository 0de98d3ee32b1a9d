#!/usr/bin/env python
"""Tell which version is installed, and with --report on what it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, configuration_of, configuration_parser, run_program
from libhetero.pipelines.version import VersionConfig, run

DESCRIPTION = """\
Tell which version is installed, and with --report on what it runs.

The report is for a question or a report of a defect: the versions of libhetero, Python and the packages, JAX's
devices, processor, memory, system, and the variables that change how these work. The home folder is written ~; other
folders are named as they are, so read it before you send it. Where JAX does not start, the report says why.
--version of every program tells the version too."""

EPILOG = """\
examples:
  e2hype_version.py
  e2hype_version.py --report
  srun --gres=gpu:1 e2hype_version.py --report     on the node of a cluster where the problem is
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    return configuration_parser("e2hype_version.py", DESCRIPTION, EPILOG, VersionConfig)


def show(options: argparse.Namespace, session: Session) -> None:
    """Print what was asked for."""
    for line in run(configuration_of(options, VersionConfig)):
        print(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, show)


if __name__ == "__main__":
    sys.exit(main())
