"""Two-dimensional views of a run: its particles by latent, or its Gaussians by how they change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from libhetero.analysis.configuration import RegionConfig
from libhetero.configuration import (
    asked,
    check_options,
    declared,
    declared_options,
    named,
    option,
    same_as,
    value_of,
    whole_number,
)
from libhetero.configuration.limits import MOST_CLASSES, MOST_PARTICLES
from libhetero.errors import ConfigurationError
from libhetero.files import remove_figures, remove_stale, replacing_set
from libhetero.pipelines.segment import SegmentConfig
from libhetero.telling.waiting import working

LOGGER = logging.getLogger(__name__)
# Headings of the help; options under the last two are of particles.
GAUSSIANS, CLASSES, KNOWN = "Gaussians instead of particles", "classes of particles", "what is known of particles"
AUTO = "auto"


def _classes(text: str) -> int | str:
    """Return a number of classes, or auto."""
    try:
        return text if text == AUTO else whole_number(text)
    except ValueError:
        raise ValueError(f"expected a number of classes, or {AUTO}") from None


@dataclass(frozen=True)
class EmbedConfig:
    """What to embed, and how."""

    folder: str = option(positional="RUN", help="run folder, such as hype_00")
    epoch: int | None = same_as(SegmentConfig, "epoch", None)
    method: str = option("umap", "--method", choices=declared(RegionConfig, "embedding").choices, help="how")
    neighbours: int = same_as(RegionConfig, "neighbours", 15, group="", shown_default=None)
    min_distance: float = option(
        0.1, "--min_dist", metavar="X", least=0, most=1, help="UMAP's smallest distance of particles, 0 to 1"
    )
    seed: int = same_as(RegionConfig, "seed", group="")
    name: str | None = same_as(
        SegmentConfig,
        "name",
        help="of the folder in RUN/embeddings that keeps what is found; one of that name is replaced",
        shown_default="what it is, such as umap_classes_8",
    )
    batch_size: int = same_as(SegmentConfig, "batch_size", group="")
    gaussians: bool = option(False, "--gaussians", group=GAUSSIANS, help="embed Gaussians instead of particles")
    feature: str | None = same_as(
        SegmentConfig, "feature", None, otherwise=SegmentConfig.feature, group=GAUSSIANS, goes_with=("gaussians",)
    )
    memory: float | None = same_as(
        SegmentConfig, "memory", None, otherwise=SegmentConfig.memory, group=GAUSSIANS, goes_with=("gaussians",)
    )
    classes: int | str | None = option(
        None,
        "--classes",
        group=CLASSES,
        metavar="K",
        parse=_classes,
        least=1,
        most=MOST_CLASSES,
        check=lambda value: None if value == AUTO or isinstance(value, int) else f"a number of classes, or {AUTO}",
        help="sort the particles into K classes by their latents, k-means and then a mixture of Gaussians; auto finds "
        "how many are told apart, 1 to 1000: a continuum is one class. Of CryoHype, auto takes the molecules that "
        "training began with, where there are several",
    )
    class_method: str | None = option(
        None,
        "--class_method",
        group=CLASSES,
        choices=("kmeans", "hdbscan"),
        otherwise="kmeans",
        help="how to sort; hdbscan finds the number of classes in the plane",
    )
    min_size: int | None = option(
        None,
        "--min_size",
        group=CLASSES,
        metavar="N",
        least=2,
        most=MOST_PARTICLES,
        help="with hdbscan: fewest particles of a class",
        shown_default="a thousandth of all, at least 10",
    )
    lists: bool = option(
        False, "--lists", group=CLASSES, help="write class_NN.lst and .star for each class, and .cs of a .cs"
    )
    truth: str | None = option(
        None,
        "--truth",
        group=KNOWN,
        exclusive="known",
        metavar="FOLDER",
        help="truth of a simulated set: its labels colour the figure, and nothing else",
    )
    labels: str | None = option(
        None,
        "--labels",
        group=KNOWN,
        exclusive="known",
        metavar="FILE",
        help="lines of particle index and label, from another program, to colour the figure",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.gaussians:
            self._refuse_options_of_particles()
        if self.class_method == "hdbscan" and isinstance(self.classes, int):
            raise ConfigurationError("--classes is of k-means, and HDBSCAN finds their number; leave one of them out.")
        if self.class_method != "hdbscan" and self.min_size is not None:
            raise ConfigurationError("--min_size is of HDBSCAN; add --class_method hdbscan.")
        if self.lists and not self.sorts:
            raise ConfigurationError("--lists: which classes? Add --classes or --class_method.")

    @property
    def sorts(self) -> bool:
        """Whether particles are sorted into classes."""
        return self.classes is not None or self.class_method is not None

    def _refuse_options_of_particles(self) -> None:
        for field, said in declared_options(self):
            if said.group in (CLASSES, KNOWN) and asked(self, field.name):
                raise ConfigurationError(
                    f"{named(self, field.name)} is of particles, and Gaussians are embedded; leave it, or --gaussians, "
                    "out."
                )


@dataclass(frozen=True, eq=False)
class EmbedResult:
    """What was written.

    Parameters
    ----------
    table : text file, index x y; None where there is nothing to embed.
    figure : PNG; None likewise.
    plane : (points, 2) array; NaN for constant Gaussians; None likewise.
    label : (particles,) array, class of each, -1 for none; None without classes.
    probability : (particles,) array, of each being in its class; None without, or by HDBSCAN.
    folder : that keeps all of it, whatever is found next; None where there was nothing to write.
    names : of the plane's axes in figures; None where they are not known.
    """

    table: Path | None
    figure: Path | None
    plane: Any
    label: Any = None
    probability: Any = None
    folder: Path | None = None
    names: tuple[str, str] | None = None


def run(config: EmbedConfig, progress: Callable[[float], None] | None = None) -> EmbedResult:
    """Embed, write the table and the figure into the run folder and one of their own, RUN/embeddings/NAME.

    Parameters
    ----------
    config : what to embed.
    progress : called with the fraction done.

    Raises
    ------
    UserError : one line on what is wrong with the folder or the options.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.run.folder import open_run

    return embedded(open_run(config.folder, config.epoch), config, progress)


