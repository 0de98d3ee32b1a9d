"""Losses of 50 steps of both families, as they were when they were recorded: a rebuilt house trains as the old one did.

`python tests/pipelines/test_recorded_losses.py` records them anew, where a change of results is meant.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

RECORD = Path(__file__).parent / "recorded" / "losses.json"
PROJECT = Path(__file__).resolve().parents[2]
HYPE = (
    "--preset small --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 --set feed_forward=16 "
    "--set weight_tokens=2 --set inr_width=16 --set inr_layers=1 --set inr_frequencies=8 --set coordinates=40 "
    "--contrast none --start none"
)
GMM = "--preset small --set encoder_width=16 --set mlp_width=16 --model gmm.txt"
CASES = {
    "hype": HYPE,
    "hype published": f"{HYPE} --set lift=0 --set encoder_input=flipped --set output=hartley --set blind=false "
    "--optimiser adam",
    "point transformer": f"{GMM} --pointtransformer --nmid 3",
    "mlp, network, frc": f"{GMM} --decoder mlp --encoder network --nmid 3 --set loss=frc --sym c2",
}
OPTIMISED = ("hype", "mlp, network, frc")  # one case of each family
TRAINING = "--niter 10 --batchsz 8 --seed 5 --report 1 --checkpoint 10"


def _losses(name: str, folder: Path) -> list[float]:
    """Train a case in a folder of its own through the program and return the loss of every step."""
    from tests.making.sets import write_tiny_set

    path = PROJECT / "programs" / "e2hype_refine.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    write_tiny_set(folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        assert program.main(["particles.star", *CASES[name].split(), *TRAINING.split(), "--path", "run"]) == 0
    finally:
        os.chdir(before)
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def optimised() -> dict[str, list[float]]:
    """Some cases compiled as users compile, in a process of its own: other tests leave the optimisations out.

    What it has compiled is kept for the next session, under names of their own, for they tell of the flags.
    """
    kept = ("JAX_PLATFORMS", "JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(kept) or not name.startswith(("JAX_", "XLA_"))
    }
    environment["PYTHONPATH"] = str(PROJECT)
    command = [sys.executable, __file__, *OPTIMISED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CASES)
def test_losses_are_those_recorded(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Rounding differs between processors and grows from step to step: a ten-thousandth is allowed."""
    expected = json.loads(RECORD.read_text())[name]
    found = request.getfixturevalue("optimised")[name] if name in OPTIMISED else _losses(name, tmp_path)
    assert len(found) == len(expected) == 50
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def main(names: list[str]) -> None:
    """Print the losses of these cases as the last line; record those of all where none is named."""
    sys.path.insert(0, str(PROJECT))
    found = {}
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = _losses(name, Path(folder))
    if names:
        print(json.dumps(found))
    else:
        RECORD.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
