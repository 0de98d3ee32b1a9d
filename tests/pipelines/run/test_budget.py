"""--dry-run, --batchsz auto, and what is said when a device's memory is exhausted."""

import dataclasses

import jax
import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.pipelines.run import batch, budget, training
from libhetero.pipelines.run.configuration import RunConfig
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.run.folder import open_run
from libhetero.pipelines.run.start import RunStart
from libhetero.training.budget import step_cost
from libhetero.training.configuration import TrainingConfig
from libhetero.training.held_out import split
from libhetero.training.order import Pool
from programs.e2hype_refine import main
from tests.making.commands import NETWORK
from tests.making.feeds import make_feed
from tests.making.sets import write_tiny_set
from tests.making.toys import Toy


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path)
    return tmp_path


def test_a_dry_run_tells_the_cost_and_writes_nothing(project, capsys) -> None:
    before = {path.name for path in project.iterdir()} | {".eman2log.txt"}
    options = [*NETWORK, "--batchsz", "12", "--niter", "3"]
    assert main(["particles.star", *options, "--dry-run"]) == 0
    assert {path.name for path in project.iterdir()} == before
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {"model", "work", "memory", "step", "epoch"} <= set(shown)
    assert "for 3 of the 12 particles" in shown["memory"]
    assert "on 4 device(s)" in shown["step"]
    assert shown["epoch"].split()[1:3] == ["4", "steps,"]

    assert main(["particles.star", *options, "--path", "run", "--niter", "1"]) == 0
    parameters = sum(leaf.size for leaf in jax.tree.leaves(open_run("run").params))
    assert f"{parameters:,} parameters" in shown["model"]
    capsys.readouterr()
    assert main(["--resume", "run", "--batchsz", "auto", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert shown["model"] in told and "of the 12 particles of a batch" in told


class ToyFamily(Toy):
    """The toy with what else a family offers, which nothing here asks for."""

    family, config, box_size, pixel_size = "hype", None, 16, 1.0
    from_data = from_arrays = encode = posterior = decode = render = volume = arrays = Toy.loss


def toy_start(**training) -> RunStart:
    """The start of a run of the toy model on 50 particles."""
    config = RunConfig("hype", {}, TrainingConfig(**training), DataConfig("imaginary.star"))
    feed = make_feed()
    return RunStart(config, feed, split(len(feed), config.training)[0], ToyFamily())


def chosen(**training) -> TrainingConfig:
    """How the toy is trained with the largest batch that fits."""
    start = toy_start(**training)
    return batch.with_largest_batch(start.config.training, start.model, start.feed, len(start.trained_on))


def test_the_batch_is_chosen(monkeypatch, caplog) -> None:
    monkeypatch.setattr(batch, "FEWEST_STEPS", 5)
    with caplog.at_level("INFO"):
        assert chosen(batch_size=3) == TrainingConfig(batch_size=8)
    assert "batch of 8 particles, 2 a device: more would leave an epoch fewer than 5 steps" in caplog.text
    assert chosen(test_fraction=0.5).batch_size == 4
    monkeypatch.setattr(batch, "FEWEST_STEPS", 32)
    with caplog.at_level("INFO"):
        assert chosen().batch_size == 4
    assert "1 a device: the smallest there is, of 50 particles to train on; an epoch has 13 steps" in caplog.text


def test_the_batch_is_bounded_by_memory(monkeypatch, caplog) -> None:
    monkeypatch.setattr(batch, "FEWEST_STEPS", 1)
    monkeypatch.setattr(batch, "device_memory", lambda: 40_000)
    copy = budget.budget_of(toy_start(batch_size=8)).step.state_bytes // 4  # of a checkpoint
    start = toy_start()
    with caplog.at_level("INFO"):
        share = chosen().batch_size // 4
    assert "the largest that fits" in caplog.text
    params, particle = jax.eval_shape(Toy().init, jax.random.key(0)), start.feed.batch(np.arange(1))
    needed = [
        step_cost(Toy().loss, params, particle, start.config.training, size).device_bytes for size in (share, share + 1)
    ]
    assert needed[0] + copy <= 40_000 < needed[1] + copy


def test_what_a_run_needs_is_told_before_a_step_is_taken(monkeypatch) -> None:
    lines = budget.budget_of(toy_start(batch_size=8)).lines()
    monkeypatch.setattr(budget, "_time_steps", lambda *arguments: pytest.fail("a step before its memory was told"))
    assert [next(lines).split()[0] for _ in range(3)] == ["model", "work", "memory"]
    monkeypatch.setattr(budget, "usable_memory", lambda held: 1000)
    lines = list(budget.budget_of(toy_start(batch_size=8)).lines())
    assert lines[-1].startswith("This batch does not fit: use --batchsz 4 or --batchsz auto, --accum")


def test_a_wrong_batch_is_a_wrong_option(project, capsys) -> None:
    assert main(["particles.star", "--batchsz", "most"]) == 2
    assert "expected a whole number or auto; got 'most'" in capsys.readouterr().err


def test_exhausted_memory_names_the_options_that_help(project, capsys, monkeypatch) -> None:
    def train(*arguments, **options):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(training, "train", train)
    assert main(["particles.star", *NETWORK, "--path", "run", "--batchsz", "12"]) == 1
    line = capsys.readouterr().err.strip()
    assert "a batch of 12 particles, 3 a device" in line and len(line.splitlines()) == 1
    assert all(option in line for option in ("--batchsz 6", "--batchsz auto", "--accum", "--box", "--dry_run"))


def test_another_failure_of_the_device_is_not_hidden(project, monkeypatch) -> None:
    def train(*arguments, **options):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        main(["particles.star", *NETWORK, "--path", "run"])


def test_a_batch_beyond_the_memory_is_refused_before_it_is_tried(monkeypatch) -> None:
    """By its images alone, before anything is compiled; by what the compiled step needs; by what is held besides."""
    start = toy_start(batch_size=64)
    assert batch.fitting_step(start).device_bytes > 2**16
    monkeypatch.setattr(batch, "device_memory", lambda: 2**16)
    with pytest.raises(ConfigurationError, match=r"--batchsz 64: needs .* a device; there are .*\. Use --batchsz 32"):
        batch.fitting_step(start)
    monkeypatch.setattr(batch, "device_memory", lambda: None)
    assert batch.fitting_step(start), "nothing is refused where nobody tells how much there is"
    with pytest.raises(ConfigurationError, match="--batchsz auto: how much memory cpu has, the system does not tell"):
        chosen()
    monkeypatch.setattr(batch, "device_memory", lambda: 2**16)
    monkeypatch.setattr(batch, "program_of", lambda start: pytest.fail("the images alone do not fit"))
    with pytest.raises(ConfigurationError, match="--batchsz 65536: needs .* Use --batchsz 32768"):
        batch.fitting_step(toy_start(batch_size=65536))
    large = dataclasses.replace(start, feed=dataclasses.replace(start.feed, pool=Pool(particles=1, size=2**10)))
    assert batch.held_bytes(large) == 1.5 * 2**10 and batch.held_bytes(start) == 0
    monkeypatch.setattr(batch, "free_memory", lambda: 2**10)
    with pytest.raises(ConfigurationError, match="training holds 1.5 KiB of images .* 1 KiB are free"):
        batch.fitting_step(large)
