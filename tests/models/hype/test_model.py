"""CryoHype's Fourier values and its loss, of all pixels and of some."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel
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
    some = dataclasses.replace(whole, config=dataclasses.replace(whole.config, coordinates=30))
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
