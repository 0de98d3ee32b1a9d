"""Users' mistakes in particle sets, and the one line each gets."""

import dataclasses

import mrcfile
import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import MrcsWriter, check_particles, read_particles, write_particles
from libhetero.io.check import odd_ctf_values, pixel_size_disagreements
from libhetero.io.optics import count_optics_groups, optics_groups
from tests.making.optics import varied_optics
from tests.making.particles import sample_particles
from tests.reference.shared_data import shared_file


@pytest.fixture
def particles(tmp_path):
    return sample_particles(tmp_path)[0]


def complaint(particles, need_pose=True, need_ctf=True):
    with pytest.raises(DataError) as raised:
        check_particles(particles, need_pose=need_pose, need_ctf=need_ctf)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_good_set(particles):
    check_particles(particles, need_pose=True, need_ctf=True)


def test_nothing_needed_nothing_asked(particles):
    bare = dataclasses.replace(particles, pose=None, ctf=None)
    check_particles(bare, need_pose=False, need_ctf=False)
    assert "no poses" in complaint(bare)
    assert "no CTF" in complaint(bare, need_pose=False)


def test_zero_particles(particles):
    assert "no particles" in complaint(particles.take(np.zeros(0, int)))


def test_values_that_are_not_finite(particles):
    particles.ctf.defocus_u[3] = np.nan
    assert "particle 4: defocus_u of the CTF is nan" in complaint(particles)
    particles.pose.shift[5, 0] = np.inf
    assert "particle 6 has a pose" in complaint(particles)


def test_one_image_beyond_the_stack(particles):
    row = int(np.argmax(particles.file_id == 0))
    particles.image_index[row] = 8
    assert "image 9 is asked for, the stack holds 8" in complaint(particles)


def test_not_a_rotation(particles):
    particles.pose.rotation[2] *= 1.1
    assert "particle 3 has a pose that is not finite or not a rotation" in complaint(particles)


def test_voltage_in_volts(particles):
    particles.ctf.voltage[:] = 300000
    assert "voltage of the CTF runs from 300000" in complaint(particles)


def test_not_square(tmp_path):
    with mrcfile.new(tmp_path / "stack.mrcs", np.zeros((3, 128, 120), np.float32)) as file:
        file.voxel_size = 1.0
    message = complaint(read_particles(tmp_path / "stack.mrcs"))
    assert "stack.mrcs: image 1 is 128 × 120; particles must be square" in message


def test_odd_box(tmp_path):
    with MrcsWriter(tmp_path / "stack.mrcs", 15, 3, 1.0) as writer:
        writer.write(np.zeros((3, 15, 15)))
    assert "box is 15 pixels, odd" in complaint(read_particles(tmp_path / "stack.mrcs"))


def test_list_and_stack_of_different_boxes():
    folder = shared_file("formats", "cryodrgn", "toy_datadir")
    particles = read_particles(shared_file("formats", "relion5", "relion5.star"), datadir=folder)
    message = complaint(particles)
    assert "it says a box of 448 pixels" in message and "images of 30" in message


def test_odd_ctf_values():
    assert odd_ctf_values(varied_optics(5)) == []
    ctf = dataclasses.replace(
        varied_optics(5), defocus_u=np.full(5, 1.5), defocus_v=np.full(5, 1.5), voltage=np.full(5, 30.0)
    )
    lines = odd_ctf_values(ctf)
    assert len(lines) == 2 and "defocus from 1.5" in lines[0] and "voltage" in lines[1]


def test_header_of_another_pixel_size(particles):
    assert pixel_size_disagreements(particles) == []
    other = dataclasses.replace(particles, pixel_size=particles.pixel_size * 2)
    assert "5 Å is used, the header of" in pixel_size_disagreements(other)[0]


def test_optics_groups(particles, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    particles.ctf.voltage[:4] = 200
    values, group = optics_groups(particles)
    assert len(values) == 2 and list(np.bincount(group)) == [4, 7]
    assert count_optics_groups(particles) == 2
    write_particles("list.star", particles)
    again = read_particles("list.star")
    assert count_optics_groups(again) == 2
    np.testing.assert_array_equal(again.ctf.voltage, particles.ctf.voltage)
    six = read_particles(shared_file("formats", "relion31", "relion31.6opticsgroups.star"), need_images=False)
    assert 1 <= count_optics_groups(six) <= 6


def test_how_far_from_a_rotation_a_pose_may_be(particles):
    """What files round to passes, and no more: R Rᵀ may differ from 1 by 0.001."""
    particles.pose.rotation[2] *= np.sqrt(1.0008)
    check_particles(particles, need_pose=True, need_ctf=True)
    particles.pose.rotation[2] *= np.sqrt(1.002)
    assert "particle 3 has a pose that is not finite or not a rotation" in complaint(particles)


def test_an_absurd_pixel_size_is_refused_by_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    particles, _ = sample_particles(tmp_path)
    absurd = dataclasses.replace(particles, pixel_size=np.full(len(particles), 1e12))
    write_particles("absurd.cs", absurd)
    with pytest.raises(DataError, match="absurd.cs: pixel size 1e[+]12 Å; expected at most 1000"):
        read_particles("absurd.cs")
