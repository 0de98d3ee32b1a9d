"""What a refinement was asked for, resolved against defaults or against the run it goes on with."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.hype.config import HypeConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import RunConfig, read_config
from libhetero.training.configuration import PreprocessConfig, TrainingConfig

MODEL_CONFIGS = {"hype": HypeConfig, "gmm": GmmConfig}
DEFAULT = "default"
TRAINING_DEFAULTS = {  # what is not here is that of `TrainingConfig`
    "hype": {"optimiser": "muon", "learning_rate": 1e-3},
    "gmm": {"learning_rate": 1e-3, "batch_size": 16, "ema_decay": 0.99},
}
PRESET_TRAINING = {  # where a preset has its own
    ("hype", "small"): {"learning_rate": 2e-3, "batch_size": 16, "ema_decay": 0.998},
    ("hype", "paper"): {
        "optimiser": "adam",
        "learning_rate": 1e-4,
        "warmup_epochs": 5.0,
        "gradient_clip": 0.0,
        "ema_decay": 0.0,
    },
}
CHANGEABLE = (  # on resuming, the new value is taken: none of them decides what is learnt
    "data.max_bad",
    "data.cache",
    "model.remat",
    "training.accumulate",
    "training.keep",
    "training.report_every",
    "training.checkpoint_every",
)


@dataclass(frozen=True)
class RefineConfig:
    """What was asked for; what was not takes its default, or on resuming what the run has.

    Parameters
    ----------
    particles : list or stack; may be left out on resuming.
    family : "hype" (default) or "gmm".
    preset : "small", "default" or "paper" sizes of the model.
    model : fields of `HypeConfig` or `GmmConfig` that differ from the preset.
    settings : the same as text, "name=value".
    training : fields of `TrainingConfig`.
    data : fields of `DataConfig` other than particles and preprocess.
    preprocess : `box_size` and `normalise` of `PreprocessConfig`.
    contrast : 1 or -1 to decide it, None to estimate it.
    folder : run folder to make; None for the next number.
    resume : run folder to continue; None for a new run.
    automatic_batch : take the largest batch that fits the devices; a run that goes on keeps its own.
    tensorboard : write events for TensorBoard too; not stored, asked for again on resuming.
    requeue : continue the run of `folder` where it already holds one.
    processes : address of process 0, number of processes and index of this one (`processes_asked`).
    """

    particles: str | None = None
    family: str | None = None
    preset: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    preprocess: dict[str, Any] = field(default_factory=dict)
    contrast: int | None = None
    folder: str | None = None
    resume: str | None = None
    automatic_batch: bool = False
    tensorboard: bool = False
    requeue: bool = False
    processes: tuple[str | None, int | None, int | None] = (None, None, None)

    def __post_init__(self) -> None:
        if self.particles is None and self.resume is None:
            raise ConfigurationError("no particles were given; expected a list or a stack.")
        if self.folder is not None and self.resume is not None:
            raise ConfigurationError(
                f"--resume {self.resume} goes on in its own folder; leave --path {self.folder} out."
            )
        if self.requeue and self.folder is None and self.resume is None:
            raise ConfigurationError("--requeue begins or goes on in a folder with a name; add --path FOLDER.")
        if self.family is not None and self.family not in MODEL_CONFIGS:
            raise ConfigurationError(f"family: expected hype or gmm; got {self.family!r}.")
        from_dict(TrainingConfig, self.training)


def new_config(config: RefineConfig) -> RunConfig:
    """Return the configuration of a new run, before its particles are measured."""
    family, preset = config.family or "hype", config.preset or DEFAULT
    training = {**TRAINING_DEFAULTS[family], **PRESET_TRAINING.get((family, preset), {}), **config.training}
    return RunConfig(
        family=family,
        model=to_dict(model_config(family, config)),
        training=TrainingConfig(**training),
        data=DataConfig(
            config.particles,
            **config.data,
            preprocess=PreprocessConfig(contrast=config.contrast or 1, **config.preprocess),
        ),
    )


def model_config(family: str, config: RefineConfig, base: Any = None) -> Any:
    """Return the model's configuration: preset (or `base`), then the fields asked for."""
    kind = MODEL_CONFIGS[family]
    foreign = sorted(set(config.model) - {field.name for field in dataclasses.fields(kind)})
    if family == "hype" and config.data.get("mask"):
        foreign.append("mask")
    if foreign and family == "gmm":
        raise ConfigurationError(
            f"{', '.join(foreign)}: an option of CryoHype; leave it out, or leave out --pointtransformer and --decoder."
        )
    if foreign:
        raise ConfigurationError(
            f"{', '.join(foreign)}: not an option of CryoHype; leave out --nmid, --pas, --stiffness, "
            "--sym, --mask, --minres and --maxres, or add --pointtransformer or --decoder mlp."
        )
    start = kind.preset(config.preset or DEFAULT) if base is None or config.preset else base
    asked = {**config.model, **dict(_setting(kind, text) for text in config.settings)}
    return from_dict(kind, {**to_dict(start), **asked})


def resumed_config(config: RefineConfig) -> RunConfig:
    """Return the configuration of the run to go on with: as stored, but for what is `CHANGEABLE`.

    Raises
    ------
    ConfigurationError : if anything else asked for differs from it, naming every differing key.
    """
    stored = read_config(Path(config.resume))
    base = from_dict(MODEL_CONFIGS[stored.family], stored.model)
    family = config.family or stored.family
    asked = dataclasses.replace(
        stored.data,
        **config.data,
        preprocess=dataclasses.replace(
            stored.data.preprocess,
            **config.preprocess,
            **({} if config.contrast is None else {"contrast": config.contrast}),
        ),
        **({} if config.particles is None else {"particles": config.particles}),
    ).absolute()
    model = to_dict(model_config(family, config, base if family == stored.family else None))
    if model.get("latent_size") == 0:  # as many as the set shows: what it showed is stored
        model["latent_size"] = stored.model.get("latent_size")
    wanted = RunConfig(
        family=family, model=model, training=dataclasses.replace(stored.training, **config.training), data=asked
    )
    differing = _differences(to_dict(stored), to_dict(wanted))
    if differing:
        raise ConfigurationError(
            f"{config.resume}: was started with another configuration: {'; '.join(differing)}. "
            "Leave these options out, or start a new run."
        )
    return wanted


def _differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    if prefix == "" and stored["family"] != wanted["family"]:
        return [f"family is {stored['family']}, asked for {wanted['family']}"]
    for name in sorted(set(stored) | set(wanted)):
        old, new = stored.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new and f"{prefix}{name}" not in CHANGEABLE:
            found.append(f"{prefix}{name} is {old}, asked for {new}")
    return found


def _setting(kind: type, text: str) -> tuple[str, Any]:
    """Read "name=value" with the type of that field."""
    name, separator, value = text.partition("=")
    hints = typing.get_type_hints(kind)
    if not separator or name not in hints:
        raise ConfigurationError(f"--set {text}: expected name=value with a name of {', '.join(hints)}.")
    return name, _typed(hints[name], name, value)


def _typed(hint: Any, name: str, text: str) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        return tuple(_typed(item, name, part) for part in text.split(",") if part)
    if hint is bool:
        if text.lower() in ("true", "1", "yes", "false", "0", "no"):
            return text.lower() in ("true", "1", "yes")
    else:
        try:
            return hint(text)
        except ValueError:
            pass
    raise ConfigurationError(f"--set {name}={text}: expected a value of type {hint.__name__}.")
