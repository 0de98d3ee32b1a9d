"""Three pieces that tilt independently: how closely are they followed, and told apart?

    python benchmarks/motion.py --profile cpu --json motion.json     two cores, at most 45 minutes
    python benchmarks/motion.py --profile paper_cpu --work FOLDER       two cores, at most 75 minutes a row
    python benchmarks/motion.py --profile full --json motion.json    one GPU, at most 8 minutes

By default the insulin receptor with two Fabs (4ZXB) of ../shared. Every piece but the core turns
about its own fixed hinge and axis by an independent uniform angle, as wide as gives a mean RMSD of
2.2 Å; a domain table with fewer than three moving pieces is completed by cutting the core
(`libhetero.simulate.cut`). Published: the same on an ABC transporter, mean RMSD 2.23 Å.

`rmsd` compares displacements from the neutral model with those from the unturned structure; the
consensus map that the neutral model is fitted to lies near it, since the angles are symmetric about 0.
`rmsd_about_mean` takes each Gaussian's mean displacement off both, which needs no such place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
from harness import Benchmark, Figure, Profile

MOVING = 3
RMSD = 2.2  # Å

PROFILES = {
    "cpu": Profile(particles=4000, box=64, gaussians=500, training="--preset small"),
    "paper_cpu": Profile(particles=12_800, box=64, gaussians=2000, training="--preset small"),
    "full": Profile(particles=12_800, box=96, gaussians=2048, training="--preset default --niter 12"),
    "tiny": Profile(
        particles=128,
        box=16,
        gaussians=64,
        snr=1.0,
        training="--preset small --niter 2 --batchsz 32 --learnrate 2e-3 --ema 0.9",
        rows={
            "pt": "--set points=16 --set neighbours=4 --set channels=16 --set attention_channels=16",
            "mlp": "--set mlp_width=16",
        },
        generated=f"--apix 8 --diameter 75 --pieces {MOVING}",
    ),
}

PUBLISHED = {"pt": {"rmsd": 0.67, "rmsd_rigid": 2.23}, "mlp": {"rmsd": 0.70, "rmsd_rigid": 2.23}}


def row(score: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one decoder.

    Parameters
    ----------
    score : what e2hype_score.py wrote.
    """
    gaussians = score["gaussians"]
    motion, regions, angles = (gaussians[name] for name in ("motion", "regions", "angles"))
    return {
        "rmsd": motion["rmsd"],
        "rmsd_about_mean": motion["rmsd_about_mean"],
        "rmsd_rigid": motion["rmsd_without_motion"],
        "regions_found": regions["recovered"],
        "regions_true": regions["pieces"],
        "regions": regions["regions"],
        "ari": regions["ari"],
        "spearman_min": angles["least"],
        "spearman": angles["pieces"],
    }


def complete(model: str, table: str, folder: Path) -> str:
    """Write domains.json with at least three moving pieces into `folder`; return its path.

    A table of segments is left as it is.

    Parameters
    ----------
    model : atomic model.
    table : JSON table of its pieces.
    folder : to write to.
    """
    from libhetero.simulate.domains import complete_domains

    if harness.kind_of_table(table) == "segments":
        return table
    return str(complete_domains(model, table, MOVING, folder / "domains.json"))


BENCHMARK = Benchmark(
    kind="motion",
    structures=("transporter/4ZXB.cif.gz", "transporter/domains.json"),
    margin=1.2,
    pieces=MOVING,
    simulate=f"--rmsd {RMSD}",
    profiles=PROFILES,
    published=PUBLISHED,
    figures=(
        Figure("rmsd", "RMSD to the true motion (Å)", 2),
        Figure("rmsd_about_mean", "the same about each Gaussian's mean (Å)", 2),
        Figure("rmsd_rigid", "the same for no motion (Å)", 2),
        Figure("regions_found", "moving pieces found as regions", 0),
        Figure("regions_true", "  of", 0),
        Figure("regions", "  regions in all", 0),
        Figure("ari", "regions against pieces, ARI"),
        Figure("spearman_min", "region coordinate against angle, least |rho|"),
    ),
    row=row,
    complete=complete,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return harness.main(BENCHMARK, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
