"""Many molecules in one set of images: how good is the volume of every image?

    python benchmarks/mixture.py --profile cpu --json mixture.json     two cores, 10 minutes of training a row
    python benchmarks/mixture.py --profile cpu_noisy                   ten complexes at SNR 0.01, two cores
    python benchmarks/mixture.py --profile cpu100 --rows start         a hundred complexes, two cores
    python benchmarks/mixture.py --profile cpu_moving                  three of ten molecules move, two cores
    python benchmarks/mixture.py --profile cpu1000                     a thousand complexes, two cores, 90 minutes
    python benchmarks/mixture.py --profile scale30                     thirty of the same kind; also 10, 100 and 300
    python benchmarks/mixture.py --profile full --json mixture.json    one GPU, 9 minutes of training a row
    python benchmarks/mixture.py --profile 1000 --json mixture.json    one GPU, a thousand complexes

Simulated from atomic models, those of ../shared by default (profiles 1000, cpu1000, scale… and tiny: complexes
made from the seed, as only 100 are shared), in equal shares. The row `default` of the profiles for two cores is what a
user gets: e2hype_refine.py without --niter, that is by the program's own number of epochs. Every other row, and
every row where --seconds is given, is trained for the same time: a short pilot measures its rate, and as many
whole epochs as fit are run. In a folder of one's own (`--work`) a later call adds rows to the table of an
earlier one; `benchmarks/peer_mixture.py` runs cryoDRGN and RELION on the images of such a folder. Rows:

    default   ours, at the preset of the profile: begun from the classes of a mixture
    network   ours, begun from nothing
    start     e2hype_classify.py: classes solved for, and the map of an image's class for its volume; not by time
    paper     the published formulation: all pixels, one real output, no positions, base ⊙ head, an
              unaligned phase-flipped image, float32
    concat    as network, but the latent joins the network's inputs, as in cryoDRGN
    mlp, unet as network, but another encoder; in profile cpu the MLP is trained with Adam (see `MLP_ADAM`)
    bound     backprojection of each molecule's images, with true labels
    floor     one map from all images, given to every image

`fsc_auc` is the area under the FSC of an image's own volume with the true one (mean over evenly spread
images, inside the mask that the table names), `gap_closed` where it lies between floor and bound, `ari`
and `ami` the agreement of k-means classes of the latents (of the row `start`: its classes) with the molecules,
`seconds` and `processor` the wall-clock and processor time of training, the classes solved for included. On
two cores the published sizes (50 million parameters) would not finish one epoch in the time, so that the
row `paper` has the published formulation at smaller sizes there. Where molecules move, the bound is told
the true angles, a row `still` is the backprojection of each molecule's images, the most that classes
reach, and a second table tells how far volumes follow (docs/metrics.md).
"""

from __future__ import annotations

import argparse
import csv
import pickle
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import SHARED, environment, print_stages, reported, shown

from libhetero.cli.stages import StageResult, run_stage
from libhetero.configuration import read_json, to_dict, write_json
from libhetero.errors import ConfigurationError, UserError
from libhetero.training.log import read_log

PUBLISHED = {
    "paper": {"fsc_auc_mean": 0.346, "fsc_auc_median": 0.353, "fsc_auc_std": 0.033, "ratio_to_bound": 0.951},
    "concat": {"fsc_auc_mean": 0.255, "fsc_auc_median": 0.286, "fsc_auc_std": 0.076},
    "mlp": {"fsc_auc_mean": 0.234, "fsc_auc_median": 0.240, "fsc_auc_std": 0.032},
    "unet": {"fsc_auc_mean": 0.208, "fsc_auc_median": 0.214, "fsc_auc_std": 0.031},
    "bound": {"fsc_auc_mean": 0.364, "fsc_auc_median": 0.364, "fsc_auc_std": 0.023},
}
NETWORK = "--start none"
ROWS = {
    "default": "",
    "network": NETWORK,
    "paper": "",
    "concat": f"{NETWORK} --conditioning concat",
    "mlp": f"{NETWORK} --encoder mlp",
    "unet": f"{NETWORK} --encoder unet",
}
START = "start"  # a row that is not trained
LIMITS, STILL = ("bound", "floor"), "still"
MARK = "mixture.json"  # in the work folder: what was asked for, and the figures so far


