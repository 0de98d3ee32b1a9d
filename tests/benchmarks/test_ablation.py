"""The ablation: its rows are options that exist, and its table averages over seeds."""

import json
import types

import pytest

from libhetero.configuration import write_json
from libhetero.pipelines.run.configuration import new_config
from programs import e2hype_refine


@pytest.mark.parametrize("model", ["pointtransformer", "cryohype"])
def test_every_row_is_a_configuration_of_its_own(load, monkeypatch, model):
    made = []
    monkeypatch.setattr("libhetero.pipelines.refine.run", lambda config, **_: made.append(new_config(config)))
    monkeypatch.setattr("libhetero.pipelines.refine.next_steps", lambda folder: [])
    study = load("ablation").STUDIES[model]
    for options in study.rows.values():
        command = f"p.star {study.training} --path run {options}"
        assert e2hype_refine.main(command.split()) == 0
    assert len({str((config.model, config.training)) for config in made}) == len(study.rows)


@pytest.fixture
def ablation(load, monkeypatch):
    """The program, its stages replaced by ones that leave what theirs would."""
    module = load("ablation")

    def stage(name, command, folder):
        words = command.split()
        if "refine" in words[0]:
            run = folder / words[words.index("--path") + 1]
            run.mkdir()
            seed, extra = int(words[words.index("--seed") + 1]), 0.002 * ("mlp" in words)
            losses = [1.0, 0.9 + extra + 0.01 * seed, 0.95 + extra + 0.01 * seed]
            lines = [{"step": 1, "epoch": 1.0, "loss": 0.1, "test_loss": loss} for loss in losses]
            lines.append({"step": 2, "epoch": 2.0, "loss": 0.1})
            (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if "score" in words[0]:
            figures = {"all": 0.9, "optional": 0.8}
            scores = {
                "gaussians": {"amplitude": {"percentile": figures}},
                "labels": {"kmeans": {"ari": 0.7}},
                "volumes": {"gap_closed": 0.6},
            }
            write_json(folder / words[-1], scores)
        return types.SimpleNamespace(seconds=3.0)

    monkeypatch.setattr(module, "run_stage", stage)
    return module


def test_table_compares_with_the_first_row(ablation, tmp_path, capsys):
    path = tmp_path / "table.json"
    assert ablation.main(["--rows", "default", "MLP", "--seeds", "2", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert rows["default"]["held_out"] == 0
    assert rows["MLP"]["held_out"] == pytest.approx(2.0)
    assert rows["MLP"]["accuracy"] == pytest.approx(0.9) and rows["MLP"]["seconds"] == 3.0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["default", "MLP"]


def test_table_of_cryohype(ablation, tmp_path):
    path = tmp_path / "table.json"
    words = ["--model", "cryohype", "--rows", "default", "MLP encoder", "--seeds", "1", "--seed", "4"]
    assert ablation.main([*words, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert rows["MLP encoder"] == {"held_out": pytest.approx(2.0), "ari": 0.7, "gap": 0.6, "seconds": 3.0}


def test_unknown_rows_are_named(ablation, capsys):
    with pytest.raises(SystemExit):
        ablation.main(["--model", "cryohype", "--rows", "one level"])
    assert "got 'one level'" in capsys.readouterr().err
