"""Configuration of CryoHype."""

import json

import jax
import numpy as np
import pytest

from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError
from libhetero.models.hype.config import MOST_IMAGES, MOST_SEARCHED, HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config
from tests.making.images import batch_of, defocus_series, particles, poses

PUBLISHED = 49_806_721


def test_published_model_has_its_published_size():
    sample = batch_of(np.random.default_rng(0).normal(size=(1, 128, 128)), poses(1, 0), defocus_series(1))
    model = HypeModel.from_data(HypeConfig.preset("paper"), 128, 1.5, sample)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == PUBLISHED
    assert sum(model.config.layer_tokens()) == 129
    assert model.config.layer_sizes() == ((384, 1024), *[(1024, 1024)] * 3, (1024, 1))


@pytest.mark.parametrize("name", ["small", "default", "paper"])
def test_presets_travel_as_json(name):
    config = HypeConfig.preset(name)
    assert from_dict(HypeConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 0}, "patch: expected 1 to 4096; got 0."),
        ({"inr_layers": -1}, "inr_layers: expected 1 to 1024; got -1."),
        ({"modulation": "add"}, "modulation: expected multiply or residual; got 'add'."),
        ({"output": "real"}, "output: expected complex or hartley; got 'real'."),
        ({"precision": "half"}, "--precision: expected one of auto, float32, bfloat16; got 'half'."),
        ({"encoder": "cnn"}, "--encoder: expected one of transformer, mlp, unet; got 'cnn'."),
        ({"conditioning": "add"}, "--conditioning: expected hypernetwork or concat; got 'add'."),
        ({"encoder_input": "raw"}, "encoder_input: expected one of flipped, wiener, real; got 'raw'."),
        ({"coordinates": -5}, "coordinates: expected 0 to 16777216; got -5."),
        ({"feature_sigma": 0.0}, "feature_sigma: expected more than 0 and at most 1; got 0."),
        (
            {"encoder": "unet", "encoder_width": 12},
            "encoder_width: expected a multiple of 8 for the U-Net, whose channels are normalised in 8 groups; got 12.",
        ),
        ({"window": 1.5}, "window: expected more than 0 and at most 1; got 1.5."),
    ],
)
def test_messages(values, message):
    with pytest.raises(ConfigurationError) as error:
        HypeConfig(**values)
    assert str(error.value) == message


def test_patch_must_divide_the_box():
    with pytest.raises(ConfigurationError, match=r"divisor of the encoder's box \(20 pixels\); got 16"):
        HypeModel.from_data(HypeConfig(), 20, 1.0, sample=particles(1))
    with pytest.raises(ConfigurationError, match=r"divisor of the encoder's grid \(10 points\); got 16"):
        HypeModel.from_data(HypeConfig(lift=10), 20, 1.0, sample=particles(1))


def test_the_unets_image_must_be_large_enough():
    with pytest.raises(ConfigurationError, match="expected a box of 16 pixels or more, got 12"):
        HypeModel.from_data(HypeConfig(encoder="unet", patch=4), 12, 1.0, sample=particles(1))


def test_unknown_preset():
    with pytest.raises(ConfigurationError, match="unknown preset 'huge'"):
        HypeConfig.preset("huge")


def test_what_begins_with_volumes_has_fewer_epochs_unless_told():
    def epochs(*options):
        model, training = dict(options), {}
        return new_config(RefineConfig("particles", family="hype", model=model, training=training)).training.epochs

    assert epochs() < epochs(("start", "none")) == 20
    asked = RefineConfig("particles", family="hype", training={"epochs": 7})
    assert new_config(asked).training.epochs == 7
    assert new_config(RefineConfig("particles", family="hype", preset="paper")).training.epochs == 20


def test_classes_are_searched_in_as_many_particles_as_memory_holds():
    begun = HypeConfig(start="classes")
    assert begun.sample_size(64, 512, 1) == MOST_SEARCHED
    assert begun.sample_size(512, 512, 1) * 4 * 512**2 <= MOST_IMAGES
    assert HypeConfig(start="none").sample_size(64, 512, 1) == 512


def test_runs_from_before_there_were_classes_begin_with_none_when_they_are_read():
    stored = {name: value for name, value in to_dict(HypeConfig.preset("small")).items() if name != "start"}
    assert from_dict(HypeConfig, stored).start == "none"
    assert HypeConfig.preset("small").settled(from_dict(HypeConfig, stored)).start == "none"
