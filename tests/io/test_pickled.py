"""Pickles of arrays: what NumPy of any version writes is read, and nothing runs, crashes or grows."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io.pickled import read_pickle

PROTOCOLS = range(6)
CONTENTS = {
    "poses": (np.arange(45, dtype="<f4").reshape(5, 3, 3), np.full((5, 2), 0.25)),
    "rotations in a list": [np.eye(3), np.eye(3)],
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "other order of bytes": np.arange(3, dtype=">i4"),
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::2],
    "half precision": np.arange(4, dtype=np.float16),
    "truth values": np.array([True, False]),
    "nothing": np.zeros((0, 2)),
    "one number": np.float32(2.5),
    "no axis": np.array(5),
    "numbers": [np.int64(3), 4, -5, 2**70, 1.5, True, None],
    "lists": [[1, 2], [3, 4]],
    "empty": [],
}


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", CONTENTS)
def test_what_numpy_writes_is_read(tmp_path, name, protocol):
    written = pickle.dumps(CONTENTS[name], protocol=protocol)
    (tmp_path / "a.pkl").write_bytes(written)
    assert_same(read_pickle(tmp_path / "a.pkl"), CONTENTS[name])


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_module_names_of_numpy_1(tmp_path, protocol):
    written = pickle.dumps(np.arange(6.0), protocol=protocol)
    assert b"numpy._core.multiarray" in written
    (tmp_path / "a.pkl").write_bytes(written.replace(b"numpy._core.", b"numpy.core."))
    assert_same(read_pickle(tmp_path / "a.pkl"), np.arange(6.0))


def test_bytes_of_python_2(tmp_path):
    """Python 2 writes the content as text, SHORT_BINSTRING, where 3 writes bytes."""
    written = pickle.dumps(np.array([200, 7], "u1"), protocol=3)
    assert written.count(b"C\x02\xc8\x07") == 1
    (tmp_path / "a.pkl").write_bytes(written.replace(b"C\x02\xc8\x07", b"U\x02\xc8\x07"))
    assert_same(read_pickle(tmp_path / "a.pkl"), np.array([200, 7], "u1"))


class Harmful:
    """Would run a command when unpickled."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


