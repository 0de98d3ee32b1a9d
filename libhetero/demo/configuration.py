"""What the demo can be asked for; light."""

from __future__ import annotations

from dataclasses import dataclass

from libhetero.configuration import check_options, option


@dataclass(frozen=True)
class DemoConfig:
    """Where the demo runs, and how much of it."""

    folder: str = option(
        "demo",
        positional="FOLDER",
        help="made for the demo; an earlier demo's is made anew, and any that holds something else is refused",
    )
    quick: bool = option(
        False, "--quick", help="one story in place of two: pieces that come and go, in fewer images, with one decoder"
    )

    def __post_init__(self) -> None:
        check_options(self)
