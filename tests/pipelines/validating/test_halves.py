"""Half-sets are the list's or every other particle, and are trained as the run was."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError, StoppedEarly
from libhetero.io import read_particles, write_latent
from libhetero.io.indices import read_indices, write_indices
from libhetero.io.tilt_series import apart, together
from libhetero.pipelines.decoding import latents
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.configuration import new_config
from libhetero.pipelines.run.folder import Run
from libhetero.pipelines.run.particles import listed
from libhetero.pipelines.validating import halves
from libhetero.tilts import one_image_each
from tests.making.particles import make_particles
from tests.making.runs import ToyField
from tests.making.tilt_series import warp_star

OPTIONS = RefineConfig(
    particles="set.star",
    model={"decoder": "pointtransformer", "latent_size": 3, "vary": "a", "symmetry": "c4"},
    training={"epochs": 7, "batch_size": 8, "seed": 5},
    data={"reference": "gmm.txt", "no_ctf": True, "max_bad": 3},
    preprocess={"contrast": -1, "normalise": "image"},
)


def make_run(folder: Path, count: int = 50, options: RefineConfig = OPTIONS) -> Run:
    """Return a run that has been asked for with options that are no defaults."""
    config = new_config(options)
    data = dataclasses.replace(config.data.absolute(), count=count)
    data = dataclasses.replace(data, preprocess=dataclasses.replace(data.preprocess, deviation=2.5))
    return Run(folder, dataclasses.replace(config, data=data), ToyField(), {}, make_particles(count))


def test_half_sets_are_the_list_s_where_it_has_them():
    particles = make_particles(60)
    np.testing.assert_array_equal(halves.half_sets(particles)[1], np.arange(1, 60, 2))
    for every, taken in ((3, True), (4, False)):  # 20 of 60 can be trained on, 15 cannot
        side = (np.arange(60) % every == 0).astype(int)
        _, second = halves.half_sets(dataclasses.replace(particles, half_set=side))
        np.testing.assert_array_equal(second, np.flatnonzero(side) if taken else np.arange(1, 60, 2))
    with pytest.raises(DataError, match="too few for two half-sets"):
        halves.half_sets(make_particles(30))


def test_half_sets_are_of_enough_particles_however_many_images_these_have():
    shown = np.repeat(np.arange(30), 4)
    several = dataclasses.replace(make_particles(120), half_set=None, group=shown)
    with pytest.raises(DataError, match="30 particles: too few for two half-sets; expected 20 in each"):
        halves.half_sets(several)
    side = (shown < 18).astype(int)  # of 18 particles in 72 images
    more = dataclasses.replace(make_particles(160), half_set=np.concatenate([side, np.zeros(40, int)]))
    more = dataclasses.replace(more, group=np.repeat(np.arange(40), 4))
    np.testing.assert_array_equal(halves.half_sets(more)[1], np.flatnonzero(more.group % 2))


def test_a_half_set_is_asked_for_as_the_run_was(tmp_path):
    run = make_run(tmp_path)
    (tmp_path / "model_00.txt").touch()
    asked = halves.half_request(run, tmp_path / "half1", tmp_path / "half1.pkl")
    assert asked.requeue and asked.folder == str(tmp_path / "half1")
    config = new_config(asked)
    assert config.model == run.config.model and config.training == run.config.training
    assert config.data.reference == str(tmp_path / "model_00.txt"), "the Gaussians that the run started from"
    assert config.data.indices == str(tmp_path / "half1.pkl")
    same = dataclasses.replace(
        config.data,
        reference=run.config.data.reference,
        indices=None,
        count=run.config.data.count,
        preprocess=dataclasses.replace(config.data.preprocess, deviation=2.5),
    )
    assert same == run.config.data, "the rest as it was; the deviation is measured anew"


def test_what_particles_decided_is_left_to_those_of_a_half_set(tmp_path):
    """How many latents and what varies, in a run that was asked for neither; what was asked for stays."""
    run = make_run(tmp_path)
    settled = dataclasses.replace(run.config.model, latent_size=2, vary="pa", decided=("vary", "latent_size"))
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, model=settled))
    model = new_config(halves.half_request(run, tmp_path / "half1", tmp_path / "half1.pkl")).model
    assert (model.latent_size, model.vary, model.decided) == (0, "auto", None)
    assert model.settled(settled) == settled, "a half-set that goes on has what its own particles decided"


def test_latents_of_half_sets_may_be_of_any_width():
    latent = np.random.default_rng(0).normal(size=(200, 3))
    for width, pairs in ((2, 2), (0, 0)):
        canonical, predicted = halves.latents_agree(latent, latent[:, :width], 0)
        assert len(canonical) == pairs and min(canonical, default=1) > 0.99
        assert predicted[0] == pytest.approx(1.0 if pairs else 0.0, abs=0.01)


@pytest.fixture
def trained(monkeypatch):
    """Half-sets' runs that are asked for and not trained."""
    asked = []
    monkeypatch.setattr(
        "libhetero.pipelines.refine.run", lambda config, progress=None, go_on=None: asked.append(config)
    )
    monkeypatch.setattr(halves, "open_run", lambda folder: make_run(folder, 25))
    return asked


def test_a_half_s_model_is_one_of_all_particles(tmp_path, trained):
    run = make_run(tmp_path)
    for _ in range(2):
        half = halves.train_half(run, 2, np.arange(1, 50, 2), tmp_path)
    assert len(half.whole.particles) == 50 and half.whole.folder == tmp_path / "half2" / "whole"
    assert [config.requeue for config in trained] == [True, True], "what is finished is for refinement to see"
    np.testing.assert_array_equal(read_indices(tmp_path / "half2.pkl", 50, "set.star"), np.arange(1, 50, 2))


