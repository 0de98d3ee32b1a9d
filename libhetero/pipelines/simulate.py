"""Simulate a particle set: assembly, motion or mixture, with its truth beside it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import libhetero
import libhetero.physics
from libhetero.configuration import to_dict
from libhetero.errors import ConfigurationError, DataError
from libhetero.io import read_particles
from libhetero.records import CTFParams
from libhetero.simulate import sources
from libhetero.simulate.complex import generate_complex
from libhetero.simulate.imaging import CTFSampling, ImagingConfig
from libhetero.simulate.sets import assembly_of, mixture_of, motion_of
from libhetero.simulate.simulation import Simulation
from libhetero.simulate.structures import BeadStructure, GeneratedMixture, Structure, hinges_of_structure
from libhetero.simulate.swing import angle_for_rmsd
from libhetero.simulate.writer import write_simulation

logger = logging.getLogger(__name__)

KINDS = ("assembly", "motion", "mixture")
FILLED = 0.6  # diameter of a generated complex, as a part of the box


@dataclass(frozen=True)
class SimulateConfig:
    """What to simulate.

    Parameters
    ----------
    kind : "assembly", "motion" or "mixture".
    folder : to make.
    particles : number of images.
    box_size : pixels, at which signal and noise are made.
    pixel_size : Å.
    snr : signal variance ÷ noise variance at `box_size`; None for no noise.
    seed : of everything; the same seed gives the same set.
    crop : box after Fourier cropping, pixels; None for none.
    max_shift : Å; None for 5 % of the box.
    ctf : False for none.
    ctf_from : particle list whose CTFs are drawn from; None for uniform defocus.
    defocus_min, defocus_max : Å.
    dark : True for dark protein.
    models : atomic models; one for assembly and motion, several for a mixture.
    maps : maps; one per structure of a mixture, else one per piece, the core's first.
    segments, domains : JSON that cuts the model; see `libhetero.simulate.sources`.
    b_factor : Å², of every atom; None for those of the file.
    pieces : optional pieces of a generated complex, or of a model without JSON.
    structures : of a generated mixture.
    diameter : Å, of a generated complex; None for 0.6 of the box.
    complex_seed : of a generated complex; None for `seed`.
    probability : of each optional piece (assembly).
    max_angle : degrees (motion).
    rmsd : Å, mean RMSD of the atoms from the unturned structure, in place of `max_angle`.
    subsets : for each number K, lists of the particles of the first K structures (mixture).
    threads : 0 for all, shared by the processes.
    processes : that work at the same time.
    share : (2, 4) does the second of four shares of the work.
    resume : True to go on with what was interrupted.
    """

    kind: str
    folder: str
    particles: int = 1000
    box_size: int = 64
    pixel_size: float = 4.0
    snr: float | None = 0.1
    seed: int = 0
    crop: int | None = None
    max_shift: float | None = None
    ctf: bool = True
    ctf_from: str | None = None
    defocus_min: float = 5000.0
    defocus_max: float = 25000.0
    dark: bool = False
    models: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    segments: str | None = None
    domains: str | None = None
    b_factor: float | None = 50.0
    pieces: int = 3
    structures: int = 4
    diameter: float | None = None
    complex_seed: int | None = None
    probability: float = 0.5
    max_angle: float = 15.0
    rmsd: float | None = None
    subsets: tuple[int, ...] = ()
    threads: int = 0
    processes: int = 1
    share: tuple[int, int] = (1, 1)
    resume: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"kind: expected {', '.join(KINDS)}, got {self.kind!r}.")
        if self.models and self.maps:
            raise ConfigurationError("give atomic models (--pdb) or maps (--map), not both.")
        if (self.segments or self.domains) and len(self.models) != 1:
            raise ConfigurationError("--segments and --domains cut a model: give one --pdb.")
        if self.segments and self.domains:
            raise ConfigurationError("give --segments or --domains, not both.")
        if self.kind != "mixture" and len(self.models) > 1:
            raise ConfigurationError(f"{self.kind}: expected one --pdb, got {len(self.models)}.")
        if self.kind != "mixture" and len(self.maps) == 1:
            raise ConfigurationError(f"{self.kind}: expected a --map for each piece, the core's first; got 1.")
        if self.kind == "mixture" and (self.segments or self.domains):
            raise ConfigurationError("mixture: --segments and --domains do not apply; remove them.")
        if self.kind != "motion" and self.rmsd is not None:
            raise ConfigurationError(f"{self.kind}: --rmsd applies to motion alone; remove it.")
        if self.ctf_from and not self.ctf:
            raise ConfigurationError("--noctf and --ctf-from contradict each other; give one.")
        if self.structures < 1 or self.pieces < 1:
            raise ConfigurationError("--structures and --pieces: expected at least 1.")
        if self.processes < 1:
            raise ConfigurationError(f"--processes: expected at least 1, got {self.processes}.")
        self._check_subsets()

    def _check_subsets(self) -> None:
        if self.subsets and self.kind != "mixture":
            raise ConfigurationError(f"{self.kind}: --subsets applies to a mixture; remove it.")
        count = len(self.models) or len(self.maps) or self.structures
        for number in self.subsets:
            if not 2 <= number <= count:
                raise ConfigurationError(f"--subsets: expected 2 to {count}, the number of structures; got {number}.")


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
    UserError : one line, for options, files or disks that do not do.
    """
    with _gpu_to_share(config.processes), contextlib.closing(_Shown(progress)) as shown:
        simulation = build(config)
        folder = write_simulation(
            config.folder,
            simulation,
            threads=_threads(config.threads),
            processes=config.processes,
            share=config.share,
            resume=config.resume,
            subsets=sorted(set(config.subsets)),
            begun_with=_begun_with(config),
            progress=shown,
            details=_details(config),
        )
    if folder is None:
        return None
    imaging = simulation.imaging
    logger.info(
        "%s: %d particles of %d pixels at %.4g Å, protein %s; SNR %s at box %d.",
        folder,
        imaging.particles,
        imaging.final_box,
        imaging.final_pixel_size,
        "white" if imaging.contrast > 0 else "dark",
        "infinite" if imaging.snr is None else f"{imaging.snr:g}",
        imaging.box_size,
    )
    return folder


