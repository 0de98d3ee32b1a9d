"""cryoDRGN's pickles: poses, CTF and indices; and nothing that runs."""

import os
import pickle

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from libhetero.errors import DataError
from libhetero.io import ImageReader, MrcsWriter, cryodrgn, read_particles, read_volume
from tests.reference.shared_data import shared_file


@pytest.fixture
def stack(tmp_path):
    with MrcsWriter(tmp_path / "stack.mrcs", 8, 5, 2.0) as writer:
        writer.write(np.arange(5)[:, None, None] * np.ones((1, 8, 8)))
    return tmp_path / "stack.mrcs"


def dump(path, content):
    with open(path, "wb") as file:
        pickle.dump(content, file)
    return path


def test_tables(stack, tmp_path):
    rotation = np.repeat(np.eye(3)[None], 5, axis=0)
    poses = dump(tmp_path / "poses.pkl", (rotation, np.full((5, 2), 0.125)))
    table = np.tile([16, 1.0, 15000, 14000, 45, 200, 2.0, 0.07, 90.0], (5, 1))
    ctf = dump(tmp_path / "ctf.pkl", table.astype(np.float32))
    chosen = dump(tmp_path / "ind.pkl", np.array([4, 1]))
    particles = read_particles(stack, poses=poses, ctf=ctf, indices=chosen)
    np.testing.assert_array_equal(ImageReader(particles).read([0, 1])[:, 0, 0], [4, 1])
    read = {
        "defocus_u": 15000,
        "defocus_v": 14000,
        "defocus_angle": np.pi / 4,
        "voltage": 200,
        "spherical_aberration": 2.0,
        "amplitude_contrast": 0.07,
        "phase_shift": np.pi / 2,
        "b_factor": 0,
        "scale": 1,
    }
    for name, value in read.items():
        np.testing.assert_allclose(getattr(particles.ctf, name), np.full(2, value), rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(particles.pixel_size, 2.0)
    np.testing.assert_array_equal(particles.pose.shift, np.full((2, 2), -0.125 * 16))
    part = dump(tmp_path / "part.pkl", (rotation[:2], np.array([[0, 0.25], [0.5, 0]])))
    particles = read_particles(stack, poses=part, indices=chosen)
    np.testing.assert_array_equal(particles.pose.shift, [[0, -4], [-8, 0]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((np.tile(np.eye(3), (4, 1, 1)), np.zeros((4, 2))), "4 rows for 5 particles"),
        ((np.tile(np.eye(3), (5, 1, 1)), np.full((5, 2), 7.0)), "exceed the box"),
        (np.zeros((5, 4)), "expected poses"),
    ],
)
def test_wrong_poses(stack, tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_particles(stack, poses=dump(tmp_path / "poses.pkl", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([0, 5]), "index 5 is beyond the 5 particles"),
        (np.array([3, -1]), r"index -1 is below 0; expected 0, for the first particle, to 4"),
        (np.array([0.5]), "whole numbers"),
        (np.array([[0, 1]]), r"shape \(1, 2\); expected one row"),
        ([], "at least one"),
        (np.array([True, False]), "a mask of 2 values for the 5 particles"),
        ([1, [2, 3]], "of unlike parts"),
        ([2**70], "expected whole numbers"),
    ],
)
def test_wrong_indices(stack, tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_particles(stack, indices=dump(tmp_path / "ind.pkl", content))


@pytest.mark.parametrize("content", [np.array([4, 1]), [4, 1], np.array([4, 1], "u1")])
def test_indices_choose_in_their_order(stack, tmp_path, content):
    particles = read_particles(stack, indices=dump(tmp_path / "ind.pkl", content))
    np.testing.assert_array_equal(particles.image_index, [4, 1])


@pytest.mark.parametrize("kind", [np.array, list])
def test_a_mask_chooses_its_true_particles(stack, tmp_path, kind):
    """As NumPy's indexing in cryoDRGN does; poses of the chosen ones alone go with it."""
    mask = dump(tmp_path / "ind.pkl", kind([False, True, False, False, True]))
    poses = dump(tmp_path / "poses.pkl", (np.repeat(np.eye(3)[None], 2, 0), np.array([[0, 0.25], [0.5, 0]])))
    particles = read_particles(stack, indices=mask, poses=poses)
    np.testing.assert_array_equal(particles.image_index, [1, 4])
    np.testing.assert_array_equal(particles.pose.shift, [[0, -4], [-8, 0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0, 1e300, 1.05])
def test_rows_that_are_no_rotation_are_named(stack, tmp_path, value):
    rotation = np.repeat(np.eye(3)[None], 5, 0)
    rotation[3, 1, 2] = value
    with pytest.raises(DataError, match="row 4 is no rotation"):
        read_particles(stack, poses=dump(tmp_path / "poses.pkl", (rotation, np.zeros((5, 2)))))
    shift = np.zeros((5, 2))
    shift[2, 0] = value
    with pytest.raises(DataError, match="exceed the box"):
        read_particles(stack, poses=dump(tmp_path / "poses.pkl", (np.repeat(np.eye(3)[None], 5, 0), shift)))


def test_wrong_ctf(stack, tmp_path):
    with pytest.raises(DataError, match=r"expected a cryoDRGN CTF table"):
        read_particles(stack, ctf=dump(tmp_path / "ctf.pkl", np.zeros((5, 4))))


def test_a_ctf_gives_the_pixel_size_where_the_list_does_not(stack, tmp_path, monkeypatch):
    """Particle by particle: one that states its own keeps it."""
    monkeypatch.chdir(tmp_path)
    text = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnPixelSize #2\n"
    text += "1@stack.mrcs 3.0\n2@stack.mrcs 0\n3@stack.mrcs 5.0\n"
    (tmp_path / "list.star").write_text(text)
    table = np.tile([16, 2.0, 15000, 14000, 45, 200, 2.0, 0.07, 90.0], (3, 1))
    particles = read_particles("list.star", ctf=dump(tmp_path / "ctf.pkl", table))
    np.testing.assert_allclose(particles.pixel_size, [3, 4, 5])


class Harmful:
    """Would run a command when unpickled."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("content", [Harmful(), {"a": Harmful()}, (np.zeros(3), Harmful()), print])
def test_code_is_refused(stack, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="refused"):
        read_particles(stack, indices=dump(tmp_path / "ind.pkl", content))
    assert not (tmp_path / "harmed").exists()


def test_damaged_pickle(stack, tmp_path):
    whole = pickle.dumps(np.arange(5))
    for content in (whole[:30], b"not a pickle at all"):
        (tmp_path / "ind.pkl").write_bytes(content)
        with pytest.raises(DataError, match="refused"):
            read_particles(stack, indices=tmp_path / "ind.pkl")


def test_every_pickle_of_cryodrgn_is_read():
    folder = shared_file("formats", "cryodrgn")
    for name in ("ctf1", "toy_trans", "hand_rot", "hand_rot_trans", "ind100", "zvals_het-2_1k"):
        assert cryodrgn.read_pickle(folder / f"{name}.pkl") is not None
    particles = read_particles(folder / "toy_projections.star", indices=folder / "ind100-rand.pkl")
    with open(folder / "ind100-rand.pkl", "rb") as file:
        np.testing.assert_array_equal(particles.image_index, pickle.load(file))


def project(volume, rotation):
    """Project along z' by rotating the grid: p = Rᵀ p' for every voxel p' of the image's frame."""
    n = len(volume)
    axis = np.arange(n) - n // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    model = np.stack([x, y, z], axis=-1) @ np.asarray(rotation, np.float64)
    places = model[..., ::-1] + n // 2
    return map_coordinates(volume, np.moveaxis(places, -1, 0), order=3).sum(axis=0)


def test_toy_projections_are_slices_of_their_volume():
    """The stack is centred: its translations belong to another experiment and are left out."""
    folder = shared_file("formats", "cryodrgn")
    particles = read_particles(folder / "toy_projections.mrcs", poses=folder / "toy_angles.pkl", pixel_size=1.0)
    volume, _ = read_volume(folder / "toymodel_small_nocenter.mrc")
    images = ImageReader(particles).read(range(20))
    for image, rotation in zip(images, particles.pose.rotation, strict=False):
        assert np.corrcoef(project(volume, rotation).ravel(), image.ravel())[0, 1] >= 0.99


def test_txt_list_and_image_index(tmp_path):
    folder = shared_file("formats", "cryodrgn")
    (tmp_path / "list.txt").write_text("toy_images_a.mrcs\ntoy_images_b.mrcs\n")
    datadir = folder / "toy_datadir"
    particles = read_particles(tmp_path / "list.txt", datadir=datadir)
    assert len(particles) == 1000 and len(particles.files) == 2
    for name, places, listed in (("a", [0, 99], [0, 99]), ("b", [0, 899], [100, 999])):
        stack = read_particles(datadir / f"toy_images_{name}.mrcs")
        expected = ImageReader(stack).read(places)
        np.testing.assert_array_equal(ImageReader(particles).read(listed), expected)
    starred = read_particles(folder / "toy_projections_dir.star", datadir=datadir)
    assert len(starred) == 1000
