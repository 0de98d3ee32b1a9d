"""What a new run takes where nothing was asked for: by family and preset."""

import dataclasses
import json
from pathlib import Path

import pytest

from libhetero.configuration import Option, declared_options, named
from libhetero.errors import ConfigurationError
from libhetero.models.hype.config import HypeConfig
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config, read_config, resumed_config, with_model, write_config
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.defaults import described_defaults
from libhetero.training.configuration import PreprocessConfig, TrainingConfig


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


@pytest.mark.parametrize(
    ("family", "series", "asked", "expected"),
    [
        ("gmm", None, {}, 16),
        ("gmm", 4, {}, 4),
        ("gmm", 80, {}, 16),
        ("gmm", 4, {"batch_size": 8}, 8),
        ("hype", 4, {}, 64),
    ],
)
def test_gaussians_take_fewer_particles_of_tilt_series_a_step(family, series, asked, expected):
    wanted = RefineConfig("p.star", family=family, training=asked)
    config = new_config(wanted)
    assert with_model(config, wanted, config.model, config.data, series).training.batch_size == expected


@pytest.mark.parametrize(("vary", "rate"), [("a", 2e-3), ("p", 1e-3), ("pa", 1e-3)])
def test_presence_alone_is_learnt_at_a_higher_rate(vary, rate):
    wanted = RefineConfig("p.star", family="gmm")
    config = new_config(wanted)
    settled = dataclasses.replace(config.model, vary=vary)
    assert with_model(config, wanted, settled, config.data).training.learning_rate == rate


def test_classes_to_begin_with_are_refused_where_nothing_is_begun_with():
    given = {"data": {"classes": "classes"}}
    assert new_config(RefineConfig("p.star", **given)).data.classes == "classes"
    for asked in ({"preset": "paper"}, {"model": {"start": "none"}}):
        with pytest.raises(
            ConfigurationError, match="--classes classes: with --start none, .* expected --start classes"
        ):
            new_config(RefineConfig("p.star", **given, **asked))
    with pytest.raises(ConfigurationError, match="--classes: not an option of Gaussians"):
        new_config(RefineConfig("p.star", family="gmm", **given))


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


@pytest.mark.parametrize("preset", ["small", "paper"])
@pytest.mark.parametrize("family", ["gmm", "hype"])
def test_a_run_that_is_older_than_an_option_goes_on_with_its_own_preset(tmp_path, family, preset):
    """The preset says of the contrast of particles what the run never heard of."""
    asked = RefineConfig(str(tmp_path / "p.star"), family=family, preset=preset)
    write_config(tmp_path, new_config(asked))
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["model"]["particle_contrast"]
    path.write_text(json.dumps(stored))
    again = resumed_config(RefineConfig(resume=str(tmp_path), family=family, preset=preset), tmp_path)
    assert again.model.particle_contrast == new_config(asked).model.particle_contrast


def another(said: Option, value: object) -> object:
    """Return a value that an option may have, other than this one."""
    if said.choices:
        return next(choice for choice in said.choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple) and said.path:
        return (*value, "other")
    if isinstance(value, int):
        return next(number for number in (value + 1, -value) if said.check is None or said.check(number) is None)
    if isinstance(value, float):
        return value / 2 if value else 0.5
    return 24 if said.metavar == "N" else 12.0 if (said.least, said.above) != (None, None) else "other"


PARTS = {"data": DataConfig, "preprocess": PreprocessConfig, "model": HypeConfig, "training": TrainingConfig}


@pytest.mark.parametrize("part", PARTS)
def test_what_is_declared_changeable_may_change_on_resuming_and_nothing_else(tmp_path, part):
    """Every option of every configuration that a run keeps."""
    stored = new_config(RefineConfig(str(tmp_path / "p.star"), preset="small"))
    write_config(tmp_path, stored)
    kept = stored.data.preprocess if part == "preprocess" else getattr(stored, part)
    may = set()
    for field, said in declared_options(PARTS[part]):
        if said.internal or not (said.flags or said.constants) or field.name == "mask":
            continue
        value = another(said, getattr(kept, field.name))
        asked = RefineConfig(resume=str(tmp_path), **{part: {field.name: value}})
        if said.changeable:
            found = resumed_config(asked, tmp_path)
            changed = getattr(found, part)
            path = said.path and str(Path(value).absolute())
            assert getattr(changed, field.name) == (path or value)
            may.add(field.name)
        else:
            with pytest.raises(
                ConfigurationError, match=rf"({named(PARTS[part], field.name)}|{field.name}) is .*, asked for "
            ):
                resumed_config(asked, tmp_path)
    expected = {
        "data": {"max_bad", "cache"},
        "preprocess": set(),
        "model": {"remat"},
        "training": {"epochs", "accumulate", "keep", "keep_epochs", "report_every", "checkpoint_every"},
    }
    assert may == expected[part]


