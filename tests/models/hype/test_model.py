"""CryoHype's Fourier values, what its encoder sees, its loss and the measured spectrum."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.model import HypeModel, signal_profile, turn_in_plane
from libhetero.physics.ctf import ctf_image
from libhetero.physics.fourier import disc_indices, fourier_image, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.records import Batch, Pose
from tests.models.tiny_models import BOX, HYPE, PIXEL, mixture, particles, quick_jit, random_params
from tests.reference.rotations import about_z, from_euler


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

    @quick_jit
    def values(params, latent, points):
        one = jax.tree.map(lambda array: array[0], model.decode(params, latent))
        return model.values(one, points), model.values(one, -points)

    latent = random.normal(size=(1, sum(model.config.layer_tokens()) * 16)).astype(np.float32)
    there, opposite = map(np.asarray, values(params, latent, points))
    scale = np.abs(there).max()
    assert np.abs(there.imag).max() > 0.05 * scale
    np.testing.assert_allclose(opposite, np.conj(there), atol=1e-5 * scale)
    assert there[-1] == 0


def test_turned_projection_is_the_projection_at_psi_0():
    gaussians = mixture()
    position = gaussians.position * np.array([1.5, 1.0, 0.5], np.float32)
    gaussians = dataclasses.replace(gaussians, position=position)
    for psi in (0.4, -2.0, np.pi / 2):
        tilted = jnp.asarray(from_euler(0.7, 1.1, 0.0), jnp.float32)
        turned = jnp.asarray(about_z(psi), jnp.float32) @ tilted
        images = [
            np.asarray(real_image(project_gaussians(gaussians, Pose(r, jnp.zeros(2)), 32, 3.0), 32))
            for r in (tilted, turned)
        ]
        found = np.asarray(turn_in_plane(jnp.asarray(images[1]), jnp.asarray(psi, jnp.float32)))
        assert np.corrcoef(found.ravel(), images[0].ravel())[0, 1] > 0.995
        assert np.corrcoef(images[1].ravel(), images[0].ravel())[0, 1] < 0.97


def test_aligned_encoder_does_not_see_shift_and_turn():
    """With the CTF's phases flipped, latents of one view differ little; without alignment, much."""
    batch = particles(noise=0.0)
    upright = from_euler(0.7, 1.1, 0.0)
    rotation = np.stack([about_z(psi) @ upright for psi in (0.0, 1.2, -0.8, 2.5)])
    shift = np.array([[0, 0], [4, -2], [-3, 5], [1, 4]], np.float32)
    ctf = jax.tree.map(lambda array: np.repeat(array[:1], 4), batch.ctf)
    ctf = dataclasses.replace(ctf, defocus_v=ctf.defocus_u)
    pose = Pose(rotation.astype(np.float32), shift)

    def image(pose, ctf):
        plane = project_gaussians(mixture(), pose, BOX, PIXEL) * ctf_image(ctf, BOX, PIXEL)
        return real_image(plane, BOX)

    images = quick_jit(jax.vmap(image))(pose, ctf)
    seen = {}
    for align in (True, False):
        model, _ = hype(align=align, profile=False)
        seen[align] = np.asarray(quick_jit(jax.vmap(model._seen))(images, pose, ctf))

    def least(images):
        return min(np.corrcoef(images[0].ravel(), image.ravel())[0, 1] for image in images[1:])

    assert least(seen[True]) > 0.97
    assert least(seen[False]) < 0.8


def test_loss_is_the_square_error_of_the_rendered_image():
    """Over pixels 0 < |k| < n / 2, one of each pair k and -k, for images divided by n."""
    model, params = hype()
    batch = particles()

    @quick_jit
    def compare(params, batch):
        decoded = model.decode(params, model.encode(params, batch))

        def one(weights, pose, ctf, image):
            plane = model.render(weights, pose, BOX, PIXEL) * ctf_image(ctf, BOX, PIXEL)
            error = jnp.abs(plane - fourier_image(image)).reshape(-1)[disc_indices(BOX)]
            return jnp.mean((error / BOX) ** 2)

        each = jax.vmap(one)(decoded, batch.pose, batch.ctf, batch.images)
        return jnp.mean(each), model.loss(params, batch, jax.random.key(0))

    expected, (loss, metrics) = compare(params, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert metrics["mse"] == loss and metrics["explained"] < 1


def test_profile_is_the_spectrum_of_the_signal():
    """From images of known spectrum, with CTF and noise; padding has no say."""
    n, count = 32, 400
    random = np.random.default_rng(3)
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]) * n
    truth = 6 * np.exp(-radius / 5)
    sample = particles(count)
    noise = np.fft.rfft2(random.normal(size=(count, n, n)))
    transfer = np.asarray(quick_jit(jax.vmap(lambda c: ctf_image(c, n, 3.0)))(sample.ctf))
    images = np.fft.irfft2(noise * truth * transfer, (n, n)) + random.normal(size=(count, n, n))
    images[-10:] *= 100
    weight = np.ones(count, np.float32)
    weight[-10:] = 0
    sample = Batch(images.astype(np.float32), sample.pose, sample.ctf, sample.index, weight)
    profile = signal_profile(sample, n, 3.0)
    assert profile.shape == (n // 2 + 1,) and profile.dtype == np.float32
    rings = np.arange(2, 8)
    np.testing.assert_allclose(profile[rings], 6 * np.exp(-rings / 5), rtol=0.12)
