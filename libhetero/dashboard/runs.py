"""The runs that are shown: what each is, where its training stands, and its particles.

A run is read as it is at the moment of asking, as it may train, be analysed or be trained further meanwhile; what is
read from a file is kept until the file is another.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from libhetero.dashboard.refusals import missing, wrong
from libhetero.errors import ConfigurationError, UserError
from libhetero.files import absolute_path
from libhetero.pipelines.run.configuration import read_config
from libhetero.pipelines.run.particle_record import LIST, RECORD, particles_of_run, record_of
from libhetero.pipelines.run.poses import REFINED, trained_poses
from libhetero.training.checkpoint import last_about
from libhetero.training.log import read_log

CONFIG, LOG = "config.json", "log.jsonl"
MOST_RUNS = 200
LONGEST_HOLDER = 400  # letters of what a lock says
NAME = re.compile(r"\w[\w.-]{0,99}")


def find_runs(names: Sequence[str]) -> list[Path]:
    """Return the run folders among some folders and in them, in the order named.

    Raises
    ------
    ConfigurationError : for a folder that is no run and holds none.
    """
    found: list[Path] = []
    for name in names:
        folder = Path(absolute_path(name))
        if not folder.is_dir():
            raise ConfigurationError(f"{name}: no such folder; expected a run folder, as e2hype_refine.py makes.")
        within = [one.parent for one in sorted(folder.glob(f"*/{CONFIG}"))]
        runs = [folder] if (folder / CONFIG).is_file() else within
        if not runs:
            raise ConfigurationError(
                f"{name}: neither a run folder nor a folder of runs: it has no {CONFIG}; expected one, as "
                "e2hype_refine.py makes."
            )
        found += runs
    unique = list({one.resolve(): one for one in found}.values())
    if len(unique) > MOST_RUNS:
        raise ConfigurationError(f"{len(unique)} runs; expected at most {MOST_RUNS} at a time. Name fewer.")
    return unique


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """Return what tells one state of a file from another; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class Kept:
    """What was made of files, until one of them is another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Any, threading.Lock] = {}
        self._values: dict[Any, tuple[Any, Any]] = {}

    def get(self, key: Any, paths: Sequence[Path], make: Callable[[], Any]) -> Any:
        """Return what `make` gives, made again where one of the files has changed; made once for all who ask.

        Parameters
        ----------
        key : of what is kept.
        paths : of the files it is made of.
        """
        with self._lock:
            alone = self._making.setdefault(key, threading.Lock())
        with alone:
            stamp = tuple(stamp_of(path) for path in paths)
            held = self._values.get(key)
            if held is not None and held[0] == stamp:
                return held[1]
            value = make()
            self._values[key] = (stamp, value)
            return value

    def holds(self, key: Any) -> bool:
        """Return whether something is kept under a key, however old."""
        return key in self._values


class ServedRun:
    """A run that is shown.

    Parameters
    ----------
    number : in the order of the command.
    folder : its own, absolute.
    name : short, for people.
    """

    def __init__(self, number: int, folder: Path, name: str) -> None:
        self.number, self.folder, self.name = number, folder, name
        self.root = folder.resolve()
        self.kept = Kept()

    @property
    def config(self) -> Any:
        """config.json, a `libhetero.pipelines.run.configuration.RunConfig`.

        Raises
        ------
        ConfigurationError : if it is damaged.
        """
        return self.kept.get("config", [self.folder / CONFIG], lambda: read_config(self.folder))

    @property
    def record(self) -> Any:
        """Which particles it was trained on, a `libhetero.pipelines.run.particle_record.ParticleRecord`; or None."""
        files = [self.folder / RECORD, self.folder / LIST]
        return self.kept.get("record", files[:1] if files[0].exists() else files, lambda: record_of(self.folder))

    @property
    def count(self) -> int:
        """Number of particles; 0 where nothing tells it."""
        if self.config.data.count:
            return int(self.config.data.count)
        return 0 if self.record is None else len(self.record.file_id)

    @property
    def distinct(self) -> int | None:
        """Number of particles where they have several images, which `count` then counts; else None."""
        group = None if self.record is None else self.record.group
        return None if group is None else len(np.unique(group))

    def particles(self) -> Any:
        """Return the particles of the list, a `ParticleSet`; reading it may take a while.

        Raises
        ------
        DataError : if the list is gone, damaged, or of other particles by now.
        """
        config = self.config
        paths = [Path(config.data.particles), self.folder / CONFIG, self.folder / REFINED]

        def read() -> Any:
            return trained_poses(self.folder, config, particles_of_run(self.folder, config.data))

        return self.kept.get("particles", paths, read)

    def rows(self, values: Any, most: int | None = None) -> np.ndarray:
        """Return rows of the list that were asked for, checked.

        Raises
        ------
        Refusal : for what is no row of it, or too many.
        """
        try:
            rows = np.asarray(values)
        except (TypeError, ValueError, OverflowError):  # lists of different lengths, as numbers no computer has
            rows = np.zeros(0)
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise wrong("rows: expected one whole number or more, particles by their row from 0")
        if most is not None and len(rows) > most:
            raise wrong(f"rows: {len(rows)} particles; expected at most {most} at a time")
        if rows.min() < 0 or rows.max() >= self.count:
            outside = rows[(rows < 0) | (rows >= self.count)][0]
            raise wrong(f"rows: {self.name} has no particle {outside}; expected 0 to {self.count - 1}")
        return rows.astype(np.int64)

    def holds(self, path: Path) -> bool:
        """Return whether a file lies below the run folder, links followed."""
        return path.resolve().is_relative_to(self.root)

    def inside(self, name: str) -> Path:
        """Return a file below the run folder by its name, links followed.

        Raises
        ------
        Refusal : for a name that leads elsewhere, or to no file.
        """
        if not name or "\0" in name or os.path.isabs(name) or ".." in Path(name).parts:
            raise wrong(f"{name!r}: expected the name of a file below the run folder")
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.root):
            raise missing(f"{name}: leads out of the run folder")
        if not path.is_file():
            raise missing(f"{name}: no such file in {self.name}")
        return path

    def own_folder(self, *names: str) -> Path:
        """Return a folder below the run folder in which results are kept, whose links lead nowhere else.

        Raises
        ------
        Refusal : for one that leads elsewhere.
        """
        for name in names:
            if NAME.fullmatch(name) is None:
                raise wrong(f"{name!r}: expected a name of letters, digits, _, - and .")
        path = self.folder.joinpath(*names)
        if not path.resolve().is_relative_to(self.root):
            raise wrong(f"{'/'.join(names)}: leads out of the run folder")
        return path

    def lines(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Return the lines of log.jsonl from one on, and the number of the next.

        A run that was taken up again may have fewer lines than before; then all of them are returned.
        """
        path = self.folder / LOG
        every = self.kept.get("log", [path], lambda: read_log(path)) if path.is_file() else []
        start = 0 if since > len(every) or since < 0 else since
        return every[start:], len(every)

    def grid(self) -> tuple[int, float] | None:
        """Return box (pixels) and pixel size (Å) of the model; None before there is one."""
        path = self.folder / "model.npz"
        return self.kept.get("grid", [path], lambda: _grid(path)) if path.is_file() else None

    def state(self) -> dict[str, Any]:
        """Return where training stands: state, epoch and epochs.

        A run whose lock names a process of another machine is "elsewhere" until it is finished: whether that process
        still trains cannot be seen from here. Its `holder` is told, and when its log was written last (`written`).
        """
        every, _ = self.lines()
        epochs, epoch = int(self.config.training.epochs), float(every[-1]["epoch"]) if every else 0.0
        if is_training(self.folder):
            state = "training"
        elif not every:
            state = "empty"
        else:
            state = "finished" if epoch >= epochs or self._ended() else "stopped"
        told = {"state": state, "epoch": epoch, "epochs": epochs}
        holder = holder_elsewhere(self.folder) if state in ("empty", "stopped") else None
        if holder is None:
            return told
        log = stamp_of(self.folder / LOG)
        return told | {"state": "elsewhere", "holder": holder, "written": None if log is None else log[1] / 1e9}

    def _ended(self) -> bool:
        """Return whether the held-out particles ended the run before its epochs were done."""
        try:
            about = last_about(self.folder / "checkpoints")
        except (UserError, OSError):
            return False
        return about is not None and bool(about.ended)


