"""Particles and Gaussians of toy runs are embedded and written."""

import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from libhetero.errors import ConfigurationError, UserError
from libhetero.io import read_latent
from libhetero.pipelines import embed
from libhetero.pipelines.decoding.mid_latent import read_basis
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.embedding import particles
from libhetero.pipelines.run.folder import batches
from tests.making.oracles import simulated, volume_run
from tests.making.runs import field_run, gaussian_run


@pytest.mark.parametrize("method", ["pca", "umap"])
def test_particles_by_their_latents(tmp_path, monkeypatch, method):
    run, _, states = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
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
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    embed.run(EmbedConfig(str(tmp_path), gaussians=True))
    index, plane = read_latent(tmp_path / "embed_gaussians.txt")
    np.testing.assert_array_equal(index, np.flatnonzero(piece))
    assert plane.shape == (len(index), 2)
    assert (tmp_path / "embed_gaussians.png").exists()


def test_latents_that_training_did_not_leave_are_encoded_and_kept(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    embed.run(EmbedConfig(str(tmp_path), method="pca", batch_size=16))
    index, latent = read_latent(tmp_path / "mid_00.txt")
    assert len(index) == 50 and latent.shape[1] <= 100
    whole = np.concatenate([run.model.encode(run.params, batch) for batch in batches(run, 50)])
    np.testing.assert_allclose(read_basis(tmp_path / "mid_00.txt").lift(latent), whole, atol=1e-3)


def test_a_run_without_gaussians_says_so(tmp_path, monkeypatch):
    run = field_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    with pytest.raises(ConfigurationError, match="has no Gaussians"):
        embed.run(EmbedConfig(str(tmp_path), gaussians=True))


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_particles_are_sorted_and_listed(tmp_path, monkeypatch, method):
    run, _, states = gaussian_run(tmp_path)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    (tmp_path / "class_09.lst").touch()
    choice = {"classes": 8} if method == "kmeans" else {"class_method": "hdbscan", "min_size": 12}
    result = embed.run(EmbedConfig(str(tmp_path), lists=True, **choice))
    index, label, *probability = np.loadtxt(tmp_path / "classes_particles.txt").T
    assert len(probability) == (method == "kmeans") and all(0 < one.min() <= one.max() <= 1 for one in probability)
    np.testing.assert_array_equal(index, np.arange(300))
    np.testing.assert_array_equal(label, result.label)
    inside = label >= 0
    assert inside.mean() > 0.8
    assert adjusted_rand_score((states @ [1, 2, 4])[inside], label[inside]) > 0.95
    names = {f"class_{int(one):02d}.{suffix}" for one in set(label[inside]) for suffix in ("lst", "star")}
    assert {path.name for path in tmp_path.glob("class_*.*")} == names
    embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2))
    assert not list(tmp_path.glob("class_*.*")), "lists of other classes than classes_particles.txt"


def test_the_number_of_classes_may_be_left_to_the_data(tmp_path, monkeypatch):
    run, *_ = gaussian_run(tmp_path, pieces=2)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    result = embed.run(EmbedConfig(str(tmp_path), method="pca", classes="auto"))
    assert len(set(result.label)) == 4


def test_molecules_that_training_began_with_are_the_classes(tmp_path, monkeypatch):
    """Numbered by the first latent number; a molecule that no image is of is no class, and K asks for others."""
    run = field_run(tmp_path, 60)
    molecule = np.arange(60) * 7 % 3 + (np.arange(60) * 7 % 3 == 2)  # 0, 1 and 3: none is of 2
    certain = np.float32(0.7 + 0.3 * (molecule == 1))
    whole = (1 - certain[:, None]) / 3 + (certain[:, None] - (1 - certain[:, None]) / 3) * np.eye(4)[molecule]
    monkeypatch.setattr(type(run.model), "memberships", lambda model, batch: jnp.asarray(whole)[batch.index])
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    result = embed.run(EmbedConfig(str(tmp_path), method="pca", classes="auto"))
    assert adjusted_rand_score(molecule, result.label) == 1 and set(result.label) == {0, 1, 2}
    np.testing.assert_allclose(result.probability, whole.max(axis=1), rtol=1e-5)
    first = read_latent(tmp_path / "mid_00.txt")[1][:, 0]
    means = [first[result.label == one].mean() for one in range(3)]
    assert means == sorted(means)
    assert len(set(embed.run(EmbedConfig(str(tmp_path), method="pca", classes=2)).label)) == 2


def test_of_each_block_of_particles_the_likeliest_molecule_is_kept(tmp_path, monkeypatch):
    """Probabilities of all particles and molecules are never held together."""
    run, seen, held = field_run(tmp_path, 60), [], []

    def blocks(stream):
        for start in range(0, 60, 6):
            block = np.eye(4, dtype=np.float32)[np.arange(start, start + 6) % 4]
            seen.append(weakref.ref(block))
            held.append(sum(one() is not None for one in seen))
            yield block

    monkeypatch.setattr(particles.LatentStream, "memberships", blocks)
    latent = np.arange(60, dtype=np.float32)[:, None] % 4
    found = particles.classes_by_latents(run, latent, None, 0, 6)
    np.testing.assert_array_equal(found.label, np.arange(60) % 4)
    assert found.count == 4 and (found.probability == 1).all() and max(held) <= 4


