"""Event files: numbers and figures by step, and what a resumed run hides."""

import importlib.util

import numpy as np
import pytest
from matplotlib.image import imsave

from libhetero.errors import ConfigurationError
from libhetero.report.tensorboard import TensorBoard, require_tensorboard
from tests.reference.event_files import read_events, shown


def test_numbers_and_figures_stand_at_their_steps(tmp_path):
    figure = tmp_path / "figure.png"
    imsave(figure, np.random.default_rng(0).random((5, 7, 3)))
    board = TensorBoard(tmp_path / "board")
    for step in (10, 20):
        board.add_numbers(step, {"step": step, "loss": step / 4, "bytes": 2**40, "note": "text"})
    board.add_figure(20, "samples", figure)
    board.close()
    assert read_events(tmp_path / "board")[0].file_version == "brain.Event:2"
    found = shown(tmp_path / "board")
    assert found.keys() == {"loss", "bytes", "samples"}
    assert found["loss"] == {10: 2.5, 20: 5.0} and found["bytes"][20] == 2**40
    assert found["samples"] == {20: figure.read_bytes()}


def test_a_later_start_hides_what_it_repeats_and_no_more(tmp_path):
    for name, steps in (("first", (1, 2, 3, 4)), ("second", (3, 4, 4, 5))):
        board = TensorBoard(tmp_path)
        for step in steps:
            board.add_numbers(step, {name: step})
        board.close()
    assert len(list(tmp_path.iterdir())) == 2, "a start, even within a second, has a file of its own"
    assert shown(tmp_path) == {"first": {1: 1, 2: 2}, "second": {3: 3, 4: 4, 5: 5}}
    starts = [event.step for event in read_events(tmp_path) if event.HasField("session_log")]
    assert starts == [1, 3, 4]


def test_what_was_written_is_on_the_disk_before_the_end(tmp_path):
    board = TensorBoard(tmp_path)
    board.add_numbers(1, {"loss": 1.0})
    assert shown(tmp_path)["loss"] == {1: 1.0}
    board.close()


def test_a_missing_package_is_named_in_one_line(monkeypatch):
    require_tensorboard()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'libhetero\[tensorboard\]'") as raised:
        require_tensorboard()
    assert "\n" not in str(raised.value)
