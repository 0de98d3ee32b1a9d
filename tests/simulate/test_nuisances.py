"""What real data have besides white noise: as strong as asked for, in the list or in the image, and off by default."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_particles
from libhetero.io.star import read_table
from libhetero.physics.ctf import ctf_at
from libhetero.physics.fourier import frequencies_2d, half_plane, real_image
from libhetero.physics.gaussians import project_gaussians
from libhetero.pipelines.scoring.truth import open_truth
from libhetero.records import CTFParams, Pose
from libhetero.simulate import tables
from libhetero.simulate.complex import Complex
from libhetero.simulate.configuration import ImagingConfig, NuisanceConfig
from libhetero.simulate.nuisances import ICE, LOCAL_DEFOCUS, coloured, noise_power, tilt_cosine
from libhetero.simulate.sets import mixture_of
from libhetero.simulate.simulation import Simulation, Truth
from libhetero.simulate.tables import write_tables
from tests.making.rendering import made_mixture, noise_deviation, rendered, signal_variance

COUNT = 4096
OFF = ImagingConfig(particles=COUNT, box_size=24, pixel_size=5.0, snr=0.5, seed=3)
ERRORS = NuisanceConfig(
    pose_error=math.radians(4), shift_error=3.0, defocus_error=200.0, contrast_sd=0.2, junk=0.3, noise_colour=4.0
)
ALL = dataclasses.replace(ERRORS, micrographs=64, views=2.0)


def _with(nuisances: NuisanceConfig, imaging: ImagingConfig = OFF) -> Simulation:
    return mixture_of(made_mixture(0, 2, 70.0), dataclasses.replace(imaging, nuisances=nuisances))


def _drawn(simulation: Simulation) -> Truth:
    index = np.arange(COUNT, dtype=np.int32)
    return simulation.truth(index, index % 2)


@pytest.fixture(scope="module")
def all_on() -> Truth:
    return _drawn(_with(ALL))


def test_listed_rotations_are_off_by_the_angle_asked_for_in_every_direction(all_on: Truth) -> None:
    turn = np.matmul(all_on.listed_pose.rotation, all_on.pose.rotation.transpose(0, 2, 1)).astype(np.float64)
    sine = 0.5 * np.stack([turn[:, i, j] - turn[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], axis=1)
    length = np.linalg.norm(sine, axis=1)
    vector = sine * (np.arcsin(length) / length)[:, None]
    np.testing.assert_allclose(np.degrees(np.sqrt(np.mean(np.sum(vector**2, axis=1)))), 4, rtol=0.02)
    np.testing.assert_allclose(np.cov(vector.T) / (math.radians(4) ** 2 / 3), np.eye(3), atol=0.06)
    np.testing.assert_allclose(np.linalg.det(all_on.listed_pose.rotation), 1, atol=1e-5)


def test_listed_shifts_and_defoci_are_off_by_the_deviation_asked_for(all_on: Truth) -> None:
    assert not OFF.nuisances.any and ALL.any
    error = all_on.listed_pose.shift - all_on.pose.shift
    np.testing.assert_allclose(error.std(axis=0), 3, rtol=0.04)
    assert np.abs(error.mean(axis=0)).max() < 0.2 and abs(np.corrcoef(error.T)[0, 1]) < 0.05
    defocus = all_on.listed_ctf.defocus_u - all_on.ctf.defocus_u
    np.testing.assert_allclose(defocus, all_on.listed_ctf.defocus_v - all_on.ctf.defocus_v, atol=0.01)
    assert np.isclose(defocus.std(), 200, rtol=0.04) and abs(defocus.mean()) < 15
    np.testing.assert_array_equal(all_on.listed_ctf.defocus_angle, all_on.ctf.defocus_angle)


def test_particles_of_a_micrograph_share_optics_and_ice(all_on: Truth) -> None:
    number = all_on.nuisances.micrograph
    assert number.min() == 0 and number.max() == 63 and np.bincount(number).min() > 30
    mean = 0.5 * (all_on.ctf.defocus_u + all_on.ctf.defocus_v)
    within = [mean[number == k].std() for k in range(64)]
    assert np.isclose(np.sqrt(np.mean(np.square(within))), LOCAL_DEFOCUS, rtol=0.05)
    assert np.std([mean[number == k].mean() for k in range(64)]) > 4000
    assert all(np.unique(all_on.ctf.defocus_angle[number == k]).size == 1 for k in range(64))
    ice = np.array([all_on.nuisances.noise[number == k][0] for k in range(64)])
    assert len(np.unique(all_on.nuisances.noise)) == 64
    assert np.isclose(np.std(np.log(ice)), ICE, rtol=0.3) and np.isclose(np.mean(ice**2), 1, atol=0.08)


def test_contrast_and_junk_are_as_asked_for(all_on: Truth) -> None:
    junk, contrast = all_on.nuisances.junk, all_on.nuisances.contrast
    assert abs(junk.mean() - 0.3) < 0.02 and not contrast[junk].any()
    own = contrast[~junk]
    assert own.min() > 0 and abs(own.mean() - 1) < 0.03
    assert np.isclose(own.std(), math.hypot(0.2, ICE), rtol=0.08), "the particle's and its micrograph's"


def test_noise_of_images_differs_as_asked_for(all_on: Truth) -> None:
    """Nothing else is drawn otherwise; a micrograph's ice comes on top."""
    alone, both = (_drawn(_with(NuisanceConfig(noise_sd=0.3, micrographs=some))).nuisances for some in (None, 64))
    assert np.isclose(np.std(np.log(alone.noise)), 0.3, rtol=0.05) and np.isclose(np.mean(alone.noise**2), 1, atol=0.08)
    assert len(np.unique(alone.noise)) > 0.99 * COUNT, "each image its own"
    np.testing.assert_allclose(both.noise, alone.noise * all_on.nuisances.noise, rtol=1e-5)


