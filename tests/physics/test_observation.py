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
from libhetero.physics.ctf import ctf_phase, exposure_filter
from libhetero.physics.fourier import half_plane
from libhetero.physics.quadrants import in_quadrants, weights_in_quadrants
from libhetero.records import CTFParams, Observation, Pose
from tests.making.optics import optics
from tests.reference import observation as twin
from tests.reference import rotations as rotation_twin

N, PIXEL = 16, 2.5
OPTICS = optics(16_500.0, 3000.0, defocus_angle=0.6, phase_shift=0.3, b_factor=80.0, scale=0.8)
LIBRARY = Path(libhetero.__file__).parent
MATRIX = np.array([[1.05, 0.03], [-0.02, 0.96]])
ABERRATIONS = {
    "magnification": MATRIX,
    "beam_tilt": np.array([2.5e-3, -1.5e-3]),
    "even_zernike": np.array([0.2, 30, -20, 15, 200.0]),
    "odd_zernike": np.array([1, -2, 300, 0, 0, 250.0]),
}


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


def test_a_contrast_multiplies_image_and_adjoint_and_none_changes_nothing():
    seen, frequencies, central = an_observation(), half_plane(N, PIXEL), a_plane(0)
    fainter = dataclasses.replace(seen, contrast=jnp.float32(0.7))
    whole = image_of(central, seen, frequencies)
    np.testing.assert_allclose(image_of(central, fainter, frequencies), 0.7 * whole, rtol=1e-6)
    back = chain.backprojected(central, seen, frequencies)
    np.testing.assert_allclose(chain.backprojected(central, fainter, frequencies), 0.7 * back, rtol=1e-6)
    without = Observation(pose=seen.pose, ctf=None, contrast=jnp.float32(0.7))
    np.testing.assert_allclose(chain.transfer(without, frequencies), 0.7, rtol=1e-6)
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), seen)
    several = dataclasses.replace(several, contrast=jnp.array([0.5, 2.0]))
    both = jax.vmap(lambda one: chain.transfer(one, frequencies))(several)
    np.testing.assert_allclose(both[1], 4 * both[0], rtol=1e-6)


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


def test_an_exposure_fades_the_image_its_adjoint_and_no_sign():
    seen, frequencies, x, y = an_observation(exposure=60.0), half_plane(N, PIXEL), a_plane(2), a_plane(3)
    left = np.asarray(exposure_filter(60.0, frequencies, OPTICS.voltage))
    fresh = chain.transfer(an_observation(), frequencies)
    np.testing.assert_allclose(chain.transfer(seen, frequencies), fresh * left, rtol=1e-5, atol=1e-7)
    forward, adjoint = image_of(x, seen, frequencies), chain.backprojected(y, seen, frequencies)
    assert np.vdot(forward, y).real == pytest.approx(np.vdot(x, adjoint).real, rel=1e-5)
    many = dataclasses.replace(some_optics(6), exposure=np.linspace(0, 120, 6))
    np.testing.assert_array_equal(
        chain.transfer_signs(many, frequencies), chain.transfer_signs(some_optics(6), frequencies)
    )
    stacked = jax.tree.map(jnp.float32, many)
    each = jax.vmap(lambda one: chain.transfer(Observation(pose=seen.pose, ctf=one), frequencies))(stacked)
    alone = chain.transfer(Observation(pose=seen.pose, ctf=stacked.take(4)), frequencies)
    np.testing.assert_allclose(each[4], alone, rtol=1e-5, atol=1e-6)


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


