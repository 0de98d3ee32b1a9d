"""What assembly.py and motion.py share: options, the stages of one run, a table and a JSON file.

A run goes through the installed programs, one process a stage: simulate, consensus map, starting
Gaussians, then for each decoder train, segment and score. What differs between the two benchmarks is
one `Benchmark`; what differs in size is one `Profile` of its table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import libhetero
from libhetero.cli.stages import StageResult, run_stage
from libhetero.configuration import read_json, write_json
from libhetero.errors import ConfigurationError, UserError
from libhetero.io import read_atoms

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "structures"
DECODERS = {"pt": "--pointtransformer", "mlp": "--decoder mlp"}
STAGES = ("simulate", "make3d", "guess_n", "refine", "segment", "score")
RECORD = "stages.json"  # in the work folder: what was begun, and what it cost where it is finished
PIXEL_STEP = 0.25  # Å; pixel sizes are rounded up to whole steps
Row = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """One size of a benchmark.

    Parameters
    ----------
    particles : number of images.
    box : pixels.
    gaussians : of the neutral model.
    training : options of e2hype_refine.py for both decoders.
    rows : further ones for each decoder, by the row's name.
    snr : signal variance ÷ noise variance per pixel.
    segment : options of e2hype_segment.py.
    generated : options of e2hype_simulate.py for a complex made from the seed, in place of an atomic
        model; None for a model.
    """

    particles: int
    box: int
    gaussians: int
    training: str
    rows: dict[str, str] = dataclasses.field(default_factory=dict)
    snr: float = 0.1
    segment: str = "--auto"
    generated: str | None = None


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Parameters
    ----------
    key : in the row.
    title : for people.
    digits : after the point.
    """

    key: str
    title: str
    digits: int = 3


@dataclass(frozen=True)
class Benchmark:
    """What one benchmark measures.

    Parameters
    ----------
    kind : of the simulated set, "assembly" or "motion".
    structures : atomic model and table of its pieces, below the shared folder of structures.
    margin : width of the box ÷ diameter of the model.
    pieces : besides the core, where no table is given.
    simulate : further options of e2hype_simulate.py.
    profiles : by name.
    published : the paper's figures by row, and those of no row.
    figures : lines of the table, in order.
    row : turns what e2hype_score.py wrote into the figures of one row.
    complete : makes, in the work folder, the table to use from (model, table, folder).
    """

    kind: str
    structures: tuple[str, str]
    margin: float
    pieces: int
    simulate: str
    profiles: dict[str, Profile]
    published: dict[str, Any]
    figures: tuple[Figure, ...]
    row: Callable[[dict[str, Any]], Row]
    complete: Callable[[str, str, Path], str] | None = None


@dataclass(frozen=True)
class Source:
    """Where the particles come from.

    Parameters
    ----------
    model : atomic model; None for a complex made from the seed.
    table : of its pieces; None for compact pieces of equal right.
    pixel_size : Å; None where `Profile.generated` says it.
    """

    model: str | None
    table: str | None
    pixel_size: float | None


@dataclass(frozen=True)
class Stage:
    """One program to run.

    Parameters
    ----------
    program : its short name, one of STAGES.
    row : which row it belongs to; None for all.
    command : as typed.
    output : file or folder that it makes, in the work folder.
    """

    program: str
    row: str | None
    command: str
    output: str

    @property
    def name(self) -> str:
        """Row and program."""
        return " ".join(filter(None, (self.row, self.program)))

    @property
    def goes_on(self) -> bool:
        """Whether the program goes on with what it was stopped at, by its command."""
        return self.program in ("simulate", "refine")


def main(benchmark: Benchmark, description: str, argv: Sequence[str] | None = None) -> int:
    """Run a benchmark as the options say; return 0, or 1 after one line on what went wrong."""
    options = build_parser(benchmark, description).parse_args(argv)
    again = options.stages is not None
    report = reported(Path(sys.argv[0]).name, options, partial(run, benchmark, options), again=again, mark=RECORD)
    return 1 if report is None or report["failed"] else 0


