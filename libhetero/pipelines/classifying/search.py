"""The classes of all particles of a list: searched in a sample that memory holds, then told of every particle."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from libhetero.errors import DataError
from libhetero.io.particle_findings import ParticleFindings
from libhetero.models.corner_noise import measure_noise
from libhetero.models.hype.latent.central import CentralSlices, central_slices, joined
from libhetero.models.hype.latent.class_search import (
    HIGHEST_RING,
    LEAST_PARTICLES,
    Mixture,
    find_classes,
    most_particles,
)
from libhetero.models.hype.latent.classes import Judged
from libhetero.models.hype.latent.junk import junk_of
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.pipelines.run.preparation import of_finite_images
from libhetero.telling.progress import tracked
from libhetero.telling.waiting import working
from libhetero.tilts import distinct_among, one_image_each
from libhetero.training.feed import Feed, ParticleFeed, fitting_batches
from libhetero.training.preprocess import sample_indices
from libhetero.training.series import SeriesFeed, drawn_from

LOGGER = logging.getLogger(__name__)
NOISE_SAMPLE = 512
BLOCK = 4096  # particles judged at once
SURE = 0.9
MOST_CHANGING = 200  # classes of which it is told that they change within


@dataclass(frozen=True, eq=False)
class Classification:
    """What is known of the images of a list; images of one particle have its class.

    Parameters
    ----------
    label : class of each, the largest 0; -1 for junk and for images that were left out.
    probability : of the class being right, or of being junk.
    findings : contrast, evidence and probability of being junk.
    count : classes.
    spread : standard deviation of contrast.
    changes : of the classes that change within (`models.hype.latent.within`), nats a particle by which that shows.
    sure : part of the particles in a class whose class is sure.
    left_out : images that are not finite.
    part : class within its molecule of each, for molecules that move and were cut into several; -1 for none.
    """

    label: Int[np.ndarray, "images"]
    probability: Float[np.ndarray, "images"]
    findings: ParticleFindings
    count: int
    spread: float
    changes: dict[int, float]
    sure: float
    left_out: int
    part: Int[np.ndarray, "images"]

    @property
    def known(self) -> KnownClasses:
        """What others that begin with these classes are told."""
        return known_of(self.label, self.part, self.findings, self.spread)

    @property
    def in_parts(self) -> bool:
        """Whether a molecule that moves was cut into several classes; no two molecules share one."""
        return np.unique(self.part).size > np.unique(self.label).size

    @property
    def junk(self) -> Bool[np.ndarray, "images"]:
        """Which look like junk."""
        return self.findings.junk > 0.5


def known_of(
    label: Int[np.ndarray, "images"], part: Int[np.ndarray, "images"], findings: ParticleFindings, spread: float
) -> KnownClasses:
    """Return classes as those are told of them that begin with them; arguments as of `Classification`."""
    contrast = np.where(label >= 0, findings.contrast, 1.0)
    return KnownClasses(label, part, contrast, contrast**2 + findings.contrast_deviation**2, spread)


def classify_particles(
    feed: ParticleFeed, classes: int | None, seed: int, batch_size: int, progress: Callable[[float], None]
) -> Classification:
    """Return the class of each particle, found from all of its images.

    Parameters
    ----------
    feed : the particles.
    classes : how many; None to find out.
    seed : of the sample and of the search.
    batch_size : images read at once.
    progress : called with the fraction done.

    Raises
    ------
    DataError : for too few particles, or images that show nothing.
    """
    drawn = drawn_from(feed)
    check_count(drawn)
    reader = dataclasses.replace(SliceReader.of(feed, seed, batch_size), feed=drawn)
    count = len(drawn)
    chosen = sample_indices(count, most_particles(drawn.views), seed)
    if len(chosen) < count:
        LOGGER.info("searching in %d of %d particles, which memory holds", len(chosen), count)
    slices = reader.slices(chosen, "reading")
    with working(LOGGER.info, f"search for classes of {len(slices)} particles"):
        mixture = find_classes(slices, classes, seed, lambda done: progress(0.9 * done))
    if mixture.empty.all():
        raise nothing_shown()
    with working(LOGGER.info, "changes within the classes"):
        within = mixture.changes(slices, MOST_CHANGING, seed)
    changes = dict(zip(within.number.tolist(), within.gain.tolist(), strict=True))
    judged = _all_judged(reader, slices, chosen, mixture.shown())
    found = _classification(judged, mixture.spread, _left_out(feed), one_image_each(feed.particles)[1], changes)
    if not found.count:
        raise nothing_shown()
    junk = distinct_among(feed.particles, np.flatnonzero(found.junk))
    _tell(found, classes, feed.box_size * feed.pixel_size / mixture.grid.ring, junk)
    progress(1.0)
    return found


def check_count(feed: Feed) -> None:
    """Raise a DataError for too few particles to search for anything in."""
    if len(feed) < LEAST_PARTICLES:
        raise DataError(f"found {len(feed)} particles; expected at least {LEAST_PARTICLES} to tell classes apart.")


def nothing_shown() -> DataError:
    """Return the error for images in which no molecule is found."""
    return DataError(
        "the images show nothing that their poses agree on; expected a molecule. Check poses, CTF and contrast "
        "(e2hype_import.py shows them), or --box; poses that were searched for may all be wrong, too."
    )


def _left_out(feed: ParticleFeed) -> Bool[np.ndarray, "images"]:
    """Return which images were left out, as they are not finite."""
    return np.isin(np.arange(len(feed)), np.zeros(0, np.int64) if feed.bad is None else feed.bad.places())


def _cut(slices: CentralSlices, rows: Int[np.ndarray, "rows"], block: int) -> Iterator[CentralSlices]:
    """Yield slices of some particles, so many at a time."""
    for start in range(0, len(rows), block):
        yield slices.take(rows[start : start + block])


@dataclass(frozen=True, eq=False)
class SliceReader:
    """Reads particles as central slices.

    Parameters
    ----------
    feed : the particles, of one image each or of several.
    noise : by ring.
    batch_size : images at once.
    """

    feed: ParticleFeed | SeriesFeed
    noise: Float[np.ndarray, "rings"]
    batch_size: int

    @classmethod
    def of(cls, feed: ParticleFeed, seed: int, batch_size: int) -> SliceReader:
        """Measure the noise of the particles on a sample, drawn by the seed."""
        sample = of_finite_images(feed.batch(sample_indices(len(feed), NOISE_SAMPLE, seed)))
        return cls(feed, measure_noise(sample, feed.box_size), batch_size)

    def slices(self, index: Int[np.ndarray, "chosen"], what: str, ring: float = HIGHEST_RING) -> CentralSlices:
        """Return the slices of some particles up to a ring, in their order."""
        return next(self.blocks(index, len(index), what, ring))

    def blocks(
        self, index: Int[np.ndarray, "chosen"], size: int, what: str, ring: float = HIGHEST_RING
    ) -> Iterator[CentralSlices]:
        """Yield the slices of some particles up to a ring, so many at once."""
        left = len(index)
        waiting: list[CentralSlices] = []
        for made in tracked(self._batches(index, ring), left, what):
            waiting.append(made)
            left -= len(made)
            if sum(map(len, waiting)) >= size or not left:
                yield joined(waiting)
                waiting = []

    def _batches(self, index: Int[np.ndarray, "chosen"], ring: float) -> Iterator[CentralSlices]:
        """Yield the slices of some particles as they are read, without what the last batch is filled up with."""
        left = len(index)
        for batch in fitting_batches(self.feed, max(self.batch_size // self.feed.views, 1), index):
            made = central_slices(batch, self.feed.box_size, self.feed.pixel_size, ring, self.noise)
            yield made.take(np.arange(min(left, len(made))))
            left -= len(made)


def _all_judged(
    reader: SliceReader, slices: CentralSlices, chosen: Int[np.ndarray, "chosen"], mixture: Mixture
) -> Judged:
    """Return what the classes say of every particle, a block at a time; those that were searched as the search does.

    Parameters
    ----------
    reader : of all particles.
    slices, chosen : those that the classes were found in, and their places.
    mixture : of classes that show something.
    """
    count, block = len(reader.feed), max(BLOCK // reader.feed.views, 1)
    found, places, parts = mixture.judge_searched(slices), list[np.ndarray](), list[Judged]()
    if found is not None:
        rows, judged = found
        places.append(chosen[rows])
        parts.append(judged)
    left = np.setdiff1d(np.arange(count), places[0]) if places else np.arange(count)
    if len(left) and len(chosen) < count:
        parts += [mixture.judge(part) for part in reader.blocks(left, block, "sorting")]
    elif len(left):
        with working(LOGGER.info, f"classes of {len(left)} particles"):
            parts += [mixture.judge(part) for part in _cut(slices, left, block)]
    order = np.argsort(np.concatenate([*places, left]))
    names = "label", "probability", "contrast", "square", "evidence", "part"
    return Judged(*(np.concatenate([getattr(part, name) for part in parts])[order] for name in names))


def _classification(
    judged: Judged,
    spread: float,
    unread: Bool[np.ndarray, "images"],
    of: Int[np.ndarray, "images"],
    changes: dict[int, float],
) -> Classification:
    """Return the classes of images, junk and those that were left out in none, the largest class first.

    Parameters
    ----------
    judged : the particles.
    spread : of contrast.
    unread : which images were left out.
    of : the particle that each shows.
    changes : of classes that change within, by how much that shows.
    """
    left_out = np.bincount(of[~unread], minlength=len(judged.label)) == 0
    junk = np.where(left_out, 0.0, junk_of(judged.evidence, ~left_out))
    label = np.where(left_out | (junk > 0.5), -1, judged.label)
    used, size = np.unique(label[label >= 0], return_counts=True)
    number = np.full(int(judged.label.max()) + 2, -1)
    number[used[np.argsort(-size, kind="stable")]] = np.arange(len(used))
    label = number[label]
    probability = np.where(label >= 0, judged.probability * (1 - junk), junk)
    deviation = np.sqrt(np.maximum(judged.square - judged.contrast**2, 0))
    contrast, off, evidence, nothing = (
        part.astype(np.float64)[of] for part in (judged.contrast, deviation, judged.evidence, junk)
    )
    findings = ParticleFindings(contrast, off, evidence, np.where(unread, 0.0, nothing))
    changing = {int(number[one]): gain for one, gain in changes.items() if number[one] >= 0}
    own, label = label, np.where(unread, -1, label[of])
    part = np.where(label < 0, -1, (judged.label if judged.part is None else judged.part)[of])
    sure = float(np.mean(probability[own >= 0] >= SURE)) if (own >= 0).any() else 0.0
    probability = np.where(unread, 0.0, probability[of])
    return Classification(label, probability, findings, len(used), spread, changing, sure, int(unread.sum()), part)


def _tell(found: Classification, wanted: int | None, detail: float, junk: int) -> None:
    """Say how many classes there are, and how sure that is; `detail` in Å, `junk` in particles."""
    if found.count == 1:
        LOGGER.info("1 class: these images do not tell different molecules apart, to %.0f Å", detail)
    else:
        LOGGER.info(
            "%d classes; the class of %.1f %% of their particles is sure (probability %g or more)",
            found.count,
            100 * found.sure,
            SURE,
        )
    if found.changes:
        LOGGER.info(
            "%d of the classes change within: to see how, train CryoHype on all particles (e2hype_refine.py), or "
            "Gaussians on those of one class (--pointtransformer)",
            len(found.changes),
        )
    if wanted is not None and found.count < wanted:
        LOGGER.warning("--classes %d: the images tell %d apart, and no more.", wanted, found.count)
    if junk:
        LOGGER.warning("%d particles look like junk (their images show none of the molecules)", junk)