def _grid(path: Path) -> tuple[int, float] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return int(arrays["box_size"]), float(arrays["pixel_size"])
    except (KeyError, ValueError, TypeError, OSError):
        return None


def is_training(folder: Path) -> bool:
    """Return whether a process trains in a run folder, by its lock, which is only looked at and never taken.

    Linux tells which files are locked; elsewhere the process is asked for that the lock names.
    """
    lock = folder / ".lock"
    stamp = stamp_of(lock)
    if stamp is None:
        return False
    try:
        held = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return _names_a_process(lock)
    return any(f":{stamp[0]} " in line and "FLOCK" in line for line in held.splitlines())


def holder_elsewhere(folder: Path) -> str | None:
    """Return which process of another machine a run's lock names, "process N on HOST"; None where it names none."""
    found = _holder(folder / ".lock")
    return None if found is None or found[1] == os.uname().nodename else f"process {found[0]} on {found[1]}"


def _holder(lock: Path) -> tuple[int, str] | None:
    """Return the process and the machine that a lock names; None where it names none."""
    try:
        with lock.open(encoding="utf-8", errors="replace") as file:
            found = re.match(r"process ([0-9]{1,10}) on (\S{1,255})", file.read(LONGEST_HOLDER))
    except OSError:
        return None
    return None if found is None else (int(found[1]), found[2])


