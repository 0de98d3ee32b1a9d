"""CTF-weighted backprojection."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.metrics.fsc import masked_fsc, normalised_area
from libhetero.physics import ctf, rotations, slices
from libhetero.physics.fourier import fourier_image, frequencies_2d, half_plane, hermitian_weight, real_image
from libhetero.physics.gaussians import gaussians_to_volume, project_gaussians
from libhetero.physics.observation import moved, observed, recorded, seen_through
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.reconstruction import backproject, sums
from libhetero.reconstruction.wiener import radius_3d
from libhetero.records import Batch, Observation, Pose
from libhetero.training.preprocess import remove_odd_phase
from tests.making.images import batch_of
from tests.making.mixtures import gaussians, mixture
from tests.making.optics import aberrations, optics
from tests.reference import backproject as twin

N, PIXEL = 16, 4.0
MIXTURE = mixture(30, spread=9, amplitude=1, sigma=4.5)


SIZE = 60


@functools.cache
def clean_particles():
    """300 images of the mixture at random poses, shifted, with CTF."""
    count, random = 300, np.random.default_rng(1)
    rotation = rotations.random_rotations(jax.random.key(1), (count,))
    shift = jnp.asarray(random.uniform(-6, 6, (count, 2)), jnp.float32)
    params = optics(random.uniform(8e3, 2e4, count).astype(np.float32))

    def image(pose, one):
        plane = project_gaussians(MIXTURE, pose, N, PIXEL) * ctf.ctf_at(one, half_plane(N, PIXEL))
        return real_image(plane, N)

    pose = Pose(rotation=np.asarray(rotation), shift=np.asarray(shift))
    return batch_of(jax.jit(jax.vmap(image))(pose, params), pose, params)


def particles(count, snr=None):
    """The first `count` of them with noise, in batches of 60."""
    clean, random = clean_particles(), np.random.default_rng(2)
    images = clean.images
    if snr is not None:
        noise = random.normal(size=images.shape) * images.std() / np.sqrt(snr)
        images = (images + noise).astype(np.float32)
    noisy = dataclasses.replace(clean, images=images)
    return [take(noisy, np.arange(i, i + SIZE)) for i in range(0, count, SIZE)]


def take(batch, index, weight=None):
    return Batch(
        images=batch.images[index],
        pose=batch.pose.take(index),
        ctf=batch.ctf.take(index),
        index=batch.index[index],
        weight=batch.weight[index] if weight is None else weight,
    )


def truth():
    return np.asarray(gaussians_to_volume(MIXTURE, N, PIXEL))


def test_sums_agree_with_loops_over_the_full_plane():
    """The first three images; the other 57 have weight 0."""
    weight = (np.arange(SIZE) < 3).astype(np.float32)
    batch = take(clean_particles(), np.arange(SIZE), weight)
    half = jnp.zeros(SIZE, jnp.int32)
    added = sums.add_batch(sums.empty_sums(N), batch, half, PIXEL)
    padded = 2 * N
    numerator = np.zeros((padded,) * 3, np.complex128)
    weight = np.zeros((padded,) * 3)
    k = np.fft.fftfreq(N)[:, None], np.fft.rfftfreq(N)[None, :]
    for i in range(3):
        one = jax.tree.map(lambda leaf, i=i: leaf[i], batch)
        contrast = np.asarray(ctf.ctf_at(one.ctf, half_plane(N, PIXEL)), np.float64)
        turns = (k[1] * one.pose.shift[0] + k[0] * one.pose.shift[1]) / PIXEL
        plane = contrast * np.exp(2j * np.pi * turns) * np.asarray(fourier_image(one.images))
        twin.add_plane(numerator, plane, np.asarray(one.pose.rotation, float), padded)
        twin.add_plane(weight, contrast**2, np.asarray(one.pose.rotation, float), padded)
    found = np.asarray(slices.hermitian_plane(added.numerator[0]))
    scale = np.abs(numerator).max()
    np.testing.assert_allclose(found, numerator[..., : N + 1], atol=3e-4 * scale)
    found = np.asarray(slices.hermitian_plane(added.weight[0]))
    np.testing.assert_allclose(found, weight[..., : N + 1], atol=1e-3)


def a_grid(seed):
    random, shape = np.random.default_rng(seed), (2 * N, 2 * N, N + 1)
    return jnp.asarray(random.normal(size=shape) + 1j * random.normal(size=shape), jnp.complex64)


def forward(grid, particle):
    """Return what the reconstruction takes an image for: the slice of a grid, where and as it is seen."""
    frequencies = half_plane(N, PIXEL)
    plane = slices.central_slice(grid, particle.pose.rotation, N)
    return observed(moved(plane, particle.pose, frequencies), particle.observation, frequencies)


def inner(first, second):
    """Return ⟨a, b⟩ = Re Σ conj(a) b inside Nyquist, half of the sum over the whole plane."""
    inside = np.linalg.norm(np.rint(frequencies_2d(N) * N), axis=-1) < N / 2
    share = 0.5 * inside * hermitian_weight(N)
    return jnp.sum(share * jnp.real(jnp.conj(first) * second))


def sums_of(batch, times=1):
    added = sums.empty_sums(N)
    for _ in range(times):
        added = sums.add_batch(added, batch, jnp.zeros(SIZE, jnp.int32), PIXEL)
    return added


def noise_images(weight):
    """Particles whose images are noise, of these weights."""
    batch = take(clean_particles(), np.arange(SIZE), weight.astype(np.float32))
    images = np.random.default_rng(7).normal(size=batch.images.shape)
    return dataclasses.replace(batch, images=images.astype(np.float32))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_adjoint(place):
    """⟨P v, X⟩ = ⟨v, P* X⟩ of slice, shift and CTF, with what the backprojection makes of an image."""
    batch, grid = noise_images(np.arange(SIZE) == place), a_grid(8)
    particle = jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), batch)
    image = fourier_image(particle.images)
    backward = np.vdot(sums_of(batch).numerator[0], grid).real
    assert float(inner(image, forward(grid, particle))) == pytest.approx(backward, rel=1e-4, abs=1e-2)


def test_adjoint_is_the_transpose_that_differentiation_finds():
    batch = noise_images(np.arange(SIZE) == 0)
    particle = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch)
    image = fourier_image(particle.images)
    gradient = jax.grad(lambda grid: inner(image, forward(grid, particle)))(jnp.zeros_like(a_grid(0)))
    np.testing.assert_allclose(sums_of(batch).numerator[0], jnp.conj(gradient), atol=1e-4)


def test_sums_grow_by_the_same_with_every_batch():
    batch = noise_images(np.ones(SIZE))
    once, twice = sums_of(batch), sums_of(batch, 2)
    assert once.weight.dtype == jnp.float32
    for first, both in ((once.numerator, twice.numerator), (once.weight, twice.weight)):
        np.testing.assert_allclose(both, 2 * np.asarray(first), atol=1e-4 * np.abs(first).max())
    transfers = [np.asarray(ctf.ctf_at(batch.ctf.take(i), half_plane(N, PIXEL)), np.float64) for i in range(SIZE)]
    total = sum(float(inner(one, one)) for one in transfers)
    assert float(once.weight.sum()) == pytest.approx(total, rel=1e-4)


def test_clean_images_give_the_truth_and_its_scale():
    result = backproject.reconstruct(particles(300), N, PIXEL)
    assert result.particles == 300
    assert normalised_area(masked_fsc(result.volume, truth())) > 0.99
    assert np.corrcoef(result.volume.ravel(), truth().ravel())[0, 1] > 0.995
    found, true = (np.fft.rfftn(volume) for volume in (result.volume, truth()))
    shell = np.rint(radius_3d(N) * N).astype(int).ravel()
    cross, power = (np.bincount(shell, (one * true.conj()).real.ravel())[2:8] for one in (found, true))
    np.testing.assert_allclose(cross / power, 1, atol=0.05)


def test_half_maps_foretell_the_correlation_with_the_truth():
    """The square of the FSC of the whole with the truth is about 2h / (1 + h)."""
    result = backproject.reconstruct(particles(300, snr=0.3), N, PIXEL)
    found = masked_fsc(result.volume, truth())
    half = np.clip(result.fsc, 0, 1)
    np.testing.assert_allclose(found[2:] ** 2, (2 * half / (1 + half))[2:], atol=0.2)
    assert result.half_maps.shape == (2, N, N, N)
    assert half[3] > 0.9 and half[-1] < 0.5


def test_noise_is_averaged_away():
    few, many = (
        masked_fsc(backproject.reconstruct(particles(m, snr=0.05), N, PIXEL).volume, truth()) for m in (60, 300)
    )
    assert normalised_area(many) > normalised_area(few) + 0.08


def test_a_symmetric_structure_needs_fewer_images():
    """A dimer seen from one cap of the sphere only, reconstructed with and without its axis."""
    operators = symmetry_operators("c2")
    dimer = symmetric_copies(MIXTURE, operators)
    batch = take(clean_particles(), np.arange(SIZE))
    towards = batch.pose.rotation[:, 2, 0] > 0  # of each pair of poses R and R S, one
    rotation = np.where(towards[:, None, None], batch.pose.rotation, batch.pose.rotation @ operators[1])
    pose = Pose(rotation=rotation.astype(np.float32), shift=batch.pose.shift)

    def image(pose, one):
        return real_image(project_gaussians(dimer, pose, N, PIXEL) * ctf.ctf_at(one, half_plane(N, PIXEL)), N)

    images = np.asarray(jax.jit(jax.vmap(image))(pose, batch.ctf))
    images = images + 2 * images.std() * np.random.default_rng(3).normal(size=images.shape)
    batch = dataclasses.replace(batch, images=images.astype(np.float32), pose=pose)
    whole = np.asarray(gaussians_to_volume(dimer, N, PIXEL))
    plain = backproject.reconstruct([batch], N, PIXEL)
    found = backproject.reconstruct([batch], N, PIXEL, operators=operators)
    assert found.particles == SIZE
    inner = found.volume[:, 1:, 1:]  # about the voxel n // 2
    assert np.corrcoef(inner.ravel(), inner[:, ::-1, ::-1].ravel())[0, 1] > 0.999
    agreement = [np.corrcoef(one.volume.ravel(), whole.ravel())[0, 1] for one in (plain, found)]
    assert 1 - agreement[1] < 0.8 * (1 - agreement[0])


def test_order_and_padding_change_nothing():
    """50 images in one batch, and in two padded ones."""
    whole = particles(60, snr=1.0)[0]
    weight = np.ones(SIZE, np.float32)
    weight[50:] = 0
    expected = backproject.reconstruct([take(whole, np.arange(SIZE), weight)], N, PIXEL)
    weight = (np.arange(SIZE) < 30).astype(np.float32)
    first = take(whole, np.arange(SIZE) % 30, weight)
    weight = (np.arange(SIZE) < 20).astype(np.float32)
    second = take(whole, 30 + np.arange(SIZE) % 20, weight)
    found = backproject.reconstruct([first, second], N, PIXEL)
    assert found.particles == expected.particles == 50
    np.testing.assert_allclose(found.volume, expected.volume, atol=1e-4 * expected.volume.max())


def test_an_image_of_weight_0_does_not_count_for_its_half_set():
    """Every other image is of the other half-set: of those that are there."""
    whole = particles(60, snr=1.0)[0]
    kept = np.sort(np.random.default_rng(1).permutation(SIZE)[:30])
    weight = np.isin(np.arange(SIZE), kept).astype(np.float32)
    found = backproject.reconstruct([take(whole, np.arange(SIZE), weight)], N, PIXEL)
    expected = backproject.reconstruct([take(whole, kept)], N, PIXEL)
    assert found.particles == expected.particles == 30
    np.testing.assert_allclose(found.half_maps, expected.half_maps, atol=1e-4 * expected.half_maps.max())


def test_grey_scale_is_that_of_the_images():
    """Also where they are faint: nothing in the filter depends on it."""
    whole = particles(60, snr=1.0)[0]
    expected = backproject.reconstruct([whole], N, PIXEL)
    faint = dataclasses.replace(whole, images=(1e-6 * whole.images).astype(np.float32))
    found = backproject.reconstruct([faint], N, PIXEL).scaled(1e6)
    for name in ("volume", "half_maps", "fsc"):
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(one, other, atol=1e-3 * other.max())


def test_weights_are_those_of_the_images():
    """Weights 0 and 1 choose images; a weight of a half for all changes nothing but their number."""
    whole = particles(60, snr=1.0)
    chosen = np.random.default_rng(4).permutation(SIZE) < 30
    half = np.arange(SIZE) // 2 % 2
    found = backproject.reconstruct(whole, N, PIXEL, half_set=half, weights=chosen.astype(float))
    expected = backproject.reconstruct([take(whole[0], np.flatnonzero(chosen))], N, PIXEL, half_set=half)
    assert found.particles == expected.particles == 30
    np.testing.assert_allclose(found.volume, expected.volume, atol=1e-4 * expected.volume.max())
    found = backproject.reconstruct(whole, N, PIXEL, half_set=half, weights=np.full(SIZE, 0.5))
    expected = backproject.reconstruct(whole, N, PIXEL, half_set=half)
    assert (found.particles, expected.particles) == (30, SIZE)
    np.testing.assert_allclose(found.half_maps, expected.half_maps, atol=1e-3 * expected.half_maps.max())


def test_given_half_sets_are_obeyed():
    whole = particles(60, snr=1.0)
    half = np.repeat([0, 1], 30)
    result = backproject.reconstruct(whole, N, PIXEL, half_set=half)
    weight = (np.arange(SIZE) < 30).astype(np.float32)
    alone = backproject.reconstruct([take(whole[0], np.arange(SIZE), weight)], N, PIXEL, half_set=np.zeros(SIZE, int))
    expected = alone.half_maps[0]
    np.testing.assert_allclose(result.half_maps[0], expected, atol=1e-4 * expected.max())


def test_half_sets_are_by_place_in_the_particle_set():
    """Particles that come in another order keep theirs."""
    whole = particles(60, snr=1.0)[0]
    half = np.repeat([0, 1], 30)
    expected = backproject.reconstruct([whole], N, PIXEL, half_set=half).half_maps
    order = np.random.default_rng(0).permutation(SIZE)
    found = backproject.reconstruct([take(whole, order)], N, PIXEL, half_set=half).half_maps
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


def test_what_lies_far_from_the_centre_is_as_dense_as_it_is():
    """Interpolation in Fourier space fades towards the faces of the box; the correction takes that back."""
    box, count = 32, 100
    far = 0.35 * box * PIXEL
    place = np.array([[far, 0, 0], [-far, 0, 0], [0, far, 0], [0, 0, far], [0, 0, 0]], np.float32)
    beads = gaussians(place, sigma=1.5 * PIXEL)
    pose = clean_particles().pose.take(np.arange(count))
    image = jax.jit(jax.vmap(lambda pose: real_image(project_gaussians(beads, pose, box, PIXEL), box)))
    flat = optics(np.zeros(count, np.float32), 0.0, spherical_aberration=0.0, amplitude_contrast=1.0)
    made = backproject.reconstruct([batch_of(image(pose), pose, flat)], box, PIXEL).volume
    maps = made, np.asarray(gaussians_to_volume(beads, box, PIXEL))
    x, y, z = (np.rint(place / PIXEL).astype(int) + box // 2).T
    found, true = (
        np.array([one[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].sum() for i, j, k in zip(x, y, z, strict=True)])
        for one in maps
    )
    np.testing.assert_allclose(found / true, 1.0, atol=0.04)


def test_no_images_are_refused():
    with pytest.raises(DataError, match="found 0 images"):
        backproject.reconstruct([], N, PIXEL)


def test_a_box_whose_half_sets_together_are_beyond_32_bits_is_indexed():
    """The sums of 648 pixels are not allocated: their addition is traced."""
    n, batch = 648, take(clean_particles(), np.arange(1))

    def added():
        image = dataclasses.replace(batch, images=jnp.zeros((1, n, n)))
        return sums.add_batch(sums.empty_sums(n), image, jnp.zeros(1, jnp.int32), PIXEL)

    assert jax.eval_shape(added).weight.shape == (2, 2 * n, 2 * n, n + 1)


def test_both_ways_to_index_add_the_same(monkeypatch):
    random = np.random.default_rng(4)
    total, values = random.normal(size=(2, 6, 6, 4)).astype(np.float32), random.normal(size=(5, 8, 7))
    half, indices = (
        jnp.asarray([0, 1, 1, 0, 1], jnp.int32),
        jnp.asarray(random.integers(144, size=(5, 8, 7)), jnp.int32),
    )
    found = []
    for reach in (sums.REACH, 0):
        monkeypatch.setattr(sums, "REACH", reach)
        found.append(sums._added(jnp.asarray(total), half, indices, jnp.asarray(values, jnp.float32)))
    np.testing.assert_array_equal(*found)


def test_a_box_that_one_half_set_is_too_large_in_is_refused():
    with pytest.raises(DataError, match=r"a map of 814 voxels to a side: expected at most 812\. .*--box 812"):
        backproject.reconstruct([], 814, PIXEL)


def test_aberrations_are_corrected():
    """As sharp as without them where the list states them, blurred where it does not."""
    clean = clean_particles()
    sphere = prepared()
    stated = dataclasses.replace(clean.ctf, **aberrations(300))

    @jax.jit
    @jax.vmap
    def image(pose, one):
        central = slices.project_volume(sphere, seen_through(pose, one)[0], N, PIXEL)
        return real_image(recorded(central, Observation(pose=pose, ctf=one), half_plane(N, PIXEL)), N)

    images = np.asarray(image(clean.pose, stated))
    pose, met = seen_through(clean.pose, stated)
    known = dataclasses.replace(clean, images=remove_odd_phase(images, stated, PIXEL), pose=pose, ctf=met)
    found = [
        normalised_area(masked_fsc(backproject.reconstruct([batch], N, PIXEL).volume, truth()))
        for batch in (clean, known, dataclasses.replace(clean, images=images))
    ]
    assert found[1] > found[0] - 0.03 and found[2] < found[1] - 0.15, found


def prepared():
    return slices.prepare_volume(jnp.asarray(truth()))
