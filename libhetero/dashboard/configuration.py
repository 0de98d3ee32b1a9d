"""Which runs are shown, and to whom."""

from __future__ import annotations

import re
from dataclasses import dataclass

from libhetero.configuration import check_options, option

LOOPBACK = "127.0.0.1"
FIRST_PORT, TRIED = 8765, 50  # where no port is asked for: the first that is free


def _address(value: str) -> str | None:
    """Return what is expected of a host, where this is none."""
    return None if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", value) else "an address or a name of this machine"


@dataclass(frozen=True)
class DashboardConfig:
    """Which runs are shown, and to whom."""

    runs: tuple[str, ...] = option(
        positional="RUN", count="+", help="run folders, such as hype_00, or folders that hold runs"
    )
    host: str = option(
        LOOPBACK,
        "--host",
        metavar="ADDRESS",
        check=_address,
        help="address of this machine to listen at; at any but 127.0.0.1 whoever reaches it and has the token may look",
    )
    port: int | None = option(
        None,
        "--port",
        metavar="N",
        least=0,
        most=65535,
        help="to listen at, 0 for any that is free",
        shown_default=f"{FIRST_PORT}, or the next that is free",
    )
    readonly: bool = option(
        False, "--readonly", help="show only: nothing is written into the runs, and no program is started"
    )
    nobrowser: bool = option(False, "--nobrowser", help="open no browser")
    repeat: str | None = option(
        None,
        "--repeat",
        metavar="FILE",
        help="make a selection anew by its selection.json, of the one run that is named, write its lists and end",
    )
    name: str | None = option(
        None,
        "--name",
        metavar="NAME",
        goes_with=("repeat",),
        help="of the selection that is made anew",
        shown_default="as it was, which is replaced",
    )

    def __post_init__(self) -> None:
        check_options(self)
