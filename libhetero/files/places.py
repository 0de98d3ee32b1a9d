"""Where a path leads, for programs that will look at it from another folder.

`os.path.abspath` shortens `folder/..` as text. Where the folder is a link, the system goes to another place than
that, and another file of the same name may lie there.
"""

from __future__ import annotations

import os


def absolute_path(path: str | os.PathLike) -> str:
    """Return an absolute path to what the system finds under `path`.

    A name without `..` is only put below the current folder. The folder of one with `..` is taken as the text
    says where that is the same place, and with its links followed elsewhere.
    """
    text = os.fspath(path)
    shortened = os.path.abspath(text)
    if ".." not in text.split(os.sep):
        return shortened
    folder, name = os.path.split(os.path.join(os.getcwd(), text))
    if name in ("", "..") or not os.path.isdir(folder):
        return os.path.realpath(text)
    lexical = os.path.dirname(shortened)
    same = os.path.isdir(lexical) and os.path.samefile(folder, lexical)
    return shortened if same else os.path.join(os.path.realpath(folder), name)
