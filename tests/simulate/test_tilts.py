"""Tilt series of simulated particles: one particle, seen again and again while the stage turns and it fades."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.io import ImageReader, read_particles
from libhetero.io.star import read_table
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from libhetero.simulate import steps, tables
from libhetero.simulate.complex import generate_complex
from libhetero.simulate.configuration import ImagingConfig, NuisanceConfig, TiltConfig
from libhetero.simulate.sets import assembly_of, mixture_of
from libhetero.simulate.simulation import Block, Simulation, Truth
from libhetero.simulate.writer import write_simulation
from tests.making.optics import optics
from tests.making.rendering import collect, made_mixture, noise_deviation, rendered, signal_variance
from tests.reference.rotations import about_y

TILTS = TiltConfig(-40.0, 40.0, 20.0, 4.0)
TAKEN = (0.0, 20.0, -20.0, -40.0, 40.0)
PARTICLES, EACH = 24, 5
SINGLE = ImagingConfig(particles=PARTICLES, box_size=24, pixel_size=5.0, snr=0.5, seed=3)
IMAGING = dataclasses.replace(SINGLE, tilts=TILTS)
ERRORS = NuisanceConfig(pose_error=math.radians(4), shift_error=3.0, contrast_sd=0.3, junk=0.3, micrographs=4)
MODELS = made_mixture(0, 2, 70.0)


def of_all(simulation: Simulation) -> Truth:
    """Return what is drawn for all images of a mixture."""
    return simulation.truth(np.arange(simulation.imaging.images, dtype=np.int32), simulation.structure_of_images())


def by_particle(values: np.ndarray) -> np.ndarray:
    """Return values of images by particle and tilt."""
    return np.asarray(values).reshape(PARTICLES, EACH, *np.shape(values)[1:])


@pytest.fixture(scope="module")
def series() -> Simulation:
    return mixture_of(MODELS, IMAGING)


@pytest.fixture(scope="module")
def noisy(series: Simulation) -> Block:
    return collect(series)


@pytest.mark.parametrize(
    "asked, angles",
    [
        ((-9, 9, 3), (0, 3, -3, -6, 6, 9, -9)),
        ((-40, 40, 20), TAKEN),
        ((-6, 12, 3), (0, 3, -3, -6, 6, 9, 12)),
        ((-9, 9, 6), (3, -3, -9, 9)),
        ((-1, 0.2, 0.3), (-0.1, 0.2, -0.4, -0.7, -1)),
        ((10, 20, 4), (10, 14, 18)),
    ],
)
def test_the_least_tilted_come_first_each_direction_in_turn(asked: tuple, angles: tuple) -> None:
    assert TiltConfig(*map(float, asked), 3.0).angles == angles


def test_the_usual_series_has_41_tilts() -> None:
    angles = TiltConfig(-60.0, 60.0, 3.0, 3.0).angles
    assert len(angles) == 41 and angles[:5] == (0, 3, -3, -6, 6) and sorted(angles) == list(range(-60, 61, 3))


def test_a_particle_is_one_in_all_its_images(series: Simulation) -> None:
    """Its pose is turned about the y axis of the image, its state, defocus and axis of tilt are the same."""
    drawn, single = of_all(series), of_all(mixture_of(MODELS, SINGLE))
    rotation = by_particle(drawn.pose.rotation)
    for rank, angle in enumerate(TAKEN):
        expected = about_y(math.radians(angle)) @ single.pose.rotation
        np.testing.assert_allclose(rotation[:, rank], expected, atol=1e-5)
    for name in ("label", "present", "angle"):
        values = by_particle(getattr(drawn, name))
        np.testing.assert_array_equal(values, np.repeat(getattr(single, name)[:, None], EACH, axis=1))
    for name in ("defocus_u", "defocus_v", "defocus_angle", "voltage", "b_factor"):
        np.testing.assert_allclose(getattr(drawn.ctf, name), np.repeat(getattr(single.ctf, name), EACH), rtol=1e-6)


def test_signal_falls_with_thickness_and_exposure(series: Simulation) -> None:
    ctf = of_all(series).ctf
    np.testing.assert_allclose(by_particle(ctf.scale)[7], np.cos(np.radians(TAKEN)), rtol=1e-6)
    np.testing.assert_allclose(by_particle(ctf.exposure)[7], [2, 6, 10, 14, 18], rtol=1e-6)
    table = optics([1e4, 2e4], scale=[0.5, 0.5])
    ctf = of_all(mixture_of(MODELS, IMAGING, table)).ctf
    np.testing.assert_allclose(by_particle(ctf.scale)[7], 0.5 * np.cos(np.radians(TAKEN)), rtol=1e-6)


def test_every_image_has_a_shift_of_its_own(series: Simulation) -> None:
    shift = by_particle(of_all(series).pose.shift)
    largest = 0.05 * 24 * 5.0
    assert 0.9 * largest < np.abs(shift).max() <= largest
    assert np.ptp(shift, axis=1).min() > 0.2
    assert abs(np.corrcoef(shift[:, 0, 0], shift[:, 1, 0])[0, 1]) < 0.6


def test_errors_are_a_particles_but_for_the_shifts() -> None:
    """The pose in the ice is listed wrongly once, and so turns with the stage; every image's shift is."""
    wrong = of_all(mixture_of(MODELS, dataclasses.replace(IMAGING, nuisances=ERRORS)))
    single = of_all(mixture_of(MODELS, dataclasses.replace(SINGLE, nuisances=ERRORS)))
    listed = by_particle(wrong.listed_pose.rotation)
    for rank, angle in enumerate(TAKEN):
        expected = about_y(math.radians(angle)) @ single.listed_pose.rotation
        np.testing.assert_allclose(listed[:, rank], expected, atol=1e-5)
    for name in ("contrast", "junk", "noise", "micrograph"):
        expected = np.repeat(getattr(single.nuisances, name), EACH)
        np.testing.assert_array_equal(getattr(wrong.nuisances, name), expected)
    error = by_particle(wrong.listed_pose.shift - wrong.pose.shift)
    assert np.isclose(error.std(), 3, rtol=0.15) and np.ptp(error, axis=1).min() > 0.5
    np.testing.assert_array_equal(wrong.listed_ctf.exposure, wrong.ctf.exposure)
    np.testing.assert_array_equal(of_all(mixture_of(MODELS, IMAGING)).pose.rotation, wrong.pose.rotation)


