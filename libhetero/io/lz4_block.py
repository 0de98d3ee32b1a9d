"""LZ4's block format, unpacked.

A block is a row of sequences: a token with two lengths, literal bytes, and a match, which repeats bytes that came out
before. The format has been frozen since 2011 and takes the lines below; it is met in one rare kind of table alone, too
little for a compiled library.
"""

from __future__ import annotations

LONG = 15  # a length that goes on in the bytes that follow
LEAST_MATCH = 4


def unpack(block: bytes, size: int) -> bytes:
    """Return the `size` bytes that were packed into a block.

    Raises
    ------
    ValueError : if the block is damaged, or holds more or less than that.
    """
    out, place = bytearray(), 0
    try:
        while True:
            token = block[place]
            count, place = _length(block, place + 1, token >> 4)
            out += block[place : place + count]
            place += count
            if place >= len(block) or len(out) > size:
                break
            offset = block[place] | block[place + 1] << 8
            count, place = _length(block, place + 2, token & 15)
            _repeat(out, offset, count + LEAST_MATCH, size)
    except IndexError:
        raise ValueError("a block of LZ4 ends early") from None
    if place != len(block) or len(out) != size:
        raise ValueError(f"a block of LZ4 holds {len(out)} bytes in place of {size}")
    return bytes(out)


def _length(block: bytes, place: int, count: int) -> tuple[int, int]:
    """Return a length that begins with four bits of the token, and where what follows it begins."""
    if count == LONG:
        while (more := block[place]) == 255:
            count, place = count + more, place + 1
        count, place = count + more, place + 1
    return count, place


def _repeat(out: bytearray, offset: int, count: int, size: int) -> None:
    """Append `count` bytes that begin `offset` before the end, and may run into themselves."""
    start = len(out) - offset
    if offset == 0 or start < 0 or len(out) + count > size:
        raise ValueError("a block of LZ4 repeats what is not there")
    piece = bytes(out[start : start + count])
    out += (piece * (count // len(piece) + 1))[:count]
