"""The benchmarks of the feed at a size of milliseconds."""

import json

import numpy as np
import pytest

from libhetero.training.order import Pool


@pytest.fixture(autouse=True)
def allocator_as_it_is(monkeypatch):
    monkeypatch.setattr("libhetero.cli.allocator.keep_freed_memory", lambda environment: False)


def test_quick(load, tmp_path, capsys):
    path = tmp_path / "feed.json"
    assert load("feed").main(["--quick", "--json", str(path), "--folder", str(tmp_path)]) == 0
    found = json.loads(path.read_text())["particles_per_s"]
    assert set(found) == {"hype", "gmm"}
    for rate in found.values():
        assert set(rate) == {"step", "permuted", "chunks", "flipped, cropped", "from the cache"}
        assert all(value > 0 for value in rate.values())
    assert "times the step" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_memory_of_a_small_set(load, tmp_path):
    module = load("feed_memory")
    module.make_sparse_set(tmp_path, 400, 16)
    stack = tmp_path / "particles.mrcs"
    assert stack.stat().st_size == 1024 + 400 * 4 * 16**2
    assert not np.fromfile(stack, "<f4", offset=1024 + 64 * 4 * 16**2).any()
    found = module.train_some(tmp_path, 9, Pool(particles=0, size=4 * 16**2 * 64 * 3))
    assert found["particles"] == 400 and found["chunk"] == 3 and found["steps"] == 9
    assert 0 < found["list_mib"] <= found["peak_mib"]
    assert "9" in module.memory_table([found], 16)