def test_aberrated_images_agree_with_the_scalar_loop():
    """The even part belongs to T; the odd part is what `recorded` adds and the host takes off."""
    seen, frequencies, central = an_observation(**ABERRATIONS), half_plane(N, PIXEL), a_plane(8)
    flat, plain = frequencies.reshape(-1, 2).astype(float), dataclasses.asdict(OPTICS) | ABERRATIONS
    even = image_of(central, seen, frequencies)
    expected = twin.observed(central.ravel(), flat, np.array([7.1, -4.3]), plain)
    np.testing.assert_allclose(np.ravel(even), expected, atol=2e-3)
    whole = chain.recorded(chain.moved(central, seen.pose, frequencies), seen, frequencies)
    expected = twin.recorded(central.ravel(), flat, np.array([7.1, -4.3]), plain)
    np.testing.assert_allclose(np.ravel(whole), expected, atol=2e-3)
    many = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), seen.ctf)
    factors = chain.odd_factors(many, frequencies)
    assert factors.shape == (2, N, N // 2 + 1) and factors.dtype == np.complex64
    np.testing.assert_allclose(np.abs(factors), 1, atol=1e-6)
    np.testing.assert_allclose(whole * factors[1].conj(), even, atol=2e-3)


def test_each_particle_has_its_own_odd_factors():
    """Also where several share theirs."""
    kinds = np.array([1, 0, 1, 2])
    tilt = np.array([[1e-3, 0], [0, 2e-3], [0, 0]])[kinds]
    many = dataclasses.replace(some_optics(4), beam_tilt=tilt, voltage=np.array([300.0, 300, 200, 300]))
    found = chain.odd_factors(many, half_plane(N, PIXEL))
    for i in range(4):
        alone = chain.odd_factors(many.take(np.array([i])), half_plane(N, PIXEL))
        np.testing.assert_allclose(found[i], alone[0], atol=1e-6)
    assert np.all(found[3] == 1) and not np.allclose(found[0], found[2])


@pytest.mark.parametrize("module", [np, jnp])
def test_the_stretched_rotation_meets_the_molecule_at_m_k(module):
    """Aᵀ (k, 0) = Rᵀ (M k, 0), the shift stays, and the CTF keeps all but its odd part."""
    rotation = module.asarray(np.stack([rotation_twin.from_euler(0.3, 1.1, -0.7), np.eye(3)]).astype(np.float32))
    pose = Pose(rotation=rotation, shift=module.ones((2, 2)))
    ctf = dataclasses.replace(
        some_optics(2), **{name: module.asarray(np.stack([value, value])) for name, value in ABERRATIONS.items()}
    )
    seen, met = chain.seen_through(pose, ctf)
    assert type(seen.rotation) is type(rotation) and seen.shift is pose.shift
    for k in np.random.default_rng(9).normal(size=(5, 2)):
        expected = np.asarray(rotation[0]).T @ [*(MATRIX @ k), 0.0]
        np.testing.assert_allclose(np.asarray(seen.rotation[0]).T @ [*k, 0.0], expected, atol=1e-5)
    np.testing.assert_array_equal(seen.rotation[:, 2], rotation[:, 2])
    assert met.columns().keys() == ctf.columns().keys() - {"beam_tilt", "odd_zernike"}
    plain = some_optics(2)
    assert chain.seen_through(pose, plain) == (pose, plain)  # the very same: these records know no other equality


def test_adjoints_with_aberrations():
    seen, frequencies, x, y = an_observation(**ABERRATIONS), half_plane(N, PIXEL), a_plane(10), a_plane(11)
    forward, adjoint = image_of(x, seen, frequencies), chain.backprojected(y, seen, frequencies)
    assert np.vdot(forward, y).real == pytest.approx(np.vdot(x, adjoint).real, rel=1e-5)


def test_signs_on_the_host_know_the_even_aberrations():
    plain = some_optics(6)
    many = {name: np.stack([ABERRATIONS[name]] * 6) for name in ("magnification", "even_zernike")}
    ctf, frequencies = dataclasses.replace(plain, **many), half_plane(32, 1.7)
    pose = Pose(rotation=jnp.eye(3), shift=jnp.zeros(2))
    transfer = jax.vmap(lambda one: chain.transfer(Observation(pose=pose, ctf=one), frequencies))
    values = np.asarray(transfer(jax.tree.map(jnp.float32, ctf)))
    clear = np.abs(values) > 0.01 * np.abs(plain.scale)[:, None, None]
    assert clear.mean() > 0.9
    found = chain.transfer_signs(ctf, frequencies)
    np.testing.assert_array_equal(found[clear], np.sign(values)[clear])
    assert np.mean(found != chain.transfer_signs(plain, frequencies)) > 0.1


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
        forbidden = names & {"ctf_at", "ctf_phase", "odd_phase", "electron_wavelength", "phase_ramp"}
        forbidden |= {name for name in names if name.startswith("libhetero.physics.ctf")}
        assert not forbidden, f"{path.relative_to(LIBRARY)} takes {forbidden}; expected physics.observation"
