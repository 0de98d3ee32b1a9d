"""A table of users' mistakes: the exit code, the one line they read, and nothing half-written.

Each row starts from a small set that is right in every respect, breaks one thing, and runs a
program's `main` on it.
"""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pytest

N, COUNT, PIXEL_SIZE = 16, 6, 4.0
COLUMNS = {
    "poses": ["AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"],
    "ctf": ["DefocusU", "DefocusV", "DefocusAngle"],
}
OPTICS = f"""data_optics

loop_
_rlnOpticsGroup #1
_rlnImagePixelSize #2
_rlnImageSize #3
_rlnImageDimensionality #4
{{ctf_names}}1 {PIXEL_SIZE} {{box}} 2 {{ctf_values}}

"""


def write_stack(count: int = COUNT, shape: tuple[int, int] = (N, N), nan_at: int | None = None) -> None:
    """Write particles.mrcs: a blurred disc in noise."""
    y, x = np.indices(shape) - np.array(shape)[:, None, None] // 2
    disc = np.exp(-(x**2 + y**2) / 18.0)
    images = np.random.default_rng(0).normal(disc, 0.3, (count, *shape)).astype(np.float32)
    with mrcfile.new("particles.mrcs", images, overwrite=True) as stack:
        stack.voxel_size = PIXEL_SIZE
        stack.set_image_stack()
        if nan_at is not None:
            stack.data[nan_at, 3, 4] = np.nan


def write_star(count: int = COUNT, *, without: str | None = None, stack: str = "particles.mrcs", box: int = N) -> None:
    """Write particles.star, RELION 3.1, leaving out "poses" or "ctf"."""
    ctf = without != "ctf"
    names = ["Voltage", "SphericalAberration", "AmplitudeContrast"] if ctf else []
    optics = OPTICS.format(
        ctf_names="".join(f"_rln{name} #{5 + i}\n" for i, name in enumerate(names)),
        ctf_values="300 2.7 0.1" if ctf else "",
        box=box,
    )
    columns = ["ImageName", "OpticsGroup"]
    columns += [name for kind, names in COLUMNS.items() if kind != without for name in names]
    random = np.random.default_rng(1)
    rows = []
    for i in range(count):
        values = {"ImageName": f"{i + 1:06d}@{stack}", "OpticsGroup": "1"}
        values |= {
            name: f"{angle:.2f}" for name, angle in zip(COLUMNS["poses"][:3], random.uniform(0, 180, 3), strict=True)
        }
        values |= {"OriginXAngst": "1.5", "OriginYAngst": "-2"}
        values |= {"DefocusU": "15000", "DefocusV": "14800", "DefocusAngle": "30"}
        rows.append(" ".join(values[name] for name in columns))
    header = "\n".join(f"_rln{name} #{i + 1}" for i, name in enumerate(columns))
    table = f"data_particles\n\nloop_\n{header}\n" + "\n".join(rows) + "\n"
    Path("particles.star").write_text(optics + table)


def write_map(n: int = N, pixel_size: float = PIXEL_SIZE, nan: bool = False) -> None:
    """Write map.mrc: a blob in the middle of the box, with one voxel that is no number if `nan`."""
    z, y, x = np.indices((n, n, n)) - n // 2
    blob = np.exp(-(x**2 + y**2 + z**2) / 18.0).astype(np.float32)
    with mrcfile.new("map.mrc", blob) as file:
        file.voxel_size = pixel_size
        if nan:
            file.data[3, 4, 5] = np.nan


