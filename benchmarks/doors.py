"""Every reader of the library by the door that a program uses, with a valid file for each.

`make_inputs` writes the files, by the project's own writers and programs; a `Kind` names one of them, what it is made
of, and the call that reads it in the current folder. What a door imports, it imports itself: a tree of another
version may lack one.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

import libhetero
from libhetero.errors import UserError
from libhetero.io import MrcsWriter, write_gaussians, write_latent, write_particles, write_volume
from libhetero.records import CTFParams, Gaussians, ParticleSet, Pose

PROGRAMS = Path(libhetero.__file__).resolve().parents[1] / "programs"
COUNT, BOX, PIXEL = 12, 16, 8.0
OUTPUTS = (".lst", ".star", ".cs")
SIMULATE = "--n 12 --box 16 --apix 8 --snr 1 --seed 3"
REFINE = (
    "particles.star --pointtransformer --preset small --decoder mlp --set encoder_width=16 --set mlp_width=16 --nmid 3 "
    "--model gmm.txt --niter 1 --batchsz 6 --seed 5 --checkpoint 1 --report 1 --path run"
)


@dataclass(frozen=True)
class Kind:
    """A kind of file that the library reads.

    Parameters
    ----------
    name : for people and for --only.
    file : damaged, in the folder of the inputs; one of those that fit, where it is a pattern.
    structure : what it is made of, of `damage.STRUCTURES`.
    door : reads it in the current folder, in one of several ways by a number.
    command : of a program that reads it, run as a whole for some trials; "" for none.
    heavy : whether it lies in a folder that programs must make first, or wants JAX to be read.
    says : one of these must stand in a refusal; the file's own name where there are none.
    """

    name: str
    file: str
    structure: str
    door: Callable[[int], object]
    command: str = ""
    heavy: bool = False
    says: tuple[str, ...] = ()


# Doors ------------------------------------------------------------------------------------------


def particles_of(name: str, **tables: str) -> Callable[[int], object]:
    """Return a door that imports a list to .lst, .star or .cs, or loads it as training does."""

    def door(turn: int) -> object:
        from libhetero.io import ImageReader
        from libhetero.pipelines.importing import ImportConfig
        from libhetero.pipelines.importing import run as import_
        from libhetero.pipelines.run.data import DataConfig
        from libhetero.pipelines.run.particles import load_particles

        if turn % 4 < len(OUTPUTS):
            return import_(ImportConfig(particles=name, output=f"out{OUTPUTS[turn % 4]}", **tables))
        particles = load_particles(DataConfig(particles=name, **tables))
        with ImageReader(particles, check_finite=True) as reader:
            return reader.read(np.arange(min(len(particles), 5)))

    return door


def map_of(name: str) -> Callable[[int], object]:
    """Return a door that reads a map, to fit Gaussians to or to cut it in pieces."""

    def door(turn: int) -> object:
        from libhetero.pipelines.guess import GuessConfig
        from libhetero.pipelines.guessing.goal import map_to_fit
        from libhetero.simulate.sources import maps_as_pieces

        if turn % 3 == 0:
            return maps_as_pieces([name, "other.mrc"], PIXEL)
        return map_to_fit(GuessConfig(source=name, output="out.txt"))

    return door


def mask(turn: int) -> object:
    """Read starting Gaussians and the mask of those that may change."""
    from libhetero.pipelines.run.starting_mixture import starting_mixture

    data = SimpleNamespace(reference="gmm.txt", mask="mask.mrc")
    config = SimpleNamespace(family="gmm", data=data, model=SimpleNamespace(symmetry="c1"))
    return starting_mixture(config, SimpleNamespace(box_size=BOX, pixel_size=PIXEL))  # type: ignore[arg-type]


def model_of(name: str) -> Callable[[int], object]:
    """Return a door that reads an atomic model, whole or in pieces."""

    def door(turn: int) -> object:
        from libhetero.simulate.sources import model_in_compact_pieces, whole_model

        b_factor = 50.0 if turn % 2 else None
        return whole_model(name, b_factor) if turn % 3 else model_in_compact_pieces(name, 2, 0, b_factor)

    return door


def segments(turn: int) -> object:
    """Read which chains make a piece."""
    from libhetero.simulate.sources import segmented_model

    return segmented_model("model.pdb", "segments.json", 50.0)


def domains(turn: int) -> object:
    """Read domains with hinges and axes."""
    from libhetero.simulate.sources import model_in_domains

    return model_in_domains("model.pdb", "domains.json", 50.0)


def latents(turn: int) -> object:
    """Read a table of latents."""
    from libhetero.io import read_latent

    return read_latent("mid_00.txt")


def classes(turn: int) -> object:
    """Read a table of classes."""
    from libhetero.pipelines.decoding.class_files import read_classes

    return read_classes("classes.txt", COUNT)


def regions(turn: int) -> object:
    """Read the region of every Gaussian."""
    from libhetero.pipelines.scoring.regions import read_regions

    return read_regions(Path("."), COUNT)


def truth_in(folder: str) -> Callable[[int], object]:
    """Return a door that opens a truth folder and reads what scoring reads of it."""

    def door(turn: int) -> object:
        from libhetero.pipelines.scoring.truth import open_truth

        truth = open_truth(folder)
        known = (truth.labels, truth.states, truth.angles, truth.position, truth.piece)
        if truth.has_maps:
            truth.mass(truth.map(0))
        return [np.asarray(one).sum() for one in known if one is not None]

    return door


def run_folder(turn: int) -> object:
    """Open a run as every program after training does."""
    from libhetero.pipelines.run.folder import open_run

    return open_run("run")


def latents_of_run(turn: int) -> object:
    """Read a run's latents, the basis of reduced ones, its plane and its classes."""
    from libhetero.pipelines.decoding.class_files import read_classes
    from libhetero.pipelines.decoding.latents import lifted_latents, particle_latents
    from libhetero.pipelines.decoding.points import particle_plane
    from libhetero.pipelines.run.folder import open_run

    run = open_run("run")
    latent = particle_latents(run, 6)
    lifted_latents(run, latent[:2], "mid_00.txt", 6)
    return particle_plane(run), read_classes("run/classes_particles.txt", COUNT)


