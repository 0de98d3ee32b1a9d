"""Two runs in one folder: the second is refused, naming the first."""

import os
import socket

import pytest

from libhetero.errors import ConfigurationError
from libhetero.pipelines.run.lock import locked


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    with locked(tmp_path):
        with pytest.raises(ConfigurationError, match=f"{tmp_path}: process {os.getpid()} on .* is training"):
            with locked(tmp_path):
                pass
    with locked(tmp_path):
        pass


def test_the_file_names_who_trains_and_nobody_afterwards(tmp_path):
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert (tmp_path / ".lock").read_text() == ""
    with pytest.raises(KeyboardInterrupt), locked(tmp_path):
        raise KeyboardInterrupt
    assert (tmp_path / ".lock").read_text() == ""


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="gone/.lock: the folder .* does not exist"), locked(tmp_path / "gone"):
        pass