def embedded(trained: Any, config: EmbedConfig, progress: Callable[[float], None] | None = None) -> EmbedResult:
    """Do as `run` does with a run that is open: a `libhetero.pipelines.run.folder.Run`, that of `config.folder`."""
    from libhetero.pipelines.decoding.results_page import write_results_page
    from libhetero.pipelines.run import kept

    options = kept.options_of(config, None if trained.reached is None else trained.reached.step)
    patterns = kept.GAUSSIANS if config.gaussians else kept.PARTICLES + (kept.CLASSES if config.sorts else ())
    command = kept.command_of(kept.EMBEDDINGS, trained.folder, config)
    with kept.claimed_folder(trained.folder, kept.EMBEDDINGS, config.name, described(config), options) as folder:
        with replacing_set(trained.folder):
            result = _embedded(trained, config, progress)
            kept.keep(trained.folder, folder, patterns, options, command)
    write_results_page(trained.folder)
    return replace(result, folder=folder if folder.exists() else None)


def described(config: EmbedConfig) -> str:
    """Return a name for an embedding, such as umap_classes_8 or gaussians_pca."""
    if config.gaussians:
        return f"gaussians_{config.method}"
    if config.class_method == "hdbscan":
        return f"{config.method}_hdbscan"
    return f"{config.method}_classes_{config.classes or AUTO}" if config.sorts else config.method


