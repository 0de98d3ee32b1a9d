"""Starting Gaussians from a map or an atomic model, through the program."""

import dataclasses
from pathlib import Path

import jax
import mrcfile
import numpy as np
import pytest

from libhetero.io import read_atoms, read_gaussians, write_volume
from libhetero.models.gmm.start.homogeneous import HomogeneousModel
from libhetero.models.gmm.start.map_support import signal_power
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.physics.symmetry import symmetric_copies, symmetry_operators
from libhetero.pipelines.guess import GuessConfig
from libhetero.pipelines.guessing import fitting
from libhetero.pipelines.guessing.goal import map_to_fit
from libhetero.pipelines.run.particles import unit_ctf
from libhetero.records import Batch, Gaussians
from tests.making import sets as tiny_set
from tests.making.images import BOX, PIXEL
from tests.making.mixtures import mixture
from tests.making.poses import poses
from tests.making.sets import write_tiny_set
from tests.reference import eman2_files

to_volume = jax.jit(lambda gaussians: gaussians_to_volume(gaussians, BOX, PIXEL))


@pytest.fixture
def program(load_program, tmp_path, monkeypatch, capsys):
    """Run the program in an empty folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    module = load_program("e2hype_guess_n.py")

    def run(*arguments):
        code = module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def write_model(path, shift=0.0, across=0.0, radius=8.0, rise=1.0):
    """Write thirty carbon atoms along a helix (Å), moved by `shift` along x and by `across` along y and z."""
    turn = 0.6 * np.arange(30)
    around = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), rise * (np.arange(30) - 15.0)])
    places = around + [shift, across, across]
    with open(path, "w") as file:
        for i, (x, y, z) in enumerate(places):
            file.write(f"ATOM  {i + 1:5d}  CA  ALA A{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C\n")
        file.write("END\n")
    return places


def test_map_in_gaussians_out(program):
    volume = np.asarray(to_volume(mixture()))
    write_volume("map.mrc", volume, PIXEL)
    code, out, _ = program("map.mrc", "gmm.txt", "--ngauss", 24, "--niter", 60)
    assert code == 0
    assert "24 Gaussians" in out and "correlation" in out
    found = read_gaussians("gmm.txt", BOX, PIXEL)
    assert found.position.shape == (24, 3) and eman2_files.read_gaussians("gmm.txt").shape == (24, 5)
    made = np.asarray(to_volume(found))
    assert np.corrcoef(made.ravel(), volume.ravel())[0, 1] > 0.98
    assert made.sum() == pytest.approx(volume.sum(), rel=0.1)
    assert Path("gmm_fsc.png").read_bytes().startswith(b"\x89PNG")
    table = np.loadtxt("gmm_fsc.txt")
    assert table.shape == (BOX // 2, 3) and table[:5, 1].min() > 0.95
    assert table[1, 0] == pytest.approx(1 / (BOX * PIXEL))
    corner = BOX // 2 * PIXEL
    np.testing.assert_allclose(read_atoms("gmm.pdb").position, found.position + corner, atol=2e-3)


@pytest.mark.parametrize(
    ("options", "origin"),
    [((), 0.0), (("--origin", "centre"), 0.0), (("--origin", "corner"), 24.0), (("--origin", "mass"), None)],
)
def test_model_in_gaussians_out(program, options, origin):
    """It lies where its coordinates say, from the box centre unless another origin is asked for; that is said."""
    places = write_model("helix.pdb", shift=20.0 if origin == 24.0 else 6.0, across=24.0 if origin == 24.0 else 3.0)
    expected = places - (places.mean(axis=0) if origin is None else origin)
    arguments = ("helix.pdb", "gmm.txt", "--box", BOX, "--apix", 3.0, "--niter", 60)
    code, out, error = program(*arguments, "--ngauss", 20, *options)
    assert code == 0 and not error
    x, y, z = expected.mean(axis=0)
    assert f"helix.pdb: centre of mass at ({x:.1f}, {y:.1f}, {z:.1f}) Å from the box centre".replace("-0.0", "0.0") in (
        out.replace("-0.0", "0.0")
    )
    found = read_gaussians("gmm.txt", BOX, 3.0)
    centre = np.average(found.position, axis=0, weights=found.amplitude)
    np.testing.assert_allclose(centre, expected.mean(axis=0), atol=1.0)
    distance = np.linalg.norm(found.position[:, None] - expected, axis=-1)
    assert np.median(distance.min(axis=1)) < 3


def test_the_frame_of_our_own_pseudo_atoms_is_the_corner(program):
    """The .pdb beside the text is for viewers, and comes back with --origin corner."""
    write_model("helix.pdb", shift=6.0)
    arguments = ("--box", BOX, "--apix", 3.0, "--niter", 1, "--ngauss", 9)
    assert program("helix.pdb", "gmm.txt", *arguments)[0] == 0
    assert program("gmm.pdb", "again.txt", *arguments, "--origin", "corner")[0] == 0
    first, again = (read_gaussians(name, BOX, 3.0) for name in ("gmm.txt", "again.txt"))
    np.testing.assert_allclose(again.position.mean(axis=0), first.position.mean(axis=0), atol=1.5)


def test_a_model_that_may_be_from_the_corner_is_doubted(program):
    """A small one at (12.5, 12.5, 12.5) Å in a box of 48 Å fits both ways: taken from the centre, with a warning."""
    write_model("helix.pdb", shift=12.5, across=12.5, radius=1.0, rise=0.05)
    arguments = ("helix.pdb", "gmm.txt", "--box", BOX, "--apix", 3.0, "--niter", 1, "--ngauss", 9)
    code, out, error = program(*arguments)
    assert code == 0 and error.count("\n") == 1
    assert "as if measured from the corner of the box; they are taken from its centre" in error
    assert not program(*arguments, "--origin", "centre")[2]


def test_seed_decides(program):
    write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert program("map.mrc", f"{name}.txt", "--ngauss", 9, "--niter", 1, "--seed", seed)[0] == 0
    first, again, other = (Path(f"{name}.txt").read_text() for name in "abc")
    assert first == again != other


def test_the_number_follows_the_map(program):
    """A line for each size, the fit told at the end, and the FSC to 0.5 and 0.143."""
    write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
    code, out, _ = program("map.mrc", "gmm.txt", "--niter", 20)
    assert code == 0
    told = [line for line in out.splitlines() if "Gaussians explain" in line]
    assert len(told) >= 2 and all("FSC 0.5 at" in line and "0.143 at" in line for line in told)
    assert "are taken" in out
    assert told[-1].split()[0] == str(len(read_gaussians("gmm.txt", BOX, PIXEL).sigma))


def test_half_maps_beside_the_map_say_where_it_ends(program):
    clean = np.asarray(to_volume(mixture()))
    random = np.random.default_rng(0)
    halves = [clean + 0.1 * clean.max() * random.normal(size=clean.shape) for _ in range(2)]
    write_volume("map.mrc", np.mean(halves, axis=0), PIXEL)
    arguments = ("map.mrc", "gmm.txt", "--ngauss", 16, "--niter", 2)
    assert "(from its background)" in program(*arguments)[1]
    for number, half in enumerate(halves):
        write_volume(f"map_half{number + 1}.mrc", half, PIXEL)
    assert "(from map_half1.mrc and map_half2.mrc)" in program(*arguments)[1]
    ended = np.loadtxt("gmm_fsc.txt")[:, 2]
    assert ended[-1] == 0 < ended[2]
    swapped = program(*arguments, "--halfmaps", "map_half2.mrc", "map_half1.mrc")[1]
    assert "map_half2.mrc and map_half1.mrc" in swapped
    assert "(--maxres)" in program(*arguments, "--maxres", 30)[1]
    assert np.count_nonzero(np.loadtxt("gmm_fsc.txt")[:, 2]) == 3


def test_why_so_many(tmp_path, monkeypatch):
    """Half-maps, and the number of particles in the map's header, say how many changes can be told."""
    monkeypatch.chdir(tmp_path)
    clean = np.asarray(to_volume(mixture()))
    random = np.random.default_rng(0)
    halves = [clean + 0.02 * clean.max() * random.normal(size=clean.shape) for _ in range(2)]
    write_volume("map.mrc", np.mean(halves, axis=0), PIXEL, particles=500)
    config = GuessConfig("map.mrc", "gmm.txt")
    alone = map_to_fit(config)
    assert not alone.information.measured and alone.information.particles == 500
    assert map_to_fit(dataclasses.replace(config, count=9)).information is None
    for number, half in enumerate(halves):
        write_volume(f"map_half{number + 1}.mrc", half, PIXEL)
    goal = map_to_fit(config)
    assert goal.information.measured and goal.information.particles == 500
    changes = int(goal.changes())
    taken = f"{changes} Gaussians are taken"
    assert (
        fitting.why_so_many(goal, changes, changes + 9)
        == f"{taken}: {changes + 9} explain less than 2% more of the map"
    )
    assert fitting.why_so_many(goal, changes, changes) == (
        f"{taken}: 500 particles tell as many independent changes, by the half-maps"
    )
    assert f"500 particles tell {changes} independent" in fitting.why_so_many(goal, changes + 9, changes + 9)
    assert fitting.why_so_many(goal, changes - 9, changes - 9).endswith("the most there may be for this map")
    assert fitting.told_by_images(config, goal) is goal


