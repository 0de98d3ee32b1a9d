"""How good is a map of known poses? Ours beside RELION's and cryoDRGN's, on the same simulated images.

    python benchmarks/reconstruction.py --seeds 0 1 2 --json reconstruction.json
    python benchmarks/reconstruction.py --sets 50S --cryodrgn /path/to/bin/cryodrgn --work maps

Every set is one structure of ../shared. `inside` is the mean over shells of the FSC with the true map, both
multiplied by a soft mask around the true molecule; `whole` the same without a mask, `auc` the area under it;
`grey` how many times as dense as the truth the map is, by its shells from 2 to a quarter of the box: a map that can
be subtracted from images has 1. Seconds, processor seconds and memory are of the whole process (of all three, where
RELION is given the FSC of its own half-maps). A program that is not installed is left out. Rows:

    ours            e2hype_make3d.py
    relion          relion_reconstruct --ctf, not regularised: its default
    relion, fsc     the same with --fsc, the FSC of its half-maps: regularised
    cryodrgn        cryodrgn backproject_voxel, its default (--reg-weight 1)
    cryodrgn, 0.1   the same with --reg-weight 0.1
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pickle
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import scipy.ndimage
from harness import SHARED, WorkFolder, environment
from jaxtyping import Float
from peers import Cost, resident

from libhetero.cli.stages import find_program, run_stage
from libhetero.configuration import write_json
from libhetero.errors import ConfigurationError, UserError
from libhetero.io import read_particles, read_volume, write_particles
from libhetero.metrics.fsc import fsc_area, masked_fsc
from libhetero.reconstruction.wiener import radius_3d


@dataclass(frozen=True)
class Simulated:
    """One set.

    Parameters
    ----------
    structure : file below ../shared; None for a complex made from the seed.
    images, box, pixel_size, snr : as e2hype_simulate.py takes them.
    crowding : views crowd about one direction by exp(crowding · (cos² - 1)); 0 for uniform ones.
    """

    structure: str | None
    images: int
    box: int
    pixel_size: float
    snr: float = 0.1
    crowding: float = 0.0


SETS = {
    "50S": Simulated("ribosome/50S_Ecoli_MAVEn_segmented.cif.gz", 1000, 64, 5.0),
    "Hsp90": Simulated("mixture/cif/2CG9.cif.gz", 1000, 96, 3.0),
    "NMDA receptor, few views": Simulated("mixture/cif/6IRF.cif.gz", 3000, 64, 5.0, crowding=4.0),
    "GAPDH, 300 images": Simulated("mixture/cif/5LD5.cif.gz", 300, 64, 5.0),
    "30S, SNR 0.02": Simulated("mixture/cif/5LMO.cif.gz", 4000, 64, 5.0, snr=0.02),
    "ClpB, few views": Simulated("mixture/cif/1QVR.cif.gz", 2500, 96, 3.0, crowding=4.0),
}
TINY = {"tiny": Simulated(None, 96, 16, 8.0, snr=1.0)}
FIGURES = ("inside", "whole", "auc", "grey", "seconds", "processor", "memory")
HEADINGS = ("inside", "whole", "auc", "grey", "s", "CPU s", "MiB")
EDGE = 3  # voxels over which the mask falls


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    options = build_parser().parse_args(argv)
    sets = TINY if options.tiny else {name: SETS[name] for name in options.sets}
    try:
        with WorkFolder(options.work, keep=False) as folder:
            rows = []
            for seed, (name, one) in itertools.product(options.seeds, sets.items()):
                rows += rows_of(name, one, seed, options, folder)
                if options.json:
                    write_json(Path(options.json), {"rows": table_of(rows), "each": rows, **environment()})
        print_table(table_of(rows))
    except UserError as error:
        print(f"reconstruction.py: {error}", file=sys.stderr)
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    known = ", ".join(SETS)
    add("--sets", nargs="+", choices=tuple(SETS), default=list(SETS), metavar="SET", help=f"of {known} (default: all)")
    add("--rows", nargs="+", choices=tuple(PROGRAMS), default=list(PROGRAMS), help="what to run (default: all)")
    add("--seeds", nargs="+", type=int, default=[0], help="of the simulation; the table has their mean (default: 0)")
    add("--relion", default="relion_reconstruct", metavar="FILE", help="RELION's program (default: on the path)")
    add("--cryodrgn", default="cryodrgn", metavar="FILE", help="cryoDRGN's program (default: on the path)")
    add("--json", metavar="FILE", help="write the figures here too")
    add("--work", metavar="FOLDER", help="run here and leave the files (default: a temporary folder)")
    add("--tiny", action="store_true", help="a set of seconds, to try the program")
    return parser


def rows_of(name: str, one: Simulated, seed: int, options: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    """Simulate one set, reconstruct it by every program, and yield the figures of each."""
    folder = work / f"{name.split(',')[0].replace(' ', '_')}_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    simulate(one, seed, folder)
    truth = read_volume(folder / "set" / "truth" / "map_000.mrc")[0]
    mask = around(truth)
    for row in options.rows:
        found = PROGRAMS[row](one, options, folder)
        if found is not None:
            path, cost = found
            figures = {**compare(read_volume(path)[0], truth, mask), **vars(cost)}
            yield {"set": name, "seed": seed, "row": row, **figures}


def simulate(one: Simulated, seed: int, folder: Path) -> None:
    """Write the set's images, and used.star with those that are reconstructed."""
    source = "--structures 1"
    if one.structure is not None:
        model = SHARED / one.structure
        if not model.is_file():
            raise ConfigurationError(f"{model}: no such file; expected the structures beside the project.")
        source = f"--pdb {shlex.quote(str(model))}"
    command = (
        f"e2hype_simulate.py mixture set {source} --n {one.images} --box {one.box} --apix {one.pixel_size:g} "
        f"--snr {one.snr:g} --seed {seed}"
    )
    run_stage("simulate", command, folder)
    with contextlib.chdir(folder):  # lists name stacks as seen from the current folder
        particles = read_particles("set/particles.star")
        towards = np.asarray(particles.pose.rotation)[:, 2, 0]  # the cosine of the view and the model's x axis
        chance = np.exp(one.crowding * (towards**2 - 1))
        kept = np.flatnonzero(np.random.default_rng(seed).random(len(particles)) <= chance)
        write_particles("used.star", particles.take(kept))


