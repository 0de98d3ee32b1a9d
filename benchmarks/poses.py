"""Poses that are wrong by degrees: what refining them gives back, and what putting motion back gives a map.

    python benchmarks/poses.py --profile cpu --work FOLDER --json poses.json       two cores, about an hour a seed
    python benchmarks/poses.py --rows motion --seed 4 --work FOLDER                what moves, 20 minutes

Four sets from the seed, made from the structures of ../shared, go through the installed programs by their defaults; a
work folder that was stopped goes on.

    gaussians   the 50S ribosome in a core and 8 optional pieces, the Point Transformer
    mixture     ten molecules, CryoHype
    motion      the insulin receptor with two Fabs (4ZXB), three pieces that turn, imaged finely and trained on cropped
                images: a map of each moving piece by its own poses, and one of all with every image put back
    arms        Hsp90, two pieces that are most of it turn: as motion, on 2000 images

The first two are imaged twice, the same images listed with true poses (`true`) and with wrong ones (`wrong`), and each
list is trained with and without --refine_poses:

    rotation, shift   how far the poses are off, in the median: as listed, and as refined (degrees, Å); of true lists,
                      how far they were moved
    accuracy, found   of Gaussians' amplitudes and of regions (docs/metrics.md)
    fsc_auc, gap      of images' own volumes, and where that lies between floor and bound of the true poses
    leak              the largest share of a latent's variance that follows how the particle was imaged (direction of
                      view, in-plane angle, shift; e2hype_validate.py), and `leak_error`, that follows the true
                      error of its pose
    seconds           of training

Of the last two: the resolution, Å at an FSC of 0.5 with the true map within a mask of it, of the map of all images as
they are listed, of each moving piece at its region's poses and of the whole put back, and what half-maps say (0.143).
The region of a piece is the one whose map shows it best; half-maps of what is put back share the run. Where
relion_reconstruct is installed, it makes a map of each region's list too: its resolution likewise, and `same`, the mean
over shells of the FSC between its map and ours within the mask of the piece.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
from harness import SHARED, Stage, environment, shown
from scipy.ndimage import distance_transform_edt

from libhetero.analysis.confounders import follow
from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError
from libhetero.io import read_particles, read_volume
from libhetero.io.latent import read_latent
from libhetero.metrics.fsc import masked_fsc, resolution
from libhetero.metrics.poses import pose_errors
from libhetero.pipelines.run.poses import poses_of
from libhetero.pipelines.scoring.truth import open_truth
from libhetero.simulate.domains import complete_domains

MARK = "poses.json"  # in the work folder: what was asked for, and the figures so far
IMAGING = ("direction of view", "in-plane angle", "listed shift", "change of the pose")
LISTS = ("true", "wrong")
RUNS = {"listed": "", "refined": "--refine_poses"}
MOVING = 3  # pieces
EDGE = 4.0, 8.0  # Å: of masks, how far they reach beyond the map, and how wide their edge is
LEAST = 0.05  # of a piece's largest density: inside


@dataclass(frozen=True)
class Row:
    """One set.

    Parameters
    ----------
    simulate : kind, folder and options of e2hype_simulate.py; {shared} is the shared folder of structures.
    error : its options that make the listed poses wrong; none where poses are right and particles move.
    training : options of e2hype_refine.py.
    """

    simulate: str
    error: str
    training: str


Rows = dict[str, Row]
PROFILES: dict[str, Rows] = {
    "cpu": {
        "gaussians": Row(
            "assembly set --pdb {shared}/ribosome/50S_Ecoli_MAVEn_segmented.cif.gz --segments "
            "{shared}/ribosome/50S_segments9.json --apix 5 --n 2000 --box 64 --snr 0.1",
            "--pose_error 2 --shift_error 2.5",
            "--pointtransformer --model gmm.txt --preset small",
        ),
        "mixture": Row(
            "mixture set --pdb {mixture} --apix 5 --n 3000 --box 64 --snr 0.1",
            "--pose_error 3 --shift_error 3",
            "--preset small",
        ),
        "motion": Row(
            "motion set --pdb {shared}/transporter/4ZXB.cif.gz --domains {domains} --apix 2 --n 4000 --box 128 "
            "--snr 0.05 --rmsd 5",
            "",
            "--pointtransformer --model gmm.txt --preset small --box 64",
        ),
        "arms": Row(
            "motion set --pdb {shared}/mixture/cif/2CG9.cif.gz --pieces 2 --apix 1.5 --n 2000 --box 128 --snr 0.05 "
            "--rmsd 6",
            "",
            "--pointtransformer --model gmm.txt --preset small --box 64",
        ),
    },
    "tiny": {
        "gaussians": Row(
            "assembly set --apix 8 --diameter 75 --pieces 2 --n 96 --box 16 --snr 1",
            "--pose_error 2 --shift_error 2.5",
            "--pointtransformer --model gmm.txt --preset small --niter 1 --set points=16 --set neighbours=4 --set "
            "channels=16 --set attention_channels=16",
        ),
        "mixture": Row(
            "mixture set --structures 3 --apix 8 --n 96 --box 16 --snr 1",
            "--pose_error 3 --shift_error 3",
            "--preset small --niter 1 --set inr_width=16 --set dim=16 --set coordinates=40",
        ),
        "motion": Row(
            "motion set --apix 4 --diameter 75 --pieces 2 --rmsd 6 --n 256 --box 32 --snr 1",
            "",
            "--pointtransformer --model gmm.txt --preset small --niter 2 --box 16 --set points=16 --set neighbours=4 "
            "--set channels=16 --set attention_channels=16",
        ),
    },
}
PROFILES["tiny"]["arms"] = PROFILES["tiny"]["motion"]
MOVING_SETS = "motion", "arms"
STRUCTURES = slice(29, 39)  # of the shared list of molecules: none that another benchmark takes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    options = harness.parser_of_rows(__doc__, PROFILES, PROFILES["cpu"]).parse_args(argv)
    return harness.exit_code("poses.py", options, run, MARK)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run every stage that is not done yet, print the figures and return the report."""
    asked = {"profile": options.profile, "seed": options.seed}
    report = harness.begun(folder / MARK, asked, **environment(), rows={}, stages={})

    def figures(name: str) -> dict[str, Any]:
        of_row = of_motion if name in MOVING_SETS else of_poses
        return of_row(name, PROFILES[options.profile][name], options, report, folder)

    failed = harness.run_rows(options.rows, figures, report, partial(write_json, folder / MARK))
    report = {**report, **environment(), "failed": failed}
    write_json(folder / MARK, report)
    print_rows(report["rows"])
    return report


