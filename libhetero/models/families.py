"""The table of model families: all that the rest of the package asks of a family before it has a model of it.

Standard library only until a model is made, so that a program pays for the family it needs. A new family is an entry
of `FAMILIES`, a configuration, and a model that follows `libhetero.models.family.ModelFamily`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from libhetero.configuration import ArraySchema
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.hype.config import HypeConfig

if TYPE_CHECKING:
    from libhetero.models.family import ModelFamily


@dataclass(frozen=True)
class Family:
    """One family of models.

    Parameters
    ----------
    name : as config.json says it.
    title : as users read it.
    config : class of its configuration, with `preset`, `settled`, `as_asked`, `sample_size`,
        `further_size`, `takes_series`, `training_defaults` and `symmetry`.
    model : imports and returns the class of its models.
    stored : what arrays a model of a configuration is kept as, given the names of those there are.
    chosen_by : field of the configuration that chooses the family where it is given; None for none.
    flags : what a command has for such a run; "" for the family taken without a word.
    whole_latents : whether mid_00.txt holds its latents as the decoder takes them; others are encoded again.
    poses_with_latent : whether its models refine poses with the latent; for others that is done before.
    mixtures : whether it starts from Gaussians and its models follow `libhetero.models.family.MixtureFamily`.
    training : fields of the training's configuration in which it differs from the declared defaults.
    preset_training : the same by preset, above `training`.
    """

    name: str
    title: str
    config: Any
    model: Callable[[], type[ModelFamily]]
    stored: Callable[[Any, Collection[str]], Mapping[str, ArraySchema]]
    chosen_by: str | None = None
    flags: str = ""
    mixtures: bool = False
    poses_with_latent: bool = False
    whole_latents: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    preset_training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def training_defaults(self, preset: str, model: Any = None) -> dict[str, Any]:
        """Return the training's fields that this family sets at a preset.

        Parameters
        ----------
        model : configuration that the run will have; None for the preset's own.
        """
        chosen = self.config.preset(preset) if model is None else model
        return {**self.training, **self.preset_training.get(preset, {}), **chosen.training_defaults()}


def _hype_model() -> type[ModelFamily]:
    from libhetero.models.hype.model import HypeModel

    return HypeModel


def _gmm_model() -> type[ModelFamily]:
    from libhetero.models.gmm.model import GmmModel

    return GmmModel


def _hype_arrays(config: HypeConfig, names: Collection[str]) -> Mapping[str, ArraySchema]:
    from libhetero.models.hype.model import schema_of

    return schema_of(config, names)


def _gmm_arrays(config: GmmConfig, names: Collection[str]) -> Mapping[str, ArraySchema]:
    from libhetero.models.gmm.storage import schema_of

    return schema_of(config, names)


FAMILIES = (
    Family(
        name="hype",
        title="CryoHype",
        config=HypeConfig,
        model=_hype_model,
        stored=_hype_arrays,
        training={"optimiser": "muon", "learning_rate": 1e-3},
        preset_training={
            "small": {"learning_rate": 2e-3, "batch_size": 16, "ema_decay": 0.998},
            "paper": {
                "optimiser": "adam",
                "learning_rate": 1e-4,
                "warmup_epochs": 5.0,
                "gradient_clip": 0.0,
                "ema_decay": 0.0,
            },
        },
    ),
    Family(
        name="gmm",
        title="Gaussians",
        config=GmmConfig,
        model=_gmm_model,
        stored=_gmm_arrays,
        chosen_by="decoder",
        flags="--pointtransformer or --decoder mlp",
        mixtures=True,
        poses_with_latent=True,
        whole_latents=True,
        training={"learning_rate": 1e-3, "batch_size": 16, "ema_decay": 0.99, "epochs": 8},
        preset_training={"paper": {"epochs": 20}},
    ),
)


def family_named(name: str) -> Family:
    """Return a family by its name.

    Raises
    ------
    ConfigurationError : for another name.
    """
    for family in FAMILIES:
        if family.name == name:
            return family
    names = " or ".join(family.name for family in FAMILIES)
    raise ConfigurationError(f"unknown model family {name!r}; expected {names}.")
