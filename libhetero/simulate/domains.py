"""Domain tables: complete one with pieces cut off the core.

The format is that of `libhetero.simulate.piece_files`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from libhetero.configuration import write_json
from libhetero.simulate.cut import cut_core
from libhetero.simulate.piece_files import domain_entry
from libhetero.simulate.sources import load_model, model_in_domains


def complete_domains(
    model: str | os.PathLike, table: str | os.PathLike, moving: int, output: str | os.PathLike
) -> Path:
    """Write a domain table of at least `moving` moving pieces.

    Missing pieces are cut off the core, each where the end of a chain hangs by the thinnest neck.

    Parameters
    ----------
    model : atomic model.
    table : domain table with an entry for it.
    moving : pieces wanted besides the core.
    output : JSON to write, one entry.

    Returns
    -------
    The file written.

    Raises
    ------
    DataError : if the table does not fit the model, or the core has no end to cut off.
    """
    output = Path(output)
    entry = domain_entry(str(table), str(model))
    write_json(output, entry)
    while len(entry["domains"]) - 1 < moving:
        entry = _with_one_more(str(model), entry, output)
        write_json(output, entry)
    return output


def _with_one_more(model: str, entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the entry that stands in `path` with a piece cut off the core."""
    piece = model_in_domains(model, str(path), None).piece
    cut = cut_core(load_model(model, None), piece)
    domain = {
        "selection": [[cut.chain, [list(stretch) for stretch in cut.ranges]]],
        "pivot": [float(x) for x in cut.pivot],
        "axis_u": [float(x) for x in cut.axis],
        "contacts": cut.contacts,
        "share_of_atoms": cut.share,
    }
    name = f"{entry['body']}_{cut.chain}{cut.ranges[0][0]}"
    return {**entry, "domains": {**entry["domains"], name: domain}}
