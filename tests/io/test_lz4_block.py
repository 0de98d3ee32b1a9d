"""LZ4's blocks, against blocks written by hand from its specification."""

import pytest

from libhetero.io.lz4_block import unpack

BLOCKS = {
    b"": b"\x00",
    b"abc": b"\x30abc",
    b"abcabcabcabc": b"\x32abc\x03\x00" + b"\x30abc",  # a match of 6, 3 before the end: it runs into itself
    bytes(300): b"\x1f\x00\x01\x00" + bytes([255, 299 - 4 - 15 - 255 - 5]) + b"\x50" + bytes(5),
    bytes(range(20)): b"\xf0\x05" + bytes(range(20)),
}


@pytest.mark.parametrize("whole", BLOCKS)
def test_blocks_are_unpacked(whole):
    assert unpack(BLOCKS[whole], len(whole)) == whole


@pytest.mark.parametrize("whole", [whole for whole in BLOCKS if whole])
def test_damaged_blocks_are_refused(whole):
    block = BLOCKS[whole]
    for damaged, size in (
        *((block[:cut], len(whole)) for cut in range(len(block))),
        (block + b"\x00", len(whole)),
        (block, len(whole) - 1),
        (block, len(whole) + 1),
    ):
        with pytest.raises(ValueError, match="LZ4"):
            unpack(damaged, size)


def test_a_match_of_what_is_not_there_is_refused():
    for offset in (b"\x00\x00", b"\x04\x00"):
        with pytest.raises(ValueError, match="repeats what is not there"):
            unpack(b"\x32abc" + offset + b"\x30abc", 12)


def test_no_more_comes_out_than_was_asked_for():
    with pytest.raises(ValueError, match="LZ4"):
        unpack(b"\x1f\x00\x01\x00" + b"\xff" * 100_000 + b"\x00\x50" + bytes(5), 1000)
