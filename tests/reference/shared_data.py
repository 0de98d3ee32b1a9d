"""Files written by other programs, kept beside the project and never inside it."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "data"


def shared_file(*parts):
    """The path of one file, or a skipped test where the folder is absent."""
    path = FOLDER.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"../shared/data/{'/'.join(parts)} is absent")
    return path


def read_mrc(*parts):
    """The float32 pixels of an MRC file by its first words alone, (…, ny, nx)."""
    path = shared_file(*parts)
    words = np.fromfile(path, "<i4", 24)
    nx, ny, nz, mode = words[:4]
    assert mode == 2
    pixels = np.fromfile(path, "<f4", offset=1024 + words[23]).reshape(nz, ny, nx)
    return pixels[0] if nz == 1 else pixels
