"""benchmarks/tilts.py: its rows are options that exist, share their images, and what it goes on with."""

import dataclasses
import importlib
import json
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from libhetero.cli.stages import StageResult
from libhetero.configuration import write_json
from libhetero.io import MrcsWriter
from programs import e2hype_refine, e2hype_simulate
from tests.making.particles import make_particles

OUTPUTS = {  # place of what is made
    "e2hype_simulate.py": 1,
    "e2hype_make3d.py": 1,
    "e2hype_guess_n.py": 1,
    "e2hype_classify.py": 1,
}
SCORE = {
    "gaussians": {
        "amplitude": {"percentile": {"all": 0.95, "optional": 0.9}},
        "regions": {"recovered": 7, "pieces": 8, "ari": 0.8},
    }
}
AREA = {"model": 0.29, "bound": 0.30, "floor": 0.13}
MIXTURE_SCORE = {
    "labels": {"kmeans": {"ari": 0.9}, "classes.txt": {"classes": 10, "ari": 0.95}},
    "volumes": {**{name: {"fsc_auc": {"mean": area}} for name, area in AREA.items()}, "gap_closed": 0.94},
}


@pytest.fixture
def tilts(load: Callable, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program, its stages replaced by ones that leave what theirs would; `commands` are those run."""
    module = load("tilts")
    module.commands = []

    def stage(name: str, command: str, folder: Path) -> StageResult:
        module.commands.append(command)
        program, *words = command.split()
        if program in OUTPUTS:
            (folder / words[OUTPUTS[program]]).mkdir()
        elif program == "e2hype_refine.py":
            (folder / words[words.index("--path") + 1]).mkdir()
        elif program == "e2hype_segment.py":
            (folder / words[0] / "index.html").touch()
        else:
            score = MIXTURE_SCORE if "mixture" in folder.name else SCORE
            write_json(folder / words[words.index("--json") + 1], score)
        return StageResult(name, command, 2.0, 2**20, 3.0)

    monkeypatch.setattr(module.harness, "run_stage", stage)
    monkeypatch.setattr(module.harness, "environment", dict)
    monkeypatch.setattr(module, "environment", dict)
    monkeypatch.setattr(module, "read_particles", lambda path: path)
    monkeypatch.setattr(module, "information_left", lambda noise_free: 0.5)
    return module


def test_the_information_that_tilts_have(load: Callable, tmp_path: Path) -> None:
    """Of signal in one ring, by the equation; less of fine signal, and never more than thicker ice leaves."""
    tilts, n, pixel_size = load("tilts"), 16, 4.0
    x = np.arange(n) - n // 2
    left = []
    for wave in (1, 6):
        images = np.broadcast_to(np.cos(2 * np.pi * wave * x / n), (3, n, n)).astype(np.float32)
        with MrcsWriter(tmp_path / "images.mrcs", n, 3, pixel_size) as writer:
            writer.write(images)
        imaginary = make_particles(3, n, pixel_size)
        particles = dataclasses.replace(imaginary, files=(str(tmp_path / "images.mrcs"),))
        left.append(tilts.information_left(particles))
    series, voltage = tilts.SERIES, float(particles.ctf.voltage[0])
    thinned = np.cos(np.radians(series.angles)) ** 2
    assert thinned.sum() == pytest.approx(29, abs=0.5) and left[1] < left[0] < thinned.mean()
    exposure = 1.22 * (np.arange(41) + 0.5)
    for found, wave in zip(left, (1, 6), strict=True):
        s = wave / (n * pixel_size)
        critical = (voltage / 500 + 0.4) * (0.24499 * s**-1.6649 + 2.8141)
        assert found == pytest.approx(np.mean(thinned * np.exp(-exposure / critical)), rel=1e-3)


@pytest.mark.parametrize("profile", ["cpu", "tiny"])
def test_every_row_asks_the_programs_for_what_they_have(tilts: types.ModuleType, profile: str) -> None:
    if profile == "cpu" and not tilts.SHARED.is_dir():
        pytest.skip("the structures are not beside the project")
    for name, row in tilts.ROWS.items():
        words = tilts.simulation(row.imaged, tilts.PROFILES[profile], 0.1).split()
        asked = e2hype_simulate.build_parser().parse_args(words)
        assert getattr(asked, "tilts", None) == (None if name in ("single", "same") else (-60, 60, 3))
        words = f"set/particles.star {tilts.PROFILES[profile].training} {row.options}".split()
        assert hasattr(e2hype_refine.build_parser().parse_args(words), "tilts") == (name == "apart")


def test_the_images_of_a_series_have_together_what_one_has(tilts: types.ModuleType) -> None:
    profile = tilts.PROFILES["cpu"]
    asked = {
        name: e2hype_simulate.build_parser().parse_args(tilts.simulation(name, profile, part * profile.snr).split())
        for name, (part, _) in tilts.SETS.items()
    }
    assert asked["equal"].snr * tilts.TILTS == pytest.approx(asked["single"].snr, rel=1e-3)
    assert asked["ten"].snr == pytest.approx(10 * asked["equal"].snr, rel=1e-3)
    assert asked["equal"].dose * tilts.TILTS == pytest.approx(50, rel=0.01)
    assert len({one.n for one in asked.values()}) == 1


def test_rows_share_their_images_and_go_on(
    tilts: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--profile", "tiny", "--work", str(tmp_path / "work"), "--rows", *tilts.ROWS]
    assert tilts.main([*options, "--json", str(tmp_path / "tilts.json")]) == 0
    rows = json.loads((tmp_path / "tilts.json").read_text())["rows"]
    assert set(rows) == set(tilts.ROWS)
    assert rows["apart"] == {
        "accuracy": 0.95, "accuracy_optional": 0.9, "regions_found": 7, "regions_true": 8, "ari": 0.8,
        "seconds": 3.0, "peak": 1.0, "snr": 2.0 / 41,
    }  # fmt: skip
    assert sum("assembly signal " in command and "--snr 0 " in command for command in tilts.commands) == 1
    assert rows["same"]["snr"] == 0.5 * rows["single"]["snr"] == 1.0
    assert "apart" in capsys.readouterr().out
    programs = [command.split()[0] for command in tilts.commands]
    assert programs.count("e2hype_simulate.py") == 5 and programs.count("e2hype_refine.py") == 5
    assert sum("--tilts apart" in command for command in tilts.commands) == 1

    tilts.commands.clear()
    assert tilts.main(options) == 0
    assert not tilts.commands, "all of it is done"
    (tmp_path / "work" / "equal" / "gmm.txt").rmdir()
    assert tilts.main([*options, "--rows", "apart"]) == 0
    assert [command.split()[0] for command in tilts.commands][:2] == ["e2hype_guess_n.py", "e2hype_refine.py"]
    tilts.commands.clear()
    assert tilts.main(options) == 0
    assert {command.split()[0] for command in tilts.commands} == {
        "e2hype_refine.py", "e2hype_segment.py", "e2hype_score.py",
    } and all(" equal" in command for command in tilts.commands)  # fmt: skip
    assert tilts.main([*options, "--seed", "1"]) == 1
    assert "another seed (0); expected 1" in capsys.readouterr().err


def test_mixtures_of_single_images_and_of_series(
    tilts: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """They have as much information in both rows, and go on where something is gone."""
    assert set(tilts.MIXTURE_PROFILES) == set(tilts.PROFILES)
    for profile in tilts.MIXTURE_PROFILES.values():
        one, series = (
            e2hype_simulate.build_parser().parse_args(tilts.mixture(name, profile).split()) for name in tilts.MIXTURES
        )
        assert not hasattr(one, "tilts") and (series.tilts, series.dose) == ((-60, 60, 6), 2.4)
        assert series.snr * 21 == pytest.approx(one.snr, rel=1e-3) and series.n == one.n
    options = ["--profile", "tiny", "--work", str(tmp_path / "work")]
    asked = [*options, "--rows", *tilts.MIXTURES]
    assert tilts.main([*asked, "--json", str(tmp_path / "tilts.json")]) == 0
    assert "mixture_series" in capsys.readouterr().out
    rows = json.loads((tmp_path / "tilts.json").read_text())["rows"]
    assert rows["mixture_series"] == {
        "classes": 10, "classes_ari": 0.95, "classes_seconds": 3.0, "ari": 0.9, "fsc_auc": 0.29, "bound": 0.30,
        "floor": 0.13, "gap_closed": 0.94, "snr": 4.0 / 21, "seconds": 3.0, "peak": 1.0,
    }  # fmt: skip
    tilts.commands.clear()
    assert tilts.main(asked) == 0 and not tilts.commands, "all of it is done"
    (tmp_path / "work" / "mixture_single" / "found").rmdir()
    assert tilts.main(asked) == 0
    assert [command.split()[0] for command in tilts.commands] == ["e2hype_classify.py", "e2hype_score.py"]
    tilts.commands.clear()
    (tmp_path / "work" / "mixture_single" / "set").rmdir()
    assert tilts.main(asked) == 0
    assert [command.split()[0] for command in tilts.commands] == [
        "e2hype_simulate.py", "e2hype_classify.py", "e2hype_score.py", "e2hype_refine.py", "e2hype_score.py",
    ]  # fmt: skip


def test_commands_are_options_of_the_programs(tilts: types.ModuleType, tmp_path: Path) -> None:
    assert tilts.main(["--profile", "tiny", "--work", str(tmp_path / "work")]) == 0
    assert sum("mixture set" in command for command in tilts.commands) == len(tilts.MIXTURES), "all rows, unasked"
    for command in tilts.commands:
        program, *words = command.split()
        importlib.import_module(f"programs.{program.removesuffix('.py')}").build_parser().parse_args(words)
