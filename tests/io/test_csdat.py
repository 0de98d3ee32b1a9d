"""CSDAT, against streams put together byte by byte as cryosparc-tools 5.0.3 writes them."""

import json

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles
from libhetero.io.csdat import MAGIC, read_csdat
from libhetero.io.lz4_block import unpack

TEXTS = b"J1/a.mrcs\0J1/b\xc3\xa9.mrcs\0"
FIELDS = [["uid", "<u8"], ["blob/path", "|O"], ["blob/idx", "<u4"], ["blob/shape", "<u4", [2]], ["blob/psize_A", "<f4"]]
COLUMNS = {
    "uid": np.array([5, 2**64 - 1, 7], "<u8"),
    "blob/path": np.array([0, 10, 0], "<u8"),
    "blob/idx": np.array([4, 0, 9], "<u4"),
    "blob/shape": np.full((3, 2), 8, "<u4"),
    "blob/psize_A": np.array([1.5, 2.5, 1.5], "<f4"),
}


def literal(data: bytes) -> bytes:
    """A block of LZ4 that holds data as it is."""
    return bytes([len(data) << 4]) + data if len(data) < 15 else b"\xf0" + bytes([len(data) - 15]) + data


def stream(packed=(), fields=FIELDS, columns=COLUMNS, texts=TEXTS, **said):
    header = {"length": 3, "dtype": fields, "compression": "lz4" if packed else None, "compressed_fields": list(packed)}
    text = json.dumps(header | said).encode()
    blocks = [literal(columns[name].tobytes()) if name in packed else columns[name].tobytes() for name, *_ in fields]
    body = b"".join(len(block).to_bytes(4, "little") + block for block in blocks)
    return MAGIC + len(text).to_bytes(4, "little") + text + body + texts


@pytest.mark.parametrize("packed", [(), tuple(COLUMNS)[1:]])
def test_columns_are_read(tmp_path, packed):
    assert unpack(literal(bytes(40)), 40) == bytes(40)
    (tmp_path / "a.cs").write_bytes(stream(packed))
    rows = read_csdat(tmp_path / "a.cs")
    for name in ("uid", "blob/idx", "blob/shape", "blob/psize_A"):
        np.testing.assert_array_equal(rows[name], COLUMNS[name])
        assert rows.dtype[name] == COLUMNS[name].dtype or rows.dtype[name].subdtype[0] == COLUMNS[name].dtype
    assert rows["blob/path"].tolist() == [b"J1/a.mrcs", "J1/bé.mrcs".encode(), b"J1/a.mrcs"]


def test_particles_are_read(tmp_path):
    (tmp_path / "a.cs").write_bytes(stream())
    particles = read_particles(tmp_path / "a.cs", need_images=False)
    assert [particles.files[i].rpartition("/")[2] for i in particles.file_id] == ["a.mrcs", "bé.mrcs", "a.mrcs"]
    np.testing.assert_array_equal(particles.image_index, [4, 0, 9])
    np.testing.assert_allclose(particles.pixel_size, [1.5, 2.5, 1.5])


def test_an_empty_table_has_no_columns_in_it(tmp_path):
    text = json.dumps({"length": 0, "dtype": FIELDS, "compression": None, "compressed_fields": []}).encode()
    (tmp_path / "a.cs").write_bytes(MAGIC + len(text).to_bytes(4, "little") + text)
    assert len(read_csdat(tmp_path / "a.cs")) == 0
    assert len(read_particles(tmp_path / "a.cs")) == 0


@pytest.mark.parametrize(
    "content",
    [
        MAGIC,
        stream(length=10**12),
        stream(length=-1),
        stream(length="3"),
        stream(compression="zip"),
        stream(dtype={}),
        stream(dtype=[["uid", "<u8", [2**40]]]),
        stream(dtype=[["uid", "|V99"]]),
        stream(dtype=[["uid", "<u8"], ["uid", "<u8"]]),
        stream(dtype=["uid"]),
        stream(compressed_fields=None),
        stream(compressed_fields=["blob/idx"]),
        stream(texts=b"J1/a.mrcs"),
        MAGIC + (10).to_bytes(4, "little") + b"[" * 10,
        MAGIC + (10**6).to_bytes(4, "little") + b"[" * 10**6,
    ],
)
def test_damaged_streams_are_one_line(tmp_path, content):
    (tmp_path / "a.cs").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.cs: not a cryoSPARC table \(.*\); export"):
        read_particles(tmp_path / "a.cs", need_images=False)


def test_every_cut_is_one_line(tmp_path):
    whole = stream(tuple(COLUMNS)[1:])
    for cut in range(1, len(whole), 7):
        (tmp_path / "a.cs").write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_particles(tmp_path / "a.cs", need_images=False)


def test_no_table_is_far_longer_than_its_file(tmp_path):
    """A million rows of one byte that repeats, in 16 kB."""
    size = 4_000_000
    more, rest = divmod(size - 1 - 4 - 15 - 5, 255)
    block = b"\x1f\x07\x01\x00" + b"\xff" * more + bytes([rest]) + b"\x50" + b"\x07" * 5
    assert unpack(block, size) == b"\x07" * size
    for rows, name in ((size // 4, "blob/idx"), (size // 8, "uid")):
        header = {
            "length": rows,
            "dtype": [[name, f"<u{size // rows}"]],
            "compression": "lz4",
            "compressed_fields": [name],
        }
        text = json.dumps(header).encode()
        whole = MAGIC + len(text).to_bytes(4, "little") + text + len(block).to_bytes(4, "little") + block
        (tmp_path / "a.cs").write_bytes(whole)
        with pytest.raises(ValueError, match=f"cannot hold {rows} rows"):
            read_csdat(tmp_path / "a.cs")


def test_a_column_cut_short_is_named(tmp_path):
    (tmp_path / "a.cs").write_bytes(stream(columns=COLUMNS | {"blob/idx": COLUMNS["blob/idx"][:2]}))
    with pytest.raises(DataError, match="a.cs: .*column blob/idx holds 8 bytes; 3 rows take 12"):
        read_particles(tmp_path / "a.cs")
