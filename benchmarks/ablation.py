"""What each part of the default Point Transformer and of its training is worth.

    python benchmarks/ablation.py --json ablation.json        about 25 minutes on two CPU cores

One set of a complex made from the seed, whose pieces come and go; each row changes one thing of the
first row and trains on nine tenths of the particles. `held_out` is the loss of the last tenth at the
parameters kept (misfit over the noise power; less is better), in thousandths above the first row's
(with an encoder network it holds that one's penalty too: compare its accuracy); `accuracy` and
`optional` are those of benchmarks/assembly.py. Read the mean of several seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.cli.stages import run_stage
from libhetero.configuration import read_json, write_json
from libhetero.errors import UserError
from libhetero.training.log import read_log

SET = "--n 1500 --box 32 --apix 6 --snr 0.2"
GAUSSIANS = 300
EPOCHS = 8
ROWS = {
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
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the rows, print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--json", metavar="FILE", help="write the table here too")
    add("--seeds", type=int, default=2, help="sets and trainings that are averaged (default: 2)")
    add("--rows", nargs="+", choices=tuple(ROWS), metavar="ROW", default=list(ROWS),
        help="run these alone; the first is compared with (default: all)")  # fmt: skip
    add("--quick", action="store_true", help="a set of seconds, to try the program")
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error(f"--seeds: expected 1 or more; got {options.seeds}")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.rows}
    try:
        with tempfile.TemporaryDirectory() as name:
            for seed in range(options.seeds):
                folder = Path(name) / str(seed)
                folder.mkdir()
                for row, figures in run_seed(folder, seed, options.rows, options.quick).items():
                    found[row].append(figures)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    table = {row: mean_of(figures) for row, figures in found.items()}
    print_table(table)
    if options.json:
        write_json(Path(options.json), {"rows": table, "seeds": options.seeds, "each": found})
    return 0


def run_seed(folder: Path, seed: int, rows: list[str], quick: bool) -> dict[str, dict[str, float]]:
    """Return the figures of every row on the set of one seed."""
    size, gaussians, epochs = (SET, GAUSSIANS, EPOCHS)
    if quick:
        size, gaussians, epochs = "--n 96 --box 16 --apix 8 --snr 1 --diameter 75 --pieces 2", 40, 1
    run_stage("simulate", f"e2hype_simulate.py assembly set {size} --seed {seed}", folder)
    run_stage("consensus", "e2hype_make3d.py set/particles.star consensus.mrc", folder)
    guess = f"e2hype_guess_n.py consensus.mrc gmm.txt --ngauss {gaussians} --seed {seed}"
    run_stage("Gaussians", guess, folder)
    found = {}
    for number, row in enumerate(rows):
        run = f"run_{number:02d}"
        command = (
            f"e2hype_refine.py set/particles.star --path {run} --model gmm.txt --pointtransformer "
            f"--preset small --pas 010 --niter {epochs} --usetest 0.1 --seed {seed} {ROWS[row]}"
        )
        trained = run_stage(row, command, folder)
        run_stage("score", f"e2hype_score.py {run} --images 0 --json {run}.json", folder)
        lines = read_log(folder / run / "log.jsonl")
        amplitude = read_json(folder / f"{run}.json")["gaussians"]["amplitude"]["percentile"]
        found[row] = {
            "held_out": min(line["test_loss"] for line in lines if "test_loss" in line),
            "accuracy": amplitude["all"],
            "optional": amplitude["optional"],
            "seconds": trained.seconds,
        }
    first = found[rows[0]]["held_out"]
    for figures in found.values():
        figures["held_out"] = 1e3 * (figures["held_out"] - first)
    return found


def mean_of(figures: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean over seeds of every figure."""
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}


def print_table(table: dict[str, Any]) -> None:
    """Print one line a row."""
    print(f"\n{'row':<36}{'held_out':>10}{'accuracy':>10}{'optional':>10}{'seconds':>9}")
    for row, figures in table.items():
        print(
            f"{row:<36}{figures['held_out']:10.2f}{figures['accuracy']:10.3f}"
            f"{figures['optional']:10.3f}{figures['seconds']:9.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