def test_latents_of_a_half_that_was_trained_further_are_made_anew(tmp_path, trained, monkeypatch):
    def write(path, *arguments, **options):
        write_latent(path, np.arange(50), np.full((50, 2), float(len(written))))
        written.append(path)

    written: list[Path] = []
    monkeypatch.setattr(latents, "write_mid", write)
    monkeypatch.setattr(Run, "feed", lambda run: None)
    for moment, expected in ((5.0, 0), (5.0, 0), (time.time() + 60, 1)):  # of the half-set's checkpoint
        opened = dataclasses.replace(make_run(tmp_path / "half1", 25), written=moment)
        monkeypatch.setattr(halves, "open_run", lambda folder, opened=opened: opened)
        (tmp_path / "half1").mkdir(exist_ok=True)
        half = halves.train_half(make_run(tmp_path), 1, np.arange(0, 50, 2), tmp_path)
        assert (half.latents(8) == expected).all()
    assert written == [tmp_path / "half1" / "whole" / "mid_00.txt"] * 2


def test_rows_of_a_run_of_some_of_the_list_are_those_of_the_list(tmp_path, trained, monkeypatch):
    chosen = np.arange(10, 60)
    write_indices(tmp_path / "chosen.pkl", chosen)
    run = make_run(tmp_path)
    data = dataclasses.replace(run.config.data, indices=str(tmp_path / "chosen.pkl"))
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))
    monkeypatch.setattr(halves, "listed", lambda data: make_particles(100))
    halves.train_half(run, 1, np.arange(0, 50, 2), tmp_path)
    np.testing.assert_array_equal(read_indices(tmp_path / "half1.pkl", 100, "set.star"), chosen[::2])


@pytest.mark.parametrize(
    "asked",
    [
        {"least_exposed": 2},
        {"least_exposed": 2, "most_tilted": 3, "dose": 2.0},
        {"most_tilted": 0},
        {"tilts": "apart", "least_exposed": 3},
        {"tilts": "apart", "dose": 2.0},
        {"dose": 2.0},
    ],
)
@pytest.mark.parametrize("of_some", [False, True])
def test_a_half_set_of_tilt_series_is_trained_on_its_images_of_the_run(tmp_path, trained, asked, of_some):
    """The rows that are written are of the whole list, from which the half-set's run chooses as the run did."""
    path = warp_star(tmp_path, (4, 3) * 12)
    data = dataclasses.replace(make_run(tmp_path).config.data, particles=str(path), **asked)
    if of_some:
        write_indices(tmp_path / "chosen.pkl", np.arange(7, 84))
        data = dataclasses.replace(data, indices=str(tmp_path / "chosen.pkl"))
    particles = listed(data)
    run = dataclasses.replace(make_run(tmp_path), particles=dataclasses.replace(particles, half_set=None))
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, data=data))
    first = np.flatnonzero(one_image_each(together(particles))[1] % 2 == 0)
    halves.train_half(run, 1, first, tmp_path)
    found = listed(dataclasses.replace(data, indices=str(tmp_path / "half1.pkl")))
    expected = particles.take(first)
    np.testing.assert_array_equal(found.image_index, expected.image_index)
    np.testing.assert_array_equal(found.ctf.b_factor, expected.ctf.b_factor)
    np.testing.assert_array_equal(found.ctf.exposure, expected.ctf.exposure)


def test_images_of_a_tilt_series_are_in_one_half_set(tmp_path):
    particles = read_particles(warp_star(tmp_path, (4, 3) * 20))
    parted = np.arange(len(particles)) % 2
    for one in (particles, dataclasses.replace(particles, half_set=parted)):
        for taken in (one, apart(one)):
            sides = [set(particles.group[members]) for members in halves.half_sets(taken)]
            assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 40


def test_another_half_set_or_configuration_is_refused_with_the_remedy(tmp_path, trained, monkeypatch):
    run = make_run(tmp_path)
    halves.train_half(run, 1, np.arange(0, 50, 2), tmp_path)
    with pytest.raises(ConfigurationError, match=r"half1.pkl: its particles are others .* remove "):
        halves.train_half(run, 1, np.arange(25), tmp_path)

    def fail(config, progress=None, go_on=None):
        raise StoppedEarly(f"stopped. Go on with {go_on}.")

    monkeypatch.setattr("libhetero.pipelines.refine.run", fail)
    with pytest.raises(
        StoppedEarly, match="half-set 1 of 2 was stopped. Go on with the same command; what is trained in .* is kept"
    ):
        halves.train_half(run, 1, np.arange(0, 50, 2), tmp_path)


def test_the_time_that_training_took_is_that_of_the_log(tmp_path):
    run = make_run(tmp_path)
    assert halves.seconds_of_training(run) is None
    line = '{"step": 10, "epoch": %s, "loss": 1.0, "particles_per_second": 5.0, "first_step_seconds": 4.0}\n'
    (tmp_path / "log.jsonl").write_text(line % 1.0 + line % 7.0)
    assert halves.seconds_of_training(run) == 7 * 50 / 5 + 4
    (tmp_path / "config.json").touch()
    of_epoch = dataclasses.replace(run, folder=tmp_path / "epoch_03")
    assert halves.seconds_of_training(of_epoch) == 7 * 50 / 5 + 4, "there is one log, that of the run"
