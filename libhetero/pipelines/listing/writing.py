"""Lists of particles beside each other in several formats, of which one may not hold what another does."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from libhetero.io import lst, write_particles
from libhetero.io.origin import tables_kept
from libhetero.io.paths import NameNotHeld
from libhetero.records import ParticleSet

LOGGER = logging.getLogger(__name__)
LIST_ENDINGS = (".lst", ".star", ".cs")  # of all lists that may be written beside each other


def endings_of(particles: ParticleSet) -> tuple[str, ...]:
    """Return the formats that lists of a set are written in: .lst and .star, and .cs where it came from one."""
    source = particles.source
    name = ""
    if source is not None and source.format == "lst" and len(source.rows):
        name = str(lst.line_values(source.data, int(source.rows[0])).get("hetero_source", ""))
    from_cs = source is not None and (source.format == "cs" or name.endswith(".cs"))
    return LIST_ENDINGS if from_cs else LIST_ENDINGS[:2]


def write_lists(folder: Path, sets: Mapping[str, ParticleSet], endings: Iterable[str] | None = None) -> list[str]:
    """Write each set as NAME.lst and NAME.star, and as NAME.cs where all came from one; a format that cannot hold the
    names of the stacks is left out.

    Returns the endings of the formats that hold all of them.

    Parameters
    ----------
    folder : where.
    sets : particles by the name of their lists, without ending.
    endings : of the formats; None for these.

    Raises
    ------
    NameNotHeld : when no format can hold them.
    """
    left_out: dict[str, NameNotHeld] = {}
    if endings is None:
        every = [endings_of(particles) for particles in sets.values()]
        endings = min(every, key=len, default=LIST_ENDINGS[:2])
    endings = tuple(endings)
    with tables_kept():
        for name, particles in sets.items():
            for ending, reason in _write(folder, name, particles, endings).items():
                left_out.setdefault(ending, reason)
    for ending, reason in left_out.items():
        LOGGER.warning("no %s for some of the lists: %s", ending, reason)
    return [ending for ending in endings if ending not in left_out]


def _write(folder: Path, name: str, particles: ParticleSet, endings: tuple[str, ...]) -> dict[str, NameNotHeld]:
    """Write one set in every format that can hold it; return why others cannot."""
    failed = {}
    for ending in endings:
        try:
            write_particles(folder / f"{name}{ending}", particles)
        except NameNotHeld as error:
            failed[ending] = error
    if failed and len(failed) == len(endings):
        raise next(iter(failed.values()))
    return failed
