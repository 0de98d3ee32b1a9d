"""Other programs that benchmarks stand beside: their environments, their commands, and how long they may take.

Each runs in the folder of a simulated set, with the particles, poses and CTF of set/particles.star. None of them is
needed by libhetero, and none shares an environment with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import venv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from libhetero.errors import ConfigurationError, UserError
from libhetero.io import read_particles
from libhetero.io.star_text import read_star_file

CRYODRGN_PACKAGES = ("torch==2.13.0", "cryodrgn==4.3.1")
RELION = (
    "{program} --i set/particles.star --o relion/run --ref consensus.mrc --K {classes} --iter {rounds} --skip_align "
    "--ctf --ini_high 30 --tau2_fudge {tau:g} --particle_diameter {diameter:g} --zero_mask --flatten_solvent --pad 1 "
    "--j {threads} --dont_check_norm --random_seed {seed}"
)
CRYODRGN = (
    "{program} train_vae set/particles.mrcs --poses cryodrgn/poses.pkl --ctf cryodrgn/ctf.pkl --zdim 8 -n {rounds} "
    "--no-amp --seed {seed} -o cryodrgn {further}"
)
LOG = "peers.log"  # what they say, in the folder they run in
RELION_ROUND = r"run_it(?!000)(\d+)_data\.star"  # its iteration 0 is what it begins with
POLL = 0.05  # seconds between two looks at a program


# Environments -----------------------------------------------------------------------------------


def python_of(folder: Path, packages: tuple[str, ...]) -> Path:
    """Return the Python of an environment, which is made if it is not there.

    Parameters
    ----------
    folder : of the environment.
    packages : what pip installs there, in this order, from the index that it is set to.

    Raises
    ------
    UserError : if pip cannot install it.
    """
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not _installed(python, packages):
        for package in packages:
            done = subprocess.run([python, "-m", "pip", "install", "-q", package], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"pip install {package}: {done.stderr.strip().splitlines()[-1]}")
    return python


def _installed(python: Path, packages: tuple[str, ...]) -> bool:
    names = [package.partition("==")[0] for package in packages]
    code = f"import importlib.metadata as m; [m.version(name) for name in {names!r}]"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


# Time -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Allowance:
    """How much a peer may take.

    Parameters
    ----------
    seconds : until it is stopped.
    processor : these are seconds of processor time, summed over threads, and not of the clock: what else the machine
        does is then not counted.
    threads : that it computes with.
    """

    seconds: float
    processor: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Cost:
    """What processes cost: wall-clock and processor seconds, and the most memory of any, MiB."""

    seconds: float = 0.0
    processor: float = 0.0
    memory: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.processor + other.processor, max(self.memory, other.memory))


def limited(command: str, folder: Path, allowance: Allowance) -> Cost:
    """Run a peer in a folder, stop it with all that it has started when its time is over, and return what it cost.

    Raises
    ------
    ConfigurationError : if it is not there, or fails.
    """
    print(f"\n$ {command}", flush=True)
    words = shlex.split(command)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(allowance.threads))
    with open(folder / LOG, "ab") as log:
        try:
            process = subprocess.Popen(
                words, cwd=folder, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **threads}
            )
        except FileNotFoundError:
            raise ConfigurationError(
                f"{words[0]}: no such program; expected it on PATH. Name it with --relion or --cryodrgn, or leave it "
                "out of --peers."
            ) from None
    stopped, code, cost = _waited(process, allowance)
    if stopped:
        kind = " of processor time" if allowance.processor else ""
        print(f"stopped after {allowance.seconds:g} s{kind}", flush=True)
    elif code:
        raise ConfigurationError(f"{words[0]}: failed with exit code {code}; {folder / LOG} says why.")
    return cost


def _waited(process: subprocess.Popen[bytes], allowance: Allowance) -> tuple[bool, int, Cost]:
    """Wait for a program, or stop it; return whether it was stopped, its exit code, and what it cost."""
    start, memory, stopped = time.monotonic(), 0.0, False
    try:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            memory = max(memory, resident(process.pid))
            used = processor_time(process.pid) if allowance.processor else time.monotonic() - start
            if used > allowance.seconds and not stopped:
                os.killpg(process.pid, signal.SIGTERM)
                stopped = True
            time.sleep(POLL)
    except BaseException:  # an interrupted benchmark leaves nothing running
        os.killpg(process.pid, signal.SIGTERM)
        raise
    _, status, usage = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    return stopped, process.returncode, Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, memory)


def processor_time(process: int) -> float:
    """Return the processor seconds of a running process, its threads, and the processes that it has waited for."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def resident(process: int) -> float:
    """Return the most memory that a process has held so far, MiB.

    Its resource usage would not tell: what the process that started it held counts there, too.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return 0.0


# RELION and cryoDRGN ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """What a peer left when it ended or was stopped.

    Parameters
    ----------
    path : of its last finished round.
    rounds : number of that iteration or epoch.
    cost : of all its rounds.
    """

    path: Path
    rounds: int
    cost: Cost


def classify_by_relion(
    program: str,
    folder: Path,
    allowance: Allowance,
    *,
    classes: int,
    rounds: int,
    tau: float,
    diameter: float,
    seed: int,
) -> Left:
    """Return what RELION's 3-D classification with poses fixed leaves, begun from consensus.mrc.

    Parameters
    ----------
    program : relion_refine.
    folder : that holds set/ and consensus.mrc; results are in its folder relion.
    allowance : of time and threads.
    classes, rounds, tau, seed : --K, --iter, --tau2_fudge, --random_seed.
    diameter : of its mask, Å.
    """
    emptied(folder / "relion")
    words = RELION.format(
        program=program,
        classes=classes,
        rounds=rounds,
        tau=tau,
        diameter=diameter,
        threads=allowance.threads,
        seed=seed,
    )
    cost = limited(words, folder, allowance)
    path = last(folder / "relion", RELION_ROUND)
    return Left(path, number_in(path), cost)


def relion_classes(path: Path, count: int) -> np.ndarray:
    """Return the class of each particle, by its place in the stack, from RELION's list."""
    table = read_star_file(path).blocks["particles"]
    place = np.array([int(name.partition("@")[0]) - 1 for name in table["rlnImageName"]])
    label = np.full(count, -1)
    label[place] = table["rlnClassNumber"].astype(int)
    return label


