"""Which molecules a mixture holds, how many, and which each image is of: subspace, classes, splits and joins.

1. On low rings, the subspace of highest likelihood (`principal_subspace`); the particles' places in it are grouped by
   k-means into more classes than there may be, which are then settled: images see their volume along one slice alone,
   so that their places mean little without how sure they are in each direction (`classes`). Where these are many,
   images are regrouped one by one (`regrouping`), which needs no subspace. Where they are still more than one has
   directions for after that, 2 and 3 are left out, and particles are judged by the volumes of the classes (`judges`).
2. The volumes of the classes span a better subspace (`spanned`), which holds what tells them apart, and some modes of
   what they leave of the images (`with_residual_modes`) hold what was not told apart yet. In it classes are settled
   anew, split where the evidence asks for two (`splits`), and joined where one volume predicts other images as well as
   two do (`merges`).
3. The same on more rings, and on a finer grid.
4. Classes into which a molecule that moves was cut are found to be one molecule (`continua`). They stay what images are
   judged by, as one volume would say little of a molecule that moves far; an image is of the molecule whose classes
   together are the most probable.

Too many classes to begin with do no harm, as those of one molecule are joined in the end.

Where the classes are known, none of this is done: `known_mixture` computes their subspace on the highest ring alone.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.cluster.vq import kmeans2

from libhetero.models.hype.latent.central import CentralSlices, disc_pixels
from libhetero.models.hype.latent.classes import Judged, class_sums, judge, posterior, settled
from libhetero.models.hype.latent.continua import molecules_of, near_volumes
from libhetero.models.hype.latent.grid import FourierGrid, OnGrid, on_grid
from libhetero.models.hype.latent.judges import ByVolumes, InSubspace, to_scale, with_contrasts
from libhetero.models.hype.latent.junk import junk_of
from libhetero.models.hype.latent.known import KnownClasses
from libhetero.models.hype.latent.merges import FEW, ROUNDS, Contrast, held_out_likelihood, join_classes, near_pairs
from libhetero.models.hype.latent.normal_equations import Equations, normal_equations
from libhetero.models.hype.latent.predictive import Folded, Sorted
from libhetero.models.hype.latent.regrouping import folded_by, regrouped
from libhetero.models.hype.latent.splits import split_classes
from libhetero.models.hype.latent.subspace import Subspace, principal_subspace, spanned, with_residual_modes
from libhetero.models.hype.latent.volumes import class_volumes, sums_of
from libhetero.models.hype.latent.within import WithinClasses, changes_within

LOGGER = logging.getLogger(__name__)
BALL = 0.4  # radius of the molecules, as a part of the box


@dataclass(frozen=True)
class Stage:
    """One subspace and the search in it.

    Parameters
    ----------
    ring : cycles per box.
    oversampling : of the grid.
    """

    ring: float
    oversampling: float


LOW = Stage(8, 1.0)
STAGES = (LOW, Stage(12, 1.0), Stage(12, 1.5))
HIGHEST_RING = STAGES[-1].ring
FIRST_RANK, MOST_RANK, RESIDUAL_RANK = 40, 128, 8
REGROUPED_FROM = 64  # classes to begin with that are regrouped, where they are more
FEW_CLASSES, FEW_EACH = 24, 8  # so many classes to begin with, where there are particles enough for these
LEAST_PARTICLES = 10  # of which classes are told
SHOWS = 3.0  # standard errors by which a class's volume must predict its images better than noise alone
LEAST_SHOWN = 0.5  # nats by which it must do so on the average, beyond what sorting is worth
EACH = 40  # particles of a class to begin with, on the average
KMEANS = 10  # rounds
STEPS = 8  # in which classes are settled
FIRST_SHARE = 0.3  # of the time, for the first classes
REGROUPED_SHARE = 0.7  # of the time, for these where they are regrouped
START_SPREAD = 0.05  # of contrast
MOST_MEMORY = 3 * 2**29  # bytes of normal equations, or of slices where particles have many images
SLICE_BYTES = 28  # of a pixel: as it was read, and at a point of the grid


def most_particles(views: int = 1) -> int:
    """Return of how many particles the slices, and the normal equations in the largest subspace, are held.

    Parameters
    ----------
    views : images of each.
    """
    rank = MOST_RANK + RESIDUAL_RANK
    of_images = views * len(disc_pixels(2 * int(HIGHEST_RING) + 2, HIGHEST_RING)) * SLICE_BYTES
    return MOST_MEMORY // max(2 * (rank + 1) * (rank + 2), of_images)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Classes that were found.

    Parameters
    ----------
    grid : of the volumes.
    judges : the classes, as particles are judged by them.
    judged : the particles that were searched.
    spread : of contrast.
    empty : which classes show nothing: noise alone predicts images as well as their volumes do.
    molecule : that each class is of, from 0; -1 for empty classes.
    known : whether it was known which particles are of these classes, so that none of them is junk.
    """

    grid: FourierGrid
    judges: InSubspace | ByVolumes
    judged: Judged
    spread: float
    empty: Bool[np.ndarray, "classes"]
    molecule: Int[np.ndarray, "classes"]
    known: bool = False

    @property
    def molecules(self) -> int:
        """How many there are."""
        return int(self.molecule.max(initial=-1)) + 1

    def shown(self) -> Mixture:
        """Return the mixture without its empty classes."""
        kept = ~self.empty
        return replace(self, judges=self.judges.kept(kept), empty=self.empty[kept], molecule=self.molecule[kept])

    def labels(self, slices: CentralSlices) -> Int[np.ndarray, "particles"]:
        """Return the molecule of each particle, -1 for junk and for images without a transfer.

        Parameters
        ----------
        slices : that the classes were found in.
        """
        label, found = np.full(len(slices), -1), self.molecule[self.judged.label]
        if not self.known:
            junk = junk_of(self.judged.evidence, np.ones(len(found), bool))
            found = np.where(junk > 0.5, -1, found)
        label[_searched_rows(slices)] = found
        return label

    def parted(self, changing: Int[np.ndarray, "changing"]) -> Mixture:
        """Return the mixture in which only molecules that change have several classes; others' are their own.

        Parameters
        ----------
        changing : molecules of which it is known how they change; their numbers stay.
        """
        molecule, following = self.molecule.copy(), self.molecules
        for one in np.setdiff1d(np.arange(self.molecules), changing):
            further = np.flatnonzero(molecule == one)[1:]
            molecule[further] = np.arange(following, following + len(further))
            following += len(further)
        return replace(self, molecule=molecule)

    def contrast(self, slices: CentralSlices) -> Float[np.ndarray, "particles"]:
        """Return the contrast of each particle, 1 where it was not searched.

        Parameters
        ----------
        slices : that the classes were found in.
        """
        contrast = np.ones(len(slices), np.float32)
        contrast[_searched_rows(slices)] = self.judged.contrast
        return contrast

    def changes(self, slices: CentralSlices, most: int, seed: int) -> WithinClasses:
        """Return what changes within molecules, of at most so many, those of which images say most.

        Parameters
        ----------
        slices : that the classes were found in.
        most : molecules.
        seed : of the search.
        """
        seen = on_grid(slices, self.grid).scaled(self.contrast(slices))
        return changes_within(seen, self.labels(slices), self.molecules, most, seed)

    def judge(self, slices: CentralSlices) -> Judged:
        """Return the molecules of other particles, and how probable they are."""
        return self._of_molecules(self.judges.judge(on_grid(slices, self.grid), self.spread, self._shared))

    def judge_searched(self, slices: CentralSlices) -> tuple[Int[np.ndarray, "searched"], Judged] | None:
        """Return the same of those particles that were searched, and which they are; None where `judge` says it.

        Parameters
        ----------
        slices : that the classes were found in.
        """
        judged = self.judges.judge_searched(self._shared)
        return None if judged is None else (_searched_rows(slices), self._of_molecules(judged))

    @property
    def _shared(self) -> Int[np.ndarray, "classes"] | None:
        return self.molecule if self.molecules < len(self.molecule) else None

    def _of_molecules(self, judged: Judged) -> Judged:
        return replace(judged, label=self.molecule[judged.label], part=judged.label)


