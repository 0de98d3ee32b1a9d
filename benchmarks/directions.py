"""How many directions of change does the search find where nothing changes, and where pieces come and go?

    python benchmarks/directions.py --seeds 20 --json directions.json     two cores, 10 s a set and kind

For every seed and row a set is simulated (the 50S ribosome of ../shared in a core and 8 optional pieces; 2000
images of 64², 5 Å, SNR 0.1), Gaussians are fitted to its own consensus map, and a run is begun with default options
as far as the search goes; nothing is trained. Rows: `null`, one structure; `null_nuisances`, the same with contrast,
junk, coloured noise, wrong poses and defoci; `null_uneven`, with noise that differs from image to image, and
micrographs; `pieces`, 8 pieces that are each there in half of the images; `pieces_nuisances`, `pieces_uneven`.

A row's figures: how many sets have none, and 8 or more directions; the kinds found; the least p-value of a set and the
largest of the eighth direction.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import SHARED

from libhetero.cli.stages import run_stage
from libhetero.configuration import write_json

PIECES = 8
NUISANCES = "--pose_error 2 --shift_error 2.5 --contrast_sd 0.2 --noise_colour 4 --junk 0.1 --defocus_error 200"
ROWS = {
    "null": "--probability 1",
    "null_nuisances": f"--probability 1 {NUISANCES}",
    "null_uneven": "--probability 1 --noise_sd 0.4 --micrographs 40",
    "pieces": "",
    "pieces_uneven": "--noise_sd 0.4 --micrographs 40",
    "pieces_nuisances": NUISANCES,
}
MODEL = SHARED / "ribosome" / "50S_Ecoli_MAVEn_segmented.cif.gz"
TABLE = SHARED / "ribosome" / "50S_segments9.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="sets of each row (default: 3)")
    parser.add_argument("--first", type=int, default=100, help="seed of the first set (default: 100)")
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=list(ROWS), help="default: all")
    parser.add_argument("--n", type=int, default=2000, help="particles of a set (default: 2000)")
    parser.add_argument("--ngauss", type=int, help="Gaussians (default: as many as e2hype_guess_n.py takes)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args(argv)
    report = {}
    for row in options.rows:
        found = []
        for seed in range(options.first, options.first + options.seeds):
            found.append(one_set(row, seed, options.n, options.ngauss))
            print(row, found[-1], flush=True)
        report[row] = summary(found)
        print(row, report[row], flush=True)
    if options.json:
        write_json(Path(options.json), report)
    return 0


def one_set(row: str, seed: int, count: int, gaussians: int | None) -> dict[str, Any]:
    """Return kinds and p-values of the directions found in one set, and the seconds that took."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        structure = f"--pdb {MODEL} --segments {TABLE} {ROWS[row]}"
        commands = {
            "simulate": f"e2hype_simulate.py assembly set --n {count} --box 64 --apix 5 --seed {seed} {structure}",
            "consensus": "e2hype_make3d.py set/particles.star map.mrc",
            "Gaussians": "e2hype_guess_n.py map.mrc gmm.txt" + (f" --ngauss {gaussians}" if gaussians else ""),
        }
        for name, command in commands.items():
            run_stage(name, command, Path(folder))
        start = time.monotonic()
        directions = search("set/particles.star", "gmm.txt")
        return {
            "seed": seed,
            "kinds": "".join(one.kind[0] for one in directions),
            "p": [one.p for one in directions],
            "seconds": time.monotonic() - start,
        }


def search(particles: str, gaussians: str) -> tuple[Any, ...]:
    """Return the directions that a run with default options finds before it is trained."""
    from libhetero.pipelines.run.asked import RefineConfig
    from libhetero.pipelines.run.new import NewRun

    asked = RefineConfig(particles=particles, family="gmm", preset="small", data={"reference": gaussians})
    return NewRun(asked).start().model.directions()


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a row."""
    eighth = [sorted(one["p"])[PIECES - 1] for one in found if len(one["p"]) >= PIECES]
    return {
        "sets": len(found),
        "none": sum(not one["p"] for one in found),
        "eight_or_more": len(eighth),
        "of_presence_alone": sum(set(one["kinds"]) == {"a"} for one in found),
        "directions": [len(one["p"]) for one in found],
        "least_p": min((p for one in found for p in one["p"]), default=1.0),
        "largest_p_of_eighth": max(eighth, default=1.0),
        "seconds": sum(one["seconds"] for one in found) / len(found),
    }


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
