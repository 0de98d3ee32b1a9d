"""benchmarks/peer_mixture.py: peers whose answers are known, played by small scripts, scored as our rows are."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from libhetero.configuration import write_json
from libhetero.io import read_volume
from tests.making.oracles import BOX, simulated

PERFECT = (BOX // 2 - 1) / BOX
INVERTED = -(BOX // 2 - 2) / BOX  # the first point of an FSC is 1 by definition
COMMON = """
import shutil, sys
import numpy as np
words = sys.argv[1:]
label = np.loadtxt("set/truth/labels.txt", dtype=int)[:, 1]
def given(name):
    return words[words.index(name) + 1]
"""
RELION = """
assert given("--K") == "3" and given("--skip_align") and given("--j") == "1"
rows = "".join(f"{i + 1:06d}@set/particles.mrcs {k + 1}\\n" for i, k in enumerate(label))
open("relion/run_it004_data.star", "w").write(
    "data_particles\\n\\nloop_\\n_rlnImageName #1\\n_rlnClassNumber #2\\n" + rows
)
for k in range(3):
    shutil.copy(f"set/truth/map_{k:03d}.mrc", f"relion/run_it004_class{k + 1:03d}.mrc")
"""
CRYODRGN = """
if words[0] == "train_vae":
    import pickle
    assert "--no-amp" in words and given("--enc-dim") == given("--dec-dim") == "16"
    pickle.dump(10 * np.eye(3)[label], open("cryodrgn/z.2.pkl", "wb"))
elif words[0] == "eval_vol":
    import os
    os.mkdir(given("-o"))
    assert words[1] == "cryodrgn/weights.2.pkl"
    for place, z in enumerate(np.loadtxt(given("--zfile"))):
        data = open(f"set/truth/map_{z.argmax():03d}.mrc", "rb").read()
        values = -np.frombuffer(data[1024:], np.float32)
        open(f"{given('-o')}/vol_{place:03d}.mrc", "wb").write(data[:1024] + values.tobytes())
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder as mixture.py leaves it: three molecules, and a row that took 7 s."""
    folder = tmp_path_factory.mktemp("mixture")
    simulated(folder / "set", "mixture", 48)
    (folder / "consensus.mrc").touch()
    rows = {"default": {"fsc_auc_mean": 0.25, "processor_seconds": 7.0, "epochs": 4}}
    settings = {"scored": 4}
    write_json(
        folder / "mixture.json",
        {"profile": "tiny", "seed": 0, "structures": 3, "mask": "none", "settings": settings, "rows": rows},
    )
    return folder


def program(path: Path, code: str) -> str:
    """Write a script that plays a peer; return its name."""
    path.write_text(f"#!{sys.executable}\n{COMMON}{code}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_peers_whose_answers_are_known(
    load: Callable, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One that has the true labels and maps, and one that has them with the wrong sign."""
    relion, cryodrgn = (program(tmp_path / name, code) for name, code in (("r", RELION), ("c", CRYODRGN)))
    words = ["--relion", relion, "--cryodrgn", cryodrgn, "--width", "16", "--json", str(tmp_path / "peers.json")]
    assert load("peer_mixture").main([str(work), *words]) == 0
    report = json.loads((tmp_path / "peers.json").read_text())
    assert report["allowed"] == 7 and report["options"]["classes"] == 3
    right, wrong = report["rows"]["relion"], report["rows"]["cryodrgn"]
    assert right["fsc_auc_mean"] == pytest.approx(PERFECT, abs=1e-4)
    assert wrong["fsc_auc_mean"] == pytest.approx(INVERTED, abs=1e-4)
    assert right["gap_closed"] > 1 and wrong["gap_closed"] < 0
    for row, rounds in ((right, 4), (wrong, 2)):
        assert row["ari"] == row["ami"] == 1 and row["classes"] == 3 and row["rounds"] == rounds
        assert row["limits"]["floor"] < row["limits"]["bound"] < PERFECT
        assert 0 < row["processor_seconds"] <= 7
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert [line[0] for line in lines] == ["default", "cryodrgn", "relion"] and lines[0][6] == "4"


def test_the_mask_of_relion_holds_the_largest_molecule(load: Callable, work: Path) -> None:
    judge = load("peer_mixture").Judge(work, 1, "none")
    assert judge.molecules == 3 and judge.particles == 48
    radius = judge.largest_diameter() / 2
    at = (np.indices((BOX,) * 3) - BOX // 2) * judge.pixel_size
    outside = np.linalg.norm(at, axis=0) > radius
    maps = [read_volume(path)[0] for path in sorted((work / "set" / "truth").glob("map_*.mrc"))]
    assert len(maps) == 3 and all(one[outside].max(initial=0) <= 0.05 * one.max() for one in maps)
    assert 0 < radius < BOX * judge.pixel_size


def test_what_is_missing_is_named(load: Callable, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main = load("peer_mixture").main
    assert main([str(tmp_path / "empty")]) == 1
    assert "no set of mixture.py" in capsys.readouterr().err
    assert main([str(work), "--peers", "relion", "--relion", "no-such-peer"]) == 1
    assert "no-such-peer: no such program" in capsys.readouterr().err
    other = tmp_path / "other"
    (other / "set" / "truth").mkdir(parents=True)
    write_json(other / "mixture.json", {**json.loads((work / "mixture.json").read_text()), "rows": {}})
    assert main([str(other)]) == 1
    assert "no row default to take the time from" in capsys.readouterr().err
