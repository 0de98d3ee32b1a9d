"""Run folders, numbered as EMAN2 numbers them, and the options kept inside."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from libhetero.configuration import write_json


def next_run_folder(prefix: str = "hype", root: str | Path = ".") -> Path:
    """Create and return the next run folder, `<prefix>_NN`.

    The number is the highest existing one + 1, with two digits at least; the first is 00.
    Creation is atomic: two programs started together get two folders.

    Parameters
    ----------
    prefix : name before the underscore.
    root : folder that holds the run folders; it must exist.
    """
    root = Path(root)
    pattern = re.compile(rf"{re.escape(prefix)}_([0-9]{{2,}})")
    while True:
        matches = [pattern.fullmatch(path.name) for path in root.iterdir()]
        number = max((int(match[1]) for match in matches if match), default=-1) + 1
        folder = root / f"{prefix}_{number:02d}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def write_params_json(folder: str | Path, name: str, options: argparse.Namespace | dict[str, Any]) -> Path:
    """Write the options as `0_<name>_params.json` in a run folder, as EMAN2 does.

    Parameters
    ----------
    folder : the run folder.
    name : the program's short name, such as `e2hype`.
    options : the parsed options; the command line is among them, as `cmd`.

    Returns
    -------
    The file written.
    """
    values = dict(options) if isinstance(options, dict) else dict(vars(options))
    path = Path(folder) / f"0_{name}_params.json"
    write_json(path, json.loads(json.dumps(values, default=str)))
    return path
