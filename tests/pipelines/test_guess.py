"""Starting Gaussians from a map or an atomic model, through the program."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from libhetero.io import read_atoms, read_gaussians, write_volume
from libhetero.physics.gaussians import gaussians_to_volume
from tests.models.tiny_models import BOX, PIXEL, mixture, quick_jit

to_volume = quick_jit(lambda gaussians: gaussians_to_volume(gaussians, BOX, PIXEL))


@pytest.fixture
def program(load_program, tmp_path, monkeypatch, capsys):
    """Run the program in an empty folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    module = load_program("e2hype_guess_n.py")

    def run(*arguments):
        code = module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def write_model(path, shift=0.0):
    """Write thirty carbon atoms along a helix of radius 8 Å, moved by `shift` Å along x."""
    turn = 0.6 * np.arange(30)
    places = np.column_stack([8 * np.cos(turn) + shift, 8 * np.sin(turn), np.arange(30) - 15.0])
    with open(path, "w") as file:
        for i, (x, y, z) in enumerate(places):
            file.write(
                f"ATOM  {i + 1:5d}  CA  ALA A{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00"
                "           C\n"
            )
        file.write("END\n")
    return places


def test_map_in_gaussians_out(program):
    volume = np.asarray(to_volume(mixture()))
    write_volume("map.mrc", volume, PIXEL)
    code, out, _ = program("map.mrc", "gmm.txt", "--ngauss", 24, "--niter", 60)
    assert code == 0
    assert "24 Gaussians" in out and "correlation" in out
    found = read_gaussians("gmm.txt", BOX, PIXEL)
    assert found.position.shape == (24, 3)
    made = np.asarray(to_volume(found))
    assert np.corrcoef(made.ravel(), volume.ravel())[0, 1] > 0.98
    assert made.sum() == pytest.approx(volume.sum(), rel=0.1)
    corner = BOX // 2 * PIXEL
    np.testing.assert_allclose(read_atoms("gmm.pdb").position, found.position + corner, atol=2e-3)


def test_model_in_gaussians_out(program):
    """Its centre of mass comes to the box centre; the mixture has its shape."""
    places = write_model("helix.pdb", shift=40.0)
    arguments = ("helix.pdb", "gmm.txt", "--box", BOX, "--apix", 3.0, "--niter", 60)
    assert program(*arguments, "--ngauss", 20)[0] == 0
    found = read_gaussians("gmm.txt", BOX, 3.0)
    centre = np.average(found.position, axis=0, weights=found.amplitude)
    np.testing.assert_allclose(centre, 0, atol=0.5)
    distance = np.linalg.norm(found.position[:, None] - (places - places.mean(axis=0)), axis=-1)
    assert np.median(distance.min(axis=1)) < 3


def test_seed_decides(program):
    write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert program("map.mrc", f"{name}.txt", "--ngauss", 9, "--niter", 1, "--seed", seed)[0] == 0
    first, again, other = (Path(f"{name}.txt").read_text() for name in "abc")
    assert first == again != other


def odd_map():
    write_volume("map.mrc", np.ones((15, 15, 15), np.float32), PIXEL)


def flat_map():
    write_volume("map.mrc", np.zeros((BOX, BOX, BOX), np.float32), PIXEL)


def nan_map():
    write_volume("map.mrc", np.full((BOX, BOX, BOX), np.nan, np.float32), PIXEL)


def oblong_map():
    with mrcfile.new("map.mrc", np.ones((16, 16, 12), np.float32)) as file:
        file.voxel_size = PIXEL


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (None, "absent.mrc gmm.txt", "absent.mrc: no such file"),
        (odd_map, "map.mrc gmm.txt", "map.mrc: the map is 15×15×15; expected a cube with an even side"),
        (oblong_map, "map.mrc gmm.txt", "map.mrc: the map is 12×16×16"),
        (flat_map, "map.mrc gmm.txt", "0 voxels above the threshold"),
        (nan_map, "map.mrc gmm.txt", "NaN"),
        (flat_map, "map.mrc gmm.mrc", "expected a name ending in .txt"),
        (flat_map, "map.mrc gmm.txt --ngauss 0", "--ngauss: expected 1 or more; got 0"),
        (flat_map, "map.mrc gmm.txt --niter 0", "--niter: expected 1 or more; got 0"),
        ("model", "helix.pdb gmm.txt", "expected --box and --apix"),
        ("model", "helix.pdb gmm.txt --box 15 --apix 3", "--box: expected an even number"),
        ("model", "helix.pdb gmm.txt --box 16 --apix 0", "--apix: expected more than 0"),
        ("model", "helix.pdb gmm.txt --box 8 --apix 2", "across its centre of mass; the box is 16 Å"),
    ],
)
def test_mistakes(program, prepare, arguments, message):
    if prepare == "model":
        write_model("helix.pdb")
    elif prepare is not None:
        prepare()
    code, _, err = program(*arguments.split())
    assert code == 1
    assert message in err and err.count("\n") == 1 and err.startswith("e2hype_guess_n.py: ")
