"""What a file is by how it begins, in words, for messages about a file that is not what was expected."""

from __future__ import annotations

import os
import re

START = 4096  # bytes looked at
BINARY = (
    (b"\x89HDF", "an HDF file; give it a name in .hdf"),
    (b"\x93NUMPY", "a NumPy array, as cryoSPARC's tables (.cs) and .npy files are"),
    (b"\x80", "a pickle, as cryoDRGN's tables (.pkl) are"),
    (b"\x1f\x8b", "compressed (.gz)"),
    (b"PK", "a .zip or .npz archive"),
    (b"\x89PNG", "a picture (.png)"),
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ATOMS = re.compile(r"^(ATOM|HETATM|HEADER|CRYST1|REMARK)\b|^_atom_site\.", re.MULTILINE)
BLOCK = re.compile(r"^data_", re.MULTILINE)
GAUSSIAN_COLUMNS = (5, 6)
MAP_MARK, MAP_MARK_AT = b"MAP ", 208  # of MRC files


def kind_of(path: str | os.PathLike) -> str | None:
    """Return what a file is, "a list of particles of EMAN2 (.lst)"; None where its beginning does not tell."""
    try:
        with open(path, "rb") as file:
            start = file.read(START)
    except OSError:
        return None
    return kind_of_start(start)


def kind_of_start(start: bytes) -> str | None:
    """Return what a file is that begins with these bytes; see `kind_of`."""
    for mark, words in BINARY:
        if start.startswith(mark):
            return words
    if start[MAP_MARK_AT : MAP_MARK_AT + len(MAP_MARK)] == MAP_MARK:
        return "an MRC file, as maps and stacks are"
    if b"\0" in start:
        return None
    return _kind_of_text(start.decode("utf-8-sig", "replace"))  # its last letter may be cut


def _kind_of_text(text: str) -> str | None:
    if text.startswith(("#LSX", "#LST")):
        return "a list of particles of EMAN2 (.lst)"
    if ATOMS.search(text):
        return "an atomic model (.pdb or .cif)"
    if BLOCK.search(text):
        return "a list of RELION's kind (.star)"
    if text.lstrip().startswith("{"):
        return "JSON"
    return _kind_of_numbers(text)


def _kind_of_numbers(text: str) -> str | None:
    """Return what a table of numbers may be by its first line of them; None for a text that is none."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    cells = next((line for line in lines if line), [])
    if not cells or not all(NUMBER.fullmatch(cell) for cell in cells):
        return None
    if len(cells) in GAUSSIAN_COLUMNS:
        return f"a table of {len(cells)} numbers a line, as Gaussians are (e2hype_guess_n.py)"
    if len(cells) == 1:
        return "numbers, one a line, as particles are chosen by with --ind"
    return f"a table of {len(cells)} numbers a line, as classes or latents are"
