"""The particles chosen, written as lists or as their numbers in the whole list; one file, or one for each value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from libhetero.errors import DataError
from libhetero.files import check_folder
from libhetero.io.indices import write_indices
from libhetero.io.joining import write_joined
from libhetero.io.origin import imported_files, tables_kept
from libhetero.io.particle_rows import ParticleRows
from libhetero.pipelines.listing.choosing import Choice, Chosen, Places, split_values
from libhetero.pipelines.listing.run_tables import tables_at
from libhetero.pipelines.lists import INDEX_ENDINGS, ListConfig, refuse_inputs
from libhetero.records import ParticleEstimates, ParticleSet

ESTIMATED = (".lst", ".star")  # formats whose rows carry contrast and probability of junk
UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")  # for the name of a file
FIRST_LIST = "ptcls_00.lst"  # of a run, by which one without a record of its particles tells them


def write_outputs(config: ListConfig, choice: Choice, found: Chosen) -> list[tuple[Path, int]]:
    """Write all that was asked for; return the files and how many particles each has.

    Raises
    ------
    UserError : if a file cannot hold the particles or cannot be written.
    """
    for name in config.outputs:
        check_folder(Path(name))
    with tables_kept():
        files = _files(config, choice, found)
        if any(path.exists() for path, _ in files):
            refuse_inputs([path for path, _ in files], _inputs(config, choice))
        if config.particles3d is not None:
            rows = ParticleRows.of(config.particles3d, found.sets(), found.parts[0][0].name)
            return [(path, rows.write(path, places)) for path, places in files]
        estimates = choice.estimates(found, config) if any(path.suffix in ESTIMATED for path, _ in files) else None
        return [(path, _write(path, found.at(places), config, choice, estimates, places)) for path, places in files]


def _write(
    path: Path, part: Chosen, config: ListConfig, choice: Choice, estimates: ParticleEstimates | None, places: Places
) -> int:
    """Write one file; return how many particles it has.

    Parameters
    ----------
    estimates : of all particles that were chosen, for the columns of lists; None for none.
    places : of the particles of `part` among them.
    """
    if path.suffix in INDEX_ENDINGS:
        write_indices(path, choice.places(part), len(choice.whole.particles) if config.booleans else None)
    else:
        write_joined(path, part.sets() if estimates is None else _with_estimates(part.sets(), estimates, places))
    return len(part)


def _with_estimates(parts: list[ParticleSet], estimates: ParticleEstimates, places: Places) -> list[ParticleSet]:
    """Return sets that stand one after the other with what a run found of their particles."""
    pieces = np.split(places, np.cumsum([len(part) for part in parts])[:-1])
    return [
        dataclasses.replace(part, estimates=ParticleEstimates(estimates.contrast[rows], estimates.junk[rows]))
        for part, rows in zip(parts, pieces, strict=True)
    ]


def _files(config: ListConfig, choice: Choice, found: Chosen) -> list[tuple[Path, Places]]:
    """Return every file that is to be written, and the places of its particles among those chosen."""
    if config.split is None:
        return [(Path(name), np.arange(len(found))) for name in config.outputs]
    column, values = UNFIT.sub("_", config.split), split_values(choice, found, config.split, config)
    files: dict[Path, Places] = {}
    for path in dict.fromkeys(map(Path, config.outputs)):
        for value, places in values.items():
            shown = UNFIT.sub("_", Path(value).name if "/" in value else value)
            own = path.with_name(f"{path.stem}_{column}_{shown}{path.suffix}")
            if own in files:
                raise DataError(
                    f"{own}: two values of {config.split} give this name, one of them {value!r}; rename them."
                )
            files[own] = places
    return list(files.items())


def _inputs(config: ListConfig, choice: Choice) -> Iterator[Path]:
    """Yield every file that is read: those that the command names, and those that they lead to."""
    yield from config.named_inputs()
    for name in config.tables:
        for table in tables_at(name):
            yield table.path
            yield table.path.with_name(FIRST_LIST)
    for one in (choice.whole, *choice.given):
        yield from imported_files(one.particles)
