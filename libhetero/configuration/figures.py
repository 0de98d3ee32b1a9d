"""How the programs that draw write their figures."""

from __future__ import annotations

from dataclasses import dataclass

from libhetero.configuration.options import check_options, option
from libhetero.files import RASTER, VECTORS


@dataclass(frozen=True)
class FigureConfig:
    """What figures are written as."""

    figure: str = option(
        RASTER,
        "--figure",
        choices=(RASTER, *VECTORS),
        help="what figures are written as; pdf and svg are vector files for print, written beside the PNG that pages "
        "show",
    )

    def __post_init__(self) -> None:
        check_options(self)
