"""The particles chosen, written as lists or as their numbers in the whole list; one file, or one for each value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from libhetero.errors import DataError
from libhetero.files import check_folder
from libhetero.io.indices import write_indices
from libhetero.io.joining import write_joined
from libhetero.io.origin import tables_kept
from libhetero.pipelines.listing.choosing import Choice, Chosen, split_values
from libhetero.pipelines.lists import INDEX_ENDINGS, ListConfig

UNFIT = re.compile(r"[^A-Za-z0-9.+-]+")  # for the name of a file


def write_outputs(config: ListConfig, choice: Choice, found: Chosen) -> list[tuple[Path, int]]:
    """Write all that was asked for; return the files and how many particles each has.

    Raises
    ------
    UserError : if a file cannot hold the particles or cannot be written.
    """
    for name in config.outputs:
        check_folder(Path(name))
    written = []
    with tables_kept():
        for name in config.outputs:
            for path, part in _parts(Path(name), config, choice, found):
                if path.suffix in INDEX_ENDINGS:
                    mask_of = len(choice.whole.particles) if config.booleans else None
                    write_indices(path, choice.places(part), mask_of)
                else:
                    write_joined(path, part.sets())
                written.append((path, len(part)))
    return written


def _parts(path: Path, config: ListConfig, choice: Choice, found: Chosen) -> Iterator[tuple[Path, Chosen]]:
    """Yield each file of one output and its particles."""
    if config.split is None:
        yield path, found
        return
    column, taken = UNFIT.sub("_", config.split), set[Path]()
    for value, which in split_values(choice, found, config.split, config).items():
        shown = UNFIT.sub("_", Path(value).name if "/" in value else value)
        own = path.with_name(f"{path.stem}_{column}_{shown}{path.suffix}")
        if own in taken:
            raise DataError(f"{own}: two values of {config.split} give this name, one of them {value!r}; rename them.")
        taken.add(own)
        yield own, found.kept(which)
