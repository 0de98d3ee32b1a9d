"""benchmarks/poses.py: its rows are options that exist, what it goes on with, and the figures that it makes."""

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
from libhetero.io import read_volume, write_volume
from programs import e2hype_refine, e2hype_simulate

OUTPUTS = {"e2hype_simulate.py": "set", "e2hype_make3d.py": "consensus.mrc", "e2hype_guess_n.py": "gmm.txt"}


def score(rotation: float, accuracy: float) -> dict:
    """Return what e2hype_score.py would write."""
    return {
        "poses": {"given": {"rotation": 1.8, "shift": 2.9}, "refined": {"rotation": rotation, "shift": 0.6}},
        "gaussians": {
            "amplitude": {"percentile": {"all": accuracy}},
            "regions": {"recovered": 2},
            "motion": {"rmsd_about_mean": 1.0, "rmsd_without_motion": 5.0},
        },
        "volumes": {
            subject: {"fsc_auc": {"mean": mean}} for subject, mean in (("model", 0.3), ("floor", 0.1), ("bound", 0.35))
        },
    }


@pytest.fixture
def poses(load: Callable, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program, its stages replaced by ones that leave what theirs would; `commands` are those run."""
    module = load("poses")
    module.commands = []

    def stage(name: str, command: str, folder: Path) -> StageResult:
        module.commands.append(command)
        program, *words = command.split()
        if program in OUTPUTS:
            output = folder / ("gmm.txt" if program == "e2hype_guess_n.py" else words[1])
            output.mkdir() if program == "e2hype_simulate.py" else output.touch()
        elif program == "e2hype_refine.py":
            (folder / words[words.index("--path") + 1]).mkdir()
        elif program == "e2hype_segment.py":
            (folder / words[0] / "index.html").touch()
        elif program == "e2hype_validate.py":
            shares = (("latent 1", "direction of view", 0.2), ("latent 2", "defocus", 0.9), ("region 1", "shift", 0.8))
            following = [dict(zip(("coordinate", "property", "share"), one, strict=True)) for one in shares]
            (folder / words[0] / "validation").mkdir()
            write_json(folder / words[0] / "validation" / "validation.json", {"following": following})
        elif program == "e2hype_align.py":
            (folder / "run" / "aligned").mkdir()
            (folder / "run" / "aligned" / "region_01.star").touch()
        else:
            write_json(folder / words[words.index("--json") + 1], score(0.9, 0.95))
        return StageResult(name, command, 2.0, 2**20, 3.0)

    monkeypatch.setattr(module.harness, "run_stage", stage)
    monkeypatch.setattr(module.harness, "environment", dict)
    monkeypatch.setattr(module, "environment", dict)
    monkeypatch.setattr(module, "follows_error", lambda folder, run: 0.1)
    return module


@pytest.mark.parametrize("profile", ["cpu", "tiny"])
def test_every_row_asks_the_programs_for_what_they_have(
    poses: types.ModuleType, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if profile == "cpu" and not poses.SHARED.is_dir():
        pytest.skip("the structures are not beside the project")
    trained: list = []
    monkeypatch.setattr("libhetero.pipelines.refine.run", lambda config, **_: trained.append(config) or Path("run"))
    monkeypatch.setattr("libhetero.pipelines.refine.next_steps", lambda folder: [])
    for row in poses.PROFILES[profile].values():
        simulated = e2hype_simulate.build_parser().parse_args(
            f"{poses.simulation(row, tmp_path)} {row.error} --seed 7".split()
        )
        assert (getattr(simulated, "pose_error", 0) > 0) == bool(row.error)
        for option in poses.RUNS.values():
            words = f"set/particles.star {row.training.replace('--model gmm.txt', '')} {option} --seed 7".split()
            if "--model gmm.txt" in row.training:
                (tmp_path / "gmm.txt").touch()
                words += ["--model", str(tmp_path / "gmm.txt")]
            assert e2hype_refine.main(words) == 0
            assert ("refine_poses" in str(vars(trained[-1]))) == bool(option), vars(trained[-1])
    assert len(trained) == 2 * len(poses.PROFILES[profile])


def test_lists_and_runs_beside_each_other(
    poses: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = ["--profile", "tiny", "--rows", "gaussians", "mixture", "--work", str(tmp_path / "work")]
    path = tmp_path / "poses.json"
    assert poses.main([*options, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert list(rows["gaussians"]) == ["true, listed", "true, refined", "wrong, listed", "wrong, refined"]
    figures = rows["mixture"]["wrong, refined"]
    assert figures["rotation"] == 0.9 and figures["rotation_listed"] == 1.8 and figures["seconds"] == 3.0
    assert figures["gap"] == pytest.approx(0.8), "between the floor and the bound"
    assert figures["leak"] == 0.2, "defocus is no pose, and a region no latent"
    assert "wrong, refined" in capsys.readouterr().out
    for command in poses.commands:
        program, *words = command.split()
        importlib.import_module(f"programs.{program.removesuffix('.py')}").build_parser().parse_args(words)
    simulated = [command for command in poses.commands if "e2hype_simulate.py" in command]
    assert sum("--pose_error" in command for command in simulated) == 2 and len(simulated) == 4

    poses.commands.clear()
    assert poses.main(options) == 0
    assert not poses.commands, "all of it is done"
    (tmp_path / "work" / "gaussians" / "wrong" / "refined.json").unlink()
    assert poses.main(options) == 0
    assert [command.split()[0] for command in poses.commands] == ["e2hype_score.py"]
    assert poses.main([*options, "--seed", "1"]) == 1
    assert "another seed (0); expected 1" in capsys.readouterr().err


def test_a_set_that_moves_in_a_new_folder(poses: types.ModuleType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(poses, "resolutions", lambda folder, regions: {"regions": list(regions)})
    monkeypatch.setattr(poses, "print_motion", lambda found: None)
    others: list[list[str]] = []
    monkeypatch.setattr(poses.shutil, "which", lambda name: name)
    monkeypatch.setattr(poses.subprocess, "run", lambda words, **how: others.append(words))
    options = ["--profile", "tiny", "--rows", "motion", "--work", str(tmp_path / "work")]
    assert poses.main(options) == 0
    found = json.loads((tmp_path / "work" / "poses.json").read_text())["rows"]["motion"]
    assert found["regions"] == ["region_01"] and found["rmsd_about_mean"] == 1.0
    for command in poses.commands:
        program, *words = command.split()
        importlib.import_module(f"programs.{program.removesuffix('.py')}").build_parser().parse_args(words)
    assert poses.commands[-1].startswith("e2hype_make3d.py run/aligned/region_01.star"), "at the region's poses"
    assert others == [
        ["relion_reconstruct", "--i", "run/aligned/region_01.star", "--o", "relion_region_01.mrc", "--ctf"]
    ]
    poses.commands.clear()
    (tmp_path / "work" / "motion" / "run.json").unlink()
    assert poses.main(options) == 0
    programs = [command.split()[0] for command in poses.commands]
    assert programs == ["e2hype_score.py", *["e2hype_make3d.py"] * 2, "e2hype_align.py", "e2hype_make3d.py"]


def test_a_stage_that_is_stopped_or_asked_for_otherwise_is_run_again(
    poses: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--profile", "tiny", "--rows", "gaussians", "--work", str(tmp_path / "work")]
    assert poses.main(options) == 0
    row = poses.PROFILES["tiny"]["gaussians"]
    other = dataclasses.replace(row, training=f"{row.training} --batchsz 8")
    monkeypatch.setitem(poses.PROFILES["tiny"], "gaussians", other)
    run_stage = poses.harness.run_stage

    def stopped(name: str, command: str, folder: Path) -> StageResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(poses.harness, "run_stage", stopped)
    with pytest.raises(KeyboardInterrupt):
        poses.main(options)
    done = json.loads((tmp_path / "work" / "poses.json").read_text())["stages"]["gaussians, true"]
    assert set(done) == {"set simulate", "consensus.mrc make3d", "gmm.txt guess_n"}, "training and all after it is not"
    monkeypatch.setattr(poses.harness, "run_stage", run_stage)
    poses.commands.clear()
    assert poses.main(options) == 0
    assert poses.commands[0].startswith("e2hype_refine.py") and "--batchsz 8" in poses.commands[0]


def test_resolutions_of_maps_that_are_right_inside_one_piece_alone(
    load: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poses = load("poses")
    n, random = 32, np.random.default_rng(0)
    place = np.indices((n, n, n)) - n // 2
    pieces = []
    for centre in (-6, 6):
        inside = (place[0] ** 2 + place[1] ** 2 + (place[2] - centre) ** 2) < 16
        pieces.append(np.where(inside, 1 + random.random((n, n, n)), 0).astype(np.float32))
    whole = pieces[0] + pieces[1]
    (tmp_path / "set" / "truth").mkdir(parents=True)
    for number, piece in enumerate(pieces):
        write_volume(tmp_path / "set" / "truth" / f"piece_{number:02d}.mrc", piece, 4.0)
    noise = [random.normal(0, 1, (n, n, n)).astype(np.float32) for _ in range(2)]
    right = {"listed": pieces[0], "still": whole, "region_01": pieces[1]}
    for name, signal in right.items():
        wrong = whole - signal  # noise in its place
        for suffix, added in (("", noise[0]), ("_half1", noise[0]), ("_half2", noise[1])):
            write_volume(tmp_path / f"{name}{suffix}.mrc", signal + np.where(wrong > 0, added, 0), 4.0)
    monkeypatch.setattr(poses, "open_truth", lambda folder: types.SimpleNamespace(angles=np.zeros((5, 2))))
    write_volume(tmp_path / "relion_region_01.mrc", 3 * read_volume(tmp_path / "region_01.mrc")[0], 4.0)
    found = poses.resolutions(tmp_path, ["region_01"])
    assert found["piece 1"]["relion"] == {
        "truth": found["piece 1"]["region_01"]["truth"],
        "same": pytest.approx(1, abs=1e-5),
    }
    nyquist = 2 * 4.0 * 16 / 15  # the last shell
    assert found["still"]["truth"] == found["still"]["halves"] == pytest.approx(nyquist)
    assert found["listed"]["truth"] > 1.5 * nyquist
    assert found["piece 1"]["region_01"]["truth"] == pytest.approx(nyquist)
    assert found["piece 1"]["listed"]["truth"] > 1.5 * nyquist < found["piece 1"]["listed"]["halves"]


def test_a_latent_that_is_the_error_of_the_poses(load: Callable, tmp_path: Path) -> None:
    poses = load("poses")
    words = "assembly set --apix 8 --diameter 75 --pieces 2 --n 64 --box 16 --snr 1 --pose_error 5 --shift_error 2.5"
    assert e2hype_simulate.main([words.split()[0], str(tmp_path / "set"), *words.split()[2:]]) == 0
    listed, truth = poses.read_particles(tmp_path / "set" / "particles.star"), poses.open_truth(tmp_path / "set")
    turn, _ = poses.pose_errors(listed.pose, truth.rotation, truth.shift)
    (tmp_path / "run").mkdir()
    for latent, least, most in ((turn[:, 0], 0.99, 1.01), (np.random.default_rng(1).normal(size=64), -1, 0.3)):
        np.savetxt(tmp_path / "run" / "mid_00.txt", np.column_stack([np.arange(64), latent]))
        assert least < poses.follows_error(tmp_path, "run") < most
