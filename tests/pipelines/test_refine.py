"""e2hype_refine.py from the command line to the run folder, both families."""

import json
import os
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError, StoppedEarly
from libhetero.io import read_gaussians, read_latent, read_particles, write_volume
from libhetero.models.hype.latent.class_search import LOW
from libhetero.pipelines import refine
from libhetero.pipelines.decoding.latents import particle_latents
from libhetero.pipelines.run.asked import RefineConfig
from libhetero.pipelines.run.folder import batches, latents_are_current, open_run
from libhetero.pipelines.run.lock import locked
from libhetero.pipelines.run.reached import Reached
from libhetero.training.checkpoint import Restored
from libhetero.training.interruption import StopRequest
from libhetero.training.log import read_log
from programs.e2hype_refine import main
from tests.making.commands import FAMILIES, GMM, HYPE_FROM_CLASSES, TRAINING
from tests.making.sets import BOX, PIXEL, write_tiny_set
from tests.reference.shared_data import shared_file


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with a small set, entered."""
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One finished run of the smallest model, to be read only."""
    folder = tmp_path_factory.mktemp("trained")
    particles = write_tiny_set(folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["particles.star", *FAMILIES["mlp"], *TRAINING]) == 0
    finally:
        os.chdir(before)
    return folder / "hype_00", particles


def losses(folder) -> list[float]:
    return [line["loss"] for line in read_log(folder / "log.jsonl")]


@pytest.mark.parametrize("family", ["hype", "mlp"])
def test_a_resumed_run_equals_an_uninterrupted_one(project, trained, monkeypatch, family, capsys) -> None:
    command = ["particles.star", *FAMILIES[family], *TRAINING]
    if family == "mlp":
        shutil.copytree(trained[0], "hype_00")
    else:
        assert main(command) == 0
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "after", lambda self, step: step == 6)
        assert main(command) == 143
    line = "stopped as the system asked, after step 6; the checkpoint is written. Go on with --resume hype_01."
    assert capsys.readouterr().err.count(line) == 1
    assert not (project / "hype_01" / "mid_00.txt").exists()
    # A command that leaves it to the particles whether there are classes: here as if they had settled on none.
    requeued = ["particles.star", *HYPE_FROM_CLASSES, *TRAINING, "--path", "hype_01", "--requeue"]
    assert main(requeued if family == "hype" else ["--resume", "hype_01"]) == 0
    assert capsys.readouterr().err == ""
    assert losses(project / "hype_01") == losses(project / "hype_00")
    assert len(losses(project / "hype_00")) == 12
    first, second = ((project / name / "mid_00.txt").read_text() for name in ("hype_00", "hype_01"))
    assert first == second


def test_a_run_without_a_checkpoint_starts_over(trained, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "mid_00.txt").unlink()
    assert main(["--resume", str(folder)]) == 0
    again, before = read_latent(folder / "mid_00.txt"), read_latent(trained[0] / "mid_00.txt")
    np.testing.assert_allclose(again[1], before[1], rtol=1e-5, atol=1e-6)


def test_a_command_with_requeue_begins_goes_on_and_ends(project, monkeypatch, capsys) -> None:
    """Also where the data settle a part of the configuration, here the latent's size."""
    options = [text for text in FAMILIES["mlp"] if text not in ("--nmid", "3")]
    command = ["particles.star", *options, *TRAINING, "--niter", "2", "--path", "run", "--requeue"]
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "after", lambda self, step: step == 5)
        assert main(command) == 143
    assert main(command) == 0
    assert len(losses(project / "run")) == 8
    capsys.readouterr()
    assert main(command) == 0
    assert "run: this run is finished" in capsys.readouterr().out
    _one_line(capsys, [*command, "--seed", "6"], "seed is 5, asked for 6")
    _one_line(capsys, ["particles.star", "--requeue"], "add --path FOLDER")


def test_everything_is_written(trained) -> None:
    folder, particles = trained
    index, latent = read_latent(folder / "mid_00.txt")
    np.testing.assert_array_equal(index, np.arange(40))
    assert latent.shape == (40, 3)
    listed = read_particles(folder / "ptcls_00.lst", datadir=folder.parent)
    np.testing.assert_allclose(listed.pose.rotation, particles.pose.rotation, atol=1e-5)
    assert read_gaussians(folder / "model_00.txt", BOX, PIXEL).sigma.shape == (30,)
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    options = json.loads((folder / "0_e2hype_params.json").read_text())
    assert options["niter"] == 3 and "e2hype_refine.py" in options["cmd"] or options["cmd"]
    config = json.loads((folder / "config.json").read_text())
    assert config["format_version"] == 2 and config["family"] == "gmm"
    assert os.path.isabs(config["data"]["particles"])


