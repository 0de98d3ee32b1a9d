"""Two programs that would make the same folder at once have one each, whatever ends them."""

import os
import signal
import subprocess
import sys

import pytest

from libhetero.files import claiming, claims

HOLD = """
import sys, time
from pathlib import Path
from libhetero.files import claiming
with claiming() as claim:
    print(claim(Path(sys.argv[1])), flush=True)
    time.sleep(60)
"""


def test_a_folder_is_claimed_once_and_nothing_of_it_stays(tmp_path):
    folder = tmp_path / "volumes" / "path_1_2.5"
    with claiming() as claim:
        assert claim(folder) and claim(folder.with_name("other"))
        with claiming() as second:
            assert not second(folder) and second(folder.with_name("path_1_2"))
        assert not claim(folder), "not even by itself"
    assert not list(tmp_path.iterdir())
    folder.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), claiming() as claim:
        assert claim(folder)
        raise ZeroDivisionError
    assert list(folder.parent.iterdir()) == [folder]


def test_a_claim_ends_with_its_process(tmp_path):
    folder = tmp_path / "motion"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        with claiming() as claim:
            assert not claim(folder)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    with claiming() as claim:
        assert claim(folder), "what a killed program leaves is no claim"
    assert not list(tmp_path.iterdir())


def test_where_there_are_no_locks_every_folder_can_be_had(tmp_path, monkeypatch):
    def refused(*arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(claims.fcntl, "flock", refused)
    with claiming() as claim, claiming() as second:
        assert claim(tmp_path / "one") and second(tmp_path / "one")


def test_a_folder_around_that_another_program_removes_meanwhile_is_made_again(tmp_path, monkeypatch):
    alone_in, removed = claims.alone_in, []

    def after_removal(folder):
        if not removed:
            removed.append(folder.rmdir())
        return alone_in(folder)

    monkeypatch.setattr(claims, "alone_in", after_removal)
    with claiming() as claim:
        assert claim(tmp_path / "volumes" / "path") and removed
        with claiming() as second:
            assert not second(tmp_path / "volumes" / "path")
    assert not list(tmp_path.iterdir())
