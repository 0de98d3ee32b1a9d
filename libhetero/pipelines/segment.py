"""Regions of a Gaussian run, and the classes of particles that each region tells apart."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.analysis.configuration import REGIONS, RegionConfig
from libhetero.configuration import asked, check_options, declared, internal, named, option
from libhetero.configuration.limits import MOST_BATCH, MOST_CLASSES, MOST_EPOCHS, MOST_LATENTS, MOST_MEMORY
from libhetero.errors import ConfigurationError
from libhetero.files import replacing_set
from libhetero.telling.stages import timed
from libhetero.telling.waiting import working

LOGGER = logging.getLogger(__name__)
PARTICLES = "particles"  # heading of the help
FEWEST_PARTICLES = 20  # that are looked at
FINDING = "eps", "min_size", "constant", "method"  # options of finding regions


def folder_name(value: str) -> str | None:
    """Return what is expected of the name of a folder in a run's, where this is none."""
    return None if re.fullmatch(r"\w[\w.-]*", value) else "letters, digits, _, - and ."


@dataclass(frozen=True)
class SegmentConfig:
    """How to find regions and classes of particles."""

    folder: str = option(positional="RUN", help="run folder of a Gaussian model")
    epoch: int | None = option(
        None,
        "--epoch",
        least=1,
        most=MOST_EPOCHS,
        metavar="N",
        help="use the parameters after this epoch, which training has kept (--keep_epochs); results go to RUN/epoch_NN",
        shown_default="the last ones",
    )
    feature: str = option(
        "auto",
        "--feature",
        group=REGIONS,
        choices=("auto", *declared(RegionConfig, "feature").choices),
        help="what changes of a Gaussian: amplitude (pieces come and go), motion or both; auto takes what the run has "
        "found",
    )
    memory: float = option(
        4.0, "--memory", group=REGIONS, metavar="GiB", above=0, most=MOST_MEMORY, help="for the covariance of Gaussians"
    )
    p_value: float = option(
        0.01,
        "--pvalue",
        group=REGIONS,
        metavar="P",
        above=0,
        most=1,
        help="regions are reported whose change noise alone would give with at most this probability; 1 keeps all",
    )
    given: str | None = option(
        None,
        "--regions",
        metavar="FILE",
        group=REGIONS,
        path=True,
        help="take the regions of this file, laid out as regions.txt, in place of finding some, as those changed by "
        "hand in e2hype_dashboard.py; all are reported, with what speaks for each",
    )
    regions: RegionConfig = internal(RegionConfig, "how Gaussians are grouped")
    indices: str | None = option(
        None,
        "--ind",
        metavar="FILE",
        group=PARTICLES,
        path=True,
        help="look at these particles of the run alone, by number from 0: .txt, as selections of e2hype_dashboard.py "
        "have it, or .pkl; the others are in no class",
        shown_default="all",
    )
    classes: int | None = option(
        None,
        "--classes",
        group=PARTICLES,
        metavar="K",
        least=1,
        most=MOST_CLASSES,
        help="classes a region",
        shown_default="those that are told apart, none in a continuum",
    )
    class_method: str = option(
        "kmeans", "--class_method", group=PARTICLES, choices=("kmeans", "hdbscan"), help="how to sort"
    )
    components: int = option(
        4,
        "--components",
        group=PARTICLES,
        metavar="N",
        least=2,
        most=MOST_LATENTS,
        help="coordinates of a particle by one region's outputs",
    )
    name: str | None = option(
        None,
        "--name",
        metavar="NAME",
        check=folder_name,
        help="of the folder in RUN/segmentations that keeps what is found; one of that name is replaced",
        shown_default="what is found, such as motion",
    )
    batch_size: int = option(
        64,
        "--batchsz",
        group=PARTICLES,
        metavar="N",
        least=1,
        most=MOST_BATCH,
        help="particles encoded or decoded at once",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.class_method == "hdbscan" and self.classes is not None:
            raise ConfigurationError("--classes is of k-means; leave it out with --class_method hdbscan.")
        for name in FINDING if self.given is not None else ():
            if asked(self.regions, name):
                raise ConfigurationError(
                    f"{named(self.regions, name)} is of finding regions; leave it out, or --regions {self.given}."
                )


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What was found and written.

    Parameters
    ----------
    regions : `libhetero.analysis.regions.Regions` of the Gaussians; None where nothing was found to change in training.
    record : a `libhetero.pipelines.regions.record.RegionsRecord`, what speaks for each region.
    feature : what kind of change they come from.
    classes : a `libhetero.pipelines.regions.particles.RegionClasses` for each region that changes, in order.
    page : index.html, which links the rest.
    files : all that was written but the particle lists, the page first.
    folder : that keeps them, whatever is found next.
    """

    regions: Any
    record: Any
    feature: str
    classes: tuple[Any, ...]
    page: Path
    files: tuple[Path, ...]
    folder: Path


def run(config: SegmentConfig, progress: Callable[[float], None] | None = None) -> SegmentResult:
    """Find regions and classes, and write them into the run folder and one of their own, RUN/segmentations/NAME.

    Parameters
    ----------
    config : how.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.analysis.regions import find_regions, given_regions
    from libhetero.pipelines.decoding.gaussians import measure_changes, neutral_gaussians
    from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.regions import account
    from libhetero.pipelines.regions.evidence import judge_regions
    from libhetero.pipelines.regions.files import check_mixture, read_labels
    from libhetero.pipelines.run.folder import open_run

    advance = progress or (lambda fraction: None)
    start = time.monotonic()
    trained = open_run(config.folder, config.epoch)
    neutral = neutral_gaussians(trained)  # refuses a run without Gaussians before anything is encoded
    label = None if config.given is None else read_labels(config.given, len(neutral.sigma))
    if config.given is not None:
        check_mixture(config.given, trained, neutral)
    rows = _rows(config, len(trained.particles))
    part = dataclasses.replace(trained, particles=trained.particles.take(rows))
    if shows_nothing(trained):
        return _write_nothing(config, trained, rows)
    with timed(LOGGER, "1/6 how Gaussians change over the particles"):
        latent = particle_latents(trained, config.batch_size)[rows]
        changes = measure_changes(
            trained, latent, config.feature, config.batch_size, config.memory, lambda done: advance(0.3 * done)
        )
    with timed(LOGGER, "2/6 regions of Gaussians"):
        grouping = dataclasses.replace(config.regions, feature=changes.feature)
        with working(LOGGER.info, f"{config.regions.embedding.upper()} and clusters of Gaussians"):
            similarity = changes.similarity()
            regions = (
                find_regions(similarity, grouping) if label is None else given_regions(similarity, label, grouping)
            )
        account.tell(regions, changes)
    with timed(LOGGER, "3/6 what particles bear out of them"):
        with working(LOGGER.info, "evidence of the particles for each region"):
            judged = judge_regions(part, changes, regions, config.p_value, keep_all=label is not None)
        account.tell_evidence(judged, config.p_value)
    if judged.regions.count == 0:
        return _write_nothing(config, trained, rows, changes, judged)
    with _Kept.claimed(config, trained, changes.feature) as kept, replacing_set(trained.folder):
        result = _write(config, trained, rows, latent, changes, regions, judged, start, kept.folder, advance)
        kept.keep(trained.folder)
    write_results_page(trained.folder)
    return result


def _rows(config: SegmentConfig, count: int) -> Any:
    """Return the places of the particles that are looked at, in order, of `count` of the run."""
    import numpy as np

    from libhetero.io.indices import read_indices

    if config.indices is None:
        return np.arange(count)
    rows = np.unique(read_indices(config.indices, count, config.folder))
    if len(rows) < FEWEST_PARTICLES:
        raise ConfigurationError(
            f"{config.indices}: {len(rows)} particle(s); expected {FEWEST_PARTICLES} or more, as fewer tell no change "
            "from noise."
        )
    return rows


@dataclass(frozen=True)
class _Kept:
    """How a segmentation is kept, of which other programs find the latest in the run folder.

    Parameters
    ----------
    folder : RUN/segmentations/NAME.
    options, command : see `libhetero.pipelines.run.kept.Made`.
    """

    folder: Path
    options: dict[str, Any]
    command: str

    @classmethod
    @contextlib.contextmanager
    def claimed(cls, config: SegmentConfig, trained: Any, feature: str) -> Iterator[_Kept]:
        """Yield how that of an open run is kept, where no other call keeps one; one of before is kept first."""
        from libhetero.pipelines.decoding.evaluation_folder import DIGEST, file_digest
        from libhetero.pipelines.run import kept

        options = kept.options_of(config, None if trained.reached is None else trained.reached.step)
        for name in ("given", "indices"):  # a file that was changed holds other ones
            if getattr(config, name) is not None:
                options[f"{name}{DIGEST}"] = file_digest(getattr(config, name))
        command = kept.command_of(kept.SEGMENTATIONS, trained.folder, config, config.regions)
        described = _described(config, feature)
        with kept.claimed_folder(trained.folder, kept.SEGMENTATIONS, config.name, described, options) as folder:
            yield cls(folder, options, command)

    def keep(self, run_folder: Path) -> None:
        """Keep what is written into the run folder, within its set."""
        from libhetero.pipelines.run import kept

        kept.keep(run_folder, self.folder, kept.REGIONS, self.options, self.command)


def _described(config: SegmentConfig, feature: str) -> str:
    """Return a name for a segmentation, such as motion, amplitude_eps_0.8 or motion_of_cluster_1."""

    def named(path: str) -> str:
        return re.sub(r"[^\w.-]", "_", Path(path).stem)

    of = [] if config.indices is None else [f"of_{named(config.indices)}"]
    if config.given is not None:
        return "_".join([named(config.given), *of])
    grouping, parts = config.regions, [feature]
    parts += ["hdbscan"] if grouping.method == "hdbscan" else []
    parts += [] if grouping.eps is None else [f"eps_{grouping.eps:g}"]
    parts += [] if config.classes is None else [f"classes_{config.classes}"]
    return "_".join([*parts, *of])


def _write_nothing(
    config: SegmentConfig, trained: Any, rows: Any, changes: Any = None, judged: Any = None
) -> SegmentResult:
    """Write that no region changes in the particles looked at, and remove what an earlier segmentation left."""
    from libhetero.pipelines.decoding.gaussians import neutral_gaussians
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.regions import account, figures, files, mixtures, page, particles
    from libhetero.pipelines.regions.evidence import more_tested
    from libhetero.pipelines.regions.record import RegionsRecord, write_record

    gaussians, count = len(neutral_gaussians(trained).sigma), len(rows)
    dropped, regions, tested, feature = (), None, 0, config.feature
    if judged is not None:
        dropped, regions, tested, feature = judged.dropped, judged.regions, judged.tested, changes.feature
    record = RegionsRecord(0, feature, gaussians, count, tested=tested, p_value=config.p_value, dropped=dropped)
    LOGGER.warning("%s: no region changes more than noise alone gives; none is written.", trained.folder)
    with _Kept.claimed(config, trained, feature) as kept, replacing_set(trained.folder):
        files.remove_region_files(trained.folder)
        particles.remove_region_classes(trained.folder)
        mixtures.remove_class_mixtures(trained.folder)
        figures.remove_region_figures(trained.folder)
        facts = account.facts_of_nothing(
            count, gaussians, dropped, config.p_value, looked=judged is not None, most=more_tested(trained)
        )
        facts += _of_a_part(config, trained, rows)
        shown = page.write_page_of_nothing(trained, facts, dropped, kept.folder)
        written = write_record(trained.folder, record)
        kept.keep(trained.folder)
    write_results_page(trained.folder)
    return SegmentResult(regions, record, feature, (), shown, (shown, written), kept.folder)


def _write(
    config: SegmentConfig,
    trained: Any,
    rows: Any,
    latent: Any,
    changes: Any,
    grouped: Any,
    judged: Any,
    start: float,
    kept: Path,
    advance: Callable[[float], None],
) -> SegmentResult:
    """Sort the particles by each region, and write all that was found of an open run.

    Parameters
    ----------
    rows : places of the particles that are looked at.
    latent : of these.
    """
    from libhetero.pipelines.decoding.gaussians import neutral_gaussians
    from libhetero.pipelines.decoding.particle_findings import latent_deviations, particle_weights
    from libhetero.pipelines.regions import account, figures
    from libhetero.pipelines.regions.files import write_region_files
    from libhetero.pipelines.regions.mixtures import class_mixtures, write_class_mixtures
    from libhetero.pipelines.regions.page import write_region_page
    from libhetero.pipelines.regions.particles import classify_regions, write_region_classes
    from libhetero.pipelines.regions.record import write_record

    neutral, regions = neutral_gaussians(trained), judged.regions
    deviation, weight = latent_deviations(trained), particle_weights(trained)
    with timed(LOGGER, "4/6 classes of particles by each region"):
        classes = classify_regions(
            trained,
            latent,
            changes,
            regions,
            [record.kind for record in judged.found],
            config.components,
            config.classes,
            config.class_method,
            config.batch_size,
            config.regions.seed,
            None if deviation is None else deviation[rows],
            lambda done: advance(0.4 + 0.3 * done),
            weight=None if weight is None else weight[rows],
            rows=rows,
        )
        files = write_region_classes(trained, classes, rows)
    with timed(LOGGER, "5/6 mean mixtures of classes"):
        mixtures = class_mixtures(trained, latent, classes, config.batch_size, lambda done: advance(0.7 + 0.3 * done))
        written = write_class_mixtures(trained, mixtures)
    with timed(LOGGER, "6/6 files and figures"):
        files = write_region_files(trained, neutral, regions) + files
        drawn = figures.draw_all_regions(trained.folder, neutral, regions, config.regions.embedding)
        drawn += figures.draw_each_region(trained.folder, neutral, regions, classes, mixtures)
        record = _record(config, changes, judged, classes)
        files.append(write_record(trained.folder, record))
        facts = account.facts(grouped, changes, judged, config.p_value, time.monotonic() - start)
        facts += _of_a_part(config, trained, rows)
        facts += [] if trained.reached is None else trained.reached.facts()
        page = write_region_page(trained, neutral, judged, mixtures, facts, drawn, written, kept)
    texts = [path for group in written.values() for path in group]
    return SegmentResult(regions, record, changes.feature, tuple(classes), page, (page, *files, *texts, *drawn), kept)


def _of_a_part(config: SegmentConfig, trained: Any, rows: Any) -> list[str]:
    """Return a sentence on which particles were looked at, where these are not all."""
    if config.indices is None:
        return []
    return [f"Of {len(rows)} of the {len(trained.particles)} particles, those of {config.indices}."]


def _record(config: SegmentConfig, changes: Any, judged: Any, classes: Any) -> Any:
    """Return what regions.json holds of regions and their classes."""
    import numpy as np

    from libhetero.pipelines.regions.record import RegionsRecord

    regions = tuple(
        dataclasses.replace(
            record,
            continuous=item.continuous,
            classes=() if item.continuous else tuple(np.bincount(item.label[item.label >= 0]).tolist()),
        )
        for record, item in zip(judged.found, classes, strict=True)
    )
    return RegionsRecord(
        len(regions),
        changes.feature,
        len(judged.regions.label),
        changes.count,
        judged.tested,
        config.p_value,
        regions,
        judged.dropped,
    )
