"""Scores as JSON and as lines."""

from libhetero.pipelines.scoring.table import finite


def test_what_json_cannot_hold_is_null() -> None:
    assert finite({"a": [float("nan"), 1.0], "b": float("inf")}) == {"a": [None, 1.0], "b": None}
