"""What a run is: resolved from what was asked for, or from the run that it goes on with; kept as config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import (
    check_options,
    declared_options,
    from_dict,
    internal,
    named,
    parsed_value,
    read_json,
    to_dict,
    write_json,
)
from libhetero.errors import ConfigurationError
from libhetero.models.families import FAMILIES, Family, family_named
from libhetero.models.options import DEFAULT
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.moved import where_it_lies
from libhetero.training.configuration import PreprocessConfig, TrainingConfig

FORMAT_VERSION = 2
CONFIG = "config.json"


@dataclass(frozen=True)
class RunConfig:
    """config.json of a run folder."""

    family: str = internal(help="name of one of `libhetero.models.families`")
    model: Any = internal(help="configuration of the family")
    training: TrainingConfig = internal(help="how the model is trained")
    data: DataConfig = internal(help="which particles")
    format_version: int = internal(FORMAT_VERSION, "of the folder", choices=(FORMAT_VERSION,))

    def __post_init__(self) -> None:
        check_options(self)


def new_config(asked: RefineConfig) -> RunConfig:
    """Return the configuration of a new run, before its particles are measured."""
    family, preset = asked.chosen_family() or FAMILIES[0], asked.preset or DEFAULT
    _refuse_unused_gaussians(family, asked)
    model = _model(family, asked, family.config.preset(preset))
    _refuse_unused_classes(model, asked)
    return RunConfig(
        family=family.name,
        model=model,
        training=_training(family, asked, model),
        data=DataConfig(**asked.data_fields(), preprocess=PreprocessConfig(**asked.preprocess)),
    )


def _refuse_unused_gaussians(family: Family, asked: RefineConfig) -> None:
    """Refuse starting Gaussians for a family that has none, where nobody has named the family.

    Raises
    ------
    ConfigurationError : naming the options that were meant.
    """
    path = asked.data.get("reference")
    if asked.chosen_family() is None and not family.mixtures and path is not None and path.endswith(".txt"):
        others = " or ".join(other.flags for other in FAMILIES if other.mixtures)
        raise ConfigurationError(
            f"{named(DataConfig, 'reference')} {path}: Gaussians, with which {family.title} begins nothing; expected a "
            f"decoder for them. Add {others}, or leave them out to train {family.title}."
        )


def _refuse_unused_classes(model: Any, asked: RefineConfig) -> None:
    """Refuse classes to begin with for a model that begins from nothing.

    Raises
    ------
    ConfigurationError : saying which option does that.
    """
    path = asked.data.get("classes")
    if path is not None and model.start == "none":
        raise ConfigurationError(
            f"{named(DataConfig, 'classes')} {path}: with {named(model, 'start')} none, training begins with no "
            f"classes; expected {named(model, 'start')} classes. Add that, or leave "
            f"{named(DataConfig, 'classes')} out."
        )


def with_model(
    config: RunConfig, asked: RefineConfig, model: Any, data: DataConfig, series: int | None = None
) -> RunConfig:
    """Return the configuration with what the particles have settled, of the model and so of its training.

    Parameters
    ----------
    config : before particles were measured.
    asked : what was asked for.
    model, data : as they are now.
    series : particles of tilt series that Gaussians take a step where nobody asked for a number; None: single images.
    """
    training = _training(family_named(config.family), asked, model, series)
    return dataclasses.replace(config, model=model, training=training, data=data)


def _training(family: Family, asked: RefineConfig, model: Any, series: int | None = None) -> TrainingConfig:
    """Return the training of a new run: what was asked for, over the defaults of a family's model.

    Parameters
    ----------
    series : as of `with_model`.
    """
    defaults = family.training_defaults(asked.preset or DEFAULT, model)
    if family.mixtures and series is not None:
        defaults = {**defaults, "batch_size": min(defaults["batch_size"], series)}
    return TrainingConfig(**{**defaults, **asked.training_fields()})


def resumed_config(asked: RefineConfig, folder: Path, steps: Callable[[], int] = lambda: 0) -> RunConfig:
    """Return the configuration of a run to go on with: as stored, but for what is declared changeable, and more epochs.

    Parameters
    ----------
    folder : of the run.
    steps : tells how many it has done; asked where it is given more epochs.

    Raises
    ------
    ConfigurationError : if anything else asked for differs from it, naming every differing key.
    """
    stored = read_config(folder)
    family = asked.chosen_family() or family_named(stored.family)
    if family.name != stored.family:
        raise _differing(folder, [f"family is {stored.family}, asked for {family.name}"])
    base = stored.model if asked.preset is None else family.config.preset(asked.preset)
    model = _model(family, asked, base).settled(stored.model)
    if model.refine_poses and not stored.model.refine_poses:  # also where the run is older than the option
        raise _differing(folder, [f"{named(stored.model, 'refine_poses')} is False, asked for True"])
    stored = dataclasses.replace(stored, model=_completed(stored.model, model, folder))
    preprocess = dataclasses.replace(stored.data.preprocess, **asked.preprocess)
    wanted = RunConfig(
        family=family.name,
        model=model,
        training=_resumed_training(stored.training, asked.training_fields(), steps),
        data=dataclasses.replace(stored.data, **asked.data_fields(), preprocess=preprocess).absolute(),
    )
    differing = list(_differences(stored, wanted))
    if differing:
        raise _differing(folder, differing)
    return wanted


def _resumed_training(stored: TrainingConfig, asked: dict[str, Any], steps: Callable[[], int]) -> TrainingConfig:
    """Return the training of a run to go on with, and take note of where it was given more epochs.

    Raises
    ------
    ConfigurationError : if it is given fewer.
    """
    wanted = dataclasses.replace(stored, **asked)
    if wanted.epochs < stored.epochs:
        raise ConfigurationError(
            f"{named(stored, 'epochs')} {wanted.epochs}: the run has {stored.epochs} epochs; expected at least as "
            "many, more to train it further."
        )
    if wanted.epochs == stored.epochs:
        return wanted
    return dataclasses.replace(wanted, extended=(*stored.extended, (stored.epochs, steps())))


def write_config(folder: Path, config: RunConfig) -> None:
    """Write config.json."""
    write_json(Path(folder) / CONFIG, to_dict(config))


def read_config(folder: Path) -> RunConfig:
    """Read config.json.

    Raises
    ------
    ConfigurationError : if it is missing, damaged or of another version, or has an unknown or misses a key.
    """
    path = Path(folder) / CONFIG
    if Path(folder).is_file():
        from libhetero.io.kinds import kind_of  # heavy, and options are declared beside this module

        raise ConfigurationError(
            f"{folder}: {kind_of(folder) or 'a file'}; expected a run folder, as e2hype_refine.py makes."
        )
    values = read_json(path)
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise ConfigurationError(
            f"{path}: format_version is {version}; this version reads {FORMAT_VERSION}. Use the version that wrote it."
        )
    if isinstance(values.get("data"), dict):
        if isinstance(values.get("model"), dict) and "inr_width" in values["model"]:
            values["model"].setdefault("blind", False)  # as runs of before encoders were not shown what is compared
        values["data"].setdefault("tilts", "apart")  # as runs of before tilt series were trained
    missing = {item.name for item in dataclasses.fields(RunConfig)} - set(values)
    if missing:
        raise ConfigurationError(f"{path}: lacks {', '.join(sorted(missing))}; restore the file.")
    try:
        config = from_dict(RunConfig, values)
        config = dataclasses.replace(config, data=where_it_lies(config.data, Path(folder)))
        return dataclasses.replace(config, model=from_dict(family_named(config.family).config, config.model))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {str(error).removesuffix('.')}; restore the file.") from error


def _completed(stored: Any, wanted: Any, folder: Path) -> Any:
    """Return a run's model with options that are younger than the run as wanted: it never had another value."""
    written = read_json(Path(folder) / CONFIG)["model"]
    younger = [name for name in _names(stored) if name not in written]
    return dataclasses.replace(stored, **{name: getattr(wanted, name) for name in younger})


