"""What a user would run instead: RELION's 3D classification and cryoDRGN, on the images of one row of robustness.py.

    python benchmarks/robustness.py --rows ideal --work work
    python benchmarks/peer_classes.py work/seed_0/ideal --seconds 600 --json peers.json

The same images, poses, CTFs, consensus map, and cores. Peers are found on PATH, or named: --relion, --cryodrgn. Each is
stopped when its time is over, and what it had by then is scored:

    RELION      relion_refine --skip_align, K classes, which begin as the consensus map at 30 Å
    cryoDRGN    train_vae at its default network; its latents z by k-means
    libhetero   the latents of the row's own run by k-means, and its classes of regions

A class says nothing of a piece by itself: here each is called by whether most of its particles have it, which takes the
truth, so that `presence` is the most that classes can tell. Latents are read by a linear rule too, learnt from the
truth of one half of the particles and tried on the other (`linear`). `all present` calls every piece present.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import environment, shown
from peers import Allowance, Cost, classify_by_relion, relion_classes, train_cryodrgn
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from libhetero.analysis.classes import kmeans_classes
from libhetero.configuration import read_json, write_json
from libhetero.errors import UserError
from libhetero.io import read_latent
from libhetero.io.pickled import read_pickle
from libhetero.metrics.labels import with_the_most
from libhetero.pipelines.scoring.truth import Truth, open_truth

TITLES = ("classes", "presence", "linear", "AMI", "ARI of states", "seconds")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the peers, print the table, return the exit code."""
    options = build_parser().parse_args(argv)
    try:
        rows = run(options, Path(options.folder).absolute())
        if options.json:
            write_json(Path(options.json), {"rows": rows, **environment()})
    except (UserError, OSError) as error:
        print(f"peer_classes.py: {error}", file=sys.stderr)
        return 1
    print_table(rows)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="of a row: set/, consensus.mrc, and run/ where it was trained")
    add("--peers", nargs="*", choices=("relion", "cryodrgn"), default=["relion", "cryodrgn"], help="default: both")
    add("--relion", default="relion_refine", metavar="COMMAND", help="default: relion_refine, on PATH")
    add("--cryodrgn", default="cryodrgn", metavar="COMMAND", help="default: cryodrgn, on PATH")
    add("--classes", type=int, default=8, metavar="K", help="of RELION (default: 8)")
    add("--tau2_fudge", type=float, default=1.0, metavar="T", help="of RELION; 4, its usual one, overfits (default: 1)")
    add("--kmeans", type=int, default=20, metavar="K", help="classes of latents (default: 20, cryoDRGN's own)")
    add("--rounds", type=int, default=25, help="iterations of RELION, epochs of cryoDRGN (default: 25)")
    add("--seconds", type=float, default=600.0, help="that each peer may take (default: 600)")
    add("--seed", type=int, default=0, help="of peers and k-means (default: 0)")
    add("--json", metavar="FILE", help="write the figures here too")
    return parser


def run(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the figures of libhetero and of each peer.

    Raises
    ------
    UserError : if the folder is no row of an assembly, or a peer is missing or leaves nothing.
    """
    truth = open_truth(folder / "set" / "truth")
    states = truth.known(truth.states, "states")
    rows = {"all present": {"presence": float(states[:, optional(states)].mean())}}
    if (folder / "run" / "mid_00.txt").is_file():
        rows["libhetero, k-means"] = score_latents(read_latent(folder / "run" / "mid_00.txt")[1], states, options)
    if (folder / "score.json").is_file():
        classes = read_json(folder / "score.json").get("gaussians", {}).get("classes", {})
        rows["libhetero, regions"] = {"presence": classes.get("accuracy")}
    steps: dict[str, Callable[..., tuple[dict[str, Any], Cost]]] = {"relion": run_relion, "cryodrgn": run_cryodrgn}
    for name in options.peers:
        figures, cost = steps[name](options, folder, truth, states)
        rows[name] = {**figures, "seconds": cost.seconds}
    return rows


def run_relion(
    options: argparse.Namespace, folder: Path, truth: Truth, states: np.ndarray
) -> tuple[dict[str, Any], Cost]:
    """Return the figures of RELION's classes after the last iteration that it finished, and what it cost."""
    position = truth.known(truth.position, "atoms")
    diameter = 2.2 * float(np.linalg.norm(position, axis=1).max())
    width = truth.box_size * truth.pixel_size
    left = classify_by_relion(
        options.relion,
        folder,
        allowance(options),
        classes=options.classes,
        rounds=options.rounds,
        tau=options.tau2_fudge,
        diameter=min(diameter, 0.95 * width),
        seed=options.seed,
    )
    return {"rounds": left.rounds, **score_classes(relion_classes(left.path, len(states)), states)}, left.cost


def run_cryodrgn(
    options: argparse.Namespace, folder: Path, truth: Truth, states: np.ndarray
) -> tuple[dict[str, Any], Cost]:
    """Return the figures of cryoDRGN's latents after the last epoch that it finished, and what it cost."""
    left = train_cryodrgn(options.cryodrgn, folder, allowance(options), rounds=options.rounds, seed=options.seed)
    latent = np.asarray(read_pickle(left.path))
    return {"rounds": left.rounds, **score_latents(latent, states, options)}, left.cost


def allowance(options: argparse.Namespace) -> Allowance:
    """Return what each peer may take: seconds of the clock, on all cores."""
    return Allowance(options.seconds, threads=os.cpu_count() or 1)


# Figures ----------------------------------------------------------------------------------------


def optional(states: np.ndarray) -> np.ndarray:
    """Return which pieces are sometimes absent, (pieces,) bool."""
    return np.any(states == 0, axis=0)


def score_classes(label: np.ndarray, states: np.ndarray) -> dict[str, Any]:
    """Return how much classes of particles tell of the pieces that come and go, mean over these.

    Parameters
    ----------
    label : (N,) class of each particle, -1 for none.
    states : (N, pieces), 1 where a piece is there.

    Returns
    -------
    "presence", the share of particles whose class says rightly whether a piece is there; "ami", adjusted mutual
    information of class and presence; "ari", adjusted Rand index with whole states.
    """
    pieces = states[:, optional(states)].T
    return {
        "classes": len(np.unique(label)),
        "presence": float(np.mean([with_the_most(piece, label).mean() for piece in pieces])),
        "ami": float(np.mean([adjusted_mutual_info_score(piece, label) for piece in pieces])),
        "ari": float(adjusted_rand_score(np.unique(states, axis=0, return_inverse=True)[1], label)),
    }


def score_latents(latent: np.ndarray, states: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """Return the same of k-means classes of latents, and of a linear rule learnt on the other half of the particles."""
    figures = score_classes(kmeans_classes(latent, options.kmeans, options.seed), states)
    scaled = (latent - latent.mean(axis=0)) / np.maximum(latent.std(axis=0), 1e-12)
    half = np.random.default_rng(options.seed).permutation(len(latent)) % 2 == 0
    right = []
    for piece in states[:, optional(states)].T:
        for known in (half, ~half):
            rule = LogisticRegression(max_iter=1000).fit(scaled[known], piece[known])
            right.append(rule.score(scaled[~known], piece[~known]))
    return {**figures, "linear": float(np.mean(right))}


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print one line a program."""
    keys = ("classes", "presence", "linear", "ami", "ari", "seconds")
    print(f"\n{'':<22}" + "".join(f"{title:>15}" for title in TITLES))
    for name, figures in rows.items():
        cells = (shown(figures.get(key), 0 if key in ("classes", "seconds") else 3) for key in keys)
        print(f"{name:<22}" + "".join(f"{cell:>15}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
