"""What a run shows while it trains: samples that are right, figures that cost no run, programs that say it."""

import dataclasses
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.cli import Eman2Log
from libhetero.errors import DataError
from libhetero.models.family import ModelFamily
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.rotations import random_rotations
from libhetero.pipelines.run.watching import RunWatch, Samples, shown_places
from libhetero.records import Gaussians
from libhetero.training.feed import ParticleFeed
from libhetero.training.held_out import split
from libhetero.training.interruption import StopRequest
from libhetero.training.log import read_log
from libhetero.training.optimiser import TrainingConfig
from libhetero.training.preprocess import PreprocessConfig
from programs.e2hype_refine import main
from tests.making.commands import HYPE, NETWORK, TRAINING
from tests.making.feeds import ArrayReader
from tests.making.mixtures import gaussians
from tests.making.particles import make_particles
from tests.making.series import series_run
from tests.making.sets import write_tiny_set
from tests.reference.ctf import ctf_image
from tests.reference.event_files import read_events, shown
from tests.reference.gaussians import project

BOX, PIXEL, COUNT = 16, 4.0, 20
CONFIG = TrainingConfig(seed=3)


class Knowing(ModelFamily):
    """Knows the mixture that all images show; the latent is the particle's place, and fades the mixture."""

    family, config, box_size, pixel_size = "knowing", None, BOX, PIXEL

    def __init__(self, mixture: Gaussians) -> None:
        self.mixture, self.traced = mixture, 0

    def encode(self, params, batch):
        self.traced += 1
        return batch.index[:, None].astype(jnp.float32)

    def decode(self, params, latent):
        part = params["amplitude"][latent[:, 0].astype(jnp.int32)]
        return jax.vmap(lambda one: dataclasses.replace(self.mixture, amplitude=one * self.mixture.amplitude))(part)

    def render(self, representation, pose, n, pixel_size):
        return project_gaussians(representation, pose, n, pixel_size)


@pytest.fixture(scope="module")
def known():
    """A mixture, and particles of it without noise at three times its density, a grey background added."""
    random = np.random.default_rng(0)
    position, amplitude = random.normal(0, 5, (5, 3)), 1 + random.random(5)
    mixture = gaussians(position, amplitude, 7.0)
    particles = make_particles(COUNT, BOX, PIXEL)
    rotation = np.asarray(random_rotations(jax.random.key(1), (COUNT,)), np.float64)
    particles = dataclasses.replace(particles, pose=dataclasses.replace(particles.pose, rotation=rotation))
    images = []
    for place in range(COUNT):
        pose, ctf = particles.pose.take(place), dataclasses.asdict(particles.ctf.take(place))
        plain = project(mixture.position, mixture.amplitude, mixture.sigma, pose.rotation, pose.shift, BOX, PIXEL)
        plane = np.fft.rfft2(np.fft.ifftshift(plain)) * ctf_image(ctf, BOX, PIXEL)
        images.append(0.5 + 3 * np.fft.fftshift(np.fft.irfft2(plane, s=(BOX, BOX))))
    reader = ArrayReader(np.asarray(images, np.float32))
    return Knowing(mixture), ParticleFeed(reader, particles, PreprocessConfig())


PARAMS = {"amplitude": jnp.ones(COUNT)}


def places_shown(config: TrainingConfig, count: int = COUNT) -> np.ndarray:
    """Return the places that are shown of `count` particles."""
    return shown_places(split(count, config)[0], config.seed)


def test_the_projections_of_the_truth_are_the_images(known):
    compared = Samples(*known, places_shown(CONFIG)).compare(PARAMS)
    assert compared.data.shape == (6, BOX, BOX)
    np.testing.assert_allclose(compared.scale, 3, rtol=1e-3)
    np.testing.assert_allclose(compared.correlation, 1, atol=1e-4)
    np.testing.assert_allclose(compared.model, compared.data, atol=0.01 * np.abs(compared.data).max())


def test_each_particle_is_shown_as_its_own_latent_makes_it(known):
    samples = Samples(*known, places_shown(CONFIG))
    amplitude = np.ones(COUNT, np.float32)
    amplitude[samples.indices[[1, 4]]] = [-1, 0]
    compared = samples.compare({"amplitude": jnp.asarray(amplitude)})
    np.testing.assert_allclose(compared.correlation, [1, -1, 1, 1, 0, 1], atol=1e-4)
    assert not compared.model[4].any()


