"""Reads TensorBoard's event files: records of length, checksum, event and checksum, little-endian."""

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def read_events(folder: Path) -> list[Event]:
    """Return the events of all files in the order that TensorBoard reads them."""
    events = []
    for path in sorted(folder.iterdir()):
        assert "tfevents" in path.name
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def shown(folder: Path) -> dict[str, dict[int, float | bytes]]:
    """Return value or PNG by name and step, as TensorBoard shows them: after a start, nothing from its step on."""
    series = {}
    for event in read_events(folder):
        if event.session_log.status == SessionLog.START:
            for values in series.values():
                for step in [step for step in values if step >= event.step]:
                    del values[step]
        for value in event.summary.value:
            number = value.HasField("simple_value")
            content = value.simple_value if number else value.image.encoded_image_string
            series.setdefault(value.tag, {})[event.step] = content
    return series
