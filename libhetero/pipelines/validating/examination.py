"""The tests of a run, one after the other, and the verdict on each region."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.agreement import correlation
from libhetero.analysis.confounders import CERTAIN, MATERIAL, Followed
from libhetero.analysis.support import Evidence, verdict
from libhetero.configuration import named
from libhetero.errors import ConfigurationError
from libhetero.io.particle_findings import ParticleFindings
from libhetero.metrics.labels import label_agreement
from libhetero.metrics.regions import matched_regions
from libhetero.models.families import family_named
from libhetero.pipelines.decoding.gaussians import has_mixtures
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.decoding.particle_findings import particle_findings
from libhetero.pipelines.decoding.sampling import spread_indices
from libhetero.pipelines.maps.curves import read_off
from libhetero.pipelines.regions.record import read_record
from libhetero.pipelines.run.configuration import CONFIG
from libhetero.pipelines.run.folder import LATENTS, Run
from libhetero.pipelines.validate import NULLS, ValidateConfig
from libhetero.pipelines.validating import halves as half
from libhetero.pipelines.validating import imaging, nulls, structure, volumes
from libhetero.pipelines.validating.record import FOLDER, ClassVolume, HalfSets, NullSets, RegionFinding, Validation
from libhetero.report.fsc import draw_fsc_panels
from libhetero.report.validation import draw_canonical, draw_following, draw_nulls
from libhetero.telling import duration
from libhetero.telling.stages import timed
from libhetero.tilts import one_image_each

LOGGER = logging.getLogger(__name__)
COORDINATES = 20  # of a latent that are tested one by one
QUANTITY = {"amplitude": "relative amplitude", "motion": "displacement (sigma)", "both": "amplitude and displacement"}
Pair = tuple[half.HalfModel, half.HalfModel]


def finished(folder: str) -> Path:
    """Return a run's folder.

    Raises
    ------
    ConfigurationError : if the run is not finished.
    """
    path = Path(folder)
    if (path / CONFIG).is_file() and not (path / LATENTS).is_file():
        raise ConfigurationError(
            f"{folder}: not finished, {LATENTS} is not there; expected a run that is. Go on with e2hype_refine.py "
            f"--resume {folder}."
        )
    return path


def kept_so_far(folder: Path) -> str:
    """Return, in words, what RUN/validation holds of an examination that was left, and how to go on."""
    sets = nulls.sets_so_far(folder)
    found = half.trained_so_far(folder) + ([f"{sets} null set(s)"] if sets else [])
    if not found:
        return "none of its long parts is done. The same command begins anew."
    return f"kept in {folder}: {'; '.join(found)}. The same command goes on from there."


@dataclass(eq=False)
class Examination:
    """A run and what has been found of it so far.

    Parameters
    ----------
    run : finished.
    config : what was asked for.
    latent : of every particle.
    sets : null sets to search.
    chosen : places of the particles whose Gaussians are looked at; of tilt series, of one image each.
    found : how the run's Gaussians change over these; None without Gaussians.
    label : region of each Gaussian; empty without.
    members : of the half-sets; None where they are not looked at.
    findings : what the run says of each particle besides; None where it does not.
    """

    run: Run
    config: ValidateConfig
    latent: Float[np.ndarray, "particles latent"]
    sets: int
    chosen: Int[np.ndarray, " chosen"]
    found: structure.Structure | None
    label: Int[np.ndarray, " gaussians"]
    members: tuple[half.Half, half.Half] | None
    findings: ParticleFindings | None
    followed: Followed | None = None
    curves: volumes.Curves = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, config: ValidateConfig) -> Examination:
        """Look at what a run says, and refuse what cannot be tested before anything long begins."""
        sets = _null_sets(run, config)
        latent = particle_latents(run, config.batch_size)
        first, _ = one_image_each(run.particles)
        count = len(first)
        changes = latent.shape[1] > 0
        members = half.half_sets(run.particles) if changes and not config.skip_halves else None
        findings = particle_findings(run)
        if not (has_mixtures(run) and changes):
            chosen, found, label = first[spread_indices(count, structure.MOST_PARTICLES)], None, np.zeros(0, np.int64)
            return cls(run, config, latent, sets * changes, chosen, found, label, members, findings)
        with timed(LOGGER, "how Gaussians change over the particles"):
            chosen = first[spread_indices(count, structure.looked_at(run, count))]
            feature = structure.feature_of(run, latent, config.batch_size)
            found = structure.structure_of(run, latent[chosen], feature, config.batch_size, config.memory)
            label = structure.regions_of_run(run, found)
        return cls(run, config, latent, sets, chosen, found, label, members, findings)

    @property
    def count(self) -> int:
        """Number of regions that change."""
        return int(max(self.label.max(initial=0), 0))

    def budget(self) -> Iterator[str]:
        """Yield what is going to be done, and how long it takes where that can be told."""
        if not self.latent.shape[1]:
            yield f"{self.run.folder}: no direction of change was found; there is nothing to validate"
            return
        if self.members is not None:
            seconds = half.seconds_of_training(self.run)
            took = "about as long as the run's own training" if seconds is None else f"about {duration(seconds)} in all"
            begun = [number for number in (1, 2) if (self.folder / f"half{number}" / LATENTS).is_file()]
            took = f"{took}; {len(begun)} trained already" if begun else took
            first, second = map(self._count_of, self.members)
            yield f"half-sets of {first} and {second} particles: two trainings, {took}"
        if self.sets:
            yield f"{self.sets} null sets: as many searches for directions, as one at the run's start"

    @property
    def folder(self) -> Path:
        """RUN/validation."""
        return self.run.folder / FOLDER

    def validation(self, progress: Callable[[float], None]) -> Validation:
        """Make every test and return what they come to.

        Parameters
        ----------
        progress : called with the fraction done.
        """
        pair = self._trained(lambda done: progress(0.6 * done))
        compared: HalfSets | None = None
        found_volumes: tuple[ClassVolume, ...] = ()
        overlap: list[np.ndarray] = []
        same: list[float] = []
        if pair is not None:
            with timed(LOGGER, "half-sets compared"):
                compared, overlap, same = self._compared(pair)
                found_volumes = self._volumes(pair)
        progress(0.7)
        nothing = self._nulls(lambda done: progress(0.7 + 0.25 * done))
        with timed(LOGGER, "latents and regions against how particles were imaged"):
            names, self.followed = self._followed()
        regions = tuple(self._region(one, overlap, same, nothing) for one in range(1, self.count + 1))
        progress(1.0)
        return Validation(
            str(self.run.folder),
            self.run.config.family,
            self.run.particles.distinct,
            regions,
            compared,
            nothing,
            imaging.following(self.followed, names),
            found_volumes,
        )

    @cached_property
    def _once(self) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " images"]]:
        """One image of each particle, and the particle of each image, as `one_image_each` gives them."""
        return one_image_each(self.run.particles)

    def _count_of(self, members: half.Half) -> int:
        """Return how many particles some images show."""
        return len(np.unique(self._once[1][members]))

    def _trained(self, progress: Callable[[float], None]) -> Pair | None:
        """Return the models of the half-sets, trained where they are not yet."""
        if self.members is None:
            return None
        self.folder.mkdir(exist_ok=True)
        models = []
        for number, members in enumerate(self.members, 1):
            with timed(LOGGER, f"half-set {number} of 2, {self._count_of(members)} particles"):
                told = partial(_halfway, progress, number)
                models.append(half.train_half(self.run, number, members, self.folder, told))
        return models[0], models[1]

    def _compared(self, pair: Pair) -> tuple[HalfSets, list[np.ndarray], list[float]]:
        """Return how far the half-sets agree; the overlap of each region with each half's, and its coordinates'."""
        batch = self.config.batch_size
        latents = [model.latents(batch) for model in pair]
        first, _ = self._once
        canonical, predicted = half.latents_agree(latents[0][first], latents[1][first], self.config.seed)
        sizes = (self._count_of(pair[0].members), self._count_of(pair[1].members))
        if self.found is None:
            return HalfSets(sizes, (), (), canonical, predicted), [], []
        feature = self.found.changes.feature
        seen = [
            structure.structure_of(model.whole, latent[self.chosen], feature, batch, self.config.memory)
            for model, latent in zip(pair, latents, strict=True)
        ]
        pairs = ((seen[0].label, seen[1].label), (self.label, seen[0].label), (self.label, seen[1].label))
        agreement = tuple(label_agreement(1 + one, 1 + other)["ari"] for one, other in pairs)
        LOGGER.info(
            "regions of the half-sets agree over Gaussians: ARI %.2f (with the run's %.2f and %.2f)", *agreement
        )
        same = []
        for region in range(1, self.count + 1):
            first, second = (one.coordinate(np.flatnonzero(self.label == region)) for one in seen)
            same.append(abs(correlation(first, second)))
        counts = tuple(int(max(one.label.max(initial=0), 0)) for one in seen)
        overlap = [matched_regions(self.label, one.label)[1] for one in seen]
        return HalfSets(sizes, counts, agreement, canonical, predicted), overlap, same

    def _volumes(self, pair: Pair) -> tuple[ClassVolume, ...]:
        if not volumes.class_tables(self.run):
            LOGGER.info(
                "no classes of particles to compare; e2hype_embed.py %s --classes K makes some", self.run.folder
            )
            return ()
        found, self.curves = volumes.compare_classes(self.run, pair, self.config.batch_size)
        return found

    def _nulls(self, progress: Callable[[float], None]) -> NullSets | None:
        if not self.sets or self.found is None:
            return None
        contrast = None if self.findings is None else imaging.strength_of(self.findings)
        with timed(LOGGER, f"{self.sets} sets in which nothing changes"):
            feature = self.found.changes.feature
            return nulls.search_nulls(
                self.run, self.sets, feature, contrast, self.config.seed, progress, folder=self.folder
            )

    def _followed(self) -> tuple[tuple[str, ...], Followed]:
        """Return names of the coordinates tested, and what they follow."""
        columns = min(self.latent.shape[1], COORDINATES)
        names = [f"latent {number + 1}" for number in range(columns)]
        coordinates = [self.latent[self.chosen, number] for number in range(columns)]
        for region in range(1, self.count + 1):
            names.append(f"region {region}")
            coordinates.append(self.found.coordinate(np.flatnonzero(self.label == region)))  # type: ignore[union-attr]
        properties = imaging.properties_of(self.run.particles, self.findings, self._sides())
        table = np.stack(coordinates, axis=1) if coordinates else np.zeros((len(self.chosen), 0))
        found = imaging.followed(properties, tuple(names), table.astype(np.float64), self.chosen, self.config.seed)
        return tuple(names), found

    def _sides(self) -> Int[np.ndarray, " particles"] | None:
        """Return the half-set of each particle; None where they are not looked at."""
        if self.members is None:
            return None
        return np.isin(np.arange(len(self.latent)), self.members[1]).astype(np.int64)

    def _region(
        self, region: int, overlap: list[np.ndarray], same: list[float], nothing: NullSets | None
    ) -> RegionFinding:
        """Return what the tests come to for one region."""
        members = np.flatnonzero(self.label == region)
        change = float(np.median(self.found.size[members]))  # type: ignore[union-attr]
        row = region - 1
        both = (float(overlap[0][row]), float(overlap[1][row])) if overlap else None
        coordinate = same[row] if same else None
        rate = None if nothing is None else nothing.false_positive(change)
        worst = self._worst(row)
        searched = 0 if nothing is None else len(nothing.change)
        evidence = Evidence(both, coordinate, rate, searched, worst, self._p_value(region))
        said = verdict(evidence)
        LOGGER.info("region %d: %s: %s", region, said.word, "; ".join(said.reasons))
        follows = "" if worst is None else worst[0]
        return RegionFinding(region, len(members), change, both, coordinate, rate, follows, said.word, said.reasons)

    def _p_value(self, region: int) -> float | None:
        """Return what the segmentation says of a region; None where it says nothing."""
        record = read_record(self.run.regions_folder)
        if record is None:
            return None
        return next((one.p_value for one in record.regions if one.region == region), None)

    def _worst(self, row: int) -> tuple[str, float] | None:
        """Return what a region's coordinate follows in a material way; the regions' are the last ones."""
        if self.followed is None or not self.followed.share.size:
            return None
        return self.followed.worst(self.followed.share.shape[1] - self.count + row)

    @property
    def _tested(self) -> bool:
        return self.followed is not None and self.followed.share.size > 0

    def draw(self, folder: Path, found: Validation) -> list[Path]:
        """Draw the figures and return their paths.

        Parameters
        ----------
        folder : to draw into.
        found : as `validation` gives it.
        """
        paths = []
        if found.nulls is not None:
            paths.append(folder / "nulls.png")
            changes = {one.region: one.change for one in found.regions}
            draw_nulls(paths[-1], found.nulls.change, changes, QUANTITY[found.nulls.feature])
        if found.halves is not None and found.halves.canonical:
            paths.append(folder / "half_sets.png")
            draw_canonical(paths[-1], found.halves.canonical)
        if self._tested:
            paths.append(folder / "imaging.png")
            self._draw_following(paths[-1], found)
        if self.curves:
            paths.append(folder / "class_volumes.png")
            pixel_size = self.run.model.pixel_size
            panels = {
                title: {name: read_off(fsc, volumes.HALF_MAPS, pixel_size) for name, fsc in panel.items()}
                for title, panel in self.curves.items()
            }
            draw_fsc_panels(paths[-1], panels, pixel_size)
        return paths

    def _draw_following(self, path: Path, found: Validation) -> None:
        seen: Any = self.followed
        names = list(dict.fromkeys(one.coordinate for one in found.following))
        draw_following(path, seen.names, names, seen.share, (seen.share > MATERIAL) & (seen.p_value < CERTAIN))


def _halfway(progress: Callable[[float], None], number: int, done: float) -> None:
    """Tell the fraction done of two half-sets."""
    progress(0.5 * (number - 1 + done))


def _null_sets(run: Run, config: ValidateConfig) -> int:
    """Return how many null sets to search; those of a run that has no such search are none.

    Raises
    ------
    ConfigurationError : if they were asked for in such a run.
    """
    title = family_named(run.config.family).title
    searches = has_mixtures(run) and getattr(run.model, "subspace", None) is not None
    if searches:
        return NULLS if config.nulls is None else config.nulls
    if config.nulls:
        raise ConfigurationError(
            f"{named(config, 'nulls')} {config.nulls}: {run.folder} ({title}) has made no search for directions of "
            "change, which null sets would repeat; leave it out."
        )
    LOGGER.info("no null sets: a %s run with these settings makes no search for directions to repeat", title)
    return 0
