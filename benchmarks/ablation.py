"""What each part of a default model and of its training is worth.

    python benchmarks/ablation.py --json ablation.json                  Point Transformer, 25 minutes on two cores
    python benchmarks/ablation.py --model cryohype --json hype.json     CryoHype, 20 minutes a seed on two cores

One set made from the seed: a complex whose pieces come and go, or several molecules. Each row changes
one thing of the first row and trains on nine tenths of the particles. `held_out` is the loss of the last
tenth at the parameters kept, in thousandths above the first row's (less is better; with an encoder
network or another loss it holds more than the misfit: compare the other figures); the others are those of
e2hype_score.py. Read the mean of several seeds. The JSON file is written anew after every row, so that a
run can be stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.cli.stages import run_stage
from libhetero.configuration import read_json, write_json
from libhetero.errors import UserError
from libhetero.training.log import read_log


@dataclass(frozen=True)
class Study:
    """One model, the set that it is tried on, and what is changed of it.

    Parameters
    ----------
    simulated, quick : options of e2hype_simulate.py, and those of a set of seconds.
    before : further stages, name and command; {seed} and {gaussians} (300, quick 40) are filled in.
    training : options of e2hype_refine.py that all rows have.
    epochs : of every row.
    scoring : options of e2hype_score.py.
    figures : name of each figure and where it stands in the scores.
    rows : further options of each row, the default first.
    """

    simulated: str
    quick: str
    before: tuple[tuple[str, str], ...]
    training: str
    epochs: int
    scoring: str
    figures: dict[str, tuple[str, ...]]
    rows: dict[str, str]


POINT_TRANSFORMER = Study(
    simulated="assembly set --n 1500 --box 32 --apix 6 --snr 0.2",
    quick="assembly set --n 96 --box 16 --apix 8 --snr 1 --diameter 75 --pieces 2",
    before=(
        ("consensus", "e2hype_make3d.py set/particles.star consensus.mrc"),
        ("Gaussians", "e2hype_guess_n.py consensus.mrc gmm.txt --ngauss {gaussians} --seed {seed}"),
    ),
    training="--model gmm.txt --pointtransformer --preset small",
    epochs=8,
    scoring="--images 0",
    figures={
        "accuracy": ("gaussians", "amplitude", "percentile", "all"),
        "optional": ("gaussians", "amplitude", "percentile", "optional"),
    },
    rows={
        "default": "",
        "layer normalisation": "--set normalise=true",
        "published interpolation weights": "--set interpolation_weights=published",
        "a weight for every channel": "--set attention_groups=0",
        "one attention weight": "--set attention_groups=1",
        "one level": "--set points=128",
        "4 neighbours": "--set neighbours=4",
        "4 latent numbers more": "--nmid 8",
        "1 inference step": "--set inference_steps=1",
        "3 inference steps": "--set inference_steps=3",
        "constant rate": "--schedule constant",
        "no warm-up": "--warmup 0",
        "no clipping": "--clip 0",
        "no running average": "--ema 0",
        "a third of the rate": "--learnrate 3e-4",
        "three times the rate": "--learnrate 3e-3",
        "MLP": "--decoder mlp",
        "encoder network, 4 latent numbers": "--encoder network --nmid 4",
    },
)
CRYOHYPE = Study(
    simulated="mixture set --structures 8 --n 1600 --box 32 --apix 6 --snr 0.1",
    quick="mixture set --structures 2 --n 64 --box 16 --apix 8 --snr 1",
    before=(),
    training="--preset small --start none",
    epochs=6,
    scoring="--images 64 --mask none",
    figures={"ari": ("labels", "kmeans", "ari"), "gap": ("volumes", "gap_closed")},
    rows={
        "default": "",
        "begun from classes": "--start classes",
        "real INR (Hartley)": "--set output=hartley",
        "no positions of patches": "--set positions=false",
        "base ⊙ head": "--set modulation=multiply",
        "all pixels": "--set coordinates=0",
        "a fourth of the pixels": "--set coordinates=100",
        "64 features": "--set inr_frequencies=64",
        "output not scaled to the signal": "--set profile=false",
        "phase-flipped input": "--set encoder_input=flipped",
        "input as it is": "--set encoder_input=real",
        "image in its plane": "--set lift=0",
        "the same, not turned": "--set lift=0 --set align=false",
        "direction of view not told": "--set view=false",
        "bfloat16 operands": "--precision bfloat16",
        "constant rate": "--schedule constant",
        "no warm-up": "--warmup 0",
        "no clipping": "--clip 0",
        "no running average": "--ema 0",
        "half the rate": "--learnrate 1e-3",
        "twice the rate": "--learnrate 4e-3",
        "MLP encoder": "--encoder mlp",
        "concatenation": "--conditioning concat",
    },
)
STUDIES = {"pointtransformer": POINT_TRANSFORMER, "cryohype": CRYOHYPE}


def main(argv: list[str] | None = None) -> int:
    """Run the rows, print the table and write it as JSON."""
    options = parsed(argv)
    study = STUDIES[options.model]
    each: dict[str, list[dict[str, float]]] = {name: [] for name in options.rows}
    try:
        with tempfile.TemporaryDirectory() as name:
            for seed in range(options.seed, options.seed + options.seeds):
                folder = Path(name) / str(seed)
                folder.mkdir()
                for row, figures in run_seed(folder, seed, study, options.rows, options.quick):
                    each[row].append(figures)
                    if options.json:
                        table = table_of(each)
                        write_json(Path(options.json), {"model": options.model, "rows": table, "each": each})
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print_table(table_of(each))
    return 0


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """Return the options, checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", choices=tuple(STUDIES), default="pointtransformer", help="default: pointtransformer")
    add("--json", metavar="FILE", help="write the table here too")
    add("--seeds", type=int, default=2, help="sets and trainings that are averaged (default: 2)")
    add("--seed", type=int, default=0, help="the first of them (default: 0)")
    add("--rows", nargs="+", metavar="ROW", help="run these alone; the first is compared with (default: all)")
    add("--quick", action="store_true", help="a set of seconds, to try the program")
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error(f"--seeds: expected 1 or more; got {options.seeds}")
    rows = STUDIES[options.model].rows
    options.rows = options.rows or list(rows)
    unknown = [row for row in options.rows if row not in rows]
    if unknown:
        parser.error(f"--rows: expected some of {', '.join(rows)}; got {unknown[0]!r}")
    return options


