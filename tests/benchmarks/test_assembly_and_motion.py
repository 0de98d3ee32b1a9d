"""Both benchmarks from end to end at a tiny size, one decoder each, and what they refuse.

The programs run in this process, not one process each, to compile once; `run_stage` itself is tested
in tests/cli/test_stages.py.
"""

import json
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from libhetero.cli.stages import StageResult
from libhetero.errors import UserError
from tests.making.atoms import dumbbell, write_model

FIGURES = {
    "assembly": {"accuracy", "regions_found", "regions_true", "ari", "region_class_accuracy", "seconds"},
    "motion": {"rmsd", "rmsd_rigid", "regions_found", "spearman_min", "seconds"},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "trained"), [("assembly", "pt"), ("motion", "mlp")])
def test_a_tiny_run(
    name: str, trained: str, load: Callable, in_process: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    work, json_file = tmp_path / "work", tmp_path / "figures.json"
    options = ["--profile", "tiny", "--seed", "3", "--json", str(json_file), "--work", str(work)]
    assert load(name).main([*options, "--rows", trained]) == 0
    report = json.loads(json_file.read_text())
    assert report["profile"] == "tiny" and set(report["rows"]) == {trained}
    for row in report["rows"].values():
        assert set(row) >= FIGURES[name]
        assert all(row[key] is not None for key in FIGURES[name])
        assert row["seconds"] == 3, "training, regions and scores"
    assert report["published"]["pt"] and report["machine"]["devices"]
    assert len(report["stages"]) == len(in_process) == 6
    seeded = [command for command in in_process if "make3d" not in command]
    assert all(command.endswith("--seed 3") for command in seeded)
    said = capsys.readouterr().out
    assert "published PT" in said and f"{name}, profile tiny, seed 3" in said

    before = json_file.read_text()
    assert load(name).main([*options, "--rows", trained, "--stages", "score"]) == 0
    again = json.loads(json_file.read_text())
    assert len(again["stages"]) == 1 and before != json_file.read_text()
    key = "accuracy" if name == "assembly" else "rmsd"
    assert again["rows"][trained][key] == report["rows"][trained][key]

    ran = len(in_process)
    assert load(name).main([*options, "--rows", trained]) == 0, "nothing is left to do"
    whole = json.loads(json_file.read_text())
    assert len(in_process) == ran and len(whole["stages"]) == 6
    assert whole["rows"] == report["rows"]


def test_motion_on_a_model_with_too_few_pieces(load: Callable, in_process: list[str], tmp_path: Path) -> None:
    """A model of one chain and a table of no moving piece: three are cut off its core."""
    motion = load("motion")
    model = write_model(tmp_path / "a model.pdb", dumbbell())
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"body": "all", "domains": {"all": {"selection": [["A", None]]}}}))
    work = tmp_path / "work"
    options = ["--profile", "tiny", "--work", str(work), "--stages", "simulate"]
    assert motion.main([*options, "--structures", str(model), str(table)]) == 0
    truth = json.loads((work / "set" / "truth" / "truth.json").read_text())
    assert truth["pieces"] == 4 and truth["kind"] == "motion"
    assert len(json.loads((work / "domains.json").read_text())["domains"]) == 4
    # The box holds the sphere about the model and a fifth more, for its motion.
    assert truth["pixel_size"] * truth["box_size"] >= 1.2 * 45


def test_gaussians_may_start_from_the_model(load: Callable, tmp_path: Path) -> None:
    harness, assembly = load("harness"), load("assembly").BENCHMARK
    model = write_model(tmp_path / "model.pdb", dumbbell())
    parse = harness.build_parser(assembly, "").parse_args
    options = parse(["--start", "model", "--structures", str(model), "--rows", "pt"])
    profile = assembly.profiles["cpu"]
    source = harness.find_source(assembly, profile, options)
    stages = {stage.program: stage for stage in harness.stages_of(assembly, profile, source, options)}
    box = f"--box 64 --apix {source.pixel_size:g}"
    assert f"model.pdb {box} --origin mass gmm.txt" in stages["guess_n"].command
    assert box in stages["simulate"].command and "--pieces 8" in stages["simulate"].command
    assert "--pointtransformer" in stages["refine"].command and stages["refine"].row == "pt"


