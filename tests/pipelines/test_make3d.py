"""A map from particles with known poses, through the program."""

import dataclasses
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from libhetero.io import MrcsWriter, read_particles, read_volume, write_latent, write_particles, write_volume
from libhetero.io.particle_findings import ParticleFindings, write_findings
from libhetero.io.volume import particles_in_map
from libhetero.metrics.fsc import masked_fsc, resolution
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.pipelines.decoding.class_files import write_classes
from libhetero.pipelines.run.particle_record import write_record
from libhetero.reconstruction.wiener import radius_3d
from libhetero.records import ParticleEstimates
from libhetero.training.configuration import PreprocessConfig
from tests.making.images import BOX, PIXEL, clean_images
from tests.making.mixtures import mixture
from tests.making.optics import defocus_series
from tests.making.oracles import gaussian_run, simulated, volume_run
from tests.making.particles import make_particles
from tests.making.poses import poses
from tests.reference.eman2_files import read_hdf, read_log

COUNT = 300


@pytest.fixture(scope="module")
def truth():
    """The map that the particles show, without its mean."""
    volume = np.asarray(jax.jit(lambda g: gaussians_to_volume(g, BOX, PIXEL))(mixture()))
    return volume - volume.mean()


@pytest.fixture(scope="module")
def images():
    """Projections without noise."""
    return np.asarray(clean_images(mixture(), poses(COUNT), defocus_series(COUNT)))


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
        ctf=defocus_series(COUNT),
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
    assert particles_in_map("map.mrc") == COUNT
    volume, pixel_size = read_volume("map.mrc")
    assert (volume.shape, pixel_size) == ((BOX, BOX, BOX), pytest.approx(PIXEL))
    assert correlation(volume, truth) >= 0.95
    for half in (1, 2):
        assert correlation(read_volume(f"map_half{half}.mrc")[0], truth) >= 0.9
    table = np.loadtxt("map_fsc.txt")
    np.testing.assert_allclose(table[:, 0], np.arange(BOX // 2) / (BOX * PIXEL), atol=1e-6)
    assert table[:6, 1].min() > 0.9


def low_slope(volume, truth):
    """Return how many times as dense as the truth a map is, by what its shells 2 to 5 say."""
    found, true = (np.fft.rfftn(one) for one in (volume, truth))
    shells = (radius_3d(BOX) * BOX > 1.5) & (radius_3d(BOX) * BOX < 5.5)
    return np.vdot(true[shells], found[shells]).real / np.vdot(true[shells], true[shells]).real


def test_grey_values_are_those_that_the_images_project(program, images, truth):
    """So that a projection with the CTF can be taken from the images, as RELION's subtraction does."""
    write_set(250 * images + 30)
    assert program("particles.star", "map.mrc", "--noinvert")[0] == 0
    assert low_slope(read_volume("map.mrc")[0], truth) == pytest.approx(250, rel=0.06)
    for half in (1, 2):
        assert low_slope(read_volume(f"map_half{half}.mrc")[0], truth) == pytest.approx(250, rel=0.06)


def test_the_resolution_told_is_that_of_the_table(program, noisy):
    _, out, _ = program("particles.star", "map.mrc", "--noinvert")
    told = resolution(np.loadtxt("map_fsc.txt")[:, 1], 0.143, PIXEL)
    assert f"(FSC 0.143) to {told:.3g} Å" in out


def test_a_mask_and_a_b_factor(program, noisy):
    """The table gets three columns; the sharpened map is the more contrasted the more negative the B-factor."""
    radius = np.linalg.norm(np.indices((BOX, BOX, BOX)) - BOX // 2, axis=0)
    write_volume("mask.mrc", np.clip(6 - radius, 0, 1).astype(np.float32), PIXEL)
    wanted = ("--mask", "mask.mrc", "--bfactor", "-400", "--local_resolution")
    code, out, _ = program("particles.star", "map.mrc", "--noinvert", *wanted)
    assert code == 0 and ", in the mask to" in out and "sharpened by a B-factor of -400 Å²" in out
    assert "local resolution in the mask" in out and "look at map_fsc.png" in out and Path("map_fsc.png").exists()
    local, pixel_size = read_volume("map_local_resolution.mrc")
    assert pixel_size == PIXEL and 2 * PIXEL <= local.min() < local.max() <= BOX * PIXEL
    assert np.median(local[radius < 4]) < np.median(local[radius > 8]), "the molecule is seen better than the solvent"
    table = np.loadtxt("map_fsc.txt")
    assert table.shape == (BOX // 2, 5) and "masked, corrected" in Path("map_fsc.txt").read_text()
    assert table[1:4, 4].min() > 0.9
    high = radius_3d(BOX) * BOX > 3.5

    def share(name):
        power = np.abs(np.fft.rfftn(read_volume(name)[0])) ** 2
        return power[high].sum() / power.sum()

    sharp = share("map_sharpened.mrc")
    assert program("particles.star", "map.mrc", "--noinvert", "--bfactor", "0")[0] == 0
    assert sharp > share("map_sharpened.mrc")
    code, _, err = program("particles.star", "map.mrc", "--noinvert", "--bfactor", "auto")
    assert code == 0 and "too few shells between 10 Å" in err and not Path("map_sharpened.mrc").exists()
    assert not Path("map_local_resolution.mrc").exists(), "it was not asked for again"
    write_volume("mask.mrc", 30 * np.ones((BOX, BOX, BOX), np.float32), PIXEL)
    code, _, err = program("particles.star", "other.mrc", "--mask", "mask.mrc")
    assert code == 1 and "expected those of a mask" in err and not Path("other.mrc").exists()


def test_dark_particles_are_inverted_when_said(program, images, truth):
    write_set(-images)
    assert program("particles.star", "map.hdf", "--invert", "--batchsz", 128)[0] == 0
    assert correlation(read_volume("map.hdf")[0], truth) >= 0.95
    assert read_hdf("map.hdf")[0]["ptcl_repr"] == COUNT
    assert read_log(".eman2log.txt")[-1][1:] == (os.getpid(), -1)


def test_crop_keeps_the_width(program, images, truth):
    write_set(images)
    assert program("particles.star", "map.mrc", "--noinvert", "--box", 12)[0] == 0
    volume, pixel_size = read_volume("map.mrc")
    assert volume.shape == (12, 12, 12) and pixel_size == pytest.approx(PIXEL * BOX / 12)


@pytest.fixture
def noisy(images):
    """Images in noise, in the current folder, and a class for each but every fifth."""
    noise = np.random.default_rng(1).normal(size=images.shape)
    particles = write_set(images + 0.5 * images.std() * noise)
    label = np.where(np.arange(COUNT) % 5 == 0, -1, np.arange(COUNT) % 3)
    write_classes(Path("classes.txt"), np.arange(COUNT), label)
    return particles, label


def test_a_class_is_reconstructed_as_its_own_list_is(program, noisy):
    particles, label = noisy
    Path("maps").mkdir()
    for name in ("resolution.txt", "class_07.mrc", "class_07_fsc.txt", "mine.mrc"):
        (Path("maps") / name).touch()
    code, out, _ = program("particles.star", "maps", "--classes", "classes.txt", "--noinvert")
    assert code == 0 and "3 maps" in out
    assert not list(Path("maps").glob("class_07*")) and Path("maps/mine.mrc").exists()
    rows = [line.split() for line in Path("maps/resolution.txt").read_text().splitlines()[1:]]
    assert [row[:2] for row in rows] == [[f"class_{k:02d}", str((label == k).sum())] for k in range(3)]
    assert Path("maps/fsc.png").exists()
    assert not Path("maps/class_00_network.mrc").exists()
    write_particles("own.star", particles.take(np.flatnonzero(label == 1)))
    assert program("own.star", "own.mrc", "--noinvert")[0] == 0
    for name in ("", "_half1", "_half2"):
        found, own = (read_volume(f"{stem}{name}.mrc")[0] for stem in ("maps/class_01", "own"))
        np.testing.assert_allclose(found, own, atol=1e-4 * np.abs(own).max())
    np.testing.assert_allclose(np.loadtxt("maps/class_01_fsc.txt"), np.loadtxt("own_fsc.txt"), atol=1e-4)


def test_every_image_counts_by_the_probability_of_its_class(program, noisy):
    """Certain ones give the maps of the classes; an image that may be of either is in both."""
    _, label = noisy
    certain = (label[:, None] == np.arange(3)).astype(float)
    np.savetxt("certain.txt", np.column_stack([np.arange(COUNT), certain]), fmt=["%d"] + ["%.3f"] * 3)
    assert program("particles.star", "maps", "--classes", "classes.txt", "--noinvert")[0] == 0
    code, out, err = program("particles.star", "soft", "--probabilities", "certain.txt", "--noinvert")
    assert code == 0 and "wrote 3 maps" in out, err
    for k in range(3):
        for name in ("", "_half1", "_half2"):
            hard, soft = (read_volume(f"{folder}/class_{k:02d}{name}.mrc")[0] for folder in ("maps", "soft"))
            np.testing.assert_allclose(soft, hard, atol=1e-4 * np.abs(hard).max())
    even = np.column_stack([np.arange(COUNT - 50), np.full((COUNT - 50, 2), 0.5)])
    np.savetxt("even.txt", even, fmt=["%d", "%.3f", "%.3f"])
    assert program("particles.star", "either", "--probabilities", "even.txt", "--noinvert")[0] == 0
    first, second = (read_volume(f"either/class_{k:02d}.mrc")[0] for k in range(2))
    np.testing.assert_array_equal(first, second)
    assert [line.split()[1] for line in Path("either/resolution.txt").read_text().splitlines()[1:]] == ["125", "125"]
    assert Path("either/fsc.png").exists()


def with_junk(particles):
    """Return particles of which every third is junk, more or less, and how much each counts."""
    junk = np.where(np.arange(len(particles)) % 3 == 0, np.linspace(0.5, 1, len(particles)), 0.0).round(4)
    return dataclasses.replace(particles, estimates=ParticleEstimates(np.ones(len(junk)), junk)), 1 - junk


def test_junk_counts_less_in_maps_of_states(program, noisy):
    """As the list states it: the same as of probabilities that are that much less."""
    particles, label = noisy
    listed, share = with_junk(particles)
    certain = (label[:, None] == np.arange(3)).astype(float)
    for name, weight in (("certain.txt", np.ones(COUNT)), ("less.txt", share)):
        table = np.column_stack([np.arange(COUNT), certain * weight[:, None]])
        np.savetxt(name, table, fmt=["%d"] + ["%.4f"] * 3)
    for name in ("junk.star", "junk.lst"):
        write_particles(name, listed)
        code, out, err = program(name, f"of_{name}", "--probabilities", "certain.txt", "--noinvert")
        assert code == 0 and f"together as much as {share.sum():.0f} of {COUNT}" in out + err, err
    assert program("particles.star", "less", "--probabilities", "less.txt", "--noinvert")[0] == 0
    for k in range(3):
        less = read_volume(f"less/class_{k:02d}.mrc")[0]
        for name in ("junk.star", "junk.lst"):
            found = read_volume(f"of_{name}/class_{k:02d}.mrc")[0]
            np.testing.assert_allclose(found, less, atol=1e-4 * np.abs(less).max())


def write_run(folder, particles, junk):
    """Write what a run folder says of its particles."""
    Path(folder).mkdir(exist_ok=True)
    write_record(Path(folder), particles)
    one = np.ones(len(junk))
    write_findings(Path(folder) / "particles_00.txt", ParticleFindings(one, 0 * one, 0 * one, junk))


def test_junk_of_the_run_counts_less_where_the_list_states_none(program, noisy):
    """Of the images that the run knows, in whatever order; what a list states goes before."""
    particles, label = noisy
    listed, share = with_junk(particles)
    known = np.random.default_rng(3).permutation(COUNT)[:200]
    write_run("hype_00", particles.take(known), (1 - share)[known])
    certain = np.column_stack([np.arange(COUNT), label[:, None] == np.arange(3)])
    Path("hype_00/segmentations/one").mkdir(parents=True)
    for folder in ("hype_00", "hype_00/segmentations/one"):
        np.savetxt(f"{folder}/probabilities_region_01.txt", certain, fmt="%d")
    weights = np.ones(COUNT)
    weights[known] = share[known]
    stated = dataclasses.replace(listed, estimates=ParticleEstimates(np.ones(COUNT), 1 - weights))
    write_particles("stated.star", stated)
    nothing = dataclasses.replace(listed, estimates=ParticleEstimates(np.ones(COUNT), np.zeros(COUNT)))
    write_particles("nothing.star", nothing)
    table = "hype_00/probabilities_region_01.txt"
    said = {}
    for name, own in (("particles", table), ("kept", table.replace("00/", "00/segmentations/one/")), ("stated", table)):
        listed = "particles.star" if name == "kept" else f"{name}.star"
        code, out, err = program(listed, name, "--probabilities", own, "--noinvert")
        assert code == 0, err
        said[name] = out + err
    assert "hype_00 has found, as particles.star does not state it" in said["particles"]
    assert f"together as much as {weights.sum():.0f} of {COUNT}" in said["particles"]
    assert "which the list states" in said["stated"]
    assert "junk" not in "".join(program("nothing.star", "nothing", "--probabilities", table, "--noinvert")[1:])
    for k in range(3):
        found, kept, stated = (read_volume(f"{one}/class_{k:02d}.mrc")[0] for one in ("particles", "kept", "stated"))
        np.testing.assert_allclose(found, stated, atol=1e-3 * np.abs(stated).max())
        np.testing.assert_array_equal(kept, found)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("0 0.5 1.5\n", "holds 1.5; expected probabilities, 0 to 1"),
        ("0 0.5 0.5\n0 1 0\n", "names a particle twice"),
        ("0 1 0\n", "class 1: no particle has a probability of 0.001 or more"),
        ("300 1 0\n", "no particle 300; there are 300"),
        ("# particle, probability of each class; of list 0123456789abcdef 16\n0 1 0\n", "of another list"),
    ],
)
def test_mistakes_of_probabilities(program, noisy, lines, message):
    Path("odd.txt").write_text(lines)
    code, _, err = program("particles.star", "maps", "--probabilities", "odd.txt", "--noinvert")
    assert code == 1 and message in err.splitlines()[-1] and not list(Path(".").glob("maps/class_01*"))


@pytest.mark.parametrize("arguments", [(), ("--classes", "classes.txt"), ("--probabilities", "classes.txt")])
def test_maps_that_memory_cannot_hold_are_refused(program, noisy, arguments, monkeypatch):
    monkeypatch.setattr("libhetero.files.memory.free_memory", lambda: 10**5)
    code, _, err = program("particles.star", "maps" if arguments else "map.mrc", *arguments, "--noinvert")
    assert code == 1 and f"a map of {BOX} voxels to a side: about 1.953 MiB" in err and "(--box)" in err
    assert not list(Path(".").glob("map*"))


def test_half_sets_of_the_list_are_kept_in_every_class(program, noisy):
    particles, label = noisy
    half = (np.arange(COUNT) // 7) % 2
    write_particles("halves.star", dataclasses.replace(particles, half_set=half))
    assert program("halves.star", "maps", "--classes", "classes.txt", "--noinvert")[0] == 0
    write_particles("one.star", particles.take(np.flatnonzero((label == 2) & (half == 0))))
    program("one.star", "one.mrc", "--noinvert")
    halves = [read_volume(f"maps/class_02_half{number}.mrc")[0] for number in (1, 2)]
    alone = read_volume("one.mrc")[0]
    assert correlation(alone, halves[0]) > correlation(alone, halves[1])


def test_a_run_is_compared_with_its_data(program, tmp_path, monkeypatch):
    """The true volumes agree with the maps; those of exchanged labels do not."""
    truth = simulated(tmp_path / "mixture", "mixture", 192)
    write_classes(Path("classes.txt"), np.arange(192), truth.labels)
    areas = []
    wrong = (truth.labels + 1) % 3
    for name, labels, centre in (("true", truth.labels, "mean"), ("wrong", wrong, "medoid")):
        trained = volume_run(tmp_path / name, truth, labels)
        (tmp_path / name / "config.json").touch()
        monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, trained=trained: trained)
        code, out, _ = program(name, f"maps_{name}", "--classes", "classes.txt", "--centre", centre)
        assert code == 0 and "network's volume and the map to" in out
        table = np.loadtxt(f"maps_{name}/class_01_fsc.txt")
        areas.append(table[1:5, 2].mean())
        assert read_volume(f"maps_{name}/class_01_network.mrc")[0].shape == (16, 16, 16)
    assert areas[0] > 0.9 > areas[1] + 0.1
    assert len(Path("maps_true/resolution.txt").read_text().splitlines()[1].split()) == 4


def test_maps_of_a_run_are_on_the_grey_scale_of_the_stack(program, tmp_path, monkeypatch):
    """Whatever training divided the images by: the network's volume is multiplied by it, the map is not changed."""
    truth = simulated(tmp_path / "mixture", "mixture", 192)
    true = truth.map(np.flatnonzero(truth.labels == 1)[0])
    write_classes(Path("classes.txt"), np.arange(192), truth.labels)
    trained = volume_run(tmp_path / "trained", truth)
    (tmp_path / "trained" / "config.json").touch()
    for preprocess, divisor in ((PreprocessConfig(deviation=4.0), 4.0), (PreprocessConfig(normalise="none"), 1.0)):
        data = dataclasses.replace(trained.config.data, preprocess=preprocess)
        run = dataclasses.replace(trained, config=dataclasses.replace(trained.config, data=data))
        monkeypatch.setattr("libhetero.pipelines.run.folder.open_run", lambda folder, run=run: run)
        assert program("trained", "maps", "--classes", "classes.txt")[0] == 0
        network, volume = (read_volume(f"maps/class_01{end}.mrc")[0] for end in ("_network", ""))
        np.testing.assert_allclose(network, divisor * true, rtol=1e-4, atol=1e-5 * true.max())
        assert low_slope(volume, true) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("particles.star maps --classes absent.txt", "absent.txt: no such file"),
        ("particles.star maps --classes none.txt", "none.txt: no particle is in a class"),
        ("particles.star maps --classes many.txt", "no particle 300; there are 300"),
        ("particles.star maps.mrc --classes classes.txt", "maps.mrc: expected a folder"),
        ("particles.star maps --classes classes.txt --centre mean", "--centre is of a run's volumes"),
        ("particles.star map.mrc --centre mean", "--centre goes with --classes"),
        ("trained map.mrc", "trained: a run folder; expected a particle list, or --classes"),
        ("trained maps --classes classes.txt --invert --box 12", "options of a list (--invert, --box)"),
    ],
)
def test_mistakes_of_classes(program, noisy, arguments, message):
    Path("none.txt").write_text("0 -1\n1 -1\n")
    Path("many.txt").write_text("0 1\n300 1\n")
    Path("trained").mkdir()
    Path("trained/config.json").touch()
    code, _, err = program(*arguments.split())
    assert code == 1
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent.star map.mrc", "absent.star: no such file"),
        ("particles.star map.txt", "map.txt: expected a map name ending in .mrc or .hdf"),
        ("particles.star map.mrc --batchsz 0", "--batchsz: expected 1 to 65536; got '0'"),
        ("particles.star map.mrc --box 15", "odd; expected an even one"),
        ("particles.star map.mrc --box 32", "--box 32 is larger than the particles' 16 pixels"),
        ("particles.mrcs map.mrc", "no poses"),
    ],
)
def test_mistakes(program, images, arguments, message):
    write_set(images)
    code, _, err = program(*arguments.split())
    assert code == (2 if err.endswith(" --help.\n") else 1)  # 2 for the value of one option
    assert message in err and err.count("\n") == 1 and err.startswith("e2hype_make3d.py: ")


