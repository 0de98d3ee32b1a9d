"""What a user would run instead, on the images of a work folder of mixture.py: cryoDRGN and RELION.

    python benchmarks/mixture.py --profile cpu --seed 7 --work work
    taskset -c 1 python benchmarks/peer_mixture.py work --environments environments --json peers.json

The same images, poses and CTFs; the volumes of the same images are scored, by the same code and with the same mask, as
those of our rows, which are printed beside. Each peer has as much processor time as the training of our row `default`
took (--seconds: another number), is stopped when it has used it, and what its last finished round left is scored:

    cryodrgn    train_vae, zdim 8, its default network (--width: another); k-means of its latents into as many classes
                as there are molecules, the best of four starts; an image's volume is the decoder's at its latent
    relion      relion_refine --skip_align, as many classes as there are molecules, begun from the map of all images
                (e2hype_make3d.py) at 30 Å; an image's volume is the map of its class

A user does not know how many molecules there are: both are told, as is the k-means that sorts the latents of our own
rows (`e2hype_classify.py`, the row "start", finds their number). Conversion of lists, the map
of all images, k-means and the volumes that are scored are not counted. --environments makes cryoDRGN's environment
(some GB, by pip); RELION is installed by `apt-get install relion` on Debian 12.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import environment, shown
from mixture import LIMITS, MARK, volume_figures
from peers import (
    CRYODRGN_PACKAGES,
    Allowance,
    Cost,
    Left,
    classify_by_relion,
    limited,
    python_of,
    relion_classes,
    train_cryodrgn,
)

from libhetero.analysis.classes import kmeans_classes
from libhetero.cli.stages import run_stage
from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError, UserError
from libhetero.io import read_volume
from libhetero.io.pickled import read_pickle
from libhetero.metrics.labels import label_agreement
from libhetero.pipelines.maps.reconstructing import listed_feed
from libhetero.pipelines.run.data import DataConfig
from libhetero.pipelines.score import ScoreConfig, score_volumes
from libhetero.pipelines.scoring.subject import Subject
from libhetero.pipelines.scoring.truth import Truth, open_truth, places_in_truth
from libhetero.training.feed import fitting_batches

EVALUATE = (
    "{program} eval_vol cryodrgn/weights.{epoch}.pkl -c cryodrgn/config.yaml --zfile cryodrgn/scored.txt "
    "-o cryodrgn/scored --Apix {pixel_size:g} --vol-start-index 0"
)
EPOCHS = 10_000  # more than any time allows
MOLECULE = 0.05  # of a true map's highest value, above which a voxel is of the molecule
MARGIN = 1.1  # RELION's mask ÷ the largest molecule
WIDEST = 0.95  # RELION's mask ÷ the box
Volumes = Callable[[np.ndarray, int], Iterator[np.ndarray]]
COLUMNS = (
    ("fsc_auc_mean", "FSC_AUC", 3),
    ("gap_closed", "gap", 3),
    ("ari", "ARI", 3),
    ("ami", "AMI", 3),
    ("classes", "classes", 0),
    ("rounds", "rounds", 0),
    ("seconds", "seconds", 0),
    ("processor_seconds", "processor", 0),
    ("peak_memory", "GiB", 2),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the peers, print the table, return the exit code."""
    options = build_parser().parse_args(argv)
    try:
        run(options, Path(options.work).absolute())
    except (UserError, OSError) as error:
        print(f"peer_mixture.py: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("work", metavar="WORK", help="work folder of mixture.py")
    add("--peers", nargs="+", choices=tuple(PEERS), default=list(PEERS), help="default: both")
    add("--seconds", type=float, metavar="S", help="of processor time for each (default: those of the row default)")
    add("--threads", type=int, default=1, metavar="N", help="that each computes with (default: 1)")
    add("--environments", metavar="FOLDER", help="make cryoDRGN's environment here, or use the one that is there")
    add("--cryodrgn", default="cryodrgn", metavar="COMMAND", help="default: cryodrgn, on PATH")
    add("--relion", default="relion_refine", metavar="COMMAND", help="default: relion_refine, on PATH")
    add("--classes", type=int, metavar="K", help="of both (default: the number of molecules)")
    add("--iterations", type=int, default=25, metavar="N", help="of RELION, at most (default: 25)")
    add("--tau2_fudge", type=float, default=4.0, metavar="T", help="of RELION (default: 4, its usual one)")
    add("--width", type=int, metavar="N", help="of cryoDRGN's layers (default: its own, 1024)")
    add("--seed", type=int, default=0, help="of peers and k-means (default: 0)")
    add("--json", metavar="FILE", help="write the figures here too")
    return parser


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run and score each peer, print the table, return the report, which is written after each.

    Raises
    ------
    UserError : if the folder is none of mixture.py, or a peer is missing, fails, or finishes no round in its time.
    """
    if not (folder / MARK).is_file() or not (folder / "set" / "truth").is_dir():
        raise ConfigurationError(f"{folder}: no set of mixture.py; expected one. Run mixture.py --work {folder} first.")
    ours = read_json(folder / MARK)
    seconds = options.seconds or ours["rows"].get("default", {}).get("processor_seconds")
    if seconds is None:
        raise ConfigurationError(f"{folder}: has no row default to take the time from; say it with --seconds.")
    if options.environments:
        python = python_of(Path(options.environments).resolve() / "cryodrgn", CRYODRGN_PACKAGES)
        options.cryodrgn = str(python.with_name("cryodrgn"))
    judge = Judge(folder, ours["settings"]["scored"], ours["mask"])
    options.classes = options.classes or judge.molecules
    rows: dict[str, dict[str, Any]] = {}
    report = {"allowed": seconds, "options": vars(options), "rows": rows, "ours": ours, **environment()}
    for name in options.peers:
        rows[name] = PEERS[name](options, Allowance(seconds, processor=True, threads=options.threads), judge)
        if options.json:
            write_json(Path(options.json), report)
    print_table(report)
    return report


class Judge:
    """Scores classes and volumes of a set as e2hype_score.py does those of our rows.

    Parameters
    ----------
    folder : work folder of mixture.py.
    scored : images whose own volume is scored, evenly spread.
    mask : of the FSC.
    """

    def __init__(self, folder: Path, scored: int, mask: str) -> None:
        self.folder = folder
        self._config = ScoreConfig(run=str(folder), images=scored, mask=mask)
        self._feed = listed_feed(DataConfig(particles=str(folder / "set" / "particles.star")), 1)
        self.truth: Truth = open_truth(folder / "set" / "truth")
        self._places = places_in_truth(self._feed.particles, self.truth)
        self._labels = self.truth.known(self.truth.labels, "labels")[self._places]

    @property
    def molecules(self) -> int:
        """How many there are."""
        return len(np.unique(self._labels))

    @property
    def pixel_size(self) -> float:
        """Of the images, Å."""
        return self._feed.pixel_size

    @property
    def particles(self) -> int:
        """Number of images."""
        return len(self._labels)

    def figures(self, label: np.ndarray, volumes: Volumes) -> dict[str, Any]:
        """Return the figures of a row.

        Parameters
        ----------
        label : (N,) class of each particle, -1 for none.
        volumes : gives the volume of each particle at places, as `Subject` takes it.
        """
        feed = self._feed
        subject = Subject(feed.particles, feed.box_size, feed.pixel_size, partial(fitting_batches, feed), volumes)
        values = score_volumes(self._config, subject, self.truth, self._places, lambda fraction: None)
        agreement = label_agreement(self._labels, label)
        limits = {name: values["volumes"][name]["fsc_auc"]["mean"] for name in LIMITS}
        return {
            **volume_figures(values),
            **{name: agreement[name] for name in ("ari", "ami")},
            "classes": len(np.unique(label[label >= 0])),
            "limits": limits,
        }

    def largest_diameter(self) -> float:
        """Return twice the distance from the box's centre to the farthest voxel of any molecule, Å."""
        farthest = 0.0
        for one in np.unique(self._labels, return_index=True)[1]:
            volume = self.truth.map(int(self._places[one]))
            voxels = np.argwhere(volume > MOLECULE * volume.max()) - len(volume) // 2
            farthest = max(farthest, float(np.linalg.norm(voxels, axis=1).max()))
        return 2 * farthest * self.truth.pixel_size


def run_cryodrgn(options: argparse.Namespace, allowance: Allowance, judge: Judge) -> dict[str, Any]:
    """Return the figures of cryoDRGN."""
    further = "" if options.width is None else f"--enc-dim {options.width} --dec-dim {options.width}"
    left = train_cryodrgn(options.cryodrgn, judge.folder, allowance, rounds=EPOCHS, seed=options.seed, further=further)
    latent = np.asarray(read_pickle(left.path))
    label = kmeans_classes(latent, options.classes, options.seed)
    volumes = partial(decoded_by_cryodrgn, options.cryodrgn, judge, left, latent)
    return {**judge.figures(label, volumes), **told(left)}


def decoded_by_cryodrgn(
    program: str, judge: Judge, left: Left, latent: np.ndarray, indices: np.ndarray, batch_size: int
) -> Iterator[np.ndarray]:
    """Yield the volume that cryoDRGN's decoder has for the latent of each particle at `indices`."""
    np.savetxt(judge.folder / "cryodrgn" / "scored.txt", latent[indices])
    words = EVALUATE.format(program=program, epoch=left.rounds, pixel_size=judge.pixel_size)
    limited(words, judge.folder, Allowance(np.inf))
    for place in range(len(indices)):
        yield read_volume(judge.folder / "cryodrgn" / "scored" / f"vol_{place:03d}.mrc")[0]


def run_relion(options: argparse.Namespace, allowance: Allowance, judge: Judge) -> dict[str, Any]:
    """Return the figures of RELION."""
    folder = judge.folder
    if not (folder / "consensus.mrc").is_file():
        run_stage("map of all images", "e2hype_make3d.py set/particles.star consensus.mrc", folder)
    left = classify_by_relion(
        options.relion,
        folder,
        allowance,
        classes=options.classes,
        rounds=options.iterations,
        tau=options.tau2_fudge,
        diameter=min(MARGIN * judge.largest_diameter(), WIDEST * judge.truth.box_size * judge.truth.pixel_size),
        seed=options.seed,
    )
    label = relion_classes(left.path, judge.particles)

    def volumes(indices: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
        for one in label[indices]:
            yield read_volume(folder / "relion" / f"run_it{left.rounds:03d}_class{one:03d}.mrc")[0]

    return {**judge.figures(label, volumes), **told(left)}


PEERS = {"cryodrgn": run_cryodrgn, "relion": run_relion}


def told(left: Left) -> dict[str, Any]:
    """Return what a peer did in its time, as figures of a row."""
    cost: Cost = left.cost
    return {
        "rounds": left.rounds,
        "seconds": cost.seconds,
        "processor_seconds": cost.processor,
        "peak_memory": cost.memory * 2**20,
    }


def print_table(report: dict[str, Any]) -> None:
    """Print the rows of mixture.py and the peers'."""
    ours = report["ours"]
    print(
        f"\nbeside other programs, profile {ours['profile']}, seed {ours['seed']}: {ours['structures']} molecules, "
        f"{report['allowed']:.0f} s of processor time each; FSC mask: {ours['mask']}"
    )
    print(f"{'':<12}" + "".join(f"{title:>11}" for _, title, _ in COLUMNS))
    for name, figures in {**ours["rows"], **report["rows"]}.items():
        cells = {**figures, "rounds": figures.get("rounds", figures.get("epochs"))}
        if cells.get("peak_memory"):
            cells["peak_memory"] /= 2**30
        print(f"{name:<12}" + "".join(f"{shown(cells.get(key), digits):>11}" for key, _, digits in COLUMNS))


if __name__ == "__main__":
    sys.exit(main())