def test_a_model_that_contradicts_the_data_keeps_its_scale(known):
    compared = Samples(*known, places_shown(CONFIG)).compare({"amplitude": -jnp.ones(COUNT)})
    assert compared.scale == 1
    np.testing.assert_allclose(compared.correlation, -1, atol=1e-4)


def test_the_same_particles_every_time_and_only_some_that_are_trained_on(known):
    config = dataclasses.replace(CONFIG, test_fraction=0.5)
    training, _ = split(COUNT, config)
    first, again = Samples(*known, places_shown(config)), Samples(*known, places_shown(config))
    assert len(set(first.indices)) == 6 and set(first.indices) <= set(training)
    np.testing.assert_array_equal(first.indices, again.indices)
    assert not np.array_equal(first.indices, Samples(*known, places_shown(dataclasses.replace(config, seed=4))).indices)
    small = dataclasses.replace(known[1], particles=known[1].particles.take(np.arange(4)))
    assert len(Samples(known[0], small, places_shown(CONFIG, 4)).compare(PARAMS).correlation) == 4


def test_samples_of_tilt_series_are_named_by_the_rows_of_their_images(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "libhetero.report.samples.draw_samples", lambda path, title, captions, *images: drawn.append(captions)
    )
    run = series_run(tmp_path, [1, 0, 1, 2, 0, 2])
    (tmp_path / "log.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2, "learning_rate": 0.1}\n')
    with RunWatch(tmp_path, run.model, run.feed(), np.array([2, 1])) as watch:
        watch.checkpoint(1, run.params)
    assert [caption.split("\n")[0] for caption in drawn[0]] == ["particle 3", "particle 1"]


def test_checkpoints_compile_once_and_leave_figures_only(known, tmp_path):
    model = Knowing(known[0].mixture)
    with RunWatch(tmp_path, model, known[1], places_shown(CONFIG)) as watch:
        (tmp_path / "log.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2, "learning_rate": 0.1}\n')
        for step in (1, 2):
            watch.report({"step": step, "loss": 1.0})
            watch.checkpoint(step, PARAMS)
    assert model.traced == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"log.jsonl", "loss.png", "samples.png"}


@pytest.mark.parametrize(("every", "shown"), [(0.0, [1, 2, 3]), (3600.0, [3])])
def test_figures_are_drawn_now_and_then_and_of_the_last_checkpoint(known, tmp_path, monkeypatch, every, shown):
    drawn = []
    monkeypatch.setattr("libhetero.pipelines.run.watching.DRAWN_EVERY", every)
    monkeypatch.setattr("libhetero.report.samples.draw_samples", lambda path, title, *rest: drawn.append(title))
    monkeypatch.setattr("libhetero.report.training.draw_training", lambda *arguments: None)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2, "learning_rate": 0.1}\n')
    with RunWatch(tmp_path, *known, places_shown(CONFIG)) as watch:
        for step in (1, 2, 3):
            watch.checkpoint(step, PARAMS)
    assert [title.split(":")[0] for title in drawn] == [f"step {step}" for step in shown]


def test_of_a_run_that_is_stopped_the_curves_go_to_its_last_report(known, tmp_path, monkeypatch):
    drawn, lines = [], [{"step": step, "epoch": step / 4, "loss": 2.0, "learning_rate": 0.1} for step in (1, 2, 3)]
    monkeypatch.setattr("libhetero.pipelines.run.watching.DRAWN_EVERY", 0.0)
    monkeypatch.setattr(
        "libhetero.report.training.draw_training", lambda path, lines, means: drawn.append(lines[-1]["step"])
    )
    with RunWatch(tmp_path, *known, places_shown(CONFIG)) as watch, (tmp_path / "log.jsonl").open("w") as log:
        for line in lines:
            print(json.dumps(line), file=log, flush=True)
            watch.report(line)
            if line["step"] == 2:
                watch.checkpoint(2, PARAMS)
    assert drawn == [2, 3]


