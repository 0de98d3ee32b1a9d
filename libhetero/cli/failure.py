"""A user's or a machine's mistake, in one line: what, where, and the remedy."""

from __future__ import annotations

from libhetero.errors import UserError
from libhetero.files import describe_os_error

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
        message = describe_os_error(error)
    elif isinstance(error, MemoryError):
        message = f"the memory is exhausted ({error}): {_OUT_OF_MEMORY}."
        message = message.replace(" ()", "")
    elif _is_device_out_of_memory(error):
        message = f"the device's memory is exhausted: {_OUT_OF_MEMORY}."
    else:
        return None
    return readable(message)


def readable(message: str) -> str:
    """Return a message as one line that a terminal shows as it is: what controls it (ESC, NUL, a reversed order of
    letters), as a damaged file may hold, is written out as \\x1b. Bytes of a file's name that are no text stay.
    """
    line = " ".join(message.split())
    return "".join(
        letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else ascii(letter)[1:-1] for letter in line
    )


def _is_device_out_of_memory(error: BaseException) -> bool:
    # Known by its name, so that JAX need not be loaded to tell.
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"XlaRuntimeError", "JaxRuntimeError"}) and "RESOURCE_EXHAUSTED" in str(error)
