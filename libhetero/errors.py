"""Errors that a user can cause, and can mend.

Every message is one line that says what, where, what was expected, what was found and
the remedy. Programs print it and exit with code 1; a traceback never reaches a user.
"""

TERMINATED = 143  # exit code after SIGTERM, as a shell reports it
INTERRUPTED = 130  # the same of Ctrl-C


class UserError(Exception):
    """Something in the user's files or options is wrong and the message says what to do."""


class DataError(UserError):
    """A file is missing, damaged, or does not agree with another one."""


class ConfigurationError(UserError):
    """An option or a configuration value is out of range or contradicts another one."""


class TrainingError(UserError):
    """Training cannot go on: the loss is no longer a finite number."""


class PeerError(UserError):
    """Another process of this run has failed or cannot be reached."""


class StoppedEarly(UserError):
    """The system or the user asked the run to stop; it has written a checkpoint and can go on.

    Parameters
    ----------
    message : one line.
    code : that the program ends with.
    """

    def __init__(self, message: str, code: int = TERMINATED) -> None:
        super().__init__(message)
        self.code = code
