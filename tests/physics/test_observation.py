"""How a particle's image comes about, and its adjoint."""

import ast
import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import libhetero
from libhetero.physics import observation as chain
from libhetero.physics.ctf import ctf_phase
from libhetero.physics.fourier import half_plane
from libhetero.physics.quadrants import in_quadrants, weights_in_quadrants
from libhetero.records import CTFParams, Observation, Pose
from tests.making.optics import optics
from tests.reference import observation as twin

N, PIXEL = 16, 2.5
OPTICS = optics(16_500.0, 3000.0, defocus_angle=0.6, phase_shift=0.3, b_factor=80.0, scale=0.8)
LIBRARY = Path(libhetero.__file__).parent


def an_observation(**changes) -> Observation:
    ctf = jax.tree.map(jnp.float32, dataclasses.replace(OPTICS, **changes))
    return Observation(pose=Pose(rotation=jnp.eye(3), shift=jnp.array([7.1, -4.3])), ctf=ctf)


def a_plane(seed: int, shape: tuple[int, ...] = (N, N // 2 + 1)) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


def image_of(central, seen, frequencies):
    return chain.observed(chain.moved(central, seen.pose, frequencies), seen, frequencies)


def test_agrees_with_the_scalar_loop_on_the_half_plane_and_at_chosen_pixels():
    seen, frequencies, central = an_observation(), half_plane(N, PIXEL), a_plane(0)
    flat = frequencies.reshape(-1, 2)
    expected = twin.observed(central.ravel(), flat.astype(float), np.array([7.1, -4.3]), vars(OPTICS))
    np.testing.assert_allclose(image_of(central, seen, frequencies).ravel(), expected, atol=1e-3)
    chosen = np.array([3, 17, 50, 101])
    np.testing.assert_allclose(image_of(central.ravel()[chosen], seen, flat[chosen]), expected[chosen], atol=1e-3)


def test_a_coarser_half_plane_holds_the_low_rings():
    seen, m = an_observation(), 10
    whole = np.asarray(chain.transfer(seen, half_plane(N, PIXEL)))
    low = np.concatenate([whole[: m // 2], whole[N - m // 2 :]])[:, : m // 2 + 1]
    np.testing.assert_allclose(chain.transfer(seen, half_plane(m, PIXEL * N / m)), low, atol=1e-5)


def test_in_quadrants_the_transfer_is_a_weight():
    seen, frequencies, projection = an_observation(), half_plane(N, PIXEL), a_plane(1)
    once = weights_in_quadrants(np.ones(projection.shape))
    found = in_quadrants(jnp.asarray(projection)) * weights_in_quadrants(chain.transfer(seen, frequencies))
    expected = in_quadrants(chain.observed(projection, seen, frequencies)) * once
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_adjoints():
    """⟨A x, y⟩ = ⟨x, A* y⟩, of the shift alone and of the whole chain; the shift's is its inverse."""
    seen, frequencies, x, y = an_observation(), half_plane(N, PIXEL), a_plane(2), a_plane(3)
    moved, back = chain.moved(x, seen.pose, frequencies), chain.moved_back(y, seen.pose, frequencies)
    assert np.vdot(moved, y).real == pytest.approx(np.vdot(x, back).real, rel=1e-5)
    np.testing.assert_allclose(chain.moved_back(moved, seen.pose, frequencies), x, atol=1e-5)
    forward, adjoint = image_of(x, seen, frequencies), chain.backprojected(y, seen, frequencies)
    assert np.vdot(forward, y).real == pytest.approx(np.vdot(x, adjoint).real, rel=1e-5)


def test_squared_error_is_the_weighted_sum_over_pixels():
    seen, frequencies, projection, image = an_observation(), half_plane(N, PIXEL), a_plane(4), a_plane(5)
    weight = np.random.default_rng(6).random(projection.shape).astype(np.float32)
    found = chain.squared_error(projection, image, seen, frequencies, weight)
    residual = np.asarray(chain.transfer(seen, frequencies)) * projection - image
    assert float(found) == pytest.approx(float(np.sum(weight * np.abs(residual) ** 2)), rel=1e-5)
    exact = chain.observed(projection, seen, frequencies)
    slope = jax.grad(lambda scale: chain.squared_error(scale * projection, exact, seen, frequencies))(1.0)
    assert float(slope) == 0.0


def test_without_ctf_the_image_is_the_projection():
    seen = dataclasses.replace(an_observation(), ctf=None)
    projection = a_plane(7)
    np.testing.assert_array_equal(chain.observed(projection, seen, half_plane(N, PIXEL)), projection)


def some_optics(count: int) -> CTFParams:
    """Astigmatism, phase plates, envelopes, overfocus and negative scales."""
    random = np.random.default_rng(5)
    return optics(
        random.uniform(-3000, 30000, count),
        defocus_v=random.uniform(5000, 30000, count),
        defocus_angle=random.uniform(0, np.pi, count),
        voltage=np.array([80, 120, 200, 300, 300, 300.0])[:count],
        amplitude_contrast=random.uniform(0, 1, count),
        phase_shift=random.uniform(0, np.pi, count),
        b_factor=random.uniform(0, 100, count),
        scale=np.array([1, -1, 0.5, 2, -0.1, 1])[:count],
        dtype=float,
    )


def test_the_host_has_the_same_phase_to_rounding():
    """In float64 on the host; float32 rounds the 100 radians of the last ring at their seventh digit."""
    seen, frequencies = some_optics(6), half_plane(32, 1.7)
    found = jax.vmap(lambda one: ctf_phase(one, frequencies))(jax.tree.map(jnp.float32, seen))
    host = ctf_phase(jax.tree.map(lambda leaf: leaf[:, None, None], seen), frequencies.astype(float), np)
    assert host.dtype == np.float64 and np.abs(host).max() > 100
    np.testing.assert_allclose(found, host, rtol=1e-6, atol=1e-4)


def test_signs_on_the_host_are_those_of_the_transfer():
    """But for pixels at a zero."""
    seen, frequencies = some_optics(6), half_plane(32, 1.7)
    pose = Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))
    transfer = jax.vmap(lambda one: chain.transfer(Observation(pose=pose, ctf=one), frequencies))
    values = np.asarray(transfer(jax.tree.map(jnp.float32, seen)))
    envelope = np.exp(-0.25 * seen.b_factor[:, None, None] * (frequencies**2).sum(-1))
    clear = np.abs(values) > 1e-3 * np.abs(seen.scale)[:, None, None] * envelope
    assert clear.mean() > 0.99
    found = chain.transfer_signs(seen, frequencies)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[clear], np.sign(values)[clear])


def test_nothing_else_makes_a_ctf_or_a_shift():
    """Outside `physics` all that a particle's optics and shift do is asked for here."""
    for path in sorted(LIBRARY.rglob("*.py")):
        if path.parent.name == "physics":
            continue
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        forbidden = names & {"ctf_at", "ctf_phase", "electron_wavelength", "phase_ramp"}
        forbidden |= {name for name in names if name.startswith("libhetero.physics.ctf")}
        assert not forbidden, f"{path.relative_to(LIBRARY)} takes {forbidden}; expected physics.observation"
