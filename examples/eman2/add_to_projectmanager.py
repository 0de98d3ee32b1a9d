"""Put libhetero's programs into the workflow of EMAN2's project manager, or take them out again.

    python examples/eman2/add_to_projectmanager.py $EMAN2DIR --programs .venv/bin
    python examples/eman2/add_to_projectmanager.py $EMAN2DIR --remove

e2projectmanager.py has one place for programs of others: it draws its tree from `lib/pmconfig/spr.json` of the EMAN2
installation, and the form of each program from the lines of `bin/PROGRAM` that begin with `parser.add_`. This writes an
entry of the tree and, for each program, such a file, which starts the program where libhetero is installed. Until
--remove, spr.json without the entry is kept beside it as `spr.json.before_libhetero`. Only the standard library is
needed, so that EMAN2's own Python may run it. EMAN2's page on customizing the project manager describes both files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

ENTRY = "Heterogeneity (libhetero)"
MARK = "# Written by add_to_projectmanager.py of libhetero; --remove takes it away."
SETS = "EMSetsTable(withmodal=True,multiselect=False)"
FILES = "EMBrowserWidget(withmodal=True,multiselect=False)"


@dataclass(frozen=True)
class Field:
    """One field of a form.

    Parameters
    ----------
    name : the option with its dashes, or the name of an argument.
    help : shown where the mouse rests on it.
    kind : EMAN2's: strbox, filebox or boolbox. A field that is left empty gives no option.
    browser : of a filebox.
    """

    name: str
    help: str
    kind: str = "strbox"
    browser: str = FILES


@dataclass(frozen=True)
class Form:
    """One program in the tree.

    Parameters
    ----------
    program : its name.
    title : in the tree.
    usage : what the tab "Help" shows.
    fields : in the order of the command line.
    """

    program: str
    title: str
    usage: str
    fields: tuple[Field, ...]


FORMS = (
    Form(
        "e2hype_import.py",
        "Import particles (e2hype_import)",
        "Check a list of particles with poses and CTF, and write the project list that the other programs take.",
        (
            Field("particles", "aligned particles: r3d_XX/ptcls_XX.lst, sets/*.lst, .star, .cs", "filebox", SETS),
            Field("--output", "list to write, such as particles.lst"),
            Field("--datadir", "folder where the list's relative paths start"),
            Field("--apix", "pixel size in Å, in place of the files' own"),
        ),
    ),
    Form(
        "e2hype_make3d.py",
        "Map of a list (e2hype_make3d)",
        "A map of the particles of a list with its half-maps and their FSC; the CTF is corrected for.",
        (
            Field("particles", "list of particles, such as a class of a region", "filebox", SETS),
            Field("output", "map to write, such as consensus.hdf"),
            Field("--sym", "symmetry, such as c4"),
        ),
    ),
    Form(
        "e2hype_guess_n.py",
        "Starting Gaussians (e2hype_guess_n)",
        "Gaussians for a map. Their number follows from the half-maps where it is left empty.",
        (
            Field("source", "map, such as r3d_XX/threed_XX.hdf, or an atomic model", "filebox"),
            Field("output", "Gaussians to write, such as gmm.txt"),
            Field("--ngauss", "how many"),
            Field("--sym", "symmetry of the map, such as c4"),
        ),
    ),
    Form(
        "e2hype_refine.py",
        "Train (e2hype_refine)",
        "Train a model: Gaussians for one complex that moves or assembles, CryoHype for mixtures.",
        (
            Field("particles", "particles.lst", "filebox", SETS),
            Field("--pointtransformer", "Gaussians with the Point Transformer decoder", "boolbox"),
            Field("--model", "starting Gaussians, such as gmm.txt", "filebox"),
            Field("--preset", "small for a first look"),
            Field("--niter", "epochs"),
            Field("--path", "run folder to make; left empty, the next hype_NN"),
            Field("--dry_run", "only tell what it will cost", "boolbox"),
        ),
    ),
    Form(
        "e2hype_segment.py",
        "Regions and classes (e2hype_segment)",
        "Find the regions that change together, and sort the particles by each; open index.html of the run afterwards.",
        (
            Field("folder", "run folder, such as hype_00", "filebox"),
            Field("--classes", "classes a region; left empty, as many as are told apart"),
            Field("--name", "of the folder that keeps what is found"),
        ),
    ),
    Form(
        "e2hype_eval.py",
        "Volumes (e2hype_eval)",
        "Volumes, and Gaussians where the run has them, of classes, particles or paths.",
        (
            Field("folder", "run folder, such as hype_00", "filebox"),
            Field("--classes", "table of classes, such as hype_00/classes_region_01.txt", "filebox"),
            Field("--all_classes", "or: sort all particles into so many classes"),
            Field("--regions", "or: hype_00/regions.txt, for volumes along what each region does", "filebox"),
            Field("--format", "hdf or mrc"),
            Field("--lowpass", "Å"),
        ),
    ),
)


def tree_entry() -> dict[str, object]:
    """Return the entry of the project manager's tree: a title, and a child for each program."""
    children = [
        {"ICON": "refine", "PROGRAM": form.program, "NAME": form.title, "NOTELEVEL": "1", "CHILDREN": []}
        for form in FORMS
    ]
    return {"ICON": "refine", "NAME": ENTRY, "CHILDREN": children}


