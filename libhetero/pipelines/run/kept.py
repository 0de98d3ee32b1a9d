"""Each embedding and each segmentation of a run in a folder of its own; the latest lies in the run folder as well.

    RUN/embeddings/NAME       what a call of e2hype_embed.py wrote: plane, classes, lists
    RUN/segmentations/NAME    what a call of e2hype_segment.py wrote: page, regions, masks, classes
    RUN/analyses/NAME         what a call of e2hype_analyze.py wrote: page, figures, states, the path between them

Programs write into the run folder, so that other programs and scripts find the latest there, by the names they know.
What a call writes is kept in a folder of its own, under second names of the same files (hard links, which take no
room; copies where a disk has none), with `made.json`, which says what was asked for. Both take their places in one set
(`libhetero.files.replacing_set`), so that each call keeps what it wrote itself, whatever another one writes meanwhile,
and a folder with a `made.json` is whole; one without is of a call that was killed, and free. Files are replaced as
wholes and never written into, so that a later call takes nothing from those kept. A call holds a claim on the folder
that it chose (`libhetero.files.claims`), so that two at once have one each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import filecmp
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from libhetero.configuration import read_document, to_dict, words_of, write_json
from libhetero.errors import ConfigurationError
from libhetero.files import (
    absolute_path,
    alone_in,
    claiming,
    every_format,
    in_the_set,
    remove_stale,
    replacing,
    replacing_set,
)

LOGGER = logging.getLogger(__name__)
RECORD = "made.json"
PAGE = "index.html"  # of a segmentation; a kept one has links of its own
EARLIER = "earlier"  # the name of what was there before anything was kept
ELSEWHERE = "folder", "epoch", "name", "batch_size", "memory"  # options that do not change what is found


@dataclass(frozen=True)
class Kind:
    """What is kept.

    Parameters
    ----------
    folder : in the run folder.
    word : for one of them.
    program : that makes them.
    patterns : of their files in the run folder, or in the one of it that holds the latest.
    latest : that folder, relative to the run.
    """

    folder: str
    word: str
    program: str
    patterns: tuple[str, ...]
    latest: str = "."


PARTICLES = ("embed_particles.txt", *every_format("embed_particles.png"))
CLASSES = ("classes_particles.txt", "class_[0-9]*.lst", "class_[0-9]*.star", "class_[0-9]*.cs")
GAUSSIANS = ("embed_gaussians.txt", *every_format("embed_gaussians.png"))
REGIONS = (
    "regions.*",
    "regions_changes.txt",
    "regions_presence.txt",
    *every_format("regions_*.png"),
    "region_[0-9]*.*",
    "classes_region_*.txt",
    "probabilities_region_*.txt",
    "embed_region_*.txt",
    "masks/region_*.*",
    "volumes/region_*.txt",
    "volumes/region_*.mrc",
)
EMBEDDINGS = Kind("embeddings", "embedding", "e2hype_embed.py", PARTICLES + CLASSES + GAUSSIANS)
SEGMENTATIONS = Kind("segmentations", "segmentation", "e2hype_segment.py", REGIONS)
ANALYSES = Kind(
    "analyses",
    "analysis",
    "e2hype_analyze.py",
    (*every_format("components.png", "columns.png", "density.png"), "states.txt", "path.txt"),
    "analysis",
)
KINDS = (EMBEDDINGS, SEGMENTATIONS, ANALYSES)


@dataclass(frozen=True)
class Made:
    """`made.json`: what was asked for, and what was written.

    Parameters
    ----------
    options : by field of the program's configuration, those that decide what is found; and `step`, of training.
    command : that was typed, in short; "" where it is not known.
    files : relative to the folder.
    """

    options: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    files: tuple[str, ...] = ()


def options_of(config: Any, step: int | None) -> dict[str, Any]:
    """Return the options that decide what is found, and the step of training whose parameters found it."""
    values = {name: value for name, value in to_dict(config).items() if name not in ELSEWHERE and value is not None}
    return values if step is None else {**values, "step": step}


def command_of(kind: Kind, run_folder: Path, *configurations: Any) -> str:
    """Return the command that asks for what some configurations say, where they differ from their defaults."""
    return shlex.join([kind.program, str(run_folder), *(word for one in configurations for word in words_of(one))])


@contextlib.contextmanager
def claimed_folder(
    run_folder: Path, kind: Kind, name: str | None, described: str, options: dict[str, Any]
) -> Iterator[Path]:
    """Yield where the results of a call are to be kept, and make sure that those there before are.

    No other call has that folder until the block ends.

    Parameters
    ----------
    run_folder : of the run, or of an epoch of it.
    kind : of results.
    name : that the user gave, whose folder is replaced; None for one by what the result is.
    described : what it is. The folder of that name is replaced where it is of the same options; otherwise NAME_2,
        NAME_3 … follow.
    options : as `options_of` gives them.

    Raises
    ------
    ConfigurationError : if another call is writing the folder of the name that the user gave.
    """
    _keep_earlier(run_folder, kind)
    place = run_folder / kind.folder

    def suits(folder: Path) -> bool:
        return _is_free(folder) or made_of(folder).options == options

    with claimed(place, name, described, suits, kind.program) as folder:
        yield folder


@contextlib.contextmanager
def claimed(
    place: Path, name: str | None, described: str, suits: Callable[[Path], bool], program: str
) -> Iterator[Path]:
    """Yield a folder that no other call has until the block ends.

    Parameters
    ----------
    place : where it lies.
    name : that the user gave; None for `described`, or NAME_2, NAME_3 …
    suits : says of a folder of such a name whether it is free, or may be replaced.
    program : that makes it.

    Raises
    ------
    ConfigurationError : if another call has the folder of the name that the user gave.
    """
    if name is not None:
        with claiming() as claim:
            if not claim(place / name):
                raise ConfigurationError(
                    f"--name {name}: {place / name} is being written by another {program}; wait until that ends, or "
                    "choose another name."
                )
            yield place / name
            return
    for number in count(1):
        folder = place / (described if number == 1 else f"{described}_{number}")
        with claiming() as claim:  # a claim on one that does not suit ends here
            if claim(folder) and suits(folder):
                yield folder
                return


def keep(run_folder: Path, folder: Path, patterns: tuple[str, ...], options: dict[str, Any], command: str) -> None:
    """Keep what a call writes into the run folder: within the `replacing_set` of that, in which it is written.

    Parameters
    ----------
    run_folder : where it is written, or the folder of it that holds the latest.
    folder : as `claimed_folder` gives it.
    patterns : of the files.
    options : as `options_of` gives them.
    command : as `command_of` gives it.
    """
    written = {path: place for path, place in in_the_set(run_folder).items() if _matches(path, patterns)}
    if written:
        _keep_files(folder, written, Made(options, command))
        LOGGER.info("%s: keeps these results, whatever is found next", folder)


def chosen(run_folder: Path, kind: Kind, name: str | None) -> Path:
    """Return the folder in which the results of a call are read: the run folder, of the latest, or that of a name.

    Raises
    ------
    ConfigurationError : if there is none of that name.
    """
    if name is None:
        return run_folder
    folder = run_folder / kind.folder / name
    if len(Path(name).parts) != 1 or not (folder / RECORD).is_file():
        names = ", ".join(sorted(one.name for one, _ in all_kept(run_folder, kind))) or "none yet"
        raise ConfigurationError(
            f"--{kind.word} {name}: {run_folder} has no {kind.word} of this name; expected one of those in "
            f"{run_folder / kind.folder} ({names}). {kind.program} {run_folder} makes them."
        )
    return folder


def all_kept(run_folder: Path, kind: Kind) -> Iterator[tuple[Path, Made]]:
    """Yield the folders of all results of a kind that are kept, by name, and what each is."""
    for record in sorted((run_folder / kind.folder).glob(f"*/{RECORD}")):
        yield record.parent, made_of(record.parent)


def made_of(folder: Path) -> Made:
    """Return what a folder holds; nothing where it does not say so."""
    if not (folder / RECORD).exists():
        return Made()
    try:
        return read_document(folder / RECORD, Made)
    except ConfigurationError as error:
        LOGGER.warning("%s What it is of is not known.", error)
        return Made()


def run_of(folder: Path) -> Path:
    """Return the run folder of a folder in which results are kept; any other folder as it is."""
    whole = Path(absolute_path(folder))  # as "." says nothing of where it is
    return whole.parent.parent if whole.parent.name in {kind.folder for kind in KINDS} else folder


def _is_free(folder: Path) -> bool:
    """Return whether a folder keeps nothing: there is none, or the call that made it was killed."""
    return not (folder / RECORD).exists()


def _keep_earlier(run_folder: Path, kind: Kind) -> None:
    """Keep results in the run folder that no call has kept: of a program of before, or one that was killed."""
    latest = run_folder / kind.latest
    with alone_in(run_folder):  # not while another call puts its files in their places
        folders = [folder for folder, _ in all_kept(run_folder, kind)]
        there = [path.relative_to(latest) for path in _files(latest, kind.patterns)]
        lost = [name for name in there if not any(_same(latest / name, folder / name) for folder in folders)]
        if not lost:
            return
        place = run_folder / kind.folder
        names = (place / (EARLIER if number == 1 else f"{EARLIER}_{number}") for number in count(1))
        folder = next(one for one in names if _is_free(one))
        if kind is SEGMENTATIONS and (run_folder / PAGE).is_file():
            lost.append(Path(PAGE))
        LOGGER.info("%s: keeps the %s that %s holds", folder, kind.word, latest)
        _keep_files(folder, {name: latest / name for name in lost}, Made())


def _keep_files(folder: Path, files: dict[Path, Path], made: Made) -> None:
    """Let a folder hold some files, from where they lie, and no others that an earlier call has kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing_set(folder):
        for old in map(Path, made_of(folder).files):
            if not old.is_absolute() and ".." not in old.parts:
                remove_stale(folder / old.parent, re.sub(r"([*?[])", r"[\1]", old.name))
        for name, source in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            with replacing(folder / name) as beside:
                _link(source, beside)
        write_json(folder / RECORD, dataclasses.asdict(dataclasses.replace(made, files=tuple(map(str, files)))))


def _link(source: Path, beside: Path) -> None:
    """Give a file a second name; where the disk has no such names, a copy."""
    try:
        os.link(source, beside)
    except OSError:  # what is wrong with the disk itself, the copy meets too, and tells
        shutil.copy2(source, beside)  # with its time, by which readers tell whether it is older than the latents


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    """Return whether a path, relative to the run folder, is one of some patterns."""
    return any(path.parent == Path(one).parent and path.match(one) for one in patterns)


def _files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _same(path: Path, other: Path) -> bool:
    return other.is_file() and (os.path.samefile(path, other) or filecmp.cmp(path, other, shallow=False))