def find_classes(
    slices: CentralSlices, wanted: int | None = None, seed: int = 0, progress: Callable[[float], None] | None = None
) -> Mixture:
    """Find the classes of particles.

    Parameters
    ----------
    slices : up to ring `HIGHEST_RING`, of at most `most_particles()` particles.
    wanted : classes at most: those that differ least are joined where there are more, and each counts as a molecule;
        None to find out.
    seed : of the subspace and of k-means.
    progress : called with the fraction done.
    """
    advance: Callable[[float], None] = progress or (lambda fraction: None)
    slices = slices.take(_searched_rows(slices))
    label, place = _first_classes(slices, seed)
    LOGGER.info("begun with %d classes", label.max() + 1)
    advance(FIRST_SHARE)
    stages: Sequence[Stage] = STAGES
    begun, spread = FIRST_SHARE, START_SPREAD
    if label.max() + 1 > REGROUPED_FROM:
        low, high = (_seen(slices, Stage(ring, 1.0)) for ring in (LOW.ring, STAGES[-1].ring))
        share = REGROUPED_SHARE - FIRST_SHARE
        folded, now = regrouped(
            low, high, label, place, START_SPREAD, seed, lambda done: advance(FIRST_SHARE + share * done)
        )
        if now.label.max() + 1 > MOST_RANK:
            mixture = _by_volumes(folded, now)
            LOGGER.info(
                "to ring %g: %d classes, judged by their volumes; contrast varies by %.1f %%",
                mixture.grid.ring,
                len(mixture.judges),
                100 * mixture.spread,
            )
            advance(1.0)
            return _ended(folded.confined, mixture, wanted, seed)
        label, stages, begun = now.label, STAGES[-1:], REGROUPED_SHARE
    for number, stage in enumerate(stages):
        seen = _seen(slices, stage)
        mixture = _searched(seen, label, spread, seed)
        label, spread = mixture.judged.label, mixture.spread
        LOGGER.info(
            "to ring %g on a grid %g times as fine: %d classes in %d directions; contrast varies by %.1f %%",
            seen.grid.ring,
            stage.oversampling,
            len(mixture.judges),
            mixture.judges.directions,
            100 * spread,
        )
        advance(begun + (1 - begun) * (number + 1) / len(stages))
    return _ended(seen, mixture, wanted, seed)