def test_a_run_of_gaussians_keeps_as_many_latent_numbers_as_its_particles_showed(tmp_path):
    stored = new_config(RefineConfig(str(tmp_path / "p.star"), model={"decoder": "mlp"}))
    stored = dataclasses.replace(stored, model=dataclasses.replace(stored.model, latent_size=7))
    write_config(tmp_path, stored)
    assert resumed_config(RefineConfig(resume=str(tmp_path)), tmp_path) == stored
    with pytest.raises(ConfigurationError, match="--nmid is 7, asked for 4"):
        resumed_config(RefineConfig(resume=str(tmp_path), model={"latent_size": 4}), tmp_path)


def test_a_run_of_another_family_is_refused_by_its_name(tmp_path):
    write_config(tmp_path, new_config(RefineConfig(str(tmp_path / "p.star"))))
    with pytest.raises(ConfigurationError, match="family is hype, asked for gmm"):
        resumed_config(RefineConfig(resume=str(tmp_path), model={"decoder": "mlp"}), tmp_path)


def test_a_run_of_before_the_retired_keys_is_read(tmp_path):
    """Format 2, as earlier versions wrote it."""
    wanted = new_config(RefineConfig(str(tmp_path / "p.star"), model={"decoder": "mlp"}))
    write_config(tmp_path, wanted)
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    stored["training"]["weight_decay"], stored["model"]["smoothness"] = 0.0, 0.0
    path.write_text(json.dumps(stored))
    assert read_config(tmp_path) == wanted
    stored["model"]["smoothness"] = 0.5
    path.write_text(json.dumps(stored))
    with pytest.raises(ConfigurationError, match="config.json: GmmConfig: smoothness is 0.5, which this version"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"model": {"latent_size": 4}}, "--nmid: not an option of CryoHype; leave it out, or add --pointtransformer"),
        ({"finest": 8.0}, "--maxres: not an option of CryoHype; leave it out, or add --pointtransformer"),
        ({"data": {"mask": "m.mrc"}}, "--mask: not an option of CryoHype; leave it out, or add --pointtransformer"),
        (
            {"model": {"decoder": "mlp", "conditioning": "concat"}},
            "--conditioning: not an option of Gaussians; leave it out, or leave out --pointtransformer",
        ),
    ],
)
def test_an_option_of_another_family_is_refused_by_its_flag(options, expected):
    with pytest.raises(ConfigurationError) as error:
        new_config(RefineConfig("p.star", **options))
    assert str(error.value).startswith(expected)


def test_help_says_what_each_family_and_preset_takes():
    """The defaults that help prints are those that a run gets."""
    words = described_defaults()
    assert words["batch_size"] == "CryoHype 64, small 16; Gaussians 16"
    assert words["learning_rate"] == "0.001; CryoHype small 0.002, paper 0.0001"
    assert words["encoder"] == "CryoHype transformer; Gaussians posterior, paper network"
    assert words["latent_size"] == "as many as the set shows; Gaussians paper 3"
    assert "seed" not in words and "conditioning" not in words


@pytest.mark.parametrize("seed", [2**31, 3_000_000_000, 2**32 - 1])
def test_a_run_of_before_with_a_large_seed_is_read(tmp_path, seed):
    write_config(tmp_path, new_config(RefineConfig("/p.star", training={"seed": seed})))
    assert read_config(tmp_path).training.seed == seed


def test_a_stored_value_out_of_limits_is_one_sentence(tmp_path):
    write_config(tmp_path, new_config(RefineConfig("/p.star")))
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"seed": 0', '"seed": -3'))
    with pytest.raises(ConfigurationError, match=r"--seed: expected 0 to 4294967295; got -3; restore the file\.$"):
        read_config(tmp_path)


def test_a_run_from_before_tilt_series_keeps_its_images_apart(tmp_path):
    write_config(tmp_path, new_config(RefineConfig(str(tmp_path / "p.star"), preset="small")))
    assert read_config(tmp_path).data.tilts == "together"
    path = tmp_path / "config.json"
    stored = json.loads(path.read_text())
    del stored["data"]["tilts"]
    path.write_text(json.dumps(stored))
    assert read_config(tmp_path).data.tilts == "apart"


def test_the_encoder_of_a_run_from_before_it_was_blind_goes_on_seeing_all_pixels(tmp_path):
    """A network that was trained with them; Gaussians have no such switch."""
    path = tmp_path / "config.json"
    write_config(tmp_path, new_config(RefineConfig(str(tmp_path / "p.star"), preset="small")))
    assert read_config(tmp_path).model.blind
    stored = json.loads(path.read_text())
    del stored["model"]["blind"]
    path.write_text(json.dumps(stored))
    assert not read_config(tmp_path).model.blind
    stored["model"] = 5
    path.write_text(json.dumps(stored))
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        read_config(tmp_path)
