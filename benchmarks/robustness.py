"""What the programs find by themselves where data are not ideal, and where there is nothing to find.

    python benchmarks/robustness.py --profile cpu --json robustness.json      two cores, at most an hour a seed
    python benchmarks/robustness.py --rows null --seeds 20 --work nulls       twenty sets in which nothing changes

Every row is a set of its own, made from the seed, and goes through the programs with their defaults: what varies, how
many directions there are and how many regions is theirs to say. The sizes, the same for all rows, are the profile's.

    ideal           a complex in a core and pieces that are each there or not: exact poses and CTFs, white noise
    null            the same, but every piece is always there
    null_nuisances  the same, with everything of the row "all"
    contrast        ideal, but the signal of each particle is multiplied by N(1, 0.2²)
    poses           ideal, but the list's poses are off by 2° and 2.5 Å
    noise           ideal, but the noise is 4 times stronger at low frequency than at Nyquist
    junk            ideal, but a tenth of the images is noise alone
    all             all of these at once, and the list's defocus is off by 200 Å
    motion          Hsp90, two pieces of which turn, 6 Å on average over all atoms
    both            ideal, but two pieces turn instead of coming and going
    molecules       a hundred complexes, CryoHype, e2hype_embed.py --classes auto (only where asked for)

A work folder keeps what is done: called again with it, stages that are finished are not run again, and rows or seeds
may be added. The figures are those of e2hype_score.py (docs/metrics.md) and of the run's own files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
from assembly import BENCHMARK as ASSEMBLY
from harness import SHARED, Figure, Stage, shown

from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError, UserError

MARK = "robustness.json"  # in the work folder: what was asked for, and the stages that are done
ALL = "--contrast_sd 0.2 --pose_error 2 --shift_error 2.5 --defocus_error 200 --noise_colour 4 --junk 0.1"
NOTHING = "--probability 1"


@dataclass(frozen=True)
class Row:
    """One kind of data.

    Parameters
    ----------
    source : what is imaged, a key of `Profile.sources`.
    simulate : further options of e2hype_simulate.py.
    """

    source: str
    simulate: str = ""


ROWS = {
    "ideal": Row("assembly"),
    "null": Row("assembly", NOTHING),
    "null_nuisances": Row("assembly", f"{NOTHING} {ALL}"),
    "contrast": Row("assembly", "--contrast_sd 0.2"),
    "poses": Row("assembly", "--pose_error 2 --shift_error 2.5"),
    "noise": Row("assembly", "--noise_colour 4"),
    "junk": Row("assembly", "--junk 0.1"),
    "all": Row("assembly", ALL),
    "motion": Row("motion"),
    "both": Row("both"),
    "molecules": Row("molecules"),
}
DEFAULT_ROWS = [name for name in ROWS if name != "molecules"]


@dataclass(frozen=True)
class Profile:
    """One size of the benchmark.

    Parameters
    ----------
    particles : number of images of every row but `molecules`, which says its own.
    box : pixels.
    snr : signal variance ÷ noise variance per pixel.
    training : options of e2hype_refine.py, the same for all Gaussian rows: a size, nothing of what is to be found.
    sources : by name, kind and further options of e2hype_simulate.py; {shared} is the shared folder of structures.
    molecules : options of e2hype_refine.py for the row of that name.
    """

    particles: int
    box: int
    snr: float
    training: str
    sources: dict[str, str]
    molecules: str


RIBOSOME = (
    "--pdb {shared}/ribosome/50S_Ecoli_MAVEn_segmented.cif.gz --segments {shared}/ribosome/50S_segments9.json --apix 5"
)
HSP90 = "--pdb {shared}/mixture/cif/2CG9.cif.gz --pieces 2 --apix 3"
GENERATED = "--apix 8 --diameter 75 --pieces 2"
PROFILES = {
    "cpu": Profile(
        particles=2000,
        box=64,
        snr=0.1,
        training="--preset small",
        sources={
            "assembly": f"assembly set {RIBOSOME}",
            "motion": f"motion set {HSP90} --rmsd 6",
            "both": f"assembly set {RIBOSOME} --moving 6 7 --angle 12",  # the two stalks
            "molecules": "mixture set --structures 100 --n 4000 --box 32 --apix 6 --snr 1",
        },
        molecules="--preset small --niter 12",
    ),
    "tiny": Profile(
        particles=96,
        box=16,
        snr=1.0,
        training="--preset small --niter 1 --set points=16 --set neighbours=4 --set channels=16 "
        "--set attention_channels=16",
        sources={
            "assembly": f"assembly set {GENERATED}",
            "motion": f"motion set {GENERATED} --rmsd 6",
            "both": f"assembly set {GENERATED} --moving 2 --angle 20",
            "molecules": "mixture set --structures 3 --n 96 --box 16 --apix 8 --snr 1",
        },
        molecules="--preset small --niter 1 --set inr_width=16 --set dim=16 --set coordinates=40",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return harness.exit_code("robustness.py", parsed(argv), run, MARK)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, checked."""
    parser = harness.parser_of_rows(__doc__, PROFILES, ROWS, DEFAULT_ROWS)
    parser.add_argument("--seeds", type=int, default=1, help="sets and trainings of each row (default: 1)")
    parser.add_argument(
        "--structures",
        nargs="+",
        metavar="FILE",
        help="an atomic model (.cif, .pdb, .gz) and the JSON table of its pieces in place of the ribosome; without the "
        "table it is cut in 8 compact pieces and a core",
    )
    options = parser.parse_args(argv)
    if options.seeds < 1:
        parser.error(f"--seeds: expected 1 or more; got {options.seeds}")
    return options


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run every stage that is not done yet, print the table and return the report."""
    profile = PROFILES[options.profile]
    report = begun(options, profile, folder)
    write_json(folder / MARK, report)
    failed: dict[str, str] = {}
    for seed in range(options.seed, options.seed + options.seeds):
        for name in options.rows:
            try:
                run_row(name, seed, profile, options, report, folder)
            except UserError as error:
                print(error, file=sys.stderr)
                failed[f"{name}, seed {seed}"] = str(error)
    report = {**report, "table": table_of(report["rows"]), "failed": failed}
    write_json(folder / MARK, report)
    print_table(report)
    return report


def begun(options: argparse.Namespace, profile: Profile, folder: Path) -> dict[str, Any]:
    """Return the report of the work folder, or a new one without rows.

    Raises
    ------
    ConfigurationError : if the folder's was made with another profile or other structures.
    """
    structures = [Path(name).name for name in options.structures or ()]
    asked = {"profile": options.profile, "settings": asdict(profile), "structures": structures}
    return harness.begun(folder / MARK, asked, **harness.environment(), rows={}, stages={})


def run_row(
    name: str, seed: int, profile: Profile, options: argparse.Namespace, report: dict[str, Any], folder: Path
) -> None:
    """Run what is missing of one row, and put its figures into the report.

    Raises
    ------
    UserError : if a program fails.
    """
    own = folder / f"seed_{seed}" / name
    done = harness.run_missing(
        stages_of(name, seed, profile, options),
        f"{name}, seed {seed}",
        own,
        report,
        partial(write_json, folder / MARK),
        lambda: report["rows"].get(name, {}).pop(str(seed), None),
    )
    seconds = {program: found["seconds"] for program, found in done.items()}
    figures = {**figures_of(read_json(own / "score.json"), own / "run"), "seconds": sum(seconds.values())}
    report["rows"].setdefault(name, {})[str(seed)] = {**figures, "stage_seconds": seconds}
    write_json(folder / MARK, report)


def stages_of(name: str, seed: int, profile: Profile, options: argparse.Namespace) -> list[Stage]:
    """Return the programs of one row in order, to be run in a folder of its own."""
    end = f"--seed {seed}"
    score = ("score", f"run --images 0 --json score.json {end}", "score.json")
    simulate = ("simulate", f"{simulation(name, profile, options)} {end}", "set")
    if name == "molecules":
        words = [
            simulate,
            ("refine", f"set/particles.star --path run {profile.molecules} {end}", "run"),
            ("embed", f"run --classes auto {end}", "run/classes_particles.txt"),
            score,
        ]
    else:
        refine = f"set/particles.star --path run --model gmm.txt --pointtransformer {profile.training} {end}"
        words = [
            simulate,
            ("make3d", "set/particles.star consensus.mrc", "consensus.mrc"),
            ("guess_n", f"consensus.mrc gmm.txt {end}", "gmm.txt"),
            ("refine", refine, "run"),
            ("segment", f"run {end}", "run/index.html"),
            score,
        ]
    return [Stage(program, None, f"e2hype_{program}.py {text}", output) for program, text, output in words]


def simulation(name: str, profile: Profile, options: argparse.Namespace) -> str:
    """Return kind, folder and options of a row's set.

    Raises
    ------
    ConfigurationError : if a structure is not there.
    """
    row = ROWS[name]
    source = profile.sources[row.source]
    if "{shared}" in source:
        if options.structures and row.source == "assembly":
            source = f"assembly set {given(options, profile)}"
        elif not SHARED.is_dir():
            raise ConfigurationError(
                f"{SHARED}: no such folder; expected the structures beside the project. Give an atomic model with "
                "--structures, and take --rows of assemblies."
            )
    source = source.replace("{shared}", str(SHARED))
    size = "" if row.source == "molecules" else f" --n {profile.particles} --box {profile.box} --snr {profile.snr:g}"
    return " ".join(f"{source}{size} {row.simulate}".split())


def given(options: argparse.Namespace, profile: Profile) -> str:
    """Return the options of e2hype_simulate.py for the model and table of --structures."""
    size = harness.Profile(profile.particles, profile.box, 0, "")
    source = harness.find_source(ASSEMBLY, size, argparse.Namespace(structures=options.structures, start="map"))
    return f"{harness.structure_options(ASSEMBLY, size, source)} --apix {source.pixel_size:g}"


# Figures ----------------------------------------------------------------------------------------


def figures_of(score: dict[str, Any], run: Path) -> dict[str, Any]:
    """Return the figures of one row and seed; None where there is none of a kind.

    Parameters
    ----------
    score : what e2hype_score.py wrote.
    run : folder of the run, which says what it found.
    """
    gaussians = score.get("gaussians", {})
    amplitude, regions = gaussians.get("amplitude", {}).get("percentile", {}), gaussians.get("regions")
    if gaussians and regions is None:  # segmented, and found nothing to write
        regions = {"recovered": 0, "regions": 0, "extra": 0, "core": 0}
    kinds, classes = gaussians.get("kinds") or {}, gaussians.get("classes") or {}
    own_classes = score.get("labels", {}).get("classes_particles.txt", {})
    sure = classes.get("sure") or own_classes.get("sure") or {}
    contrast, junk = score.get("contrast", {}), score.get("junk", {})
    return {
        **directions_of(run / "directions.txt"),
        "regions_found": value(regions, "recovered"),
        "regions_true": value(regions, "pieces"),
        "regions_extra": value(regions, "extra"),
        "regions_core": value(regions, "core"),
        "kinds_right": kinds.get("right"),
        "kinds_of": kinds.get("of"),
        "ari": value(regions, "ari"),
        "accuracy": amplitude.get("all"),
        "accuracy_optional": amplitude.get("optional"),
        "accuracy_trivial": amplitude.get("always_present"),
        "class_accuracy": classes.get("accuracy"),
        "rmsd": gaussians.get("motion", {}).get("rmsd_about_mean"),
        "rmsd_rigid": gaussians.get("motion", {}).get("rmsd_without_motion"),
        "spearman_min": gaussians.get("angles", {}).get("least"),
        "classes": own_classes.get("classes"),
        "classes_ari": own_classes.get("ari"),
        "contrast": contrast.get("correlation"),
        "contrast_z": contrast.get("z"),
        **{f"junk_{key}": junk.get(key) for key in ("auc", "recall", "precision", "called")},
        "sure": sure.get("sure"),
        "sure_right": sure.get("right"),
        "sure_expected": sure.get("expected"),
        "latent_z": (gaussians.get("deviations") or {}).get("z"),
    }


def value(scores: dict[str, Any] | None, key: str) -> Any:
    """Return a figure, None where there are no scores or not this one."""
    return None if scores is None else scores.get(key)


def directions_of(path: Path) -> dict[str, Any]:
    """Return how many directions a run has found, and how many of each kind; None for a run without the table."""
    kinds = ("amplitude", "motion", "both")
    if not path.is_file():
        return {"directions": None, **{f"directions_{kind}": None for kind in kinds}}
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = [words[1] for words in lines if len(words) > 1]
    return {"directions": len(found), **{f"directions_{kind}": found.count(kind) for kind in kinds}}


COLUMNS = (
    Figure("directions", "dirs", 1),
    Figure("directions_amplitude", "ampl", 1),
    Figure("directions_motion", "motion", 1),
    Figure("regions_found", "found", 1),
    Figure("regions_true", "of", 0),
    Figure("regions_extra", "extra", 1),
    Figure("regions_core", "core", 1),
    Figure("kinds_right", "kinds", 1),
    Figure("ari", "ARI"),
    Figure("accuracy", "all"),
    Figure("accuracy_optional", "option"),
    Figure("class_accuracy", "class"),
    Figure("rmsd", "RMSD", 2),
    Figure("rmsd_rigid", "rigid", 2),
    Figure("contrast", "contr"),
    Figure("junk_auc", "AUC"),
    Figure("junk_recall", "recall"),
    Figure("junk_precision", "precis"),
    Figure("sure_right", "sure"),
    Figure("latent_z", "z", 2),
    Figure("seconds", "s", 0),
)
LEGEND = """
dirs, ampl, motion: directions found, of these of amplitude and of motion. found, of, extra, core: pieces recovered as
regions; regions besides; regions of what never changes. kinds: recovered pieces whose kind is named rightly. ARI:
regions against pieces. all, option: amplitude accuracy, of all and of optional Gaussians; class: of the classes of
regions. RMSD, rigid: Å about the mean, found and for no motion. contr: correlation of contrasts. AUC, recall, precis:
of junk. sure: right among classes of 90 % and more. z: errors ÷ said deviations of latents. s: seconds of all."""


def table_of(rows: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the mean over seeds of every figure of each row, and how many seeds there are."""
    table = {}
    for name in filter(rows.get, ROWS):
        seeds = list(rows[name].values())
        table[name] = {"seeds": len(seeds)}
        for key in (key for key, found in seeds[0].items() if not isinstance(found, dict)):
            known = [one[key] for one in seeds if one.get(key) is not None]
            table[name][key] = float(np.mean(known)) if known else None
    return table


def print_table(report: dict[str, Any]) -> None:
    """Print one line a row, the mean of its seeds."""
    settings = report["settings"]
    print(
        f"\nrobustness, profile {report['profile']}: {settings['particles']} particles of {settings['box']} pixels, "
        f"SNR {settings['snr']:g} per pixel; e2hype_refine.py --pointtransformer {settings['training']}"
    )
    print(f"{'row':<15}{'seeds':>5}" + "".join(f"{column.title:>7}" for column in COLUMNS))
    for name, figures in report["table"].items():
        whole = figures["seeds"] == 1
        cells = (shown(figures.get(one.key), 0 if one.digits == 1 and whole else one.digits) for one in COLUMNS)
        print(f"{name:<15}{figures['seeds']:>5}" + "".join(f"{cell:>7}" for cell in cells))
    print(LEGEND)
    molecules = report["table"].get("molecules")
    if molecules:
        print(f"molecules: {shown(molecules['classes'], 0)} classes, ARI {shown(molecules['classes_ari'], 3)}")


if __name__ == "__main__":
    sys.exit(main())
