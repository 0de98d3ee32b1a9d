"""Files that a run or a classification names by absolute paths, found again after the project has moved or was linked.

A path that leads nowhere any more is looked for by its last parts in the folders above the run: of
/old/project/sets/particles.star, `sets/particles.star` beside /new/project/hype_00, or `particles.star` there. That it
is the same list is not taken on trust: a run compares it with its record, and a table of classes names its list.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from libhetero.configuration import declared_options
from libhetero.files import absolute_path
from libhetero.pipelines.run.data import DataConfig

LOGGER = logging.getLogger(__name__)
LEFT_ALONE = ("cache",)  # made anew where it is missing


def where_it_lies(data: DataConfig, folder: Path) -> DataConfig:
    """Return the same particles by paths that exist, as far as there are any.

    Parameters
    ----------
    data : as stored in a folder.
    folder : which may lie elsewhere than it did.
    """
    found: dict[str, Any] = {}
    for field, said in declared_options(data):
        value = getattr(data, field.name)
        if not said.path or value is None or field.name in LEFT_ALONE:
            continue
        found[field.name] = (
            tuple(_found(path, folder) for path in value) if isinstance(value, tuple) else _found(value, folder)
        )
    if data.datadir is not None and not os.path.exists(found["datadir"]):
        found["datadir"] = None  # stacks are looked for in the folders above the list, too
    return dataclasses.replace(data, **found)


def _found(path: str, folder: Path) -> str:
    if os.path.exists(path):
        return path
    for candidate in _candidates(path, folder):
        if os.path.exists(candidate):
            LOGGER.info("%s: %s is no longer there; taken from %s", folder, path, candidate)
            return candidate
    return path


def _candidates(path: str, folder: Path) -> Iterator[str]:
    """Yield the places where a file may lie now: nearer folders first, and there those that share more of its path."""
    parts = Path(path).parts[1:] if os.path.isabs(path) else Path(path).parts
    here = Path(absolute_path(folder))
    real = Path(os.path.realpath(folder))
    for above in dict.fromkeys((here, *here.parents, real, *real.parents)):
        for start in range(len(parts)):
            yield os.path.join(above, *parts[start:])