def simulation(row: Row, folder: Path) -> str:
    """Return what e2hype_simulate.py makes, the structures put in.

    Raises
    ------
    ConfigurationError : if the structures are not there.
    """
    words = row.simulate
    if "{" not in words:
        return words
    if not SHARED.is_dir():
        raise ConfigurationError(f"{SHARED}: no such folder; expected the structures beside the project.")
    if "{mixture}" in words:
        models = sorted((SHARED / "mixture" / "cif").glob("*.cif.gz"))[STRUCTURES]
        return words.replace("{mixture}", " ".join(map(str, models)))
    if "{domains}" in words:
        model, table = (SHARED / "transporter" / name for name in ("4ZXB.cif.gz", "domains.json"))
        words = words.replace("{domains}", str(complete_domains(model, table, MOVING, folder / "domains.json")))
    return words.replace("{shared}", str(SHARED))


# Poses that are wrong ---------------------------------------------------------------------------


def of_poses(
    name: str, row: Row, options: argparse.Namespace, report: dict[str, Any], folder: Path
) -> dict[str, dict[str, Any]]:
    """Run what is missing of a set whose poses are wrong; return the figures of each list and run.

    Raises
    ------
    UserError : if a program fails.
    """
    end, save = f"--seed {options.seed}", partial(write_json, folder / MARK)
    gaussians = "--pointtransformer" in row.training
    found: dict[str, dict[str, Any]] = {}
    for kind in LISTS:
        own = folder / name / kind
        error = row.error if kind == "wrong" else ""
        words = [("simulate", f"{simulation(row, own)} {error} {end}", "set")]
        if gaussians:
            words += neutral("set/particles.star", end)
        for run, option in RUNS.items():
            words.append(("refine", f"set/particles.star --path {run} {row.training} {option} {end}", run))
            if gaussians:
                words.append(("segment", f"{run} {end}", f"{run}/index.html"))
            words.append(("validate", f"{run} --skip_halves --nulls 0 {end}", f"{run}/validation"))
            images = "--images 0" if gaussians else "--images 100 --mask none"
            words.append(("score", f"{run} {images} --json {run}.json {end}", f"{run}.json"))
        done = harness.run_missing(stages(words), f"{name}, {kind}", own, report, save)
        for run in RUNS:
            seconds = done[f"{run} refine"]["processor_seconds"]
            found[f"{kind}, {run}"] = {**figures_of(own, run), "seconds": seconds}
    limits = found["true, listed"]
    for figures in found.values():
        if limits.get("bound"):
            figures["gap"] = (figures["fsc_auc"] - limits["floor"]) / (limits["bound"] - limits["floor"])
    return found


