"""Rows of the list that particles were imported from."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io.origin import _referenced


def test_the_last_row_is_one_less_than_there_are() -> None:
    table = SimpleNamespace(particles=range(5))
    found = _referenced("a.star", lambda name: table, np.array([4, 0]))
    assert found is not None and found[0] is table
    np.testing.assert_array_equal(found[1], [4, 0])
    with pytest.raises(DataError, match="a.star: 5 particles, the list refers to row 6"):
        _referenced("a.star", lambda name: table, np.array([5, 0]))