def log_of_run(turn: int) -> object:
    """Read the log as the figure of the loss does, and as going back does."""
    from libhetero.report.training import draw_training
    from libhetero.training.log import _keep_lines, read_log

    draw_training("run/loss.png", read_log("run/log.jsonl"))
    return _keep_lines(Path("run/log.jsonl"), 1)


def begun_set(turn: int) -> object:
    """Go on with an interrupted simulation."""
    from libhetero.pipelines.simulate import SimulateConfig
    from libhetero.pipelines.simulate import run as simulate

    return simulate(
        SimulateConfig(
            kind="assembly",
            folder="begun",
            particles=COUNT,
            box_size=BOX,
            pixel_size=PIXEL,
            snr=1.0,
            seed=3,
            resume=True,
        )
    )


IMPORT = "e2hype_import.py {} --output out.lst"
IMAGES, LISTED = "e2hype_import.py images.lst --output out.lst", "e2hype_import.py particles.star --output out.lst"
GUESS = "e2hype_guess_n.py {} out.txt --ngauss 8 --niter 1"
OPEN = "e2hype_eval.py run --particles 0"
STACKS = ("particles.mrcs", "second.mrcs")  # a list that asks for more than there is
TRUTHS = ("mixture", "assembly", "motion")
RUN_SAYS = ("run", "particles.star")