def test_a_run_opens_from_anywhere_and_gives_the_latents_it_wrote(trained) -> None:
    folder, _ = trained
    run = open_run(folder)
    assert len(run.particles) == 40 and run.model.family == "gmm"
    found = list(batches(run, 16))
    assert [batch.images.shape for batch in found] == [(16, BOX, BOX)] * 3
    np.testing.assert_array_equal(found[2].weight, np.arange(16) < 8)
    encode = jax.jit(run.model.encode)
    latent = np.concatenate([np.asarray(encode(run.params, batch)) for batch in found])[:40]
    np.testing.assert_allclose(latent, read_latent(folder / "mid_00.txt")[1], atol=1e-5)
    chosen = next(batches(run, 4, np.array([7, 3])))
    np.testing.assert_array_equal(chosen.index[:2], [7, 3])


def test_another_configuration_is_refused_naming_the_keys(trained, capsys) -> None:
    folder = str(trained[0])
    assert main(["--resume", folder, "--nmid", "4", "--invert"]) == 1
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    for text in ("--nmid is 3, asked for 4", "contrast is 1, asked for --invert"):
        assert text in message
    _one_line(
        capsys, ["--resume", folder, "--niter", "2"], "--niter 2: the run has 3 epochs; expected at least as many"
    )
    with locked(trained[0]):
        words = f"{folder}: process {os.getpid()} on", "is training in this folder"
        _one_line(capsys, ["--resume", folder, "--niter", "4"], *words)


def contents(folder) -> dict:
    """Return when each file below a folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_finished_run_is_left_as_it_is(trained, capsys) -> None:
    folder, before = trained[0], contents(trained[0])
    changed = ["--niter", "3", "--accum", "2", "--keep", "5", "--report", "7", "--checkpoint", "2"]
    assert main(["--resume", str(folder), *changed]) == 0
    said = capsys.readouterr().out
    assert "look at " in said and "go on with e2hype_analyze.py" in said and "or with e2hype_segment.py" in said
    assert f"{folder}: this run is finished, after 3 epochs (to train it further: --resume {folder} --niter 6)" in said
    assert contents(folder) == before


def test_a_run_is_trained_further_and_its_epochs_can_be_looked_at(trained, tmp_path, capsys) -> None:
    """Given more epochs it goes on; what it was after each is kept, and told from what it is."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    first = losses(folder)
    assert main(["--resume", str(folder), "--niter", "5", "--keep_epochs", "2"]) == 0
    assert losses(folder)[:12] == first and len(losses(folder)) == 20
    rates = [line["learning_rate"] for line in read_log(folder / "log.jsonl")]
    assert max(rates[12:]) > 2 * rates[11], "the rate rises again, to that of 5 epochs"
    run = open_run(folder)
    assert run.config.training.extended == ((3, 12),) and run.reached.finished and run.reached.epoch == "5"
    assert "too short to tell" not in capsys.readouterr().out
    assert sorted(path.name for path in (folder / "epochs").iterdir()) == ["1", "2", "3", "4"]
    early = open_run(folder, 3)
    assert early.folder == open_run(folder / "epoch_03").folder == folder / "epoch_03"
    jax.tree.map(np.testing.assert_array_equal, early.params, open_run(trained[0]).params)
    latents = early.folder / "mid_00.txt"
    latents.touch()
    assert latents_are_current(early.folder, early.written)
    os.utime(folder / "epochs" / "3", (latents.stat().st_mtime + 60,) * 2)  # as if it was done again
    assert not latents_are_current(early.folder, open_run(folder, 3).written)
    with pytest.raises(ConfigurationError, match=r"copy/epoch_07: .* does not keep .* expected one of 1, 2, 3, 4, 5"):
        open_run(folder / "epoch_07")
    assert str(open_run(folder, 4).reached) == "parameters of epoch 4 of 5 (step 16)"
    with pytest.raises(ConfigurationError, match=r"--epoch 7: .* expected one of 1, 2, 3, 4, 5. .*--keep_epochs"):
        open_run(folder, 7)


@pytest.mark.parametrize(("step", "words"), [(0, "has done no step"), (3, "has hardly begun"), (6, "1.5 of 3 epochs")])
def test_a_run_that_is_not_finished_is_told_where_it_is_used(trained, caplog, step, words) -> None:
    config = open_run(trained[0]).config
    caplog.clear()
    Reached.of(config, 40, Restored(None, step)).tell(trained[0])
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert words in warning and f"e2hype_refine.py --resume {trained[0]}." in warning


