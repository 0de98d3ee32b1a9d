"""The keys of an image: what each may be, in a line of a list and in an .hdf stack."""

import math

import numpy as np
import pytest

from libhetero.errors import DataError
from libhetero.io import eman
from libhetero.io.ctf_columns import BESIDE_EMAN2
from libhetero.io.image_header import KEYS, Ctf, check_header

CTF = {**dict.fromkeys(eman.CTF_NUMBERS, 1.0), "dsbg": 0.1, "background": [1.0], "snr": []}


def test_what_is_declared_is_what_is_read():
    assert tuple(Ctf.__annotations__)[: len(eman.CTF_NUMBERS)] == eman.CTF_NUMBERS
    assert set(BESIDE_EMAN2) < set(KEYS)


def test_what_it_is_made_of_comes_back():
    values = {
        "ctf": CTF,
        "apix_x": 2,
        "ptcl3d_id": 7,
        "hetero_half": 1,
        "hetero_phase_shift": 0.5,
        "score": "any",
        "x": [1],
    }
    assert check_header(values, "here") == {key: values[key] for key in values if key not in ("score", "x")}


def test_curves_of_eman2_are_kept_as_they_are():
    found = check_header({"ctf": "E1.5 0.1 30 100 10 300 2.7 2 0.01 2,nan,-inf 0"}, "here")
    assert math.isnan(found["ctf"]["background"][0]) and found["ctf"]["background"][1] == -math.inf


def test_forms_of_eman2_become_one():
    rows = np.arange(12.0).reshape(3, 4)
    for form in (rows, rows.tolist(), {"matrix": rows.ravel().tolist()}, str(rows.ravel().tolist())):
        assert check_header({"xform.projection": form}, "here")["xform.projection"] == rows.ravel().tolist()
    found = check_header({"ctf": "E1.5 0.1 30 100 10 300 2.7 2 0.01 1,5 0", "hetero_half": 1.0}, "here")
    assert found["ctf"]["defocus"] == 1.5 and found["ctf"]["background"] == [5.0] and found["hetero_half"] == 1


WRONG = [
    ("apix_x", "2", "apix_x: expected a number, got '2'"),
    ("apix_x", None, "apix_x: expected a number, got null"),
    ("apix_x", True, "apix_x: expected a number, got true"),
    ("apix_x", math.nan, "apix_x: expected a number of at least 0, got nan"),
    ("apix_x", -2.0, "apix_x: expected a number of at least 0, got -2.0"),
    ("apix_x", 10**400, "apix_x: expected a number within reach of a computer, got 1000"),
    (
        "apix_x",
        10**5000,
        "apix_x: expected a number within reach of a computer, got a number that is too long to print",
    ),
    ("ctf_phase_flipped", "no", "ctf_phase_flipped: expected 0 or 1, got 'no'"),
    ("ctf_phase_flipped", 2, "ctf_phase_flipped: expected 0 or 1, got 2"),
    ("ptcl3d_id", 1.5, "ptcl3d_id: expected a whole number, got 1.5"),
    ("ptcl3d_id", [1], r"ptcl3d_id: expected a whole number, got \[1\]"),
    ("ptcl3d_id", 2**70, "ptcl3d_id: expected a whole number"),
    ("hetero_half", 2, "hetero_half: expected 0 or 1, got 2"),
    ("hetero_contrast", -2, "hetero_contrast: expected -1, 0 or 1, got -2"),
    ("hetero_row", -1, "hetero_row: expected a whole number of at least 0, got -1"),
    ("hetero_source", 5, "hetero_source: expected a text, got 5"),
    ("hetero_phase_shift", math.inf, "hetero_phase_shift: expected a number of at most 1000000000000, got inf"),
    ("hetero_scale", {}, "hetero_scale: expected a number, got {}"),
    ("ctf", 5, "ctf: expected an object of EMAN2's CTF, got 5"),
    ("ctf", "text", "ctf: 'text' is not an EMAN2 CTF"),
    ("ctf", {**CTF, "voltage": "300"}, "ctf.voltage: expected a number, got '300'"),
    ("ctf", {**CTF, "defocus": math.nan}, "ctf.defocus: expected a number of at least -1000000000000, got nan"),
    ("ctf", {**CTF, "snr": [1, "a"]}, "ctf.snr.*expected a number, got"),
    ("ctf", {"defocus": 1.0}, "ctf lacks dfdiff"),
    ("ctf", "Enan 0 0 0 0 0 0 0 0 0 0", "ctf.defocus: expected a number of at least -1000000000000, got nan"),
    ("ctf", "E1e999 0 0 0 0 0 0 0 0 0 0", "ctf.defocus: expected a number of at most 1000000000000, got inf"),
    ("hetero_beam_tilt", {"x": 1}, "hetero_beam_tilt: expected numbers, got {'x': 1}"),
    ("hetero_even_zernike", "1", "hetero_even_zernike: expected numbers, got '1'"),
    ("hetero_even_zernike", [1.0, None], r"hetero_even_zernike.1.: expected a number, got \[1.0, None\]"),
    ("hetero_joined", "a.star", "hetero_joined: expected a list of file names, got 'a.star'"),
    ("hetero_source", "a" * 5000, "hetero_source: expected a text of at most 4096 characters, got 'aaa"),
    ("xform.projection", [1] * 11, "xform.projection is no Transform; expected a matrix of 12 numbers"),
    ("xform.projection", "[" * 100000, "xform.projection is no Transform; expected a matrix of 12 numbers"),
    (
        "xform.projection",
        "[" + ",".join(["1" * 5000] * 12) + "]",
        "xform.projection is no Transform; expected a matrix of 12 numbers",
    ),
    ("xform.projection", [10**400] * 12, "xform.projection is no Transform; expected a matrix of 12 numbers"),
    ("xform.projection", "[NaN" + ",0" * 11 + "]", "xform.projection.*expected a number"),
    ("xform.projection", {"matrix": {}}, "xform.projection is no Transform; expected a matrix of 12 numbers"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))  # some values cannot be printed, for a name
def test_what_no_key_may_be(number):
    key, value, message = WRONG[number]
    with pytest.raises(DataError, match=f"list.lst: line 7: {message}") as told:
        check_header({key: value}, "list.lst: line 7")
    assert "\n" not in str(told.value) and len(str(told.value)) < 300
