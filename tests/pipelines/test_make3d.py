"""A map from particles with known poses, through the program."""

import dataclasses
import os

import numpy as np
import pytest

from libhetero.io import MrcsWriter, read_volume, write_particles
from libhetero.physics.gaussians import gaussians_to_volume
from tests.models.tiny_models import (
    BOX,
    PIXEL,
    clean_images,
    mixture,
    optics,
    poses,
    quick_jit,
)
from tests.training.toy import make_particles

COUNT = 300


@pytest.fixture(scope="module")
def truth():
    """The map that the particles show, without its mean."""
    volume = np.asarray(quick_jit(lambda g: gaussians_to_volume(g, BOX, PIXEL))(mixture()))
    return volume - volume.mean()


@pytest.fixture(scope="module")
def images():
    """Projections without noise."""
    return np.asarray(clean_images(mixture(), poses(COUNT), optics(COUNT)))


@pytest.fixture
def program(load_program, tmp_path, monkeypatch, capsys):
    """Run the program in an empty folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    module = load_program("e2hype_make3d.py")

    def run(*arguments):
        code = module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def write_set(images):
    """Write particles.star and its stack into the current folder."""
    with MrcsWriter("particles.mrcs", BOX, COUNT, PIXEL) as writer:
        writer.write(images.astype(np.float32))
    particles = dataclasses.replace(
        make_particles(COUNT, BOX, PIXEL),
        files=(os.path.abspath("particles.mrcs"),),
        pose=poses(COUNT),
        ctf=optics(COUNT),
    )
    write_particles("particles.star", particles)
    return particles


def correlation(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


def test_noiseless_particles_give_the_truth(program, images, truth):
    write_set(images)
    code, out, _ = program("particles.star", "map.mrc", "--noinvert")
    assert code == 0
    assert f"{COUNT} particles" in out and "FSC 0.143" in out
    volume, pixel_size = read_volume("map.mrc")
    assert (volume.shape, pixel_size) == ((BOX, BOX, BOX), pytest.approx(PIXEL))
    assert correlation(volume, truth) >= 0.95
    for half in (1, 2):
        assert correlation(read_volume(f"map_half{half}.mrc")[0], truth) >= 0.9
    table = np.loadtxt("map_fsc.txt")
    np.testing.assert_allclose(table[:, 0], np.arange(BOX // 2) / (BOX * PIXEL), atol=1e-6)
    assert table[:6, 1].min() > 0.9


def test_dark_particles_are_inverted_when_said(program, images, truth):
    write_set(-images)
    assert program("particles.star", "map.hdf", "--invert", "--batchsz", 128)[0] == 0
    assert correlation(read_volume("map.hdf")[0], truth) >= 0.95


def test_crop_keeps_the_width(program, images, truth):
    write_set(images)
    assert program("particles.star", "map.mrc", "--noinvert", "--box", 12)[0] == 0
    volume, pixel_size = read_volume("map.mrc")
    assert volume.shape == (12, 12, 12) and pixel_size == pytest.approx(PIXEL * BOX / 12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent.star map.mrc", "absent.star: no such file"),
        ("particles.star map.txt", "map.txt: expected a map name ending in .mrc or .hdf"),
        ("particles.star map.mrc --batchsz 0", "--batchsz: expected 1 or more; got 0"),
        ("particles.star map.mrc --box 15", "odd; expected an even one"),
        ("particles.star map.mrc --box 32", "--box 32 is larger than the particles' 16 pixels"),
        ("particles.mrcs map.mrc", "no poses"),
    ],
)
def test_mistakes(program, images, arguments, message):
    write_set(images)
    code, _, err = program(*arguments.split())
    assert code == 1
    assert message in err and err.count("\n") == 1 and err.startswith("e2hype_make3d.py: ")
