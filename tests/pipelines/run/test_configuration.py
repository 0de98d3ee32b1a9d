"""What a new run takes where nothing was asked for: by family and preset."""

import json

import pytest

from libhetero.errors import ConfigurationError
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config, resumed_config, write_config


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
        training.optimiser,
        training.learning_rate,
        training.batch_size,
        training.ema_decay,
        training.warmup_epochs,
        training.gradient_clip,
    )
    assert found == expected


def test_what_is_asked_for_wins():
    asked = RefineConfig("p.star", preset="small", training={"learning_rate": 5e-4})
    assert new_config(asked).training.learning_rate == 5e-4
    assert new_config(asked).training.batch_size == 16


def test_an_unknown_preset_is_named():
    with pytest.raises(ConfigurationError, match="--preset: expected one of small, default, paper; got 'huge'."):
        RefineConfig("p.star", preset="huge")


def test_a_run_may_recompute_from_now_on_also_one_that_is_older_than_the_option(tmp_path):
    write_config(tmp_path, new_config(RefineConfig(str(tmp_path / "p.star"), preset="small")))
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["model"]["remat"]
    path.write_text(json.dumps(stored))
    assert resumed_config(RefineConfig(resume=str(tmp_path)), tmp_path).model.remat is False
    assert resumed_config(RefineConfig(resume=str(tmp_path), model={"remat": True}), tmp_path).model.remat is True