@contextlib.contextmanager
def _gpu_to_share(processes: int) -> Iterator[None]:
    """Let JAX not take most of a GPU's memory when it is first used, if other processes need some.

    It does so by an environment variable, for the time of the call; a user's own stands.
    """
    name = "XLA_PYTHON_CLIENT_PREALLOCATE"
    given = name in os.environ
    if processes > 1:
        os.environ.setdefault(name, "false")
    try:
        yield
    finally:
        if not given:
            os.environ.pop(name, None)


def _begun_with(config: SimulateConfig) -> dict[str, Any]:
    """Return what must be the same to go on with a set: all that its bits may depend on."""
    values = to_dict(config)
    values["subsets"] = sorted(set(values["subsets"]))
    for name in ("folder", "threads", "processes", "share", "resume"):
        del values[name]
    versions = {"libhetero": libhetero.__version__, "jax": jax.__version__}
    return {**values, **versions, "device": jax.default_backend()}


def build(config: SimulateConfig) -> Simulation:
    """Return the simulation that a configuration describes, without rendering it."""
    imaging = ImagingConfig(
        particles=config.particles,
        box_size=config.box_size,
        pixel_size=config.pixel_size,
        snr=config.snr,
        seed=config.seed,
        crop=config.crop,
        max_shift=config.max_shift,
        ctf=_ctf_sampling(config),
        contrast=-1 if config.dark else 1,
    )
    table = None if config.ctf_from is None else ctf_table(config.ctf_from)
    if config.kind == "mixture":
        load, count = _mixture(config)
        return mixture_of(load, imaging, table, count)
    structure = _in_pieces(config)
    if config.kind == "assembly":
        return assembly_of(structure, imaging, config.probability, table)
    return motion_of(structure, imaging, _max_angle(config, structure), table)


