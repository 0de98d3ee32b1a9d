"""Particles and Gaussians of toy runs are embedded and written."""

import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.io import read_latent
from libhetero.pipelines import embed
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.mid_latent import read_basis
from libhetero.pipelines.run_folder import batches
from tests.pipelines.toy_run import field_run, gaussian_run


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_particles_by_their_latents(tmp_path, monkeypatch, method):
    run, _, states = gaussian_run(tmp_path)
    monkeypatch.setattr(embed, "open_run", lambda folder: run)
    result = embed.run(EmbedConfig(str(tmp_path), method=method))
    index, plane = read_latent(tmp_path / "embed_particles.txt")
    np.testing.assert_array_equal(index, np.arange(300))
    np.testing.assert_allclose(plane, result.plane)
    kinds = states @ [1, 2, 4]
    within = np.mean([plane[kinds == kind].std(axis=0).max() for kind in range(8)])
    assert within < 0.4 * plane.std(axis=0).max()
    assert result.figure.exists()


def test_gaussians_over_all_particles(tmp_path, monkeypatch):
    run, piece, _ = gaussian_run(tmp_path)
    monkeypatch.setattr(embed, "open_run", lambda folder: run)
    embed.run(EmbedConfig(str(tmp_path), gaussians=True))
    index, plane = read_latent(tmp_path / "embed_gaussians.txt")
    np.testing.assert_array_equal(index, np.flatnonzero(piece))
    assert plane.shape == (len(index), 2)
    assert (tmp_path / "embed_gaussians.png").exists()


def test_latents_that_training_did_not_leave_are_encoded_and_kept(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr(embed, "open_run", lambda folder: run)
    embed.run(EmbedConfig(str(tmp_path), method="pca", batch_size=16))
    index, latent = read_latent(tmp_path / "mid_00.txt")
    assert len(index) == 50 and latent.shape[1] <= 100
    whole = np.concatenate([run.model.encode(run.params, batch) for batch in batches(run, 50)])
    np.testing.assert_allclose(read_basis(tmp_path / "mid_00.txt").lift(latent), whole, atol=1e-3)


def test_a_run_without_gaussians_says_so(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr(embed, "open_run", lambda folder: run)
    with pytest.raises(ConfigurationError, match="has no Gaussians"):
        embed.run(EmbedConfig(str(tmp_path), gaussians=True))


@pytest.mark.parametrize(
    "wrong", [{"method": "tsne"}, {"feature": "colour", "gaussians": True}, {"neighbours": 1}, {"min_distance": 2.0}]
)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        EmbedConfig("hype_00", **wrong)


@pytest.mark.parametrize("option", [{"feature": "motion"}, {"memory": 2.0}])
def test_an_option_of_gaussians_is_not_silently_ignored(option):
    name = next(iter(option))
    with pytest.raises(ConfigurationError, match=f"--{name} .*--gaussians"):
        EmbedConfig("hype_00", **option)
    EmbedConfig("hype_00", gaussians=True, **option)


def test_program(tmp_path, monkeypatch, load_program, capsys):
    run, *_ = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr(embed, "open_run", lambda folder: run)
    monkeypatch.chdir(tmp_path)
    assert load_program("e2hype_embed.py").main([str(tmp_path), "--method", "pca"]) == 0
    assert "embed_particles.png" in capsys.readouterr().out
