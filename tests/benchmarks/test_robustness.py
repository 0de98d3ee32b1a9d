"""benchmarks/robustness.py: its rows are options that exist and say nothing of what is to be found, and its table."""

import json
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from libhetero.cli import configuration_of
from libhetero.cli.stages import StageResult
from libhetero.configuration import write_json
from libhetero.errors import UserError
from libhetero.pipelines.simulate import SimulateConfig
from programs import e2hype_refine, e2hype_simulate

SCORE = {
    "gaussians": {
        "amplitude": {"percentile": {"all": 0.9, "optional": 0.8, "always_present": 0.6}},
        "regions": {"recovered": 2, "pieces": 3, "extra": 1, "core": 1, "ari": 0.7},
        "kinds": {"right": 1, "of": 2},
        "classes": {"accuracy": 0.85, "sure": {"sure": 0.5, "right": 0.89, "expected": 0.95}},
        "deviations": {"z": 1.1},
    },
    "contrast": {"correlation": 0.8, "z": 1.0},
    "junk": {"auc": 0.99, "recall": 0.9, "precision": 0.95, "called": 0.1},
}


@pytest.fixture
def robustness(load: Callable, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program, its stages replaced by ones that leave what theirs would; `commands` are those run."""
    module = load("robustness")
    module.commands = []

    def stage(name: str, command: str, folder: Path) -> StageResult:
        module.commands.append((name, command))
        output = {"simulate": "set", "refine": "run"}.get(name.rpartition(" ")[2])
        if output:
            (folder / output).mkdir()
        if "guess_n" in command:
            (folder / "gmm.txt").touch()
        if "make3d" in command:
            (folder / "consensus.mrc").touch()
        if "segment" in command:
            (folder / "run" / "index.html").touch()
        if "e2hype_embed" in command:
            raise UserError("embed: no memory")
        if "score" in command:
            write_json(folder / "score.json", SCORE)
        return StageResult(name, command, 2.0, 2**20)

    monkeypatch.setattr(module.harness, "run_stage", stage)
    monkeypatch.setattr(module.harness, "environment", dict)
    return module


def test_every_row_asks_the_programs_for_what_they_have(load: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    robustness, made = load("robustness"), []
    monkeypatch.setattr("libhetero.pipelines.refine.run", lambda config, **_: Path("run"))
    monkeypatch.setattr("libhetero.pipelines.refine.next_steps", lambda folder: [])
    for name, profile in robustness.PROFILES.items():
        options = robustness.parsed(["--profile", name])
        made.clear()
        for row in robustness.ROWS:
            if not robustness.SHARED.is_dir() and "{shared}" in profile.sources[robustness.ROWS[row].source]:
                continue
            stages = {stage.program: stage.command for stage in robustness.stages_of(row, 7, profile, options)}
            words = e2hype_simulate.build_parser().parse_args(stages["simulate"].split()[1:])
            made.append(configuration_of(words, SimulateConfig, threads=1))
            assert e2hype_refine.main(stages["refine"].split()[1:]) == 0
            assert "--pas" not in stages["refine"] and "--nmid" not in stages["refine"]
            assert all(command.endswith("--seed 7") for key, command in stages.items() if key != "make3d")
        assert len(set(map(str, made))) == len(made), "every row is a set of its own"


def test_figures_and_the_mean_of_seeds(
    robustness: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    work, path = str(tmp_path / "work"), tmp_path / "figures.json"
    options = ["--profile", "tiny", "--work", work, "--json", str(path)]
    assert robustness.main([*options, "--rows", "junk", "--seeds", "2"]) == 0
    report = json.loads(path.read_text())
    assert set(report["rows"]["junk"]) == {"0", "1"} and report["table"]["junk"]["seeds"] == 2
    row = report["table"]["junk"]
    assert row["regions_found"] == 2 and row["regions_core"] == 1 and row["sure_right"] == 0.89
    assert row["junk_auc"] == 0.99 and row["latent_z"] == 1.1 and row["rmsd"] is None
    assert row["seconds"] == 12 and row["directions"] is None
    assert "junk               2" in capsys.readouterr().out

    count = len(robustness.commands)
    assert robustness.main([*options, "--rows", "junk", "ideal"]) == 0
    assert all(name.startswith("ideal, seed 0") for name, _ in robustness.commands[count:]), "the rest is done"
    assert set(json.loads(path.read_text())["table"]) == {"ideal", "junk"}
    assert robustness.main(["--rows", "junk", "--work", work]) == 1
    assert "another profile (tiny); expected cpu" in capsys.readouterr().err


def test_a_row_that_fails_leaves_the_others(
    robustness: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "figures.json"
    assert robustness.main(["--profile", "tiny", "--rows", "molecules", "null", "--json", str(path)]) == 1
    report = json.loads(path.read_text())
    assert list(report["table"]) == ["null"] and report["failed"] == {"molecules, seed 0": "embed: no memory"}
    assert "embed: no memory" in capsys.readouterr().err


def test_a_stage_whose_output_is_gone_is_run_again_with_those_after_it(
    robustness: types.ModuleType, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    options = ["--profile", "tiny", "--rows", "ideal", "--work", str(work)]
    assert robustness.main(options) == 0
    robustness.commands.clear()
    (work / "seed_0" / "ideal" / "gmm.txt").unlink()
    assert robustness.main(options) == 0
    programs = [name.rpartition(" ")[2] for name, _ in robustness.commands]
    assert programs == ["guess_n", "refine", "segment", "score"]


def test_a_run_that_finds_nothing(robustness: types.ModuleType, tmp_path: Path) -> None:
    (tmp_path / "directions.txt").write_text("# direction, kind, variance over noise, p-value\n")
    found = robustness.figures_of({"gaussians": {"amplitude": {"percentile": {"all": 1.0}}}}, tmp_path)
    assert found["directions"] == found["regions_found"] == found["regions_extra"] == found["regions_core"] == 0
    (tmp_path / "directions.txt").write_text("# direction …\n0 amplitude 61 1e-9\n1 motion 5 0.001\n2 both 4 0.002\n")
    found = robustness.figures_of({}, tmp_path)
    assert found["directions"] == 3 and found["directions_motion"] == 1 and found["regions_found"] is None


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--rows", "none"], ["--profile", "huge"]])
def test_wrong_options(load: Callable, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        load("robustness").parsed(arguments)
