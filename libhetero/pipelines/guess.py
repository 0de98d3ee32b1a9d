"""From a map or an atomic model to a starting Gaussian mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, option, same_as
from libhetero.configuration.limits import (
    LEAST_PIXEL,
    MOST_BOX,
    MOST_DENSITY,
    MOST_EPOCHS,
    MOST_GAUSSIANS,
    MOST_LENGTH,
    MOST_PIXEL,
    MOST_SEED,
)
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig

VOXEL_BYTES = 32  # of memory for each voxel of the map that is fitted


@dataclass(frozen=True)
class GuessConfig:
    """What to fit Gaussians to, how many, and against what to refine them."""

    source: str = option(positional="MAP|MODEL", help=".mrc, .map, .hdf, or .pdb, .cif; also gzipped")
    output: str = option(positional="OUT.txt", help="Gaussians to write")
    count: int | None = option(
        None,
        "--ngauss",
        metavar="N",
        least=1,
        most=MOST_GAUSSIANS,
        help="how many, of one asymmetric unit",
        shown_default="as many as can change independently, as far as the particles tell; at most 4096",
    )
    threshold: float | None = option(
        None,
        "--threshold",
        metavar="X",
        least=-MOST_DENSITY,
        most=MOST_DENSITY,
        help="density that holds the molecule",
        shown_default="from the background of the smoothed map",
    )
    max_resolution: float | None = option(
        None,
        "--maxres",
        metavar="Å",
        above=0,
        most=MOST_LENGTH,
        help="finest detail fitted",
        shown_default="where the map ends, by half-maps or its background",
    )
    half_maps: tuple[str, str] | None = option(
        None,
        "--halfmaps",
        count=2,
        metavar="MAP",
        help="half-maps of the map",
        shown_default="MAP_half1 and MAP_half2 beside it, if there",
    )
    symmetry: str = same_as(
        GmmConfig, "symmetry", group="", help="symmetry of the map, c4, d2, t, o, i …; the Gaussians are one unit"
    )
    views: bool = option(
        False, "--trainmodel", help="refine at the end against projections of the map, all directions at once"
    )
    particles: str | None = option(
        None,
        "--particles",
        metavar="LIST",
        help="refine at the very end against these particles, poses and CTFs in the list (.star, .lst, .cs); one "
        "mixture for all of them",
    )
    box_size: int | None = option(
        None, "--box", metavar="N", least=8, most=MOST_BOX, even=True, help="pixels, for an atomic model"
    )
    pixel_size: float | None = option(
        None,
        "--apix",
        metavar="Å",
        least=LEAST_PIXEL,
        most=MOST_PIXEL,
        help="pixel size, for a model or in place of the map's",
    )
    origin: str | None = option(
        None,
        "--origin",
        choices=("centre", "corner", "mass"),
        help="where an atomic model's coordinates are measured from: the box centre, as poses mean it, the box's first "
        "voxel, as a model fitted to a map in ChimeraX, or its own centre of mass, which comes to the box centre",
        shown_default="centre",
    )
    steps: int = option(200, "--niter", metavar="N", least=1, most=MOST_EPOCHS, help="steps of the fit")
    seed: int = option(0, "--seed", metavar="N", least=0, most=MOST_SEED, help="of the first choice of voxels")

    def __post_init__(self) -> None:
        check_options(self)
        if not self.output.endswith(".txt"):
            raise ConfigurationError(f"{self.output}: expected a name ending in .txt for the Gaussians.")


def run(config: GuessConfig, progress: Callable[[float], None] | None = None) -> Any:
    """Fit the mixture, write it, and say how well it explains the map.

    Parameters
    ----------
    config : what to fit.
    progress : called with the fraction done.

    Returns
    -------
    `libhetero.models.gmm.start.fit.FittedMixture`.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.files import check_folder, require_memory
    from libhetero.pipelines.guessing.files import write_mixture
    from libhetero.pipelines.guessing.fitting import fitted_to_map, refined_to_particles
    from libhetero.pipelines.guessing.goal import map_to_fit

    check_folder(config.output)
    require_memory(VOXEL_BYTES * (config.box_size or 0) ** 3, f"--box {config.box_size}", "choose a smaller box")
    goal = map_to_fit(config)
    fitted = fitted_to_map(config, goal, progress or (lambda fraction: None))
    if config.particles is not None:
        fitted = refined_to_particles(config.particles, config, goal, fitted)
    write_mixture(Path(config.output), goal, fitted)
    return fitted
