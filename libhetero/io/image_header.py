"""What EMAN2's files say of an image: the JSON of a line of a list, or the attributes of an image of an .hdf stack.

Both hold the same keys, declared here once and checked by one function at the door. Keys that are not
declared are other programs' own: they are neither read nor refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import numpy as np

from libhetero.configuration import wrong_value
from libhetero.errors import DataError
from libhetero.io import eman
from libhetero.io.aberrations import KEYS as ABERRATION_KEYS
from libhetero.io.ctf_columns import BESIDE_EMAN2

Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]  # finite, as NaN is on no side of a limit
Flag = bool | Annotated[int, msgspec.Meta(ge=0, le=1)]
Half = Annotated[int, msgspec.Meta(ge=0, le=1)]
Sign = Annotated[int, msgspec.Meta(ge=-1, le=1)]
Place = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
Row = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Name = Annotated[str, msgspec.Meta(max_length=4096)]
ImageName = Annotated[str, msgspec.Meta(max_length=2**15)]  # a stack's name, where need be in escapes, and numbers
Exposure = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
PixelSize = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Curve = list[Number]
Matrix = Annotated[list[Number], msgspec.Meta(min_length=12, max_length=12)]


class Ctf(TypedDict):
    """EMAN2's CTF; `libhetero.io.eman` says what the numbers mean."""

    defocus: Number
    dfdiff: Number
    dfang: Number
    bfactor: Number
    ampcont: Number
    voltage: Number
    cs: Number
    apix: Number
    dsbg: NotRequired[float]  # these three are EMAN2's own, not finite where its fit is not, and only kept
    background: NotRequired[list[float]]
    snr: NotRequired[list[float]]


EMAN2_KEYS = {
    "ctf": Ctf,
    "xform.projection": Matrix,
    "apix_x": PixelSize,
    "ctf_phase_flipped": Flag,
    "ptcl3d_id": Place,
}
OUR_KEYS = {
    "hetero_half": Half,
    "hetero_contrast": Sign,
    "hetero_source": Name,
    "hetero_row": Row,
    "hetero_image": ImageName,
    "hetero_joined": list[Name],
    "hetero_tilt": Number,
    "hetero_exposure": Exposure,
    "hetero_particle_contrast": Number,
    "hetero_junk": Probability,
    **dict.fromkeys(BESIDE_EMAN2, Number),
    **dict.fromkeys(ABERRATION_KEYS, Curve | Number),
}
ImageHeader = TypedDict("ImageHeader", {**EMAN2_KEYS, **OUR_KEYS}, total=False)  # type: ignore[misc]
KEYS = (*EMAN2_KEYS, *OUR_KEYS)
WHOLE = ("ctf_phase_flipped", "ptcl3d_id", "hetero_half", "hetero_contrast", "hetero_row")
EXPECTED = {  # where the kind alone says less
    "ctf": "an object of EMAN2's CTF",
    "ctf_phase_flipped": "0 or 1",
    "hetero_half": "0 or 1",
    "hetero_contrast": "-1, 0 or 1",
    "hetero_joined": "a list of file names",
    **dict.fromkeys(ABERRATION_KEYS, "numbers"),
}
MOST_TOLD = 40  # characters of a value


def check_header(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the declared keys that `values` has, each of its kind and within its limits.

    EMAN2's own forms become one: a CTF string its fields, a Transform (a dictionary, text, or 3 × 4 numbers) a list of
    12 numbers, a whole number written as 1.0 an integer.

    Parameters
    ----------
    values : keys as they stand in the file.
    where : file and line, or image, for messages.

    Raises
    ------
    DataError : for the first key that is not what it should be: what was expected, and what is there.
    """
    found = {key: values[key] for key in KEYS if key in values}
    if isinstance(found.get("ctf"), str):
        found["ctf"] = eman.parse_ctf_string(found["ctf"], where)
    if "xform.projection" in found:
        found["xform.projection"] = eman.parse_transform(found["xform.projection"], where).ravel().tolist()
    for key in ("ctf", *ABERRATION_KEYS):
        if isinstance(found.get(key), np.ndarray):
            found[key] = found[key].tolist()
    for key in WHOLE:
        value = found.get(key)
        if isinstance(value, float | np.floating) and float(value).is_integer():
            found[key] = int(value)
    try:
        return msgspec.convert(found, ImageHeader)
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a letter (a lone surrogate); mend it or write the file again.") from None
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: {_told(str(error), found)}") from None


def _told(text: str, values: dict[str, Any]) -> str:
    """Return what msgspec says of a value as key, expected, got and remedy."""
    said = wrong_value(text)
    if said.lacks:
        return f"{said.place} lacks {said.lacks}; fit the CTF again with EMAN2."
    value, rest = values, said.place
    for key in sorted(values, key=len, reverse=True):
        if rest == key or rest.startswith((f"{key}.", f"{key}[")):
            value, rest = values[key], rest[len(key) + 1 :]
            break
    if isinstance(value, dict):
        value = value.get(rest.partition("[")[0], value)
    expected = EXPECTED.get(said.place, said.expected)
    return f"{said.place}: expected {expected}, got {_short(value)}; mend it or write the file again."


def _short(value: Any) -> str:
    """Return a value in a few characters, however long it is: a number of many digits cannot even be printed."""
    try:
        text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    except (ValueError, RecursionError):
        return f"{'a number' if isinstance(value, int) else 'a value'} that is too long to print"
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}…"