def _warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_what_fails_is_told_once_and_the_rest_goes_on(known, tmp_path, caplog, monkeypatch):
    def unreadable(index, size=None):
        raise DataError("stack.mrcs: image 3\nis gone")

    feed = dataclasses.replace(known[1])
    object.__setattr__(feed, "batch", unreadable)
    (tmp_path / "log.jsonl").write_text('{"step": 1, "epoch": 1, "loss": 2, "learning_rate": 0.1}\n')
    (tmp_path / "tensorboard").write_text("in the way")
    with RunWatch(tmp_path, known[0], feed, places_shown(CONFIG), tensorboard=True) as watch:
        for step in (1, 2):
            watch.report({"step": step, "loss": 1.0})
            watch.checkpoint(step, PARAMS)
    board, samples = _warnings(caplog)
    assert "tensorboard: could not be written (FileExistsError" in board
    assert "samples.png: could not be written (DataError: stack.mrcs: image 3 is gone)" in samples
    assert (tmp_path / "loss.png").exists()


def test_an_interruption_is_no_failure_of_a_figure(known, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("libhetero.report.training.draw_training", interrupted)
    monkeypatch.setattr("libhetero.pipelines.run.watching.DRAWN_EVERY", 0.0)
    (tmp_path / "log.jsonl").write_text("")
    with RunWatch(tmp_path, *known, places_shown(CONFIG)) as watch, pytest.raises(KeyboardInterrupt):
        watch.checkpoint(1, PARAMS)


@pytest.fixture
def project_folder(tmp_path, monkeypatch) -> Path:
    """A project folder with a small set, entered."""
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path)
    return tmp_path


@pytest.fixture
def statuses(monkeypatch) -> list[str]:
    """What stands as the status in .eman2log.txt after each call of progress."""
    seen: list[str] = []
    plain = Eman2Log.progress

    def progress(self, fraction):
        plain(self, fraction)
        seen.append(self.path.read_text().splitlines()[-1].split("\t")[1].strip())

    monkeypatch.setattr(Eman2Log, "progress", progress)
    return seen


@pytest.mark.parametrize("family, stops", [(HYPE, False), (NETWORK, True)], ids=["hype", "gmm"])
def test_a_program_that_trains_can_be_watched(project_folder, statuses, capsys, monkeypatch, family, stops):
    """One family in one go, the other stopped after 6 of 12 steps and resumed."""
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "after", lambda self, step: stops and step == 6)
        assert main(["particles.star", *family, *TRAINING, "--tensorboard"]) == (143 if stops else 0)
    if stops:
        assert main(["--resume", "hype_00", "--tensorboard"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if "as the system asked" not in line] == []
    assert said.out.count("first step after ") == 1 + stops
    assert statuses == [f"{int(100 * step / 12)}%" for step in range(1, 13)]
    _check_files(project_folder / "hype_00", starts=[1, 7] if stops else [1])


def _check_files(folder: Path, starts: list[int]) -> None:
    """The log has every number, and TensorBoard all that is in it and the figure of each checkpoint."""
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    lines = read_log(folder / "log.jsonl")
    assert [line["step"] for line in lines if "first_step_seconds" in line] == starts
    wanted = {"loss", "learning_rate", "memory_bytes", "gradient_norm"}
    assert all(wanted <= line.keys() for line in lines)
    assert all("particles_per_second" in line for line in lines if line["step"] not in starts)
    board = shown(folder / "tensorboard")
    for name in set().union(*lines) - {"step"}:
        expected = {line["step"]: np.float32(line[name]) for line in lines if name in line}
        assert board[name] == expected, name
    assert board["samples"].keys() == {4, 8, 12}  # none where the run was asked to stop
    assert board["samples"][12] == (folder / "samples.png").read_bytes() != board["samples"][4]
    events = read_events(folder / "tensorboard")
    assert [event.step for event in events if event.HasField("session_log")] == starts


def test_tensorboard_without_its_package_is_one_line_before_anything(project_folder, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["particles.star", *NETWORK, "--tensorboard"]) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1 and not said.out
    assert "pip install 'libhetero[tensorboard]'" in said.err
    assert not [name for name in os.listdir() if name.startswith("hype_")]
