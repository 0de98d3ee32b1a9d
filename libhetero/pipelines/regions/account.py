"""What a segmentation found, in words: for the screen and for the top of the page."""

from __future__ import annotations

import logging

import numpy as np

from libhetero.analysis.gaussian_features import FEATURES
from libhetero.analysis.regions import Regions
from libhetero.pipelines.decoding.gaussians import Changes
from libhetero.pipelines.regions.evidence import Judged
from libhetero.pipelines.regions.record import KindRecord, RegionRecord
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
        "%d region(s) by what is decoded; how well apart they are (silhouette, 1 at best): %.2f; a second way of "
        "grouping (average linkage) gives the same to %.2f (adjusted Rand index, 1 at best); %d Gaussians in no region",
        regions.count,
        regions.score,
        regions.agreement,
        unassigned,
    )
    if regions.count and regions.agreement < 0.5 and not regions.given:
        LOGGER.warning(
            "the regions and a second way of grouping the same Gaussians (average linkage) disagree; look at "
            "regions_embedding.png."
        )


def tell_evidence(judged: Judged, p_value: float) -> None:
    """Log each region with what speaks for it, and which are dropped for want of evidence."""
    for record in judged.found:
        LOGGER.info(
            "region %d: %d Gaussians, %s; %s", record.region, record.gaussians, record.kind, evidence_of(record)
        )
    for record in judged.dropped:
        LOGGER.info(
            "dropped, no more than noise alone gives (p-value above %.3g, or half-sets that disagree): %d Gaussians, "
            "%s",
            p_value,
            record.gaussians,
            evidence_of(record),
        )


def evidence_of(record: RegionRecord) -> str:
    """Return in a few words what speaks for a region."""
    parts = [f"{one} {change_of(getattr(record, one))}" for one in kinds_of(record.kind)]
    return f"{', '.join(parts)}; p-value {shown_p_value(record.p_value)}, half-sets agree {record.agreement:.2f}"


def kinds_of(kind: str) -> tuple[str, ...]:
    """Return the single kinds of a kind of change."""
    return ("amplitude", "motion") if kind == "both" else (kind,)


def change_of(record: KindRecord) -> str:
    """Return a change and the one that noise alone gives."""
    unit = " Å" if record.unit == "Å" else ""
    return f"varies by {record.change:.2f}{unit} (noise alone gives {record.null:.2f}{unit})"


def shown_p_value(p_value: float) -> str:
    """Return a p-value as people read it."""
    return "< 1e-12" if p_value < 1e-12 else f"{p_value:.2g}"


def how_found(regions: Regions) -> str:
    """Return in one line what clustered the Gaussians, and what its clusters became."""
    if regions.given:
        return f"{regions.count} region(s) as they were given (--regions)"
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


def facts(grouped: Regions, changes: Changes, judged: Judged, p_value: float, seconds: float) -> list[str]:
    """Return the lines at the top of the page.

    Parameters
    ----------
    grouped : the regions as found, before any was dropped.
    """
    regions, clustered = judged.regions, how_found(grouped)
    if not grouped.given:
        clustered += (
            ". Eps is the distance within which DBSCAN takes two Gaussians of the plane for neighbours; refined means "
            "that clusters of one signal were joined and those of several divided"
        )
    return [
        f"{len(regions.label)} Gaussians over {changes.count} particles, by {changes.feature}: "
        f"{regions.count} region(s) change together, {len(regions.members(0))} Gaussians are "
        f"constant, {len(regions.members(-1))} are in no region.",
        f"{clustered}.",
        f"How well apart the regions are (silhouette, 1 at best): {grouped.score:.2f}. A second way of grouping the "
        f"same Gaussians (average linkage) agrees to {grouped.agreement:.2f} (adjusted Rand index: 1 for the "
        "same groups, 0 for chance).",
        f"Evidence of {judged.tested} particles, with contrast and pose left free: the "
        "change of each region (standard deviation over the particles: of the amplitude, relative, 0.5 for a piece in "
        "half of them; of the place in Å) beside the largest that noise alone gives, the p-value (chance of as much "
        "from noise, wherever it was looked for), and the smaller change of the two half-sets over the larger. "
        f"{len(judged.dropped)} region(s) without evidence (p-value above {p_value:g}) were dropped.",
        f"Made in {duration(seconds)}. Classes are numbered from the least amplitude, or from one end of "
        "the motion, to the other; a difference map is a class less the one before it. Where particles are not told "
        "apart there are no classes but a coordinate, and its lowest and highest fifth of the particles show what "
        "changes along it.",
    ]


def facts_of_nothing(
    particles: int, gaussians: int, dropped: tuple[RegionRecord, ...], p_value: float, looked: bool, most: int = 0
) -> list[str]:
    """Return the lines of a page on which there is no region.

    Parameters
    ----------
    dropped : regions of the decoded changes for which the particles do not speak.
    looked : whether changes were decoded at all; a run whose latents have no numbers has none.
    most : particles that would be searched of a larger set; 0 where there would be no more of them than now.
    """
    differ = (
        "The particles' latents (mid_00.txt, for e2hype_embed.py and e2hype_eval.py) may still differ in what no "
        "group of Gaussians shares."
        if looked
        else "All particles are one structure as far as these images tell."
    )
    more = f"more particles (up to {most} are searched); " if most else ""
    found = (
        f"Changes decoded grouped into {len(dropped)} region(s), none of which changes more than noise alone gives at "
        f"a p-value of {p_value:g}."
        if looked
        else "Training looked for directions in which particles differ, in presence and in place, and none stands out "
        "of what noise gives; so their latents have no numbers."
    )
    return [
        f"No region changes: {gaussians} Gaussians, {particles} particles. No masks, classes or lists were written, "
        "and those of an earlier segmentation are gone.",
        found,
        f"{differ} What may help: {more}images at a finer pixel size; better poses and CTFs (an error of a few degrees "
        "hides a small piece); a starting model of the whole complex; training for longer. What is forced with --nmid "
        "is tested all the same.",
    ]
