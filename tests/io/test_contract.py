"""What every particle format must do: one suite, inherited by each."""

import os

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import ImageReader, read_particles, write_particles
from libhetero.pipelines.listing.copying import copy_images
from tests.making.particles import BOX, PIXEL, sample_particles
from tests.reference.agreement import assert_same_ctf, assert_same_pose


class FormatContract:
    """Write the sample, read it again; a format says in its attributes what it can hold."""

    suffix = ""
    holds_records = True
    holds_group = True
    holds_pixels = False

    @pytest.fixture
    def written(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        particles, images = sample_particles(tmp_path)
        path = tmp_path / f"list{self.suffix}"
        write_particles(path, particles)
        return path, particles, images

    def test_images_come_back_in_order(self, written):
        path, _, images = written
        with ImageReader(read_particles(path)) as reader:
            np.testing.assert_array_equal(reader.read(np.arange(len(images))), images)
            chosen = np.array([5, 0, 5, 9])
            np.testing.assert_array_equal(reader.read(chosen), images[chosen])

    def test_box_and_pixel_size(self, written):
        particles = read_particles(written[0])
        assert particles.uniform_box_size() == BOX
        assert particles.uniform_pixel_size() == pytest.approx(PIXEL)

    def test_pixel_size_given_keeps_shifts_in_pixels(self, written):
        path, original, _ = written
        particles = read_particles(path, pixel_size=2 * PIXEL)
        assert particles.uniform_pixel_size() == 2 * PIXEL
        if self.holds_records:
            np.testing.assert_allclose(particles.pose.shift, 2 * original.pose.shift, atol=1e-4)

    def test_records_come_back(self, written):
        path, original, _ = written
        particles = read_particles(path)
        if not self.holds_records:
            assert particles.pose is None and particles.ctf is None
            return
        assert_same_pose(particles.pose, original.pose)
        assert_same_ctf(particles.ctf, original.ctf)
        np.testing.assert_array_equal(particles.half_set, original.half_set)
        if self.holds_group:
            np.testing.assert_array_equal(particles.group, original.group)

    def test_selection_is_written(self, written, tmp_path):
        path, _, images = written
        chosen = np.array([7, 2, 4])
        particles = read_particles(path).take(chosen)
        write_particles(tmp_path / f"chosen{self.suffix}", particles)
        again = read_particles(tmp_path / f"chosen{self.suffix}")
        np.testing.assert_array_equal(ImageReader(again).read(range(3)), images[chosen])
        if self.holds_records:
            assert_same_pose(again.pose, particles.pose)
            assert_same_ctf(again.ctf, particles.ctf)

    def test_second_writing_changes_nothing(self, written, tmp_path):
        path = written[0]
        write_particles(tmp_path / f"again{self.suffix}", read_particles(path))
        if not self.holds_pixels:
            assert (tmp_path / f"again{self.suffix}").read_bytes() == path.read_bytes()

    def test_no_temporary_file_is_left(self, written):
        assert not [name for name in os.listdir(written[0].parent) if ".tmp" in name]

    def test_missing_folder(self, written, tmp_path):
        with pytest.raises(DataError, match="does not exist; make it first"):
            write_particles(tmp_path / "absent" / f"list{self.suffix}", written[1])

    def test_empty_set(self, written, tmp_path):
        nothing = written[1].take(np.zeros(0, int))
        path = tmp_path / f"empty{self.suffix}"
        if self.holds_pixels:
            with pytest.raises(DataError, match="empty"):
                write_particles(path, nothing)
            return
        write_particles(path, nothing)
        assert len(read_particles(path)) == 0

    def test_empty_or_foreign_file(self, tmp_path):
        path = tmp_path / f"wrong{self.suffix}"
        path.write_bytes(b"")
        with pytest.raises(DataError, match="empty"):
            read_particles(path)
        path.write_text("a poem of no particular length\n" * 60)
        with pytest.raises(DataError, match=f"wrong{self.suffix}"):
            read_particles(path)

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="no such file"):
            read_particles(tmp_path / f"absent{self.suffix}")

    def test_git_lfs_pointer(self, tmp_path):
        path = tmp_path / f"pointer{self.suffix}"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
        with pytest.raises(DataError, match="git lfs pull"):
            read_particles(path)


class TestStar(FormatContract):
    """RELION."""

    suffix = ".star"


class TestLst(FormatContract):
    """EMAN2 list."""

    suffix = ".lst"


class TestCs(FormatContract):
    """cryoSPARC, which has no tilt groups."""

    suffix = ".cs"
    holds_group = False


class TestHdf(FormatContract):
    """EMAN2 stack."""

    suffix = ".hdf"
    holds_pixels = True


class TestMrcs(FormatContract):
    """Bare stack: pixels only."""

    suffix = ".mrcs"
    holds_records = False
    holds_pixels = True


def test_images_given_are_streamed(tmp_path):
    particles, images = sample_particles(tmp_path)
    for suffix in (".mrcs", ".hdf"):
        blocks = (block for block in np.array_split(2 * images, 3))
        write_particles(tmp_path / f"new{suffix}", particles, blocks)
        again = ImageReader(read_particles(tmp_path / f"new{suffix}")).read(range(len(images)))
        np.testing.assert_array_equal(again, 2 * images)
        with pytest.raises(DataError, match="images were written; expected 11"):
            write_particles(tmp_path / f"short{suffix}", particles, [images[:4]])
        assert not (tmp_path / f"short{suffix}").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".jpg", ""])
def test_unknown_suffix(tmp_path, suffix):
    with pytest.raises(DataError, match="expected|--poses"):
        read_particles(tmp_path / f"list{suffix}")
    with pytest.raises(DataError, match="cannot be written"):
        write_particles(tmp_path / f"list{suffix}", sample_particles(tmp_path)[0])


def test_every_conversion_keeps_the_records(tmp_path, monkeypatch):
    """star → lst → hdf → mrcs → cs → star, and the records are those of the first."""
    monkeypatch.chdir(tmp_path)
    particles, images = sample_particles(tmp_path)
    found = particles
    for suffix in (".star", ".lst", ".hdf", ".cs", ".star"):
        path = tmp_path / f"step{suffix}"
        if suffix == ".cs":
            found = copy_images(found, "copied.mrcs")  # cryoSPARC and RELION cannot read .hdf
        write_particles(path, found)
        found = read_particles(path)
    assert_same_pose(found.pose, particles.pose)
    assert_same_ctf(found.ctf, particles.ctf)
    np.testing.assert_array_equal(ImageReader(found).read(range(len(images))), images)
