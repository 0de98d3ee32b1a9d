"""The simulation program: options to folder, one-line errors, the same set for the same seed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from libhetero.cli import configuration_of
from libhetero.errors import ConfigurationError
from libhetero.io import ImageReader, read_particles, read_volume, write_volume
from libhetero.pipelines.scoring.truth import open_truth, places_in_truth
from libhetero.pipelines.simulate import SimulateConfig
from libhetero.pipelines.simulating.building import build, ctf_table
from libhetero.pipelines.simulating.work import begun_with, gpu_to_share
from libhetero.simulate import steps
from libhetero.simulate.configuration import NuisanceConfig
from tests.making.commands import HYPE
from tests.reference.shared_data import shared_file

SMALL = ["--n", "40", "--box", "24", "--apix", "5", "--diameter", "70", "--threads", "2"]


@pytest.fixture
def program(load_program: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    return load_program("e2hype_simulate.py")


def _images(folder: str) -> np.ndarray:
    particles = read_particles(f"{folder}/particles.star")
    return ImageReader(particles).read(np.arange(len(particles)))


def test_same_seed_same_files(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    command = ["assembly", "one", *SMALL]
    assert program.main(command) == 0
    said = capsys.readouterr().out
    assert "particles 40/40" in said and "protein white" in said and "left" in said
    truth = json.loads(Path("one/truth/truth.json").read_text())
    assert truth["pieces"] == 4 and truth["source"]["generated"]
    assert program.main(["assembly", "two", *command[2:]]) == 0
    assert Path("one/particles.mrcs").read_bytes() == Path("two/particles.mrcs").read_bytes()
    assert program.main(["assembly", "dark", *command[2:], "--dark"]) == 0
    np.testing.assert_array_equal(_images("dark"), -_images("one"))
    assert read_particles("dark/particles.lst").contrast == -1
    log = Path(".eman2log.txt").read_text().splitlines()
    assert len(log) == 3 and "e2hype_simulate.py assembly one" in log[0]


@pytest.mark.parametrize("done", [0, 1])
def test_a_set_that_is_stopped_says_what_is_kept_and_how_to_go_on(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, done: int
) -> None:
    """In one line, before and after there is anything to keep."""
    work, calls = steps.SetWorker.__call__, []

    def stopping(self: steps.SetWorker, *arguments: object) -> object:
        calls.append(1)
        if len(calls) > done:
            raise KeyboardInterrupt
        return work(self, *arguments)

    monkeypatch.setattr(steps.SetWorker, "__call__", stopping)
    assert program.main(["assembly", "set", *SMALL]) == 130
    kept = f"what was rendered is kept in {Path('.set.part').absolute()}. The same command with --resume goes on."
    expected = kept if done else "nothing of set was rendered. The same command begins anew."
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"stopped by Ctrl-C; {expected}")
    assert Path(".set.part").exists() == bool(done)


def _write_maps(count: int, n: int = 24) -> list[str]:
    """Write map0.mrc and so on: a random cube in the middle of the box."""
    rng, names = np.random.default_rng(0), [f"map{k}.mrc" for k in range(count)]
    for name in names:
        volume = np.zeros((n, n, n), np.float32)
        volume[n // 3 : -n // 3, n // 3 : -n // 3, n // 3 : -n // 3] = rng.random((n // 3,) * 3)
        write_volume(name, volume, 5.0)
    return names


def test_mixture_of_maps_with_ctfs_of_a_list(program: ModuleType) -> None:
    _write_maps(2)
    assert program.main(["assembly", "ctfs", *SMALL]) == 0
    options = ["--map", "map0.mrc", "map1.mrc", "--ctf_from", "ctfs/particles.star"]
    assert program.main(["mixture", "maps", *SMALL, *options]) == 0
    given, taken = ctf_table("ctfs/particles.star"), ctf_table("maps/particles.star")
    assert np.isin(np.round(taken.defocus_u), np.round(given.defocus_u)).all()
    truth = json.loads(Path("maps/truth/truth.json").read_text())
    assert truth["structure_names"] == ["map0", "map1"]


@pytest.mark.parametrize(
    "options, words",
    [
        (["assembly", "out", "--pdb", "none.cif"], "none.cif"),
        (["assembly", "out", "--pdb", "a.cif", "b.cif"], "expected one --pdb"),
        (["motion", "out", "--map", "a.mrc"], "a --map for each piece"),
        (["assembly", "out", "--segments", "a.json"], "give one --pdb"),
        (["mixture", "out", "--map", "a.mrc", "--pdb", "b.pdb"], "not both"),
        (["assembly", "out", "--noctf", "--ctf-from", "a.star"], "contradict"),
        (["motion", "out", "--noctf", "--defocus-error", "100"], "--noctf and --defocus_error contradict"),
        (["mixture", "out", "--snr", "0", "--junk", "0.1"], "--junk needs noise"),
        (["assembly", "out", "--snr", "0", "--noise_colour", "4"], "--noise_colour needs noise"),
        (["assembly", "out", "--crop", "66"], "--crop: expected at most the box of 64 pixels; got 66"),
        (["assembly", "out", "--defocus", "2", "1"], "--defocus: expected the lower defocus first; got 2 1"),
        (["assembly", "no/out", *SMALL], "does not exist"),
        (["assembly", "out", *SMALL, "--moving", "9"], "--moving: there is no piece 9; expected numbers from 1 to 3"),
        (["motion", "out", "--moving", "1"], "--moving applies to an assembly or a mixture"),
        (["mixture", "out", "--moving", "5"], "--moving: there is no structure 5; expected numbers from 1 to 4"),
        (["mixture", "out", "--map", "a.mrc", "b.mrc", "--moving", "1"], "maps are not cut in pieces that move"),
        (["assembly", "out", "--rmsd", "3"], "--rmsd applies to motion, or with --moving"),
        (["assembly", "out", "--noctf", "--tilts", "-60,60,3"], "--noctf and --tilts contradict"),
        (["mixture", "out", "--dose", "2"], "--dose goes with --tilts"),
        (["motion", "out", "--n", "300000", "--tilts", "-60,60,3"], "--n: expected at most 243902, of 41 tilts each"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], words: str, program: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    assert program.main(options) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (["assembly"], "required: OUT"),
        (["disassembly", "out"], "invalid choice: 'disassembly'"),
        (["assembly", "out", "--box", "25"], "--box: expected an even number, 8 to 4096; got '25'"),
        (["assembly", "out", "--n", "0"], "--n: expected 1 to 10000000; got '0'"),
        (["assembly", "out", "--bfactor", "-1"], "--bfactor: expected 0 or more and less than 10000; got '-1'"),
        (["motion", "out", "--angle", "200"], "--angle: expected 0 to 180; got '200'"),
        (["assembly", "out", "--probability", "2"], "--probability: expected 0 to 1; got '2'"),
        (["assembly", "out", "--bfactor", "much"], "--bfactor: expected a number of Å², or file; got 'much'"),
        (["assembly", "out", "--tilts", "60"], "--tilts: expected FROM,TO,STEP in degrees, such as -60,60,3; got '60'"),
        (["assembly", "out", "--tilts", "-60,60,x"], "such as -60,60,3; got '-60,60,x'"),
        (["assembly", "out", "--tilts", "60,-60,3"], "the lower tilt first and a step above 0; got '60,-60,3'"),
        (["assembly", "out", "--tilts", "-60,60,-3"], "the lower tilt first and a step above 0; got '-60,60,-3'"),
        (["assembly", "out", "--tilts", "-90,90,3"], "--tilts: expected tilts within ± 85 degrees; got '-90,90,3'"),
        (["assembly", "out", "--tilts", "0,0,3"], "--tilts: expected 2 to 10000 tilts; got '0,0,3'"),
        (["assembly", "out", "--tilts", "nan,0,3"], "--tilts: expected a finite number; got 'nan,0,3'"),
        *(
            (
                ["assembly", "out", "--share", text],
                f"--share: expected I/N with I from 1 to N, such as 2/4; got '{text}'",
            )
            for text in ("0/4", "5/4", "2", "a/b")
        ),
    ],
)
def test_wrong_options_exit_with_two(
    options: list[str], words: str, program: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    assert program.main(options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def _asked(program: ModuleType, *options: str) -> SimulateConfig:
    return configuration_of(program.build_parser().parse_args(["assembly", "out", *options]), SimulateConfig)


def test_options_are_kept_in_internal_units(program: ModuleType) -> None:
    config = _asked(program, "--angle", "90", "--defocus", "0.3", "2", "--snr", "0", "--dark")
    assert config.max_angle == math.radians(90) and config.defocus == (3e3, 2e4)
    assert config.snr is None and config.contrast == -1
    imaging = build(config).imaging
    assert imaging.ctf.defocus == config.defocus and imaging.contrast == -1 and imaging.snr is None
    assert build(_asked(program, "--noctf")).imaging.ctf is None


def test_nuisances_reach_the_simulation_of_every_kind() -> None:
    for kind in ("assembly", "motion", "mixture"):
        config = SimulateConfig(kind, "set", pose_error=0.1, junk=0.2, micrographs=7, snr=0.5, views=1.0)
        imaging = build(config).imaging
        assert imaging.nuisances == NuisanceConfig(pose_error=0.1, junk=0.2, micrographs=7, views=1.0)
        assert imaging.snr == 0.5 and imaging.contrast == 1


def test_b_factor_option(program: ModuleType) -> None:
    assert _asked(program, "--bfactor", "file").b_factor is None and _asked(program, "--bfactor", "0").b_factor == 0.0


def test_share_option(program: ModuleType) -> None:
    assert _asked(program, "--share", "2/4").share == (2, 4) and _asked(program).share == (1, 1)
    with pytest.raises(ConfigurationError, match="--share: expected I/N"):
        SimulateConfig("mixture", "out", share=(5, 4))


def test_real_mixture_is_described_without_reading_all() -> None:
    models = [shared_file("structures", "mixture", "cif", f"{name}.cif.gz") for name in ("5LD5", "1BXN")]
    config = SimulateConfig("mixture", "out", particles=8, box_size=24, pixel_size=8.0, models=tuple(map(str, models)))
    simulation = build(config)
    assert simulation.structures == 2
    structure = simulation.load_structure(0)
    assert structure.names == ("5LD5",) and 90 < structure.points().diameter < 115
    volume = structure.map(None, 24, 8.0)
    assert np.isclose(volume.sum(), structure.points().weight.sum(), rtol=1e-4)


def test_motion_of_a_wanted_rmsd(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert program.main(["motion", "moving", *SMALL, "--rmsd", "2.2"]) == 0
    assert "mean RMSD 2.2 Å" in capsys.readouterr().out
    truth = json.loads(Path("moving/truth/truth.json").read_text())
    assert 0.01 < truth["max_angle"] < 1
    angles = np.load("moving/truth/angles.npy")
    assert np.abs(angles).max() <= truth["max_angle"] * (1 + 1e-6)
    assert program.main(["motion", "far", *SMALL, "--rmsd", "500"]) == 1
    assert program.main(["assembly", "still", *SMALL, "--rmsd", "2"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "half a turn" in said[0] and "applies to motion" in said[1]


def test_some_structures_of_a_mixture_move(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    options = [*SMALL, "--structures", "3", "--moving", "3", "1", "--pieces", "1", "--rmsd", "3"]
    assert program.main(["mixture", "moving", *options]) == 0
    assert capsys.readouterr().out.count("mean RMSD 3 Å") == 2
    truth, said = open_truth("moving/truth"), json.loads(Path("moving/truth/truth.json").read_text())
    moving = {one["structure"]: one["max_angle"] for one in said["moving_structures"]}
    assert list(moving) == [0, 2] and moving[0] != moving[2]
    for k in range(3):
        most = np.abs(truth.angles[truth.labels == k]).max()
        assert 0.5 * moving.get(k, 0) < most <= moving[k] if k in moving else most == 0
        whole = read_volume(f"moving/truth/map_00{k}.mrc")[0]
        pieces = [read_volume(path)[0] for path in Path("moving/truth").glob(f"map_00{k}_piece_*.mrc")]
        assert len(pieces) == (2 if k in moving else 0)
        if pieces:
            np.testing.assert_allclose(sum(pieces), whole, atol=1e-4 * whole.max())
    assert program.main(["mixture", "still", *SMALL, "--structures", "3"]) == 0
    np.testing.assert_array_equal(read_volume("still/truth/map_000.mrc")[0], read_volume("moving/truth/map_000.mrc")[0])
    assert not Path("still/truth/angles.npy").exists()


def _contents(folder: str) -> dict[str, bytes]:
    """Return every file's bytes, with the same name of the folder inside lists."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes().replace(f"{folder}/".encode(), b"set/") for path in files}


