"""What a refinement can be asked for: the run's own options, and fields of the configurations that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from libhetero.configuration import check_options, from_dict, internal, option, same_as
from libhetero.configuration.limits import MOST_LENGTH, MOST_PROCESSES
from libhetero.errors import ConfigurationError
from libhetero.models.families import FAMILIES, Family, family_named
from libhetero.models.options import DEFAULT, MODEL, PRESETS
from libhetero.pipelines.run.data import FEEDING, PARTICLES, DataConfig, ParticleListConfig
from libhetero.training.configuration import AUTOMATIC, TRAINING, PreprocessConfig, TrainingConfig

RUN, PROCESSES = "run", "several processes (found by themselves in a Slurm step)"
HEADINGS = (RUN, PROCESSES, PARTICLES, FEEDING, MODEL, TRAINING)
PARTS: dict[str, tuple[type, ...]] = {  # fields of `RefineConfig`, and the configurations whose fields they hold
    "data": (DataConfig,),
    "preprocess": (PreprocessConfig,),
    "model": tuple(family.config for family in FAMILIES),
    "training": (TrainingConfig,),
}


@dataclass(frozen=True)
class RefineConfig:
    """What was asked for; what was not takes its default, or on resuming what the run has."""

    particles: str | None = same_as(ParticleListConfig, "particles", None, help="may be left out with --resume")
    family: str | None = internal(None, "name of the family; None for that of the options")
    preset: str | None = option(
        None,
        "--preset",
        "--hype_preset",
        "--pt_preset",
        choices=PRESETS,
        group=MODEL,
        help="sizes of the model: small, a smaller network for a first look, few CPU cores or little memory; paper, "
        "encoder and loss, and CryoHype's training, as published",
        shown_default=DEFAULT,
    )
    coarsest: float | None = option(
        None, "--minres", least=0, most=MOST_LENGTH, metavar="Å", group=MODEL, help="coarsest ring compared, Gaussians"
    )
    finest: float | None = option(
        None, "--maxres", least=0, most=MOST_LENGTH, metavar="Å", group=MODEL, help="finest ring compared, Gaussians"
    )
    settings: tuple[str, ...] = option(
        (),
        "--set",
        repeated=True,
        metavar="NAME=VALUE",
        group=MODEL,
        help="any other field of the model's configuration; repeatable",
    )
    data: dict[str, Any] = internal(dict, "fields of `DataConfig`")
    preprocess: dict[str, Any] = internal(dict, "fields of `PreprocessConfig`")
    model: dict[str, Any] = internal(dict, "fields of the family's configuration")
    training: dict[str, Any] = internal(dict, "fields of `TrainingConfig`; the batch may be automatic")
    folder: str | None = option(
        None, "--path", metavar="FOLDER", group=RUN, help="run folder to make", shown_default="the next hype_NN"
    )
    resume: str | None = option(
        None,
        "--resume",
        metavar="FOLDER",
        group=RUN,
        help="go on with this run, on any number of devices; with a larger --niter, train it further",
    )
    dry_run: bool = option(
        False, "--dry_run", group=RUN, help="tell parameters, work, memory and time after a few steps; make no run"
    )
    tensorboard: bool = option(
        False, "--tensorboard", group=RUN, help="also write events for TensorBoard, into FOLDER/tensorboard"
    )
    requeue: bool = option(
        False, "--requeue", group=RUN, help="with --path: begin the run there, or go on where it holds one"
    )
    coordinator: str | None = option(
        None,
        "--coordinator",
        metavar="HOST:PORT",
        group=PROCESSES,
        help="where process 0 listens, the same for all; auto: JAX finds it (TPU slice, Slurm, Open MPI)",
    )
    process_count: int | None = option(
        None, "--nprocs", metavar="N", group=PROCESSES, least=1, most=MOST_PROCESSES, help="processes in all"
    )
    process_index: int | None = option(
        None,
        "--procid",
        metavar="I",
        group=PROCESSES,
        least=0,
        most=MOST_PROCESSES - 1,
        help="number of this process, 0 to N - 1; 0 writes the files",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.particles is None and self.resume is None:
            raise ConfigurationError("no particles were given; expected a list or a stack.")
        if self.folder is not None and self.resume is not None:
            raise ConfigurationError(
                f"--resume {self.resume} goes on in its own folder; leave --path {self.folder} out."
            )
        if self.requeue and self.folder is None and self.resume is None:
            raise ConfigurationError("--requeue begins or goes on in a folder with a name; add --path FOLDER.")
        if self.family is not None:
            family_named(self.family)
        from_dict(TrainingConfig, self.training_fields())

    @property
    def contrast(self) -> int | None:
        """1 or -1 where it was decided; None to estimate it."""
        return self.preprocess.get("contrast")

    @property
    def automatic_batch(self) -> bool:
        """Whether to take the largest batch that fits the devices; a run that goes on keeps its own."""
        return self.training.get("batch_size") == AUTOMATIC

    def chosen_family(self) -> Family | None:
        """Return the family that was asked for, by its name or by an option that only it has; None where none was."""
        if self.family is not None:
            return family_named(self.family)
        return next((family for family in FAMILIES if family.chosen_by in self.model), None)

    def data_fields(self) -> dict[str, Any]:
        """Return the fields of `DataConfig` that were given, particles included."""
        return self.data if self.particles is None else {**self.data, "particles": self.particles}

    def training_fields(self) -> dict[str, Any]:
        """Return the fields of `TrainingConfig` that were given as they will be used."""
        return {name: value for name, value in self.training.items() if value != AUTOMATIC}

    def model_fields(self) -> dict[str, Any]:
        """Return the fields of the model's configuration that were given by flags."""
        if not (self.coarsest or self.finest):
            return self.model
        return {**self.model, "resolution": (self.coarsest or 0.0, self.finest or 0.0)}
