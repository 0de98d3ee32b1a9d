"""What the search for directions and regions finds where nothing changes.

A null set has the particles of the run, their listed poses, CTFs, contrasts and noise, and one structure, that which
the run has learnt for a latent of 0:

    X* = α · scale · T · P(R', t') G + noise,     E |noise|² of ring r = 1 / weight_r

with scale and weights as the run measured them (`models.gmm.noise`). Where poses are off, R' and t' are drawn about the
listed ones, as far off as the run has learnt (`models.gmm.latent.nuisances`), anew for each set: the search knows the
listed ones alone. The run's own search is made in it, for the kinds of change that the run was asked for; regions are
taken from what it finds as it stands, with C = M Mᵀ the covariance of the changes, without training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from libhetero import __version__, models
from libhetero.analysis.configuration import RegionConfig
from libhetero.analysis.gaussian_features import relative_amplitude, similarity_of
from libhetero.analysis.regions import find_regions
from libhetero.configuration import read_document, to_dict, write_json
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.changes import parts_of
from libhetero.models.gmm.config import AUTO, GmmConfig
from libhetero.models.gmm.further import coarse_weight
from libhetero.models.gmm.latent.subspace import Subspace
from libhetero.physics.fourier import half_plane, real_image, ring_index
from libhetero.physics.observation import observed
from libhetero.pipelines.decoding.gaussians import neutral_gaussians
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.preparation import further_of, sample_of
from libhetero.pipelines.validating.record import NullSets
from libhetero.records import Batch, Gaussians, Observation, Pose
from libhetero.telling.progress import Progress
from libhetero.training.held_out import split
from libhetero.training.series import drawn_from

LOGGER = logging.getLogger(__name__)
TOGETHER = 64  # images projected or given noise at once
SEARCH = "libhetero.models.gmm"
SEARCHED = "nulls.json"  # in RUN/validation: the sets searched so far
PLAIN = "mlp"  # decoder of a model that is searched and not trained: it needs no hierarchy of points


@dataclass(frozen=True)
class Searched:
    """nulls.json: what has been found so far, so that a search that was stopped goes on.

    Parameters
    ----------
    search : digest of what is searched, and how; of another search nothing is taken.
    directions, change : of each set, in the order of their noise, as `NullSets` has them.
    """

    search: str
    directions: tuple[int, ...] = ()
    change: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.directions) != len(self.change):
            raise ConfigurationError(
                f"{len(self.directions)} directions and {len(self.change)} changes; expected one of each a set."
            )

    def __len__(self) -> int:
        return len(self.change)

    def with_next(self, directions: int, change: float) -> Searched:
        """Return the same with what the next set shows."""
        return dataclasses.replace(self, directions=(*self.directions, directions), change=(*self.change, change))

    def first(self, sets: int) -> Searched:
        """Return what the first sets show."""
        return dataclasses.replace(self, directions=self.directions[:sets], change=self.change[:sets])


@dataclass(frozen=True, eq=False)
class Shown:
    """Particles as they show one structure.

    Parameters
    ----------
    batch : the particles at their listed poses; the images are those there, without noise.
    contrast : of each.
    ring_weight : of the squared error of each Fourier pixel of these images.
    """

    batch: Batch
    contrast: np.ndarray
    ring_weight: np.ndarray

    @classmethod
    def of(
        cls, model: Any, mixture: Gaussians, batch: Batch, contrast: Float[np.ndarray, " particles"] | None
    ) -> Shown:
        """Project a mixture as a run's particles are seen.

        Parameters
        ----------
        model : of the run.
        batch : particles of the run, with images of the size that is wanted.
        contrast : of all particles of the run; None for 1.
        """
        strength = np.ones(len(batch.weight)) if contrast is None else contrast[np.asarray(batch.index)]
        strength = strength.astype(np.float32)
        full = batch.images.shape[-1] == model.box_size
        weight = model.ring_weight if full else coarse_weight(model.ring_weight)
        images = _projected(model, mixture, batch, batch.pose, strength)
        return cls(dataclasses.replace(batch, images=images), strength, weight)

    def images(self, model: Any, mixture: Gaussians, random: np.random.Generator) -> Float[np.ndarray, "particles n n"]:
        """Return images with noise, at poses that are off as the run's are."""
        images, off = self.batch.images, model.subspace.nuisances
        if off.posed:
            numbers = random.standard_normal((len(self.contrast), off.numbers)).astype(np.float32)
            pose = jax.tree.map(np.asarray, jax.jit(jax.vmap(off.moved))(self.batch.pose, numbers))
            images = _projected(model, mixture, self.batch, pose, self.contrast)
        return with_noise(images, self.ring_weight, random)


