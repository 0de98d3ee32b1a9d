"""Nothing is opened that is no file, and what is no data is told as what it is."""

import os
import socket
import subprocess
import sys

import pytest

from libhetero.errors import DataError
from libhetero.files import check_readable


def test_a_file_is_given_back(tmp_path):
    (tmp_path / "here").write_bytes(b"MAP ")
    assert check_readable(str(tmp_path / "here")) == tmp_path / "here"
    (tmp_path / "link").symlink_to("here")
    assert check_readable(tmp_path / "link") == tmp_path / "link"


def make_loop(path):
    path.symlink_to(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # a socket's name may have a hundred letters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "found a folder"),
        (os.mkfifo, "found a pipe"),
        (make_socket, "found a socket"),
        (make_loop, "symbolic links"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
        (lambda path: path.write_text("\ufeff\n <!DOCTYPE html><html></html>"), "a web page"),
        (lambda path: path.write_text("<html><body>403 Forbidden</body></html>"), "a web page"),
    ],
)
def test_what_is_no_file_with_data(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "there")
    with pytest.raises(DataError, match=f"there: .*{message}"):
        check_readable(tmp_path / "there")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/full", "/dev/random"])
def test_devices(name):
    if not os.path.exists(name):
        pytest.skip(f"this system has no {name}")
    with pytest.raises(DataError, match="found a device"):
        check_readable(name)


def test_names_that_no_file_can_have(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        check_readable("a\0b")
    with pytest.raises(DataError, match="too long"):
        check_readable(tmp_path / ("x" * 300))
    (tmp_path / "file").write_text("text")
    with pytest.raises(DataError, match="no such file"):
        check_readable(tmp_path / "file" / "below")


def test_what_comes_through_a_pipe_is_not_waited_for():
    """Standard input by its name, which hangs where it is opened and nobody writes."""
    code = "from libhetero.files import check_readable; check_readable('/dev/stdin')"
    read, write = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", code], stdin=read, capture_output=True, text=True, timeout=60)
    finally:
        os.close(read), os.close(write)
    assert "DataError: /dev/stdin: expected a file, found a pipe" in done.stderr