def test_images_are_projections_of_the_tilted_and_faded_particle(series: Simulation) -> None:
    for block in rendered(series, 0.0):
        for place in (0, 3, 7, 14):
            pose, ctf = block.pose.take(place), block.ctf.take(place)
            plane = project_gaussians(MODELS[block.label[place]].gaussians, pose, 24, 5.0)
            plane = plane * ctf_at(ctf, half_plane(24, 5.0)) * (np.sum(frequencies_2d(24) ** 2, axis=-1) <= 0.25)
            expected = np.asarray(real_image(plane, 24))
            np.testing.assert_allclose(block.images[place], expected, atol=0.02 * np.abs(expected).max())
            fresh = np.asarray(real_image(plane / np.maximum(ctf.scale, 0.1), 24))
            assert ctf.scale > 0.99 or not np.allclose(block.images[place], fresh, atol=0.02 * np.abs(fresh).max())


def test_noise_is_that_of_an_untilted_set_and_each_images_own(series: Simulation, noisy: Block) -> None:
    assert signal_variance(series) == signal_variance(mixture_of(MODELS, SINGLE))
    clean = np.zeros_like(noisy.images)
    for block in rendered(series, 0.0):
        clean[block.index] = block.images
    noise = by_particle(noisy.images - clean)
    np.testing.assert_allclose(noise.std(axis=(0, 2, 3)), noise_deviation(series), rtol=0.03)
    assert all(abs(np.corrcoef(noise[5, 0].ravel(), noise[5, k].ravel())[0, 1]) < 0.15 for k in range(1, EACH))


def test_images_do_not_depend_on_blocks_that_cut_a_series(series: Simulation, noisy: Block) -> None:
    deviation = noise_deviation(series)
    for block_size, threads in ((7, 1), (64, 2)):
        for block in rendered(series, deviation, block_size, threads):
            np.testing.assert_array_equal(block.images, noisy.images[block.index])
            assert set(block.label) == {block.label[0]}


def test_what_is_drawn_without_images_is_that_of_the_images(series: Simulation, noisy: Block) -> None:
    drawn = of_all(series)
    np.testing.assert_allclose(drawn.pose.rotation, noisy.pose.rotation, atol=1e-5)
    np.testing.assert_allclose(drawn.pose.shift, noisy.pose.shift, atol=1e-4)
    np.testing.assert_allclose(drawn.ctf.scale, noisy.ctf.scale, rtol=1e-6)
    np.testing.assert_array_equal(drawn.label, noisy.label)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    imaging = dataclasses.replace(IMAGING, nuisances=ERRORS)
    return write_simulation(tmp_path_factory.mktemp("tilts") / "set", mixture_of(MODELS, imaging))


