"""The schema of cryoSPARC's columns: a column of another kind or shape is named, whatever it is."""

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import read_particles
from libhetero.io.cs_columns import COLUMNS, column_of
from libhetero.io.ctf_columns import CTF_COLUMNS
from tests.making.cs_tables import alignment_columns, cs_columns, save_cs

WHOLE = cs_columns() | alignment_columns("alignments3D") | {column.cs: np.ones(4, "f4") for column in CTF_COLUMNS}
WHOLE |= {"location/micrograph_path": np.full(4, b"m.mrc"), "ctf/exp_group_id": np.ones(4, "u4")}
OTHERS = {
    "text": np.full(4, b"x"),
    "numbers": np.ones(4, "f4"),
    "whole numbers": np.ones(4, "i8"),
    "pairs": np.ones((4, 2), "f4"),
    "whole pairs": np.ones((4, 2), "u4"),
    "triples": np.ones((4, 3), "f4"),
    "matrices": np.ones((4, 3, 3), "f4"),
    "complex": np.ones(4, "c8"),
    "truth": np.ones(4, bool),
    "dates": np.zeros(4, "M8[s]"),
    "records": np.zeros(4, [("a", "f4")]),
}


def test_the_whole_table_is_read(tmp_path):
    assert len(read_particles(save_cs(tmp_path / "a.cs", WHOLE), need_images=False)) == 4


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", [name for name in WHOLE if column_of(name) is not None])
def test_columns_of_another_kind_are_named(tmp_path, name, other):
    path = save_cs(tmp_path / "a.cs", WHOLE | {name: OTHERS[other]})
    if column_of(name).admits(np.dtype((OTHERS[other].dtype, OTHERS[other].shape[1:]))):
        assert len(read_particles(path, need_images=False)) == 4
        return
    with pytest.raises(DataError, match=rf"a\.cs: column {name}: expected .* a particle; got .* a particle; export"):
        read_particles(path, need_images=False)


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("blob/idx", "column blob/path without blob/idx; expected both"),
        ("alignments3D/shift", "column alignments3D/pose without alignments3D/shift"),
        ("blob/path", "no column blob/path, so no images; .* --passthrough FILE"),
    ],
)
def test_columns_that_go_together(tmp_path, absent, message):
    path = save_cs(tmp_path / "a.cs", {name: values for name, values in WHOLE.items() if name != absent})
    with pytest.raises(DataError, match=message):
        read_particles(path, need_images=False)


@pytest.mark.parametrize(
    "absent", ["uid", "blob/shape", "blob/psize_A", "blob/sign", "alignments3D/split", "ctf/bfactor"]
)
def test_columns_that_may_be_absent(tmp_path, absent):
    path = save_cs(tmp_path / "a.cs", {name: values for name, values in WHOLE.items() if name != absent})
    assert len(read_particles(path, need_images=False, pixel_size=2.0)) == 4


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 2), [("uid", "u8")]), np.zeros((), [("uid", "u8")]), np.zeros(3), np.zeros(0)]
)
def test_arrays_that_are_no_table(tmp_path, rows):
    with open(tmp_path / "a.cs", "wb") as file:
        np.save(file, rows)
    with pytest.raises(DataError, match=r"a\.cs: .*; expected a cryoSPARC particle table"):
        read_particles(tmp_path / "a.cs")


@pytest.mark.parametrize("index", [-1, 2**31])
def test_image_numbers_beyond_any_stack_are_named(tmp_path, index):
    path = save_cs(tmp_path / "a.cs", WHOLE | {"blob/idx": np.array([0, 1, index, 3], "i8")})
    with pytest.raises(DataError, match=f"blob/idx of particle 3 is {index}"):
        read_particles(path, need_images=False)


def test_every_column_read_has_a_kind_of_its_own():
    assert all(column_of(name) is column for name, column in COLUMNS.items())
    assert column_of("alignments_class_12/pose").shapes == ((3,),)
    assert column_of("alignments3D_multi/pose").shapes == ((None, 3),)
    assert column_of("alignments2D/pose") is None and column_of("pose") is None