def _model(family: Family, asked: RefineConfig, base: Any) -> Any:
    """Return the model's configuration: `base`, but for the fields asked for."""
    known = _names(base)
    foreign = [name for name in asked.model if name not in known]
    if "resolution" not in known:
        foreign += [name for name in ("coarsest", "finest") if getattr(asked, name)]
    if not family.mixtures and asked.data.get("mask"):
        foreign.append("mask")
    if "start" not in known and asked.data.get("classes"):
        foreign.append("classes")
    if foreign:
        raise _foreign(family, foreign)
    settings = dict(_setting(family.config, text) for text in asked.settings)
    return dataclasses.replace(base, **{**asked.model_fields(), **settings})


def _foreign(family: Family, names: list[str]) -> ConfigurationError:
    """Return the refusal of fields that only other families have."""
    others = [other for other in FAMILIES if other is not family]
    kinds = [*(other.config for other in others), DataConfig, RefineConfig]
    flags = [next(named(kind, name) for kind in kinds if name in _names(kind)) for name in names]
    instead = ", or ".join(f"add {other.flags}" if other.flags else f"leave out {family.flags}" for other in others)
    return ConfigurationError(f"{', '.join(flags)}: not an option of {family.title}; leave it out, or {instead}.")


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _setting(kind: type, text: str) -> tuple[str, Any]:
    """Read "name=value" with the type of that field."""
    name, separator, value = text.partition("=")
    if not separator or name not in _names(kind):
        raise ConfigurationError(f"--set {text}: expected name=value with a name of {', '.join(_names(kind))}.")
    try:
        return name, parsed_value(kind, name, value)
    except ValueError as error:
        raise ConfigurationError(f"--set {text}: {error}.") from None


def _differences(stored: Any, wanted: Any, prefix: str = "") -> Iterator[str]:
    """Yield in what a run's configuration and the one asked for differ, but for what may change."""
    for field, said in declared_options(stored):
        old, new = getattr(stored, field.name), getattr(wanted, field.name)
        if dataclasses.is_dataclass(old):
            yield from _differences(old, new, f"{prefix}{field.name}.")
        elif old != new and not said.changeable:
            flag = next(iter(said.flags), f"{prefix}{field.name}")
            typed = named(wanted, field.name)
            if typed in said.constants:  # a flag that is the value itself
                yield f"{flag} is {old}, asked for {typed}"
            else:
                yield f"{typed if said.flags else flag} is {old}, asked for {new}"


def _differing(folder: Path, differing: list[str]) -> ConfigurationError:
    return ConfigurationError(
        f"{folder}: was started with another configuration: {'; '.join(differing)}. "
        "Leave these options out, or start a new run."
    )
