"""Why a request is not answered: one line, and the number that HTTP has for it."""

from __future__ import annotations

from libhetero.cli.failure import describe_failure, readable
from libhetero.errors import UserError


class Refusal(UserError):
    """A request that is refused.

    Parameters
    ----------
    status : of HTTP: 400 wrong, 403 not allowed, 404 not there, 409 in the way of another, 413 too much, 503 busy.
    message : one line.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def one_line_of(error: BaseException) -> str:
    """Return what went wrong in one line: as programs tell it, and a defect of ours by its kind and message."""
    return describe_failure(error) or readable(f"{type(error).__name__}: {error}")


def wrong(message: str) -> Refusal:
    """Return the refusal of a request that asks for what cannot be."""
    return Refusal(400, message)


def missing(message: str) -> Refusal:
    """Return the refusal of a request for what is not there."""
    return Refusal(404, message)