KINDS = (
    Kind("star 3.1", "particles.star", "star", particles_of("particles.star"), IMPORT, says=STACKS),
    Kind("star 3.0", "relion30.star", "star", particles_of("relion30.star"), IMPORT, says=STACKS),
    Kind("star 5", "relion5.star", "star", particles_of("relion5.star"), IMPORT, says=STACKS),
    Kind("cs", "particles.cs", "npy", particles_of("particles.cs"), IMPORT, says=STACKS),
    Kind("csdat", "stream.cs", "bytes", particles_of("stream.cs"), IMPORT, says=STACKS),
    Kind("lst", "particles.lst", "text", particles_of("particles.lst"), IMPORT, says=STACKS),
    Kind("hdf", "particles.hdf", "hdf", particles_of("particles.hdf"), IMPORT),
    Kind("hdf of a list", "particles.hdf", "hdf", particles_of("images.lst"), IMAGES, says=("images.lst",)),
    Kind("mrcs", "particles.mrcs", "mrc", particles_of("particles.mrcs"), IMPORT),
    Kind("mrcs of a list", "particles.mrcs", "mrc", particles_of("particles.star"), LISTED, says=("particles.star",)),
    Kind("txt", "stacks.txt", "text", particles_of("stacks.txt"), IMPORT),
    Kind("poses", "poses.pkl", "pickle", particles_of("particles.mrcs", poses="poses.pkl", ctf="ctf.pkl"), says=STACKS),
    Kind("ctf", "ctf.pkl", "pickle", particles_of("particles.mrcs", poses="poses.pkl", ctf="ctf.pkl"), says=STACKS),
    Kind("indices", "indices.pkl", "pickle", particles_of("particles.star", indices="indices.pkl")),
    Kind("map", "map.mrc", "mrc", map_of("map.mrc"), GUESS),
    Kind("map, gzipped", "map.map.gz", "gzip", map_of("map.map.gz"), GUESS),
    Kind("map, hdf", "map.hdf", "hdf", map_of("map.hdf"), GUESS),
    Kind("mask", "mask.mrc", "mrc", mask),
    Kind("Gaussians", "gmm.txt", "text", mask),
    Kind("pdb", "model.pdb", "text", model_of("model.pdb"), f"{GUESS} --box 16 --apix 8"),
    Kind("pdb, gzipped", "model.pdb.gz", "gzipped text", model_of("model.pdb.gz")),
    Kind("cif", "model.cif", "text", model_of("model.cif"), f"{GUESS} --box 16 --apix 8"),
    Kind("segments", "segments.json", "json", segments),
    Kind("domains", "domains.json", "json", domains),
    Kind("latents", "mid_00.txt", "text", latents),
    Kind("classes", "classes.txt", "text", classes, "e2hype_make3d.py particles.star out --classes classes.txt"),
    Kind("regions", "regions.txt", "text", regions),
    *(
        Kind(f"{kind}: {file}", f"{kind}/truth/{file}", structure, truth_in(f"{kind}/truth"), heavy=True, says=(kind,))
        for kind in TRUTHS
        for file, structure in (
            ("truth.json", "json"),
            *((("labels.txt", "text"),) if kind != "motion" else ()),
            *((("atoms.npz", "npz"),) if kind != "mixture" else ()),
            {"mixture": ("map_000.mrc", "mrc"), "assembly": ("states.npy", "npy"), "motion": ("angles.npy", "npy")}[
                kind
            ],
        )
    ),
    Kind("begun.json", ".begun.part/begun.json", "json", begun_set, heavy=True, says=("begun",)),
    Kind("done.jsonl", ".begun.part/done_1_of_1.jsonl", "json lines", begun_set, heavy=True, says=("begun",)),
    Kind("run: config.json", "run/config.json", "json", run_folder, OPEN, heavy=True, says=RUN_SAYS),
    Kind("run: model.npz", "run/model.npz", "npz", run_folder, OPEN, heavy=True, says=("run",)),
    Kind("run: checkpoint", "run/checkpoints/*/**/*", "bytes", run_folder, OPEN, heavy=True, says=("run",)),
    Kind("run: checkpoint's JSON", "run/checkpoints/*/**/_*", "text", run_folder, OPEN, heavy=True, says=("run",)),
    Kind("run: log.jsonl", "run/log.jsonl", "json lines", log_of_run, heavy=True, says=("run",)),
    Kind("run: latents", "run/mid_00.txt", "text", latents_of_run, heavy=True, says=("run",)),
    Kind("run: basis", "run/mid_00_basis.npz", "npz", latents_of_run, heavy=True, says=("run",)),
    Kind("run: plane", "run/embed_particles.txt", "text", latents_of_run, heavy=True, says=("run",)),
    Kind("run: classes", "run/classes_particles.txt", "text", latents_of_run, heavy=True, says=("run",)),
)


def kind_named(name: str) -> Kind:
    """Return one of `KINDS`."""
    return next(kind for kind in KINDS if kind.name == name)


# The valid files --------------------------------------------------------------------------------


def make_inputs(folder: Path, heavy: bool) -> None:
    """Write a valid file of every kind into a folder.

    Parameters
    ----------
    folder : empty.
    heavy : also what the programs make: truths, a run, an interrupted simulation.
    """
    here = os.getcwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        _particles()
        _tables()
        _maps_and_models()
        if heavy:
            _made_by_programs()
    finally:
        os.chdir(here)