def write_flat_map() -> None:
    """Write flat.mrc, half as high as wide."""
    with mrcfile.new("flat.mrc", np.ones((N // 2, N, N), np.float32)) as file:
        file.voxel_size = PIXEL_SIZE


def write_density(scale: float) -> None:
    """Write map.mrc, a blob of this height and no mask."""
    write_map()
    with mrcfile.open("map.mrc", "r+") as file:
        file.data[:] *= scale


def write_empty_map() -> None:
    """Write map.mrc: zeros."""
    with mrcfile.new("map.mrc", np.zeros((N, N, N), np.float32)) as file:
        file.voxel_size = PIXEL_SIZE


def write_gaussians(count: int = 32) -> None:
    """Write gmm.txt: Gaussians about the centre, EMAN2's five columns."""
    random = np.random.default_rng(2)
    position = random.normal(0, 0.1, (count, 3))
    np.savetxt("gmm.txt", np.column_stack([position, np.ones(count), np.full(count, 50.0)]))


# What a user breaks ---------------------------------------------------------------------------


def truncate(name: str = "particles.mrcs", size: int = 3000) -> None:
    """Keep the first bytes of a file, as a copy that was cut off."""
    Path(name).write_bytes(Path(name).read_bytes()[:size])


def lfs_pointer() -> None:
    """Put a Git LFS pointer in place of the stack."""
    Path("particles.mrcs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 123456\n")


def unpickleable() -> None:
    """Write poses.pkl, which asks for a function to be run."""
    Path("poses.pkl").write_bytes(pickle.dumps(os.getcwd, protocol=2))


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file that is put in its place, and every flush to disk, find the disk full."""

    def full(*arguments: object, **_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    monkeypatch.setattr(os, "replace", full)


def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to make any folder or temporary file (permissions do not stop a superuser)."""

    def denied(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "mkdir", denied)
    monkeypatch.setattr(os, "replace", denied)


def edit_config(old: str, new: str) -> None:
    """Replace a piece of text in the configuration of the trained run."""
    path = Path("trained/config.json")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@dataclass(frozen=True)
class Mistake:
    """One row of the table.

    Parameters
    ----------
    name : what the user did.
    command : program and arguments.
    message : parts that the one line on stderr must hold, in this order.
    arrange : breaks one thing in a set that is right.
    machine : makes the machine fail while the program runs.
    code : exit code.
    """

    name: str
    command: str
    message: tuple[str, ...]
    arrange: Callable[[], object] | None = None
    machine: Callable[[pytest.MonkeyPatch], None] | None = None
    code: int = 1


READING = [
    ("missing list", "absent.star", None, ("absent.star", "no such file")),
    (
        "missing stack",
        "particles.star",
        lambda: os.remove("particles.mrcs"),
        ("particles.star", "particles.mrcs", "--datadir", "list's folder", "current folder"),
    ),
    ("truncated stack", "particles.star", truncate, ("particles.mrcs", "truncated")),
    ("LFS pointer", "particles.star", lfs_pointer, ("particles.mrcs", "Git LFS pointer", "git lfs pull")),
    ("empty list", "particles.star", lambda: Path("particles.star").write_text(""), ("particles.star", "empty")),
    (
        "list with more particles than the stack",
        "particles.star",
        lambda: write_star(COUNT + 3),
        ("particles.mrcs", "9", "6"),
    ),
    (
        "images that are not square",
        "particles.star",
        lambda: write_stack(shape=(N, N - 2)),
        ("particles.mrcs", "16 × 14", "square"),
    ),
    (
        "odd box",
        "particles.star",
        lambda: (write_stack(shape=(15, 15)), write_star(box=15)),
        ("particles.mrcs", "15", "even"),
    ),
    (
        "box of the list unlike the stack's",
        "particles.star",
        lambda: write_star(box=20),
        ("particles.star", "20", "16"),
    ),
    ("zero particles", "particles.star", lambda: write_star(0), ("particles.star", "no particles")),
    (
        "unknown kind of file",
        "particles.xyz",
        lambda: Path("particles.xyz").write_text("x"),
        ("particles.xyz", ".xyz", "expected"),
    ),
    (
        "a folder for a list",
        "particles.star",
        lambda: (os.remove("particles.star"), os.mkdir("particles.star")),
        ("particles.star", "folder"),
    ),
    ("a pickle that is no table", "particles.star --poses poses.pkl", unpickleable, ("poses.pkl", "refused")),
    ("a map for particles", "map.mrc", write_map, ("map.mrc: holds a volume (16 × 16 × 16", "expected particles")),
    (
        "Gaussians for particles",
        "gmm.txt",
        write_gaussians,
        ("gmm.txt: a table of 5 numbers a line, as Gaussians are",),
    ),
    (
        "a list for poses",
        "particles.star --poses particles.star",
        None,
        ("particles.star: a list of RELION's kind (.star); expected a pickle",),
    ),
    ("a folder for particles", "set", lambda: os.mkdir("set"), ("set: a folder; expected a list or a stack",)),
]

TABLE = [
    Mistake(name, f"{program} {arguments} {more}", message, arrange)
    for program, more in (("e2hype_import.py", ""), ("e2hype_make3d.py", "out.mrc"), ("e2hype_refine.py", ""))
    for name, arguments, arrange, message in READING
]
MASKED = "e2hype_refine.py particles.star --decoder mlp --model gmm.txt --mask"
TABLE += [
    Mistake(
        "no poses",
        "e2hype_refine.py particles.star",
        ("particles.star", "no poses", "--poses"),
        lambda: write_star(without="poses"),
    ),
    Mistake(
        "no CTF",
        "e2hype_refine.py particles.star",
        ("particles.star", "no CTF", "--ctf"),
        lambda: write_star(without="ctf"),
    ),
    Mistake("no particles named", "e2hype_refine.py", ("no particles were given",)),
    Mistake("no list named", "e2hype_import.py", ("required", "particles", "--help"), code=2),
    *(
        Mistake(
            "both contrasts", f"{program} --invert --noinvert", ("--noinvert", "not allowed with", "--invert"), code=2
        )
        for program in (
            "e2hype_refine.py particles.star",
            "e2hype_make3d.py particles.star out.mrc",
            "e2hype_classify.py particles.star out",
        )
    ),
    Mistake(
        "map of another box",
        "e2hype_refine.py particles.star --model map.mrc",
        ("map.mrc", "20×20×20", "expected", "16"),
        lambda: write_map(n=20),
    ),
    Mistake(
        "map of another pixel size",
        "e2hype_refine.py particles.star --model map.mrc",
        ("map.mrc", "2 Å", "expected", "4 Å"),
        lambda: write_map(pixel_size=2.0),
    ),
    Mistake(
        "resume with another decoder by its own flag",
        "e2hype_refine.py --resume trained --pointtransformer",
        ("--decoder is mlp, asked for --pointtransformer",),
    ),
    Mistake(
        "Gaussians without a decoder",
        "e2hype_refine.py particles.star --model gmm.txt",
        ("--model gmm.txt", "CryoHype", "--pointtransformer or --decoder mlp"),
        write_gaussians,
    ),
    Mistake(
        "a flag in its other spelling",
        "e2hype_refine.py particles.star --hype_preset huge",
        ("argument --hype_preset", "huge"),
        code=2,
    ),
    Mistake(
        "folder that exists, before anything is read",
        "e2hype_refine.py absent.star --path run",
        ("run: already holds a run",),
        lambda: (os.mkdir("run"), Path("run/config.json").touch()),
    ),
    Mistake("Gaussians without a model", "e2hype_refine.py particles.star --decoder mlp", ("--model",)),
    Mistake(
        "missing model",
        "e2hype_refine.py particles.star --decoder mlp --model absent.txt",
        ("absent.txt", "no such file"),
    ),
    Mistake(
        "model that is no table",
        "e2hype_refine.py particles.star --decoder mlp --model gmm.txt",
        ("gmm.txt", "columns"),
        lambda: Path("gmm.txt").write_text("1 2 3\n"),
    ),
    Mistake(
        "NaN pixels",
        "e2hype_import.py particles.star",
        ("particles.mrcs", "image 3", "not finite"),
        lambda: write_stack(nan_at=2),
    ),
    Mistake(
        "NaN pixels, none allowed",
        "e2hype_refine.py particles.star --maxbad 0",
        ("particles.mrcs", "image 3", "not finite", "--maxbad"),
        lambda: write_stack(nan_at=2),
    ),
    Mistake("crop to a larger box", "e2hype_refine.py particles.star --box 32", ("32", "16")),
    Mistake("batch of zero", "e2hype_refine.py particles.star --batchsz 0", ("--batchsz", "1 to", "got '0'"), code=2),
    Mistake(
        "folder that exists",
        "e2hype_refine.py particles.star --path run",
        ("run: already holds a run", "--resume run"),
        lambda: (os.mkdir("run"), Path("run/config.json").touch()),
    ),
    Mistake(
        "folder inside a file",
        "e2hype_refine.py particles.star --path gmm.txt/run",
        ("gmm.txt/run", "a file"),
        write_gaussians,
    ),
    Mistake(
        "unwritable folder",
        "e2hype_refine.py particles.star --preset small",
        ("permission denied",),
        machine=unwritable,
    ),
    Mistake(
        "unwritable folder", "e2hype_import.py particles.star", ("particles.lst", "not writable"), machine=unwritable
    ),
    Mistake(
        "output in a missing folder",
        "e2hype_import.py particles.star --output absent/p.lst",
        ("absent/p.lst", "absent", "does not exist"),
    ),
    Mistake(
        "output of an unknown kind", "e2hype_import.py particles.star --output p.xyz", ("p.xyz", ".lst, .star, .cs")
    ),
    Mistake(
        "output onto the input", "e2hype_import.py particles.star --output particles.star", ("particles.star", "input")
    ),
    Mistake("full disk", "e2hype_import.py particles.star", ("particles.lst", "no space left"), machine=full_disk),
    Mistake("full disk", "e2hype_refine.py particles.star --preset small", ("no space left",), machine=full_disk),
    Mistake(
        "Gaussian option of CryoHype", "e2hype_refine.py particles.star --nmid 4", ("--nmid", "--pointtransformer")
    ),
    Mistake(
        "unknown symmetry",
        "e2hype_refine.py particles.star --decoder mlp --model gmm.txt --sym q4",
        ("--sym", "c1", "got 'q4'"),
        write_gaussians,
        code=2,
    ),
    Mistake("symmetry of CryoHype", "e2hype_refine.py particles.star --sym c4", ("--sym", "--pointtransformer")),
    Mistake(
        "Gaussians' encoder of CryoHype",
        "e2hype_refine.py particles.star --encoder posterior",
        ("--encoder", "transformer, mlp, unet", "posterior"),
    ),
    Mistake(
        "CryoHype's encoder of Gaussians",
        "e2hype_refine.py particles.star --pointtransformer --model gmm.txt --encoder unet",
        ("encoder", "posterior", "network", "unet"),
        write_gaussians,
    ),
    Mistake(
        "conditioning of Gaussians",
        "e2hype_refine.py particles.star --pointtransformer --model gmm.txt --conditioning concat",
        ("--conditioning", "not an option of Gaussians", "--pointtransformer"),
        write_gaussians,
    ),
    Mistake(
        "mask of CryoHype",
        "e2hype_refine.py particles.star --mask map.mrc",
        ("--mask", "--pointtransformer"),
        write_map,
    ),
    Mistake(
        "missing mask",
        "e2hype_refine.py particles.star --decoder mlp --model gmm.txt --mask absent.mrc",
        ("absent.mrc", "no such file"),
        write_gaussians,
    ),
    Mistake(
        "mask beside the molecule",
        "e2hype_refine.py particles.star --decoder mlp --model gmm.txt --mask map.mrc",
        ("map.mrc", "0 of 32 Gaussians", "0.5"),
        lambda: (write_gaussians(), write_empty_map()),
    ),
    Mistake(
        "mask that is no cube",
        "e2hype_refine.py particles.star --decoder mlp --model gmm.txt --mask flat.mrc",
        ("flat.mrc", "16×16×8", "cube"),
        lambda: (write_gaussians(), write_flat_map()),
    ),
    Mistake(
        "density for a mask",
        f"{MASKED} map.mrc",
        ("map.mrc", "values from", "to 30; expected those of a mask, 0 to 1", "relion_mask_create"),
        lambda: (write_gaussians(), write_density(30.0)),
    ),
    Mistake(
        "weak density for a mask",
        f"{MASKED} map.mrc",
        ("map.mrc: values up to 0.05; expected a mask",),
        lambda: (write_gaussians(), write_density(0.05)),
    ),
    Mistake(
        "mask of another length",
        f"{MASKED} map.mrc",
        ("map.mrc: the mask is 16 voxels of 2 Å, 32 Å", "16 of 4 Å, 64 Å"),
        lambda: (write_gaussians(), write_map(pixel_size=2.0)),
    ),
    Mistake(
        "list for a mask", f"{MASKED} particles.star", ("particles.star", "not an MRC file", ".star"), write_gaussians
    ),
    Mistake(
        "stack for a map",
        "e2hype_refine.py particles.star --model particles.mrcs",
        ("particles.mrcs: expected a 3-D map, found a stack of 6 images",),
    ),
    Mistake(
        "run from a list", "e2hype_embed.py particles.star", ("particles.star: a list of RELION's kind", "run folder")
    ),
    Mistake(
        "nothing held out", "e2hype_refine.py particles.star --usetest 0.001", ("--usetest 0.001", "holds out 0 of")
    ),
    Mistake(
        "everything held out",
        "e2hype_refine.py particles.star --usetest 1",
        ("--usetest", "less than 1", "got '1'"),
        code=2,
    ),
    Mistake("resume of no run", "e2hype_refine.py --resume hype_07", ("hype_07", "no such file")),
    Mistake(
        "resume of a damaged run",
        "e2hype_refine.py --resume hype_00",
        ("config.json", "JSON"),
        lambda: (os.mkdir("hype_00"), Path("hype_00/config.json").write_text("{")),
    ),
    Mistake("unknown setting", "e2hype_refine.py particles.star --set dimm=3", ("--set", "dimm")),
]

RUN = [
    ("folder that is no run", "hype_07", None, ("hype_07/config.json", "no such file")),
    ("configuration with an unknown key", "trained", lambda: edit_config('"seed"', '"sead"'), ("unknown key sead",)),
    (
        "run of another version",
        "trained",
        lambda: edit_config('"format_version": 2', '"format_version": 99'),
        ("config.json", "99", "this version reads 2"),
    ),
    ("damaged model", "trained", lambda: truncate("trained/model.npz", 100), ("trained/model.npz", "damaged")),
    (
        "run without a checkpoint",
        "trained",
        lambda: shutil.rmtree("trained/checkpoints"),
        ("checkpoints", "no complete checkpoint"),
    ),
    (
        "stack moved after training",
        "trained",
        lambda: (os.remove("particles.mrcs"), os.remove("trained/particles.npz")),  # which knows where it was
        ("particles.star", "particles.mrcs", "not found"),
    ),
    ("stack cut off after training", "trained", truncate, ("particles.mrcs", "truncated")),
    ("list changed after training", "trained", lambda: write_star(COUNT - 1), ("particles.star", "5", "trained on 6")),
]
TABLE += [
    Mistake(name, f"{program} {arguments} {more}", message, arrange)
    for program, more in (("e2hype_embed.py", ""), ("e2hype_segment.py", ""), ("e2hype_eval.py", "--particles 0"))
    for name, arguments, arrange, message in RUN
]
RESUME = "e2hype_refine.py --resume trained"
TABLE += [
    Mistake(
        "resume with another batch",
        f"{RESUME} --batchsz 3",
        ("trained", "another configuration", "--batchsz is 4, asked for 3"),
    ),
    Mistake(
        "resume with another model",
        f"{RESUME} --decoder pointtransformer",
        ("another configuration", "--decoder is mlp, asked for pointtransformer"),
    ),
    Mistake("resume with other particles", f"{RESUME} other.star", ("another configuration", "other.star")),
    Mistake("resume after the list changed", RESUME, ("5", "trained on 6"), lambda: write_star(COUNT - 1)),
    Mistake("particle beyond the last", "e2hype_eval.py trained --particles 6", ("6",)),
    Mistake("volumes of nothing", "e2hype_eval.py trained", ("--particles", "--latent", "required"), code=2),
    Mistake(
        "particles that are no indices",
        "e2hype_eval.py trained --particles a-b",
        ("--particles", "0,5,9", "a-b"),
        code=2,
    ),
    Mistake("missing classes", "e2hype_eval.py trained --classes absent.txt", ("absent.txt", "no such file")),
    Mistake(
        "classes that are no table",
        "e2hype_eval.py trained --classes particles.star",
        ("particles.star", "not a table of numbers"),
    ),
    Mistake(
        "latent of another length",
        "e2hype_eval.py trained --latent mid.txt",
        ("mid.txt", "20", "expected"),
        lambda: Path("mid.txt").write_text("0" + 20 * " 1.0" + "\n"),
    ),
    Mistake("odd box", "e2hype_eval.py trained --particles 0 --box 15", ("box", "even", "15"), code=2),
    Mistake("full disk", "e2hype_eval.py trained --particles 0", ("no space left",), machine=full_disk),
    Mistake(
        "embed with a batch of zero", "e2hype_embed.py trained --batchsz 0", ("--batchsz", "1 to", "got '0'"), code=2
    ),
    Mistake("zero classes", "e2hype_segment.py trained --classes 0", ("classes", "1", "0"), code=2),
    Mistake("negative eps", "e2hype_segment.py trained --eps -1", ("--eps", "more than 0", "-1"), code=2),
    Mistake("feature of particles", "e2hype_embed.py trained --feature motion", ("--feature", "--gaussians")),
    Mistake("full disk", "e2hype_embed.py trained --method pca", ("no space left",), machine=full_disk),
    Mistake("classes of a run", "e2hype_classify.py trained found", ("trained: a run folder", "e2hype_embed.py")),
    Mistake("classes into a map", "e2hype_classify.py set/particles.star found.mrc", ("found.mrc", "a folder")),
    Mistake("classes below 1", "e2hype_classify.py set/particles.star found --classes 0", ("--classes", "1"), code=2),
    Mistake("validation of no run", "e2hype_validate.py hype_07", ("hype_07/config.json", "no such file")),
    Mistake("null sets below 0", "e2hype_validate.py trained --nulls -1", ("--nulls", "0 to", "'-1'"), code=2),
    Mistake("alignment of no run", "e2hype_align.py hype_07", ("hype_07/config.json", "no such file")),
    Mistake("alignment without regions", "e2hype_align.py trained", ("regions.txt", "e2hype_segment.py trained")),
    Mistake("regions that are none", "e2hype_align.py trained --region core", ("--region", "'core'"), code=2),
    Mistake("deformed by no run", "e2hype_make3d.py particles.star map.mrc --deform hype_07", ("hype_07", "no such")),
    Mistake("score of no run", "e2hype_score.py hype_07", ("hype_07/config.json", "no such file")),
    Mistake("no truth", "e2hype_score.py trained", ("truth", "--truth")),
    Mistake("missing truth", "e2hype_score.py trained --truth absent", ("absent", "no such")),
    Mistake(
        "truth that is none",
        "e2hype_score.py trained --truth .",
        ("truth.json", "kind"),
        lambda: Path("truth.json").write_text("{}"),
    ),
]

SIMULATE = "e2hype_simulate.py assembly sim --box 16 --diameter 60"
TABLE += [
    Mistake("zero particles", f"{SIMULATE} --n 0", ("--n", "1 to", "0"), code=2),
    Mistake("odd box", "e2hype_simulate.py assembly sim --box 15", ("--box", "even", "15"), code=2),
    Mistake("crop to a larger box", f"{SIMULATE} --crop 32", ("--crop", "16", "32")),
    Mistake("negative pixel size", f"{SIMULATE} --apix -1", ("--apix", "0.01 to 1000", "-1"), code=2),
    Mistake("missing atomic model", f"{SIMULATE} --pdb absent.cif", ("absent.cif", "no such file")),
    Mistake(
        "atomic model that is none",
        f"{SIMULATE} --pdb gmm.txt",
        ("gmm.txt", "not an atomic model", ".pdb or .cif"),
        write_gaussians,
    ),
    Mistake("one map for an assembly", f"{SIMULATE} --map map.mrc", ("--map", "each piece"), write_map),
    Mistake("model and map", f"{SIMULATE} --map map.mrc --pdb a.pdb", ("--pdb", "--map", "not both")),
    Mistake("missing CTF list", f"{SIMULATE} --ctf_from absent.star", ("absent.star", "no such file")),
    Mistake("unknown kind", "e2hype_simulate.py melting sim", ("melting", "assembly"), code=2),
    Mistake("folder inside a file", f"{SIMULATE} --n 2".replace(" sim", " gmm.txt/sim"), ("gmm.txt",), write_gaussians),
    Mistake("unwritable folder", f"{SIMULATE} --n 2", ("sim", "not writable"), machine=unwritable),
    Mistake("full disk", f"{SIMULATE} --n 2", ("sim", "no space left"), machine=full_disk),
    Mistake("no process", f"{SIMULATE} --processes 0", ("--processes", "1 to 1024", "0"), code=2),
    Mistake("share beyond the last", f"{SIMULATE} --share 5/4", ("--share", "I/N", "2/4", "5/4"), code=2),
    Mistake("share that is none", f"{SIMULATE} --share half", ("--share", "I/N", "half"), code=2),
    Mistake("subsets of an assembly", f"{SIMULATE} --subsets 2", ("assembly", "--subsets", "mixture")),
    Mistake(
        "subset larger than the mixture", "e2hype_simulate.py mixture sim --subsets 3 5", ("--subsets", "2 to 4", "5")
    ),
    Mistake("subset of one", "e2hype_simulate.py mixture sim --subsets 1", ("--subsets", "2 to", "1"), code=2),
    Mistake("subset that is no number", "e2hype_simulate.py mixture sim --subsets some", ("--subsets", "some"), code=2),
]

GUESS = "e2hype_guess_n.py map.mrc gmm.txt"
TABLE += [
    Mistake("missing map", GUESS, ("map.mrc", "no such file")),
    Mistake("map cut off", GUESS, ("map.mrc", "truncated", "copy"), lambda: (write_map(), truncate("map.mrc", 2000))),
    Mistake("map of odd box", GUESS, ("map.mrc", "15×15×15", "even"), lambda: write_map(n=15)),
    Mistake("NaN voxels", GUESS, ("map.mrc", "NaN"), lambda: write_map(nan=True)),
    Mistake("map without pixel size", GUESS, ("map.mrc", "pixel size", "--apix"), lambda: write_map(pixel_size=0.0)),
    Mistake("threshold above the map", f"{GUESS} --threshold 9", ("threshold", "9"), write_map),
    Mistake("unknown symmetry", f"{GUESS} --sym c", ("--sym", "expected c1", "'c'"), write_map, code=2),
    Mistake("missing half-map", f"{GUESS} --halfmaps a.mrc map.mrc", ("a.mrc", "no such file"), write_map),
    Mistake("one half-map", f"{GUESS} --halfmaps a.mrc", ("--halfmaps", "2"), write_map, code=2),
    Mistake("resolution beyond the box", f"{GUESS} --maxres 500", ("--maxres 500", "64 Å box"), write_map),
    Mistake("box of a map", f"{GUESS} --box 16", ("--box 16", "its own box"), write_map),
    Mistake(
        "particles that are missing",
        f"{GUESS} --ngauss 8 --niter 1 --particles absent.star",
        ("absent.star", "no such file"),
        write_map,
    ),
    Mistake(
        "particles without poses",
        f"{GUESS} --ngauss 8 --niter 1 --particles particles.star",
        ("particles.star", "no poses"),
        lambda: (write_map(), write_star(without="poses")),
    ),
    Mistake("zero Gaussians", f"{GUESS} --ngauss 0", ("--ngauss", "0"), write_map, code=2),
    Mistake("atomic model without a box", "e2hype_guess_n.py a.pdb gmm.txt", ("a.pdb", "--box", "--apix")),
    Mistake("output that is no text", "e2hype_guess_n.py map.mrc gmm.mrc", ("gmm.mrc", ".txt"), write_map),
    Mistake(
        "output in a missing folder",
        "e2hype_guess_n.py map.mrc absent/gmm.txt",
        ("absent", "does not exist"),
        write_map,
    ),
    Mistake("full disk", f"{GUESS} --ngauss 8 --niter 1", ("gmm.txt", "no space left"), write_map, machine=full_disk),
    Mistake(
        "no poses",
        "e2hype_make3d.py particles.star out.mrc",
        ("particles.star", "no poses"),
        lambda: write_star(without="poses"),
    ),
    Mistake(
        "no CTF",
        "e2hype_make3d.py particles.star out.mrc",
        ("particles.star", "no CTF"),
        lambda: write_star(without="ctf"),
    ),
    Mistake(
        "output in a missing folder", "e2hype_make3d.py particles.star absent/out.mrc", ("absent", "does not exist")
    ),
    Mistake("unknown symmetry", "e2hype_make3d.py particles.star out.mrc --sym x3", ("--sym", "c1", "'x3'"), code=2),
    Mistake("map of an unknown kind", "e2hype_make3d.py particles.star out.txt", ("out.txt", ".mrc")),
    Mistake("full disk", "e2hype_make3d.py particles.star out.mrc", ("no space left",), machine=full_disk),
]


def _id(mistake: Mistake) -> str:
    return f"{mistake.command.split()[0].removesuffix('.py')}: {mistake.name}"


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory, load_program: Callable) -> Path:
    """Return a folder with a right set and a run trained on it for one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("JAX_ENABLE_COMPILATION_CACHE", "true")
        write_stack()
        write_star()
        write_gaussians()
        command = (
            "particles.star --decoder mlp --encoder network --model gmm.txt --path trained --niter 1 --batchsz 4 "
            "--pas 100 --nmid 2 --set encoder_width=8 --set mlp_width=8 -v 0"
        )
        assert load_program("e2hype_refine.py").main(command.split()) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder that holds a right set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")
    write_stack()
    write_star()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return every file below `folder` with its bytes, and every run folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != ".eman2log.txt" and (path.is_file() or path.name.startswith("hype_"))
    }


@pytest.mark.parametrize("mistake", TABLE, ids=_id)
def test_a_mistake_is_answered_in_one_line(
    mistake: Mistake,
    folder: Path,
    load_program: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    program, *arguments = mistake.command.split()
    main = load_program(program).main
    if "trained" in arguments:
        source = request.getfixturevalue("trained_folder")
        shutil.copytree(source / "trained", "trained")
        edit_config(str(source), str(folder))
    if mistake.arrange is not None:
        mistake.arrange()
    before = contents(folder)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        if mistake.machine is not None:
            mistake.machine(patch)
        code = main(arguments)
    error = capsys.readouterr().err
    assert code == mistake.code, error
    errors = [line for line in error.splitlines() if ": warning: " not in line]
    assert len(errors) == 1, error
    assert errors[0].startswith(f"{program}: ")
    position = 0
    for part in mistake.message:
        found = errors[0].find(part, position)
        assert found >= 0, f"{part!r} is not in {errors[0][position:]!r}"
        position = found + len(part)
    assert contents(folder) == before, "something was left behind, or changed"


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "programs").glob("e2hype_*.py")), ids=lambda path: path.name
)
def test_an_unknown_option_is_answered_in_one_line(
    path: Path, folder: Path, load_program: Callable, capsys: pytest.CaptureFixture
) -> None:
    before = contents(folder)
    assert load_program(path.name).main(["particles.star", "gmm.txt", "--no-such-option"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert error.rstrip().endswith(f"see {path.name} --help."), error
    assert contents(folder) == before
    assert not Path(".eman2log.txt").exists()
