"""What the particles of a run bear out of the regions found, before anything is written of them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from libhetero.analysis.configuration import FEWEST
from libhetero.analysis.gaussian_features import kind_of_sizes, sizes_of_region
from libhetero.analysis.region_columns import rigid_equations, split_regions
from libhetero.analysis.region_evidence import AMPLITUDE, MOTION, Equations, Evidence, region_evidence
from libhetero.analysis.regions import CORE, Regions
from libhetero.models.gmm.further import read_coarsely
from libhetero.pipelines.decoding.gaussians import Changes, mixture_model, neutral_gaussians
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.regions.record import KindRecord, RegionRecord
from libhetero.pipelines.run.folder import Run
from libhetero.records import Batch
from libhetero.tilts import one_image_each
from libhetero.training.feed import ParticleFeed
from libhetero.training.series import SeriesFeed, drawn_from

LOGGER = logging.getLogger(__name__)
MOST_TESTED = 4096  # particles
MOST_IMAGES = 4 * MOST_TESTED  # where each particle has several
SAMPLE_BYTES = 2**28  # of images that are held whole; of more than fit the low rings are
MOST_PATCHES = 72  # independent ones that a molecule is taken to have, at most
LEAST_AGREEMENT = 0.5  # of half-sets
UNITS = {AMPLITUDE: "relative amplitude", MOTION: "Å"}


@dataclass(frozen=True, eq=False)
class Judged:
    """Regions that the particles bear out, and those that they do not.

    Parameters
    ----------
    regions : those borne out, numbered anew; the Gaussians of others are of the core.
    found : what speaks for each of them.
    dropped : the others, by their numbers before.
    tested : particles that the evidence is of.
    """

    regions: Regions
    found: tuple[RegionRecord, ...]
    dropped: tuple[RegionRecord, ...]
    tested: int


def judge_regions(run: Run, changes: Changes, regions: Regions, p_value: float, keep_all: bool = False) -> Judged:
    """Return the regions whose changes are more than nothing gives, with the evidence of each.

    Parameters
    ----------
    changes : as decoded, from which the regions were found.
    regions : all that were found.
    p_value : largest of a region that is kept; 1 keeps all.
    keep_all : whether all are kept, whatever speaks for them.
    """
    if regions.count == 0:
        return Judged(regions, (), (), 0)
    equations, half = _equations(run, regions.label)
    patches = min(MOST_PATCHES, max(2, len(regions.label) // FEWEST))
    evidence = region_evidence(equations, half, patches, min(p_value, 0.5))
    mass = np.maximum(np.asarray(neutral_gaussians(run).amplitude, np.float64), 0)
    label = np.where(regions.label > CORE, CORE, regions.label)
    found: list[RegionRecord] = []
    dropped: list[RegionRecord] = []
    for region in range(1, regions.count + 1):
        members = regions.members(region)
        share = float(mass[members].sum() / mass.sum())
        record = _record(region, len(members), share, changes, regions, evidence)
        if p_value < 1 and not keep_all and not _is_borne_out(record, p_value):
            dropped.append(record)
            continue
        found.append(dataclasses.replace(record, region=len(found) + 1))
        label[members] = len(found)
    return Judged(dataclasses.replace(regions, label=label), tuple(found), tuple(dropped), len(half))


def _is_borne_out(record: RegionRecord, p_value: float) -> bool:
    return record.p_value <= p_value and record.agreement >= LEAST_AGREEMENT


def _equations(run: Run, label: Int[np.ndarray, "gaussians"]) -> tuple[Equations, Bool[np.ndarray, "tested"]]:
    """Return what a sample of particles says of the regions, and which of them are of the second half-set."""
    drawn = drawn_from(run.feed())
    first, _ = one_image_each(run.particles)
    views = drawn.views
    chosen = spread_indices(len(drawn), min(most_tested(drawn.box_size, views), len(drawn)))
    sample = _read(drawn, chosen)
    patches = split_regions(np.asarray(neutral_gaussians(run).position), label)
    hessian, gradient = mixture_model(run).patch_equations(run.params, sample, patches.patch)
    used = (np.asarray(sample.weight) > 0).reshape(-1, views).any(axis=1)
    stated = run.particles.half_set
    half = np.arange(len(chosen)) % 2 if stated is None else np.asarray(stated)[first[chosen]]
    second = half[used] > half.min()
    if not 0 < second.sum() < len(second):
        second = np.arange(len(second)) % 2 > 0
    return rigid_equations(hessian, gradient, patches), second


def most_tested(box_size: int, views: int) -> int:
    """Return how many particles regions are tested on at most.

    Parameters
    ----------
    box_size : of the images, pixels.
    views : images of each particle.
    """
    return min(MOST_TESTED, max(_held(box_size, views), MOST_IMAGES // views, 1))


def more_tested(run: Run) -> int:
    """Return how many particles regions would be tested on were there more of them; 0 where no more than now."""
    drawn = drawn_from(run.feed())
    most = most_tested(drawn.box_size, drawn.views)
    return most if len(drawn) < most else 0


def _held(box_size: int, views: int) -> int:
    """Return of how many particles the full images are held."""
    return max(SAMPLE_BYTES // (4 * views * box_size**2), 1)


def _read(drawn: ParticleFeed | SeriesFeed, chosen: Int[np.ndarray, "chosen"]) -> Batch:
    """Return particles with full images where these may be held, else in blocks with what is compared of them."""
    held = _held(drawn.box_size, drawn.views)
    if len(chosen) <= held:
        return drawn.batch(chosen)
    block = max(held // 4, 1)
    return read_coarsely(drawn.batch(chosen[start : start + block]) for start in range(0, len(chosen), block))


def _record(
    region: int,
    gaussians: int,
    mass: float,
    changes: Changes,
    regions: Regions,
    evidence: Mapping[tuple[int, str], Evidence],
) -> RegionRecord:
    """Return what is known of one region: its kind is what of the changes decoded the particles bear out."""
    of_kind = {kind: evidence[region, kind] for kind in (AMPLITUDE, MOTION)}
    sizes = sizes_of_region(changes.covariance, changes.mean, changes.count, changes.feature, regions.members(region))
    decoded = kind_of_sizes(*sizes)
    strongest = min((AMPLITUDE, MOTION), key=lambda kind: (of_kind[kind].p_value, -_excess(of_kind[kind])))
    kind = decoded
    if decoded == "both" and max(of_kind[kind].p_value for kind in of_kind) > 0.01:
        kind = strongest
    leading = of_kind[strongest if kind == "both" else kind]
    records = {
        name: KindRecord(UNITS[name], one.change, one.null, one.p_value, one.halves, one.agreement)
        for name, one in of_kind.items()
    }
    return RegionRecord(
        region, gaussians, mass, kind, records[AMPLITUDE], records[MOTION], leading.p_value, leading.agreement
    )


def _excess(evidence: Evidence) -> float:
    """Return the change in units of what nothing gives."""
    return evidence.change / evidence.null if evidence.null > 0 else 0.0