def neutral(particles: str, end: str, options: str = "") -> list[tuple[str, str, str]]:
    """Return the programs that make starting Gaussians from the map of a list."""
    return [
        ("make3d", f"{particles} consensus.mrc {options}", "consensus.mrc"),
        ("guess_n", f"consensus.mrc gmm.txt {end}", "gmm.txt"),
    ]


def stages(words: list[tuple[str, str, str]]) -> list[Stage]:
    """Return programs, arguments and outputs as stages, each named by its output too."""
    return [Stage(one, output, " ".join(f"e2hype_{one}.py {text}".split()), output) for one, text, output in words]


def figures_of(folder: Path, run: str) -> dict[str, Any]:
    """Return the figures of one run.

    Parameters
    ----------
    folder : of the set.
    run : its name there.
    """
    score = read_json(folder / f"{run}.json")
    gaussians, poses, volumes = score.get("gaussians", {}), score.get("poses", {}), score.get("volumes", {})
    following = read_json(folder / run / "validation" / "validation.json")["following"]
    shares = [
        one["share"] for one in following if one["property"] in IMAGING and one["coordinate"].startswith("latent")
    ]
    regions = gaussians.get("regions") or {}
    poses = poses or {"refined": moved(folder, run)}
    figures = {
        "rotation": poses.get("refined", {}).get("rotation"),
        "rotation_listed": poses.get("given", {}).get("rotation"),
        "shift": poses.get("refined", {}).get("shift"),
        "shift_listed": poses.get("given", {}).get("shift"),
        "accuracy": gaussians.get("amplitude", {}).get("percentile", {}).get("all"),
        "found": regions.get("recovered"),
        "leak": max(shares, default=None),
        "leak_error": follows_error(folder, run),
    }
    for subject in ("model", "floor", "bound"):
        area = volumes.get(subject, {}).get("fsc_auc", {}).get("mean")
        figures["fsc_auc" if subject == "model" else subject] = area
    return figures


def moved(folder: Path, run: str) -> dict[str, float]:
    """Return how far a run has moved the listed poses, in the median, degrees and Å; nothing where it has not.

    Parameters
    ----------
    folder : of the set.
    run : its name there.
    """
    path = folder / run / "poses_00.txt"
    if not path.exists():
        path = folder / run / "poses.txt"
    if not path.exists():
        return {}
    change = poses_of(path, read_particles(folder / "set" / "particles.star"))
    turn, off = (float(np.median(np.linalg.norm(values, axis=1))) for values in (change.turn, change.shift))
    return {"rotation": float(np.degrees(turn)), "shift": off}


def follows_error(folder: Path, run: str) -> float | None:
    """Return the largest share of a latent's variance that listed poses' true errors explain; None where none are.

    Parameters
    ----------
    folder : of the set, whose particles were all trained on.
    run : its name there.
    """
    listed, truth = read_particles(folder / "set" / "particles.star"), open_truth(folder / "set")
    if truth.rotation is None or truth.shift is None or listed.pose is None:
        return None
    turn, off = pose_errors(listed.pose, truth.rotation, truth.shift)
    moved = np.column_stack([off, np.zeros(len(off))])
    in_molecule = [np.einsum("nji,nj->ni", truth.rotation, vector) for vector in (turn, moved)]
    error = np.column_stack([turn, off, *in_molecule])  # as the image shows them, and as the molecule would
    latents = read_latent(folder / run / "mid_00.txt")[1]
    if np.abs(error).max() < 1e-3 or latents.shape[1] == 0:
        return None
    return float(follow({"error": error}, latents, permutations=1).share.max())


# What moves -------------------------------------------------------------------------------------


