"""A user's or a machine's mistake, in one line: what, where, and the remedy."""

from __future__ import annotations

import errno

from libhetero.errors import UserError

_REMEDIES = {
    errno.ENOENT: "no such file or folder. Check the name, and the folder the program runs in",
    errno.EACCES: "permission denied. Change its permissions, or choose another place",
    errno.EPERM: "permission denied. Change its permissions, or choose another place",
    errno.EROFS: "the file system is read-only. Choose another place",
    errno.ENOSPC: "no space left on the device. Free some space, or write elsewhere",
    errno.EDQUOT: "disk quota exceeded. Free some space, or write elsewhere",
    errno.EISDIR: "is a folder; expected a file",
    errno.ENOTDIR: "a part of this path is a file; expected a folder",
    errno.EEXIST: "exists already. Remove it, or choose another name",
    errno.EMFILE: "too many open files. Raise the limit with ulimit -n",
    errno.ENAMETOOLONG: "the file name is too long. Choose a shorter one",
}
_OUT_OF_MEMORY = "use a smaller batch, a smaller box or a larger machine"


def describe_failure(error: BaseException) -> str | None:
    """Return the one line that a user should read, or None when the error is ours.

    Parameters
    ----------
    error : what a program's work raised. UserError, OSError, MemoryError and a device out of
        memory are described; anything else is a defect of the program and deserves its traceback.
    """
    if isinstance(error, UserError):
        message = str(error)
    elif isinstance(error, OSError):
        message = _describe_os_error(error)
    elif isinstance(error, MemoryError):
        message = f"the memory is exhausted ({error}): {_OUT_OF_MEMORY}."
        message = message.replace(" ()", "")
    elif _is_device_out_of_memory(error):
        message = f"the device's memory is exhausted: {_OUT_OF_MEMORY}."
    else:
        return None
    return " ".join(message.split())


def _describe_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno is not None:
        reason = _REMEDIES.get(error.errno, reason)
    place = error.filename if error.filename2 is None else error.filename2
    if place is None:
        return f"{reason}."
    if isinstance(place, bytes):
        place = place.decode(errors="replace")
    return f"{place}: {reason}."


def _is_device_out_of_memory(error: BaseException) -> bool:
    # Known by its name, so that JAX need not be loaded to tell.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"XlaRuntimeError", "JaxRuntimeError"}) and "RESOURCE_EXHAUSTED" in str(error)
