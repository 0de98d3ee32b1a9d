"""Noise, states, poses and CTF of simulated sets; the same to the bit however they are rendered."""

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.physics.fourier import crop_fourier_image, fourier_image, real_image
from libhetero.simulate import simulation as rendering
from libhetero.simulate import steps
from libhetero.simulate.complex import generate_complex
from libhetero.simulate.configuration import ImagingConfig, StateConfig
from libhetero.simulate.sets import assembly_of, mixture_of, motion_of
from libhetero.simulate.simulation import Block, Simulation
from libhetero.simulate.states import MovingStructures, assign_structures, state_from
from libhetero.simulate.structures import GeneratedMixture
from libhetero.training.preprocess import remove_odd_phase
from tests.making.optics import aberrations, optics, two_microscopes
from tests.making.rendering import collect, made_mixture, noise_deviation, rendered, signal_variance

IMAGING = ImagingConfig(particles=200, box_size=24, pixel_size=5.0, snr=0.5, seed=3)


@pytest.fixture(scope="module")
def assembly() -> Simulation:
    return assembly_of(generate_complex(0, 3, 70.0), IMAGING)


@pytest.fixture(scope="module")
def noisy(assembly: Simulation) -> Block:
    return collect(assembly)


@pytest.fixture(scope="module")
def clean(assembly: Simulation) -> np.ndarray:
    blocks = list(rendered(assembly, 0.0))
    return np.concatenate([block.images for block in blocks])


def test_snr_is_signal_variance_over_noise_variance(assembly: Simulation, noisy: Block, clean: np.ndarray) -> None:
    noise = noisy.images - clean
    assert np.isclose(signal_variance(assembly), clean.var(), rtol=1e-4)
    assert np.isclose(clean.var() / noise.var(), 0.5, rtol=0.02)
    assert abs(noise.mean()) < 4 * noise.std() / math.sqrt(noise.size)
    spectrum = np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0) / 24**2
    assert np.abs(spectrum / noise.var() - 1).max() < 0.5
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15


def test_images_do_not_depend_on_blocks_or_threads(assembly: Simulation, noisy: Block) -> None:
    deviation = noise_deviation(assembly)
    for block_size, threads in ((1, 1), (70, 1), (1000, 1), (64, 3)):
        blocks = list(rendered(assembly, deviation, block_size, threads))
        images = np.concatenate([block.images for block in blocks])
        np.testing.assert_array_equal(images, noisy.images)
    assert max(len(block.index) for block in rendered(assembly, deviation, 64)) == 64