def test_views_crowd_about_the_axis(all_on: Truth) -> None:
    direction = all_on.pose.rotation[:, 2]
    resultant = 1 / math.tanh(2) - 1 / 2
    np.testing.assert_allclose(direction.mean(axis=0), [0, 0, resultant], atol=0.03)
    deviates = jnp.linspace(0, 1, 101)
    np.testing.assert_allclose(tilt_cosine(deviates, 1e-4), 1 - 2 * deviates, atol=1e-3)


def test_images_have_the_right_values_and_the_contrast(all_on: Truth) -> None:
    """Noise-free images are projections at the right pose, shift and defocus times the contrast, of no matter how long
    a block; the noise is that of the signal alone. Whatever else is on, a particle's errors are its own."""
    few = dataclasses.replace(OFF, particles=64, nuisances=ERRORS)
    (model,) = made_mixture(0, 1, 70.0)
    real = mixture_of([model], few)
    (found,) = rendered(real, 0.0)
    contrast = found.nuisances.contrast
    assert (contrast == 0).sum() == found.nuisances.junk.sum() > 5 and contrast.std() > 0.3
    for i in np.flatnonzero(contrast)[:3]:
        expected = contrast[i] * _projection(model, found.pose.take(i), found.ctf.take(i))
        np.testing.assert_allclose(found.images[i], expected, atol=0.02 * np.abs(expected).max())
    alone = np.concatenate([b.images for b in real.render(0, real.prepared(0), found.index, 0.0, signal_alone=True)])
    np.testing.assert_allclose(found.images, contrast[:, None, None] * alone, atol=1e-5 * np.abs(alone).max())
    assert np.isclose(signal_variance(real), alone.var(), rtol=1e-5)
    in_tens = np.concatenate([block.images for block in rendered(real, 0.0, block_size=10)])
    np.testing.assert_array_equal(in_tens, found.images)
    np.testing.assert_array_equal(found.nuisances.junk, all_on.nuisances.junk[:64])
    error = found.nuisances.listed_pose.shift - found.pose.shift
    np.testing.assert_allclose(error, (all_on.listed_pose.shift - all_on.pose.shift)[:64], atol=1e-4)
    noisy = list(rendered(real, noise_deviation(real), block_size=10))
    noise = np.concatenate([block.images for block in noisy]) - found.images
    assert np.isclose(noise.std(), np.sqrt(alone.var() / 0.5), rtol=0.02)
    power = np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0)
    assert np.isclose(power[:3, :3].mean() / power[11:14, 11:14].mean(), 4, rtol=0.2)


