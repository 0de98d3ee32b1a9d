"""RUN/validation/index.html: the verdict on each region, the figures behind it, and how to go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from libhetero.analysis.confounders import CERTAIN, MATERIAL
from libhetero.analysis.support import DOUBTFUL, NOT_SUPPORTED, SUPPORTED
from libhetero.pipelines.validating.record import FILE, RegionFinding, Validation
from libhetero.report.page import Cell, Link, Page

HEADER = (
    "region",
    "verdict",
    "why",
    "Gaussians",
    "change over the particles",
    "overlap of its Gaussians with those found in each half-set (0 to 1)",
    "part of the null sets that change as much",
)
CAPTIONS = {
    "nulls": "The change of each region beside the largest change that the same search finds in sets with the same "
    "poses, CTFs and noise in which nothing changes.",
    "half_sets": "Canonical correlations of the latents of two models, each trained on half of the particles, over "
    "particles not used to find them: 1 where both tell the same, 0 where they have nothing in common.",
    "imaging": "How far each coordinate follows how the particles were imaged (R², part of its variance); written "
    "where it matters.",
    "class_volumes": "FSC of the volumes of each class under the two half-sets' models.",
}


def write_page(folder: Path, found: Validation, facts: Sequence[str], figures: Sequence[Path]) -> Path:
    """Write index.html and return its path.

    Parameters
    ----------
    folder : RUN/validation.
    found : what the tests came to.
    facts : lines at the top.
    figures : PNG files in that folder, in order.
    """
    name = shlex.quote(found.run)
    page = Page(
        title=f"Validation of {Path(found.run).name}",
        facts=facts,
        header=HEADER,
        rows=[_row(one) for one in found.regions],
        figures=[Link(CAPTIONS.get(path.stem, path.stem), path.name) for path in figures],
        commands=[
            ("all figures of this page as JSON", f"cat {name}/validation/{FILE}"),
            ("the regions themselves", f"e2hype_segment.py {name}"),
            ("particles in a plane, by class", f"e2hype_embed.py {name}"),
        ],
    )
    return page.write(folder / "index.html")


def _row(one: RegionFinding) -> list[Cell]:
    overlap = "" if one.overlap is None else " and ".join(f"{value:.2f}" for value in one.overlap)
    rate = "" if one.false_positive is None else f"{one.false_positive:.2g}"
    return [
        str(one.region),
        one.verdict,
        "; ".join(one.reasons),
        str(one.gaussians),
        f"{one.change:.2f}",
        overlap,
        rate,
    ]


def summary(found: Validation) -> list[str]:
    """Return in words what was found, a line each; what matters most first."""
    lines = [_verdicts(found)]
    halves, nulls = found.halves, found.nulls
    if halves is not None:
        canonical = " ".join(f"{one:.2f}" for one in halves.canonical[:16]) or "none"
        lines.append(
            f"Half-sets of {halves.particles[0]} and {halves.particles[1]} particles, trained apart: the latents' "
            f"canonical correlations are {canonical} (1 where both tell the same, 0 where nothing is in common); one "
            f"predicts {halves.predicted[0]:.2f} and "
            f"{halves.predicted[1]:.2f} of the other's variance."
        )
        if halves.agreement:
            lines.append(
                f"They have {halves.regions[0]} and {halves.regions[1]} region(s), which agree over Gaussians by an "
                f"adjusted Rand index (1 for the same groups, 0 for chance) of {halves.agreement[0]:.2f} (with the "
                f"run's: {halves.agreement[1]:.2f} and "
                f"{halves.agreement[2]:.2f})."
            )
    if nulls is not None:
        lines.append(
            f"Directions of change were found in {nulls.with_directions} of {len(nulls.directions)} sets in which "
            f"nothing changes; their regions change by {max(nulls.change, default=0.0):.3g} of {nulls.feature} at most."
        )
    lines.append(_following(found))
    if found.volumes:
        worst = max(one.resolution for one in found.volumes)
        lines.append(
            f"Volumes of {len(found.volumes)} class(es) agree between the half-sets to {worst:.3g} Å or better "
            f"(FSC 0.143){_differences(found)}."
        )
    return lines


def _verdicts(found: Validation) -> str:
    if not found.regions:
        return "No region changes: there is none to support." if found.family == "gmm" else "The run has no regions."
    return (
        f"{found.count(SUPPORTED)} of {len(found.regions)} region(s) supported, {found.count(DOUBTFUL)} doubtful, "
        f"{found.count(NOT_SUPPORTED)} not supported."
    )


def _following(found: Validation) -> str:
    material = [one for one in found.following if one.share > MATERIAL and one.p_value < CERTAIN]
    if not material:
        return f"No coordinate follows how particles were imaged (R² above {MATERIAL:g} with p below {CERTAIN:g})."
    worst = sorted(material, key=lambda one: -one.share)[:8]
    told = "; ".join(f"{one.coordinate} the {one.property} (R² {one.share:.2f})" for one in worst)
    return f"Coordinates that follow how particles were imaged: {told}."


def _differences(found: Validation) -> str:
    alike = [one.difference for one in found.volumes if one.difference is not None]
    reached = [one.difference_resolution for one in found.volumes if one.difference_resolution is not None]
    if not alike:
        return ""
    return (
        f"; what each has over the mean of all to {max(reached):.3g} Å or better, with a correlation of "
        f"{min(alike):.2f} to {max(alike):.2f}"
    )
