"""How Gaussians are grouped into regions: each option declared once; standard library only."""

from __future__ import annotations

from dataclasses import dataclass

from libhetero.configuration import check_options, internal, option
from libhetero.configuration.limits import MOST_PARTICLES, MOST_SEED, MOST_WEIGHT
from libhetero.errors import ConfigurationError

REGIONS = "regions"  # heading of the help
LEAST_NEIGHBOURS, MOST_NEIGHBOURS = 5, 15
FEWEST = 5  # Gaussians of a region, however small the model


@dataclass(frozen=True)
class RegionConfig:
    """How to group Gaussians.

    Parameters
    ----------
    feature : "amplitude", "motion" or "both": what the similarity is of. Presence is whole or
        nothing; motion fades within a piece towards its hinge, and so do the shares it is judged by.
    embedding : "umap" or "pca", the plane that is clustered.
    auto : says that `eps` is not given.
    eps : DBSCAN's radius in that plane, its clusters taken as they are; None to choose it and refine.
    method : "dbscan" or "hdbscan".
    min_size : fewest Gaussians of a region; None for a hundredth of all, at least 5.
    constant : size of change below which a Gaussian, or a region, is constant (½ is a piece in half
        of the particles, 1 a displacement by one sigma); None to judge by the strong changes.
    neighbours : UMAP's neighbours; None for 5 to 15, by the number of Gaussians.
    seed : of UMAP.
    """

    feature: str = internal("amplitude", "what the similarity is of", choices=("amplitude", "motion", "both"))
    embedding: str = internal("umap", "the plane that is clustered", choices=("umap", "pca"))
    auto: bool = option(
        False,
        "--auto",
        group=REGIONS,
        exclusive="eps",
        help="choose eps (see --eps) from the data, which is the default",
    )
    eps: float | None = option(
        None,
        "--eps",
        group=REGIONS,
        exclusive="eps",
        metavar="X",
        above=0,
        most=MOST_WEIGHT,
        help="eps of DBSCAN: two Gaussians nearer than this in the plane of UMAP or PCA are neighbours; its clusters "
        "are then taken as they are",
    )
    method: str = option(
        "dbscan", "--method", group=REGIONS, choices=("dbscan", "hdbscan"), help="how to cluster the embedded Gaussians"
    )
    min_size: int | None = option(
        None,
        "--min_size",
        group=REGIONS,
        metavar="N",
        least=2,
        most=MOST_PARTICLES,
        help="fewest Gaussians of a region",
        shown_default=f"a hundredth of all, at least {FEWEST}",
    )
    constant: float | None = option(
        None,
        "--constant",
        group=REGIONS,
        metavar="X",
        least=0,
        most=MOST_WEIGHT,
        help="change below which a Gaussian or a region is constant; 0.5 is a piece in half of the particles, 1 motion "
        "by the width (sigma) of a Gaussian",
        shown_default="by the strong changes",
    )
    neighbours: int | None = option(
        None,
        "--neighbours",
        group=REGIONS,
        metavar="N",
        least=2,
        most=10_000,
        help="UMAP's neighbours of each point",
        shown_default=f"{LEAST_NEIGHBOURS} to {MOST_NEIGHBOURS}, by the number of Gaussians",
    )
    seed: int = option(0, "--seed", group=REGIONS, metavar="N", least=0, most=MOST_SEED, help="of UMAP and k-means")

    def __post_init__(self) -> None:
        check_options(self)
        if self.method == "hdbscan" and self.eps is not None:
            raise ConfigurationError("--eps is DBSCAN's; leave it out with --method hdbscan.")