def launcher(form: Form, programs: Path) -> str:
    """Return a shell script that becomes the program; what follows is for the project manager alone."""
    lines = [
        "#!/bin/sh",
        MARK,
        "unset PYTHONHOME PYTHONPATH",
        f'exec {shlex.quote(str(programs / form.program))} "$@"',
        f'usage = """{form.program}',
        f'{form.usage}"""',
    ]
    for row, field in enumerate(form.fields):
        words = [f"help={field.help!r}", f"guitype={field.kind!r}", f"row={row}", "col=0", "rowspan=1", "colspan=2"]
        if field.kind == "filebox":
            words += [f"browser={field.browser!r}", "filecheck=False"]
        if field.kind == "boolbox":
            words += ["action='store_true'", "default=False"]
        else:
            words += ["default=''"]
        if field.name.startswith("-"):
            lines.append(f"parser.add_argument({field.name!r}, {', '.join(words)})")
        else:
            lines.append(f"parser.add_pos_argument(name={field.name!r}, {', '.join(words)})")
    return "\n".join(lines) + "\n"


def nodes_of(text: str) -> list[dict[str, object]]:
    """Return the entries of spr.json.

    Raises
    ------
    ValueError : for a text that is no such tree.
    """
    nodes = json.loads(re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    if not isinstance(nodes, list) or not all(isinstance(node, dict) and "NAME" in node for node in nodes):
        raise ValueError("expected a list of entries with a NAME")
    return nodes


def with_entry(text: str, entry: dict[str, object] | None) -> str:
    """Return spr.json with our entry last, or without it; comments above the tree stay, and so does a text that is so.

    Raises
    ------
    ValueError : for a text that is no such tree.
    """
    found = nodes_of(text)
    nodes = [node for node in found if node["NAME"] != ENTRY] + ([] if entry is None else [entry])
    if nodes == found:
        return text
    comments = "".join(f"{comment}\n" for comment in re.findall(r"/\*.*?\*/", text, re.DOTALL))
    return comments + json.dumps(nodes, indent=2) + "\n"


def untouched(text: str, kept: Path) -> str:
    """Return spr.json without our entry: as it was kept, where nothing else has changed since.

    Raises
    ------
    ValueError : for a text that is no such tree.
    """
    bare = with_entry(text, None)
    try:
        before = kept.read_text(encoding="utf-8")
        return before if bare != text and nodes_of(before) == nodes_of(bare) else bare
    except (OSError, ValueError):
        return bare


def write_whole(path: Path, text: str, mode: int) -> None:
    """Write a file beside its place and rename it, so that it is never half written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(mode)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    """Change the installation, or tell in one line why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eman2dir", type=Path, help="where EMAN2 is installed: $EMAN2DIR")
    parser.add_argument("--programs", type=Path, help="folder of the e2hype_*.py programs")
    parser.add_argument("--remove", action="store_true", help="take the entry and the files out again")
    options = parser.parse_args(argv)
    if options.programs is None and not options.remove:
        parser.error("--programs FOLDER or --remove is needed")
    try:
        change(options.eman2dir, None if options.remove else options.programs.resolve())
    except (OSError, ValueError) as error:
        print(f"add_to_projectmanager.py: {error}", file=sys.stderr)
        return 1
    return 0


def change(eman2dir: Path, programs: Path | None) -> None:
    """Write launchers and entry, or remove them where `programs` is None.

    The entry names the launchers, which are therefore written before it and removed after it.

    Raises
    ------
    OSError : for a folder that cannot be written, or that is no EMAN2.
    ValueError : for a program that is missing or a launcher, a file of another's making, or a tree that cannot be read.
    """
    tree, bin_folder = (eman2dir / "lib" / "pmconfig" / "spr.json").resolve(), eman2dir / "bin"
    kept = tree.with_name("spr.json.before_libhetero")
    text, mode = tree.read_text(encoding="utf-8"), stat.S_IMODE(tree.stat().st_mode)
    try:
        before = untouched(text, kept)
        after = before if programs is None else with_entry(text, tree_entry())
    except ValueError as error:
        raise ValueError(f"{tree}: not read ({error}); nothing was changed") from None
    if programs is not None and programs == bin_folder.resolve():
        raise ValueError(f"{programs} is EMAN2's own bin; name the folder where libhetero is installed by --programs")
    for form in FORMS:
        place = bin_folder / form.program
        if place.exists() and not is_launcher(place):
            raise ValueError(f"{place} is not one of these files; install libhetero elsewhere than into EMAN2's bin")
        if programs is not None and not (programs / form.program).is_file():
            raise ValueError(f"{programs / form.program} is missing; name the folder of the programs by --programs")
        if programs is not None and is_launcher(programs / form.program):
            raise ValueError(
                f"{programs / form.program} is one of these files and no program; name the folder where libhetero is "
                "installed by --programs"
            )
    if programs is not None:
        for form in FORMS:
            write_whole(bin_folder / form.program, launcher(form, programs), 0o755)
        write_whole(kept, before, mode)
    if after != text:
        write_whole(tree, after, mode)
    if programs is None:
        for form in FORMS:
            (bin_folder / form.program).unlink(missing_ok=True)
        kept.unlink(missing_ok=True)
    print(f"{tree}: {'without' if programs is None else 'with'} {ENTRY}; start e2projectmanager.py anew")


def is_launcher(path: Path) -> bool:
    """Return whether this script wrote a file."""
    return MARK in path.read_text(encoding="utf-8", errors="replace")


if __name__ == "__main__":
    sys.exit(main())
