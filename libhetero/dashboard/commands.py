"""What the page can have done, as the commands of the programs that do it: what is shown is what is run.

Options are those of the programs' own configurations, by the names of their fields, and refused as the programs refuse
them; files are named by the server alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libhetero.configuration import declared_options, parsed_value, read_json
from libhetero.dashboard.refusals import wrong
from libhetero.dashboard.regions import EDITED
from libhetero.dashboard.runs import NAME, ServedRun
from libhetero.dashboard.selections import FOLDER, read_rows
from libhetero.pipelines.analyze import AnalyzeConfig
from libhetero.pipelines.embed import EmbedConfig
from libhetero.pipelines.make3d import Make3dConfig
from libhetero.pipelines.run.asked import PARTS, RefineConfig
from libhetero.pipelines.segment import RegionConfig, SegmentConfig
from libhetero.pipelines.validate import ValidateConfig

PARAMS = "0_e2hype_params.json"
# Options of a training that are of its list, which the selection's takes the place of, or of one start of it.
OF_THE_LIST = {
    *("--path", "--resume", "--ind", "--poses", "--ctf", "--datadir", "--passthrough", "--requeue", "--dry_run"),
    *("--coordinator", "--nprocs", "--procid", "--cache", "--apix", "--model", "--mask", "--classes", "--ppid"),
}
LONGEST_VALUE = 200


@dataclass(frozen=True)
class Asked:
    """A command that is asked for.

    Parameters
    ----------
    kind : of it.
    title : in words.
    words : the command.
    makes : the folder of a run, or the map, that comes of it; None where that is neither.
    """

    kind: str
    title: str
    words: tuple[str, ...]
    makes: Path | None = None

    @property
    def line(self) -> str:
        """The command as typed."""
        return shlex.join(self.words)


def command_for(
    run: ServedRun, kind: str, selection: str | None, options: Mapping[str, Any], taken: Collection[Path] = ()
) -> Asked:
    """Return the command for what is asked for.

    Parameters
    ----------
    run : of which run.
    kind : "train", "resume", "reconstruct", "segment", "embed", "analyze" or "validate".
    selection : by name, where it is of a part of the particles.
    options : by the fields of the program's configuration; of "segment" also regions, the name of a regions_NN.txt.
    taken : folders that are not there yet, and will be.

    Raises
    ------
    UserError : for what is none of these, a selection that is not there, or options that the program refuses.
    """
    if selection is not None:
        read_rows(run, selection)  # refuses one that is not there
    if kind == "train":
        return _train(run, selection, options, taken)
    if kind == "reconstruct":
        return _reconstruct(run, selection, options)
    if kind == "resume":
        words = _words(_refine_kinds(), options, ("epochs",))
        return Asked(kind, f"train {run.name} on", ("e2hype_refine.py", "--resume", str(run.folder), *words))
    if selection is not None and kind != "segment":
        raise wrong(f"{kind}: of all particles of a run; train on the selection first, and ask it of that run")
    return _of_run(run, kind, selection, options)


def _of_run(run: ServedRun, kind: str, selection: str | None, options: Mapping[str, Any]) -> Asked:
    """Return the command of a program that takes a run folder; "segment" may look at a selection alone."""
    programs: dict[str, tuple[str, str, tuple[type, ...]]] = {
        "embed": ("e2hype_embed.py", "embed", (EmbedConfig,)),
        "segment": ("e2hype_segment.py", "segment", (SegmentConfig, RegionConfig)),
        "analyze": ("e2hype_analyze.py", "analyze", (AnalyzeConfig,)),
        "validate": ("e2hype_validate.py", "validate", (ValidateConfig,)),
    }
    if kind not in programs:
        known = ", ".join(["train", "resume", "reconstruct", *programs])
        raise wrong(f"kind: {str(kind)[:40]!r}; expected {known}")
    program, verb, kinds = programs[kind]
    given = options.get("regions") if kind == "segment" else None
    options = {name: value for name, value in options.items() if given is None or name != "regions"}
    words = _words(kinds, options)
    if selection is not None:
        words = ["--ind", str(run.own_folder(FOLDER, selection) / f"{selection}.txt"), *words]
    if given is not None:
        words = ["--regions", str(_edited(run, given)), *words]
    for one in kinds:  # what options say together is refused here
        folder = {field.name: str(run.folder) for field, said in declared_options(one) if said.positional is not None}
        one(**folder, **_values((one,), options))
    title = f"{verb} {run.name}" if selection is None else f"{verb} {selection} of {run.name}"
    return Asked(kind, title, (program, str(run.folder), *words))


def _edited(run: ServedRun, name: Any) -> Path:
    """Return the file of regions that were changed by hand, by its name."""
    if not isinstance(name, str) or EDITED.fullmatch(name) is None:
        raise wrong("regions: expected the name of a file of the run, such as regions_01.txt")
    return run.inside(name)


def _train(run: ServedRun, selection: str | None, options: Mapping[str, Any], taken: Collection[Path]) -> Asked:
    """Return the command that trains on a selection as the run was trained."""
    if selection is None:
        raise wrong("train: of which particles? Name a selection")
    words = ["e2hype_refine.py", str(_list_of(run, selection)), *_as_before(run)]
    data = run.config.data
    for flag, value in (("--model", data.reference), ("--mask", data.mask)):
        words += [] if value is None else [flag, str(value)]
    name = options.get("path", f"{run.folder.name}_{selection}")
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise wrong("path: expected the name of a folder: letters, digits, _, - and .")
    folder = _free(run.folder.parent / name, taken)
    own = {key: value for key, value in options.items() if key != "path"}
    given = _words(_refine_kinds(), own)
    fields = _fields(_refine_kinds())
    flags = {_flag(flag) for one in own for flag in (*fields[one][1].flags, *fields[one][1].constants)}
    words = [*_without(words, flags), *given, "--path", str(folder)]
    return Asked("train", f"train on {selection}", tuple(words), folder)


def _refine_kinds() -> tuple[type, ...]:
    return (*(kind for name, kinds in PARTS.items() if name != "data" for kind in kinds), RefineConfig)


def _as_before(run: ServedRun) -> list[str]:
    """Return the options that a run was trained with, but those of its list and of the start itself."""
    path = run.folder / PARAMS
    typed: list[str] = []
    if path.is_file():
        params = read_json(path)
        typed = shlex.split(str(params.get("cmd", "")))[1:]
        listed = params.get("particles")
        if isinstance(listed, str) and listed in typed and "--resume" not in map(_flag, typed):
            typed.remove(listed)
        else:
            typed = []
    return _without(typed, OF_THE_LIST) if typed else _by_configuration(run)


def _by_configuration(run: ServedRun) -> list[str]:
    """Return the main options of a run whose own command is not known."""
    config = run.config
    words = []
    if config.family == "gmm":
        words += ["--decoder", "mlp"] if config.model.decoder == "mlp" else ["--pointtransformer"]
    return [*words, "--niter", str(config.training.epochs), "--batchsz", str(config.training.batch_size)]


def _flag(word: str) -> str:
    return word.partition("=")[0].replace("-", "_").replace("__", "--", 1)


def _without(words: Iterable[str], flags: Iterable[str]) -> list[str]:
    """Return words without some flags and their values, which are all that follow up to the next flag."""
    flags, kept, dropping = set(flags), [], False
    for word in words:
        dropping = _flag(word) in flags if word.startswith("--") else dropping
        kept += [] if dropping else [word]
    return kept


def _reconstruct(run: ServedRun, selection: str | None, options: Mapping[str, Any]) -> Asked:
    if selection is None:
        raise wrong("reconstruct: of which particles? Name a selection")

    output = run.own_folder(FOLDER, selection) / f"{selection}.mrc"
    listed = _list_of(run, selection)
    allowed = ("box_size", "symmetry", "b_factor", "local_resolution", "no_ctf", "contrast")
    chosen = dict(options)
    if run.config.data.no_ctf:
        chosen.setdefault("no_ctf", True)
    words = _words((Make3dConfig,), chosen, allowed)
    if not any(word in ("--invert", "--noinvert") for word in words) and run.config.data.preprocess.contrast:
        words.append("--invert" if run.config.data.preprocess.contrast < 0 else "--noinvert")
    Make3dConfig(particles=str(listed), output=str(output), **_values((Make3dConfig,), chosen))
    asked = ("e2hype_make3d.py", str(listed), str(output), *words)
    return Asked("reconstruct", f"reconstruct {selection}", asked, output)


def _list_of(run: ServedRun, selection: str) -> Path:
    """Return the list of a selection in the format that holds most."""
    folder = run.own_folder(FOLDER, selection)
    paths = [folder / f"{selection}{ending}" for ending in (".lst", ".star", ".cs")]
    return next((path for path in paths if path.is_file()), paths[0])


def _free(folder: Path, taken: Collection[Path]) -> Path:
    """Return a folder that there is not yet, nor will be: this one, or one of its name and a number."""
    number, found = 2, folder
    while found in taken or found.exists():
        found, number = folder.with_name(f"{folder.name}_{number}"), number + 1
    return found


def _fields(kinds: tuple[type, ...]) -> dict[str, tuple[type, Any]]:
    found: dict[str, tuple[type, Any]] = {}
    for kind in kinds:
        for field, said in declared_options(kind):
            offered = (said.flags or said.constants) and not said.path and said.positional is None
            if offered and field.name not in ("folder", "output", "resume", "truth", "labels"):
                found.setdefault(field.name, (kind, said))
    return found


def _values(kinds: tuple[type, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options that some configurations have, as these hold them.

    Raises
    ------
    Refusal : for a value that an option cannot have.
    """
    fields = _fields(kinds)
    found = {}
    for name, value in options.items():
        if name not in fields:
            continue
        kind, _ = fields[name]
        if not isinstance(value, str | int | float | bool) or len(str(value)) > LONGEST_VALUE:
            raise wrong(f"{name}: expected a number or a short text")
        if isinstance(value, bool):
            found[name] = value
            continue
        try:
            found[name] = parsed_value(kind, name, str(value))
        except ValueError as error:
            raise wrong(f"{name}: {error}; got {str(value)[:60]!r}") from None
    return found


def _words(kinds: tuple[type, ...], options: Mapping[str, Any], allowed: tuple[str, ...] | None = None) -> list[str]:
    """Return options as flags and values; a default, too, since the run that is gone on from may have had another.

    Raises
    ------
    Refusal : for a name that the configurations have not, or a value that the option cannot have.
    """
    fields = _fields(kinds)
    known = sorted(fields) if allowed is None else [name for name in allowed if name in fields]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise wrong(f"{unknown[0][:60]}: no option; expected one of {', '.join(known)}")
    words: list[str] = []
    for name, value in _values(kinds, options).items():
        _, said = fields[name]
        constant = next((flag for flag, (of, _) in said.constants.items() if of == value), None)
        if constant is not None:
            words.append(constant)
        elif isinstance(value, bool):
            words += [said.flags[0]] if value else []
        else:
            words += [said.flags[0], *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return words


def described(asked: Asked) -> dict[str, Any]:
    """Return what the page is told of a command."""
    return {"kind": asked.kind, "title": asked.title, "command": asked.line}
