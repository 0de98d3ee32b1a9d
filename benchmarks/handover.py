"""Hand-overs: what RELION, cryosparc-tools, cryoDRGN, recovar, ASPIRE and starfile read of every list we export.

Small sets are simulated, exported in every way, and each list is read by each peer in an environment of the peer's own;
its numbers are compared with those of the simulated set, particle by particle, and each image by the sum of its
pixels. RELION reconstructs from every .star: the FSC to the truth must be that from the simulator's own list.

    python benchmarks/handover.py --environments peers --json handover.json --markdown docs/handover.md

Environments that are not there are made (some GB, by pip); RELION is looked for on PATH. About half an hour on two
cores without that. Exit code 1 where a number differs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from harness import WorkFolder, environment
from peers import CRYODRGN_PACKAGES, python_of
from scipy.spatial.transform import Rotation

import libhetero
from libhetero.configuration import write_json
from libhetero.errors import UserError
from libhetero.io import read_particles, read_volume
from libhetero.records import ParticleSet

PROGRAMS = Path(libhetero.__file__).resolve().parents[1] / "programs"
READERS = Path(__file__).resolve().parent / "peer_readers.py"
BOX, PIXEL, COUNT = 48, 4.0, 400
PATIENCE = 900  # seconds of one program


@dataclass(frozen=True)
class Peer:
    """A program that reads lists.

    Parameters
    ----------
    title : for the table.
    folder : of its environment, below the folder of environments.
    packages : what pip installs there.
    endings : of the lists that it reads.
    needs_ctf : whether it refuses lists without CTF.
    """

    title: str
    folder: str
    packages: tuple[str, ...]
    endings: tuple[str, ...]
    needs_ctf: bool = False


PEERS = {
    "starfile": Peer("starfile", "tools", ("cryosparc-tools", "starfile"), (".star",)),
    "cryosparc": Peer("cryosparc-tools", "tools", ("cryosparc-tools", "starfile"), (".cs",)),
    "cryodrgn": Peer("cryoDRGN", "cryodrgn", CRYODRGN_PACKAGES, (".star", ".cs")),
    "recovar": Peer("recovar", "recovar", ("recovar",), (".star", ".cs"), needs_ctf=True),
    "aspire": Peer("ASPIRE", "aspire", ("aspire",), (".star",)),
}

# Largest difference that is still the same number; what text and float32 lose.
TOLERANCES = {
    "rotation": 2e-5,
    "shift": 2e-3,
    "defocus_u": 0.1,
    "defocus_v": 0.1,
    "defocus_angle": 2e-3,
    "voltage": 1e-3,
    "spherical_aberration": 1e-4,
    "amplitude_contrast": 1e-5,
    "phase_shift": 1e-3,
    "b_factor": 1e-2,
    "pixel_size": 1e-4,
    "pixel_sum": 1e-2,
    "half": 0.0,
    "group": 0.0,
}
UNITS = {"shift": "Å", "defocus_u": "Å", "defocus_v": "Å", "defocus_angle": "°", "voltage": "kV", "phase_shift": "°"}
SAME_FSC = 0.005
LIKENESS = "correlation with relion_reconstruct"
ALIKE = 0.5  # correlation of relion_refine's map, regularised and masked, with relion_reconstruct's


@dataclass(frozen=True)
class Export:
    """A list that we wrote.

    Parameters
    ----------
    name : what was done, for the table.
    path : relative to the set's folder.
    particles : places in the simulated set, in the order of the list; None for all.
    ctf : whether the list has one.
    unread : peers that cannot read such a list, and why.
    """

    name: str
    path: str
    particles: tuple[int, ...] | None = None
    ctf: bool = True
    unread: dict[str, str] = field(default_factory=dict)


@dataclass
class Row:
    """What one peer read of one export.

    Parameters
    ----------
    export, peer : names.
    differences : the largest by quantity.
    figures : others, of RELION.
    wrong : what is beyond its tolerance, or why it was not read; empty where all is right.
    note : why the peer cannot read such a list, whoever writes it.
    """

    export: str
    peer: str
    differences: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    note: str = ""


# Comparing --------------------------------------------------------------------------------------


def rotation_of(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return rotations from model to image of whatever a peer gave: matrices, angles or vectors.

    R = Rz(psi) Ry(tilt) Rz(rot) of passive matrices is the transpose of the active z-y-z rotation; cryoSPARC's vector
    is that of the transpose, too.
    """
    if "rotation" in found:
        return np.asarray(found["rotation"], np.float64)
    if "angles" in found:
        active = Rotation.from_euler("ZYZ", found["angles"], degrees=True)
    else:
        active = Rotation.from_rotvec(found["rotation_vector"])
    return active.as_matrix().transpose(0, 2, 1)