@dataclass(frozen=True, eq=False)
class NullSearch:
    """The run's search, and what its particles show where nothing changes.

    Parameters
    ----------
    model : of the run.
    mixture : the one structure.
    shown : the particles that the run's search was made on, and further ones where it had any.
    feature : what the run's regions are of.
    seed : of the search.
    """

    model: Any
    mixture: Gaussians
    shown: tuple[Shown, ...]
    feature: str
    seed: int

    @classmethod
    def of(cls, run: Run, feature: str, contrast: Float[np.ndarray, " particles"] | None = None) -> NullSearch:
        """Prepare the search of a Gaussian run.

        Parameters
        ----------
        feature : what its regions are of.
        contrast : of each of its particles, 0 for junk; None for 1.
        """
        feed, mixture = run.feed(), neutral_gaussians(run)
        trained_on, _ = split(len(drawn_from(feed)), run.config.training)
        read = (part(run.config, feed, trained_on) for part in (sample_of, further_of))
        shown = tuple(Shown.of(run.model, mixture, batch, contrast) for batch in read if batch is not None)
        return cls(run.model, mixture, shown, feature, run.config.training.seed)

    @property
    def asked(self) -> GmmConfig:
        """What was asked of the run; of one that does not tell what its particles decided, all kinds of change."""
        config: GmmConfig = self.model.config
        return config.as_asked() if config.decided is not None else dataclasses.replace(config, vary=AUTO)

    def digest(self, seed: int) -> str:
        """Return what tells one search from another: this version, what is searched, and the noise that is drawn.

        Parameters
        ----------
        seed : of the noise.
        """
        off = self.model.subspace.nuisances
        found = hashlib.sha256(f"{__version__} {self.feature} {self.seed} {seed} {self.asked.vary} {off}".encode())
        for one in self.shown:
            for array in (one.batch.images, one.ring_weight, one.batch.weight):
                found.update(np.ascontiguousarray(array, np.float32).tobytes())
        return found.hexdigest()

    def search(self, random: np.random.Generator) -> tuple[int, float]:
        """Return how many directions a set shows, and the change of the region that changes most.

        All that a run does of its particles before it is trained is done, but for Gaussians fitted anew, as these are
        the run's: scale and noise are measured, junk is set aside, and the kinds of change that it was asked for are
        searched, in any number of directions.
        """
        model = self.model
        sample, *further = (
            dataclasses.replace(one.batch, images=one.images(model, self.mixture, random)) for one in self.shown
        )
        made: Any = models.create(
            model.family,
            dataclasses.replace(self.asked, latent_size=0, decoder=PLAIN),
            box_size=model.box_size,
            pixel_size=model.pixel_size,
            sample=sample,
            further=further[0] if further else None,
            gaussians=model.neutral,
            mobile=np.asarray(model.mobile) > 0,
            seed=self.seed,
        )
        subspace: Subspace = made.decoded_subspace
        if subspace.rank == 0:
            return 0, 0.0
        count = sum(len(one.contrast) for one in self.shown)
        similarity = subspace_similarity(subspace, model.neutral, self.feature, count)
        regions = find_regions(similarity, RegionConfig(feature=self.feature))
        sizes = [float(np.median(regions.size[regions.members(one)])) for one in range(1, regions.count + 1)]
        return subspace.rank, max(sizes, default=0.0)


def sets_so_far(folder: Path) -> int:
    """Return how many null sets RUN/validation holds."""
    found = _read(folder)
    return 0 if found is None else len(found)


def _read(folder: Path) -> Searched | None:
    """Return what has been found so far; None where nothing has, or it cannot be read."""
    try:
        return read_document(folder / SEARCHED, Searched)
    except ConfigurationError:
        return None


def search_nulls(
    run: Run,
    sets: int,
    feature: str,
    contrast: Float[np.ndarray, " particles"] | None,
    seed: int,
    progress: Callable[[float], None] | None = None,
    *,
    folder: Path,
) -> NullSets:
    """Search sets in which nothing changes, or go on with those of the same search that are kept.

    Parameters
    ----------
    run : a Gaussian run.
    sets : how many.
    feature : what its regions are of, the kind of change that is looked at.
    contrast : of each particle; None for 1.
    seed : of the noise.
    progress : called with the fraction done.
    folder : RUN/validation, where each set is kept as soon as it is searched.
    """
    search = NullSearch.of(run, feature, contrast)
    kept = _read(folder)
    found = Searched(search.digest(seed))
    if kept is not None and kept.search == found.search:
        found = kept
        LOGGER.info("%s: %d of %d null sets are searched already", folder / SEARCHED, min(len(found), sets), sets)
    folder.mkdir(exist_ok=True)
    begun = min(len(found), sets)
    with _quiet(), Progress("null sets", sets, start=begun, unit="sets", lasting=True) as shown:
        for stream in np.random.default_rng(seed).spawn(sets)[begun:]:
            found = found.with_next(*search.search(stream))
            write_json(folder / SEARCHED, to_dict(found))
            shown.show(len(found))
            if progress is not None:
                progress(len(found) / sets)
    found = found.first(sets)
    result = NullSets(found.directions, found.change, feature)
    LOGGER.info(
        "directions found where nothing changes: %d of %d sets; their regions change by %.3g at most",
        result.with_directions,
        sets,
        max(result.change, default=0.0),
    )
    return result