def _ended(seen: OnGrid, mixture: Mixture, wanted: int | None, seed: int) -> Mixture:
    """Return classes that were found, as many as are wanted, or those of one molecule known to be of it."""
    if wanted is not None:
        return _limited(seen, mixture, wanted, seed) if mixture.molecules > wanted else mixture
    return _of_molecules(seen, mixture, seed)


def known_mixture(slices: CentralSlices, known: KnownClasses, seed: int = 0) -> Mixture:
    """Return the mixture of classes that are known, in the subspace that their volumes span.

    Parameters
    ----------
    slices : up to ring `HIGHEST_RING`, of at most `most_particles()` particles.
    known : of each of them, all in a class.
    seed : of the subspace.
    """
    rows = _searched_rows(slices)
    slices, known = slices.take(rows), known.take(rows)
    label, molecule = known.classes()
    contrast, square = (part.astype(np.float32) for part in (known.contrast, known.square))
    told = Judged(label, np.ones(len(label), np.float32), contrast, square, np.zeros(len(label), np.float32))
    judges, seen = _judges_of(slices, told, known.spread, seed)
    judged = _judged_anew(judges, seen, known.spread, molecule)
    judged = replace(judged, label=label, contrast=contrast, square=square)
    empty = np.zeros(len(judges), bool)
    return Mixture(seen.grid, judges, judged, known.spread, empty, molecule, known=True)


def _judges_of(slices: CentralSlices, told: Judged, spread: float, seed: int) -> tuple[InSubspace | ByVolumes, OnGrid]:
    """Return the judges of classes that particles are in, on the highest ring, and slices on their grid.

    Parameters
    ----------
    slices : of the particles.
    told : class, contrast and its square of each.
    spread : of contrast.
    seed : of the subspace.
    """
    if told.label.max() + 1 > MOST_RANK:
        now = Sorted(told.label, told.contrast, spread)
        folded = folded_by(_seen(slices, Stage(STAGES[-1].ring, 1.0)), now)
        return ByVolumes.of(to_scale(folded, now), now), folded.confined
    seen = _seen(slices, STAGES[-1])
    subspace = _spanned_by(seen, told.label, seed)
    equations = normal_equations(seen, subspace.table)
    return InSubspace(subspace, posterior(class_sums(equations, told.label, told))), seen


