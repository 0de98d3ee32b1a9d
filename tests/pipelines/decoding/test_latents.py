"""Latents are read where they are of the run as it is, and made anew where they are not."""

import os

import numpy as np
import pytest

from libhetero.errors import ConfigurationError, DataError
from libhetero.io import write_latent
from libhetero.io.indices import check_indices
from libhetero.pipelines.decoding.latents import lifted_latents, particle_latents
from tests.making.runs import field_run, gaussian_run

COUNT = 20


@pytest.fixture
def run(tmp_path):
    """A run whose mid_00.txt says what no encoder would, and is as old as its one checkpoint."""
    made, *_ = gaussian_run(tmp_path, count=COUNT)
    (tmp_path / "checkpoints" / "6").mkdir(parents=True)
    for path in (tmp_path / "mid_00.txt", tmp_path / "checkpoints" / "6"):
        os.utime(path, (1000, 1000))
    return made


def width_of(run) -> int:
    return len(run.model.member)


def test_latents_as_new_as_the_parameters_are_read(run, tmp_path) -> None:
    expected = np.loadtxt(tmp_path / "mid_00.txt")[:, 1:]
    np.testing.assert_allclose(particle_latents(run, 8), expected, rtol=1e-6)


def encoded_anew(run, folder) -> bool:
    """Return whether mid_00.txt is what the encoder says: the same number in every column."""
    latent = particle_latents(run, 8)
    np.testing.assert_allclose(np.loadtxt(folder / "mid_00.txt")[:, 1:], latent, rtol=1e-6)
    return np.ptp(latent, axis=1).max() == 0


def test_latents_older_than_the_parameters_are_made_anew(run, tmp_path) -> None:
    assert not encoded_anew(run, tmp_path)
    os.utime(tmp_path / "mid_00.txt", (999, 999))
    assert encoded_anew(run, tmp_path)


@pytest.mark.parametrize("index", [np.arange(COUNT)[::-1], np.arange(1, COUNT + 1), np.arange(COUNT - 1)])
def test_latents_of_other_particles_are_made_anew(run, tmp_path, index) -> None:
    write_latent(tmp_path / "mid_00.txt", index, np.random.default_rng(0).normal(size=(len(index), width_of(run))))
    assert encoded_anew(run, tmp_path)


def test_latents_that_are_no_numbers_are_told(run, tmp_path) -> None:
    path = tmp_path / "mid_00.txt"
    path.write_text(path.read_text().replace("e+00", "e+x0", 1))
    with pytest.raises(DataError, match="mid_00.txt: line 1: .* is not a number"):
        particle_latents(run, 8)


def test_points_are_as_wide_as_the_latents(run) -> None:
    width = width_of(run)
    points = np.ones((2, width), np.float32)
    np.testing.assert_array_equal(lifted_latents(run, points, "points.txt", 8), points)
    for wrong in (width - 1, width + 1):
        with pytest.raises(ConfigurationError, match=rf"points.txt: {wrong} latent numbers; expected {width}, as in "):
            lifted_latents(run, np.ones((2, wrong), np.float32), "points.txt", 8)


def test_a_basis_of_other_latents_or_none_is_told(tmp_path) -> None:
    run = field_run(tmp_path)
    latent = particle_latents(run, 16)
    basis, width = tmp_path / "mid_00_basis.npz", latent.shape[1]
    with np.load(basis) as file:
        arrays = dict(file)
    np.savez(basis, mean=arrays["mean"], directions=np.concatenate([arrays["directions"]] * 2))
    with pytest.raises(DataError, match=rf"{2 * width} directions; expected {width}, the numbers of mid_00.txt"):
        lifted_latents(run, latent[:2], "points.txt", 16)
    np.savez(basis, mean=arrays["mean"][1:], directions=arrays["directions"])
    with pytest.raises(DataError, match="mid_00_basis.npz: directions: expected numbers of shape"):
        lifted_latents(run, latent[:2], "points.txt", 16)
    basis.write_bytes(b"PK")
    with pytest.raises(DataError, match="mid_00_basis.npz: damaged"):
        lifted_latents(run, latent[:2], "points.txt", 16)


def test_particles_are_numbered_from_0_to_one_less_than_there_are() -> None:
    np.testing.assert_array_equal(check_indices(np.array([4, 0]), 5, "--particles"), [4, 0])
    for wrong in (5, -1):
        with pytest.raises(
            ConfigurationError, match=f"--particles: there is no particle {wrong}; there are 5, .* 0 to 4"
        ):
            check_indices(np.array([0, wrong]), 5, "--particles")