def _names_a_process(lock: Path) -> bool:
    found = _holder(lock)
    if found is None or found[1] != os.uname().nodename:
        return False
    try:
        os.kill(found[0], 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class ServedRuns:
    """All runs that are shown, those among them that appear later: numbers never change.

    Parameters
    ----------
    folders : at the start.
    watched : folders whose runs are shown as they appear.
    """

    def __init__(self, folders: Sequence[Path], watched: Sequence[Path] = ()) -> None:
        self._lock = threading.Lock()
        self._runs = served_runs(folders)
        self._watched = list(watched)

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, number: int) -> ServedRun:
        return self._runs[number]

    def expect(self, folder: Path) -> None:
        """Show a run as soon as it is there."""
        with self._lock:
            self._watched.append(folder)

    def all(self) -> list[ServedRun]:
        """Return all runs that there are now."""
        with self._lock:
            for place in self._watched:
                within = [one.parent for one in sorted(place.glob(f"*/{CONFIG}"))]
                for folder in [place] if (place / CONFIG).is_file() else within:
                    known = {run.root for run in self._runs}
                    if folder.resolve() not in known and len(known) < MOST_RUNS:
                        self._runs.append(ServedRun(len(self._runs), folder, folder.name))
            return list(self._runs)


def served_runs(folders: Sequence[Path]) -> list[ServedRun]:
    """Return runs by their numbers, with names that tell them apart.

    Raises
    ------
    ConfigurationError : for one whose config.json is damaged.
    """
    last = [one.name for one in folders]
    names = [
        name if last.count(name) == 1 else f"{one.parent.name}/{name}" for name, one in zip(last, folders, strict=True)
    ]
    runs = [ServedRun(number, folder, name) for number, (folder, name) in enumerate(zip(folders, names, strict=True))]
    for run in runs:
        try:
            _ = run.config
        except ConfigurationError:
            if len(runs) == 1:
                raise
    return runs