@dataclass(frozen=True)
class Profile:
    """One size of the benchmark.

    Parameters
    ----------
    structures : molecules.
    images : of each.
    box : pixels.
    pixel_size : Å.
    snr : signal variance ÷ noise variance per pixel.
    seconds : of training, for every row that is trained by time.
    training : options of e2hype_refine.py for our rows.
    paper : those of the row "paper".
    scored : images whose own volume is scored.
    pilot : images of the pilot.
    rows : further options of rows, by name.
    crop : box that the images are Fourier-cropped to after noise is added; None for none.
    generated : complexes are made from the seed, unless atomic models are given.
    moving : further options of e2hype_simulate.py, which say what moves; none for nothing.
    by_time : whether the row "default" is trained by time too, and not by the program's own number of epochs.
    wanted : rows that are trained unless --rows names others.
    """

    structures: int
    images: int
    box: int
    pixel_size: float
    snr: float
    seconds: float
    training: str
    paper: str
    scored: int = 100
    pilot: int = 256
    rows: dict[str, str] = field(default_factory=dict)
    crop: int | None = None
    generated: bool = False
    moving: str = ""
    by_time: bool = False
    wanted: tuple[str, ...] = ("default",)


PAPER_SMALL = (
    "--preset paper --set patch=8 --set dim=192 --set heads=6 --set head_dim=32 --set feed_forward=768 "
    "--set inr_width=256 --set inr_frequencies=64 --set weight_tokens=8 --batchsz 8 --learnrate 1e-3"
)
# Muon multiplies the matrices of a wide MLP by themselves 15 times a step: 129 GFLOP, too slow for a CPU.
MLP_ADAM = {"mlp": "--optimiser adam"}
PROFILES = {
    "cpu": Profile(10, 300, 64, 5.0, 0.1, 600, "--preset small", PAPER_SMALL, rows=MLP_ADAM),
    "cpu_moving": Profile(
        10,
        300,
        64,
        5.0,
        0.1,
        600,
        "--preset small",
        PAPER_SMALL,
        scored=300,
        rows=MLP_ADAM,
        moving="--moving 1 2 3 --pieces 2 --rmsd 6",
    ),
    "cpu100": Profile(100, 150, 64, 5.0, 0.1, 2400, "--preset small", PAPER_SMALL, rows=MLP_ADAM),
    "cpu_noisy": Profile(
        10, 2000, 64, 5.0, 0.01, 1800, "--preset small", PAPER_SMALL, rows=MLP_ADAM, wanted=("default", START)
    ),
    "cpu1000": Profile(
        1000,
        50,
        48,
        6.0,
        0.2,
        4800,
        "--preset small",
        PAPER_SMALL,
        rows=MLP_ADAM,
        generated=True,
        wanted=("default", START),
    ),
    "full": Profile(
        100,
        1000,
        128,
        3.0,
        0.01,
        540,
        "--preset default",
        "--preset paper --precision float32",
        scored=200,
        pilot=2048,
        rows={"unet": "--set patch=8"},
        by_time=True,
    ),
    "1000": Profile(
        1000,
        1000,
        256,
        3.0,
        0.01,
        1500,
        "--preset default",
        "--preset paper --precision float32",
        scored=200,
        pilot=2048,
        rows={"unet": "--set patch=8"},
        by_time=True,
        crop=128,
        generated=True,
    ),
    "tiny": Profile(
        2,
        48,
        16,
        12.0,
        1.0,
        0.0,
        "--preset small --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 --set feed_forward=16 "
        "--set inr_width=16 --set inr_layers=1 --set inr_frequencies=8 --set coordinates=40",
        "--preset paper --set patch=8 --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 "
        "--set feed_forward=16 --set inr_width=16 --set inr_layers=1 --set inr_frequencies=8 --batchsz 8",
        scored=4,
        pilot=96,
        rows={"mlp": "--set encoder_width=16", "unet": "--set encoder_width=8"},
        generated=True,
    ),
}
PROFILES |= {f"scale{count}": replace(PROFILES["cpu1000"], structures=count) for count in (10, 30, 100, 300)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    options = build_parser().parse_args(argv)
    return 1 if reported("mixture.py", options, partial(run, options), mark=MARK) is None else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--profile", choices=tuple(PROFILES), default="cpu", help="size of the run (default: cpu)")
    add("--json", metavar="FILE", help="write the figures here too")
    add("--seed", type=int, default=0, help="of the data and of the training (default: 0)")
    add(
        "--structures",
        nargs="+",
        metavar="FILE",
        help="atomic models (.cif, .pdb, .gz), in place of the first of ../shared",
    )
    add(
        "--rows",
        nargs="+",
        choices=(*ROWS, START),
        help="what to train; bound and floor come with them (default: default; of cpu_noisy and cpu1000 start too)",
    )
    add(
        "--seconds",
        type=float,
        help="of training every row, the default one too (default: the profile's, and for the default row of the "
        "profiles for two cores the program's own number of epochs)",
    )
    add("--mask", choices=("sphere", "none"), default="none", help="of the FSC (default: none)")
    add(
        "--work",
        metavar="FOLDER",
        help="run here and leave the files; where rows are there already, add the others of --rows "
        "(default: a temporary folder)",
    )
    add("--keep", action="store_true", help="leave the temporary folder, too")
    return parser


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Simulate, train and score every row that is not there yet, print the table, return the report."""
    profile = PROFILES[options.profile]
    report = begun(options, profile, folder)
    record(report, [], folder)
    if not (folder / "set").is_dir():
        record(report, [run_stage("simulate", simulation(options, profile), folder)], folder)
    for row in options.rows or profile.wanted:
        if row not in report["rows"]:
            scored = classify_and_score if row == START else train_and_score
            figures, stages = scored(row, options, profile, report, folder)
            report["rows"] |= {row: figures, **limits(folder / f"{row}.json")}
            record(report, stages, folder)
    order = [name for name in (*ROWS, START, *LIMITS, STILL) if name in report["rows"]]
    report["rows"] = {name: report["rows"][name] for name in order}
    print_stages([StageResult(**stage) for stage in report["stages"]])
    print_table(report)
    return report


def begun(options: argparse.Namespace, profile: Profile, folder: Path) -> dict[str, Any]:
    """Return the report of the work folder, or a new one without figures.

    Raises
    ------
    ConfigurationError : if the folder's was made with other options.
    """
    models = find_models(options, profile)
    asked = {
        "profile": options.profile,
        "structures": len(models) or profile.structures,
        "models": [path.name for path in models],
        "seed": options.seed,
        "mask": options.mask,
        "training_seconds": profile.seconds if options.seconds is None else options.seconds,
        "default_by_time": profile.by_time or options.seconds is not None,
        "settings": to_dict(profile),
        **environment(),
    }
    return harness.begun(folder / MARK, asked, published=PUBLISHED, rows={}, stages=[])


def record(report: dict[str, Any], stages: list[StageResult], folder: Path) -> None:
    """Add stages to the report and write it into the work folder."""
    report["stages"] += [asdict(stage) for stage in stages]
    write_json(folder / MARK, report)


def simulation(options: argparse.Namespace, profile: Profile) -> str:
    """Return the command that makes the set."""
    models = find_models(options, profile)
    count = len(models) or profile.structures
    files = " ".join(shlex.quote(str(path)) for path in models)
    source = f"--pdb {files}" if models else f"--structures {count}"
    crop = "" if profile.crop is None else f"--crop {profile.crop} "
    moving = f"{profile.moving} " if profile.moving else ""
    return (
        f"e2hype_simulate.py mixture set {source} --n {count * profile.images} --box {profile.box} {crop}{moving}"
        f"--apix {profile.pixel_size:g} --snr {profile.snr:g} --seed {options.seed} --resume"
    )


def train_and_score(
    row: str, options: argparse.Namespace, profile: Profile, report: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], list[StageResult]]:
    """Return the figures of one row, and its stages."""
    words = f"e2hype_refine.py set/particles.star {training_options(profile, row)} --seed {options.seed}"
    stages: list[StageResult] = []
    for name in (row, f"{row}_pilot"):  # what an interrupted call left
        shutil.rmtree(folder / name, ignore_errors=True)
    command = f"{words} --path {row}"
    if row != "default" or report["default_by_time"]:
        command += f" --niter {epochs_in_time(row, words, profile, report, folder, stages)}"
    trained = run_stage(f"{row} train", command, folder)
    stages += [trained, run_stage(f"{row} score", scoring(row, options, profile), folder)]
    return row_of(read_json(folder / f"{row}.json"), folder / row, trained), stages


def epochs_in_time(
    row: str, words: str, profile: Profile, report: dict[str, Any], folder: Path, stages: list[StageResult]
) -> int:
    """Return the whole epochs that fit the time at the rate of a short pilot, at least 1; its stage is added."""
    if not report["training_seconds"]:
        return 1
    count = report["structures"] * profile.images
    with open(folder / "pilot.pkl", "wb") as file:
        pickle.dump(np.linspace(0, count - 1, min(profile.pilot, count)).astype(np.int64), file)
    pilot = f"{words} --path {row}_pilot --ind pilot.pkl --niter 1 --report 4"
    stages.append(run_stage(f"{row} pilot", pilot, folder))
    return max(1, int(report["training_seconds"] * images_per_second(folder / f"{row}_pilot") / count))


def scoring(row: str, options: argparse.Namespace, profile: Profile) -> str:
    """Return the command that scores a row."""
    return (
        f"e2hype_score.py {row} --images {profile.scored} --mask {options.mask} --json {row}.json --seed {options.seed}"
    )


def classify_and_score(
    row: str, options: argparse.Namespace, profile: Profile, report: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], list[StageResult]]:
    """Return the figures of the classes that are solved for, and the stages; as `train_and_score`."""
    shutil.rmtree(folder / row, ignore_errors=True)  # what an interrupted call left
    sort = f"e2hype_classify.py set/particles.star {row} --seed {options.seed}"
    sorted_ = run_stage(row, sort, folder)
    scored = run_stage(f"{row} score", scoring(row, options, profile), folder)
    values = read_json(folder / f"{row}.json")
    figures = {
        **volume_figures(values),
        **{name: values["labels"]["classes.txt"][name] for name in ("ari", "ami", "classes")},
        **costs(sorted_),
    }
    return figures, [sorted_, scored]


def find_models(options: argparse.Namespace, profile: Profile) -> list[Path]:
    """Return the atomic models: those given, or the first of the shared list; none where they are made."""
    if profile.generated and not options.structures:
        return []
    if options.structures:
        models = [Path(name).absolute() for name in options.structures]
    else:
        table = SHARED / "mixture" / "list.csv"
        if not table.is_file():
            raise ConfigurationError(
                f"{table}: no such file; expected the structures beside the project. Give atomic "
                "models with --structures."
            )
        with open(table, newline="", encoding="utf-8") as file:
            names = [line["file"] for line in csv.DictReader(file)]
        models = [table.parent / name for name in names[: profile.structures]]
    missing = [path for path in models if not path.is_file()]
    if missing:
        raise ConfigurationError(f"{missing[0]}: no such file; expected an atomic model.")
    return models


def training_options(profile: Profile, row: str) -> str:
    """Return the options of e2hype_refine.py that make a row what it is."""
    common = profile.paper if row == "paper" else profile.training
    return f"{common} {ROWS[row]} {profile.rows.get(row, '')}"


def images_per_second(run: Path) -> float:
    """Return a run's rate of training, the median over its reports after the first."""
    lines = read_log(run / "log.jsonl")
    rates = [line["particles_per_second"] for line in lines if line.get("particles_per_second")]
    if not rates:
        raise UserError(f"{run}: its log tells no rate; expected a pilot of more steps.")
    return float(np.median(rates[1:] or rates))


def row_of(score: dict[str, Any], run: Path, trained: StageResult) -> dict[str, Any]:
    """Return the figures of one trained row.

    Parameters
    ----------
    score : what e2hype_score.py wrote.
    run : its folder.
    trained : what the training cost.
    """
    return {
        **volume_figures(score),
        **{name: score["labels"]["kmeans"][name] for name in ("ari", "ami")},
        "images_per_s": images_per_second(run),
        **costs(trained),
        "epochs": read_json(run / "config.json")["training"]["epochs"],
    }


def costs(stage: StageResult) -> dict[str, Any]:
    """Return what a stage cost, as figures of a row."""
    return {"seconds": stage.seconds, "processor_seconds": stage.processor_seconds, "peak_memory": stage.peak_bytes}


def volume_figures(score: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a row's volumes, from what e2hype_score.py wrote."""
    volumes = score["volumes"]
    shares = {name: volumes[name] for name in ("ratio_to_bound", "gap_closed", "following") if name in volumes}
    return {**figures_of(volumes["model"]), **shares}


def limits(path: Path) -> dict[str, Any]:
    """Return the figures of bound and floor, and of still maps where molecules move, of what e2hype_score.py wrote."""
    volumes = read_json(path)["volumes"]
    bound, floor = (volumes[one]["fsc_auc"]["mean"] for one in LIMITS)
    found = {name: figures_of(volumes[name]) for name in (*LIMITS, STILL) if name in volumes}
    for figures in found.values():
        area = figures["fsc_auc_mean"]
        figures |= {"ratio_to_bound": area / bound, "gap_closed": (area - floor) / (bound - floor)}
    return found


def figures_of(volumes: dict[str, Any]) -> dict[str, float]:
    """Return FSC_AUC, and Chamfer distance and vIoU at the level that encloses the true mass."""
    area = volumes["fsc_auc"]
    level = "mass" if "viou_mass" in volumes else "fixed"
    return {
        **{f"fsc_auc_{name}": area[name] for name in ("mean", "median", "std")},
        "chamfer": volumes[f"chamfer_{level}"]["mean"],
        "viou": volumes[f"viou_{level}"]["mean"],
        "level": level,
    }


COLUMNS = (
    ("fsc_auc_mean", "FSC_AUC", 3),
    ("fsc_auc_median", "median", 3),
    ("fsc_auc_std", "std", 3),
    ("ratio_to_bound", "/ bound", 3),
    ("gap_closed", "gap", 3),
    ("chamfer", "Chamfer Å", 2),
    ("viou", "vIoU", 3),
    ("ari", "ARI", 3),
    ("ami", "AMI", 3),
    ("images_per_s", "images/s", 0),
    ("epochs", "epochs", 0),
    ("seconds", "seconds", 0),
    ("processor_seconds", "processor", 0),
    ("peak_memory", "GiB", 2),
)


def print_table(report: dict[str, Any]) -> None:
    """Print every row, and the published figures below."""
    settings = report["settings"]
    cropped = f" (cropped to {settings['crop']})" if settings["crop"] else ""
    print(
        f"\nmixture, profile {report['profile']}, seed {report['seed']}: {report['structures']} molecules "
        f"of {settings['images']} images, {settings['box']} pixels{cropped} of {settings['pixel_size']:g} Å, "
        f"SNR {settings['snr']:g} per pixel; FSC mask: {report['mask']}"
    )
    print(f"{'':<18}" + "".join(f"{title:>10}" for _, title, _ in COLUMNS))
    lines = {**report["rows"]}
    for name, figures in report["published"].items():
        if report["profile"] == "full":
            lines[f"published {name}"] = figures
    for name, figures in lines.items():
        cells = dict(figures)
        if cells.get("peak_memory"):
            cells["peak_memory"] /= 2**30
        print(f"{name:<18}" + "".join(f"{shown(cells.get(key), digits):>10}" for key, _, digits in COLUMNS))
    print_following(report["rows"])


def print_following(rows: dict[str, Any]) -> None:
    """Print how far volumes follow the motion of each molecule that moves; nothing where none does."""
    lines = [(name, label, one) for name, row in rows.items() for label, one in row.get("following", {}).items()]
    titles = ("molecule", "own", "unturned", "still", "bound", "correlation", "extent", "|rho|", "of latents")
    if lines:
        print(f"\n{'':<18}" + "".join(f"{title:>12}" for title in titles))
    for name, label, one in lines:
        ranks = [max(one[key]) if one.get(key) else None for key in ("rho_volumes", "rho_latents")]
        figures = [one[key] for key in ("own", "unturned", "still", "bound", "correlation", "extent")]
        print(f"{name:<18}{label:>12}" + "".join(f"{shown(value, 3):>12}" for value in (*figures, *ranks)))


if __name__ == "__main__":
    sys.exit(main())
