#!/usr/bin/env python
"""Simulate particle sets with known truth: assembly, motion or mixture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from libhetero.cli import Session, common_parser, run_program

DESCRIPTION = """\
Simulate a particle set with known truth.

assembly  a complex whose pieces, besides the core, are each present or not
motion    a complex whose pieces, besides the core, each turn about a hinge
mixture   several complexes in equal shares

From atomic models (--pdb), maps (--map) or, with neither, complexes made from the seed.
Poses are uniform, the CTF is that of 300 kV, noise is white. Writes OUT/particles.mrcs,
.star and .lst, and OUT/truth, and appears when complete: until then a hidden folder
beside it holds what is done, for --resume. Protein is white, as in inverted particles, unless --dark."""

EPILOG = """\
examples:
  e2hype_simulate.py assembly sim_assembly --n 2000 --box 40 --apix 4 --pieces 3
  e2hype_simulate.py mixture sim_mixture --n 4000 --box 40 --apix 4 --structures 4 --snr 0.5
  e2hype_simulate.py mixture tomotwin --pdb cif/*.cif.gz --n 100000 --box 128 --apix 3 --snr 0.01
  e2hype_simulate.py assembly sim50S --pdb 50S.cif.gz --segments 50S_segments9.json --n 12800
  e2hype_simulate.py mixture big --structures 1000 --n 1000000 --box 256 --apix 3 --crop 128 \\
      --processes 8 --subsets 10 100 200 500
  e2hype_simulate.py motion sim_motion --pdb 4ZXB.cif.gz --domains domains.json --angle 20
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the program's options."""
    parser = common_parser(DESCRIPTION, EPILOG, "e2hype_simulate.py")
    add = parser.add_argument
    add("kind", choices=("assembly", "motion", "mixture"), help="what differs between particles")
    add("out", metavar="OUT", help="folder to make")
    add("--n", type=int, default=1000, help="number of particles")
    add("--box", type=int, default=64, help="box size in pixels")
    add("--apix", type=float, default=4.0, help="pixel size in Å, at --box")
    add("--crop", type=int, help="Fourier-crop the images to this box in pixels (default: no)")
    add("--snr", type=float, default=0.1, help="signal variance ÷ noise variance, per pixel at --box; 0 for no noise")
    add("--seed", type=int, default=0, help="same seed, same set")
    add("--shift", type=float, metavar="A", help="largest shift along x and y in Å (default: 5 %% of the box)")
    add("--noctf", action="store_true", help="no CTF")
    add("--ctf-from", metavar="LIST", help="draw CTFs from this list (default: uniform defocus)")
    add(
        "--defocus",
        type=float,
        nargs=2,
        default=(0.5, 2.5),
        metavar=("LOW", "HIGH"),
        help="range of defocus in µm, underfocus positive",
    )
    add(
        "--subsets",
        type=int,
        nargs="+",
        default=(),
        metavar="K",
        help="also lists of the particles of the first K structures of a mixture (default: none)",
    )
    add("--dark", action="store_true", help="dark protein, as in raw micrographs")
    work = parser.add_argument_group("large sets; the same to the bit on one kind of processor")
    add = work.add_argument
    add("--resume", action="store_true", help="go on with what was interrupted, if there is anything; same options")
    add(
        "--processes",
        type=int,
        default=1,
        metavar="P",
        help="processes that work at the same time; they share --threads",
    )
    add(
        "--share", default="1/1", metavar="I/N", help="do share I of N, as on machine I of N: all write to the same OUT"
    )
    source = parser.add_argument_group("structures")
    add = source.add_argument
    add("--pdb", nargs="+", default=(), metavar="FILE", help="atomic models, .pdb or .cif (.gz)")
    add(
        "--map",
        nargs="+",
        default=(),
        metavar="FILE",
        help="maps; a map for each piece, the core's first, unless a mixture",
    )
    add("--segments", metavar="JSON", help="chains of each piece of the model")
    add("--domains", metavar="JSON", help="chains, hinge and axis of each piece of the model")
    add("--bfactor", default="50", metavar="B", help="Å² for every atom, or 'file' for its own")
    add("--pieces", type=int, default=3, help="pieces besides the core, where no JSON says")
    add("--structures", type=int, default=4, help="complexes made from the seed, for a mixture")
    add("--diameter", type=float, metavar="A", help="of complexes made from the seed, in Å (default: 0.6 of the box)")
    add("--complex-seed", type=int, help="seed of the complexes alone (default: --seed)")
    add("--probability", type=float, default=0.5, help="of each piece, for an assembly")
    add("--angle", type=float, default=15.0, help="largest angle in degrees, for a motion")
    add("--rmsd", type=float, metavar="A", help="mean RMSD of the atoms in Å for a motion, in place of --angle")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    return run_program(build_parser(), argv, _call)


def _call(options: argparse.Namespace, session: Session) -> None:
    from libhetero.pipelines.simulate import SimulateConfig, parse_b_factor, parse_share, run

    config = SimulateConfig(
        kind=options.kind,
        folder=options.out,
        particles=options.n,
        box_size=options.box,
        pixel_size=options.apix,
        crop=options.crop,
        snr=options.snr or None,
        seed=options.seed,
        max_shift=options.shift,
        ctf=not options.noctf,
        ctf_from=options.ctf_from,
        defocus_min=1e4 * options.defocus[0],
        defocus_max=1e4 * options.defocus[1],
        dark=options.dark,
        models=tuple(options.pdb),
        maps=tuple(options.map),
        segments=options.segments,
        domains=options.domains,
        b_factor=parse_b_factor(options.bfactor),
        pieces=options.pieces,
        structures=options.structures,
        diameter=options.diameter,
        complex_seed=options.complex_seed,
        probability=options.probability,
        max_angle=options.angle,
        rmsd=options.rmsd,
        subsets=tuple(options.subsets),
        threads=options.threads,
        processes=options.processes,
        share=parse_share(options.share),
        resume=options.resume,
    )
    run(config, session.progress)


if __name__ == "__main__":
    sys.exit(main())
