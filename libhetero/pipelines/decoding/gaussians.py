"""What a Gaussian run's decoder says about all particles, streamed in batches of one shape."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from libhetero.analysis.gaussian_features import (
    FEATURES,
    CovarianceAccumulator,
    change_vectors,
    material_feature,
    similarity_of,
)
from libhetero.errors import ConfigurationError
from libhetero.models.families import FAMILIES, family_named
from libhetero.models.family import MixtureFamily
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.telling.progress import tracked

LOGGER = logging.getLogger(__name__)
SAMPLE = 512


@dataclass(frozen=True, eq=False)
class Changes:
    """How the Gaussians of a run change over its particles.

    Parameters
    ----------
    feature : "amplitude", "motion" or "both".
    count : particles behind the covariance.
    mean : mean of `change_vectors`, flat.
    covariance : between the numbers of all Gaussians.
    """

    feature: str
    count: int
    mean: np.ndarray
    covariance: np.ndarray

    def similarity(self) -> Float[np.ndarray, "gaussians gaussians"]:
        """Return how much each two Gaussians change together."""
        return similarity_of(self.covariance, self.mean, self.count, self.feature)


def has_mixtures(run: Run) -> bool:
    """Return whether the representations of a run are Gaussians."""
    return family_named(run.config.family).mixtures


def mixture_model(run: Run) -> MixtureFamily:
    """Return the model of a run whose representations are Gaussians.

    Raises
    ------
    ConfigurationError : if they are not.
    """
    if not has_mixtures(run):
        flags = " or ".join(family.flags for family in FAMILIES if family.mixtures)
        raise ConfigurationError(
            f"{run.folder}: a {family_named(run.config.family).title} run has no Gaussians; expected a Gaussian run. "
            f"Train one with e2hype_refine.py {flags}."
        )
    return run.model  # type: ignore[return-value]


def neutral_gaussians(run: Run) -> Gaussians:
    """Return the neutral mixture of a Gaussian run, N Gaussians, Å.

    Raises
    ------
    ConfigurationError : if the run is not of Gaussians.
    """
    return jax.tree.map(np.asarray, mixture_model(run).neutral_mixture(run.params))


def stream_mixtures(run: Run, latent: Float[np.ndarray, "particles latent"], batch_size: int) -> Iterator[Gaussians]:
    """Yield the decoded Gaussians of latents, in order, in blocks with a leading axis."""
    decode, params = jax.jit(mixture_model(run).decode), jax.device_put(run.params)
    batch_size = min(batch_size, max(len(latent), 1))
    for start in range(0, len(latent), batch_size):
        block = np.asarray(latent[start : start + batch_size], np.float32)
        missing = batch_size - len(block)
        padded = np.pad(block, ((0, missing), (0, 0)), mode="edge")
        decoded = jax.tree.map(np.asarray, decode(params, padded))
        yield decoded.take(slice(0, len(block)))


def stream_changes(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    feature: str,
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Float[np.ndarray, "block columns"]]:
    """Yield `change_vectors` of all particles, a flat row each, in blocks."""
    neutral = neutral_gaussians(run)
    blocks = stream_mixtures(run, latent, batch_size)
    rows = (change_vectors(block, neutral, feature) for block in blocks)
    for block in tracked(rows, len(latent), "decoding", progress=progress):
        yield block.reshape(len(block), -1)


def choose_feature(run: Run, latent: Float[np.ndarray, "particles latent"], batch_size: int) -> str:
    """Return which kinds of change there are, "amplitude", "motion" or "both", in 512 particles spread over the set."""
    chosen = latent[spread_indices(len(latent), SAMPLE)]
    blocks = list(stream_mixtures(run, chosen, batch_size))
    sample = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
    return material_feature(sample, neutral_gaussians(run))


def measure_changes(
    run: Run,
    latent: Float[np.ndarray, "particles latent"],
    feature: str,
    batch_size: int,
    memory: float,
    progress: Callable[[float], None] | None = None,
) -> Changes:
    """Decode every particle and return how the Gaussians change together.

    Parameters
    ----------
    latent : of every particle.
    feature : "auto" to choose, or as `change_vectors` takes it.
    memory : GiB the covariance may take.
    """
    gaussians = len(neutral_gaussians(run).sigma)
    if feature == "auto":
        feature = choose_feature(run, latent, batch_size)
        LOGGER.info("feature: %s, by what changes in the mixtures decoded", feature)
    columns = gaussians * FEATURES[feature]
    accumulator = CovarianceAccumulator(columns, memory)
    LOGGER.info(
        "covariance of %d columns (%d Gaussians × %d of %s): %.2g GiB, however many particles",
        columns,
        gaussians,
        FEATURES[feature],
        feature,
        accumulator.gibibytes(columns),
    )
    for block in stream_changes(run, latent, feature, batch_size, progress):
        accumulator.add(block)
    return Changes(feature, accumulator.count, accumulator.mean(), accumulator.covariance())
