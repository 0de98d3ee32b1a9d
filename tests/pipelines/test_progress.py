"""Progress passes blocks on, tells the caller how far it is, and speaks now and then."""

import logging

import pytest

from libhetero.pipelines import progress
from libhetero.pipelines.progress import tracked


def test_blocks_pass_and_fractions_rise(monkeypatch, caplog):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    caplog.set_level(logging.INFO, "libhetero")
    fractions = []
    blocks = [[1, 2], [3, 4], [5]]
    assert list(tracked(blocks, 5, "decoding", progress=fractions.append)) == blocks
    assert fractions == pytest.approx([0.4, 0.8, 1.0])
    assert "decoding 5/5" in caplog.text and "s left" in caplog.text


def test_nothing_is_no_error():
    assert list(tracked([], 0, "decoding")) == []