def _particles() -> None:
    random = np.random.default_rng(1)
    y, x = np.indices((BOX, BOX)) - BOX // 2
    stacks = []
    for name, count in (("particles.mrcs", COUNT), ("second.mrcs", 4)):
        images = random.normal(np.exp(-(x**2 + y**2) / 18), 0.3, (count, BOX, BOX)).astype(np.float32)
        with MrcsWriter(name, BOX, count, PIXEL) as writer:
            writer.write(images)
        stacks.append(os.path.abspath(name))
    particles = _particle_set(tuple(stacks), random)
    for ending in (".star", ".cs", ".lst", ".hdf"):
        write_particles(f"particles{ending}", particles)
    lines = Path("particles.lst").read_text().splitlines()
    width = max(map(len, lines)) + 5
    pointing = [f"{i}\tparticles.hdf\t{{}}".ljust(width) for i in range(COUNT)]
    Path("images.lst").write_text("\n".join([*lines[:2], f"# {width + 1}", *pointing]) + "\n")
    Path("stacks.txt").write_text("particles.mrcs\nsecond.mrcs\n")
    Path("relion5.star").write_text("\n# version 50001\n\n" + Path("particles.star").read_text())
    Path("relion30.star").write_text(_relion30(random))
    Path("stream.cs").write_bytes(_csdat(np.load("particles.cs")))


