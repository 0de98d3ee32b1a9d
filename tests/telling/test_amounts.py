"""Durations, sizes and rates as people read them."""

import pytest

from libhetero.telling import byte_size, duration, pace


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (3.214, "3.21 s"), (59, "59 s"), (60, "1 min 00 s"), (307, "5 min 07 s"), (7500, "2 h 05 min")],
)
def test_a_duration_has_its_two_largest_units(seconds, words) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(1000, "1000 B"), (2**10, "1 KiB"), (23040, "22.5 KiB"), (2**31, "2 GiB"), (2**42, "4096 GiB")]
)
def test_a_size_has_the_largest_unit_that_fits(count, words) -> None:
    assert byte_size(count) == words


def test_a_pace_has_rate_and_time_left() -> None:
    assert pace(20_123.4, "particles", 12) == "20123 particles/s, 12 s left"
    assert pace(0.1234, "steps", 90) == "0.123 steps/s, 1 min 30 s left"
    assert pace(3.0, "volumes", 0.00192) == "3 volumes/s, 0 s left"