class FewImages:
    """Forty images without CTF, none of which is looked at."""

    box_size, pixel_size = 24, 4.0

    def __len__(self):
        return 40

    def batch(self, indices):
        count = len(indices)
        images = np.zeros((count, self.box_size, self.box_size), np.float32)
        return Batch(images, poses(count), unit_ctf(count), np.arange(count), np.ones(count, np.float32))


def test_images_tell_how_many(tmp_path, monkeypatch):
    """Without half-maps: signal over noise of all images' pixels is that of the molecule's numbers."""
    monkeypatch.chdir(tmp_path)
    write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
    goal = map_to_fit(GuessConfig("map.mrc", "out.txt"))
    config = GuessConfig("map.mrc", "out.txt", particles="particles.star")
    feed, scale, weight = FewImages(), 3.0, 0.01
    n = feed.box_size
    model = HomogeneousModel(mixture(), goal.operators, scale, np.full((n, n // 2 + 1), weight), n, feed.pixel_size)
    monkeypatch.setattr(fitting, "fit_mixture", lambda goal, start, steps: None)
    monkeypatch.setattr(fitting, "_images", lambda listed, config, goal, fitted: (feed, model))
    found = fitting.told_by_images(config, goal).information
    assert found.measured and found.particles == 40 and found.source == "by their images"
    shells = np.arange(2, BOX // 2)
    pixels = 2 * np.pi * (shells - 0.5) * (n * feed.pixel_size / (BOX * PIXEL)) ** 2
    expected = 40 * scale**2 * weight * np.sum(pixels * signal_power(goal.volume, goal.trust)[2:])
    assert np.sum(goal.extent().numbers(BOX // 2) * found.ratio) == pytest.approx(expected, rel=0.05)
    assert fitting.told_by_images(config, dataclasses.replace(goal, information=found)).information is found


def test_particles_have_the_last_word(program, tmp_path):
    """A map that lacks a third of the complex, and particles that hold all of it."""
    write_tiny_set(tmp_path, count=300)
    n, pixel_size = tiny_set.BOX, tiny_set.PIXEL
    true = read_gaussians("gmm.txt", n, pixel_size)
    faint = Gaussians(true.position, np.where(np.arange(30) < 10, 0.3, true.amplitude), true.sigma)
    made = jax.jit(lambda one: gaussians_to_volume(one, n, pixel_size))
    write_volume("map.mrc", np.asarray(made(faint)), pixel_size)
    arguments = ("map.mrc", "out.txt", "--ngauss", 30, "--niter", 60)
    agreement = []
    for more in ((), ("--particles", "particles.star")):
        code, out, _ = program(*arguments, *more)
        assert code == 0
        found = np.asarray(made(read_gaussians("out.txt", n, pixel_size)))
        agreement.append(np.corrcoef(found.ravel(), np.asarray(made(true)).ravel())[0, 1])
    assert "against the particles" in out and "misfit of the particles" in out
    assert 1 - agreement[1] < 0.6 * (1 - agreement[0])


def test_half_maps_that_disagree_are_refused(program):
    noise = np.random.default_rng(0).normal(size=(BOX,) * 3).astype(np.float32)
    write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
    for half, sign in ((1, 1), (2, -1)):
        write_volume(f"map_half{half}.mrc", sign * noise, PIXEL)
    code, _, error = program("map.mrc", "gmm.txt", "--ngauss", 8)
    assert code == 1 and error.count("\n") == 1
    assert "nothing of the map can be trusted" in error and "map_half1.mrc" in error


def test_one_unit_of_a_symmetric_map(program):
    operators = symmetry_operators("c3")
    one = mixture()
    unit = Gaussians(one.position[:6], one.amplitude[:6], one.sigma[:6])
    write_volume("map.mrc", np.asarray(to_volume(symmetric_copies(unit, operators))), PIXEL)
    arguments = ("map.mrc", "gmm.txt", "--ngauss", 8, "--niter", 60)
    code, _, error = program(*arguments, "--sym", "c3", "--trainmodel")
    assert code == 0 and not error
    found = read_gaussians("gmm.txt", BOX, PIXEL)
    assert len(found.sigma) == 8 and len(read_atoms("gmm.pdb").position) == 24
    assert np.loadtxt("gmm_fsc.txt")[:4, 1].min() > 0.9
    assert "of c4 it correlates with itself by only" in program(*arguments, "--sym", "c4")[2]


def odd_map():
    write_volume("map.mrc", np.ones((15, 15, 15), np.float32), PIXEL)


def flat_map():
    write_volume("map.mrc", np.zeros((BOX, BOX, BOX), np.float32), PIXEL)


def nan_map():
    write_volume("map.mrc", np.full((BOX, BOX, BOX), np.nan, np.float32), PIXEL)


def enormous_map():
    write_volume("map.mrc", np.full((BOX, BOX, BOX), 1e30, np.float32), PIXEL)


def oblong_map():
    with mrcfile.new("map.mrc", np.ones((16, 16, 12), np.float32)) as file:
        file.voxel_size = PIXEL


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (None, "absent.mrc gmm.txt", "absent.mrc: no such file"),
        (odd_map, "map.mrc gmm.txt", "map.mrc: the map is 15×15×15; expected a cube with an even side"),
        (oblong_map, "map.mrc gmm.txt", "map.mrc: the map is 12×16×16"),
        (flat_map, "map.mrc gmm.txt", "map.mrc: the map has 0 voxels above the threshold"),
        ("good", "map.mrc gmm.txt --sym x3", "--sym: expected c1"),
        ("good", "map.mrc gmm.txt --maxres 0", "--maxres: expected more than 0"),
        ("good", "map.mrc gmm.txt --maxres 90", "--maxres 90: leaves none"),
        ("good", "map.mrc gmm.txt --halfmaps small.mrc small.mrc", "small.mrc: box 8×8×8; expected the map's, 16"),
        ("good", "map.mrc gmm.txt --ngauss 4000", "voxels of molecule; expected at least 4000"),
        (nan_map, "map.mrc gmm.txt", "NaN"),
        (enormous_map, "map.mrc gmm.txt", "map.mrc: the map holds NaN, infinite or absurdly large voxels"),
        (flat_map, "map.mrc gmm.mrc", "expected a name ending in .txt"),
        (flat_map, "map.mrc gmm.txt --ngauss 0", "--ngauss: expected 1 to 1048576; got '0'"),
        (flat_map, "map.mrc gmm.txt --niter 0", "--niter: expected 1 to 1000000; got '0'"),
        ("model", "helix.pdb gmm.txt", "expected --box and --apix"),
        ("model", "helix.pdb gmm.txt --box 15 --apix 3", "--box: expected an even number"),
        ("model", "helix.pdb gmm.txt --box 16 --apix 0", "--apix: expected 0.01 to 1000"),
        ("model", "helix.pdb gmm.txt --box 8 --apix 2", "across its centre of mass: use a larger --box or --apix"),
        (
            "corner",
            "helix.pdb gmm.txt --box 16 --apix 3",
            "as in a map whose first voxel is at 0: give --origin corner",
        ),
        ("far", "helix.pdb gmm.txt --box 16 --apix 3", "centre of mass is at (399.7, 0.2, -0.5) Å: fit the model into"),
        ("far", "helix.pdb gmm.txt --box 16 --apix 3 --origin corner", "give --origin mass to bring it to the box"),
        ("good", "map.mrc gmm.txt --origin corner", "--origin corner: a map lies as its voxels do; leave it out"),
    ],
)
def test_mistakes(program, prepare, arguments, message):
    if prepare == "model":
        write_model("helix.pdb")
    elif prepare == "corner":
        write_model("helix.pdb", shift=24.0, across=24.0)
    elif prepare == "far":
        write_model("helix.pdb", shift=400.0)
    elif prepare == "good":
        write_volume("map.mrc", np.asarray(to_volume(mixture())), PIXEL)
        write_volume("small.mrc", np.ones((8, 8, 8), np.float32), PIXEL)
    elif prepare is not None:
        prepare()
    code, _, err = program(*arguments.split())
    assert code == (2 if err.endswith(" --help.\n") else 1)  # 2 for the value of one option
    assert message in err and err.count("\n") == 1 and err.startswith("e2hype_guess_n.py: ")