def _embedded(trained: Any, config: EmbedConfig, progress: Callable[[float], None] | None) -> EmbedResult:
    """Embed what is asked for of an open run, and write it into the run folder."""
    from libhetero.pipelines.decoding.latents import particle_latents, shows_nothing
    from libhetero.pipelines.embedding.labels import known_labels

    if shows_nothing(trained):
        return _embed_nothing(config, trained)
    if config.gaussians:
        return _embed_gaussians(config, trained, progress)
    known = known_labels(trained, config.truth, config.labels)
    latent = particle_latents(trained, config.batch_size, progress)
    with replacing_set(trained.folder):
        return _embed_particles(config, trained, latent, known)


def _embed_nothing(config: EmbedConfig, trained: Any) -> EmbedResult:
    """Say that nothing was found to change in a run; its particles are one class where classes are asked for."""
    import numpy as np

    from libhetero.pipelines.embedding import particles

    LOGGER.warning(
        "%s: nothing was found to change in training, so the particles are one class and there is nothing to embed.",
        trained.folder,
    )
    what, label = "gaussians" if config.gaussians else "particles", None
    with replacing_set(trained.folder):
        remove_stale(trained.folder, f"embed_{what}.txt")
        remove_figures(trained.folder, f"embed_{what}.png")
        if config.sorts:
            label = np.zeros(len(trained.particles), int)
            particles.write_particle_classes(trained, label, config.lists)
    return EmbedResult(None, None, None, label)


def _embed_particles(config: EmbedConfig, trained: Any, latent: Any, known: list[Any]) -> EmbedResult:
    """Embed the particles of an open run by their latents, with classes and what is known of them."""
    from libhetero.analysis.classes import class_medoids
    from libhetero.pipelines.decoding.plane import plane_names
    from libhetero.pipelines.embedding import files, particles
    from libhetero.report.embedding import Labelling
    from libhetero.tilts import one_image_each

    first, of = one_image_each(trained.particles)
    how = (config.method, config.neighbours, config.min_distance, config.seed)
    points = particles.plane_of_latents(latent[first], *how)
    plane = points[of]
    table, label, probability = files.write_particle_plane(trained.folder, plane), None, None
    if config.sorts:
        if config.class_method == "hdbscan":
            label = particles.classes_in_the_plane(points, config.min_size)[of]
        else:
            wanted = config.classes if isinstance(config.classes, int) else None
            found = particles.classes_by_latents(trained, latent, wanted, config.seed, config.batch_size)
            label, probability = found.label, found.probability
        particles.write_particle_classes(trained, label, config.lists, probability)
        known = [Labelling("class", label, class_medoids(latent, label)), *known]
    names = plane_names(plane, latent)
    figure = files.draw_particle_plane(trained.folder, plane, known, names)
    return EmbedResult(table, figure, plane, label, probability, names=names)


def _embed_gaussians(config: EmbedConfig, trained: Any, progress: Callable[[float], None] | None) -> EmbedResult:
    """Embed the Gaussians of an open run by how they change over its particles."""
    from libhetero.analysis.regions import find_regions
    from libhetero.pipelines.decoding.gaussians import measure_changes, neutral_gaussians
    from libhetero.pipelines.decoding.latents import particle_latents
    from libhetero.pipelines.embedding.files import write_gaussian_plane

    neutral_gaussians(trained)  # refuses a run without Gaussians before anything is encoded
    latent = particle_latents(trained, config.batch_size, progress)
    feature, memory = value_of(config, "feature"), value_of(config, "memory")
    changes = measure_changes(trained, latent, feature, config.batch_size, memory, progress)
    grouping = RegionConfig(
        feature=changes.feature, embedding=config.method, neighbours=config.neighbours, seed=config.seed
    )
    with working(LOGGER.info, f"{config.method.upper()} and clusters of Gaussians"):
        regions = find_regions(changes.similarity(), grouping)
    with replacing_set(trained.folder):
        table, figure = write_gaussian_plane(trained.folder, changes, regions, config.method)
    return EmbedResult(table, figure, plane=regions.embedding)
