"""A simulated set on disk: stack, lists and truth, in a folder that appears when complete.

    OUT/particles.mrcs  particles.star  particles.lst
    OUT/truth/truth.json and, by kind, labels.txt, states.npy, angles.npy, atoms.npz, *.mrc;
        what images have where lists err: rotation.npy, shift.npy, defocus.npy, contrast.npy …

The work is cut into steps (`steps`), done by one process or several, on one machine or several, in
a folder beside that outlives an interruption (`part`). What is written is the same to the bit however
the steps are shared out among processors of one instruction set. The memory needed does not depend on
the number of particles.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from libhetero.configuration import to_dict, write_json
from libhetero.errors import ConfigurationError, DataError
from libhetero.files import absolute_path, require_space, writing_error
from libhetero.io import write_volume
from libhetero.io.pixel_statistics import PixelStatistics
from libhetero.simulate.bodies import Body
from libhetero.simulate.part import WHOLE, Part, open_part
from libhetero.simulate.processes import Pool, workers
from libhetero.simulate.simulation import SignalSums, Simulation
from libhetero.simulate.steps import Render, SetWorker, Survey, rendering_of, stack_of
from libhetero.simulate.tables import write_tables

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
ENDING = 10.0  # seconds in which shares that are done leave, so that the last puts the set together

Progress = Callable[[str, int, int], None]


def write_simulation(
    folder: str | os.PathLike,
    simulation: Simulation,
    *,
    threads: int = 1,
    processes: int = 1,
    share: tuple[int, int] = WHOLE,
    resume: bool = False,
    subsets: Sequence[int] = (),
    begun_with: dict[str, Any] | None = None,
    called: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    details: dict[str, Any] | None = None,
) -> Path | None:
    """Render a set and write it with its truth.

    Parameters
    ----------
    folder : to make; it must not exist, or be empty.
    simulation : what to render; picklable for several processes.
    threads : CPU threads, shared by the processes.
    processes : of this machine that work at the same time.
    share : (2, 4) does the second of four shares of the work, for several machines.
    resume : True to go on with what an interrupted call left, if there is anything.
    subsets : for each number K, lists of the particles of the first K structures.
    begun_with : JSON types that must be the same to go on with a set or to share it.
    called : what users call its keys, where it is another name; None for nothing.
    progress : called with what is counted, how much of it is done and how much there is.
    details : further entries of truth.json, such as where the structures came from.

    Returns
    -------
    The folder, or None when other shares are still to be done.

    Raises
    ------
    DataError : if the folder holds files already, cannot be written, the disk is full, a process
        died, or another one writes the same set. What was done is then kept beside the folder, to be
        resumed, and the message says so.
    ConfigurationError : if what was left was begun with something else.
    """
    folder = Path(absolute_path(folder))
    if folder.is_symlink():  # a folder cannot replace the link; what it names is the set's place
        folder = Path(os.path.realpath(folder))

    def fill(empty: Path) -> None:
        (empty / "truth").mkdir()
        stack = stack_of(empty, simulation)
        maps = 4 * stack.n**3 * _maps_of(simulation)
        require_space(folder.parent, stack.size + maps, "stack and maps", "free some, or choose another folder")
        stack.create()

    def show(what: str, done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    each = max(1, threads // processes)
    with open_part(folder, begun_with or {}, fill, share, resume, called) as part, _kept(part):
        worker = SetWorker(simulation, part.set, each)
        with workers(worker, processes, _environment(each)) as pool:
            variance = _survey(part, simulation, pool, show)
            rendering = rendering_of(simulation, simulation.noise_deviation(variance))
            _render(part, simulation, rendering, pool, show)
        if not _is_last(part, len(rendering)):
            return None
        if part.set.is_dir() or not folder.is_dir():  # else another share was faster
            with scipy.fft.set_workers(max(1, threads)):
                _finish(part, simulation, len(rendering), variance, subsets, details or {})
    return folder


def _maps_of(simulation: Simulation) -> int:
    """Return how many true maps a mixture has; those of other sets are few."""
    if simulation.kind != "mixture":
        return 0
    moving = simulation.moving
    return simulation.structures + (0 if moving is None else len(moving.numbers) * moving.bodies)


def _environment(threads: int) -> dict[str, str]:
    """Return the variables of a process that has this many threads and shares a GPU with others."""
    preallocate = "XLA_PYTHON_CLIENT_PREALLOCATE"
    pools = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**dict.fromkeys(pools, str(threads)), preallocate: os.environ.get(preallocate, "false")}


def _is_last(part: Part, blocks: int) -> bool:
    """Return whether all blocks are done and this share is the one to put the set together."""
    if not set(range(blocks)) <= part.recorded("block").keys():
        logger.info("share %d of %d is done; other shares are not yet.", *part.share)
        return False
    if part.alone(ENDING):
        return True
    logger.info(
        "share %d of %d is done and so is every block; another process still holds the set: if it "
        "does not put it together, run any share again.",
        *part.share,
    )
    return False


@contextlib.contextmanager
def _kept(part: Part) -> Iterator[None]:
    """Say that what was done is kept when the work fails; whoever is asked to stop says so himself."""
    try:
        yield
    except (OSError, DataError) as error:
        said = error if isinstance(error, DataError) else writing_error(part.target, error)
        if not part.begun:
            raise said from error
        raise DataError(f"{said} What is done is kept in {part.folder}: go on with --resume.") from error
    except ConfigurationError as error:
        if not part.begun:
            raise
        raise ConfigurationError(
            f"{error} What is done is kept in {part.folder}: go on with --resume and the same options, "
            "or remove that folder."
        ) from error
    except Exception:
        if part.begun:
            logger.warning("what is done is kept in %s: go on with --resume.", part.folder)
        raise


def survey_order(structures: int, share: tuple[int, int]) -> list[int]:
    """Return the structures of a share, then those of others in an order of its own.

    Shares that help others out would survey the same ones at the same time if they went in step.
    """
    place, count = share
    others = np.random.default_rng(place).permutation(structures)
    own = list(range(place - 1, structures, count))
    return own + [int(k) for k in others if k % count != place - 1]


def _survey(part: Part, simulation: Simulation, pool: Pool, show: Callable[[str, int, int], None]) -> float:
    """Survey every structure that no share has surveyed yet, own ones first; return the variance."""
    place, count = part.share
    everyone = range(simulation.structures)

    def missing() -> Iterator[Survey]:
        known = part.recorded("structure")
        for k in survey_order(simulation.structures, part.share):
            if k % count != place - 1:
                known = part.recorded("structure")  # its own share may be faster
            if k not in known:
                yield Survey(k)

    done = len(part.recorded("structure"))
    show("structures", done, simulation.structures)
    for number, result in enumerate(pool(missing()), done + 1):
        part.record(result)
        show("structures", number, simulation.structures)
    known = part.recorded("structure")
    return sum((SignalSums(*known[k]["signal"]) for k in everyone), SignalSums()).variance


def _render(
    part: Part, simulation: Simulation, rendering: list[Render], pool: Pool, show: Callable[[str, int, int], None]
) -> None:
    """Render the blocks of this share that are not rendered yet."""
    place, count = part.share
    by_structure = simulation.structures >= count
    own = [step for step in rendering if (step.structure if by_structure else step.block) % count == place - 1]
    known = part.recorded("block")
    missing = [step for step in own if step.block not in known]
    total = sum(len(step.index) for step in own)
    done = total - sum(len(step.index) for step in missing)
    show("particles", done, total)
    for result in pool(missing):
        part.record(result)
        done += len(rendering[result["block"]].index)
        show("particles", done, total)


def _finish(
    part: Part, simulation: Simulation, blocks: int, variance: float, subsets: Sequence[int], details: dict[str, Any]
) -> None:
    """Write what is known only of the whole set, and let it appear."""
    done = part.recorded("block")
    parts = (PixelStatistics(*done[number]["pixels"]) for number in range(blocks))
    stack_of(part.set, simulation).finish(sum(parts, PixelStatistics()))
    write_tables(part.set, part.target, simulation, subsets)
    said = _describe(simulation)
    if simulation.kind == "mixture":
        known = part.recorded("structure")
        said["structure_names"] = [known[k]["name"] for k in range(simulation.structures)]
    else:
        _write_pieces(part.set / "truth", simulation)
    said["signal_variance"] = variance
    said["noise_standard_deviation"] = simulation.noise_deviation(variance)
    if subsets:
        said["subsets"] = list(subsets)
    write_json(part.set / "truth" / "truth.json", {**said, **details})
    part.appear()


def _describe(simulation: Simulation) -> dict[str, Any]:
    """Return what truth.json says of a simulation."""
    imaging, states = simulation.imaging, simulation.states
    said = {
        "format_version": FORMAT_VERSION,
        "kind": simulation.kind,
        "particles": imaging.images,
        "box_size": imaging.final_box,
        "pixel_size": imaging.final_pixel_size,
        "seed": imaging.seed,
        "snr": imaging.snr,
        "snr_box_size": imaging.box_size,
        "snr_pixel_size": imaging.pixel_size,
        "contrast": imaging.contrast,
        "ctf": imaging.ctf is not None or simulation.ctf_table is not None,
        "structures": simulation.structures,
    }
    if imaging.tilts is not None:
        taken = {"angles": list(imaging.tilts.angles), "dose": imaging.tilts.dose}
        said["tilts"] = {"molecules": imaging.particles, **taken}
    if imaging.nuisances.any:
        said["nuisances"] = to_dict(imaging.nuisances)
    if simulation.kind == "mixture":
        if simulation.moving is not None:
            angles = simulation.moving.max_angle
            said["moving_structures"] = [
                {"structure": k, "max_angle": angles[k], **_hinges(simulation.load_bodies(k))}
                for k in simulation.moving.numbers
            ]
        return said
    bodies = simulation.load_bodies(0)
    said["pieces"] = len(bodies)
    said["piece_names"] = list(simulation.load_structure(0).names)
    if simulation.kind == "assembly":
        said["probability"] = states.probability
        if not states.moving:
            return said
        said["moving"] = list(states.moving)
    return {**said, "max_angle": states.max_angle, **_hinges(bodies)}


def _hinges(bodies: list[Body]) -> dict[str, Any]:
    return {
        "hinges": [[float(x) for x in body.hinge] for body in bodies],
        "axes": [[float(x) for x in body.axis] for body in bodies],
    }


def _write_pieces(truth: Path, simulation: Simulation) -> None:
    """Write the true maps of a structure in pieces at the images' final box, and its atoms."""
    n, pixel_size = simulation.imaging.final_box, simulation.imaging.final_pixel_size
    structure = simulation.load_structure(0)
    full = np.zeros((n, n, n), np.float32)
    for k in range(len(structure.names)):
        volume = structure.map(k, n, pixel_size)
        full += volume
        write_volume(truth / f"piece_{k:02d}.mrc", volume, pixel_size)
    write_volume(truth / "full.mrc", full, pixel_size)
    points = structure.points()
    np.savez(truth / "atoms.npz", position=points.position, weight=points.weight, piece=points.piece)
