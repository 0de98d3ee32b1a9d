"""Volumes of toy runs: of particles, classes and latent points, on the grid asked for."""

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_gaussians, read_volume, write_latent
from libhetero.pipelines import evaluate
from libhetero.pipelines.evaluate import EvaluateConfig
from tests.pipelines.toy_run import BOX, PIXEL, field_run, gaussian_run


@pytest.fixture
def gaussians(tmp_path, monkeypatch):
    run, piece, states = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr(evaluate, "open_run", lambda folder: run)
    return run, piece, states


def test_particles_give_volumes_and_gaussians(tmp_path, gaussians):
    run, piece, states = gaussians
    result = evaluate.run(EvaluateConfig(str(tmp_path), particles=(7, 0, 59, 3, 1)))
    names = [path.name for path in result.volumes]
    assert names == [f"particle_{index:06d}.mrc" for index in (7, 0, 59, 3, 1)]
    volume, pixel_size = read_volume(result.volumes[0])
    assert volume.shape == (BOX,) * 3 and pixel_size == pytest.approx(PIXEL)
    mixture = read_gaussians(result.volumes[0].with_suffix(".txt"), BOX, PIXEL)
    present = np.array([True, *states[7]])[piece]
    np.testing.assert_allclose(mixture.amplitude, present, atol=0.15)
    assert result.volumes[0].with_suffix(".pdb").exists() and result.figure.exists()


def test_class_volumes_are_those_of_their_mean_latent(tmp_path, gaussians):
    run, _, states = gaussians
    table = tmp_path / "mine.txt"
    np.savetxt(table, np.column_stack([np.arange(60), np.where(states[:, 0], 4, -1)]), fmt="%d")
    result = evaluate.run(EvaluateConfig(str(tmp_path), classes=str(table)))
    assert [path.name for path in result.volumes] == ["class_04.mrc"]


@pytest.mark.parametrize("suffix", ["mrc", "hdf"])
def test_all_classes_on_another_grid(tmp_path, gaussians, suffix):
    config = EvaluateConfig(
        str(tmp_path), all_classes=8, pixel_size=20.0, lowpass=60.0, format=suffix,
        output=str(tmp_path / "elsewhere"),
    )  # fmt: skip
    result = evaluate.run(config)
    assert len(result.volumes) == 8
    volume, pixel_size = read_volume(result.volumes[-1])
    assert volume.shape == (8, 8, 8) and pixel_size == pytest.approx(20.0)
    assert (tmp_path / "classes_08.txt").exists()


def test_latent_points_of_gaussians_are_decoded_as_they_are(tmp_path, gaussians):
    points = tmp_path / "points.txt"
    write_latent(points, np.arange(2), np.array([[0.0, 0, 0], [-1.0, -1, -1]]))
    result = evaluate.run(EvaluateConfig(str(tmp_path), latent=str(points), box_size=24))
    whole, none = (read_volume(path)[0] for path in result.volumes)
    assert whole.shape == (24, 24, 24) and none.sum() < whole.sum()


def test_reduced_latents_are_taken_back(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr(evaluate, "open_run", lambda folder: run)
    config = EvaluateConfig(str(tmp_path), particles=(3, 20), batch_size=16)
    direct = [read_volume(path)[0] for path in evaluate.run(config).volumes]
    evaluate.run(EvaluateConfig(str(tmp_path), all_classes=2))
    latent = np.loadtxt(tmp_path / "mid_00.txt")[[3, 20]]
    np.savetxt(tmp_path / "two.txt", latent)
    result = evaluate.run(EvaluateConfig(str(tmp_path), latent=str(tmp_path / "two.txt")))
    assert [path.name for path in result.volumes] == ["latent_0003.mrc", "latent_0020.mrc"]
    for path, expected in zip(result.volumes, direct, strict=True):
        np.testing.assert_allclose(read_volume(path)[0], expected, rtol=1e-3, atol=1e-3)


def test_mistakes_are_told_in_one_line(tmp_path, gaussians):
    with pytest.raises(ConfigurationError, match="no particle 60"):
        evaluate.run(EvaluateConfig(str(tmp_path), particles=(60,)))
    with pytest.raises(DataError, match="no such file"):
        evaluate.run(EvaluateConfig(str(tmp_path), classes=str(tmp_path / "none.txt")))
    write_latent(tmp_path / "wide.txt", np.arange(2), np.zeros((2, 5)))
    with pytest.raises(ConfigurationError, match="expected 3"):
        evaluate.run(EvaluateConfig(str(tmp_path), latent=str(tmp_path / "wide.txt")))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"particles": (1,), "all_classes": 2}, {"particles": (1,), "lowpass": 0.0},
     {"particles": (1,), "format": "spi"}],
)  # fmt: skip
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigurationError):
        EvaluateConfig("hype_00", **wrong)


def test_program(tmp_path, gaussians, monkeypatch, load_program, capsys):
    monkeypatch.chdir(tmp_path)
    program = load_program("e2hype_eval.py")
    assert program.main([str(tmp_path), "--particles", "0,2-3"]) == 0
    assert "3 volume(s)" in capsys.readouterr().out
    assert program.main([str(tmp_path), "--particles", "x"]) == 2
    assert program.main([str(tmp_path)]) == 2
