"""The encoder's input, the losses, and which part of a Gaussian changes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.models.contrast import junk_given_evidence
from libhetero.models.gmm.changes import Neighbourhood, changed
from libhetero.models.gmm.config import GmmConfig
from libhetero.models.gmm.latent.encoder import gradient_features, mean_frc
from libhetero.models.gmm.model import GmmModel
from libhetero.models.gmm.noise import measure_noise, ring_limits
from libhetero.physics.fourier import half_plane, ring_index
from libhetero.physics.gaussians import project_gaussians
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.records import Gaussians
from tests.making.images import BOX, PIXEL, particles
from tests.making.mixtures import mixture
from tests.making.models import GMM, random_params
from tests.reference import correlation as correlation_twin
from tests.reference import ctf as ctf_twin

RINGS = slice(1, BOX // 2)
C1 = symmetry_operators("c1")


FREQUENCIES = half_plane(BOX, PIXEL)


def one_particle():
    batch = jax.tree.map(lambda leaf: leaf[0], particles())
    return np.fft.rfft2(np.fft.ifftshift(batch.images)).astype(np.complex64), batch.observation


def test_features_are_the_gradient_of_the_mean_frc():
    """By central differences of the same function, in float32, of the largest derivatives."""
    target, seen = one_particle()
    gaussians = jax.tree.map(jnp.asarray, mixture())
    features = np.asarray(jax.jit(lambda g: gradient_features(g, target, seen, PIXEL, RINGS, C1))(gaussians))
    assert features.shape == (20, 5)

    @jax.jit
    @jax.vmap
    def score(position, log_amplitude, log_sigma):
        moved = Gaussians(position, jnp.exp(log_amplitude), jnp.exp(log_sigma))
        return mean_frc(project_gaussians(moved, seen.pose, BOX, PIXEL), target, seen, FREQUENCIES, RINGS)

    raw = np.column_stack([mixture().position, np.log(mixture().amplitude), np.log(mixture().sigma)])
    steps = np.array([0.3, 0.3, 0.3, 0.05, 0.05])
    nudges = np.zeros((100, 20, 5))
    nudges[np.arange(100), np.arange(100) // 5, np.arange(100) % 5] = np.tile(steps, 20)

    def scores(tables):
        tables = tables.astype(np.float32)
        return np.asarray(score(tables[..., :3], tables[..., 3], tables[..., 4]), np.float64)

    slope = (scores(raw + nudges) - scores(raw - nudges)).reshape(20, 5) / (2 * steps)
    for column in range(5):
        largest = np.abs(slope[:, column]).max()
        np.testing.assert_allclose(features[:, column], slope[:, column], atol=0.05 * largest)


def test_mean_frc_agrees_with_the_slow_rings_and_ignores_scale():
    target, seen = one_particle()

    @jax.jit
    def score(gaussians, target):
        return mean_frc(project_gaussians(gaussians, seen.pose, BOX, PIXEL), target, seen, FREQUENCIES, RINGS)

    plane = jax.jit(lambda g: project_gaussians(g, seen.pose, BOX, PIXEL))(mixture())
    ctf = ctf_twin.ctf_image({name: float(value) for name, value in seen.ctf.columns().items()}, BOX, PIXEL)
    rings = correlation_twin.ring_correlation(np.asarray(plane) * ctf, target)
    found = float(score(mixture(), target))
    assert found == pytest.approx(rings[RINGS].mean(), abs=1e-4)
    louder = dataclasses.replace(mixture(), amplitude=7 * mixture().amplitude)
    assert float(score(louder, 0.2 * target)) == pytest.approx(found, abs=1e-5)


@pytest.mark.parametrize("loss", ["frc", "likelihood"])
def test_frc_is_free_of_scale_and_likelihood_is_not(loss):
    """At the neutral mixture; the likelihood's misfit is 1 there, by the noise it was measured on."""
    batch = particles(32, scale=3.0)
    config = GmmConfig(**GMM, decoder="mlp", loss=loss)
    scale, weight = measure_noise(mixture(), batch, BOX, PIXEL, (1, BOX // 2))
    model = GmmModel(config, mixture(), (), np.ones(5), scale, weight, BOX, PIXEL)
    misfit = jax.jit(jax.vmap(model._misfit, in_axes=(0, 0, None)))
    neutral = float(misfit(batch.images, batch.observation, mixture()).mean())
    louder = dataclasses.replace(mixture(), amplitude=2 * mixture().amplitude)
    doubled = float(misfit(batch.images, batch.observation, louder).mean())
    if loss == "frc":
        assert -1 < neutral < -0.3
        assert doubled == pytest.approx(neutral, abs=1e-5)
    else:
        assert neutral == pytest.approx(1, abs=0.05)
        assert doubled > neutral + 0.5


def test_scale_and_noise_are_measured():
    """Images of scale 30 in white noise of deviation 2: n² · 4 of power in every ring."""
    clean = particles(256, noise=0.0, scale=30.0)
    noise = 2 * np.random.default_rng(9).normal(size=clean.images.shape)
    noisy = dataclasses.replace(clean, images=(clean.images + noise).astype(np.float32))
    scale, weight = measure_noise(mixture(), noisy, BOX, PIXEL, (2, 7))
    assert scale == pytest.approx(30, rel=0.01)
    rings = ring_index(BOX)
    upper = (np.arange(BOX) < BOX // 2)[:, None] | (np.arange(BOX // 2 + 1) > 0)[None, :]
    used = (rings >= 2) & (rings < 7) & upper
    np.testing.assert_array_equal(weight > 0, used)
    np.testing.assert_allclose(1 / weight[used], BOX**2 * 4, rtol=0.1)
    assert 1 / weight[used].mean() == pytest.approx(BOX**2 * 4, rel=0.03)


def test_padding_has_no_say_in_scale_and_noise():
    batch = particles(8)
    images, weight = np.array(batch.images), np.float32(np.arange(8) < 6)
    images[6:] = 1e3
    padded = dataclasses.replace(batch, images=images, weight=weight)
    plain = jax.tree.map(lambda array: array[:6], batch)
    found = measure_noise(mixture(), padded, BOX, PIXEL, (1, 8))
    expected = measure_noise(mixture(), plain, BOX, PIXEL, (1, 8))
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)


def test_inverted_images_are_refused():
    batch = particles(scale=-1.0)
    with pytest.raises(DataError, match="do not correlate .*--invert"):
        measure_noise(mixture(), batch, BOX, PIXEL, (1, 8))


def test_rings_of_resolution_limits():
    assert ring_limits((0.0, 0.0), 64, 2.0) == (1, 32)
    assert ring_limits((64.0, 8.0), 64, 2.0) == (2, 17)
    assert ring_limits((1e4, 1.0), 64, 2.0) == (1, 32)


@pytest.mark.parametrize("vary", ["p", "a", "s", "pa", "as", "ps", "pas"])
def test_only_the_letters_given_vary(vary):
    config = GmmConfig(**GMM, encoder="network", decoder="mlp", vary=vary, displacement_scale=5.0)
    neutral = mixture()
    model = GmmModel(config, neutral, (), np.ones(5), 1.0, np.ones((BOX, 9)), BOX, PIXEL)
    start = jax.tree.map(jnp.asarray, neutral)
    outputs = sum({"p": 3, "a": 1, "s": 1}[letter] for letter in vary)
    change = np.random.default_rng(0).normal(size=(20, outputs)).astype(np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0))
    assert params["decoder"]["change"]["kernel"].shape[-1] == 20 * outputs
    found, columns = changed(config, start, jnp.asarray(change)), iter(range(outputs))
    position, amplitude, sigma = neutral.position, neutral.amplitude, neutral.sigma
    if "p" in vary:
        position = position + 5 * change[:, [next(columns) for _ in range(3)]]
    if "a" in vary:
        level = 1 + change[:, next(columns)]
        amplitude = amplitude * (level + np.sqrt(level**2 + 0.04)) / (1 + np.sqrt(1.04))
    if "s" in vary:
        sigma = sigma * np.exp(np.tanh(change[:, next(columns)]) / 2)
    np.testing.assert_allclose(found.position, position, rtol=1e-5)
    np.testing.assert_allclose(found.amplitude, amplitude, rtol=1e-5)
    np.testing.assert_allclose(found.sigma, sigma, rtol=1e-5)
    assert np.all(np.asarray(found.amplitude) >= 0) and np.all(np.asarray(found.sigma) > 0)


@pytest.mark.parametrize("loss", ["frc", "likelihood"])
def test_a_unit_of_a_symmetric_complex_stands_for_all_of_it(loss):
    operators = symmetry_operators("d2")
    batch, unit = particles(4), mixture(5)
    whole = jax.tree.map(np.asarray, symmetric_copies(unit, operators))
    found = []
    for symmetry, neutral in (("d2", unit), ("c1", whole)):
        config = GmmConfig(**GMM, decoder="mlp", loss=loss, symmetry=symmetry)
        model = GmmModel(config, neutral, (), np.ones(5), 1.0, np.ones((BOX, 9)), BOX, PIXEL)
        misfit = jax.jit(jax.vmap(model._misfit, in_axes=(0, 0, None)))
        features = jax.jit(jax.vmap(model._features))(batch.images, batch.observation)
        found.append(
            (
                misfit(batch.images, batch.observation, neutral),
                model.volume(neutral, BOX, PIXEL),
                model.render(neutral, batch.pose.take(0), BOX, PIXEL),
                features,
            )
        )
    for one, other in zip(found[0][:3], found[1][:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    strengths = found[1][3].reshape(4, 4, 5, 5).sum(axis=1)[..., 3:]  # of every copy of a Gaussian
    np.testing.assert_allclose(found[0][3][..., 3:], strengths, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("encoder", ["network", "posterior"])
def test_gaussians_outside_the_mask_do_not_change(encoder):
    config = GmmConfig(**GMM, encoder=encoder, decoder="mlp", vary="pas")
    mobile = np.arange(20) < 8
    model = GmmModel.from_data(config, mixture(), BOX, PIXEL, particles(16), mobile=mobile)
    params = random_params(model.init)
    decoded = jax.jit(model.decode)(params, 2 * np.ones((1, model.config.latent_size), np.float32))
    neutral = model.neutral_mixture(params)
    moved = np.linalg.norm(decoded.position[0] - neutral.position, axis=1)
    assert np.all(moved[mobile] > 1e-3) and np.all(moved[~mobile] == 0)
    np.testing.assert_array_equal(decoded.amplitude[0][~mobile], neutral.amplitude[~mobile])
    restored = GmmModel.from_arrays(model.config, model.arrays())
    np.testing.assert_array_equal(restored.mobile, mobile)
    if encoder == "posterior":
        assert np.all(model.subspace.modes[~mobile] == 0)
        assert np.all(np.abs(model.subspace.modes[mobile]).max(axis=(1, 2)) > 0)


def test_the_paper_has_no_penalty_but_the_hinge():
    config = GmmConfig.preset("paper")
    assert config.stiffness == 0 and config.latent_penalty > 0


def test_particles_that_are_not_trained_on_meet_no_dropout():
    config = GmmConfig(**GMM, encoder="network", decoder="mlp", dropout=0.5, latent_noise=0.5)
    model = GmmModel.from_data(config, mixture(), BOX, PIXEL, particles(4))
    params, batch = random_params(model.init), particles(4)
    loss = jax.jit(model.loss, static_argnames="training")
    keys = [jax.random.key(seed) for seed in (0, 1)]
    trained = [float(loss(params, batch, key)[0]) for key in keys]
    tested = [float(loss(params, batch, key, training=False)[0]) for key in keys]
    assert trained[0] != trained[1] and tested[0] == tested[1]


def test_strain_costs_as_much_as_its_stiffness():
    """The network's latents do not depend on it, so that losses differ by the strain alone."""
    batch, losses = particles(4), []
    for stiffness in (0.0, 1.0, 2.0):
        config = GmmConfig(**GMM, encoder="network", decoder="mlp", latent_noise=0.0, stiffness=stiffness)
        model = GmmModel.from_data(config, mixture(), BOX, PIXEL, batch)
        params = random_params(model.init)
        losses.append(float(jax.jit(model.loss)(params, batch, jax.random.key(0))[0]))
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def linear_model(vary):
    """Return a model whose latents are solved for, and parameters by which its network says nothing."""
    model = GmmModel.from_data(
        GmmConfig(**GMM, encoder="posterior", decoder="mlp", vary=vary), mixture(), BOX, PIXEL, particles(16)
    )
    params = random_params(model.init)
    return model, params | {"decoder": jax.tree.map(jnp.zeros_like, params["decoder"])}


def test_runs_from_before_modes_turned_are_decoded_as_they_were_trained():
    model, params = linear_model("p")
    older = model.arrays()
    del older["turning"]
    far = 20 * jnp.ones((1, model.config.latent_size))
    ways = {}
    for name, arrays in (("now", model.arrays()), ("older", older)):
        restored = GmmModel.from_arrays(model.config, arrays)
        decoded = jax.jit(restored.decode)(params, jnp.concatenate([far, 2 * far]))
        ways[name] = decoded.position - restored.neutral_mixture(params).position
    scale = np.abs(ways["older"]).max()
    np.testing.assert_allclose(ways["older"][1], 2 * ways["older"][0], atol=1e-4 * scale)
    assert np.abs(ways["now"][1] - 2 * ways["now"][0]).max() > 0.01 * scale


def test_amplitudes_change_by_means_over_neighbours_but_for_runs_from_before():
    model, params = linear_model("a")
    older = model.arrays()
    assert older.pop("averaged")
    latent, changes = 0.1 * jnp.eye(model.config.latent_size), {}  # so little that no amplitude comes near 0
    for name, arrays in (("now", model.arrays()), ("older", older)):
        restored = GmmModel.from_arrays(model.config, arrays)
        decoded = jax.jit(restored.decode)(params, latent)
        relative = np.asarray(decoded.amplitude / restored.neutral_mixture(params).amplitude)
        root, scale = 0.04**0.5, 1 + 1.04**0.5
        hinge = (relative * scale) - root**2 / (relative * scale)  # the inverse of `positive`: 2 (1 + a)
        changes[name] = hinge.T / 2 - 1
    near = Neighbourhood.of(model.neutral, model.edges)
    np.testing.assert_allclose(model.decoded_subspace.modes, near.mean(model.subspace.modes), atol=1e-6)
    np.testing.assert_allclose(changes["now"], near.mean(changes["older"]), atol=1e-4)
    assert np.abs(changes["now"] - changes["older"]).max() > 0.01


def test_the_network_s_changes_are_averaged_as_those_of_modes_are():
    config = GmmConfig(**GMM, encoder="posterior", decoder="mlp", vary="pa")
    model = GmmModel.from_data(config, mixture(), BOX, PIXEL, particles(16))
    params = random_params(model.init)
    params["modes"] = jnp.zeros_like(params["modes"])
    latent = jnp.ones((1, config.latent_size))
    plain = dataclasses.replace(model, averaged=False)
    now, before = (jax.jit(one.decode)(params, latent) for one in (model, plain))
    np.testing.assert_allclose(now.position, before.position, atol=1e-5)
    assert np.abs(now.amplitude / before.amplitude - 1).max() > 1e-3
    rest = jax.jit(model.decode)(params, jnp.zeros((1, config.latent_size)))
    np.testing.assert_allclose(rest.amplitude[0], model.neutral_mixture(params).amplitude, rtol=1e-5)


def test_poses_are_solved_for_as_the_posterior_has_them():
    config = GmmConfig(**GMM, encoder="posterior", decoder="mlp", vary="a", refine_poses=True)
    images = particles(24, noise=0.1)
    off = np.random.default_rng(0).normal(0, 2, (24, 2)).astype(np.float32)
    listed = dataclasses.replace(images, pose=dataclasses.replace(images.pose, shift=images.pose.shift + off))
    model = GmmModel.from_data(config, mixture(), BOX, PIXEL, listed)
    nuisances = dataclasses.replace(model.subspace.nuisances, shift=2.0, rotation=0.01)
    model = dataclasses.replace(model, subspace=dataclasses.replace(model.subspace, nuisances=nuisances))
    params = model.init(jax.random.key(0))
    (found, junk), posterior = jax.jit(model.solved_poses)(params, listed), jax.jit(model.posterior)(params, listed)
    change = posterior.poses
    np.testing.assert_allclose(junk, junk_given_evidence(posterior.evidence, model.contrast), atol=1e-5)
    np.testing.assert_allclose(found.shift, listed.pose.shift + change.shift, atol=1e-4)
    error = np.linalg.norm(np.asarray(found.shift) - images.pose.shift, axis=1)
    assert np.median(error) < 0.5 * np.median(np.linalg.norm(off, axis=1))
    arm = mixture().position - mixture().position.mean(axis=0)
    expected = np.hypot(2.0, 0.01 * np.sqrt(2 / 3 * np.mean(np.sum(arm**2, axis=1))))
    assert model.blur == pytest.approx(expected, rel=1e-5)
    moving = dataclasses.replace(model, subspace=dataclasses.replace(model.subspace, kinds="aap"))
    exact = dataclasses.replace(nuisances, shift=0.0, rotation=0.0)
    right = dataclasses.replace(model, subspace=dataclasses.replace(model.subspace, nuisances=exact))
    assert moving.blur == right.blur == 0
