"""How many classes of particles are found in latents of known ones, and in continua, and whether probabilities hold.

    python benchmarks/classes.py --json classes.json                   about 15 minutes on two CPU cores
    python benchmarks/classes.py --rows continua --seeds 20

Classes: centres drawn in r of d directions so that the median distance of a class to its nearest is so many of its own
deviations; sizes, widths (15 %) and the noise along each direction (a factor of 1.5 either way) differ, and everything
is turned. A pair of classes is much nearer than the median in every set of many. Probabilities: among the particles
called 85 to 95 % sure, the share that is of the class that most of their class are of. Continua: how many of so many
seeds are called one class.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np
from harness import environment
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from libhetero.analysis.latent_classes import classes_of
from libhetero.configuration import write_json

# classes, particles, numbers of a latent, directions that tell classes apart, deviations to the nearest
SETS = (
    (2, 2000, 10, 1, 4.0),
    (10, 3000, 10, 10, 5.0),
    (100, 6000, 100, 40, 6.0),
    (100, 15000, 100, 40, 5.0),
    (300, 9000, 50, 20, 6.0),
    (1000, 20000, 50, 30, 7.0),
)
SIZES = ((500, 2), (3000, 2), (3000, 20))


def mixed(
    classes: int, count: int, numbers: int, directions: int, apart: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return latents of so many classes, and the class of each."""
    rng = np.random.default_rng(seed)
    label = rng.choice(classes, count, p=rng.dirichlet(np.full(classes, 5.0)))
    centre = rng.normal(size=(classes, directions))
    distance = cdist(centre, centre)
    np.fill_diagonal(distance, np.inf)
    centre *= apart / np.median(distance.min(axis=1))
    points = rng.normal(size=(count, numbers)) * np.exp(0.15 * rng.normal(size=classes))[label][:, None]
    points[:, :directions] += centre[label]
    turn, _ = np.linalg.qr(rng.normal(size=(numbers, numbers)))
    return (points * np.exp(np.log(1.5) * rng.uniform(-1, 1, numbers))) @ turn.T, label


def continuum(kind: str, count: int, numbers: int, seed: int) -> np.ndarray:
    """Return latents of one continuum, or of two states to see the power."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, numbers))
    angle = rng.uniform(0, 2 * np.pi, count)
    along = {
        "Gaussian": lambda: None,
        "uniform": lambda: np.copyto(points[:, 0], rng.uniform(-5, 5, count)),
        "square": lambda: np.copyto(points[:, :2], rng.uniform(-4, 4, (count, 2))),
        "tails (t, 4)": lambda: np.multiply(points, np.sqrt(4 / rng.chisquare(4, (count, 1))), out=points),
        "skewed": lambda: np.copyto(points[:, 0], 2 * rng.gamma(2.0, size=count)),
        "circle": lambda: np.add(points[:, :2], 6 * np.stack([np.cos(angle), np.sin(angle)], 1), out=points[:, :2]),
        "arc": lambda: np.add(
            points[:, :2], 8 * np.stack([np.cos(angle / 2), np.sin(angle / 2)], 1), out=points[:, :2]
        ),
        "two states at 3": lambda: np.add(points[:, 0], 3 * (rng.random(count) < 0.5), out=points[:, 0]),
        "80:20 at 4": lambda: np.add(points[:, 0], 4 * (rng.random(count) < 0.8), out=points[:, 0]),
    }
    along[kind]()
    return points


def right(found: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return which particles are of the true class that most of their class are of."""
    table = np.zeros((found.max() + 1, label.max() + 1))
    np.add.at(table, (found, label), 1)
    return table.argmax(axis=1)[found] == label


def class_rows(seed: int) -> list[dict]:
    """Measure the sets of classes."""
    rows = []
    for classes, count, numbers, directions, apart in SETS:
        points, label = mixed(classes, count, numbers, directions, apart, seed)
        began = time.perf_counter()
        found = classes_of(points, seed=seed)
        seconds = time.perf_counter() - began
        correct, sure = right(found.label, label), found.probability
        nearly = (sure >= 0.85) & (sure < 0.95)
        row = {
            "classes": classes,
            "particles": count,
            "numbers": numbers,
            "apart": apart,
            "found": found.count,
            "ari": float(adjusted_rand_score(label, found.label)),
            "called 0.9": float(correct[nearly].mean()) if nearly.any() else float("nan"),
            "seconds": seconds,
        }
        rows.append(row)
        print(
            f"{classes:7d} {count:9d} {numbers:8d} {apart:6.1f} {row['found']:6d} {row['ari']:6.3f} "
            f"{row['called 0.9']:10.2f} {seconds:8.0f}",
            flush=True,
        )
    return rows


def continuum_rows(seeds: int) -> list[dict]:
    """Count, for each continuum and size, the seeds that are called one class."""
    kinds = (
        "Gaussian",
        "uniform",
        "square",
        "tails (t, 4)",
        "skewed",
        "circle",
        "arc",
        "two states at 3",
        "80:20 at 4",
    )
    rows = []
    for kind in kinds:
        ones = [
            sum(classes_of(continuum(kind, *size, seed), seed=seed).count == 1 for seed in range(seeds))
            for size in SIZES
        ]
        rows.append({"kind": kind, "seeds": seeds, "one class": ones})
        print(f"{kind:16s}" + "".join(f"{one:10d} of {seeds}" for one in ones), flush=True)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", choices=("classes", "continua", "all"), default="all")
    parser.add_argument("--seed", type=int, default=1, help="of the sets of classes")
    parser.add_argument("--seeds", type=int, default=5, help="of each continuum")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(argv)
    results: dict = {"environment": environment()}
    if options.rows != "continua":
        print("classes particles  numbers  apart  found    ARI called 0.9  seconds")
        results["classes"] = class_rows(options.seed)
    if options.rows != "classes":
        print("one class".ljust(16) + "".join(f"{count} in {numbers}".rjust(15) for count, numbers in SIZES))
        results["continua"] = continuum_rows(options.seeds)
    if options.json:
        write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