def reported(
    name: str,
    options: argparse.Namespace,
    work: Callable[[Path], dict[str, Any]],
    *,
    again: bool = False,
    mark: str | None = None,
) -> dict[str, Any] | None:
    """Return what a benchmark reports of its work folder, written to --json too; None after one line on what is wrong.

    Parameters
    ----------
    name : of the program, for that line.
    options : --work, --keep and --json.
    work : done in the folder.
    again, mark : as `WorkFolder` takes them.
    """
    try:
        with WorkFolder(options.work, options.keep, again=again, mark=mark) as folder:
            report = work(folder)
        if options.json:
            write_json(Path(options.json), report)
    except (UserError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return None
    return report


def exit_code(
    name: str, options: argparse.Namespace, run: Callable[[argparse.Namespace, Path], dict[str, Any]], mark: str
) -> int:
    """Run a benchmark of several rows in its work folder; return 0, or 1 where a row failed or nothing was reported.

    Parameters
    ----------
    name : of the program.
    options : as `parser_of_rows` makes them.
    run : what it does; its report says under "failed" which rows did.
    mark : as `WorkFolder` takes it.
    """
    report = reported(name, options, partial(run, options), mark=mark)
    return 1 if report is None or report["failed"] else 0


def parser_of_rows(
    description: str | None, profiles: Iterable[str], rows: Iterable[str], default: Iterable[str] | None = None
) -> argparse.ArgumentParser:
    """Return the options that benchmarks of several rows have in common.

    Parameters
    ----------
    description : of the program.
    profiles : sizes, "cpu" among them.
    rows : all there are.
    default : those that are run unasked; None for all.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    rows = list(rows)
    some = "all" if default is None else "all but " + ", ".join(sorted(set(rows) - set(default)))
    default = rows if default is None else list(default)
    add = parser.add_argument
    add("--profile", choices=tuple(profiles), default="cpu", help="size of the sets (default: cpu)")
    add("--json", metavar="FILE", help="write the figures here too")
    add("--seed", type=int, default=0, help="of sets and trainings, of the first where there are several (default: 0)")
    add("--rows", nargs="+", choices=rows, metavar="ROW", default=default, help=f"run these alone (default: {some})")
    add("--work", metavar="FOLDER", help="run here and leave the files; go on with what is done there (default: none)")
    add("--keep", action="store_true", help="leave the temporary folder, too")
    return parser


def build_parser(benchmark: Benchmark, description: str) -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--profile", choices=tuple(benchmark.profiles), default="cpu", help="size of the run (default: cpu)")
    add("--json", metavar="FILE", help="write the figures here too")
    add("--seed", type=int, default=0, help="of the data and of the training (default: 0)")
    add(
        "--structures",
        nargs="+",
        metavar="FILE",
        help="an atomic model (.cif, .pdb, .gz) and the JSON table of its pieces; without the "
        f"table it is cut in {benchmark.pieces} compact pieces and a core (default: "
        f"{' '.join(Path(name).name for name in benchmark.structures)} of ../shared)",
    )
    add("--rows", nargs="+", choices=tuple(DECODERS), default=list(DECODERS), help="decoders to train (default: both)")
    add(
        "--start",
        choices=("map", "model"),
        default="map",
        help="Gaussians start from the consensus map, as a user's do, or from the atomic model, as "
        "the paper's (default: map)",
    )
    add(
        "--work",
        metavar="FOLDER",
        help="run here and leave the files; a run that was stopped goes on, and finished stages are not done again "
        "(default: a temporary folder)",
    )
    add("--keep", action="store_true", help="leave the temporary folder, too")
    add(
        "--stages",
        nargs="+",
        choices=STAGES,
        metavar="STAGE",
        default=None,
        help="run these alone, or again, in a --work folder that has what they need: "
        f"{', '.join(STAGES)} (default: all)",
    )
    return parser


class WorkFolder:
    """The folder a benchmark runs in: the user's, which stays, or a temporary one.

    Parameters
    ----------
    work : the user's; None for a temporary one.
    keep : leave the temporary one.
    again : only some stages are run, in a folder that has what they need.
    mark : file that says of a filled folder that the benchmark may go on in it.
    """

    def __init__(self, work: str | None, keep: bool, again: bool = False, mark: str | None = None) -> None:
        self._kept = keep or work is not None
        if work is None and again:
            raise ConfigurationError("--stages: expected the --work folder to run them in; name one.")
        if work is None:
            self._path = Path(tempfile.mkdtemp(prefix="benchmark_"))
            return
        self._path = Path(work).resolve()
        marked = mark is not None and (self._path / mark).is_file()
        if self._path.is_dir() and any(self._path.iterdir()) and not (again or marked):
            remedy = "take one that this benchmark left" if mark else "name with --stages what to run again in it"
            raise ConfigurationError(
                f"{self._path}: not empty; expected a new folder for a whole run. Choose another, or {remedy}."
            )
        self._path.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *failure: object) -> None:
        if self._kept:
            print(f"\nall files are in {self._path}")
        else:
            shutil.rmtree(self._path, ignore_errors=True)


def run(benchmark: Benchmark, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the stages, print the tables and return the report."""
    profile = benchmark.profiles[options.profile]
    source = find_source(benchmark, profile, options)
    wanted = options.stages or STAGES
    if source.table and benchmark.complete and "simulate" in wanted:
        source = dataclasses.replace(source, table=benchmark.complete(source.model, source.table, folder))
    results: dict[Stage, StageResult] = {}
    failed: dict[str, str] = {}
    record = Record(folder, again=options.stages is not None)
    for stage in stages_of(benchmark, profile, source, options):
        if stage.program not in wanted or stage.row in failed:
            continue
        try:
            results[stage] = record.finished(stage) or _done(stage, record, folder)
        except UserError as error:
            if stage.row is None:
                raise
            print(error, file=sys.stderr)
            failed[stage.row] = str(error)
    rows = _rows(benchmark, options, folder, results, failed)
    report = _report(benchmark, options, source, results, rows, failed)
    print_stages(results.values())
    print_table(benchmark, report)
    return report


class Record:
    """What was begun and finished in a work folder, so that a run that was stopped goes on.

    Parameters
    ----------
    folder : the work folder.
    again : every stage that is asked for is done anew.
    """

    def __init__(self, folder: Path, again: bool) -> None:
        self._path, self._again = folder / RECORD, again
        self._stages: dict[str, Any] = read_json(self._path) if self._path.is_file() else {}

    def finished(self, stage: Stage) -> StageResult | None:
        """Return what a stage has cost, None where it must be done.

        Raises
        ------
        ConfigurationError : if it was begun with other options.
        """
        found = self._stages.get(stage.name)
        if found is None or self._again:
            return None
        if found["command"] != stage.command:
            raise ConfigurationError(
                f"{self._path}: {stage.name} was begun as {found['command']}; expected {stage.command}. Choose another "
                "--work folder, or name with --stages what to run again."
            )
        return StageResult(**found) if "seconds" in found else None

    def begin(self, stage: Stage) -> bool:
        """Note that a stage begins, and that none after it is done; return whether it goes on."""
        goes_on = stage.name in self._stages and not self._again
        later = STAGES[STAGES.index(stage.program) :]
        for name in [name for name in self._stages if name.split()[-1] in later]:
            if stage.row is None or name.split()[0] == stage.row:
                del self._stages[name]
        self._write(stage.name, {"command": stage.command})
        return goes_on

    def end(self, result: StageResult) -> None:
        """Note what a stage has cost."""
        self._write(result.name, dataclasses.asdict(result))

    def _write(self, name: str, values: dict[str, Any]) -> None:
        self._stages[name] = values
        write_json(self._path, self._stages)


def _done(stage: Stage, record: Record, folder: Path) -> StageResult:
    """Run a stage; what an earlier run of it left is removed, but for what its program goes on with."""
    if not (record.begin(stage) and stage.goes_on):
        remove_output(folder / stage.output)
    result = run_stage(stage.name, stage.command, folder)
    record.end(result)
    return result


def begun(path: Path, asked: dict[str, Any], **new: Any) -> dict[str, Any]:
    """Return the report of a work folder of several rows, or a new one.

    Parameters
    ----------
    path : of the report.
    asked : what all of its rows have in common.
    new : what a new one holds besides.

    Raises
    ------
    ConfigurationError : if the folder's was made with something else.
    """
    if not path.is_file():
        return {**asked, **new}
    report = read_json(path)
    differing = [name for name, value in asked.items() if report.get(name) != value]
    if differing:
        raise ConfigurationError(
            f"{path.parent}: was run with another {differing[0]} ({report.get(differing[0])}); expected "
            f"{asked[differing[0]]}. Give the same options, or another folder."
        )
    return report


def run_rows(
    names: Sequence[str], figures: Callable[[str], Any], report: dict[str, Any], save: Callable[[dict[str, Any]], None]
) -> dict[str, str]:
    """Put the figures of each row into a report, saved after each; return what failed, by row, in words.

    Parameters
    ----------
    names : of the rows.
    figures : runs what is missing of a row and returns its figures.
    save : writes the report.
    """
    failed: dict[str, str] = {}
    for name in names:
        report["rows"].pop(name, None)
        try:
            report["rows"][name] = figures(name)
        except UserError as error:
            print(error, file=sys.stderr)
            failed[name] = str(error)
        save(report)
    return failed


def run_missing(
    stages: Sequence[Stage],
    name: str,
    folder: Path,
    report: dict[str, Any],
    save: Callable[[dict[str, Any]], object],
    begin: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Run the stages of one row that are not done by their commands, or whose output is gone, and all after them.

    Parameters
    ----------
    stages : in order, each with an output of its own.
    name : of the row.
    folder : to run in.
    report : whose "stages" say of each row what its stages have cost, by their names.
    save : writes the report.
    begin : called before a stage is run.

    Returns
    -------
    what each stage has cost, by its name.

    Raises
    ------
    UserError : if a program fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = report["stages"].setdefault(name, {})
    for place, stage in enumerate(stages):
        if done.get(stage.name, {}).get("command") == stage.command and (folder / stage.output).exists():
            continue
        begin()
        for later in stages[place:]:  # which were made of what is made anew
            done.pop(later.name, None)
        save(report)  # before any of it is gone, so that a run that is stopped here is not taken for done
        for later in stages[place:]:
            remove_output(folder / later.output)
        done[stage.name] = dataclasses.asdict(run_stage(f"{name}: {stage.program}", stage.command, folder))
        save(report)
    return done


def find_source(benchmark: Benchmark, profile: Profile, options: argparse.Namespace) -> Source:
    """Return model and table, given or shared, and the pixel size at which the model fits the box."""
    if options.structures is None and profile.generated is not None:
        if options.start == "model":
            raise ConfigurationError(
                f"--start model: profile {options.profile} makes its complex from the seed; give an "
                "atomic model with --structures."
            )
        return Source(None, None, None)
    files = [Path(name).absolute() for name in options.structures or ()]
    if not files:
        files = [SHARED / name for name in benchmark.structures]
        missing = [path for path in files if not path.is_file()]
        if missing:
            raise ConfigurationError(
                f"{missing[0]}: no such file; expected the structures beside the project. Give an "
                "atomic model and the table of its pieces with --structures."
            )
    tables = [str(path) for path in files if path.suffix == ".json"]
    models = [str(path) for path in files if path.suffix != ".json"]
    if len(models) != 1 or len(tables) > 1:
        raise ConfigurationError(
            f"--structures: expected an atomic model and at most one .json table; got {len(models)} and {len(tables)}."
        )
    position = read_atoms(models[0]).position
    radius = float(np.linalg.norm(position - position.mean(axis=0), axis=1).max())
    steps = math.ceil(2 * radius * benchmark.margin / profile.box / PIXEL_STEP)
    return Source(models[0], tables[0] if tables else None, steps * PIXEL_STEP)


def stages_of(benchmark: Benchmark, profile: Profile, source: Source, options: argparse.Namespace) -> list[Stage]:
    """Return every stage in order."""
    seed = f"--seed {options.seed}"
    box = f"--box {profile.box}"
    if source.pixel_size is not None:
        box += f" --apix {source.pixel_size:g}"
    start = "consensus.mrc"
    if options.start == "model":
        start = f"{shlex.quote(source.model)} {box} --origin mass"  # as it was simulated
    shared = [
        (
            "simulate",
            "set",
            f"{benchmark.kind} set --n {profile.particles} {box} --snr {profile.snr:g} "
            f"{structure_options(benchmark, profile, source)} {benchmark.simulate} --resume {seed}",
        ),
        ("make3d", "consensus.mrc", "set/particles.star consensus.mrc"),
        ("guess_n", "gmm.txt", f"{start} gmm.txt --ngauss {profile.gaussians} {seed}"),
    ]
    stages = [Stage(name, None, _command(name, words), output) for name, output, words in shared]
    for row in options.rows:
        training = f"{DECODERS[row]} {profile.training} {profile.rows.get(row, '')}"
        own = [
            ("refine", f"{row}_00", f"set/particles.star --path {row}_00 --requeue --model gmm.txt {training} {seed}"),
            ("segment", f"{row}_00/regions.txt", f"{row}_00 {profile.segment} {seed}"),
            ("score", f"{row}.json", f"{row}_00 --images 0 --json {row}.json {seed}"),
        ]
        stages += [Stage(name, row, _command(name, words), output) for name, output, words in own]
    return stages


def structure_options(benchmark: Benchmark, profile: Profile, source: Source) -> str:
    """Return the options of e2hype_simulate.py that say what is imaged."""
    if source.model is None:
        return profile.generated or ""
    words = f"--pdb {shlex.quote(source.model)}"
    if source.table is None:
        return f"{words} --pieces {benchmark.pieces}"
    return f"{words} --{kind_of_table(source.table)} {shlex.quote(source.table)}"


def kind_of_table(path: str) -> str:
    """Return "domains" where the JSON table has hinged domains, else "segments"."""
    try:
        values = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file; expected a table of pieces.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid JSON ({error}).") from None
    entries = values if isinstance(values, list) else [values]
    hinged = any(isinstance(entry, dict) and "domains" in entry for entry in entries)
    return "domains" if hinged else "segments"


def _command(program: str, words: str) -> str:
    return " ".join(f"e2hype_{program}.py {words}".split())


def remove_output(path: Path) -> None:
    """Remove what an earlier run of a stage left."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _rows(
    benchmark: Benchmark,
    options: argparse.Namespace,
    folder: Path,
    results: dict[Stage, StageResult],
    failed: dict[str, str],
) -> dict[str, Row]:
    """Return the figures of every row that was scored in this run."""
    scored = {stage.row for stage in results if stage.program == "score"}
    rows = {}
    for name in options.rows:
        if name in scored and name not in failed:
            own = {stage.program: found.seconds for stage, found in results.items() if stage.row == name}
            figures = benchmark.row(read_json(folder / f"{name}.json"))
            rows[name] = {**figures, "seconds": sum(own.values()), "stage_seconds": own}
    return rows


def _report(
    benchmark: Benchmark,
    options: argparse.Namespace,
    source: Source,
    results: dict[Stage, StageResult],
    rows: dict[str, Row],
    failed: dict[str, str],
) -> dict[str, Any]:
    profile = benchmark.profiles[options.profile]
    names = [Path(name).name for name in (source.model, source.table) if name]
    return {
        "profile": options.profile,
        "rows": rows,
        "published": benchmark.published,
        "failed": failed,
        "seed": options.seed,
        "start": options.start,
        "structures": names,
        "pixel_size": source.pixel_size,
        "settings": dataclasses.asdict(profile),
        "stages": [dataclasses.asdict(found) for found in results.values()],
        "seconds": sum(found.seconds for found in results.values()),
        **environment(),
    }


def environment() -> dict[str, Any]:
    """Return machine and versions, for a report."""
    return {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "devices": _devices()},
        "versions": {"libhetero": libhetero.__version__, **{name: version(name) for name in ("jax", "flax", "numpy")}},
    }


def processor() -> str:
    """Return the processor's name as Linux gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _devices() -> str:
    """Return what JAX computes on, asked in a process of its own that frees it at once."""
    code = "import jax; d = jax.devices(); print(len(d), d[0].platform, d[0].device_kind)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip()


def print_stages(results: Iterable[StageResult]) -> None:
    """Print what each stage cost."""
    results = list(results)
    print(f"\n{'stage':<24}{'seconds':>10}{'peak MiB':>10}")
    for found in results:
        print(f"{found.name:<24}{found.seconds:10.1f}{found.peak_bytes / 2**20:10.0f}")
    print(f"{'all':<24}{sum(found.seconds for found in results):10.1f}")


def print_table(benchmark: Benchmark, report: dict[str, Any]) -> None:
    """Print every figure of both rows beside the published ones."""
    rows, published = report["rows"], benchmark.published
    structures = ", ".join(report["structures"]) or "a complex made from the seed"
    settings = report["settings"]
    print(
        f"\n{benchmark.kind}, profile {report['profile']}, seed {report['seed']}: {structures}; "
        f"{settings['particles']} particles of {settings['box']} pixels, SNR "
        f"{settings['snr']:g} per pixel, {settings['gaussians']} Gaussians from the {report['start']}"
    )
    titles = ("PT", "MLP", "published PT", "published MLP")
    print(f"{'':<44}" + "".join(f"{title:>14}" for title in titles))
    for figure in (*benchmark.figures, Figure("seconds", "seconds, training to score", 0)):
        found = [rows.get(name, {}).get(figure.key) for name in DECODERS]
        paper = [published.get(name, {}).get(figure.key) for name in DECODERS]
        cells = "".join(f"{shown(value, figure.digits):>14}" for value in (*found, *paper))
        print(f"{figure.title:<44}{cells}")


def shown(value: Any, digits: int) -> str:
    """Return a figure as text, "-" for none."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(shown(item, digits) for item in value)
    return f"{value:.{digits}f}"