def _projection(model: Complex, pose: Pose, ctf: CTFParams) -> np.ndarray:
    """Return a complex's noise-free image at `OFF`'s box, up to Nyquist, as the beads say."""
    image = project_gaussians(model.gaussians, pose, 24, 5.0) * ctf_at(ctf, half_plane(24, 5.0))
    return np.asarray(real_image(image * (np.sum(frequencies_2d(24) ** 2, axis=-1) <= 0.25), 24))


def test_coloured_noise_keeps_its_variance_and_its_law() -> None:
    """Power at every frequency after cropping; on average over the box before cropping it is that of white noise."""
    white = jax.random.normal(jax.random.key(0), (1500, 12, 12))
    power = np.mean(np.abs(np.fft.fft2(jax.vmap(lambda image: coloured(image, 9.0, 24))(white))) ** 2, axis=0)
    axis, kept = np.fft.fftfreq(24), np.fft.fftfreq(12) / 2
    whole = noise_power(np.hypot(axis[:, None], axis[None]), 9.0)
    assert whole[0, 0] == 9 and np.isclose(whole[12, 0], 1) and np.isclose(whole[12, 12], 1)
    expected = noise_power(np.hypot(kept[:, None], kept[None]), 9.0) / whole.mean()
    np.testing.assert_allclose(power / 144 / expected, 1, atol=0.22)


def test_list_and_truth_on_the_disk(tmp_path: Path, all_on: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    few, texts = 60, []
    simulation = _with(ALL, dataclasses.replace(OFF, particles=few))
    for rows in (25, few):
        monkeypatch.setattr(tables, "ROWS", rows)
        folder = tmp_path / f"{rows}"
        (folder / "truth").mkdir(parents=True)
        write_tables(folder, tmp_path, simulation, [2])
        texts.append([path.read_bytes() for path in sorted(folder.rglob("*.*"))])
    assert texts[0] == texts[1]
    listed = read_particles(folder / "particles.star", need_images=False)
    np.testing.assert_allclose(listed.pose.shift, all_on.listed_pose.shift[:few], atol=1e-4)
    np.testing.assert_allclose(listed.ctf.defocus_u, all_on.listed_ctf.defocus_u[:few], atol=0.01)
    names = read_table(folder / "particles.star").particles["rlnMicrographName"].to_numpy()
    np.testing.assert_array_equal([int(name[-10:-4]) for name in names], all_on.nuisances.micrograph[:few])
    said = {"format_version": 1, "kind": "mixture", "particles": few, "box_size": 24, "pixel_size": 5.0}
    (folder / "truth" / "truth.json").write_text(json.dumps(said))
    truth = open_truth(folder / "truth")
    for name in ("contrast", "noise", "junk", "micrograph"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(all_on.nuisances, name)[:few])
    np.testing.assert_array_equal(truth.rotation, all_on.pose.rotation[:few])
    np.testing.assert_array_equal(truth.shift, all_on.pose.shift[:few])
    np.testing.assert_array_equal(truth.defocus[:, 1], all_on.ctf.defocus_v[:few])
    np.save(folder / "truth" / "junk.npy", truth.junk[1:])
    with pytest.raises(DataError, match=r"junk.npy: 59 particles; expected 60"):
        open_truth(folder / "truth")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"pose_error": 2.0}, "--pose_error: expected 0 to 60; got 114"),
        ({"contrast_sd": 0.6}, "--contrast_sd: expected 0 to 0.5; got 0.6"),
        ({"noise_sd": -0.1}, "--noise_sd: expected 0 to 1; got -0.1"),
        ({"noise_colour": 0.5}, "--noise_colour: expected 1 to 10000; got 0.5"),
        ({"junk": 1.5}, "--junk: expected 0 to 1; got 1.5"),
        ({"micrographs": 0}, "--micrographs: expected 1 to"),
    ],
)
def test_what_no_data_have_is_refused(change: dict, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        NuisanceConfig(**change)
