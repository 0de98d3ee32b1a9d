"""Configuration of the Gaussian mixture model."""

import json

import pytest

from libhetero.configuration import from_dict, to_dict
from libhetero.errors import ConfigurationError
from libhetero.models.gmm.config import GmmConfig

LETTERS = "auto, or letters of 'pas' (position, amplitude, sigma), each at most once"


@pytest.mark.parametrize("name", ["small", "default", "paper"])
def test_presets_travel_as_json(name):
    config = GmmConfig.preset(name)
    assert from_dict(GmmConfig, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decoder": "cnn"}, "--decoder: expected pointtransformer or mlp; got 'cnn'."),
        ({"loss": "mse"}, "loss: expected likelihood or frc; got 'mse'."),
        (
            {"vary": "pp"},
            "--pas: expected auto, or letters of 'pas' (position, amplitude, sigma), each at most once; got 'pp'.",
        ),
        (
            {"vary": ""},
            "--pas: expected auto, or letters of 'pas' (position, amplitude, sigma), each at most once; got ''.",
        ),
        ({"points": ()}, "points: expected at least one level; got none."),
        ({"points": (64, 16)}, "points: expected levels from coarse to fine; got 64 16."),
        ({"points": (0, 16)}, "points: expected 1 to 1048576; got 0."),
        ({"latent_size": 0, "encoder": "network"}, "--nmid: expected 1 or more with --encoder network; got 0."),
        ({"encoder": "cnn"}, "--encoder: expected posterior or network; got 'cnn'."),
        ({"vary": "s"}, "--pas: expected 'p' or 'a' among them, or --encoder network; got 's'."),
        ({"inference_steps": -1}, "inference_steps: expected 0 to 100; got -1."),
        ({"stiffness": -1.0}, "--stiffness: expected 0 to 1000000; got -1."),
        ({"latent_noise": -1.0}, "latent_noise: expected 0 to 1000000; got -1."),
        ({"attention_groups": -8}, "attention_groups: expected 0 to 65536; got -8."),
        ({"latent_size": -1}, "--nmid: expected 0 to 1024; got -1."),
        (
            {"symmetry": "q4"},
            "--sym: expected c1, c2 … c100, d1 …, t, tet, o, i1, i2, i3, i4 or icos (docs/conventions.md); got 'q4'.",
        ),
        ({"attention_groups": 5}, "attention_groups: expected a divisor of attention_channels (128); got 5."),
        (
            {"resolution": (5.0, 20.0)},
            "resolution: expected low and high in Å, low the larger number, 0 for the widest; got 5 20.",
        ),
    ],
)
def test_messages(values, message):
    with pytest.raises(ConfigurationError) as error:
        GmmConfig(**values)
    assert str(error.value) == message


def test_a_retired_key_is_read_where_it_did_nothing():
    stored = to_dict(GmmConfig())
    assert from_dict(GmmConfig, {**stored, "smoothness": 0.0}) == GmmConfig()
    with pytest.raises(ConfigurationError, match="GmmConfig: smoothness is 0.2, which this version has no more"):
        from_dict(GmmConfig, {**stored, "smoothness": 0.2})


@pytest.mark.parametrize("values, steps", [({"vary": "a"}, 2), ({"vary": "pa"}, 6), ({"inference_steps": 1}, 1)])
def test_steps_of_the_posterior(values, steps):
    assert GmmConfig(**values).newton_steps == steps


@pytest.mark.parametrize("box, held", [(64, 4096), (128, 4096), (256, 1024), (512, 256)])
def test_the_search_sees_as_many_particles_however_large_their_images(box, held):
    config = GmmConfig()
    assert config.sample_size(box, 256, 1) == held, "whose full images are held"
    assert config.sample_size(box, 256, 1) + config.further_size(box, 256, 1) == 4096
    assert config.sample_size(box, 256, 41) + config.further_size(box, 256, 41) == 4 * 4096 // 41
    assert GmmConfig.preset("paper").further_size(box, 256, 1) == 0, "nothing is searched for"
