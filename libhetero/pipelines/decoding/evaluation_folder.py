"""A folder for each evaluation of a run: named by what it shows, and never taken by another evaluation.

`RUN/volumes/NAME` holds `evaluation.json`, which says what was asked for. The same evaluation again replaces it;
another one whose name would be the same, or of a file that holds other things by now, gets NAME_2, NAME_3 …; a name of
the user's own (`--name`) is always replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libhetero.configuration import read_document, to_dict, write_json
from libhetero.errors import ConfigurationError
from libhetero.files import remove_stale
from libhetero.pipelines.run.kept import claimed
from libhetero.pipelines.run.reached import Reached

LOGGER = logging.getLogger(__name__)
RECORD = "evaluation.json"
DIGEST = "_digest"  # what the name of an option ends in that is the digest of a file; older versions wrote none
STEP = "step"  # of training, whose parameters are shown; older versions wrote none
FIRST_NAMED = 3  # particles that a name has; of more it says how many
ELSEWHERE = "folder", "epoch", "output", "name", "batch_size", "movie"  # options that do not change the volumes


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation was asked for, and which maps it wrote.

    Parameters
    ----------
    options : by field of `EvaluateConfig`, those that decide what is shown.
    volumes : names of the files.
    """

    options: dict[str, Any] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()


@contextlib.contextmanager
def evaluation_folder(run_folder: Path, config: Any, options: dict[str, Any]) -> Iterator[Path]:
    """Yield where the volumes of an evaluation go, which no other evaluation has until the block ends.

    Parameters
    ----------
    run_folder : of the run.
    config : `EvaluateConfig`.
    options : as `asked` gives them.

    Raises
    ------
    ConfigurationError : if another evaluation is writing the folder of the name that the user gave.
    """
    if config.output is not None:
        yield Path(config.output)
        return

    def suits(folder: Path) -> bool:
        return not _holds_files(folder) or _is_of(earlier(folder), options)

    with claimed(run_folder / "volumes", config.name, described(config), suits, "e2hype_eval.py") as folder:
        yield folder


def _is_of(record: Evaluation, options: dict[str, Any]) -> bool:
    """Return whether a record says that it is of some options, as far as the version that wrote it says so."""
    unsaid = {name for name in options if name.endswith(DIGEST) or name == STEP} - record.options.keys()
    if f"plane{DIGEST}" in unsaid:
        unsaid.add("embedding")
    return record.options == {name: value for name, value in options.items() if name not in unsaid}


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def described(config: Any) -> str:
    """Return a name for what is shown, such as path_5_120 or kmeans_10."""
    if config.particles is not None or config.path is not None:
        chosen = config.particles or config.path
        what = "particles" if config.particles is not None else "path"
        named = "_".join(str(one) for one in chosen[:FIRST_NAMED])
        return f"{what}_{named}" + (f"_and_{len(chosen) - FIRST_NAMED}_more" if len(chosen) > FIRST_NAMED else "")
    if config.all_classes is not None:
        return f"kmeans_{config.all_classes}"
    if config.component is not None:
        return f"pc_{config.component}"
    if config.grid is not None:
        return f"grid_{config.grid}"
    return Path(config.classes or config.latent or config.regions).stem


def asked(config: Any, plane: Path, reached: Reached | None) -> dict[str, Any]:
    """Return the options that decide what is shown, as JSON has them, digests of the files that do, and the step.

    Parameters
    ----------
    config : `EvaluateConfig`.
    plane : file of the embedding that is read, which chooses particles where a grid is laid over it.
    reached : where training has come to; None where that is not known.
    """
    values = {one: value for one, value in to_dict(config).items() if one not in ELSEWHERE and value is not None}
    for name in ("classes", "latent", "regions"):
        if name in values:
            values[name] = str(Path(values[name]).absolute())
            values[f"{name}{DIGEST}"] = file_digest(values[name])
    if config.over == "plane":
        values[f"plane{DIGEST}"] = file_digest(plane)
    else:
        values.pop("embedding", None)  # volumes are only shown in it
    return values if reached is None else {**values, STEP: reached.step}


def file_digest(path: str | Path) -> str:
    """Return the digest by which a record knows a file again."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()


def asked_in_words(options: dict[str, Any], run_folder: Path) -> str:
    """Return in a line what a record says, without defaults: "classes c.txt, centre medoid (of training step 90)".

    Parameters
    ----------
    options : of the record.
    run_folder : whose files are called as they lie in it.
    """
    from libhetero.pipelines.evaluate import EvaluateConfig

    usual = {field.name: field.default for field in dataclasses.fields(EvaluateConfig)}
    shown = {
        name: value
        for name, value in options.items()
        if not name.endswith(DIGEST) and name != STEP and value != usual.get(name, dataclasses.MISSING)
    }
    whole = str(Path(run_folder).absolute())
    texts = {
        name: " ".join(map(str, value)) if isinstance(value, list) else str(value).removeprefix(f"{whole}/")
        for name, value in shown.items()
    }
    trained = f" (of training step {options[STEP]})" if STEP in options else ""
    return (", ".join(f"{name} {text}" for name, text in texts.items()) or "not known") + trained


def earlier(folder: Path) -> Evaluation:
    """Return what an earlier evaluation left in a folder; an empty one where none says so."""
    if not (folder / RECORD).exists():
        return Evaluation()
    try:
        return read_document(folder / RECORD, Evaluation)
    except ConfigurationError as error:
        LOGGER.warning("%s What it was of is not known.", error)
        return Evaluation()


def write_record(folder: Path, config: Any, options: dict[str, Any], paths: list[Path]) -> None:
    """Write what was asked for, and remove maps of an earlier evaluation that are not among those of this one.

    In a folder that is no evaluation's own (`--output`) those of others stay.

    Parameters
    ----------
    folder : of the evaluation.
    config : `EvaluateConfig`.
    options : as `asked` gives them.
    paths : of the maps.
    """
    names, stems, before = {path.name for path in paths}, {path.stem for path in paths}, earlier(folder)
    if config.output is None or _is_of(before, options):
        for old in map(Path, before.volumes):
            if old.name == str(old) and old.name not in names:
                remove_stale(folder, old.name)
                if old.stem not in stems:
                    remove_stale(folder, f"{old.stem}.txt", f"{old.stem}.pdb")
    write_json(folder / RECORD, dataclasses.asdict(Evaluation(options, tuple(path.name for path in paths))))
