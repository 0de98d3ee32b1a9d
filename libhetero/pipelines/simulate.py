"""Simulate a particle set: assembly, motion or mixture, with its truth beside it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from libhetero.configuration import check_options, internal, number, option, same_as
from libhetero.configuration.limits import (
    MOST_CLASSES,
    MOST_LENGTH,
    MOST_PIECES,
    MOST_PROCESSES,
    MOST_SEED,
    MOST_THREADS,
    MOST_TILTS,
)
from libhetero.cores import usable_cores
from libhetero.errors import ConfigurationError
from libhetero.files import absolute_path, require_memory
from libhetero.simulate.configuration import (
    PRESENT,
    STEEPEST,
    CTFSampling,
    ImagingConfig,
    NuisanceConfig,
    StateConfig,
    TiltConfig,
)

LOGGER = logging.getLogger(__name__)
# Headings of the help.
SERIES = "tilt series: several images of each particle"
WORK, STRUCTURES = "large sets; the same to the bit on one kind of processor", "structures"
REAL = "what real data have; the list tells the wrong value, the image has the right one, the truth knows it"
FILLED = 0.6  # diameter of a complex made from the seed, as a part of the box
VOXEL_BYTES = 16  # of memory for each voxel of a true map in the making
PROCESS_BYTES = 3 * 2**28  # of memory for each process that renders, before its first image
TILTS = "FROM,TO,STEP in degrees, such as -60,60,3"
SHARE = "I/N with I from 1 to N, such as 2/4"


def _share(text: str) -> tuple[int, int]:
    """Return number and count of shares of "2/4"."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"expected {SHARE}")
    return int(found[1]), int(found[2])


def _b_factor(text: str) -> float | None:
    """Return a B-factor in Å²; None, those of the file, for "file"."""
    try:
        return None if text == "file" else number(text)
    except ValueError:
        raise ValueError("expected a number of Å², or file") from None