def test_a_structure_is_prepared_once_for_all_its_blocks(
    assembly: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, prepared = [], Simulation.prepared

    def watched(simulation: Simulation, k: int) -> object:
        asked.append(k)
        return prepared(simulation, k)

    monkeypatch.setattr(Simulation, "prepared", watched)
    monkeypatch.setattr(steps, "BLOCK", 64)
    steps.stack_of(tmp_path, assembly).create()
    worker = steps.SetWorker(assembly, tmp_path, 1)
    assert [worker(step)["block"] for step in steps.rendering_of(assembly, 0.0)] == [0, 1, 2, 3]
    assert asked == [0]


def test_what_is_held_does_not_grow_with_the_set(assembly: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    render = rendering._render

    def watched(*arguments: object) -> tuple:
        result = render(*arguments)
        shapes.append(result[0].shape)
        return result

    monkeypatch.setattr(rendering, "_render", watched)
    for block in rendered(assembly, 1.0, block_size=64):
        assert len(block.images) <= 64
    assert set(shapes) == {(rendering.CHUNK, 24, 24)}


def test_a_particle_depends_on_seed_and_index_alone(assembly: Simulation, noisy: Block) -> None:
    fewer = dataclasses.replace(IMAGING, particles=40)
    few = list(rendered(assembly_of(assembly.load_structure(0), fewer), noise_deviation(assembly)))
    np.testing.assert_array_equal(few[0].images, noisy.images[:40])
    other = dataclasses.replace(IMAGING, particles=40, seed=4)
    others = collect(assembly_of(assembly.load_structure(0), other))
    assert np.abs(others.pose.rotation - noisy.pose.rotation[:40]).max() > 0.5
    last = collect(assembly_of(assembly.load_structure(0), dataclasses.replace(IMAGING, particles=40, seed=2**32 - 1)))
    assert np.abs(last.pose.rotation - others.pose.rotation).max() > 0.5


def test_truth_without_images_is_that_of_the_images(assembly: Simulation, noisy: Block) -> None:
    truth = assembly.truth(noisy.index, np.zeros(200, np.int32))
    np.testing.assert_array_equal(truth.present, noisy.present)
    np.testing.assert_array_equal(truth.label, noisy.label)
    np.testing.assert_allclose(truth.pose.rotation, noisy.pose.rotation, atol=1e-5)
    np.testing.assert_allclose(truth.ctf.defocus_u, noisy.ctf.defocus_u, rtol=1e-5)


def test_draws_of_a_seed_stay_what_they_were(assembly: Simulation) -> None:
    """Of particle 7, recorded before the simulator had nuisances: direction of view, shift, defocus, pieces."""
    index = np.arange(4096, dtype=np.int32)
    drawn = assembly.truth(index, index * 0)
    np.testing.assert_allclose(drawn.pose.rotation[7, 2], [-0.453553, 0.552527, 0.699287], atol=1e-5)
    np.testing.assert_allclose(drawn.pose.shift[7], [-1.353922, 2.867047], atol=1e-5)
    np.testing.assert_allclose(drawn.ctf.defocus_u[7], 15642.967, rtol=1e-6)
    np.testing.assert_array_equal(drawn.present[7], [1, 0, 1, 1])
    assert drawn.nuisances is None and drawn.listed_pose is drawn.pose and drawn.listed_ctf is drawn.ctf


def test_presence_follows_the_probability(assembly: Simulation) -> None:
    index = np.arange(4096, dtype=np.int32)
    for probability in (0.5, 0.2):
        states = StateConfig(probability=probability)
        drawn = dataclasses.replace(assembly, states=states).truth(index, index * 0)
        assert drawn.present[:, 0].all()
        assert np.abs(drawn.present[:, 1:].mean(axis=0) - probability).max() < 0.03
        pairs = np.corrcoef(drawn.present[:, 1:].T.astype(float))
        assert np.abs(pairs[~np.eye(3, dtype=bool)]).max() < 0.06


def test_poses_shifts_and_ctf_cover_their_ranges(assembly: Simulation) -> None:
    index = np.arange(4096, dtype=np.int32)
    drawn = assembly.truth(index, index * 0)
    rotation = drawn.pose.rotation.reshape(-1, 9)
    np.testing.assert_allclose(rotation.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((rotation**2).mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_allclose(np.linalg.det(drawn.pose.rotation), 1, atol=1e-5)
    largest = 0.05 * 24 * 5.0
    assert 0.98 * largest < np.abs(drawn.pose.shift).max() <= largest
    mean = 0.5 * (drawn.ctf.defocus_u + drawn.ctf.defocus_v)
    difference = drawn.ctf.defocus_u - drawn.ctf.defocus_v
    assert 5000 <= mean.min() < 5100 and 24900 < mean.max() <= 25000
    assert difference.min() >= 0 and 490 < difference.max() <= 500.01
    assert np.unique(drawn.ctf.voltage) == 300


def test_motion_angles_are_uniform_and_the_core_stays() -> None:
    largest = 0.5
    motion = motion_of(generate_complex(0, 3, 70.0), IMAGING, largest)
    index = np.arange(4096, dtype=np.int32)
    drawn = motion.truth(index, index * 0)
    assert drawn.present.all() and not drawn.angle[:, 0].any()
    assert np.abs(drawn.angle).max() <= largest
    np.testing.assert_allclose(drawn.angle[:, 1:].std(axis=0), largest / math.sqrt(3), rtol=0.03)
    assert len(collect(motion).images) == 200


def test_structures_of_a_mixture_move_each_by_its_own_angle() -> None:
    """The first and the last of three, in a core and one piece; the draws of the second are those of a still one."""
    load = GeneratedMixture(0, 70.0, cut=(0, 2), pieces=1)
    angles = MovingStructures((0.5, 0.0, 0.2), 2)
    clean = dataclasses.replace(IMAGING, snr=None)
    mixture = mixture_of(load, clean, count=3, moving=angles)
    assert angles.numbers == [0, 2] and mixture.bodies == 2
    assert [len(mixture.load_bodies(k)) for k in range(3)] == [2, 1, 2]
    index = np.arange(200, dtype=np.int32)
    structure = mixture.structure_of_particles()
    drawn, block = mixture.truth(index, structure), collect(mixture)
    np.testing.assert_allclose(drawn.angle, block.angle, atol=1e-6)
    np.testing.assert_array_equal(drawn.label, block.label)
    for k, most in enumerate(angles.max_angle):
        own = drawn.angle[structure == k]
        assert not own[:, 0].any() and 0.9 * most <= np.abs(own[:, 1]).max() <= most
    still = collect(mixture_of(load, clean, count=3, moving=dataclasses.replace(angles, max_angle=(0.5, 0.0, 0.0))))
    for k, same in ((0, True), (1, True), (2, False)):
        assert np.array_equal(block.images[structure == k], still.images[structure == k]) == same


def test_pieces_that_turn_do_not_come_and_go() -> None:
    deviates = jax.random.uniform(jax.random.key(0), (64, 2, 4))
    states = StateConfig(0.5, 0.3, moving=(2,))
    present, angle = (np.stack(rows) for rows in zip(*(state_from(d, states) for d in deviates), strict=True))
    assert np.all(present[:, [0, 2]] == 1) and np.all(angle[:, [0, 1, 3]] == 0)
    assert 0.5 < np.ptp(angle[:, 2]) <= 0.6
    others = np.stack([state_from(d, StateConfig(0.5))[0] for d in deviates])
    np.testing.assert_array_equal(others[:, [1, 3]], present[:, [1, 3]])
    assert np.any(others[:, 2] == 0)


def test_mixture_is_balanced_shuffled_and_true_to_its_labels() -> None:
    models = made_mixture(0, 3, 70.0)
    imaging = dataclasses.replace(IMAGING, snr=None, ctf=None)
    block = collect(mixture_of(models, imaging))
    np.testing.assert_array_equal(block.label, assign_structures(3, 200, 3))
    assert np.bincount(block.label).tolist() == [67, 67, 66]
    assert np.abs(np.diff(block.label[:20])).sum() > 4
    total = block.images.sum(axis=(1, 2))
    for k, model in enumerate(models):
        np.testing.assert_allclose(total[block.label == k], model.gaussians.amplitude.sum(), rtol=5e-3)


def test_protein_is_white_unless_dark(assembly: Simulation, clean: np.ndarray) -> None:
    dark = dataclasses.replace(IMAGING, contrast=-1)
    (block,) = list(rendered(dataclasses.replace(assembly, imaging=dark), 0.0))
    np.testing.assert_array_equal(block.images, -clean)


def _spectrum(noise: np.ndarray) -> np.ndarray:
    """Return the mean power at every frequency of some images."""
    return np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0)


@jax.vmap
def _cropped(image: jax.Array) -> jax.Array:
    return real_image(crop_fourier_image(fourier_image(image), 12), 12)


def test_cropping_keeps_signal_and_lowers_noise(assembly: Simulation, clean: np.ndarray) -> None:
    cropped = dataclasses.replace(assembly, imaging=dataclasses.replace(IMAGING, crop=12))
    assert (cropped.imaging.final_box, cropped.imaging.final_pixel_size) == (12, 10.0)
    deviation = noise_deviation(cropped)
    assert np.isclose(deviation, noise_deviation(assembly), rtol=1e-5)
    (noisy,), (signal,) = list(rendered(cropped, deviation)), list(rendered(cropped, 0.0))
    assert noisy.images.shape == (200, 12, 12)
    np.testing.assert_allclose(signal.images, _cropped(clean), atol=1e-3)
    white = np.random.default_rng(0).normal(0, deviation, (2000, 24, 24)).astype(np.float32)
    drawn, cropped_noise = _spectrum(noisy.images - signal.images), _spectrum(np.asarray(_cropped(white)))
    below = np.ix_(*2 * [np.arange(12) != 6])
    assert np.isclose(drawn[below].mean(), cropped_noise[below].mean(), rtol=0.04)
    assert np.abs(drawn / cropped_noise - 1)[below].max() < 0.5
    assert np.abs(drawn / drawn.mean() - 1).max() < 0.5, "white up to the new Nyquist"
    column = cropped_noise[:, 6] / cropped_noise[below].mean()
    np.testing.assert_allclose(column, 0.5, atol=0.1)


def test_ctf_may_come_from_a_table(assembly: Simulation) -> None:
    table = two_microscopes(b_factor=[5, 0])
    chosen = dataclasses.replace(assembly, ctf_table=table)
    drawn = chosen.truth(np.arange(100, dtype=np.int32), np.zeros(100, np.int32))
    for name, column in table.columns().items():
        assert set(np.unique(getattr(drawn.ctf, name))) == set(np.unique(column))
    assert 30 < (drawn.ctf.voltage == 300).sum() < 70


def test_aberrations_of_a_table_are_in_the_images(assembly: Simulation) -> None:
    """Poses stay rotations; taking the odd part off leaves the images of the same optics without it."""
    few = dataclasses.replace(assembly, imaging=dataclasses.replace(IMAGING, particles=32))
    plain = optics(np.array([9e3, 1.2e4], np.float32))
    whole = dataclasses.replace(plain, **aberrations(2))
    even = dataclasses.replace(whole, beam_tilt=None, odd_zernike=None)
    made = [collect_clean(dataclasses.replace(few, ctf_table=table)) for table in (whole, even, plain)]
    rotation = made[0].pose.rotation
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (32, 1, 1)), atol=1e-5)
    np.testing.assert_array_equal(rotation, made[2].pose.rotation)
    np.testing.assert_array_equal(np.unique(made[0].ctf.beam_tilt, axis=0), np.unique(whole.beam_tilt, axis=0))
    found = remove_odd_phase(made[0].images, made[0].ctf, IMAGING.pixel_size)
    scale = np.abs(made[1].images).max()
    assert np.abs(made[0].images - made[1].images).max() > 0.02 * scale
    np.testing.assert_allclose(found, made[1].images, atol=1e-3 * scale)
    assert np.abs(made[1].images - made[2].images).max() > 0.02 * scale


def collect_clean(simulation: Simulation) -> Block:
    (block,) = rendered(simulation, 0.0)
    return block


@pytest.mark.parametrize(
    "change, words",
    [
        ({"box_size": 25}, "--box: expected an even number, 8 to 4096; got 25"),
        ({"particles": 0}, "--n: expected 1 to 10000000; got 0"),
        ({"snr": -1.0}, "--snr: expected more than 0 and at most 1000000000; got -1"),
        ({"crop": 32}, "--crop: expected at most the box of 24 pixels; got 32"),
        ({"pixel_size": 0.0}, "--apix: expected 0.01 to 1000; got 0"),
        ({"contrast": 0}, "1 or -1"),
    ],
)
def test_impossible_imaging_is_refused(change: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        dataclasses.replace(IMAGING, **change)


def test_a_structure_larger_than_the_box_is_refused() -> None:
    simulation = assembly_of(generate_complex(0, 3, 150.0), IMAGING)
    with pytest.raises(ConfigurationError, match="Use a larger --box"):
        signal_variance(simulation)