def test_every_profile_is_a_command_that_its_programs_accept(
    load: Callable, load_program: Callable, tmp_path: Path
) -> None:
    harness, parser_of = load("harness"), cache(lambda name: load_program(name).build_parser())
    model = str(write_model(tmp_path / "model.pdb", dumbbell()))
    for name in ("assembly", "motion"):
        found = load(name).BENCHMARK
        for profile in found.profiles.values():
            options = harness.build_parser(found, "").parse_args(["--structures", model])
            source = harness.find_source(found, profile, options)
            for stage in harness.stages_of(found, profile, source, options):
                program, *arguments = shlex.split(stage.command)
                parser_of(program).parse_args(arguments)


def test_one_failed_row_leaves_the_other(
    load: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def run_stage(name: str, command: str, folder: Path) -> StageResult:
        if name == "pt refine":
            raise UserError("pt refine: failed")
        if name == "mlp score":
            scored = {"percentile": {"all": 0.75, "optional": 0.7, "always_present": 0.6}, "neutral": {"all": 0.5}}
            regions = {"recovered": 1, "pieces": 2, "regions": 3, "ari": 0.25, "iou": [1, 0]}
            classes = {"accuracy": 0.9, "pieces": [0.9, 0.9]}
            values = {"amplitude": scored, "regions": regions, "classes": classes}
            (folder / "mlp.json").write_text(json.dumps({"gaussians": values}))
        return StageResult(name, command, 2.0, 2**20)

    assembly = load("assembly")
    monkeypatch.setattr(load("harness"), "run_stage", run_stage)
    path = tmp_path / "figures.json"
    assert assembly.main(["--profile", "tiny", "--json", str(path)]) == 1
    report = json.loads(path.read_text())
    assert report["failed"] == {"pt": "pt refine: failed"} and set(report["rows"]) == {"mlp"}
    assert report["rows"]["mlp"]["accuracy"] == 0.75 and report["rows"]["mlp"]["seconds"] == 6
    said = capsys.readouterr()
    assert "pt refine: failed" in said.err and "0.750" in said.out


def test_a_run_that_was_stopped_goes_on(
    load: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Finished stages are not done again; simulation and training find what they left, others begin anew."""
    harness, assembly = load("harness"), load("assembly")
    outputs = {"simulate": "set", "make3d": "consensus.mrc", "guess_n": "gmm.txt", "refine": "pt_00"}
    work, done, stop = tmp_path / "work", [], ["simulate", "guess_n", "refine"]

    def run_stage(name: str, command: str, folder: Path) -> StageResult:
        program = name.split()[-1]
        left = folder / outputs.get(program, program)
        done.append((name, left.exists()))
        left.mkdir(exist_ok=True)
        if stop and program == stop[0]:
            stop.pop(0)
            raise KeyboardInterrupt
        return StageResult(name, command, 2.0, 2**20)

    monkeypatch.setattr(harness, "run_stage", run_stage)
    monkeypatch.setattr(harness, "_rows", lambda *arguments: {})
    arguments = ["--profile", "tiny", "--work", str(work), "--rows", "pt"]
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            assembly.main(arguments)
    assert assembly.main(arguments) == 0
    assert done == [
        ("simulate", False),
        ("simulate", True),
        ("make3d", False),
        ("guess_n", False),
        ("guess_n", False),
        ("pt refine", False),
        ("pt refine", True),
        ("pt segment", False),
        ("pt score", False),
    ]
    assert assembly.main([*arguments, "--stages", "refine"]) == 0
    assert done[-1] == ("pt refine", False), "made anew where it is asked for"
    assert assembly.main(arguments) == 0
    assert [name for name, _ in done[-2:]] == ["pt segment", "pt score"], "what follows it is done again"
    capsys.readouterr()
    assert assembly.main([*arguments, "--seed", "4"]) == 1
    error = capsys.readouterr().err
    assert "simulate was begun as" in error and "--seed 4" in error and len(error.splitlines()) == 1


def test_mistakes_are_one_line(
    load: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assembly, harness = load("assembly"), load("harness")
    monkeypatch.setattr(harness, "SHARED", tmp_path / "nowhere")
    (tmp_path / "broken.json").write_text("{")
    model = str(write_model(tmp_path / "model.pdb", dumbbell()))
    for options, words in (
        ([], "with --structures"),
        (["--structures", str(tmp_path / "broken.json")], "got 0 and 1"),
        (["--structures", model, str(tmp_path / "broken.json")], "not valid JSON"),
        (["--structures", str(tmp_path / "absent.pdb")], "absent.pdb"),
        (["--profile", "tiny", "--start", "model"], "makes its complex from the seed"),
        (["--profile", "tiny", "--stages", "score"], "--work folder"),
    ):
        assert assembly.main(options) == 1
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1, error