def _searched_rows(slices: CentralSlices) -> Int[np.ndarray, "searched"]:
    """Return the particles whose images show anything at all."""
    return np.flatnonzero(slices.shown)


def _seen(slices: CentralSlices, stage: Stage) -> OnGrid:
    """Return slices on the grid of a stage, which ends where they do."""
    return on_grid(slices, FourierGrid(min(stage.ring, slices.ring), stage.oversampling, BALL))


def _first_classes(
    slices: CentralSlices, seed: int
) -> tuple[Int[np.ndarray, "particles"], Float[np.ndarray, "particles rank"]]:
    """Return classes by k-means of the particles' places in the first subspace, settled once, and these places."""
    seen = _seen(slices, LOW)
    subspace = principal_subspace(seen, max(1, min(FIRST_RANK, len(slices) // FEW_EACH)), seed)
    equations = normal_equations(seen, subspace.table)
    place = equations.moments()[0].astype(np.float64)
    count = max(len(slices) // EACH, min(len(slices) // FEW_EACH, FEW_CLASSES), 1)
    start = place[np.random.default_rng(seed).choice(len(place), count, replace=False)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        _, label = kmeans2(place, start, iter=KMEANS, minit="matrix", missing="warn")
    label = np.unique(label, return_inverse=True)[1]
    return settled(equations, label, STEPS, START_SPREAD)[1].label, place


def _searched(seen: OnGrid, label: np.ndarray, spread: float, seed: int) -> Mixture:
    """Return the classes in the subspace that the volumes of given ones span, split and joined."""
    subspace = _spanned_by(seen, label, seed)
    equations = normal_equations(seen, subspace.table)
    classes, judged = settled(equations, label, STEPS, spread)
    if len(classes) <= MOST_RANK:
        label, split = split_classes(equations, classes, judged)
        if split:
            classes, judged = settled(equations, label, STEPS, judged.spread)
        joined = _joined(seen, equations, judged)
        LOGGER.info("%d classes split, %d joined", split, len(classes) - int(joined.max()) - 1)
        classes, judged = settled(equations, joined, STEPS, judged.spread)
    predicted = held_out_likelihood(seen, judged.label, Contrast(judged.contrast, judged.spread))
    return _shown_of(seen, InSubspace(subspace, classes), judged, judged.spread, predicted)


def _by_volumes(folded: Folded, now: Sorted) -> Mixture:
    """Return classes judged by their volumes, with the contrasts, and their spread, that their images say."""
    folded, now = with_contrasts(folded, now)
    judges = ByVolumes.of(folded, now)
    judged = judges.judge_searched(None)
    while len(used := np.unique(judged.label)) < len(judges):
        judges = judges.kept(np.isin(np.arange(len(judges)), used))
        judged = judges.judge_searched(None)
    return _shown_of(folded.confined, judges, judged, now.spread, judges.predicted)


def _shown_of(
    seen: OnGrid,
    judges: InSubspace | ByVolumes,
    judged: Judged,
    spread: float,
    predicted: Float[np.ndarray, "particles"],
) -> Mixture:
    """Return the mixture of classes that particles are in, those that show nothing known to be empty.

    Parameters
    ----------
    seen : slices.
    judges : the classes.
    judged : the particles.
    spread : of contrast.
    predicted : log p(x | volume of its class, made of other images) - log p(x | noise alone) of each particle.
    """
    empty = _empty(predicted, judged.label, len(judges))
    return Mixture(seen.grid, judges, judged, spread, empty, _numbered(~empty))


def _spanned_by(seen: OnGrid, label: Int[np.ndarray, "particles"], seed: int) -> Subspace:
    """Return the subspace that the volumes of classes span, with modes of what they leave of the images."""
    count = np.bincount(label).astype(np.float64)
    volumes = class_volumes(seen, label, len(count))
    subspace = spanned(volumes, count, min(MOST_RANK, max(len(count) - 1, 1)))
    return with_residual_modes(subspace, seen, label, volumes, RESIDUAL_RANK, seed)


def _numbered(shown: Bool[np.ndarray, "classes"]) -> Int[np.ndarray, "classes"]:
    """Return a number for each class that shows something, -1 for the others."""
    numbers: np.ndarray = np.where(shown, np.cumsum(shown) - 1, -1)
    return numbers


def _of_molecules(seen: OnGrid, mixture: Mixture, seed: int) -> Mixture:
    """Return the mixture with classes into which one molecule was cut known to be of it."""
    judged = mixture.judged
    contrast = Contrast(judged.contrast, mixture.spread)
    molecule = molecules_of(seen, mixture.molecule[judged.label], mixture.molecules, contrast, seed)
    if int(molecule.max(initial=-1)) + 1 == mixture.molecules:
        return mixture
    parts = np.bincount(molecule)
    LOGGER.info(
        "%d of %d classes are parts of %d molecule(s) that change",
        parts[parts > 1].sum(),
        mixture.molecules,
        np.count_nonzero(parts > 1),
    )
    molecule = np.append(molecule, -1)[mixture.molecule]
    return replace(mixture, molecule=molecule, judged=_judged_anew(mixture.judges, seen, mixture.spread, molecule))


def _judged_anew(
    judges: InSubspace | ByVolumes, seen: OnGrid, spread: float, molecule: Int[np.ndarray, "classes"]
) -> Judged:
    """Return the classes of the particles that were searched, given the molecule that each class is of."""
    judged = judges.judge_searched(molecule)
    return judges.judge(seen, spread, molecule) if judged is None else judged


def _joined(seen: OnGrid, equations: Equations, judged: Judged) -> Int[np.ndarray, "particles"]:
    """Return the classes of particles after rounds of joins."""
    label, contrast = judged.label, Contrast(judged.contrast, judged.spread)
    for number in range(ROUNDS):
        sums = class_sums(equations, label, judged)
        pairs = near_pairs(posterior(sums), sums)
        label, count = join_classes(seen, label, pairs, contrast)
        if count == 0 or (count <= FEW * len(sums.count) and number >= 1):
            break
    return label


def _empty(
    predicted: Float[np.ndarray, "particles"], label: Int[np.ndarray, "particles"], classes: int
) -> Bool[np.ndarray, "classes"]:
    """Return which classes show nothing: their volumes do not predict images better than noise alone does.

    Each image was sorted into one of K classes by its own noise, which is worth up to log K nats.
    """
    count = np.bincount(label, minlength=classes)
    mean = np.bincount(label, predicted, classes) / count
    off = np.bincount(label, (predicted - mean[label]) ** 2, classes)
    return mean <= np.maximum(SHOWS * np.sqrt(off / np.maximum(count - 1, 1) / count), LEAST_SHOWN + np.log(classes))


def _limited(seen: OnGrid, mixture: Mixture, most: int, seed: int) -> Mixture:
    """Return the classes that show something, those that differ least joined until there are `most`."""
    told, spread, judges = mixture.judged, mixture.spread, mixture.judges
    label, contrast = mixture.molecule[told.label], Contrast(told.contrast, spread)
    subspace = judges.subspace if isinstance(judges, InSubspace) else None
    equations = None if subspace is None else normal_equations(seen, subspace.table)
    while label.max() + 1 > most:
        if equations is None:
            pairs = near_volumes(sums_of(seen.scaled(told.contrast), label, int(label.max()) + 1))
        else:
            sums = class_sums(equations, label, told)
            pairs = near_pairs(posterior(sums), sums)
        label, _ = join_classes(seen, label, pairs, contrast, most)
    if subspace is None and most > MOST_RANK:
        now = Sorted(label, told.contrast, spread)
        return _by_volumes(folded_by(seen, now), now)
    if subspace is None or equations is None:
        inside = np.flatnonzero(label >= 0)
        subspace = _spanned_by(seen.take(inside), label[inside], seed)
        equations = normal_equations(seen, subspace.table)
    classes = posterior(class_sums(equations, label, told))
    judged, all_shown = judge(equations, classes, spread), np.ones(len(classes), bool)
    return Mixture(seen.grid, InSubspace(subspace, classes), judged, spread, ~all_shown, _numbered(all_shown))