def test_a_killed_program_goes_on(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    maps = _write_maps(2, 12) * 20
    options = ["--n", "200", "--box", "12", "--apix", "5", "--threads", "1", "--map", *maps]
    record = Path(".one.part/done_1_of_1.jsonl")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, program.__file__, "mixture", "one", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (record.exists() and record.read_text().count("structure") >= 5):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not Path("one").exists() and record.exists()
    assert program.main(["mixture", "one", *options]) == 1
    assert program.main(["mixture", "one", *options, "--resume", "--snr", "2", "--n", "100"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "go on with --resume, or remove" in said[0]
    assert "--n is 200, asked for 100; --snr is 0.1, asked for 2.0" in said[1]
    assert program.main(["mixture", "one", *options, "--resume"]) == 0
    assert program.main(["mixture", "two", *options, "--resume"]) == 0, "nothing to go on with"
    assert _contents("one") == _contents("two")
    assert not any(path.name.endswith(".part") for path in Path().iterdir())


def test_a_tilt_series_of_every_kind(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    options = ["--n", "6", "--box", "24", "--apix", "5", "--diameter", "70", "--tilts", "-40,40,20", "--dose", "2.5"]
    for kind in ("assembly", "motion", "mixture"):
        assert program.main([kind, kind, *options]) == 0
        assert f"{kind}: 6 particles, each at 5 tilts, of 24 pixels" in capsys.readouterr().out
        particles, truth = read_particles(f"{kind}/particles.star"), open_truth(f"{kind}/truth")
        assert len(particles) == truth.particles == 30 and len(np.unique(particles.group)) == 6
        of_images = truth.labels if kind == "mixture" else truth.angles if kind == "motion" else truth.states
        np.testing.assert_array_equal(of_images, np.repeat(of_images[::5], 5, axis=0))
        np.testing.assert_array_equal(particles.tilt[5:10], [0, 20, -20, -40, 40])
        np.testing.assert_allclose(particles.ctf.exposure[5:10], [1.25, 3.75, 6.25, 8.75, 11.25])


def test_an_interrupted_tilt_series_goes_on(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    options = ["--n", "10", "--box", "12", "--apix", "5", "--map", *_write_maps(2, 12), "--tilts", "-20,20,10"]
    assert program.main(["mixture", "set", *options, "--share", "2/2"]) == 0
    assert program.main(["mixture", "set", *options[:-1], "-20,20,5", "--share", "1/2"]) == 1
    assert "--tilts is [-20.0, 20.0, 10.0], asked for [-20.0, 20.0, 5.0]" in capsys.readouterr().err
    assert program.main(["mixture", "set", *options, "--share", "1/2"]) == 0
    assert program.main(["mixture", "one", *options]) == 0
    assert _contents("set") == _contents("one")


def test_sets_without_tilts_are_begun_as_they_were() -> None:
    assert not {"tilts", "dose"} & begun_with(SimulateConfig("mixture", "out")).keys()
    asked = begun_with(SimulateConfig("mixture", "out", tilts=(-60.0, 60.0, 3.0), dose=2.0))
    assert asked["tilts"] == [-60.0, 60.0, 3.0] and asked["dose"] == 2.0


def test_ctfs_of_a_tilt_series_are_those_of_its_optics(program: ModuleType) -> None:
    """Its images' own exposures are none of a set that takes defoci from it."""
    options = ["--n", "6", "--box", "24", "--apix", "5", "--diameter", "70"]
    assert program.main(["assembly", "tilted", *options, "--tilts", "-40,40,20"]) == 0
    assert ctf_table("tilted/particles.star").exposure is None


def test_shares_of_a_program(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    options = ["--n", "40", "--box", "12", "--apix", "5", "--map", *_write_maps(2, 12)]
    assert program.main(["mixture", "set", *options, "--share", "2/2"]) == 0
    assert "share 2 of 2 is done" in capsys.readouterr().out and not Path("set").exists()
    assert program.main(["mixture", "set", *options, "--share", "1/2"]) == 0
    assert program.main(["mixture", "one", *options]) == 0
    assert _contents("set") == _contents("one")
    assert program.main(["mixture", "set", *options, "--share", "2/2"]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_subset_trains_and_scores_as_it_is(program: ModuleType, load_program: Callable[[str], ModuleType]) -> None:
    """Forty particles of four structures, twenty of the first two."""
    options = ["--n", "40", "--box", "12", "--apix", "5", "--map", *_write_maps(4, 12)]
    assert program.main(["mixture", "set", *options, "--subsets", "3", "2", "2"]) == 0
    assert json.loads(Path("set/truth/truth.json").read_text())["subsets"] == [2, 3]
    assert sorted(path.name for path in Path("set").glob("*.star")) == [
        "particles.star",
        "particles_0002.star",
        "particles_0003.star",
    ]
    refine, score = load_program("e2hype_refine.py"), load_program("e2hype_score.py")
    training = ["--niter", "1", "--batchsz", "10", "--noinvert"]
    assert refine.main(["set/particles_0002.star", *HYPE, *training]) == 0
    assert score.main(["hype_00", "--images", "0", "--json", "score.json"]) == 0
    values = json.loads(Path("score.json").read_text())
    assert values["particles"] == 20 and values["labels"]["kmeans"]["classes"] == 2
    truth, particles = open_truth("set/truth"), read_particles("set/particles_0002.lst")
    places = places_in_truth(particles, truth)
    assert sorted(truth.labels[places]) == 10 * [0] + 10 * [1]
    true, _ = read_volume(f"set/truth/map_00{truth.labels[places[7]]}.mrc")
    np.testing.assert_array_equal(truth.map(int(places[7])), true)


def test_the_order_of_subsets_makes_no_other_set() -> None:
    one, other = (begun_with(SimulateConfig("mixture", "out", subsets=subsets)) for subsets in ((3, 2, 2), (2, 3)))
    assert one == other and one["subsets"] == [2, 3]


def test_several_processes_do_not_take_a_gpu_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    monkeypatch.delenv(name, raising=False)
    for processes, value in ((1, None), (2, "false")):
        with gpu_to_share(processes):
            assert os.environ.get(name) == value
        assert name not in os.environ
    monkeypatch.setenv(name, "true")
    with gpu_to_share(2):
        assert os.environ[name] == "true"
    assert os.environ[name] == "true"


def test_a_large_mixture_is_described_at_once() -> None:
    """A thousand complexes are made when they are asked for."""
    start = time.process_time()
    simulation = build(SimulateConfig("mixture", "out", particles=1000, structures=1000))
    assert simulation.structures == 1000 and time.process_time() - start < 1