def test_the_list_tells_particle_exposure_and_tilt_of_every_image(folder: Path) -> None:
    table = read_table(folder / "particles.star").particles
    names = by_particle(table["rlnTomoParticleName"].to_numpy(object))
    assert names[0, 0] == "series_000000" and names[-1, -1] == "series_000023"
    assert (names == names[:, :1]).all()
    named = ("rlnMicrographPreExposure", "rlnTomoNominalStageTiltAngle", "rlnCtfScalefactor", "rlnRandomSubset")
    numbers = {name: by_particle(table[name].to_numpy(object).astype(float)) for name in named}
    np.testing.assert_allclose(numbers["rlnMicrographPreExposure"], np.tile([0, 4, 8, 12, 16], (PARTICLES, 1)))
    np.testing.assert_allclose(numbers["rlnTomoNominalStageTiltAngle"], np.tile(TAKEN, (PARTICLES, 1)))
    np.testing.assert_allclose(numbers["rlnCtfScalefactor"][3], np.cos(np.radians(TAKEN)), atol=1e-6)
    half = numbers["rlnRandomSubset"]
    assert (half == half[:, :1]).all() and set(half[:, 0]) == {1, 2}
    assert [name.split("@")[0] for name in table["rlnImageName"]] == [f"{i:06d}" for i in range(1, 121)]


def test_images_on_the_disk_stand_where_the_list_says(folder: Path) -> None:
    particles = read_particles(folder / "particles.star")
    drawn = of_all(mixture_of(MODELS, dataclasses.replace(IMAGING, nuisances=ERRORS)))
    assert len(particles) == PARTICLES * EACH and particles.group is not None
    assert ImageReader(particles).read(np.arange(120)).shape == (120, 24, 24)
    np.testing.assert_array_equal(by_particle(particles.group), np.tile(np.arange(PARTICLES)[:, None], EACH))
    for listed in (particles, read_particles(folder / "particles.lst")):
        np.testing.assert_array_equal(listed.group, particles.group)
        np.testing.assert_allclose(listed.tilt, np.tile(TAKEN, PARTICLES))
        np.testing.assert_allclose(listed.ctf.scale, drawn.listed_ctf.scale, atol=1e-5)
        np.testing.assert_allclose(listed.ctf.exposure, drawn.listed_ctf.exposure, atol=1e-5)
        np.testing.assert_allclose(listed.pose.rotation, drawn.listed_pose.rotation, atol=1e-5)


def test_the_truth_is_told_image_by_image(folder: Path) -> None:
    truth, particles = open_truth(folder), read_particles(folder / "particles.star")
    said = json.loads((folder / "truth" / "truth.json").read_text())
    assert said["tilts"] == {"molecules": PARTICLES, "angles": list(TAKEN), "dose": 4.0} and said["particles"] == 120
    np.testing.assert_array_equal(places_in_truth(particles, truth), np.arange(120))
    labels, junk = by_particle(truth.labels), by_particle(truth.junk)
    assert (labels == labels[:, :1]).all() and np.bincount(labels[:, 0]).tolist() == [12, 12]
    assert (junk == junk[:, :1]).all() and 0 < junk.mean() < 1
    error = particles.pose.rotation.transpose(0, 2, 1) @ truth.rotation
    turned = by_particle(np.trace(error, axis1=1, axis2=2))
    np.testing.assert_allclose(turned, np.repeat(turned[:, :1], EACH, axis=1), atol=2e-5)


def test_lists_are_the_same_however_they_are_streamed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part holds whole series: a particle's own exposure is told from its images."""
    monkeypatch.setattr(tables, "ROWS", 6)
    monkeypatch.setattr(steps, "BLOCK", 7)
    simulation = mixture_of(MODELS, dataclasses.replace(IMAGING, nuisances=ERRORS))
    again = write_simulation(tmp_path / "set", simulation, threads=2)
    assert (folder / "particles.mrcs").read_bytes() == (again / "particles.mrcs").read_bytes()
    for name in ("particles.star", "particles.lst"):
        texts = [(place / name).read_text().replace(f"{place}/", "") for place in (folder, again)]
        lines = [[" ".join(line.split()) for line in text.split("\n") if not line.startswith("# ")] for text in texts]
        assert lines[0] == lines[1]
    for name in ("labels.txt", "rotation.npy", "junk.npy"):
        assert (folder / "truth" / name).read_bytes() == (again / "truth" / name).read_bytes()


def test_pieces_of_an_assembly_are_there_in_all_images(tmp_path: Path) -> None:
    made = assembly_of(generate_complex(0, 3, 70.0), dataclasses.replace(IMAGING, particles=6))
    truth = open_truth(write_simulation(tmp_path / "set", made))
    states = truth.states.reshape(6, EACH, -1)
    assert (states == states[:, :1]).all() and np.ptp(states[:, 0, 1:]) == 1


@pytest.mark.parametrize(
    "change, words",
    [
        ({"first": -90.0}, "first: expected -85 to 85; got -90"),
        ({"step": 0.0}, "step: expected more than 0"),
        ({"dose": -1.0}, "dose: expected 0 to 10000; got -1"),
    ],
)
def test_series_that_no_stage_takes_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        dataclasses.replace(TILTS, **change)


def test_more_images_than_are_simulated_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--n: expected at most 2000000, of 5 tilts each; got 2000001"):
        dataclasses.replace(IMAGING, particles=2_000_001)