def test_an_image_that_is_not_finite_is_left_out(program, images):
    spoilt = images.copy()
    spoilt[7, 3, 3] = np.nan
    write_set(spoilt)
    code, _, warned = program("particles.star", "spoilt.mrc")
    assert code == 0 and "image 8 has pixels that are not finite" in warned
    write_set(np.where(np.arange(COUNT)[:, None, None] == 7, 0, images))
    assert program("particles.star", "without.mrc")[0] == 0
    spoilt, without = read_volume("spoilt.mrc")[0], read_volume("without.mrc")[0]
    assert np.corrcoef(spoilt.ravel(), without.ravel())[0, 1] > 0.999


@pytest.fixture
def moving_run(tmp_path, monkeypatch):
    """A simulated motion without noise, and a run whose Gaussians do what its atoms do."""
    truth = simulated(tmp_path / "motion", "motion", 400, rmsd=4.0)
    run = gaussian_run(tmp_path / "hype_00", truth)
    write_latent(tmp_path / "hype_00" / "mid_00.txt", np.arange(400), np.arange(400.0)[:, None])
    monkeypatch.setattr("libhetero.pipelines.maps.deforming.open_run", lambda folder: run)
    return run, truth


def test_particles_that_move_are_put_back_to_rest(program, moving_run):
    """What moves is sharper by far than in the map of particles at rest; a part in another order is the same."""
    _, truth = moving_run
    program("motion/particles.star", "plain.mrc")
    code, out, err = program("motion/particles.star", "deformed.mrc", "--deform", "hype_00")
    assert code == 0 and "trained on all of its 400 particles" in out + err and "half-maps agree" in out + err
    rest = truth.map(0)
    mask = np.clip(10 * (rest / rest.max() - 0.05), 0, 1).astype(np.float32)

    def error(name):
        return float(np.sum(1 - masked_fsc(read_volume(name)[0], rest, mask)[4:7]))

    assert error("deformed.mrc") < 0.55 * error("plain.mrc")
    assert Path("deformed_fsc.png").exists() and particles_in_map("deformed_half1.mrc") is None
    listed = read_particles("motion/particles.star")
    order = np.random.default_rng(0).permutation(400)
    for name, chosen in (("some.star", np.sort(order[:200])), ("mixed.star", order[:200])):
        write_particles(name, dataclasses.replace(listed.take(chosen), half_set=chosen % 2))
        assert program(name, f"{name}.mrc", "--deform", "hype_00")[0] == 0
    some, mixed = (read_volume(f"{name}.star.mrc")[0] for name in ("some", "mixed"))
    np.testing.assert_allclose(mixed, some, atol=1e-3 * some.max())
    assert error("some.star.mrc") < error("plain.mrc")


