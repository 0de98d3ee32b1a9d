"""The table of the CTF's parameters in files, by itself."""

from __future__ import annotations

import dataclasses

import numpy as np

from libhetero.io.ctf_columns import BESIDE_EMAN2, CTF_COLUMNS, beside_eman2, ctf_of_columns, lacking
from libhetero.records import CTFParams

VALUES = {column.field: np.array([0.1 * (i + 1), 0.2 * (i + 1)]) for i, column in enumerate(CTF_COLUMNS)}


def test_every_parameter_has_names_and_columns_of_its_own() -> None:
    always = [field.name for field in dataclasses.fields(CTFParams) if field.default is dataclasses.MISSING]
    assert sorted(column.field for column in CTF_COLUMNS) == sorted(always)
    for name in ("star", "cs", "cryodrgn"):
        places = [getattr(column, name) for column in CTF_COLUMNS]
        assert len(set(places)) == len(places), name


def test_what_is_absent_means_nothing_and_is_not_written() -> None:
    needed = {name: values for name, values in VALUES.items() if name not in ("phase_shift", "b_factor", "scale")}
    ctf = ctf_of_columns(needed)
    np.testing.assert_array_equal(np.stack([ctf.phase_shift, ctf.b_factor, ctf.scale]), [[0, 0], [0, 0], [1, 1]])
    assert beside_eman2(ctf) == [{}, {}]
    assert [column.field for column in lacking(needed)] == []
    assert [column.field for column in lacking({**needed, "voltage": None})] == ["voltage"]


def test_keys_beside_eman2_hold_what_its_ctf_cannot() -> None:
    ctf = ctf_of_columns(VALUES)
    for i, keys in enumerate(beside_eman2(ctf)):
        assert keys == {key: float(getattr(ctf, column.field)[i]) for key, column in BESIDE_EMAN2.items()}


def test_angles_and_no_other_numbers_are_degrees_in_files() -> None:
    plain, degrees = ctf_of_columns(VALUES), ctf_of_columns(VALUES, degrees=True)
    for column in CTF_COLUMNS:
        factor = np.pi / 180 if column.field in ("defocus_angle", "phase_shift") else 1.0
        np.testing.assert_allclose(getattr(degrees, column.field), factor * getattr(plain, column.field), rtol=1e-6)
        np.testing.assert_allclose(column.in_file(degrees), VALUES[column.field], rtol=1e-6)
