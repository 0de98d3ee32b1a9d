"""What a segmentation found, in words: for the screen and for the top of the page."""

from __future__ import annotations

import logging

import numpy as np

from libhetero.analysis.gaussian_features import FEATURES
from libhetero.analysis.regions import Regions
from libhetero.pipelines.decoding.gaussians import Changes
from libhetero.telling import duration

LOGGER = logging.getLogger(__name__)


def tell(regions: Regions, changes: Changes) -> None:
    """Log the regions, and warn where there is none or where two ways of grouping disagree."""
    numbers = FEATURES[changes.feature]
    LOGGER.info(
        "%d Gaussians × %d particles × %d number(s) of %s; PCA keeps %.1f%% of the shared change",
        len(regions.label),
        changes.count,
        numbers,
        changes.feature,
        100 * regions.explained,
    )
    constant = len(regions.members(0))
    unassigned = len(regions.members(-1))
    LOGGER.info(
        "%d Gaussians are constant: they change less than %.3g, or much less than the regions",
        constant,
        regions.threshold,
    )
    LOGGER.info("%s", how_found(regions))
    LOGGER.info(
        "%d region(s), silhouette %.2f, agreement with average linkage %.2f, %d unassigned",
        regions.count,
        regions.score,
        regions.agreement,
        unassigned,
    )
    for region in range(1, regions.count + 1):
        members = regions.members(region)
        LOGGER.info(
            "region %d: %d Gaussians, change %.2f", region, len(members), float(np.median(regions.size[members]))
        )
    if regions.count == 0:
        LOGGER.warning("no region changes; train longer, or lower --constant.")
    elif regions.agreement < 0.5:
        LOGGER.warning("the regions and average linkage disagree; look at regions_embedding.png.")


def how_found(regions: Regions) -> str:
    """Return in one line what clustered the Gaussians, and what its clusters became."""
    if regions.scan is None:
        return f"HDBSCAN finds {regions.clusters} cluster(s); refined: {regions.count} region(s)"
    if not np.any(regions.scan.eps == regions.eps):
        return f"DBSCAN with eps {regions.eps:.3g}, as given, finds {regions.clusters} cluster(s)"
    agreeing = regions.scan.eps[regions.scan.groups == regions.count]
    return (
        f"DBSCAN with eps {regions.eps:.3g} finds {regions.clusters} cluster(s); refined: "
        f"{regions.count} region(s), as at {len(agreeing)} of {len(regions.scan.eps)} eps from "
        f"{agreeing.min(initial=regions.eps):.2g} to {agreeing.max(initial=regions.eps):.2g}"
    )


def facts(regions: Regions, changes: Changes, seconds: float) -> list[str]:
    """Return the lines at the top of the page."""
    return [
        f"{len(regions.label)} Gaussians over {changes.count} particles, by {changes.feature}: "
        f"{regions.count} region(s) change together, {len(regions.members(0))} Gaussians are "
        f"constant, {len(regions.members(-1))} are in no region.",
        f"{how_found(regions)}. Silhouette {regions.score:.2f}, agreement with average linkage "
        f"{regions.agreement:.2f}.",
        f"Made in {duration(seconds)}. Classes are numbered from the least amplitude, or from one end of "
        "the motion, to the other; a difference map is a class less the one before it.",
    ]
