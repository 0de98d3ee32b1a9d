"""What help says of the defaults that follow the family and the preset, made of the table of families."""

from __future__ import annotations

import dataclasses
from typing import Any

from libhetero.configuration import declared, declared_options
from libhetero.models.families import FAMILIES, Family
from libhetero.models.options import DEFAULT, PRESETS
from libhetero.training.configuration import TrainingConfig


def described_defaults() -> dict[str, str]:
    """Return the words by the field's name: "CryoHype 64, small 16; Gaussians 16".

    Fields with one default for all are left out: their declaration says it.
    """
    words = {}
    presets = {family.title: _presets(family) for family in FAMILIES}
    for name in dict.fromkeys(name for kind in _kinds() for name in _flagged(kind)):
        shown = {title: _by_preset(configurations, name) for title, configurations in presets.items()}
        shown = {title: texts for title, texts in shown.items() if texts}
        if len({text for texts in shown.values() for text in texts.values()}) > 1:
            words[name] = _joined(shown)
    return words


def _kinds() -> list[type]:
    return [TrainingConfig, *(family.config for family in FAMILIES)]


def _flagged(kind: type) -> list[str]:
    """Return the fields with a flag that takes a value."""
    return [field.name for field, said in declared_options(kind) if said.flags and not isinstance(field.default, bool)]


def _presets(family: Family) -> dict[str, tuple[Any, ...]]:
    """Return the configurations of training and of the model at each preset of a family, the default first."""
    return {
        preset: (TrainingConfig(**family.training_defaults(preset)), family.config.preset(preset))
        for preset in (DEFAULT, *PRESETS)
    }


def _by_preset(presets: dict[str, tuple[Any, ...]], name: str) -> dict[str, str]:
    """Return a field's value at each preset of a family, in words, the default first; empty without the field."""
    shown = {}
    for preset, configurations in presets.items():
        for configuration in configurations:
            if any(field.name == name for field in dataclasses.fields(configuration)):
                shown[preset] = _shown(configuration, name)
    return shown


def _shown(configuration: Any, name: str) -> str:
    said, value = declared(configuration, name), getattr(configuration, name)
    default = next(field.default for field in dataclasses.fields(configuration) if field.name == name)
    if value == default and said.shown_default is not None:
        return said.shown_default
    return f"{value:g}" if isinstance(value, float) else str(value)


def _joined(shown: dict[str, dict[str, str]]) -> str:
    """Return the default of all, or of each family, and the presets that differ from it."""
    usual = {texts[DEFAULT] for texts in shown.values()}
    parts = [] if len(usual) > 1 else [*usual]
    for title, texts in shown.items():
        others = [f"{preset} {text}" for preset, text in texts.items() if text != texts[DEFAULT]]
        own = [texts[DEFAULT]] if len(usual) > 1 else []
        if own or others:
            parts.append(f"{title} {', '.join(own + others)}")
    return "; ".join(parts)
