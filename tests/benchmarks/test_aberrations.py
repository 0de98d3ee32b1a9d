"""The benchmark of aberrations at a size of seconds."""

import json


def test_a_small_set(load, tmp_path, capsys, monkeypatch):
    module = load("aberrations")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)  # RELION is not waited for
    path = tmp_path / "found.json"
    assert module.main(["--particles", "200", "--noise", "0.5", "--only", "odd_zernike", "--json", str(path)]) == 0
    found = json.loads(path.read_text())["odd_zernike"]
    assert set(found) == {"stated", "none", "opposite"}
    assert found["stated"]["ours"] > 0.8 > 0.3 > found["none"]["ours"]
    assert "odd_zernike    stated" in capsys.readouterr().out