def subspace_similarity(
    subspace: Subspace, neutral: Gaussians, feature: str, count: int
) -> Float[np.ndarray, "gaussians gaussians"]:
    """Return how much Gaussians change together by a subspace alone, its coordinates of variance 1.

    Parameters
    ----------
    subspace : of the Gaussians.
    neutral : N Gaussians.
    feature : "amplitude", "motion" or "both".
    count : particles that the subspace was found on.
    """
    position, amplitude, _ = parts_of(subspace.layout, np.asarray(subspace.modes, np.float64))
    shift, gain, _ = parts_of(subspace.layout, np.asarray(subspace.mean, np.float64)[..., None])
    weight = relative_amplitude(neutral.take(None), neutral)[0]
    width = float(np.median(neutral.sigma))
    columns = {
        "amplitude": (np.asarray(amplitude * weight[:, None])[:, None], (weight[:, None] * (1 + gain))[:, None]),
        "motion": (np.asarray(position) / width, np.asarray(shift) / width),
    }
    kinds = ("amplitude", "motion") if feature == "both" else (feature,)
    modes = np.concatenate([columns[kind][0] for kind in kinds], axis=1)
    mean = np.concatenate([columns[kind][1] for kind in kinds], axis=1)
    rows = modes.reshape(-1, subspace.rank)
    return similarity_of(rows @ rows.T, mean.reshape(-1), count, feature)


def with_noise(
    images: Float[np.ndarray, "particles n n"], ring_weight: Float[np.ndarray, "n half"], random: np.random.Generator
) -> Float[np.ndarray, "particles n n"]:
    """Return images with noise of power 1 / weight in each ring; none in rings of weight 0.

    Parameters
    ----------
    images : without noise.
    ring_weight : of each Fourier pixel's squared error, the same all over a ring but where it is 0.
    random : draws the noise.
    """
    n = images.shape[-1]
    ring = ring_index(n)
    weight = np.zeros(int(ring.max()) + 1)
    np.maximum.at(weight, ring, np.asarray(ring_weight, np.float64))
    power = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), 0)
    factor = (np.sqrt(power)[ring] / n).astype(np.float32)
    noisy = np.empty_like(images)
    for start in range(0, len(images), TOGETHER):
        here = slice(start, start + TOGETHER)
        white = random.standard_normal(images[here].shape, np.float32)
        noisy[here] = images[here] + np.fft.irfft2(np.fft.rfft2(white) * factor, s=(n, n))
    return noisy


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep each search from telling what it finds, which would read as the run's own findings."""
    logger = logging.getLogger(SEARCH)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _projected(
    model: Any, mixture: Gaussians, sample: Batch, pose: Pose, contrast: Float[np.ndarray, " particles"]
) -> Float[np.ndarray, "particles n n"]:
    """Return the noise-free images of a mixture as the particles of a sample are seen at some poses.

    They have as many pixels as the images of the sample, over the width of the run's.
    """
    n = sample.images.shape[-1]
    pixel_size = model.pixel_size * model.box_size / n
    frequencies, seen = half_plane(n, pixel_size), dataclasses.replace(sample, pose=pose).observation

    def one(observation: Observation, strength: Array) -> Array:
        plane = observed(model.render(mixture, observation.pose, n, pixel_size), observation, frequencies)
        return real_image(strength * model.image_scale * plane, n)

    several = jax.jit(jax.vmap(one))
    images = np.empty((len(contrast), n, n), np.float32)
    for start in range(0, len(images), TOGETHER):
        place = np.resize(np.arange(start, min(start + TOGETHER, len(images))), TOGETHER)  # one shape is compiled
        part = jax.tree.map(lambda leaf, place=place: jnp.asarray(leaf[place]), seen)
        made = np.asarray(several(part, contrast[place]))
        images[start : start + TOGETHER] = made[: len(images) - start]
    return images
