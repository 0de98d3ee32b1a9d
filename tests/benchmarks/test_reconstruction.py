"""The comparison of maps: figures of a map that is known, and a table of the programs that are there."""

import json
import sys

import numpy as np
import pytest


@pytest.fixture
def benchmark(load, load_program, monkeypatch):
    """The benchmark, its stages and our program run in this process."""
    module = load("reconstruction")

    def in_process(command, folder):
        monkeypatch.chdir(folder)
        name, *arguments = command
        assert load_program(name.split("/")[-1]).main(arguments) == 0

    def measured(words, folder):
        if words[0] != sys.executable:
            raise AssertionError(f"{words[0]} is not installed and was run")
        in_process(words[1:], folder)
        return module.Cost(1.0, 0.5, 100.0)

    monkeypatch.setattr(module, "run_stage", lambda name, command, folder: in_process(command.split(), folder))
    monkeypatch.setattr(module, "measured", measured)
    return module


def test_programs_that_are_not_installed_are_left_out(benchmark, tmp_path, capsys):
    words = ["--tiny", "--relion", "no_such_program", "--cryodrgn", "no_such_program", "--seeds", "0", "1"]
    assert benchmark.main([*words, "--work", str(tmp_path / "work"), "--json", str(tmp_path / "table.json")]) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert [(row["set"], row["row"], row["seeds"]) for row in table["rows"]] == [("tiny", "ours", 2)]
    row = table["rows"][0]
    assert 0.8 < row["whole"] <= row["inside"] < 1 and row["grey"] == pytest.approx(1, abs=0.1)
    assert row["inside"] == pytest.approx(np.mean([one["inside"] for one in table["each"]]))
    assert any(line.split()[:2] == ["tiny", "ours"] for line in capsys.readouterr().out.splitlines())


def test_figures_of_maps_that_are_known(benchmark):
    truth = np.random.default_rng(0).normal(size=(16, 16, 16))
    truth[:4] = truth[-4:] = 0
    found = benchmark.compare(3 * truth, truth, np.ones_like(truth))
    assert found == {key: pytest.approx(value, abs=1e-5) for key, value in zip(found, (1, 1, 7 / 16, 3), strict=True)}
    mask = benchmark.around(np.where(np.arange(16) == 8, 1.0, 0) * np.ones((16, 16, 1)))
    assert mask.shape == (16, 16, 16) and mask.max() == 1 and mask.min() == 0
