"""Images that are bad, or go while training: through the program, on a set of seconds."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from libhetero.io import ImageReader, read_latent, read_particles
from libhetero.pipelines.run import training
from libhetero.pipelines.run.folder import open_run
from libhetero.records import ParticleSet
from libhetero.training import preprocess
from libhetero.training.log import read_log
from programs.e2hype_refine import main
from tests.making.commands import NETWORK
from tests.making.sets import BOX, write_tiny_set

TINY = ["particles.star", *NETWORK, *["--niter", "3", "--batchsz", "12", "--seed", "5", "--report", "1"]]
STACK = "particles.mrcs"


@pytest.fixture
def project(tmp_path, monkeypatch) -> ParticleSet:
    """A project folder with a small set, entered."""
    monkeypatch.chdir(tmp_path)
    return write_tiny_set(tmp_path)


def spoil(places) -> None:
    stack = np.memmap(STACK, np.float32, "r+", 1024, (40, BOX, BOX))
    for place, value in zip(places, (np.nan, np.inf, -np.inf) * len(places), strict=False):
        stack[place, 3, 3] = value
    stack.flush()


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


def when_training_begins(monkeypatch, action) -> None:
    """Do something once everything is measured and the run folder made."""
    begin = training.train

    def train(*arguments, **options):
        action()
        return begin(*arguments, **options)

    monkeypatch.setattr(training, "train", train)


def test_bad_images_are_left_out_counted_and_listed(project, capsys) -> None:
    spoil([4, 17, 31])
    assert main([*TINY, "--maxbad", "3"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert [f"image {number} " in line for number, line in zip((5, 18, 32), sorted(warned), strict=True)]
    assert all(np.isfinite(line["loss"]) for line in read_log(Path("hype_00/log.jsonl")))
    np.testing.assert_array_equal(read_particles("hype_00/ptcls_bad.lst").image_index, [4, 17, 31])
    index, latent = read_latent("hype_00/mid_00.txt")
    np.testing.assert_array_equal(index, np.arange(40))
    assert np.isfinite(latent).all()
    run = open_run("hype_00")
    batch = run.feed().batch(np.arange(40))
    np.testing.assert_array_equal(np.flatnonzero(batch.weight == 0), [4, 17, 31])
    assert np.isfinite(np.asarray(run.model.encode(run.params, batch))).all()
    np.testing.assert_array_equal(  # what is measured knows nothing of them
        run.config.data.preprocess.deviation,
        preprocess.estimate_deviation(run.feed().reader, 40, run.config.data.preprocess, seed=5, bad=run.feed().bad),
    )


def test_a_run_resumed_at_its_end_lists_all_bad_images(project) -> None:
    spoil([4, 17])
    assert main(TINY) == 0
    for name in ("mid_00.txt", "ptcls_bad.lst"):
        Path("hype_00", name).unlink()
    assert main(["--resume", "hype_00"]) == 0
    np.testing.assert_array_equal(read_particles("hype_00/ptcls_bad.lst").image_index, [4, 17])


def test_too_many_bad_images_end_the_run_and_more_may_be_allowed_on_resuming(project, capsys, monkeypatch) -> None:
    when_training_begins(monkeypatch, lambda: spoil([4, 17, 31]))
    assert main([*TINY, "--maxbad", "2"]) == 1
    line = one_line(capsys)
    assert STACK in line and "at most 2" in line and "--maxbad" in line
    assert main(["--resume", "hype_00", "--maxbad", "3"]) == 0
    assert json.loads(Path("hype_00/config.json").read_text())["data"]["max_bad"] == 3
    assert main([*TINY, "--maxbad", "-1"]) == 2


def test_a_stack_cut_short_while_training_is_one_line(project, capsys, monkeypatch) -> None:
    when_training_begins(monkeypatch, lambda: os.truncate(STACK, 1024 + 30 * 4 * BOX**2 + 7))
    assert main(TINY) == 1
    line = one_line(capsys)
    assert f"{STACK}: truncated while in use: image " in line
    assert int(line.split("in use: image ")[1].split()[0]) > 30


def test_a_stack_that_vanishes_while_training_is_one_line(project, capsys, monkeypatch) -> None:
    made, init = [], ImageReader.__init__

    def remember(self, *arguments, **options):
        init(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(ImageReader, "__init__", remember)

    def close_all() -> None:
        os.unlink(STACK)
        for reader in made:
            reader.close()

    when_training_begins(monkeypatch, close_all)
    assert main(TINY) == 1
    line = one_line(capsys)
    assert "cannot be read" in line and f"{STACK}: no such file" in line and "image " in line


def test_training_from_the_cache_gives_the_same_losses(project) -> None:
    assert main(TINY) == 0
    assert main([*TINY, "--cache", "cache"]) == 0
    losses = [[line["loss"] for line in read_log(Path(f"hype_0{i}/log.jsonl"))] for i in (0, 1)]
    np.testing.assert_array_equal(*losses)
    assert len(os.listdir("cache")) == 3, "images, record and lock"
    assert open_run("hype_01").feed().cache is not None