def run_seed(
    folder: Path, seed: int, study: Study, rows: list[str], quick: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of every row on the set of one seed, as they are found."""
    simulated, epochs = (study.quick, 1) if quick else (study.simulated, study.epochs)
    run_stage("simulate", f"e2hype_simulate.py {simulated} --seed {seed}", folder)
    for name, command in study.before:
        run_stage(name, command.format(seed=seed, gaussians=40 if quick else 300), folder)
    for number, row in enumerate(rows):
        run = f"run_{number:02d}"
        command = (
            f"e2hype_refine.py set/particles.star --path {run} {study.training} "
            f"--niter {epochs} --usetest 0.1 --seed {seed} {study.rows[row]}"
        )
        trained = run_stage(row, command, folder)
        run_stage("score", f"e2hype_score.py {run} {study.scoring} --json {run}.json", folder)
        lines = read_log(folder / run / "log.jsonl")
        scores = read_json(folder / f"{run}.json")
        yield (
            row,
            {
                "held_out": min(line["test_loss"] for line in lines if "test_loss" in line),
                **{name: value_at(scores, path) for name, path in study.figures.items()},
                "seconds": trained.seconds,
            },
        )


def value_at(scores: Any, path: tuple[str, ...]) -> float:
    """Return a figure from nested scores."""
    for name in path:
        scores = scores[name]
    return scores


def table_of(each: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean over seeds of every figure of the rows found so far; held_out above the first row's."""
    first = next(iter(each.values()))
    table = {}
    for row, found in each.items():
        if found:
            table[row] = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            above = [own["held_out"] - base["held_out"] for own, base in zip(found, first, strict=False)]
            table[row]["held_out"] = 1e3 * float(np.mean(above))
    return table


def print_table(table: dict[str, Any]) -> None:
    """Print one line a row."""
    names = list(next(iter(table.values())))
    print(f"\n{'row':<36}" + "".join(f"{name:>10}" for name in names))
    for row, figures in table.items():
        cells = "".join(f"{figures[name]:>10.{0 if name == 'seconds' else 3}f}" for name in names)
        print(f"{row:<36}{cells}")


if __name__ == "__main__":
    sys.exit(main())