def _particle_set(files: tuple[str, ...], random: np.random.Generator) -> ParticleSet:
    axis, _ = np.linalg.qr(random.normal(size=(COUNT, 3, 3)))
    rotation = axis * np.linalg.det(axis)[:, None, None]
    ones = np.ones(COUNT)
    ctf = CTFParams(
        defocus_u=15000 + 1000 * random.random(COUNT),
        defocus_v=14500 * ones,
        defocus_angle=0.3 * ones,
        voltage=np.where(np.arange(COUNT) < 6, 300.0, 200.0),
        spherical_aberration=2.7 * ones,
        amplitude_contrast=0.1 * ones,
        phase_shift=0.2 * ones,
        b_factor=10 * ones,
        scale=0.9 * ones,
    )
    return ParticleSet(
        files=files,
        file_id=(np.arange(COUNT) % 4 == 3).astype(int),
        image_index=np.where(np.arange(COUNT) % 4 == 3, np.arange(COUNT) // 4, np.arange(COUNT)),
        box_size=np.full(COUNT, BOX),
        pixel_size=np.full(COUNT, PIXEL),
        pose=Pose(rotation=rotation.astype(np.float32), shift=random.normal(size=(COUNT, 2)).astype(np.float32)),
        ctf=ctf,
        half_set=np.arange(COUNT) % 2,
    )


def _relion30(random: np.random.Generator) -> str:
    labels = "Voltage SphericalAberration AmplitudeContrast DetectorPixelSize Magnification DefocusU DefocusV"
    labels += " DefocusAngle ImageName AngleRot AngleTilt AnglePsi OriginX OriginY RandomSubset PhaseShift CtfBfactor"
    names = "".join(f"_rln{label} #{i}\n" for i, label in enumerate(labels.split(), 1))
    rows = ""
    for i in range(COUNT):
        angles = " ".join(f"{angle:.3f}" for angle in random.uniform(0, 180, 3))
        rows += f"300 2.7 0.1 8 10000 15000 14800 30 {i + 1:06d}@particles.mrcs {angles} 1.5 -2 {1 + i % 2} 10 20\n"
    return f"\ndata_images\n\nloop_\n{names}{rows}\n"


def _csdat(rows: np.ndarray) -> bytes:
    """Return rows in cryosparc-tools' stream of columns, not compressed."""
    heap, columns, kinds = b"\0", [], []
    for name in rows.dtype.names or ():
        column, kind = rows[name], rows.dtype[name]
        if kind.kind == "S":
            places = []
            for value in column:
                places.append(len(heap))
                heap += value + b"\0"
            columns.append(np.array(places, "<u8").tobytes())
            kinds.append([name, "|O"])
        else:
            columns.append(column.tobytes())
            base, shape = kind.subdtype or (kind, ())
            kinds.append([name, base.str, list(shape)] if shape else [name, base.str])
    header = json.dumps({"length": len(rows), "dtype": kinds, "compression": None, "compressed_fields": []}).encode()
    stream = b"\x95CSDAT" + struct.pack("<I", len(header)) + header
    return stream + b"".join(struct.pack("<I", len(column)) + column for column in columns) + heap


def _tables() -> None:
    random = np.random.default_rng(2)
    axis, _ = np.linalg.qr(random.normal(size=(COUNT, 3, 3)))
    poses = (axis * np.linalg.det(axis)[:, None, None]).astype("f4"), random.uniform(-0.1, 0.1, (COUNT, 2)).astype("f4")
    row = [BOX, PIXEL, 15000, 14500, 30, 300, 2.7, 0.1, 0]
    contents: dict[str, Any] = {
        "poses": poses,
        "ctf": np.tile(np.array(row, "f4"), (COUNT, 1)),
        "indices": np.arange(0, COUNT, 2),
    }
    for name, content in contents.items():
        Path(f"{name}.pkl").write_bytes(pickle.dumps(content, protocol=4))
    write_latent("mid_00.txt", np.arange(COUNT), random.normal(size=(COUNT, 3)))
    np.savetxt("classes.txt", np.column_stack([np.arange(COUNT), np.arange(COUNT) % 3]), fmt="%d")
    mixture = _gaussians(random)
    write_gaussians("gmm.txt", mixture, BOX, PIXEL)
    write_gaussians("regions.txt", mixture, BOX, PIXEL, np.arange(COUNT) % 3)


def _gaussians(random: np.random.Generator) -> Gaussians:
    position = random.normal(scale=16, size=(COUNT, 3)).astype("f4")
    return Gaussians(position=position, amplitude=np.ones(COUNT, "f4"), sigma=np.full(COUNT, 8, "f4"))


def _maps_and_models() -> None:
    z, y, x = np.indices((BOX, BOX, BOX)) - BOX // 2
    blob = np.exp(-(x**2 + y**2 + z**2) / 18.0).astype(np.float32)
    for name in ("map.mrc", "map.hdf", "other.mrc"):
        write_volume(name, blob, PIXEL)
    write_volume("mask.mrc", np.ones_like(blob), PIXEL)
    Path("map.map.gz").write_bytes(gzip.compress(Path("map.mrc").read_bytes(), mtime=0))
    random = np.random.default_rng(3)
    atoms, loops = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1\n", ""
    for i in range(40):
        chain, (x, y, z) = "AB"[i // 20], random.normal(scale=12, size=3)
        atoms += f"ATOM  {i + 1:5d}  CA  ALA {chain}{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 20.00           C\n"
        loops += (
            f"ATOM {i + 1} C CA . ALA {chain} {i + 1} ? {x:.3f} {y:.3f} {z:.3f} 1.00 20.00 {i + 1} ALA {chain} CA 1\n"
        )
    Path("model.pdb").write_text(atoms + "END\n")
    Path("model.pdb.gz").write_bytes(gzip.compress((atoms + "END\n").encode(), mtime=0))
    labels = "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_seq_id"
    labels += (
        " pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id auth_comp_id auth_asym_id"
    )
    labels += " auth_atom_id pdbx_PDB_model_num"
    names = "".join(f"_atom_site.{label}\n" for label in labels.split())
    Path("model.cif").write_text(f"data_model\nloop_\n{names}{loops}#\n")
    pieces = [{"segment": "core", "chains": ["A"]}, {"segment": "arm", "chains": ["B"]}]
    Path("segments.json").write_text(json.dumps(pieces))
    arm = {"selection": [["B", [[21, 40]]]], "pivot": [1.0, 2.0, 3.0], "axis_u": [0.0, 0.6, 0.8]}
    held = {"core": {"selection": [["A", None]]}, "arm": arm}
    Path("domains.json").write_text(json.dumps({"file": "model.pdb", "body": "core", "domains": held}))


def _program(command: str) -> None:
    program, *arguments = shlex.split(command)
    done = subprocess.run([sys.executable, str(PROGRAMS / program), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{command}: exit code {done.returncode}: {done.stderr[-500:]}")


def _made_by_programs() -> None:
    _interrupted()
    for kind in TRUTHS:
        _program(
            f"e2hype_simulate.py {kind} {kind} {SIMULATE} {'--structures 2' if kind == 'mixture' else '--pieces 2'}"
        )
    _program(f"e2hype_refine.py {REFINE}")
    config = Path("run/config.json")
    config.write_text(config.read_text().replace(f"{os.getcwd()}/", ""))
    shutil.copy("classes.txt", "run/classes_particles.txt")
    write_latent("run/embed_particles.txt", np.arange(COUNT), np.random.default_rng(4).normal(size=(COUNT, 2)))
    np.savez("run/mid_00_basis.npz", mean=np.zeros(3, "f4"), directions=np.eye(3, dtype="f4"))


def _interrupted() -> None:
    """Leave a simulation as a kill leaves it that comes before the set is put in its place."""
    code = (
        "import os, sys; sys.argv = sys.argv[1:]; import runpy; from libhetero.simulate.part import Part; "
        "Part.appear = lambda part: os._exit(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    arguments = shlex.split(f"{PROGRAMS / 'e2hype_simulate.py'} assembly begun {SIMULATE}")
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