def around(truth: Float[np.ndarray, "n n n"]) -> Float[np.ndarray, "n n n"]:
    """Return a soft mask around the true molecule."""
    smooth = scipy.ndimage.gaussian_filter(truth, 1.0)
    distance = scipy.ndimage.distance_transform_edt(smooth < 0.1 * smooth.max())
    return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 2) / EDGE, 0, 1))).astype(np.float32)


def compare(
    volume: Float[np.ndarray, "n n n"], truth: Float[np.ndarray, "n n n"], mask: Float[np.ndarray, "n n n"]
) -> dict[str, float]:
    """Return the figures of one map."""
    n = len(truth)
    inside, whole = masked_fsc(volume, truth, mask), masked_fsc(volume, truth)
    found, true = (np.fft.rfftn(one) for one in (volume, truth))
    shells = (radius_3d(n) * n >= 2) & (radius_3d(n) < 0.25)
    grey = np.vdot(true[shells], found[shells]).real / np.vdot(true[shells], true[shells]).real
    return {
        "inside": float(inside[1:].mean()),
        "whole": float(whole[1:].mean()),
        "auc": fsc_area(whole),
        "grey": float(grey),
    }


def ours(one: Simulated, options: argparse.Namespace, folder: Path) -> tuple[Path, Cost] | None:
    """Reconstruct by e2hype_make3d.py."""
    program = [sys.executable, str(find_program("e2hype_make3d.py"))]
    return folder / "ours.mrc", measured([*program, "used.star", "ours.mrc", "--noinvert"], folder)


def relion(one: Simulated, options: argparse.Namespace, folder: Path) -> tuple[Path, Cost] | None:
    """Reconstruct by relion_reconstruct as it is."""
    if shutil.which(options.relion) is None:
        return None
    words = [options.relion, "--i", "used.star", "--ctf", "--o", "relion.mrc"]
    return folder / "relion.mrc", measured(words, folder)