def test_junk_counts_less_in_deformed_maps(program, moving_run):
    """Junk that is certain not at all: the map, and its number of particles, are those of the others."""
    listed = read_particles("motion/particles.star")
    listed = dataclasses.replace(listed, half_set=np.arange(400) // 2 % 2)
    junk = (np.arange(400) % 2).astype(float)
    estimated = dataclasses.replace(listed, estimates=ParticleEstimates(np.ones(400), junk))
    for name, particles in (("all.star", estimated), ("some.star", listed.take(junk == 0)), ("plain.star", listed)):
        write_particles(name, particles)
        if name == "plain.star":  # which does not state it: the run does
            write_run("hype_00", listed, junk)
        code, out, err = program(name, f"{name}.mrc", "--deform", "hype_00")
        assert code == 0, err
    assert "hype_00 has found, as plain.star does not state it: together as much as 200 of 400" in out + err
    found, some, plain = (read_volume(f"{name}.star.mrc")[0] for name in ("all", "some", "plain"))
    np.testing.assert_allclose(found, some, atol=1e-3 * some.max())
    np.testing.assert_allclose(plain, some, atol=1e-3 * some.max())
    assert particles_in_map("all.star.mrc") == particles_in_map("plain.star.mrc") == 200


def test_deformed_maps_that_memory_cannot_hold_are_refused(program, moving_run, monkeypatch):
    """Where the map of particles at rest could be held: before latents are looked for."""
    run, _ = moving_run
    (run.folder / "mid_00.txt").unlink()
    monkeypatch.setattr("libhetero.files.memory.free_memory", lambda: 520 * BOX**3)
    code, _, err = program("motion/particles.star", "map.mrc", "--deform", "hype_00")
    assert code == 1 and f"--deform: a map of {BOX} voxels to a side, of which " in err and "(--batchsz)" in err
    assert not Path("map.mrc").exists() and not (run.folder / "mid_00.txt").exists()


def test_mistakes_of_deformed_maps(program, moving_run, tmp_path, monkeypatch):
    run, truth = moving_run
    listed = read_particles("motion/particles.star")
    write_particles("others.star", dataclasses.replace(listed, image_index=listed.image_index[::-1].copy()))
    still = gaussian_run(tmp_path / "still", truth, sluggish=0.0)
    write_latent(tmp_path / "still" / "mid_00.txt", np.arange(400), np.arange(400.0)[:, None])
    part = dataclasses.replace(run, particles=run.particles.take(np.arange(300)))
    for trained, message in ((still, "its Gaussians do not move"), (part, "particle 300 (from 0), image 300 of")):
        monkeypatch.setattr("libhetero.pipelines.maps.deforming.open_run", lambda folder, trained=trained: trained)
        code, _, err = program("motion/particles.star", "map.mrc", "--deform", "hype_00")
        assert code == 1 and message in err.splitlines()[-1] and not Path("map.mrc").exists()
    monkeypatch.setattr("libhetero.pipelines.maps.deforming.open_run", lambda folder: run)
    code, _, err = program("motion/particles.star", "map.mrc", "--deform", "hype_00", "--sym", "c2")
    assert code == 1 and "--sym c2: the Gaussians of hype_00 have c1" in err and not Path("map.mrc").exists()
    moved = dataclasses.replace(listed.pose, shift=listed.pose.shift + np.float32(3))
    write_particles("moved.star", dataclasses.replace(listed, pose=moved))
    code, _, err = program("moved.star", "map.mrc", "--deform", "hype_00")
    assert code == 0 and "shifted by 4.2 Å (medians) from those that the displacements go with" in err
    write_classes(Path("classes.txt"), np.arange(400), np.arange(400) % 2)
    both = ("--deform", "hype_00", "--classes", "classes.txt")
    code, _, err = program("motion/particles.star", "maps", *both)
    assert code == 2 and "not allowed with" in err
