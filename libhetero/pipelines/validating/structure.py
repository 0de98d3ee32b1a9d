"""How a Gaussian model's structure changes over some particles: its regions, and each region's coordinate."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.configuration import FEWEST, RegionConfig
from libhetero.analysis.constant import shared_change
from libhetero.analysis.gaussian_features import FEATURES, CovarianceAccumulator, region_basis
from libhetero.analysis.regions import Regions, find_regions
from libhetero.pipelines.decoding.gaussians import Changes, choose_feature, neutral_gaussians, stream_changes
from libhetero.pipelines.regions.record import read_record
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.scoring.regions import read_regions

LOGGER = logging.getLogger(__name__)
NUMBERS = 2**28  # at most so many of all changes are held
MOST_PARTICLES = 10_000


@dataclass(frozen=True, eq=False)
class Structure:
    """Changes of every Gaussian over some particles.

    Parameters
    ----------
    rows : changes of each particle, flat.
    changes : their mean and covariance.
    """

    rows: Float[np.ndarray, "particles columns"]
    changes: Changes

    @cached_property
    def regions(self) -> Regions:
        """Gaussians that change together, as segmentation finds them by default."""
        return find_regions(self.changes.similarity(), RegionConfig(feature=self.changes.feature))

    @cached_property
    def size(self) -> Float[np.ndarray, " gaussians"]:
        """Size of each Gaussian's change that it shares with others, as of `Regions`."""
        similarity = self.changes.similarity()
        return shared_change(similarity, max(FEWEST, len(similarity) // 100))

    @property
    def label(self) -> Int[np.ndarray, " gaussians"]:
        """Region of each Gaussian; 0 the core, -1 none."""
        return self.regions.label

    def coordinate(self, members: Int[np.ndarray, " members"]) -> Float[np.ndarray, " particles"]:
        """Return the first principal component of what some Gaussians do, for each particle."""
        columns, basis = region_basis(self.changes.covariance, members, self.changes.feature, 1)
        return ((self.rows[:, columns] - self.changes.mean[columns]) @ basis)[:, 0]


def feature_of(run: Run, latent: Float[np.ndarray, "particles latent"], batch_size: int) -> str:
    """Return the kinds of change that the run's regions are of, or that its mixtures show where it has none."""
    record = read_record(run.regions_folder)
    return record.feature if record is not None and record.count else choose_feature(run, latent, batch_size)


def looked_at(run: Run, count: int) -> int:
    """Return of how many of `count` particles the changes of all Gaussians are held."""
    columns = len(neutral_gaussians(run).sigma) * max(FEATURES.values())
    return max(min(count, MOST_PARTICLES, NUMBERS // columns), 1)


def structure_of(
    run: Run, latent: Float[np.ndarray, "particles latent"], feature: str, batch_size: int, memory: float
) -> Structure:
    """Decode latents and return how the Gaussians change over them.

    Parameters
    ----------
    run : whose model decodes.
    latent : of the particles looked at.
    feature : "amplitude", "motion" or "both".
    batch_size : particles decoded at once.
    memory : GiB that the covariance may take.

    Raises
    ------
    ConfigurationError : if it takes more.
    """
    accumulator = CovarianceAccumulator(len(neutral_gaussians(run).sigma) * FEATURES[feature], memory)
    rows = np.concatenate(list(stream_changes(run, latent, feature, batch_size)))
    accumulator.add(rows)
    return Structure(rows, Changes(feature, accumulator.count, accumulator.mean(), accumulator.covariance()))


def regions_of_run(run: Run, found: Structure) -> Int[np.ndarray, " gaussians"]:
    """Return the run's regions as its last segmentation left them; found anew where there was none.

    Raises
    ------
    DataError : if regions.txt is of another number of Gaussians.
    """
    label = read_regions(run.regions_folder, len(neutral_gaussians(run).sigma))
    if label is None:
        LOGGER.info("%s is not segmented; regions are found as e2hype_segment.py finds them by default", run.folder)
        return np.asarray(found.label)
    return label
