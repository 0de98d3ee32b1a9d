"""CryoHype's Fourier values and its loss, of all pixels and of some."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
from libhetero.models.hype.sampling import MOST_HIDDEN, draw
from libhetero.physics.fourier import dft_image, frequencies_2d
from libhetero.physics.observation import moved, observed
from libhetero.physics.slices import slice_frequencies
from tests.making.images import BOX, PIXEL, particles
from tests.making.models import HYPE, random_params, square_errors


def hype(**changes):
    model = HypeModel.from_data(HypeConfig(**HYPE | changes), BOX, PIXEL, particles())
    return model, random_params(model.init)


@pytest.mark.parametrize("output", ["complex", "hartley"])
def test_values_are_hermitian(output):
    """V(-k) = conj V(k), also on kx = 0 and kx = ky = 0; and 0 beyond Nyquist."""
    model, params = hype(output=output)
    random = np.random.default_rng(0)
    points = random.uniform(-0.28, 0.28, (40, 3)).astype(np.float32)
    points[::4, 0] = 0
    points[::8, 1] = 0
    points[-1] = [0.4, -0.4, 0.1]

    @jax.jit
    def values(params, latent, points):
        one = jax.tree.map(lambda array: array[0], model.decode(params, latent))
        return model.values(one, points), model.values(one, -points)

    latent = random.normal(size=(1, sum(model.config.layer_tokens()) * 16)).astype(np.float32)
    there, opposite = map(np.asarray, values(params, latent, points))
    scale = np.abs(there).max()
    assert np.abs(there.imag).max() > 0.05 * scale
    np.testing.assert_allclose(opposite, np.conj(there), atol=1e-5 * scale)
    assert there[-1] == 0


def test_loss_is_the_square_error_of_the_rendered_image():
    """Over pixels 0 < |k| < n / 2, one of each pair k and -k, for images divided by n; all particles alike."""
    model, params = hype(particle_contrast="none")
    batch = particles()

    @jax.jit
    def compare(params, batch):
        each = square_errors(model, params, batch)
        return jnp.mean(each), model.loss(params, batch, jax.random.key(0))

    expected, (loss, metrics) = compare(params, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert metrics["mse"] == loss and metrics["explained"] < 1


def test_some_pixels_give_the_loss_of_all_on_average():
    """Loss and gradient; without training, all pixels are compared. Contrasts, which are not linear in it, aside."""
    whole, params = hype(particle_contrast="none")
    some = dataclasses.replace(whole, config=dataclasses.replace(whole.config, coordinates=30, blind=False))
    batch = particles()

    @jax.jit
    def estimates(params):
        def one(key):
            (loss, _), gradient = jax.value_and_grad(some.loss, has_aux=True)(params, batch, key)
            return loss, gradient["hypernetwork"]["bias_1"]

        return jax.lax.map(one, jax.random.split(jax.random.key(3), 2000))

    losses, gradients = map(np.asarray, estimates(params))
    (expected, _), gradient = jax.jit(jax.value_and_grad(whole.loss, has_aux=True))(params, batch, jax.random.key(0))
    assert losses.std() > 0.01 * losses.mean()
    assert losses.mean() == pytest.approx(float(expected), abs=5 * float(losses.std()) / 2000**0.5)
    error = gradients.std(axis=0) / 2000**0.5
    assert (np.abs(gradients.mean(axis=0) - gradient["hypernetwork"]["bias_1"]) < 6 * error + 1e-6).all()
    tested = jax.jit(lambda p: some.loss(p, batch, jax.random.key(1), training=False)[0])(params)
    assert float(tested) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"encoder": "mlp"}, {"encoder": "unet", "encoder_width": 8}, {"conditioning": "concat"}],
    ids=["mlp", "unet", "concat"],
)
def test_rows_to_compare_with_lower_the_loss(changes):
    """Each goes through the same encode, decode and loss, and its gradient reaches every parameter."""
    model, params = hype(**changes)
    batch = particles()
    step = jax.jit(jax.value_and_grad(lambda p: model.loss(p, batch, jax.random.key(0))[0]))
    loss, gradient = step(params)
    assert all(np.abs(np.asarray(leaf)).max() > 0 for leaf in jax.tree.leaves(gradient))
    norm = sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)) ** 0.5
    nearer = jax.tree.map(lambda p, g: p - 1e-2 * g / norm, params, gradient)
    assert step(nearer)[0] < loss


def test_recomputing_for_the_gradient_changes_neither_parameters_nor_gradient_and_takes_less_memory():
    """Blocks that keep much: many tokens, a wide hidden layer."""
    changes = {"patch": 2, "depth": 3, "feed_forward": 256, "inr_width": 64}
    (plain, params), (again, other) = (hype(**changes, remat=remat) for remat in (False, True))
    assert jax.tree.structure(params) == jax.tree.structure(other)
    batch, key = particles(8), jax.random.key(0)

    def gradient(model):
        return jax.jit(jax.grad(lambda params: model.loss(params, batch, key)[0])).lower(params).compile()

    kept, computed = gradient(plain), gradient(again)
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-6), kept(params), computed(params)
    )
    memory = [compiled.memory_analysis().temp_size_in_bytes for compiled in (kept, computed)]
    assert memory[1] < 0.75 * memory[0], memory


def test_the_encoder_does_not_see_what_its_volume_is_compared_with():
    """Along a pixel that is compared the loss is a square of what it is off by; along another it is what the INR is."""
    model, params = hype(particle_contrast="none", coordinates=30)
    batch, key = jax.tree.map(lambda leaf: leaf[:1], particles()), jax.random.key(4)
    disc, probability, count = model._compared_pixels(1)
    assert probability.max() <= MOST_HIDDEN
    chosen = np.asarray(draw(jax.random.split(key, 1)[0], probability, count))
    waves = []
    for places in (chosen, np.setdiff1d(np.arange(len(disc)), chosen)):
        plane = np.zeros((BOX, BOX // 2 + 1), complex)
        plane.reshape(-1)[disc[places]] = np.random.default_rng(1).normal(size=(len(places), 2)) @ [1, 1j]
        plane[:, 0] += np.conj(plane[-np.arange(BOX) % BOX, 0])  # both of k and -k along kx = 0
        waves.append(np.asarray(np.fft.irfft2(plane, (BOX, BOX)) * BOX, np.float32))

    @jax.jit
    def losses(wave):
        steps = jnp.arange(4.0)[:, None, None, None]
        return jax.lax.map(
            lambda step: model.loss(params, dataclasses.replace(batch, images=batch.images + step * wave), key)[0],
            steps,
        )

    third = [float(np.diff(np.asarray(losses(wave), np.float64), 3)[0]) for wave in waves]
    second = [float(np.diff(np.asarray(losses(wave), np.float64), 2)[0]) for wave in waves]
    assert abs(third[0]) < 1e-4 * second[0]
    assert abs(third[1]) > 1e-2 * abs(second[1])


def test_held_out_losses_are_of_pixels_that_the_encoder_does_not_see_too():
    model, params = hype(particle_contrast="none", coordinates=30)
    batch, key = particles(), jax.random.key(4)
    trained, held_out = (float(model.loss(params, batch, key, training)[0]) for training in (True, False))
    assert trained == held_out


def test_contrasts_are_of_pixels_that_the_encoder_does_not_see():
    """Against images without half of their pixels, encoded and decoded as they are, and least squares by NumPy."""
    model, params = hype(coordinates=30)
    batch, half = particles(), BOX // 2 + 1
    disc = model._pixels()[0]
    frequency = frequencies_2d(BOX).reshape(-1, 2)
    across = covariance = 0.0
    for part in range(2):
        hidden = disc[part::2]
        mask = np.ones(BOX * half)
        mask[disc] = 1 / (1 - len(hidden) / len(disc))
        mask[hidden] = 0
        mask = mask.reshape(BOX, half)
        mask[:, 0] = np.where(np.isin(np.arange(BOX) * half, disc), mask[:, 0], mask[-np.arange(BOX) % BOX, 0])
        images = np.fft.irfft2(np.fft.rfft2(np.asarray(batch.images)) * mask, (BOX, BOX))
        masked = dataclasses.replace(batch, images=jnp.asarray(images, jnp.float32))
        weights = jax.jit(lambda params, batch: model.decode(params, model.encode(params, batch)))(params, masked)

        @jax.jit
        def expected(weights, observation, hidden):
            at = jnp.asarray(frequency)[hidden]
            central = model.values(weights, slice_frequencies(observation.pose.rotation, at))
            return observed(moved(central, observation.pose, at / PIXEL), observation, at / PIXEL)

        shown = np.asarray(jax.vmap(expected, (0, 0, None))(weights, batch.observation, hidden))
        target = np.asarray(jax.vmap(dft_image)(batch.images)).reshape(len(images), -1)[:, hidden] / BOX
        noise = model.contrast_noise[np.rint(np.linalg.norm(frequency[hidden], axis=1) * BOX).astype(int)]
        across = across + (target * shown.conj() / noise).real.sum(axis=1)
        covariance = covariance + (np.abs(shown) ** 2 / noise).sum(axis=1)
    found = jax.jit(model.posterior)(params, batch)
    np.testing.assert_allclose(found.contrast, across / covariance, rtol=2e-3, atol=2e-4)