def test_latents_that_an_unfinished_run_was_looked_at_with_do_not_finish_it(trained, tmp_path, capsys, caplog) -> None:
    """Embedding writes mid_00.txt; the run goes on all the same."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    shutil.rmtree(folder / "checkpoints" / "12")
    particle_latents(open_run(folder), 8)
    assert "training is not finished, 2 of 3 epochs are done" in caplog.text
    assert main(["--resume", str(folder)]) == 0
    assert "this run is finished" not in capsys.readouterr().out
    assert open_run(folder).reached.finished


def test_a_run_begins_from_classes_and_opens_again(project, monkeypatch, capsys) -> None:
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", (LOW,))  # a third of what is to be compiled
    command = ["particles.star", *HYPE_FROM_CLASSES, *TRAINING, "--path", "run"]
    assert main(command) == 0
    assert "1 molecule(s) in 40 particles to begin with" in capsys.readouterr().out
    run = open_run(project / "run")
    assert run.model.start is not None and run.config.model.start == "classes"
    latent = np.asarray(jax.jit(run.model.encode)(run.params, next(batches(run, 40))))
    assert latent.shape == (40, sum(run.config.model.layer_tokens()) * run.config.model.dim)
    assert main(["--resume", "run"]) == 0
    _one_line(capsys, ["--resume", "run", "--start", "none"], "--start is classes, asked for none")


def test_a_run_folder_is_read_strictly(trained, tmp_path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    wrong = {
        "unknown key": {**config, "colour": "red"},
        "unknown key depth": {**config, "training": {**config["training"], "depth": 3}},
        "format_version is 7": {**config, "format_version": 7},
        "format_version is 1; this version reads 2": {**config, "format_version": 1},
        "lacks model": {name: config[name] for name in config if name != "model"},
    }
    for message, values in wrong.items():
        path.write_text(json.dumps(values))
        with pytest.raises(ConfigurationError, match=message):
            open_run(folder)
    path.write_text(json.dumps({**config, "model": {**config["model"], "points": [3, 2]}}))
    with pytest.raises(ConfigurationError, match="points"):
        open_run(folder)
    path.write_text(json.dumps({**config, "data": {**config["data"], "count": 41}}))
    with pytest.raises(DataError, match="holds 40 particles, but the run was trained on 41"):
        open_run(folder)
    path.write_text(json.dumps(config))
    (folder / "model.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="model.npz: damaged"):
        open_run(folder)


def test_missing_pieces_of_a_run_are_named(trained, tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="is this a run folder"):
        open_run(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(trained[0], folder)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(DataError, match="no complete checkpoint"):
        open_run(folder)


def _one_line(capsys, arguments, *texts) -> None:
    assert main(arguments) == 1
    message = capsys.readouterr().err
    lines = [line for line in message.splitlines() if "warning" not in line]
    assert len(lines) == 1, message
    for text in texts:
        assert text in lines[0], lines[0]


def test_a_mask_and_a_symmetry_reach_the_model(project, capsys) -> None:
    half = np.zeros((BOX, BOX, BOX), np.float32)
    half[BOX // 2 :] = 1  # z ≥ 0, which the two-fold axis leaves alone
    write_volume("half.mrc", half, PIXEL)
    options = "--decoder mlp --mask half.mrc --sym c2 --usetest 0.25 --path run --niter 1 --batchsz 12"
    assert main(["particles.star", *GMM, *options.split()]) == 0
    said = capsys.readouterr().out
    run = open_run("run")
    position = read_gaussians("gmm.txt", BOX, PIXEL).position
    expected = np.rint(position[:, 2] / PIXEL) >= 0
    np.testing.assert_array_equal(run.model.mobile, expected)
    assert f"{expected.sum()} of 30 Gaussians may change" in said
    assert "10 of 40 particles are held out" in said
    assert run.config.model.symmetry == "c2" and run.config.data.mask.endswith("half.mrc")
    neutral = run.model.neutral_mixture(run.params)
    volume = np.asarray(run.model.volume(neutral, BOX, PIXEL))[:, 1:, 1:]  # about the voxel n // 2
    np.testing.assert_allclose(volume, volume[:, ::-1, ::-1], atol=1e-4 * volume.max())


def test_gaussians_without_a_mixture_are_refused_before_particles_are_read(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for model, said in (([], "expected --model FILE, got none"), (["--model", "map.mrc"], "expected a .txt")):
        assert main(["not_there.star", "--pointtransformer", *model]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1 and "not_there" not in error


def test_mistakes_are_answered_in_one_line(project, capsys) -> None:
    mlp = FAMILIES["mlp"]
    _one_line(capsys, ["absent.star"], "absent.star")
    _one_line(capsys, ["particles.mrcs"], "no poses", "--poses")
    _one_line(capsys, ["particles.star", "--decoder", "mlp"], "--model", "e2hype_guess_n.py")
    _one_line(capsys, ["particles.star", *mlp, "--set", "colour=red"], "colour=red", "latent_size")
    _one_line(capsys, ["particles.star", *mlp, "--set", "points=a"], "--set points=a: expected a whole number")
    assert main(["particles.star", *mlp, "--batchsz", "0"]) == 2
    assert "--batchsz: expected 1 to 65536; got '0'" in capsys.readouterr().err
    _one_line(capsys, ["particles.star", *mlp, "--box", "15"], "odd", "--box 14")
    _one_line(capsys, ["particles.star", *mlp, "--box", "18"], "larger than the particles' 16")
    _one_line(capsys, ["--resume", "hype_77"], "hype_77", "is this a run folder")
    _one_line(capsys, [], "no particles")
    write_volume("other.mrc", np.ones((20, 20, 20), np.float32), PIXEL)
    _one_line(capsys, ["particles.star", "--model", "other.mrc"], "other.mrc", "20", "box, 16")
    write_volume("other.mrc", np.ones((16, 16, 16), np.float32), 2.0)
    _one_line(capsys, ["particles.star", "--model", "other.mrc"], "pixel size is 2 Å")
    _one_line(capsys, ["particles.star", *mlp, "--model", "other.mrc"], "expected")
    assert not list(project.glob("hype_*")), "nothing is left behind by a mistake"


def test_an_odd_box_nan_pixels_and_a_used_folder(tmp_path, monkeypatch, capsys, trained) -> None:
    monkeypatch.chdir(tmp_path)
    write_tiny_set(tmp_path, box=15)
    _one_line(capsys, ["particles.star", *HYPE_FROM_CLASSES], "15 pixels, odd")
    write_tiny_set(tmp_path)
    images = np.memmap("particles.mrcs", np.float32, "r+", 1024, (40, BOX, BOX))
    images[17, 3, 3] = np.nan
    images.flush()
    _one_line(
        capsys, ["particles.star", *HYPE_FROM_CLASSES, "--maxbad", "0"], "mrcs: image 18", "not finite", "--maxbad N"
    )
    name = str(trained[0])
    _one_line(capsys, [str(trained[0].parent / "particles.star"), *HYPE_FROM_CLASSES, "--path", name], "--resume")


def test_real_particles_train_in_both_families(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", (LOW,))  # a third of what is to be compiled
    star = shared_file("formats", "relion31", "trpv1_small_stack.star")
    stack = shared_file("formats", "relion31", "trpv1_small_stack.mrcs")
    (tmp_path / "batch_0_restacked.mrc").symlink_to(stack)
    write_tiny_set(tmp_path)  # for gmm.txt
    monkeypatch.chdir(tmp_path)
    common = [str(star), "--datadir", str(tmp_path), "--niter", "2", "--batchsz", "5"]
    for options in (HYPE_FROM_CLASSES, FAMILIES["mlp"]):
        assert main([*common, *options]) == 0
        assert "protein looks white" in capsys.readouterr().out
    for folder in ("hype_00", "hype_01"):
        names = {"config.json", "mid_00.txt", "ptcls_00.lst", "loss.png", "log.jsonl"}
        assert names <= {path.name for path in (tmp_path / folder).iterdir()}
        assert read_latent(tmp_path / folder / "mid_00.txt")[0].tolist() == list(range(10))
        assert len(open_run(tmp_path / folder).particles) == 10


@pytest.mark.parametrize(("go_on", "told"), [(None, "the same command"), ("the whole of it", "the whole of it")])
def test_who_asks_while_particles_are_measured_is_answered(monkeypatch, go_on, told):
    class Measured:
        def start(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(20)

    monkeypatch.setattr("libhetero.pipelines.run.wanted.wanted_run", lambda config: Measured())
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(StoppedEarly) as stopped:
            refine.run(RefineConfig("particles.star"), go_on=go_on)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert str(stopped.value) == f"stopped as the system asked; no step was done. Go on with {told}."
    assert stopped.value.code == 143
