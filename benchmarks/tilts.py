"""Tilt series against single images: what 41 images of a particle say of it that share the dose of one.

    python benchmarks/tilts.py --profile cpu --work FOLDER --json tilts.json     one core, about 25 minutes a row
    python benchmarks/tilts.py --rows single equal --seed 3 --work FOLDER

The 50S ribosome in a core and 8 optional pieces, as many particles in every row, is imaged and goes through the
installed programs by their defaults, with the Point Transformer; a work folder that was stopped goes on.

    single   one image of each particle, at an SNR of s
    equal    41 tilts from -60 to 60 degrees of each, 50 e⁻/Å² in all, each at an SNR of s / 41 before both
    same     one image of each, at the SNR at which it has the information of the 41 of `equal`
    apart    the images of `equal` as if each showed a particle of its own (--tilts apart)
    ten      as `equal`, at ten times the SNR: the least that a subtomogram has

    mixture_single, mixture_series
             ten molecules made from the seed, with classes that are searched for (e2hype_classify.py) and CryoHype: one
             image of each particle at an SNR of s, and 21 tilts, 50 e⁻/Å² in all, at an SNR of s / 21 before both

The images of `equal` have together what one image of `single` has, less what thicker ice (Σ cos² of the tilts is 29 of
41) and exposure take, so that `single` is a bound for it, and `same` what it should reach. In white noise the part that
is left of the information is

    Σ_r cos² a_r Σ_k q_r(k)² S(k) / (41 Σ_k S(k)),

S the power of noise-free images in the Fourier pixels that are compared, a_r the tilts, and q_r what the exposures
leave (`libhetero.simulate.tilts`, `libhetero.physics.ctf`). The SNR of `same` is this part of s. What is measured
(docs/metrics.md):

    snr                  of an image, untilted and before any exposure
    accuracy, optional   of Gaussians' amplitudes, of all and of those that are not always there
    found, of            regions that are pieces, and pieces there are
    ari                  agreement of regions with pieces
    seconds, peak        processor seconds and MiB of training

and of the mixtures

    classes, their ari   found by e2hype_classify.py, and their agreement with the molecules; its processor seconds
    ari                  agreement with them of k-means of CryoHype's latents
    fsc_auc              mean of the volumes of the particles scored, beside those of bound and floor (mixture.py)
    gap                  closed between floor and bound
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import jax.numpy as jnp
import numpy as np
from harness import SHARED, Stage, environment, shown
from robustness import figures_of

from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError
from libhetero.io import ImageReader, read_particles
from libhetero.physics.ctf import exposure_filter
from libhetero.physics.fourier import disc_indices, half_plane
from libhetero.records import ParticleSet
from libhetero.simulate.configuration import TiltConfig
from libhetero.simulate.tilts import faded

MARK = "tilts.json"  # in the work folder: what was asked for, and the figures so far
SERIES = TiltConfig(-60.0, 60.0, 3.0, 1.22)
TILTS = SERIES.count
MIXTURE_SERIES = TiltConfig(-60.0, 60.0, 6.0, 2.4)
SIGNAL = "signal"  # noise-free images, by which the information that tilts have is told
SIGNAL_IMAGES = 64


@dataclass(frozen=True)
class Row:
    """One training.

    Parameters
    ----------
    imaged : a key of `SETS`.
    options : of e2hype_refine.py.
    """

    imaged: str
    options: str = ""


@dataclass(frozen=True)
class Profile:
    """One size of the benchmark.

    Parameters
    ----------
    simulate : kind, folder and options of e2hype_simulate.py; {folder} is what is made, {shared} the shared folder of
        structures.
    count : particles.
    snr : s, of a single image.
    training : options of e2hype_refine.py.
    scoring : of a mixture, options of e2hype_score.py.
    """

    simulate: str
    count: int
    snr: float
    training: str
    scoring: str = ""


def tilted(series: TiltConfig) -> str:
    """Return the options of e2hype_simulate.py that ask for a tilt series."""
    return f"--tilts {series.first:g},{series.last:g},{series.step:g} --dose {series.dose:g}"


TILTED = tilted(SERIES)
SETS = {  # part of s, of `same` of what tilts leave of it, and options
    "single": (1.0, ""),
    "equal": (1 / TILTS, TILTED),
    "same": (1.0, ""),
    "ten": (10 / TILTS, TILTED),
}
MIXTURES = {  # part of s, and options
    "mixture_single": (1.0, ""),
    "mixture_series": (1 / MIXTURE_SERIES.count, tilted(MIXTURE_SERIES)),
}
ROWS = {
    "single": Row("single"),
    "equal": Row("equal"),
    "same": Row("same"),
    "apart": Row("equal", "--tilts apart"),
    "ten": Row("ten"),
}
PROFILES = {
    "cpu": Profile(
        "assembly {folder} --pdb {shared}/ribosome/50S_Ecoli_MAVEn_segmented.cif.gz --segments "
        "{shared}/ribosome/50S_segments9.json --apix 6.75 --box 48",
        360,
        0.2,
        "--preset small",
    ),
    "tiny": Profile(
        "assembly {folder} --apix 8 --diameter 75 --pieces 2 --box 16",
        24,
        2.0,
        "--preset small --niter 1 --set points=16 --set neighbours=4 --set channels=16 --set attention_channels=16",
    ),
}
MIXTURE_PROFILES = {
    "cpu": Profile("mixture {folder} --structures 10 --box 48 --apix 5", 600, 0.2, "--preset small"),
    "tiny": Profile(
        "mixture {folder} --structures 2 --box 16 --apix 12",
        48,
        4.0,
        "--preset small --niter 1 --set dim=16 --set depth=1 --set heads=2 --set head_dim=8 --set feed_forward=16 "
        "--set weight_tokens=2 --set inr_width=16 --set inr_layers=1 --set inr_frequencies=8 --set coordinates=40",
        "--images 4",
    ),
}
COLUMNS = (
    ("accuracy", "accuracy", 3), ("accuracy_optional", "optional", 3), ("regions_found", "found", 0),
    ("regions_true", "of", 0), ("ari", "ari", 3), ("seconds", "seconds", 0), ("peak", "peak MiB", 0), ("snr", "snr", 5),
)  # fmt: skip
MIXTURE_COLUMNS = (
    ("classes", "classes", 0), ("classes_ari", "their ari", 3), ("classes_seconds", "seconds", 0), ("ari", "ari", 3),
    ("fsc_auc", "fsc_auc", 3), ("bound", "bound", 3), ("floor", "floor", 3), ("gap_closed", "gap", 3),
    ("seconds", "training s", 0), ("peak", "peak MiB", 0), ("snr", "snr", 5),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return its exit code."""
    options = harness.parser_of_rows(__doc__, PROFILES, (*ROWS, *MIXTURES)).parse_args(argv)
    return harness.exit_code("tilts.py", options, run, MARK)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run every stage that is not done yet, print the figures and return the report."""
    asked = {"profile": options.profile, "seed": options.seed}
    report = harness.begun(folder / MARK, asked, **environment(), rows={}, stages={})
    of_row = partial(run_row, options=options, report=report, folder=folder)
    failed = harness.run_rows(options.rows, of_row, report, partial(write_json, folder / MARK))
    report = {**report, **environment(), "failed": failed}
    write_json(folder / MARK, report)
    print_rows(report["rows"])
    return report


def run_row(name: str, options: argparse.Namespace, report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run what is missing of a row and its set; return its figures.

    Raises
    ------
    UserError : if a program fails.
    """
    if name in MIXTURES:
        return run_mixture(name, options, report, folder)
    row, profile, end = ROWS[name], PROFILES[options.profile], f"--seed {options.seed}"
    own, save = folder / row.imaged, partial(write_json, folder / MARK)

    def forget() -> None:
        for other in (key for key, one in ROWS.items() if one.imaged == row.imaged):
            report["stages"].pop(other, None)  # trained on images that are made anew

    snr = SETS[row.imaged][0] * profile.snr
    if row.imaged == "same":
        noise_free = f"{structures(profile, SIGNAL)} --n {SIGNAL_IMAGES} --snr 0 {end}"
        harness.run_missing(stages([("simulate", noise_free, SIGNAL)]), SIGNAL, own, report, save)
        snr *= information_left(read_particles(own / SIGNAL / "particles.star"))
    of_set = [
        ("simulate", f"{simulation(row.imaged, profile, snr)} {end}", "set"),
        ("make3d", "set/particles.star consensus.mrc", "consensus.mrc"),
        ("guess_n", f"consensus.mrc gmm.txt {end}", "gmm.txt"),
    ]
    refine = (
        f"set/particles.star --path {name} --model gmm.txt --pointtransformer {profile.training} {row.options} {end}"
    )
    of_row = [
        ("refine", refine, name),
        ("segment", f"{name} {end}", f"{name}/index.html"),
        ("score", f"{name} --images 0 --json {name}.json {end}", f"{name}.json"),
    ]
    harness.run_missing(stages(of_set), f"images of {row.imaged}", own, report, save, forget)
    done = harness.run_missing(stages(of_row), name, own, report, save)
    figures = figures_of(read_json(own / f"{name}.json"), own / name)
    found = {key: figures[key] for key, _, _ in COLUMNS if key in figures}
    return {
        **found,
        "snr": snr,
        "seconds": done["refine"]["processor_seconds"],
        "peak": done["refine"]["peak_bytes"] / 2**20,
    }


