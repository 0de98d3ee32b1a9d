"""What every program shares: options, the EMAN2 log, run folders, one-line errors.

Standard library only, so that `--help` of any program answers at once. A program reads:

    def main(argv=None) -> int:
        return run_program(build_parser(), argv, call)

    def call(options, session) -> None:
        from libhetero.pipelines import refine    # JAX loads here, after parsing
        ...
"""

from libhetero.cli.eman2_log import Eman2Log
from libhetero.cli.options import configuration_of, configuration_parser, values_given
from libhetero.cli.parser import common_parser
from libhetero.cli.run import Session, run_program
from libhetero.cli.run_folders import next_run_folder, write_params_json

__all__ = [
    "Eman2Log",
    "Session",
    "common_parser",
    "configuration_of",
    "configuration_parser",
    "next_run_folder",
    "run_program",
    "values_given",
    "write_params_json",
]