def relion_regularised(one: Simulated, options: argparse.Namespace, folder: Path) -> tuple[Path, Cost] | None:
    """Reconstruct both halves by relion_reconstruct, then all with their FSC."""
    if shutil.which(options.relion) is None:
        return None
    words, cost, halves = [options.relion, "--i", "used.star", "--ctf", "--o"], Cost(), []
    for half in ("1", "2"):
        cost += measured([*words, f"half{half}.mrc", "--subset", half], folder)
        halves.append(read_volume(folder / f"half{half}.mrc")[0])
    fsc = [*np.maximum(masked_fsc(*halves), 1e-3), 1e-3]
    lines = [f"{shell} {value:.6f}\n" for shell, value in enumerate(fsc)]
    table = ["data_fsc\n\nloop_\n_rlnSpectralIndex #1\n_rlnGoldStandardFsc #2\n", *lines]
    (folder / "fsc.star").write_text("".join(table))
    return folder / "relion_fsc.mrc", cost + measured([*words, "relion_fsc.mrc", "--fsc", "fsc.star"], folder)


def cryodrgn(weight: str) -> Callable[[Simulated, argparse.Namespace, Path], tuple[Path, Cost] | None]:
    """Return what reconstructs by cryodrgn backproject_voxel."""

    def made(one: Simulated, options: argparse.Namespace, folder: Path) -> tuple[Path, Cost] | None:
        if shutil.which(options.cryodrgn) is None:
            return None
        write_cryodrgn(folder)
        words = [options.cryodrgn, "backproject_voxel", "used.star", "--poses", "pose.pkl", "--ctf", "ctf.pkl"]
        output = f"drgn_{weight}"
        return folder / output / "backproject.mrc", measured([*words, "-o", output, "--reg-weight", weight], folder)

    return made


def write_cryodrgn(folder: Path) -> None:
    """Write pose.pkl and ctf.pkl of used.star, by the relations of docs/conventions.md."""
    with contextlib.chdir(folder):
        particles = read_particles("used.star")
        pose, ctf = particles.poses_and_ctfs()
        box, pixel_size = particles.uniform_box_size(), particles.uniform_pixel_size()
        angles = (np.rad2deg(ctf.defocus_angle), ctf.voltage, ctf.spherical_aberration, ctf.amplitude_contrast)
        columns = (ctf.defocus_u, ctf.defocus_v, *angles, np.rad2deg(ctf.phase_shift))
        table = np.stack([np.full(len(particles), box), np.full(len(particles), pixel_size), *columns], axis=1)
        shift = -np.asarray(pose.shift) / (box * pixel_size)
        for name, content in (
            ("pose", (np.asarray(pose.rotation, np.float32), shift.astype(np.float32))),
            ("ctf", table.astype(np.float32)),
        ):
            with open(f"{name}.pkl", "wb") as file:
                pickle.dump(content, file)


PROGRAMS = {
    "ours": ours,
    "relion": relion,
    "relion, fsc": relion_regularised,
    "cryodrgn": cryodrgn("1"),
    "cryodrgn, 0.1": cryodrgn("0.1"),
}


def measured(words: Sequence[str], folder: Path) -> Cost:
    """Run a program in `folder`, what it says into programs.log there, and return what it cost.

    Raises
    ------
    UserError : if it failed.
    """
    with open(folder / "programs.log", "ab") as log:
        start, memory = monotonic(), 0.0
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            memory = max(memory, resident(process.pid))
            sleep(0.02)
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        tail = (folder / "programs.log").read_text(errors="replace")[-300:]
        raise UserError(f"{shlex.join(words)}: failed in {folder}: {tail}")
    return Cost(monotonic() - start, usage.ru_utime + usage.ru_stime, memory)


def table_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean over seeds of every set and program."""
    table = []
    for key in dict.fromkeys((row["set"], row["row"]) for row in rows):
        own = [row for row in rows if (row["set"], row["row"]) == key]
        means = {name: float(np.mean([row[name] for row in own])) for name in FIGURES}
        table.append({"set": key[0], "row": key[1], "seeds": len(own), **means})
    return table


def print_table(table: list[dict[str, Any]]) -> None:
    """Print one line a set and program."""
    print(f"\n{'set':<26}{'map':<15}" + "".join(f"{name:>9}" for name in HEADINGS))
    for row in table:
        cells = "".join(f"{row[name]:>9.{4 if place < 4 else 1}f}" for place, name in enumerate(FIGURES))
        print(f"{row['set']:<26}{row['row']:<15}{cells}")


if __name__ == "__main__":
    sys.exit(main())
