"""Importing particles: read any list, check it, say what it holds, write a project list.

The project list (.lst) keeps, for each particle, the file and row it came from, so that exporting
it again (.star, .cs) gives back every column and the original images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option
from libhetero.errors import ConfigurationError
from libhetero.pipelines.run.data import ParticleListConfig

FORMATS = (".lst", ".star", ".cs")


def _output(flag: str, help: str, shown_default: str | None = None) -> Any:
    """Declare the list to write; one flag of several says it."""
    return option(None, flag, exclusive="output", metavar="FILE", help=help, shown_default=shown_default)


@dataclass(frozen=True)
class ImportConfig(ParticleListConfig):
    """What to import, and what to write."""

    output: str | None = _output("--output", "list to write, .lst, .star or .cs", "NAME.lst in the current folder")
    relion_output: str | None = _output("--lst2star", "export as this RELION .star")
    cryosparc_output: str | None = _output("--lst2cs", "export as this cryoSPARC .cs")

    stack: str | None = option(
        None,
        "--stack",
        metavar="FILE",
        help="copy the images into this .mrcs, for the list to name; of .hdf stacks RELION and cryoSPARC need it",
        shown_default="images stay where they are",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.stack is not None and Path(self.stack).suffix != ".mrcs":
            raise ConfigurationError(f"--stack: expected a name ending in .mrcs; got {self.stack}.")
        path = self.output_path()
        if path.suffix not in FORMATS:
            raise ConfigurationError(f"{path}: expected a name ending in {', '.join(FORMATS)}.")
        if path.exists() and path.samefile(self.particles):
            raise ConfigurationError(f"{path}: this is the input itself; choose another --output.")

    def output_path(self) -> Path:
        """Return the list to write."""
        given = self.output or self.relion_output or self.cryosparc_output
        return Path(given or f"{Path(self.particles).stem}.lst")


@dataclass(frozen=True)
class ImportReport:
    """What was found.

    Parameters
    ----------
    output : the list written.
    lines : (name, finding) in the order to print them.
    contrast : what the images show of it, one line.
    warnings : one line each.
    """

    output: Path
    lines: tuple[tuple[str, str], ...]
    contrast: str
    warnings: tuple[str, ...]


def run(config: ImportConfig) -> ImportReport:
    """Read, check and write particles.

    Raises
    ------
    DataError : one line for the first thing that is wrong with the particles.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.io import check_particles, write_particles
    from libhetero.io.tilt_series import together
    from libhetero.pipelines.listing.contrast import look_at_contrast
    from libhetero.pipelines.listing.copying import copy_images
    from libhetero.pipelines.listing.findings import describe, odd_findings
    from libhetero.pipelines.run.particles import listed

    particles = listed(config)
    if config.tilts == "together":  # also those of which one image is left
        particles = together(particles)
    check_particles(particles, need_pose=False, need_ctf=False)
    contrast = look_at_contrast(particles)
    listed_set = particles if config.stack is None else copy_images(particles, config.stack)
    write_particles(config.output_path(), listed_set)
    return ImportReport(
        output=config.output_path(),
        lines=tuple(describe(particles)),
        contrast=contrast.describe(),
        warnings=tuple(odd_findings(particles, contrast)),
    )
