"""What a new run takes where nothing was asked for: by family and preset."""

import pytest

from libhetero.errors import ConfigurationError
from libhetero.pipelines.refine_config import RefineConfig, new_config


@pytest.mark.parametrize(
    ("family", "preset", "expected"),
    [
        (None, None, ("muon", 1e-3, 64, 0.999, 1.0, 1.0)),
        ("hype", "small", ("muon", 2e-3, 16, 0.998, 1.0, 1.0)),
        ("hype", "paper", ("adam", 1e-4, 64, 0.0, 5.0, 0.0)),
        ("gmm", None, ("adam", 1e-3, 16, 0.99, 1.0, 1.0)),
        ("gmm", "small", ("adam", 1e-3, 16, 0.99, 1.0, 1.0)),
    ],
)
def test_training_follows_family_and_preset(family, preset, expected):
    """Optimiser, rate, batch, running average, warm-up and clipping; CryoHype's paper preset as published."""
    training = new_config(RefineConfig("p.star", family=family, preset=preset)).training
    found = (
        training.optimiser, training.learning_rate, training.batch_size, training.ema_decay, training.warmup_epochs,
        training.gradient_clip,
    )  # fmt: skip
    assert found == expected


def test_what_is_asked_for_wins():
    asked = RefineConfig("p.star", preset="small", training={"learning_rate": 5e-4})
    assert new_config(asked).training.learning_rate == 5e-4
    assert new_config(asked).training.batch_size == 16


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigurationError, match="unknown preset 'huge'"):
        new_config(RefineConfig("p.star", preset="huge"))
