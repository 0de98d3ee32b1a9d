"""The speed benchmark at a size of milliseconds, and its count of operations."""

import json

import jax
import jax.numpy as jnp
import pytest

from libhetero.training.flops import product_flops


@pytest.fixture(autouse=True)
def allocator_as_it_is(monkeypatch):
    monkeypatch.setattr("libhetero.cli.allocator.keep_freed_memory", lambda environment: False)


def test_quick(load, tmp_path, capsys):
    assert load("speed").main(["--quick", "--json", str(tmp_path / "speed.json")]) == 0
    found = json.loads((tmp_path / "speed.json").read_text())
    ratios = ("pt_paper_ratio", "pt_paper_memory_ratio", "pt_default_ratio", "projector_ratio")
    assert all(found[name] > 0 for name in (*ratios, "pt_default_particles_per_s"))
    hype = ("hype_default_ratio", "hype_default_images_per_s", "fraction_of_peak")
    assert all(found[name] > 0 for name in hype)
    assert "cpu" in found["device"]
    assert found["gflop"]["paper"] < found["gflop"]["transcription"]
    shown = capsys.readouterr().out
    assert "transcription" in shown and "batch 2" in shown


def test_published_work_of_cryohype_is_what_the_project_counted(load):
    """Of 327 GFLOP forward and backward an image, 315 in products; the default's are less than a quarter."""
    module = load("hype_speed")
    batch = module.particles(128, 1)
    work = {}
    for name in ("paper", "default"):
        model = module.HypeModel.from_data(module.HYPE.config(name, "float32"), 128, module.PIXEL_SIZE, batch)
        params = jax.eval_shape(model.init, jax.random.key(0))
        step = jax.value_and_grad(lambda p, model=model: model.loss(p, batch, jax.random.key(1))[0])
        work[name] = 1e-9 * product_flops(step, params)
    assert work["paper"] == pytest.approx(314.6, abs=1)
    assert work["default"] < work["paper"] / 4


def test_published_work_is_what_the_project_counted(load):
    """36.1 GFLOP forward a particle as published, at 1024 Gaussians, and 24.0 restructured."""
    speed = load("speed")
    sizes = speed.Sizes(gaussians=1024)
    made = speed.decoders(sizes)
    latent = jax.ShapeDtypeStruct((8, 3), jnp.float32)
    work = {
        name: product_flops(made[name].loss, made[name].params, latent) / 8e9 for name in ("transcription", "paper")
    }
    assert work["transcription"] == pytest.approx(36.1, abs=0.3)
    assert work["paper"] == pytest.approx(24.0, abs=0.1)
