"""Files written by other programs, kept beside the project and never inside it."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "data"


def shared_file(*parts):
    """The path of one file, or a skipped test where the folder is absent."""
    path = FOLDER.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"../shared/data/{'/'.join(parts)} is absent")
    return path
