"""Pieces that are each there or not: which Gaussians are told apart, and which particles?

    python benchmarks/assembly.py --profile cpu --json assembly.json     two cores, at most 45 minutes
    python benchmarks/assembly.py --profile paper_cpu --work FOLDER       two cores, at most 75 minutes a row
    python benchmarks/assembly.py --profile full --json assembly.json    one GPU, at most 8 minutes

By default the 50S ribosome of ../shared, cut in a core and 8 pieces that are each present with
probability ½. Published: the same with 12,800 particles; pixel and box size are not told.

`accuracy` is that of e2hype_score.py with reference "percentile": a Gaussian is present in a particle
where its amplitude is at least half of its own 95th percentile over all particles, so that neither
the truth nor the density of the neutral model has a say. `accuracy_neutral` divides by the neutral
model's amplitude, as the paper does, which is right where that model is the complete complex
(--start model); `accuracy_optional` leaves out the core, which is always there and easily right.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import harness
from harness import Benchmark, Figure, Profile

PIECES = 8

PROFILES = {
    "cpu": Profile(particles=3000, box=64, gaussians=600, training="--preset small"),
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
        generated="--apix 8 --diameter 75 --pieces 2",
    ),
}

PUBLISHED = {"pt": {"accuracy": 0.961, "regions_found": 8}, "mlp": {"accuracy": 0.932, "regions_found": 6}}


def row(score: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one decoder.

    Parameters
    ----------
    score : what e2hype_score.py wrote.
    """
    gaussians = score["gaussians"]
    amplitude, regions, classes = (gaussians[name] for name in ("amplitude", "regions", "classes"))
    return {
        "accuracy": amplitude["percentile"]["all"],
        "accuracy_reference": "percentile",
        "accuracy_optional": amplitude["percentile"]["optional"],
        "accuracy_neutral": amplitude["neutral"]["all"],
        "accuracy_all_present": amplitude["percentile"]["always_present"],
        "regions_found": regions["recovered"],
        "regions_true": regions["pieces"],
        "regions": regions["regions"],
        "ari": regions["ari"],
        "iou": regions["iou"],
        "region_class_accuracy": classes["accuracy"],
        "class_accuracy": classes["pieces"],
    }


BENCHMARK = Benchmark(
    kind="assembly",
    structures=("ribosome/50S_Ecoli_MAVEn_segmented.cif.gz", "ribosome/50S_segments9.json"),
    margin=1.0,
    pieces=PIECES,
    simulate="",
    profiles=PROFILES,
    published=PUBLISHED,
    figures=(
        Figure("accuracy", "amplitude accuracy (reference: percentile)"),
        Figure("accuracy_optional", "the same in the optional pieces"),
        Figure("accuracy_neutral", "amplitude accuracy (reference: neutral)"),
        Figure("accuracy_all_present", "calling every Gaussian present"),
        Figure("regions_found", "pieces found as regions", 0),
        Figure("regions_true", "  of", 0),
        Figure("regions", "  regions in all", 0),
        Figure("ari", "regions against pieces, ARI"),
        Figure("region_class_accuracy", "classes of particles, mean over pieces"),
    ),
    row=row,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    return harness.main(BENCHMARK, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