class Keyed(dict):
    """A class of our own."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "content",
    [Harmful(), [np.zeros(3), Harmful()], print, np.ndarray, np.dtype("f8"), {"a": 1}, {1, 2}, Keyed(), 1j]
    + [np.array([{}], object), np.zeros(2, "c16"), np.zeros(2, [("a", "f4")]), np.array(["text"])],
)
def test_anything_else_is_refused(tmp_path, monkeypatch, content, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(DataError, match=r"a\.pkl: refused: not a pickle of arrays alone"):
        read_pickle(tmp_path / "a.pkl")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_shape_and_dtype_must_fit_the_bytes(tmp_path, protocol):
    written = pickle.dumps(np.arange(3, dtype="<i2"), protocol=protocol)
    for old, new in ((b"i2", b"i4"), (b"i2", b"O8"), (b"i2", b"V2")):
        (tmp_path / "a.pkl").write_bytes(written.replace(old, new))
        with pytest.raises(DataError, match="refused"):
            read_pickle(tmp_path / "a.pkl")
    for cut in range(1, len(written)):
        (tmp_path / "a.pkl").write_bytes(written[:cut])
        with pytest.raises(DataError, match="refused"):
            read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("state", [b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ft", b"NNNK\x08J\xff\xff\xff\xffK\x00t"])
def test_a_dtype_with_more_to_its_state_is_refused(tmp_path, state):
    """Flags, sizes, fields, subarrays: NumPy writes none of them for simple numbers."""
    written = pickle.dumps(np.arange(3.0), protocol=2)
    plain = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    assert written.count(plain) == 1
    (tmp_path / "a.pkl").write_bytes(written.replace(plain, state))
    with pytest.raises(DataError, match="a dtype that is not of simple numbers"):
        read_pickle(tmp_path / "a.pkl")


def doubled(pair: bytes, times: int = 40) -> bytes:
    """A pickle of a container with the one before it twice, and so on: 2^times pieces in a few bytes."""
    return b"\x80\x04" + b"K\x01\x94" + b"".join(pair.replace(b"@", bytes([i])) for i in range(times))


DTYPE = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8\x89\x88tR"
EMPTY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
BYTES = b"B" + (100_000).to_bytes(4, "little") + bytes(100_000)
HOSTILE = {
    "tuples doubled": doubled(b"h@h@\x86\x94") + b".",
    "lists doubled": doubled(b"](h@h@e\x94") + b".",
    "a doubled tuple as dtype": doubled(b"h@h@\x86\x94") + b"cnumpy\ndtype\nh\x28\x85R.",
    "a doubled list as name": doubled(b"](h@h@e\x94") + b"h\x28h\x28\x93.",
    "a list within itself": b"\x80\x04]\x94h\x00a.",
    "lists within lists": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "a dtype with fields of nothing": b"\x80\x04" + DTYPE
    + b"(K\x03X\x01\x00\x00\x00|NX\x01\x00\x00\x00aNJ\xff\xff\xff\x7fK\x08K?tb.",
    "a dtype with a subarray": b"\x80\x04" + DTYPE + b"(K\x03X\x01\x00\x00\x00|" + DTYPE
    + b"(J\xff\xff\xff\x7ft\x86NNK\x08K\x08K\x00tb.",
    "objects": b"\x80\x04cnumpy\ndtype\n(X\x02\x00\x00\x00O8\x89\x88tR.",
    "a shape of 2^60": b"\x80\x04" + EMPTY
    + b"(K\x01\x8a\x08" + bytes(7) + b"\x10\x85" + DTYPE + b"\x89C\x08" + bytes(8) + b"tb.",
    "a state for a list": b"\x80\x04](K\x01tb.",
    "bytes of a stated length": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
    "text of a stated length": b"\x80\x04X\xff\xff\xff\xffabc.",
    "bytes copied many times": b"\x80\x04c_codecs\nencode\n\x94X\xa0\x86\x01\x00" + b"a" * 100_000
    + b"\x94X\x06\x00\x00\x00latin1\x94" + b"(" + b"h\x00h\x01h\x02\x86R" * 60_000 + b"t.",
    "one array many times": b"\x80\x04cnumpy._core.numeric\n_frombuffer\n(" + BYTES + DTYPE
    + b"J\xd4\x30\x00\x00\x85X\x01\x00\x00\x00CtR\x94" + b"(" + b"h\x00" * 100_000 + b"t.",
    "a number beyond a float": b"\x80\x04](\x8b\x00\x02\x00\x00" + b"\x7f" * 512 + b"e.",
    "nothing on the stack": b"\x80\x04\x86.",
    "no mark": b"\x80\x04t.",
    "no memo": b"\x80\x04h\x07.",
}  # fmt: skip
CHILD = """
import resource, sys, time
from pathlib import Path
from libhetero.errors import DataError
from libhetero.io.cryodrgn import read_ctf, read_poses
from libhetero.io.indices import read_indices
from libhetero.io.pickled import read_pickle
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
for path in sorted(Path(sys.argv[1]).glob("*.pkl")):
    for read in (read_pickle, read_poses, read_ctf, lambda path: read_indices(path, 4, "list")):
        start = time.monotonic()
        try:
            read(path)
            print(path.stem, read, "read")
        except DataError:
            pass
        if time.monotonic() - start > 10:
            print(path.stem, read, "slow")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory in use")
def test_crafted_files_end_in_one_line_and_little_memory(tmp_path):
    """Each is read in a process that may take 256 MiB more than it has."""
    for name, content in HOSTILE.items():
        (tmp_path / f"{name}.pkl").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        capture_output=True, text=True, timeout=200, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    read = {line for line in done.stdout.splitlines() if not line.startswith("a number beyond a float")}
    assert read == set()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01tb.",
            "at least 5 values",
        ),
        (b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R(K\x03tb.", "at least 2 values"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\n)R.", "a call with other arguments than NumPy's"),
        (b"I12x\n.", "its bytes are damaged"),
        (b"\x80\x04\x95", "its bytes are damaged"),
    ],
)
def test_what_is_wrong_is_said_without_pythons_words(tmp_path, content, reason):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match=f"a.pkl: refused: .*{reason}"):
        read_pickle(tmp_path / "a.pkl")