@pytest.fixture
def drawn(monkeypatch):
    """The labellings that the figure was drawn with, by title."""
    found = {}
    monkeypatch.setattr(
        "libhetero.pipelines.embedding.files.draw_particles",
        lambda path, plane, labellings, axis: found.update({one.title: one for one in labellings}),
    )
    return found


def test_labels_colour_the_figure_and_change_nothing_else(tmp_path, monkeypatch, drawn):
    run, *_ = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    plain = embed.run(EmbedConfig(str(tmp_path), method="pca", classes=3))
    assert list(drawn) == ["class"]
    np.savetxt(tmp_path / "known.txt", [[0, 7], [2, 5]], fmt="%d")
    config = EmbedConfig(str(tmp_path), method="pca", classes=3, labels=str(tmp_path / "known.txt"))
    result = embed.run(config)
    assert list(drawn) == ["class", "given label"]
    np.testing.assert_array_equal(drawn["given label"].label[:4], [7, -1, 5, -1])
    np.testing.assert_array_equal(result.label, plain.label)
    np.testing.assert_array_equal(result.plane, plain.plane)
    for one, particle in drawn["class"].medoids.items():
        assert result.label[particle] == one


def test_the_truth_colours_the_figure(tmp_path, monkeypatch, drawn):
    truth = simulated(tmp_path / "mixture", "mixture", 24)
    run = volume_run(tmp_path / "run", truth)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    embed.run(EmbedConfig(str(run.folder), method="pca", truth=str(truth.folder)))
    np.testing.assert_array_equal(drawn["true label"].label, truth.labels)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("0 1\n60 2", "no particle 60"),
        ("0 1 2 3", "4 columns"),
        ("a b", "not a table of numbers"),
        ("1 2\n1 3", "particle 1 2 times"),
        ("0 1.5", "not whole"),
        ("", "empty"),
        (None, "no such file"),
    ],
)
def test_labels_that_do_not_fit_are_told_before_anything_is_done(tmp_path, monkeypatch, table, message):
    run, *_ = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    if table is not None:
        (tmp_path / "known.txt").write_text(table)
    with pytest.raises(UserError, match=message):
        embed.run(EmbedConfig(str(tmp_path), labels=str(tmp_path / "known.txt")))
    assert not (tmp_path / "embed_particles.txt").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 3, "gaussians": True}, "--classes is of particles"),
        ({"classes": 3, "class_method": "hdbscan"}, "HDBSCAN finds their number"),
        ({"classes": 0}, "classes"),
        ({"class_method": "ward"}, "class_method"),
        ({"min_size": 20}, "--min_size is of HDBSCAN"),
        ({"lists": True}, "--lists: which classes"),
        ({"truth": "a", "labels": "b"}, "--truth and --labels"),
    ],
)
def test_options_of_classes_are_checked(wrong, message):
    with pytest.raises(ConfigurationError, match=message):
        EmbedConfig("hype_00", **wrong)


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"method": "tsne"}, "--method"),
        ({"feature": "colour", "gaussians": True}, "--feature"),
        ({"neighbours": 1}, "--neighbours"),
        ({"min_distance": 2.0}, "--min_dist"),
        ({"min_distance": float("nan")}, "--min_dist"),
        ({"batch_size": 0}, "--batchsz"),
        ({"classes": "many"}, "--classes"),
    ],
)
def test_configuration_is_checked(wrong, flag):
    with pytest.raises(ConfigurationError, match=f"^{flag}: expected "):
        EmbedConfig("hype_00", **wrong)


@pytest.mark.parametrize("option", [{"feature": "motion"}, {"memory": 2.0}])
def test_an_option_of_gaussians_is_not_silently_ignored(option):
    name = next(iter(option))
    with pytest.raises(ConfigurationError, match=f"^--{name} goes with --gaussians"):
        EmbedConfig("hype_00", **option)
    EmbedConfig("hype_00", gaussians=True, **option)


def test_program(tmp_path, monkeypatch, load_program, capsys):
    run, *_ = gaussian_run(tmp_path, count=60)
    monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, epoch=None: run)
    monkeypatch.chdir(tmp_path)
    program = load_program("e2hype_embed.py")
    command = [str(tmp_path), "--method", "pca"]
    assert program.main([*command, "--classes", "4"]) == 0
    assert "embed_particles.png" in capsys.readouterr().out
    assert (tmp_path / "classes_particles.txt").exists() and (tmp_path / "embed_particles.png").exists()
    assert program.main([*command, "--classes", "many"]) == 2
    assert program.main([*command, "--min_size", "5"]) == 1
    assert "--class_method hdbscan" in capsys.readouterr().err
