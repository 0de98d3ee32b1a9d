"""Two runs in one folder: the second is refused, naming the first."""

import os

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


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="gone/.lock: the folder .* does not exist"), locked(tmp_path / "gone"):
        pass