def of_motion(name: str, row: Row, options: argparse.Namespace, report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run what is missing of a set that moves; return the resolutions of its maps.

    Raises
    ------
    UserError : if a program fails.
    """
    own, end = folder / name, f"--seed {options.seed}"
    own.mkdir(parents=True, exist_ok=True)  # for the table of domains
    box = row.training.partition("--box ")[2].split()[0]
    words = [
        ("simulate", f"{simulation(row, own)} {end}", "set"),
        *neutral("set/particles.star", end, f"--box {box}"),
        ("refine", f"set/particles.star --path run {row.training} {end}", "run"),
        ("segment", f"run {end}", "run/index.html"),
        ("score", f"run --images 0 --json run.json {end}", "run.json"),
        ("make3d", "set/particles.star listed.mrc", "listed.mrc"),
        ("make3d", "set/particles.star still.mrc --deform run", "still.mrc"),
        ("align", "run --refine", "run/aligned"),
    ]
    save = partial(write_json, folder / MARK)
    regions = f"{name}, regions"
    done = harness.run_missing(stages(words), name, own, report, save, lambda: report["stages"].pop(regions, None))
    lists = sorted((own / "run" / "aligned").glob("region_*.star"))
    words = [("make3d", f"run/aligned/{one.name} {one.stem}.mrc", f"{one.stem}.mrc") for one in lists]
    harness.run_missing(stages(words), regions, own, report, save)
    if shutil.which("relion_reconstruct"):
        for one in lists:
            of_list = ["--i", f"run/aligned/{one.name}", "--o", f"relion_{one.stem}.mrc", "--ctf"]
            subprocess.run(["relion_reconstruct", *of_list], cwd=own, check=True, capture_output=True)
    seconds = {stage: result["processor_seconds"] for stage, result in done.items()}
    score = read_json(own / "run.json").get("gaussians", {})
    motion = {key: score.get("motion", {}).get(key) for key in ("rmsd_about_mean", "rmsd_without_motion")}
    return {**motion, **resolutions(own, [one.stem for one in lists]), "seconds": seconds}


def resolutions(folder: Path, regions: Sequence[str]) -> dict[str, Any]:
    """Return at which resolution maps are the true ones: of all, and of each piece that moves.

    Parameters
    ----------
    folder : of the set.
    regions : names of the maps at the poses of a region.
    """
    truth = open_truth(folder / "set")
    assert truth.angles is not None
    pieces = [read_volume(folder / "set" / "truth" / f"piece_{k:02d}.mrc") for k in range(truth.angles.shape[1])]
    pixel_size, whole = pieces[0][1], np.sum([volume for volume, _ in pieces], axis=0)

    def agreement(name: str, mask: np.ndarray) -> dict[str, float]:
        halves = [read_volume(folder / f"{name}_half{half}.mrc")[0] for half in (1, 2)]
        against = masked_fsc(read_volume(folder / f"{name}.mrc")[0], whole, mask)
        return {
            "truth": resolution(against, 0.5, pixel_size),
            "halves": resolution(masked_fsc(*halves, mask), 0.143, pixel_size),
        }

    found: dict[str, Any] = {name: agreement(name, mask_of(whole, pixel_size)) for name in ("listed", "still")}
    for number, (piece, _) in enumerate(pieces[1:], 1):
        mask = mask_of(piece, pixel_size)
        maps = {name: agreement(name, mask) for name in ("listed", "still", *regions)}
        best = min(regions, key=lambda name: maps[name]["truth"], default=None)
        found[f"piece {number}"] = {name: maps[name] for name in ("listed", "still", best) if name is not None}
        if best is not None and (folder / f"relion_{best}.mrc").exists():
            other, ours = (read_volume(folder / f"{name}.mrc")[0] for name in (f"relion_{best}", best))
            found[f"piece {number}"]["relion"] = {
                "truth": resolution(masked_fsc(other, whole, mask), 0.5, pixel_size),
                "same": float(masked_fsc(other, ours, mask)[1:].mean()),
            }
    return found


def mask_of(volume: np.ndarray, pixel_size: float) -> np.ndarray:
    """Return a mask of a true map, 1 inside and falling to 0 beyond its edge."""
    beyond, width = EDGE
    distance = distance_transform_edt(volume <= LEAST * volume.max()) * pixel_size
    return 0.5 * (1 + np.cos(np.pi * np.clip((distance - beyond) / width, 0, 1)))


# Tables -----------------------------------------------------------------------------------------

COLUMNS = (
    ("rotation_listed", 2), ("rotation", 2), ("shift_listed", 2), ("shift", 2), ("accuracy", 3), ("found", 0),
    ("fsc_auc", 3), ("gap", 3), ("leak", 3), ("leak_error", 3), ("seconds", 0),
)  # fmt: skip


def print_rows(rows: dict[str, dict[str, Any]]) -> None:
    """Print what was found."""
    for name in rows:
        if name in MOVING_SETS:
            print_motion(rows[name])
            continue
        print(f"\n{name:<16}" + "".join(f"{key:>16}" for key, _ in COLUMNS))
        for kind, figures in rows[name].items():
            print(f"{kind:<16}" + "".join(f"{shown(figures.get(key), digits):>16}" for key, digits in COLUMNS))


def print_motion(found: dict[str, Any]) -> None:
    """Print the resolutions, against the truth (0.5) and of half-maps (0.143), Å."""
    print(f"\nmotion: RMSD {shown(found['rmsd_about_mean'], 2)} of {shown(found['rmsd_without_motion'], 2)} Å")
    for name in ("listed", "still"):
        print(f"whole, {name:<12}" + "".join(f"{found[name][key]:>8.2f}" for key in ("truth", "halves")))
    for piece in (key for key in found if key.startswith("piece")):
        for name, figures in found[piece].items():
            print(f"{piece}, {name:<12}" + "".join(f"{key:>8} {value:.3f}" for key, value in figures.items()))


if __name__ == "__main__":
    sys.exit(main())
