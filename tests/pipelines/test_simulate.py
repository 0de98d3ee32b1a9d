"""The simulation program: options to folder, one-line errors, the same set for the same seed."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from libhetero.errors import ConfigurationError
from libhetero.io import ImageReader, read_particles, write_volume
from libhetero.pipelines.simulate import SimulateConfig, build, ctf_table, parse_b_factor
from tests.reference.shared_data import shared_file

SMALL = ["--n", "40", "--box", "24", "--apix", "5", "--diameter", "70", "--threads", "2"]


@pytest.fixture
def program(load_program: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    return load_program("e2hype_simulate.py")


def _images(folder: str) -> np.ndarray:
    particles = read_particles(f"{folder}/particles.star")
    return ImageReader(particles).read(np.arange(len(particles)))


def test_same_seed_same_files(program: ModuleType, capsys: pytest.CaptureFixture) -> None:
    command = ["assembly", "one", *SMALL]
    assert program.main(command) == 0
    said = capsys.readouterr().out
    assert "40 of 40 particles" in said and "protein white" in said and "left" in said
    truth = json.loads(Path("one/truth/truth.json").read_text())
    assert truth["pieces"] == 4 and truth["source"]["generated"]
    assert program.main(["assembly", "two", *command[2:]]) == 0
    assert Path("one/particles.mrcs").read_bytes() == Path("two/particles.mrcs").read_bytes()
    assert program.main(["assembly", "dark", *command[2:], "--dark"]) == 0
    np.testing.assert_array_equal(_images("dark"), -_images("one"))
    assert read_particles("dark/particles.lst").contrast == -1
    log = Path(".eman2log.txt").read_text().splitlines()
    assert len(log) == 3 and "e2hype_simulate.py assembly one" in log[0]


def test_mixture_of_maps_with_ctfs_of_a_list(program: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for k in range(2):
        volume = np.zeros((24, 24, 24), np.float32)
        volume[8:16, 8:16, 8:16] = rng.random((8, 8, 8))
        write_volume(f"map{k}.mrc", volume, 5.0)
    assert program.main(["assembly", "ctfs", *SMALL]) == 0
    options = ["--map", "map0.mrc", "map1.mrc", "--ctf-from", "ctfs/particles.star"]
    assert program.main(["mixture", "maps", *SMALL, *options]) == 0
    given, taken = ctf_table("ctfs/particles.star"), ctf_table("maps/particles.star")
    assert np.isin(np.round(taken.defocus_u), np.round(given.defocus_u)).all()
    truth = json.loads(Path("maps/truth/truth.json").read_text())
    assert truth["structure_names"] == ["map0", "map1"]


@pytest.mark.parametrize(
    "options, words",
    [
        (["assembly", "out", "--box", "25"], "even"),
        (["assembly", "out", "--n", "0"], "at least 1"),
        (["assembly", "out", "--pdb", "none.cif"], "none.cif"),
        (["assembly", "out", "--pdb", "a.cif", "b.cif"], "expected one --pdb"),
        (["motion", "out", "--map", "a.mrc"], "a --map for each piece"),
        (["assembly", "out", "--segments", "a.json"], "give one --pdb"),
        (["mixture", "out", "--map", "a.mrc", "--pdb", "b.pdb"], "not both"),
        (["assembly", "out", "--noctf", "--ctf-from", "a.star"], "contradict"),
        (["assembly", "out", "--bfactor", "much"], "--bfactor"),
        (["motion", "out", "--angle", "200"], "0 to 180 degrees"),
        (["assembly", "out", "--probability", "2"], "0 to 1"),
        (["assembly", "no/out", *SMALL], "does not exist"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], words: str, program: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    assert program.main(options) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_wrong_options_exit_with_two(program: ModuleType) -> None:
    assert program.main(["assembly"]) == 2
    assert program.main(["disassembly", "out"]) == 2


def test_b_factor_option() -> None:
    assert parse_b_factor("file") is None and parse_b_factor("0") == 0.0
    with pytest.raises(ConfigurationError):
        parse_b_factor("-1")


def test_real_mixture_is_described_without_reading_all() -> None:
    models = [shared_file("structures", "mixture", "cif", f"{name}.cif.gz") for name in ("5LD5", "1BXN")]  # fmt: skip
    config = SimulateConfig(
        "mixture", "out", particles=8, box_size=24, pixel_size=8.0, models=tuple(map(str, models))
    )
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
    assert len(said) == 2 and "half a turn" in said[0] and "motion alone" in said[1]