def parse_share(text: str) -> tuple[int, int]:
    """Return number and count of shares from an option such as "2/4".

    Raises
    ------
    ConfigurationError : for anything else than I/N with 1 ≤ I ≤ N.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigurationError(f"--share: expected I/N with I from 1 to N, such as 2/4; got {text!r}.")
    return int(found[1]), int(found[2])


def parse_b_factor(text: str) -> float | None:
    """Return a B-factor in Å² from an option, or None for "file".

    Raises
    ------
    ConfigurationError : for anything else than "file" or a number of at least 0.
    """
    if text == "file":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e4:
        raise ConfigurationError(f"--bfactor: expected a number of Å² or 'file', got {text!r}.")
    return value


def ctf_table(path: str) -> CTFParams:
    """Return the CTFs of a particle list, whose images need not be there; float32 (rows,).

    Raises
    ------
    DataError : if the list has no CTF.
    """
    ctf = read_particles(path, need_images=False).ctf
    if ctf is None:
        raise DataError(f"{path}: no CTF in this list; give another one, or leave out --ctf-from.")
    return CTFParams(**{name: np.asarray(column, np.float32) for name, column in ctf.columns().items()})


def _ctf_sampling(config: SimulateConfig) -> CTFSampling | None:
    if not config.ctf:
        return None
    return CTFSampling(defocus_min=config.defocus_min, defocus_max=config.defocus_max)


def _in_pieces(config: SimulateConfig) -> Structure:
    """Return the structure of an assembly or motion set."""
    if config.maps:
        return sources.maps_as_pieces(list(config.maps), config.pixel_size)
    if not config.models:
        seed, diameter = _generated(config)
        return BeadStructure(generate_complex(seed, config.pieces, diameter))
    path, b_factor = config.models[0], config.b_factor
    if config.segments:
        return sources.segmented_model(path, config.segments, b_factor)
    if config.domains:
        return sources.model_in_domains(path, config.domains, b_factor)
    return sources.model_in_compact_pieces(path, config.pieces, config.seed, b_factor)


def _max_angle(config: SimulateConfig, structure: Structure) -> float:
    """Return the largest angle of a motion set, radians: given, or found for a wanted RMSD."""
    if config.rmsd is None:
        return math.radians(config.max_angle)
    angle = angle_for_rmsd(structure.points(), hinges_of_structure(structure), config.rmsd)
    logger.info("angles within ± %.2f degrees: mean RMSD %.3g Å", math.degrees(angle), config.rmsd)
    return angle


def _mixture(config: SimulateConfig) -> tuple[Callable[[int], Structure], int]:
    """Return a function that gives the structures of a mixture, and how many there are."""
    if config.maps:
        return sources.WholeMaps(config.maps, config.pixel_size), len(config.maps)
    if config.models:
        return sources.WholeModels(config.models, config.b_factor), len(config.models)
    return GeneratedMixture(*_generated(config)), config.structures


def _generated(config: SimulateConfig) -> tuple[int, float]:
    """Return seed and diameter (Å) of generated complexes."""
    seed = config.seed if config.complex_seed is None else config.complex_seed
    width = config.box_size * config.pixel_size
    return seed, FILLED * width if config.diameter is None else config.diameter


def _threads(threads: int) -> int:
    return threads or os.cpu_count() or 1


class _Shown:
    """Progress of one count after the other: a bar on a terminal, else a line every tenth.

    Parameters
    ----------
    also : told the fraction of the particles.
    """

    def __init__(self, also: Callable[[float], None]) -> None:
        self._also = also
        self._what, self._before, self._told, self._start = "", 0, 0, 0.0
        self._bar: tqdm | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show how much is done of what there is."""
        if what != self._what:
            self._begin(what, done, total)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif 10 * done // max(total, 1) > self._told and total > 1:
            self._told = 10 * done // total
            rate = (done - self._before) / max(time.monotonic() - self._start, 1e-9)
            left = (total - done) / max(rate, 1e-9)
            logger.info("%d of %d %s, %.3g/s, %.0f s left", done, total, what, rate, left)
        if what == "particles":
            self._also(done / max(total, 1))

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _begin(self, what: str, done: int, total: int) -> None:
        self.close()
        self._what, self._before, self._start = what, done, time.monotonic()
        self._told = 10 * done // max(total, 1)
        if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
            self._bar = tqdm(total=total, initial=done, unit=what[:-1], dynamic_ncols=True)


def _details(config: SimulateConfig) -> dict[str, Any]:
    """Return where the structures came from, for truth.json."""
    source = {"models": list(config.models), "maps": list(config.maps)}
    source = {key: value for key, value in source.items() if value}
    if not source:
        seed, diameter = _generated(config)
        source = {"generated": True, "complex_seed": seed, "diameter": diameter}
    return {"source": source, "b_factor": config.b_factor if config.models else None}