def _tilts(text: str) -> tuple[float, float, float]:
    """Return first and last tilt and the step of "-60,60,3", degrees."""
    try:
        first, last, step = (number(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected {TILTS}") from None
    return first, last, step


def _check_tilts(tilts: tuple[float, float, float]) -> str | None:
    """Return what was expected in the place of tilts, None where they will do."""
    first, last, step = tilts
    if not all(map(math.isfinite, tilts)) or step <= 0 or first > last:
        return f"{TILTS}, the lower tilt first and a step above 0"
    if max(abs(first), abs(last)) > STEEPEST:
        return f"tilts within ± {STEEPEST:g} degrees"
    if not 2 <= (last - first) / step + 1 + 1e-6 < MOST_TILTS + 1:
        return f"2 to {MOST_TILTS} tilts"
    return None


@dataclass(frozen=True)
class SimulateConfig:
    """What to simulate, from what, and how the work is shared."""

    kind: str = option(
        positional="KIND", choices=("assembly", "motion", "mixture"), help="what differs between particles"
    )
    folder: str = option(positional="OUT", help="folder to make")
    particles: int = same_as(ImagingConfig, "particles", 1000)
    box_size: int = same_as(ImagingConfig, "box_size", 64)
    pixel_size: float = same_as(ImagingConfig, "pixel_size", 4.0)
    crop: int | None = same_as(ImagingConfig, "crop")
    snr: float | None = same_as(ImagingConfig, "snr")
    seed: int = same_as(ImagingConfig, "seed")
    max_shift: float | None = same_as(ImagingConfig, "max_shift")
    ctf: bool = option(True, "--noctf", help="no CTF")
    ctf_from: str | None = option(
        None, "--ctf_from", metavar="LIST", help="draw CTFs from this list", shown_default="uniform defocus"
    )
    defocus: tuple[float, float] = same_as(CTFSampling, "defocus")
    subsets: tuple[int, ...] = option(
        (),
        "--subsets",
        count="+",
        metavar="K",
        least=2,
        most=MOST_CLASSES,
        help="also lists of the particles of the first K structures of a mixture",
        shown_default="none",
    )
    contrast: int = same_as(ImagingConfig, "contrast")
    tilts: tuple[float, float, float] | None = option(
        None,
        "--tilts",
        group=SERIES,
        parse=_tilts,
        check=_check_tilts,
        metavar="FROM,TO,STEP",
        help="image each particle at these tilts of the stage in degrees, such as -60,60,3, the least tilted first; "
        "signal falls with the thickness of the ice and the exposure; --snr is that of an untilted image before both",
        shown_default="one image, untilted",
    )
    dose: float = same_as(
        TiltConfig,
        "dose",
        3.0,
        flags=("--dose",),
        internal=False,
        group=SERIES,
        metavar="E",
        goes_with=("tilts",),
        help="exposure of each image of a tilt series, e⁻/Å²",
    )
    resume: bool = option(
        False, "--resume", group=WORK, help="go on with what was interrupted, if there is anything; same options"
    )
    processes: int = option(
        1,
        "--processes",
        group=WORK,
        least=1,
        most=MOST_THREADS,
        metavar="P",
        help="processes that work at the same time; they share --threads",
    )
    share: tuple[int, int] = option(
        (1, 1),
        "--share",
        group=WORK,
        parse=_share,
        check=lambda share: None if 1 <= share[0] <= share[1] else SHARE,
        metavar="I/N",
        least=1,
        most=MOST_PROCESSES,
        help="do share I of N, as on machine I of N: all write to the same OUT",
        shown_default="1/1",
    )
    models: tuple[str, ...] = option(
        (),
        "--pdb",
        group=STRUCTURES,
        count="+",
        metavar="FILE",
        help="atomic models, .pdb or .cif (.gz); the centre of mass of each comes to the box centre",
    )
    maps: tuple[str, ...] = option(
        (),
        "--map",
        group=STRUCTURES,
        count="+",
        metavar="FILE",
        help="maps; a map for each piece, the core's first, unless a mixture",
    )
    segments: str | None = option(
        None, "--segments", group=STRUCTURES, metavar="JSON", help="chains of each piece of the model"
    )
    domains: str | None = option(
        None, "--domains", group=STRUCTURES, metavar="JSON", help="chains, hinge and axis of each piece of the model"
    )
    b_factor: float | None = option(
        50.0,
        "--bfactor",
        group=STRUCTURES,
        parse=_b_factor,
        least=0,
        below=1e4,
        metavar="B",
        help="Å² for every atom, or 'file' for its own",
    )
    pieces: int = option(
        3,
        "--pieces",
        group=STRUCTURES,
        least=1,
        most=MOST_PIECES,
        metavar="N",
        help="pieces besides the core, where no JSON says",
    )
    structures: int = option(
        4,
        "--structures",
        group=STRUCTURES,
        least=1,
        most=MOST_CLASSES,
        metavar="N",
        help="complexes made from the seed, for a mixture",
    )
    diameter: float | None = option(
        None,
        "--diameter",
        group=STRUCTURES,
        above=0,
        most=MOST_LENGTH,
        metavar="Å",
        help="of complexes made from the seed",
        shown_default=f"{FILLED:g} of the box",
    )
    complex_seed: int | None = option(
        None,
        "--complex_seed",
        group=STRUCTURES,
        least=0,
        most=MOST_SEED,
        metavar="N",
        help="seed of the complexes alone",
        shown_default="--seed",
    )
    probability: float = same_as(StateConfig, "probability", PRESENT, group=STRUCTURES)
    max_angle: float = same_as(StateConfig, "max_angle", math.radians(15.0), group=STRUCTURES)
    rmsd: float | None = option(
        None,
        "--rmsd",
        group=STRUCTURES,
        above=0,
        most=MOST_LENGTH,
        metavar="Å",
        help="mean RMSD of the atoms for a motion or --moving, in place of --angle",
    )
    moving: tuple[int, ...] = same_as(StateConfig, "moving", group=STRUCTURES)
    pose_error: float = same_as(NuisanceConfig, "pose_error", group=REAL)
    shift_error: float = same_as(NuisanceConfig, "shift_error", group=REAL)
    defocus_error: float = same_as(NuisanceConfig, "defocus_error", group=REAL)
    contrast_sd: float = same_as(NuisanceConfig, "contrast_sd", group=REAL)
    noise_sd: float = same_as(NuisanceConfig, "noise_sd", group=REAL)
    noise_colour: float = same_as(NuisanceConfig, "noise_colour", group=REAL)
    junk: float = same_as(NuisanceConfig, "junk", group=REAL)
    micrographs: int | None = same_as(NuisanceConfig, "micrographs", group=REAL)
    views: float = same_as(NuisanceConfig, "views", group=REAL)
    threads: int = internal(0, "0 for all, shared by the processes", least=0, most=MOST_THREADS)

    def __post_init__(self) -> None:
        check_options(self)
        if self.models and self.maps:
            raise ConfigurationError("give atomic models (--pdb) or maps (--map), not both.")
        if self.segments and self.domains:
            raise ConfigurationError("give --segments or --domains, not both.")
        if (self.segments or self.domains) and len(self.models) != 1:
            raise ConfigurationError("--segments and --domains cut a model: give one --pdb.")
        if self.kind == "mixture":
            self._check_mixture()
        else:
            self._check_pieces()
        if self.kind == "motion" and self.moving:
            raise ConfigurationError("motion: --moving applies to an assembly or a mixture; remove it.")
        if self.kind != "motion" and not self.moving and self.rmsd is not None:
            raise ConfigurationError(f"{self.kind}: --rmsd applies to motion, or with --moving; remove it.")
        if self.ctf_from and not self.ctf:
            raise ConfigurationError("--noctf and --ctf_from contradict each other; give one.")
        if self.tilts and not self.ctf:
            raise ConfigurationError("--noctf and --tilts contradict each other; give one.")
        if self.defocus_error and not self.ctf:
            raise ConfigurationError("--noctf and --defocus_error contradict each other; give one.")
        needing = (
            ("--noise_sd", self.noise_sd > 0),
            ("--noise_colour", self.noise_colour != 1),
            ("--junk", self.junk > 0),
        )
        for flag, asked in needing:
            if asked and self.snr is None:
                raise ConfigurationError(f"{flag} needs noise; give an --snr above 0, or leave {flag} out.")

    @property
    def series(self) -> TiltConfig | None:
        """The tilt series of each particle; None for one image."""
        return None if self.tilts is None else TiltConfig(*self.tilts, self.dose)

    def _check_mixture(self) -> None:
        if self.segments or self.domains:
            raise ConfigurationError("mixture: --segments and --domains do not apply; remove them.")
        if self.maps and self.moving:
            raise ConfigurationError("mixture: maps are not cut in pieces that move; give --pdb, or remove --moving.")
        count = len(self.models) or len(self.maps) or self.structures
        for first in self.subsets:
            if not 2 <= first <= count:
                raise ConfigurationError(f"--subsets: expected 2 to {count}, the number of structures; got {first}.")

    def _check_pieces(self) -> None:
        if len(self.models) > 1:
            raise ConfigurationError(f"{self.kind}: expected one --pdb, got {len(self.models)}.")
        if len(self.maps) == 1:
            raise ConfigurationError(f"{self.kind}: expected a --map for each piece, the core's first; got 1.")
        if self.subsets:
            raise ConfigurationError(f"{self.kind}: --subsets applies to a mixture; remove it.")


def run(config: SimulateConfig, progress: Callable[[float], None] = lambda fraction: None) -> Path | None:
    """Simulate and write a set.

    Parameters
    ----------
    config : what to simulate.
    progress : told the fraction of the particles that are rendered.

    Returns
    -------
    The folder with particles.star, particles.lst, particles.mrcs and truth/; None when other shares
    are still to be done.

    Raises
    ------
    StoppedEarly : the system or the user asked to stop; what was rendered is kept.
    UserError : one line, for options, files or disks that do not do.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.simulating.building import build, details
    from libhetero.pipelines.simulating.work import begun_with, flags_of, gpu_to_share
    from libhetero.simulate.part import begun_part
    from libhetero.simulate.writer import write_simulation
    from libhetero.telling.progress import Counts
    from libhetero.telling.stopping import stopped_early

    _require_memory(config)
    target = Path(absolute_path(config.folder))
    with (
        stopped_early(lambda: _kept(config, begun_part(target))),
        gpu_to_share(config.processes),
        Counts("particles", progress) as shown,
    ):
        simulation = build(config)
        folder = write_simulation(
            config.folder,
            simulation,
            threads=config.threads or usable_cores(),
            processes=config.processes,
            share=config.share,
            resume=config.resume,
            subsets=sorted(set(config.subsets)),
            begun_with=begun_with(config),
            called=flags_of(config),
            progress=shown,
            details=details(config),
        )
    if folder is not None:
        _tell(folder, simulation.imaging)
    return folder


def _kept(config: SimulateConfig, begun: Path | None) -> str:
    """Return what is kept of a set whose making was stopped, and how to go on."""
    if begun is None:
        return f"nothing of {config.folder} was rendered. The same command begins anew."
    goes_on = "The same command" if config.share[1] > 1 else "The same command with --resume"
    return f"what was rendered is kept in {begun}. {goes_on} goes on."


def _require_memory(config: SimulateConfig) -> None:
    """Refuse a box whose maps, and processes which, do not fit into the machine's memory."""
    maps, processes = VOXEL_BYTES * config.box_size**3, PROCESS_BYTES * config.processes
    require_memory(maps, f"--box {config.box_size}", "choose a smaller box")
    require_memory(processes * (config.processes > 1), f"--processes {config.processes}", "choose fewer")


def _tell(folder: Path, imaging: ImagingConfig) -> None:
    series = "" if imaging.tilts is None else f", each at {imaging.tilts.count} tilts,"
    LOGGER.info(
        "%s: %d particles%s of %d pixels at %.4g Å, protein %s; SNR %s at box %d.",
        folder,
        imaging.particles,
        series,
        imaging.final_box,
        imaging.final_pixel_size,
        "white" if imaging.contrast > 0 else "dark",
        "infinite" if imaging.snr is None else f"{imaging.snr:g}",
        imaging.box_size,
    )