def run_mixture(name: str, options: argparse.Namespace, report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run what is missing of the row of a mixture; return its figures.

    Raises
    ------
    UserError : if a program fails.
    """
    profile, end = MIXTURE_PROFILES[options.profile], f"--seed {options.seed}"
    own, save = folder / name, partial(write_json, folder / MARK)
    of_classes, of_network = f"classes of {name}", name

    def forget() -> None:
        for other in (of_classes, of_network):
            report["stages"].pop(other, None)  # found in images that are made anew

    def run(words: list[tuple[str, str, str]], of: str, begin: Callable[[], object] = lambda: None) -> dict[str, Any]:
        return harness.run_missing(stages(words), of, own, report, save, begin)

    run([("simulate", f"{mixture(name, profile)} {end}", "set")], f"images of {name}", forget)
    sort = f"set/particles.star found --nomaps {end}"
    score = f"found --images 0 --json classes.json {end}"
    sorted_ = run([("classify", sort, "found"), ("score", score, "classes.json")], of_classes)
    refine = f"set/particles.star --path hype {profile.training} {end}"
    score = f"hype --json hype.json {profile.scoring} {end}"
    trained = run([("refine", refine, "hype"), ("score", score, "hype.json")], of_network)
    classes, found = (read_json(own / one) for one in ("classes.json", "hype.json"))
    volumes = found["volumes"]
    return {
        "classes": classes["labels"]["classes.txt"]["classes"],
        "classes_ari": classes["labels"]["classes.txt"]["ari"],
        "classes_seconds": sorted_["classify"]["processor_seconds"],
        "ari": found["labels"]["kmeans"]["ari"],
        "fsc_auc": volumes["model"]["fsc_auc"]["mean"],
        **{limit: volumes[limit]["fsc_auc"]["mean"] for limit in ("bound", "floor")},
        "gap_closed": volumes["gap_closed"],
        "snr": MIXTURES[name][0] * profile.snr,
        "seconds": trained["refine"]["processor_seconds"],
        "peak": trained["refine"]["peak_bytes"] / 2**20,
    }


def mixture(name: str, profile: Profile) -> str:
    """Return kind, folder and options of e2hype_simulate.py for the row of a mixture."""
    part, series = MIXTURES[name]
    return f"{structures(profile, 'set')} --n {profile.count} --snr {part * profile.snr:.5g} {series}"


def simulation(imaged: str, profile: Profile, snr: float) -> str:
    """Return kind, folder and options of e2hype_simulate.py for a set.

    Raises
    ------
    ConfigurationError : if the structures are not there.
    """
    return f"{structures(profile, 'set')} --n {profile.count} --snr {snr:.5g} {SETS[imaged][1]}"


def structures(profile: Profile, folder: str) -> str:
    """Return kind, folder and those options of e2hype_simulate.py that all sets have.

    Raises
    ------
    ConfigurationError : if the structures are not there.
    """
    if "{shared}" in profile.simulate and not SHARED.is_dir():
        raise ConfigurationError(f"{SHARED}: no such folder; expected the structures beside the project.")
    return profile.simulate.format(folder=folder, shared=SHARED)


def information_left(noise_free: ParticleSet) -> float:
    """Return the part of the information of a single image that the tilts of `SERIES` have at the same dose.

    Parameters
    ----------
    noise_free : single images of the structures.
    """
    n, voltage = noise_free.uniform_box_size(), float(noise_free.poses_and_ctfs()[1].voltage[0])
    compared = disc_indices(n)
    images = ImageReader(noise_free).read(np.arange(len(noise_free)))
    power = np.mean(np.abs(np.fft.rfft2(images).reshape(len(images), -1)[:, compared]) ** 2, axis=0)
    frequencies = half_plane(n, noise_free.uniform_pixel_size()).reshape(-1, 2)[compared]
    first, left = noise_free.poses_and_ctfs()[1].take(0), 0.0
    for rank in jnp.arange(TILTS):
        ctf = faded(first, rank, SERIES)
        kept = exposure_filter(np.asarray(ctf.exposure), frequencies, voltage, np)
        left += float(ctf.scale) ** 2 * float(np.sum(kept**2 * power))
    return left / (TILTS * float(np.sum(power)))


def stages(words: list[tuple[str, str, str]]) -> list[Stage]:
    """Return programs, arguments and outputs as stages."""
    return [Stage(one, None, " ".join(f"e2hype_{one}.py {text}".split()), output) for one, text, output in words]


def print_rows(rows: dict[str, dict[str, Any]]) -> None:
    """Print what was found."""
    for names, columns in ((ROWS, COLUMNS), (MIXTURES, MIXTURE_COLUMNS)):
        there = [name for name in names if name in rows]
        if there:
            print(f"\n{'':<14}" + "".join(f"{title:>12}" for _, title, _ in columns))
        for name in there:
            print(f"{name:<14}" + "".join(f"{shown(rows[name].get(key), digits):>12}" for key, _, digits in columns))


if __name__ == "__main__":
    sys.exit(main())