def train_cryodrgn(
    program: str, folder: Path, allowance: Allowance, *, rounds: int, seed: int, further: str = ""
) -> Left:
    """Return what cryoDRGN leaves, its path the latents of the last finished epoch.

    Parameters
    ----------
    program : cryodrgn.
    folder : that holds set/; results are in its folder cryodrgn.
    allowance : of time and threads; poses and CTF are converted besides.
    rounds, seed : -n, --seed.
    further : options of train_vae.
    """
    emptied(folder / "cryodrgn")
    particles = read_particles(folder / "set" / "particles.star")
    size = f"-D {particles.box_size[0]} --Apix {particles.pixel_size[0]:g}"
    for name, output in (("parse_pose_star", "poses"), ("parse_ctf_star", "ctf")):
        convert = f"{program} {name} set/particles.star -o cryodrgn/{output}.pkl {size}"
        limited(convert, folder, replace(allowance, seconds=np.inf))
    words = CRYODRGN.format(program=program, rounds=rounds, seed=seed, further=further).strip()
    cost = limited(words, folder, allowance)
    path = last(folder / "cryodrgn", r"z\.(\d+)\.pkl")
    return Left(path, number_in(path), cost)


def emptied(folder: Path) -> None:
    """Make a folder, without what an earlier call left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def last(folder: Path, pattern: str) -> Path:
    """Return the file of the highest number that a pattern finds in its name.

    Raises
    ------
    ConfigurationError : if there is none.
    """
    found = [path for path in folder.iterdir() if re.fullmatch(pattern, path.name)]
    if not found:
        raise ConfigurationError(f"{folder}: no result yet; expected one within the time. Give more --seconds.")
    return max(found, key=number_in)


def number_in(path: Path) -> int:
    """Return the number in a file's name."""
    return int(re.findall(r"\d+", path.name)[0])
