"""Lists of particles: united, intersected, subtracted, chosen from by class, by value or at random, split, and written.

lists → combined → chosen → (the others of the whole list) → random subset → split → files
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import check_options, number, option, same_as, whole_number
from libhetero.configuration.limits import MOST_CLASSES, MOST_SEED
from libhetero.errors import ConfigurationError
from libhetero.pipelines.run.data import ParticleListConfig

LIST_ENDINGS, INDEX_ENDINGS = (".lst", ".star", ".cs"), (".txt", ".pkl")
COMBINED, CHOSEN, WRITTEN = "several lists", "which particles; all that is asked for must hold", "what is written"
HALF, CLASS = "half", "class"


def _classes(text: str) -> tuple[int, ...]:
    """Return the classes of "1,3,5-7"."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            start, stop = whole_number(first), whole_number(last if dash else first)
        except ValueError:
            raise ValueError("expected classes such as 1,3,5-7") from None
        if not 0 <= start <= stop < MOST_CLASSES:
            raise ValueError(f"expected classes from 0 to {MOST_CLASSES - 1}, such as 1,3,5-7")
        found += range(start, stop + 1)
    return tuple(dict.fromkeys(found))


def _limit(text: str) -> tuple[str, str]:
    """Return name and value of "defocus=2.5"."""
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise ValueError("expected NAME=VALUE, such as defocus=2.5")
    return name, value


def _number_limit(text: str) -> tuple[str, str]:
    name, value = _limit(text)
    try:
        number(value)
    except ValueError:
        raise ValueError("expected NAME=NUMBER, such as junk=0.5") from None
    return name, value


def _amount(text: str) -> str:
    """Return "1000" or "10%" as it is, if it is one of these."""
    found = re.fullmatch(r"([0-9]{1,10})|([0-9]{1,3}(?:\.[0-9]{1,6})?)%", text)
    if found is None or (found[2] and not 0 < float(found[2]) <= 100) or (found[1] and not int(found[1])):
        raise ValueError("expected a number of particles, or a share such as 10%")
    return text


def _chosen_by(flag: str, help: str, **said: Any) -> Any:
    """Declare a limit of a column, any number of which may be given."""
    shape = {"repeated": True, "group": CHOSEN, "shown_default": ""}
    return option((), flag, help=help, **{"metavar": "NAME=X", "parse": _number_limit, **shape, **said})


