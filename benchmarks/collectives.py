"""What the devices of a compiled program tell each other, read from its HLO text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "s16": 2,
    "u16": 2,
    "f32": 4,
    "s32": 4,
    "u32": 4,
    "f64": 8,
    "s64": 8,
    "u64": 8,
    "c64": 8,
    "c128": 16,
}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_OPERATION = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(KINDS)})(-start)?\(")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
_LOOP = re.compile(r" while\(.*body=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_SHAPE = re.compile(r"\b([a-z]+\d+|pred)\[([\d,]*)\]")


@dataclass(frozen=True)
class Collective:
    """One operation.

    Parameters
    ----------
    kind : such as "all-reduce".
    size : bytes of its results on one device.
    overlapped : whether it is split in a start and an end, between which other work is done.
    times : that the program does it, more than once in a loop.
    """

    kind: str
    size: int
    overlapped: bool
    times: int = 1


def collectives(text: str) -> list[Collective]:
    """Return the collectives of a compiled program's text.

    The result of a start of anything but an all-reduce lists operands and results; the larger half counts.
    """
    times, found = _times(text), []
    for inside, line in _lines(text):
        match = _OPERATION.search(line)
        if match is None:
            continue
        sizes = [shape_bytes(kind, dimensions) for kind, dimensions in _SHAPE.findall(match[1])]
        started = match[3] is not None
        paired = started and match[2] != "all-reduce"
        half = len(sizes) // 2
        size = max(sum(sizes[:half]), sum(sizes[half : 2 * half])) if paired else sum(sizes)
        found.append(Collective(match[2], size, started, times.get(inside, 1)))
    return found


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line with the name of the computation that it stands in."""
    inside = ""
    for line in text.splitlines():
        begun = _COMPUTATION.match(line)
        inside = begun[1] if begun else inside
        yield inside, line


def _times(text: str) -> dict[str, int]:
    """Return how often the body of each loop of known length is run, loops within loops included."""
    bodies = {}
    for inside, line in _lines(text):
        loop, trips = _LOOP.search(line), _TRIPS.search(line)
        if loop:
            bodies[loop[1]] = (inside, int(trips[1]) if trips else 1)

    def times(name: str) -> int:
        parent, trips = bodies[name]
        return trips * (times(parent) if parent in bodies else 1)

    return {name: times(name) for name in bodies}


def shape_bytes(kind: str, dimensions: str) -> int:
    """Return the bytes of an HLO shape such as f32[4,8]."""
    if kind not in BYTES:
        raise ValueError(f"{kind}: an HLO type of unknown size; add it to BYTES.")
    return BYTES[kind] * math.prod(int(side) for side in dimensions.split(",") if side)
