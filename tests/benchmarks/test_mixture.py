"""benchmarks/mixture.py at a tiny size, what its rows are, and what it refuses."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from libhetero.cli import configuration_of
from libhetero.configuration import from_dict, to_dict
from libhetero.io import Atoms
from libhetero.models.hype.config import HypeConfig
from libhetero.models.hype.latent.class_search import LOW
from libhetero.pipelines.run.configuration import new_config
from libhetero.pipelines.simulate import SimulateConfig
from programs import e2hype_refine, e2hype_simulate
from tests.making.atoms import dumbbell, write_model

FIGURES = {"fsc_auc_mean", "fsc_auc_median", "fsc_auc_std", "ratio_to_bound", "gap_closed", "chamfer", "viou"}
COSTS = {"seconds", "processor_seconds", "peak_memory"}
TRAINED = FIGURES | COSTS | {"ari", "ami", "images_per_s", "epochs"}


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    """A dumbbell, filled with atoms and twice as long, and one half of that."""
    thin = dumbbell()
    atoms = jax.tree.map(lambda values: np.repeat(values, 40, axis=0), vars(thin))
    cloud = 2 * atoms["position"] + np.random.default_rng(0).normal(0, 5, atoms["position"].shape)
    atoms |= {"position": cloud.astype(np.float32), "residue": np.arange(1, len(cloud) + 1, dtype=np.int32)}
    atoms = Atoms(**atoms)
    short = dataclasses.replace(atoms, position=atoms.position * np.float32([0.5, 1, 1]))
    return [str(write_model(tmp_path / f"{name}.pdb", one)) for name, one in (("a", atoms), ("b", short))]


@pytest.mark.timeout(900)
def test_a_tiny_run(
    load: Callable,
    in_process: list[str],
    models: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("libhetero.models.hype.latent.class_search.STAGES", (LOW,))  # a third of what is to be compiled
    path = tmp_path / "figures.json"
    work = str(tmp_path / "work")
    options = ["--profile", "tiny", "--seed", "3", "--structures", *models, "--json", str(path), "--work", work]
    assert load("mixture").main([*options, "--rows", "network", "--seconds", "0.5"]) == 0
    report = json.loads(path.read_text())
    assert report["structures"] == 2 and report["models"] == ["a.pdb", "b.pdb"]
    rows = report["rows"]
    assert set(rows) == {"network", "bound", "floor"}
    assert set(rows["network"]) >= TRAINED and set(rows["bound"]) >= FIGURES
    assert rows["bound"]["gap_closed"] == 1 and rows["floor"]["gap_closed"] == 0
    assert rows["bound"]["fsc_auc_mean"] > rows["floor"]["fsc_auc_mean"]
    trained = [command for command in in_process if "refine" in command]
    assert "--ind pilot.pkl" in trained[0] and f"--niter {rows['network']['epochs']}" in trained[1]
    assert all("--seed 3" in command for command in in_process)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-5:-2]] == ["network", "bound", "floor"]
    count = len(in_process)
    assert load("mixture").main([*options, "--rows", "network", "mlp", "start", "--seconds", "0.5"]) == 0
    both = json.loads(path.read_text())["rows"]
    assert set(both) == {"network", "mlp", "start", "bound", "floor"} and both["network"] == rows["network"]
    assert set(both["start"]) >= FIGURES | COSTS | {"ari", "ami", "classes"}
    added = in_process[count:]
    assert [command.split()[0] for command in added[3:]] == ["e2hype_classify.py", "e2hype_score.py"]
    added = added[:3]
    assert [command.split()[0] for command in added] == [f"e2hype_{name}.py" for name in ("refine", "refine", "score")]
    assert all("mlp" in command for command in added)
    assert load("mixture").main([*options, "--seconds", "3"]) == 1
    assert "another training_seconds (0.5); expected 3" in capsys.readouterr().err


@pytest.fixture
def model_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict]:
    """Return a function from options of e2hype_refine.py to the model that they make; profiles share many."""
    made: list[dict] = []
    monkeypatch.setattr(
        "libhetero.pipelines.refine.run", lambda config, **_: made.append(to_dict(new_config(config).model))
    )
    monkeypatch.setattr("libhetero.pipelines.refine.next_steps", lambda folder: [])

    @functools.cache
    def model(*words: str) -> dict:
        assert e2hype_refine.main(["p.star", "--path", "run", *words]) == 0
        return made[-1]

    return lambda options: model(*options.split())


def test_rows_are_models_of_their_own(load: Callable, model_of: Callable[[str], dict]) -> None:
    """And each cuts what its encoder sees."""
    mixture = load("mixture")
    for profile in mixture.PROFILES.values():
        of_rows = {row: model_of(mixture.training_options(profile, row)) for row in mixture.ROWS}
        for row, values in of_rows.items():
            config = from_dict(HypeConfig, values)
            assert config.seen_shape(profile.box)[0] % config.patch == 0, row
        options = (profile.paper if row == "paper" else f"{profile.training} {mixture.ROWS[row]}" for row in of_rows)
        made = [model_of(words) for words in options]
        assert len({json.dumps(model) for model in made}) == len(made)
        default, network, paper, concat, mlp, unet = made
        assert default["start"] == "classes" and network == {**default, "start": "none"}
        assert paper["output"] == "hartley" and paper["modulation"] == "multiply"
        assert not (paper["positions"] or paper["align"] or paper["view"] or paper["coordinates"])
        assert {**concat, "conditioning": "hypernetwork"} == network
        assert {**mlp, "encoder": "transformer"} == {**unet, "encoder": "transformer"} == network


def test_a_thousand_complexes_are_made_from_the_seed(load: Callable) -> None:
    mixture = load("mixture")
    options = mixture.build_parser().parse_args(["--profile", "1000", "--seed", "4"])
    command = mixture.simulation(options, mixture.PROFILES["1000"])
    words = "mixture set --structures 1000 --n 1000000 --box 256 --crop 128 --apix 3 --snr 0.01 --seed 4 --resume"
    assert command == f"e2hype_simulate.py {words}"


def test_three_of_ten_molecules_move(load: Callable, capsys: pytest.CaptureFixture) -> None:
    """The simulator takes the command, and the table tells how far volumes follow, of each molecule."""
    mixture = load("mixture")
    options = mixture.build_parser().parse_args(["--profile", "cpu_moving", "--structures", __file__, __file__])
    words = mixture.simulation(options, mixture.PROFILES["cpu_moving"]).split()[1:]
    asked = configuration_of(e2hype_simulate.build_parser().parse_args(words), SimulateConfig)
    assert asked.moving == (1, 2, 3) and asked.rmsd == 6 and asked.pieces == 2 and asked.particles == 600
    one = dict.fromkeys(("own", "unturned", "still", "bound", "correlation", "extent"), 0.25)
    mixture.print_following({"start": {"following": {"2": {**one, "rho_volumes": [0.125, 0.5]}}}, "floor": {}})
    found = capsys.readouterr().out.splitlines()
    assert found[-1].split() == ["start", "2", *6 * ["0.250"], "0.500", "-"] and len(found) == 3


def test_profiles_of_a_thousand_and_of_much_noise(load: Callable) -> None:
    mixture = load("mixture")
    options = mixture.build_parser().parse_args(["--profile", "cpu1000"])
    command = mixture.simulation(options, mixture.PROFILES["cpu1000"])
    assert "--structures 1000 --n 50000 --box 48 --apix 6 --snr 0.2" in command
    noisy = mixture.PROFILES["cpu_noisy"]
    assert (noisy.structures, noisy.images, noisy.box, noisy.pixel_size, noisy.snr) == (10, 2000, 64, 5.0, 0.01)
    assert noisy.wanted == mixture.PROFILES["cpu1000"].wanted == ("default", "start")


@pytest.mark.parametrize(
    ("profile", "words", "first"),
    [
        ("cpu", [], "default train"),
        ("cpu100", [], "default train"),
        ("cpu", ["--seconds", "60"], "default pilot"),
        ("cpu", ["--rows", "network"], "network pilot"),
        ("full", [], "default pilot"),
    ],
)
def test_the_default_row_of_two_cores_is_what_a_user_gets(
    load: Callable,
    tmp_path: Path,
    models: list[str],
    monkeypatch: pytest.MonkeyPatch,
    profile: str,
    words: list[str],
    first: str,
) -> None:
    """It is trained without --niter; others, and all where the time is said, by the rate of a pilot."""
    mixture, stages = load("mixture"), []

    def run_stage(name: str, command: str, folder: Path) -> None:
        stages.append((name, command))
        (folder / "set").mkdir(exist_ok=True)
        if name != "simulate":
            raise mixture.UserError("stopped")
        return mixture.StageResult(name, command, 1.0, 1)

    monkeypatch.setattr(mixture, "run_stage", run_stage)
    options = ["--profile", profile, "--structures", *models, "--work", str(tmp_path / "work"), *words]
    assert mixture.main(options) == 1
    assert [name for name, _ in stages] == ["simulate", first]
    assert ("--niter" in stages[1][1]) == first.endswith("pilot")


def test_an_interrupted_simulation_can_go_on(
    load: Callable, tmp_path: Path, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture, commands = load("mixture"), []

    def stopped(name: str, command: str, folder: Path) -> None:
        commands.append(command)
        raise mixture.UserError("no space left")

    monkeypatch.setattr(mixture, "run_stage", stopped)
    options = ["--profile", "tiny", "--structures", *models, "--work", str(tmp_path / "work")]
    assert mixture.main(options) == mixture.main(options) == 1
    assert len(commands) == 2 and all("simulate" in command and "--resume" in command for command in commands)


def test_a_foreign_folder_is_left_alone(
    load: Callable, tmp_path: Path, models: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert load("mixture").main(["--structures", *models, "--work", str(tmp_path)]) == 1
    assert "not empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cpu", "full"])
def test_the_first_structures_of_the_list_are_taken(load: Callable, name: str) -> None:
    mixture = load("mixture")
    if not (mixture.SHARED / "mixture" / "list.csv").is_file():
        pytest.skip("the shared structures are not beside the project")
    profile = mixture.PROFILES[name]
    models = mixture.find_models(mixture.build_parser().parse_args([]), profile)
    assert len(set(models)) == profile.structures and models[0].name == "6IRF.cif.gz"


def test_a_missing_model_is_named(load: Callable, capsys: pytest.CaptureFixture) -> None:
    assert load("mixture").main(["--structures", "no.cif"]) == 1
    assert "no.cif: no such file" in capsys.readouterr().err