def expected_of(particles: ParticleSet, sums: np.ndarray, chosen: Sequence[int] | None) -> dict[str, np.ndarray]:
    """Return what a peer should read of a list, in the units of `peer_readers`.

    Parameters
    ----------
    particles : the simulated set.
    sums : of the pixels of its images.
    chosen : the particles of the list, in its order; None for all.
    """
    rows = np.arange(len(particles)) if chosen is None else np.asarray(chosen)
    particles = particles.take(rows)
    expected = {"pixel_sum": sums[rows], "pixel_size": particles.pixel_size}
    if particles.pose is not None:
        expected |= {"rotation": particles.pose.rotation, "shift": particles.pose.shift}
    if particles.ctf is not None:
        names = [name for name in TOLERANCES if hasattr(particles.ctf, name)]
        expected |= {name: np.asarray(getattr(particles.ctf, name), np.float64) for name in names}
        expected |= {name: np.rad2deg(expected[name]) for name in ("defocus_angle", "phase_shift")}
    if particles.half_set is not None:
        expected["half"] = particles.half_set + 1
    return expected


def compare(expected: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> tuple[dict[str, float], list[str]]:
    """Return the largest difference of every quantity that both have, and what is wrong.

    Defocus angles are compared modulo 180°, and only as far as there is astigmatism.
    """
    found = {**found, "rotation": rotation_of(found)}
    count = len(expected["pixel_sum"])
    if len(found["rotation"]) != count:
        return {}, [f"{len(found['rotation'])} particles; expected {count}"]
    differences, wrong = {}, []
    for name in TOLERANCES:
        if name not in expected or name not in found:
            continue
        difference = np.abs(np.asarray(found[name], np.float64) - expected[name])
        if name == "defocus_angle":
            difference = np.minimum(difference % 180, 180 - difference % 180)
            difference = difference * (np.abs(expected["defocus_u"] - expected["defocus_v"]) > 1)
        differences[name] = float(difference.max())
        if not differences[name] <= TOLERANCES[name]:
            wrong.append(f"{name} differs by {differences[name]:.3g} {UNITS.get(name, '')}".rstrip())
    return differences, wrong


def grouped_alike(optics: np.ndarray, group: np.ndarray) -> bool:
    """Return whether every group holds particles of one optics (rows) alone."""
    return all(len(np.unique(optics[group == one], axis=0)) == 1 for one in np.unique(group))


def shell_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Fourier shell correlation of two maps, shells 1 to n / 2 - 1."""
    n = len(one)
    transforms = [np.fft.fftn(volume) for volume in (one, other)]
    k = np.fft.fftfreq(n) * n
    shell = np.rint(np.sqrt(sum(axis**2 for axis in np.meshgrid(k, k, k, indexing="ij")))).astype(int).ravel()

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(shell, values.real.ravel())[1 : n // 2]

    first, second = transforms
    return summed(first * second.conj()) / np.sqrt(summed(np.abs(first) ** 2) * summed(np.abs(second) ** 2))


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean shell correlation of two maps between 1/16 and 1/4 of the sampling frequency.

    Below, relion_refine's maps differ by its mask of the particles' background, above by its regularisation.
    """
    n = len(one)
    return float(shell_correlation(one, other)[n // 16 - 1 : n // 4 - 1].mean())


def version_of(python: Path, peer: Peer) -> str:
    """Return the version of a peer's last package."""
    name = peer.packages[-1].partition("==")[0] if peer.title != "cryosparc-tools" else "cryosparc-tools"
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


# The sets and what is exported ------------------------------------------------------------------


def program(command: str, folder: Path) -> None:
    """Run one of our programs, or one on PATH, in a folder.

    Raises
    ------
    UserError : with the last line that it said, if it fails.
    """
    name, *arguments = shlex.split(command)
    if name == "e2hype_import.py":
        imported(arguments, folder)
        return
    start = [sys.executable, str(PROGRAMS / name)] if name.startswith("e2hype_") else [name]
    done = subprocess.run([*start, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
        raise UserError(f"{command}: exit code {done.returncode}: {said}")


def imported(arguments: Sequence[str], folder: Path) -> None:
    """Run e2hype_import.py in this process, which has its parts loaded already.

    Raises
    ------
    UserError : with the last line that it said, if it fails.
    """
    here, said = os.getcwd(), io.StringIO()
    main = runpy.run_path(str(PROGRAMS / "e2hype_import.py"))["main"]
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(list(arguments))
    finally:
        os.chdir(here)
    if code:
        raise UserError(
            f"e2hype_import.py {shlex.join(arguments)}: exit code {code}: {said.getvalue().splitlines()[-1]}"
        )


OPTICS = """data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnImageSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
1 4.0 48 300 2.7 0.1
2 4.0 48 200 2.0 0.07

data_particles

loop_
_rlnImageName #1
_rlnOpticsGroup #2
_rlnDefocusU #3
_rlnDefocusV #4
_rlnDefocusAngle #5
_rlnPhaseShift #6
_rlnCtfBfactor #7
"""


def write_ctfs(path: Path) -> None:
    """Write a list of CTFs of two optics groups, with astigmatism, phase shifts and B-factors."""
    random = np.random.default_rng(3)
    rows = []
    for i in range(100):
        u = random.uniform(9000, 22000)
        values = (u, u - random.uniform(0, 900), random.uniform(0, 180), random.uniform(0, 90), random.uniform(0, 60))
        rows.append(f"{i + 1:06d}@none.mrcs {1 + i % 2} " + " ".join(f"{value:.3f}" for value in values))
    path.write_text(OPTICS + "\n".join(rows) + "\n")


def simulate(folder: Path) -> None:
    """Simulate the set of two optics groups, and one without CTF."""
    write_ctfs(folder / "ctfs.star")
    size = f"--n {COUNT} --box {BOX} --apix {PIXEL:g} --structures 1 --snr 0.5 --seed 11"
    program(f"e2hype_simulate.py mixture optics {size} --ctf_from ctfs.star", folder)
    program(f"e2hype_simulate.py mixture noctf {size} --noctf", folder)


def write_relion30(particles: ParticleSet, path: Path, stack: str) -> None:
    """Write particles as RELION 3.0 does: one block, shifts in pixels, optics in every row."""
    labels = "ImageName AngleRot AngleTilt AnglePsi OriginX OriginY DefocusU DefocusV DefocusAngle Voltage "
    labels += "SphericalAberration AmplitudeContrast PhaseShift CtfBfactor Magnification DetectorPixelSize"
    active = Rotation.from_matrix(np.asarray(particles.pose.rotation, np.float64).transpose(0, 2, 1))
    ctf = particles.ctf
    columns = [*active.as_euler("ZYZ", degrees=True).T, *(-np.asarray(particles.pose.shift).T / PIXEL)]
    columns += [ctf.defocus_u, ctf.defocus_v, np.rad2deg(ctf.defocus_angle), ctf.voltage, ctf.spherical_aberration]
    columns += [ctf.amplitude_contrast, np.rad2deg(ctf.phase_shift), ctf.b_factor]
    columns += [np.full(len(particles), 10000.0), np.full(len(particles), PIXEL)]
    head = "".join(f"_rln{label} #{i}\n" for i, label in enumerate(labels.split(), 1))
    rows = "\n".join(
        f"{index + 1:06d}@{stack} " + " ".join(f"{float(value):.6f}" for value in values)
        for index, *values in zip(particles.image_index, *columns, strict=True)
    )
    path.write_text(f"\ndata_images\n\nloop_\n{head}{rows}\n")


CONVERSIONS = (
    (".star → .lst → .star", "optics/particles.star", "a.lst", "a.star"),
    (".star → .cs", "optics/particles.star", "b.cs", None),
    (".star → .lst → .cs", "optics/particles.star", "a.lst", "c.cs"),
    (".lst → .star", "optics/particles.lst", "d.star", None),
    (".lst → .cs", "optics/particles.lst", "e.cs", None),
    (".cs → .star", "b.cs", "f.star", None),
    (".cs → .lst → .star", "b.cs", "g.lst", "g.star"),
    (".cs → .lst → .cs", "b.cs", "g.lst", "h.cs"),
)


def conversions(folder: Path, failures: list[Row]) -> Iterator[Export]:
    """Yield the simulator's own list and every conversion by e2hype_import.py."""
    yield Export("the simulator's list", "optics/particles.star")
    for name, source, first, second in CONVERSIONS:
        output = second or first
        if _tried(name, failures, lambda s=source, f=first, o=second: _convert(folder, s, f, o)):
            yield Export(name, output)


def _convert(folder: Path, source: str, first: str, second: str | None) -> None:
    if not (folder / first).exists():
        program(f"e2hype_import.py {source} --output {first}", folder)
    if second is not None:
        flag = "--lst2star" if second.endswith(".star") else "--lst2cs"
        program(f"e2hype_import.py {first} {flag} {second}", folder)


def _tried(name: str, failures: list[Row], work: Callable[[], None]) -> bool:
    try:
        work()
    except (UserError, subprocess.TimeoutExpired, OSError) as failure:
        failures.append(Row(name, "libhetero", wrong=[str(failure)]))
        return False
    return True


NO_QUOTES = "it knows no quotes"
NO_HASH = "it takes # for the start of another format's name"
ODD_NAMES: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("' in the name", "grid's.mrcs", "quote", {"starfile": "it turns ' into another quote"}),
    ("# in the name", "grid#1.mrcs", "hash", {"starfile": "it takes # for the start of a comment", "relion": NO_HASH}),
    ("a space in the name", "grid 1.mrcs", "gap", dict.fromkeys(("aspire", "cryodrgn", "recovar"), NO_QUOTES)),
)
HALF_A_CTF = {"aspire": "it wants all of a CTF or none, RELION voltage and Cs of every image"}


def odd_lists(folder: Path, failures: list[Row]) -> Iterator[Export]:
    """Yield RELION 3.0 lists, lists without CTF, odd names and lists over .hdf."""
    particles = read_particles(folder / "optics" / "particles.star", datadir=folder)
    write_relion30(particles, folder / "r30.star", "optics/particles.mrcs")
    for name, first, second in (
        ("RELION 3.0 → .lst → .star", "r30.lst", "r30_back.star"),
        ("RELION 3.0 → .star", "r30_direct.star", None),
        ("RELION 3.0 → .cs", "r30.cs", None),
    ):
        if _tried(name, failures, lambda f=first, s=second: _convert(folder, "r30.star", f, s)):
            yield Export(name, second or first)
    for name, first, second in (
        ("without CTF → .lst → .star", "without_ctf.lst", "without_ctf.star"),
        ("without CTF → .cs", "without_ctf.cs", None),
    ):
        if _tried(name, failures, lambda f=first, s=second: _convert(folder, "noctf/particles.star", f, s)):
            yield Export(name, second or first, ctf=False, unread=HALF_A_CTF)
    for name, stack, place, unread in ODD_NAMES:
        shutil.copy(folder / "optics" / "particles.mrcs", folder / stack)
        listed = (folder / "optics" / "particles.lst").read_text().splitlines()
        lines = [line.replace("optics/particles.mrcs", stack).rstrip() for line in listed]
        width = max(map(len, lines)) + 5
        lines[2] = f"# {width}"
        text = "\n".join([*lines[:3], *(line.ljust(width - 1) for line in lines[3:])]) + "\n"
        (folder / f"{place}.lst").write_text(text)
        for ending in (".star", ".cs"):
            output = f"{place}{ending}"
            if _tried(f"{name}, {ending}", failures, lambda s=f"{place}.lst", o=output: _convert(folder, s, o, None)):
                yield Export(f"{name}, {ending}", output, unread=unread)
    yield from _over_hdf(folder, failures)


def _over_hdf(folder: Path, failures: list[Row]) -> Iterator[Export]:
    from libhetero.io import write_particles

    particles = read_particles(folder / "optics" / "particles.star", datadir=folder)
    write_particles(folder / "images.hdf", particles)
    for ending in (".star", ".cs"):
        name, output = f"a list over .hdf → {ending}", f"hdf{ending}"
        command = f"e2hype_import.py images.hdf --output {output} --stack copied_{ending[1:]}.mrcs"
        if _tried(name, failures, lambda c=command: program(c, folder)):
            yield Export(name, output)


REFINE = (
    "optics/particles.star --pointtransformer --preset small --decoder mlp --set encoder_width=16 --set mlp_width=16 "
    "--nmid 3 --model gmm.txt --niter 1 --batchsz 50 --seed 5 --path run"
)


def class_lists(folder: Path, failures: list[Row]) -> Iterator[Export]:
    """Yield the lists of classes of a run, by its latents and by its regions, and what --lst2star makes of them."""

    def train() -> None:
        program("e2hype_guess_n.py optics/truth/map_000.mrc gmm.txt --ngauss 60 --niter 20", folder)
        program(f"e2hype_refine.py {REFINE}", folder)

    if not (folder / "run" / "mid_00.txt").exists() and not _tried("a run", failures, train):
        return
    steps = (
        ("e2hype_embed.py run --method pca --classes 2 --lists", "classes_particles.txt", "class_{:02d}"),
        ("e2hype_segment.py run --classes 2 --constant 0 --eps 3", "classes_region_01.txt", "region_01_class_{:02d}"),
    )
    for command, table, stem in steps:
        if not _tried(command, failures, lambda c=command: program(c, folder)):
            continue
        if not (folder / "run" / table).exists():
            failures.append(Row(command, "libhetero", wrong=[f"no {table}"]))
            continue
        index, label = np.loadtxt(folder / "run" / table)[:, :2].astype(int).T
        for one in np.unique(label[label >= 0]):
            members = tuple(int(i) for i in index[label == one])
            name = f"run/{stem.format(one)}"
            yield Export(f"{stem.format(one)}.star", f"{name}.star", members)
            for flag, ending in (("--lst2star", ".star"), ("--lst2cs", ".cs")):
                output = f"{stem.format(one)}_exported{ending}"
                work = lambda n=name, f=flag, o=output: program(f"e2hype_import.py {n}.lst {f} {o}", folder)  # noqa: E731
                if _tried(output, failures, work):
                    yield Export(f"{stem.format(one)}.lst {flag}", output, members)


# Peers at work ----------------------------------------------------------------------------------


def read_by(name: str, python: Path, lists: Sequence[str], folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return what a peer reads of lists, by their names; `error` alone where it does not."""
    place = folder / "found" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    clean = os.environ | {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    clean.pop("PYTHONPATH", None)
    command = [python, READERS, name, place, *lists]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=clean, timeout=PATIENCE)
    found = {}
    for path in lists:
        output = place / f"{Path(path).name}.npz"
        if output.exists():
            with np.load(output) as read:
                found[path] = dict(read)
        else:
            found[path] = {"error": np.array((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])}
    return found


def peer_row(name: str, export: Export, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> Row:
    """Return what one peer read of one export, compared."""
    row = Row(export.name, PEERS[name].title)
    if "error" in found and name in export.unread:
        row.note = f"not read: {export.unread[name]}"
        return row
    if "error" in found:
        row.wrong.append(" ".join(str(found["error"]).split())[:300])
        return row
    row.differences, row.wrong = compare(expected, found)
    if "group" in found and export.ctf and not row.wrong:
        optics = np.stack([expected[key] for key in ("voltage", "spherical_aberration", "amplitude_contrast")], axis=1)
        if not grouped_alike(optics.round(4), found["group"]):
            row.wrong.append("a group holds particles of different optics")
    if "uid" in found and len(np.unique(found["uid"])) != len(found["uid"]):
        row.wrong.append("uids are not unique")
    return row


def relion_rows(
    exports: Sequence[Export], folder: Path, expected: Callable[[Export], dict], tools: Path
) -> Iterator[Row]:
    """Yield what RELION makes of every .star: a map by relion_reconstruct, and one iteration of relion_refine."""
    own: dict[bool, np.ndarray] = {}
    for export in exports:
        if not export.path.endswith(".star"):
            continue
        if "relion" in export.unread:
            yield Row(export.name, "RELION", note=f"not read: {export.unread['relion']}")
            continue
        row = Row(export.name, "relion_reconstruct")
        output = f"relion_{Path(export.path).stem}.mrc"
        try:
            program(
                f"relion_reconstruct --i '{_quoted(export.path)}' --o {output}{' --ctf' if export.ctf else ''}", folder
            )
            made = read_volume(folder / output)[0]
            truth = read_volume(folder / ("optics" if export.ctf else "noctf") / "truth" / "map_000.mrc")[0]
            fsc = shell_correlation(made, truth)
            row.figures["FSC to truth"] = float(fsc.mean())
            if export.particles is None:
                reference = own.setdefault(export.ctf, fsc)
                row.figures["against the own list"] = float(np.abs(fsc - reference).max())
                if row.figures["against the own list"] > SAME_FSC:
                    row.wrong.append(f"FSC to truth differs by {row.figures['against the own list']:.3f}")
        except (UserError, subprocess.TimeoutExpired) as failure:
            row.wrong.append(str(failure))
        yield row
        yield refined_row(export, folder, output, expected(export), tools)


def _quoted(path: str) -> str:
    return path.replace("'", "'\\''")


def refined_row(export: Export, folder: Path, reference: str, expected: dict[str, np.ndarray], tools: Path) -> Row:
    """Return what one iteration of relion_refine --skip_align reads and makes of a list."""
    row = Row(export.name, "relion_refine")
    place = f"refined_{Path(export.path).stem}"
    (folder / place).mkdir(exist_ok=True)
    ctf = "--ctf" if export.ctf else ""
    try:
        program(
            f"relion_refine --i '{_quoted(export.path)}' --o {place}/r --ref {reference} --skip_align --iter 1 --K 1 "
            f"{ctf} --particle_diameter {0.9 * BOX * PIXEL:g} --tau2_fudge 4 --pad 1 --j 2 --norm --ini_high 12",
            folder,
        )
        map_, given = (read_volume(folder / name)[0] for name in (f"{place}/r_it001_class001.mrc", reference))
        row.figures[LIKENESS] = alike(map_, given)
        if not row.figures[LIKENESS] > ALIKE:
            row.wrong.append("the map is another one")
        written = f"{place}/r_it001_data.star"
        found = read_by("starfile", tools, [written], folder)[written]
        if "error" in found and "starfile" not in export.unread:
            row.wrong.append(str(found["error"]))
        elif "error" not in found:
            row.differences, wrong = compare(expected, found)
            row.wrong += wrong
    except (UserError, subprocess.TimeoutExpired, OSError) as failure:
        row.wrong.append(str(failure))
    return row


def union_row(exports: Sequence[Export], folder: Path, tools: Path) -> Row | None:
    """Return whether cryosparc-tools keeps every particle of two classes in their union."""
    tables = [export.path for export in exports if export.path.endswith(".cs") and export.particles is not None]
    if len(tables) < 2:
        return None
    row = Row("two classes as .cs", "cryosparc-tools")
    command = [tools, READERS, "union", ".", *tables[:2]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        row.wrong.append(done.stderr.strip().splitlines()[-1])
        return row
    with np.load(folder / "union.npz") as found:
        joined, apart = (int(value) for value in found["rows"])
    row.figures = {"rows of the union": joined, "rows": apart}
    if joined != apart:
        row.wrong.append(f"the union of {apart} particles has {joined}")
    return row


# All of it --------------------------------------------------------------------------------------


def run(options: argparse.Namespace, folder: Path) -> tuple[list[Row], dict[str, str]]:
    """Simulate, export, let every peer read, and return rows and versions."""
    environments = Path(options.environments).resolve()
    pythons: dict[str, Path] = {}
    versions: dict[str, str] = {}
    rows: list[Row] = []
    for name, peer in PEERS.items():
        if options.only and name not in options.only:
            continue
        try:
            pythons[name] = python_of(environments / peer.folder, peer.packages)
            versions[peer.title] = version_of(pythons[name], peer)
        except (UserError, OSError) as failure:
            versions[peer.title] = f"not installed: {failure}"
    if not (folder / "optics").exists():
        simulate(folder)
    exports = [*conversions(folder, rows), *odd_lists(folder, rows)]
    if not options.fast:
        exports += class_lists(folder, rows)
    sets = {ctf: _whole(folder / name / "particles.star") for ctf, name in ((True, "optics"), (False, "noctf"))}

    def expected(export: Export) -> dict[str, np.ndarray]:
        return expected_of(*sets[export.ctf], export.particles)

    for name, python in pythons.items():
        reads = [export for export in exports if Path(export.path).suffix in PEERS[name].endings]
        mine = [export for export in reads if export.ctf or not PEERS[name].needs_ctf]
        found = read_by(name, python, [export.path for export in mine], folder)
        rows += [told(peer_row(name, export, found[export.path], expected(export))) for export in mine]
    tools = pythons.get("starfile")
    if tools is not None:
        joined = union_row(exports, folder, tools)
        rows += [told(joined)] if joined else []
        if shutil.which("relion_reconstruct") and (not options.only or "relion" in options.only):
            versions["RELION"] = _relion_version()
            rows += [told(row) for row in relion_rows(exports, folder, expected, tools)]
        else:
            versions.setdefault("RELION", "not on PATH")
    return rows, versions


def _whole(path: Path) -> tuple[ParticleSet, np.ndarray]:
    from libhetero.io import ImageReader

    particles = read_particles(path, datadir=path.parents[1])
    with ImageReader(particles) as reader:
        sums = reader.read(np.arange(len(particles))).sum(axis=(1, 2), dtype=np.float64)
    return particles, sums


def _relion_version() -> str:
    said = subprocess.run(["relion_refine", "--version"], capture_output=True, text=True).stdout
    words = said.replace("RELION version:", "").split()
    return words[0] if words else "unknown"


def told(row: Row) -> Row:
    """Print a row, and return it."""
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row.figures.items())
    verdict = "; ".join(row.wrong) or row.note or "the same"
    print(f"{row.export:<34}{row.peer:<20}{verdict}{f' ({figures})' if figures else ''}", flush=True)
    return row


def worst_of(differences: dict[str, float]) -> str:
    """Return the quantity that differs most for what is allowed."""
    share = {name: value / TOLERANCES[name] for name, value in differences.items() if TOLERANCES[name] and value > 0}
    if not share:
        return "no difference"
    name = max(share, key=lambda one: share[one])
    return f"{name} {differences[name]:.1g} {UNITS.get(name, '')}".rstrip()


def markdown(rows: Sequence[Row], versions: dict[str, str]) -> str:
    """Return the page docs/handover.md."""
    alike = {row.export: row.figures[LIKENESS] for row in rows if LIKENESS in row.figures} or {"none": np.nan}
    least_of = min(alike, key=lambda name: alike[name])
    lines = [
        PAGE.format(
            count=COUNT,
            box=BOX,
            pixel=PIXEL,
            versions=", ".join(f"{k} {v}" for k, v in versions.items()),
            alike=ALIKE,
            least=f"{alike[least_of]:.2f}",
            least_of=least_of,
            most=f"{next(iter(alike.values())):.2f}",
        )
    ]
    lines += ["| list | read by | compared, and the largest difference for what is allowed | |", "|---|---|---|---|"]
    for row in rows:
        numbers = [f"{name} {value:.3g}" for name, value in row.figures.items()]
        numbers += [f"{len(row.differences)} quantities, {worst_of(row.differences)}"] if row.differences else []
        verdict = f"**{'; '.join(row.wrong)}**" if row.wrong else row.note or "the same"
        lines.append(f"| {row.export} | {row.peer} | {', '.join(numbers)} | {verdict} |".replace("_", " "))
    right = [row for row in rows if not row.wrong]
    lines += ["", "| quantity | largest difference of all that were the same | allowed |", "|---|---|---|"]
    for name, allowed in TOLERANCES.items():
        worst = max((row.differences.get(name, 0.0) for row in right), default=0.0)
        lines.append(f"| {name.replace('_', ' ')} | {worst:.2g} {UNITS.get(name, '')} | {allowed:g} |")
    return "\n".join(lines) + "\n"


PAGE = """# Hand-over to other programs

This page shows that other programs read from our lists what we mean. Every list that libhetero exports was opened by
the programs to which our users hand lists, and the numbers that they read were compared with those of the simulated
set: rotations as matrices, shifts in Å, defocus, voltage, spherical aberration, amplitude contrast, phase shift,
B-factor and pixel size, and every image by the sum of its pixels. The set holds {count} images of {box} pixels of
{pixel:g} Å in two optics groups (300 and 200 kV), with astigmatism, phase shifts and B-factors; a second set has no
CTF. RELION also reconstructed a map from each list. The Fourier shell correlation of this map with the true one must
be the same as for the map from the simulator's own list, within 0.005 in every shell.

One iteration of `relion_refine --skip_align` ran on each list, too. The list that it writes must have the same
numbers, and its map must correlate with that of `relion_reconstruct` by more than {alike} (mean over the shells from
1/16 to 1/4 of the sampling frequency). This only tells a right map from a wrong one, because RELION regularizes and
masks its map. Lists of few particles are regularized more and correlate less, as the lists of one class below
({least} for {least_of}; the simulator's list: {most}).

In the table, `→` means "exported to": `.star → .lst → .star` is a RELION list that was imported into a project list
and exported again. "Not read" names what a program could not open, and why. The command

```bash
python benchmarks/handover.py --environments environments --json handover.json --markdown docs/handover.md
```

makes the environments of the other programs, simulates, exports, compares, and writes this page. The versions were:
{versions}.

"""


def build_parser() -> argparse.ArgumentParser:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--environments", metavar="DIR", required=True, help="folder of the peers' environments, made where they lack")
    add("--only", nargs="+", choices=(*PEERS, "relion"), help="these peers alone (default: all)")
    add("--fast", action="store_true", help="without the lists of classes, which want a training")
    add("--json", metavar="FILE", help="write the figures here")
    add("--markdown", metavar="FILE", help="write the page here")
    add("--work", metavar="FOLDER", help="work here and leave the files (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Hand over; return 0 if every number is the same, else 1."""
    options = build_parser().parse_args(argv)
    try:
        with WorkFolder(options.work, keep=False, mark="ctfs.star") as folder:
            rows, versions = run(options, folder)
        if options.json:
            table = [vars(row) for row in rows]
            write_json(Path(options.json), {**environment(), "versions": versions, "rows": table})
        if options.markdown:
            Path(options.markdown).write_text(markdown(rows, versions))
    except (UserError, OSError) as error:
        print(f"handover.py: {error}", file=sys.stderr)
        return 1
    return 1 if any(row.wrong for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
