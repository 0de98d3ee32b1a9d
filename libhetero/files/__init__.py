"""The ground floor for files: written whole or not at all, locked, and told of in one line when a disk refuses.

Standard library only and light at import, so that every part may build on it.
"""

from libhetero.files.atomic import check_folder, flush_folder_to_disk, flush_to_disk, replacing
from libhetero.files.claims import claiming
from libhetero.files.errors import DiskError, describe_os_error, first_line, writing, writing_error
from libhetero.files.figures import (
    CREATOR,
    RASTER,
    VECTORS,
    every_format,
    figures_as,
    remove_figures,
    remove_vectors,
    vector_format,
    vector_paths,
)
from libhetero.files.lock import FileLock, alone_in, lock_file
from libhetero.files.memory import free_memory, require_memory
from libhetero.files.places import absolute_path
from libhetero.files.readable import check_readable
from libhetero.files.sets import in_the_set, remove_stale, replacing_set, sweep
from libhetero.files.space import require_space

__all__ = [
    "CREATOR",
    "RASTER",
    "VECTORS",
    "DiskError",
    "FileLock",
    "absolute_path",
    "alone_in",
    "check_folder",
    "check_readable",
    "claiming",
    "describe_os_error",
    "every_format",
    "figures_as",
    "first_line",
    "free_memory",
    "in_the_set",
    "flush_folder_to_disk",
    "flush_to_disk",
    "lock_file",
    "remove_figures",
    "remove_stale",
    "remove_vectors",
    "replacing",
    "replacing_set",
    "require_memory",
    "require_space",
    "sweep",
    "vector_format",
    "vector_paths",
    "writing",
    "writing_error",
]
