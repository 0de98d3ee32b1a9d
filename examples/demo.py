"""The whole path on small sets that the code itself makes; `make demo` runs it.

Two stories, about five minutes on two cores:

1. assembly: a complex with three optional pieces. Consensus map, starting Gaussians, both decoders
   trained, regions found, particles sorted, everything scored against the simulated truth;
2. mixture: four different molecules in one set, a CryoHype volume for every image.

Every step is one of the installed programs, printed before it runs, so each line can be
copied and changed. The figures at the end come from e2hype_score.py.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from libhetero.cli.stages import StageResult, run_stage
from libhetero.errors import UserError

ASSEMBLY = "--n 1200 --box 32 --apix 5 --snr 0.3 --pieces 3 --seed 1"
MIXTURE = "--n 1600 --box 32 --apix 5 --snr 1 --structures 4 --seed 2"
GAUSSIAN_TRAINING = "--model gmm.txt --preset small --niter 4"
HYPE_TRAINING = "--preset small --niter 4"

STAGES = (
    ("simulate assembly", f"e2hype_simulate.py assembly assembly {ASSEMBLY}"),
    ("consensus map", "e2hype_make3d.py assembly/particles.star consensus.mrc"),
    ("starting Gaussians", "e2hype_guess_n.py consensus.mrc gmm.txt --ngauss 256"),
    (
        "train Point Transformer",
        f"e2hype_refine.py assembly/particles.star --path pt_00 --pointtransformer {GAUSSIAN_TRAINING}",
    ),
    ("train MLP", f"e2hype_refine.py assembly/particles.star --path mlp_00 --decoder mlp {GAUSSIAN_TRAINING}"),
    ("regions", "e2hype_segment.py pt_00"),
    ("embed Gaussians' particles", "e2hype_embed.py pt_00 --method pca"),
    ("score Point Transformer", "e2hype_score.py pt_00 --json pt_score.json --images 0"),
    ("score MLP", "e2hype_score.py mlp_00 --json mlp_score.json --images 0"),
    ("simulate mixture", f"e2hype_simulate.py mixture mixture {MIXTURE}"),
    ("train CryoHype", f"e2hype_refine.py mixture/particles.star --path hype_00 {HYPE_TRAINING}"),
    ("embed mixture", "e2hype_embed.py hype_00 --method pca"),
    ("volumes of classes", "e2hype_eval.py hype_00 --all_classes 4"),
    ("score CryoHype", "e2hype_score.py hype_00 --json hype_score.json --images 40"),
)


FIGURES = (
    "pt_00/loss.png",
    "pt_00/regions.png",
    "pt_00/regions_embedding.png",
    "pt_00/regions_presence.png",
    "pt_00/embed_particles.png",
    "hype_00/embed_particles.png",
    "hype_00/volumes/kmeans_4/volumes.png",
)
SHOWN = ("pt_00", "hype_00")  # runs
FILES = (
    "consensus.mrc",
    "gmm.txt",
    "pt_00/regions.txt",
    "pt_00/regions.cxc",
    "pt_00/masks/region_01.mrc",
    "pt_00/region_01_class_00.star",
    "hype_00/classes_04.txt",
    "hype_00/volumes/kmeans_4",
    "pt_score.json",
)


@dataclass(frozen=True)
class Promise:
    """One figure that the demo promises.

    Parameters
    ----------
    meaning : what it is.
    file : score it is read from, in the demo's folder.
    keys : where it stands in that file.
    least : the figure promised; None only reports it.
    """

    meaning: str
    file: str
    keys: tuple[str, ...]
    least: float | None


PROMISES = (
    Promise(
        "Point Transformer, amplitude accuracy", "pt_score.json", ("gaussians", "amplitude", "percentile", "all"), 0.90
    ),
    Promise(
        "Point Transformer, accuracy in the optional pieces",
        "pt_score.json",
        ("gaussians", "amplitude", "percentile", "optional"),
        None,
    ),
    Promise("Point Transformer, pieces recovered of 3", "pt_score.json", ("gaussians", "regions", "recovered"), 3),
    Promise("Point Transformer, regions against pieces (ARI)", "pt_score.json", ("gaussians", "regions", "ari"), None),
    Promise("MLP, amplitude accuracy", "mlp_score.json", ("gaussians", "amplitude", "percentile", "all"), None),
    Promise("CryoHype, four molecules separated (ARI)", "hype_score.json", ("labels", "kmeans", "ari"), 0.95),
    Promise("CryoHype, floor-to-bound gap in FSC_AUC closed", "hype_score.json", ("volumes", "gap_closed"), 0.75),
)


def run_demo(folder: Path) -> list[StageResult]:
    """Run every stage in an empty `folder`."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return [run_stage(name, command, folder) for name, command in STAGES]


def main(argv: list[str] | None = None) -> int:
    """Run the demo and print what it shows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="demo", help="made anew (default: demo)")
    options = parser.parse_args(argv)
    folder = Path(options.folder).resolve()
    try:
        results = run_demo(folder)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    kept = print_scores(folder)
    name_files(folder)
    print(f"\nAll stages took {sum(result.seconds for result in results):.0f} s.")
    return 0 if kept else 1


def print_scores(folder: Path) -> bool:
    """Print each promised figure, as e2hype_score.py wrote it, and whether it was reached.

    Returns
    -------
    True when every promise was kept.
    """
    print("\n## What it shows (figures of e2hype_score.py)")
    kept = True
    for promise in PROMISES:
        value = json.loads((folder / promise.file).read_text())
        for key in promise.keys:
            value = value[key]
        line = f"  {promise.meaning:<54}{value:7.3f}"
        if promise.least is not None:
            reached = value >= promise.least
            kept &= reached
            line += f"   promised {promise.least:.2f}: {'reached' if reached else 'MISSED'}"
        print(line)
    if not kept:
        print("At least one promised figure was missed on this machine.")
    return kept


def name_files(folder: Path) -> None:
    """Print the figures and files to look at."""
    for title, names in (("Figures", FIGURES), ("Files", FILES)):
        print(f"\n## {title} to look at")
        for name in names:
            if not (folder / name).exists():
                raise SystemExit(f"{folder / name} is missing: a stage did not write what it should.")
            print(f"  {folder / name}")
    print("\n## All of it in a browser")
    print(f"  $ e2hype_dashboard.py {shlex.join(str(folder / name) for name in SHOWN)}")


if __name__ == "__main__":
    sys.exit(main())