@dataclass(frozen=True)
class ListConfig:
    """Which lists, what of them, and what is written."""

    lists: tuple[str, ...] = option(
        positional="LIST",
        count="+",
        help=".lst, .star, .cs or any other list of particles; or particles of the first list (or of --of) by number "
        "from 0: .txt, or .pkl of numbers or truth values",
    )
    whole: str | None = option(
        None,
        "--of",
        metavar="LIST",
        help="the whole list: numbers of particles count in it, and --complement is what is left of it",
        shown_default="the first LIST",
    )
    datadir: str | None = same_as(ParticleListConfig, "datadir", group="")
    passthrough: tuple[str, ...] = same_as(ParticleListConfig, "passthrough", group="")
    combined: str | None = option(
        None,
        constants={
            "--union": ("union", "particles of any of the lists; rows of the first list that has them"),
            "--intersection": ("intersection", "particles of the first list that all others have, too"),
            "--difference": ("difference", "particles of the first list that none of the others has"),
        },
        exclusive="combined",
        group=COMBINED,
        help="how lists are combined",
    )
    indices: str | None = option(
        None, "--ind", metavar="FILE", group=CHOSEN, help="those by number in the whole list, from 0: .txt or .pkl"
    )
    classes: tuple[int, ...] | None = option(
        None,
        "--classes",
        metavar="K,K-K",
        parse=_classes,
        least=0,
        most=MOST_CLASSES,
        group=CHOSEN,
        help="those of these classes: 1,3,5-7",
    )
    class_column: str | None = option(
        None,
        "--class_from",
        metavar="FILE|NAME",
        group=CHOSEN,
        help="classes_*.txt of e2hype_embed.py, e2hype_segment.py or e2hype_classify.py, or a column",
        shown_default="rlnClassNumber, alignments3D/class or alignments2D/class",
    )
    half: int | None = option(
        None, "--half", choices=(1, 2), metavar="1|2", group=CHOSEN, help="those of this half-set"
    )
    least: tuple[tuple[str, str], ...] = _chosen_by("--min", "those whose value of a column is X or more; repeatable")
    most: tuple[tuple[str, str], ...] = _chosen_by("--max", "those whose value of a column is X or less; repeatable")
    equal: tuple[tuple[str, str], ...] = _chosen_by(
        "--equal",
        "those whose value of a column, number or text, is one of these; repeatable",
        metavar="NAME=X,X",
        parse=_limit,
    )
    tables: tuple[str, ...] = option(
        (),
        "--table",
        repeated=True,
        metavar="RUN|FILE",
        group=CHOSEN,
        goes_with=("least", "most", "equal", "classes", "split", "columns", "outputs"),
        help="a run folder, whose contrast, junk, latents and classes are columns too, or one of its text files; lists "
        "that are written carry its contrast and junk; repeatable",
        shown_default="",
    )
    complement: bool = option(
        False, "--complement", group=CHOSEN, help="all other particles of the whole list in place of the chosen"
    )
    random: str | None = option(
        None,
        "--random",
        metavar="N|P%",
        parse=_amount,
        group=CHOSEN,
        help="so many of those chosen, at random; of tilt series so many particles, with all their images",
    )
    seed: int = option(0, "--seed", metavar="N", group=CHOSEN, least=0, most=MOST_SEED, help="of the random choice")
    outputs: tuple[str, ...] = option(
        (),
        "--output",
        repeated=True,
        metavar="FILE",
        group=WRITTEN,
        help="list to write: .lst, .star or .cs; numbers of particles in the whole list: .txt or .pkl; repeatable",
        shown_default="nothing is written, and what would be is told",
    )
    booleans: bool = option(
        False,
        "--booleans",
        group=WRITTEN,
        goes_with=("outputs",),
        help="a .txt or .pkl holds a truth value for each particle of the whole list in place of numbers",
    )
    split: str | None = option(
        None,
        "--split",
        metavar="NAME",
        group=WRITTEN,
        help="a list for each value of a column, OUT_NAME_VALUE: half, class or any other",
    )
    particles3d: str | None = option(
        None,
        "--particles3d",
        metavar="STAR",
        group=WRITTEN,
        goes_with=("outputs",),
        help="your own list of the 3-D particles whose tilt images the lists hold, a row each: every --output is a "
        ".star of its rows, those of the particles chosen, with all of its columns and tables",
        shown_default="lists of images",
    )
    columns: bool = option(False, "--columns", group=WRITTEN, help="name the columns of the first list and of --table")

    def __post_init__(self) -> None:
        check_options(self)
        last = Path(self.lists[-1])
        if (
            len(self.lists) > 1
            and not self.outputs
            and last.suffix in (*LIST_ENDINGS, *INDEX_ENDINGS)
            and not last.exists()
        ):
            raise ConfigurationError(
                f"{last}: no such file; what is named without a flag is read. To write it, say --output {last}."
            )
        if len(self.lists) > 1 and self.combined is None and self.outputs:
            raise ConfigurationError(
                f"{len(self.lists)} lists: expected how they are combined; add --union, --intersection or --difference."
            )
        if len(self.lists) == 1 and self.combined is not None:
            raise ConfigurationError(f"--{self.combined} is of several lists; got one, {self.lists[0]}.")
        if self.class_column is not None and self.classes is None and self.split != CLASS:
            raise ConfigurationError("--class_from goes with --classes or --split class; add one of them.")
        self._check_outputs()

    def named_inputs(self) -> list[Path]:
        """Return what the command names to be read; a column or a folder among them is no file to write onto."""
        single = filter(None, (self.whole, self.indices, self.class_column, self.particles3d))
        return [Path(name) for name in (*self.lists, *single, *self.tables, *self.passthrough)]

    def _check_outputs(self) -> None:
        for name in self.outputs:
            path = Path(name)
            if path.suffix not in (*LIST_ENDINGS, *INDEX_ENDINGS):
                raise ConfigurationError(
                    f"{name}: expected a name ending in {', '.join((*LIST_ENDINGS, *INDEX_ENDINGS))}."
                )
            if self.particles3d is not None and path.suffix != ".star":
                raise ConfigurationError(
                    f"{name}: with --particles3d expected a name ending in .star. Write other formats by another call."
                )
        refuse_inputs(map(Path, self.outputs), self.named_inputs())
        if self.booleans and not any(Path(name).suffix in INDEX_ENDINGS for name in self.outputs):
            raise ConfigurationError("--booleans is of a .txt or .pkl; expected one among the --output.")


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write onto a file that is read.

    Raises
    ------
    ConfigurationError : for the first of the outputs that is one of the inputs, under whatever name.
    """
    read = {_file_number(path) for path in inputs if path.exists()}
    for path in outputs:
        if path.exists() and _file_number(path) in read:
            raise ConfigurationError(f"{path}: this is an input itself; choose another --output.")


def _file_number(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


@dataclass(frozen=True)
class ListReport:
    """What was found and written.

    Parameters
    ----------
    lines : (what, particles, remark), in the order to print them.
    columns : names that values can be asked for by, where that was asked.
    outputs : files written, and how many particles each has.
    """

    lines: tuple[tuple[str, int, str], ...]
    columns: tuple[str, ...]
    outputs: tuple[tuple[Path, int], ...]


def run(config: ListConfig) -> ListReport:
    """Combine, choose and write.

    Raises
    ------
    UserError : one line on what is wrong with options or files.
    """
    # The parts load here, after parsing: `--help` is answered from the declarations above.
    from libhetero.pipelines.listing.choosing import Choice, known_columns
    from libhetero.pipelines.listing.outputs import write_outputs

    choice = Choice.of(config)
    columns = known_columns(choice, config) if config.columns else ()
    chosen = choice.chosen(config)
    written = write_outputs(config, choice, chosen) if config.outputs else ()
    return ListReport(tuple(choice.told), tuple(columns), tuple(written))
