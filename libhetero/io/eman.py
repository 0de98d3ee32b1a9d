"""EMAN2's own objects as they lie in files: Ctf (string or dictionary) and Transform.

    defocus = (U + V) / 2 in µm      dfdiff = U - V      dfang in degrees      ampcont in percent

EMAN2 keeps amplitude contrast and phase shift as one angle, asin(w) + φ: between -90° and 90° as
ampcont = 100 sin, beyond as ±200 - 100 sin. A Transform is the 3×4 matrix [R | t], t in pixels.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.io.ctf_columns import ctf_of_columns
from libhetero.records import CTFParams, Pose

CTF_NUMBERS = ("defocus", "dfdiff", "dfang", "bfactor", "ampcont", "voltage", "cs", "apix")


def parse_ctf_string(text: str, where: str) -> dict[str, Any]:
    """Return the fields of an `E…` (EMAN2) or `O…` (EMAN1) CTF string found at `where`."""
    try:
        fields = text[1:].split()
        if text.startswith("E"):
            values: dict[str, Any] = dict(zip(CTF_NUMBERS, map(float, fields[:8]), strict=True))
            values["dsbg"] = float(fields[8])
            values["background"] = _counted(fields[9])
            values["snr"] = _counted(fields[10])
            return values
        if text.startswith("O"):
            old = [float(field) for field in fields[:11]]
            numbers = (-old[0], 0.0, 0.0, 4 * old[1], 100 * old[3], old[8], old[9], old[10])
            values = dict(zip(CTF_NUMBERS, numbers, strict=True))
            return {**values, "dsbg": 0.0, "background": [], "snr": []}
    except (ValueError, IndexError):
        pass
    raise DataError(f"{where}: '{text[:40]}' is not an EMAN2 CTF; fit the CTF again with EMAN2.")


def _counted(field: str) -> list[float]:
    """Return the numbers of `3,1,0.5,0.25`: a count, then so many values."""
    count, *values = field.split(",")
    return [float(value) for value in values[: int(count)]]


def format_ctf_string(values: dict[str, Any]) -> str:
    """Return the `E…` string of CTF fields."""
    numbers = " ".join(f"{values[name]:.10g}" for name in CTF_NUMBERS)
    curves = [values.get("background", []), values.get("snr", [])]
    texts = [",".join([str(len(curve)), *(f"{value:.10g}" for value in curve)]) for curve in curves]
    return f"E{numbers} {values.get('dsbg', 0.0):.10g} {texts[0]} {texts[1]}"


def ctf_from_fields(
    fields: list[dict[str, Any]],
    phase_shift: Float[np.ndarray, "particles"],
    scale: Float[np.ndarray, "particles"],
    **others: Float[np.ndarray, "particles"],
) -> CTFParams:
    """Return the CTF of N particles.

    Parameters
    ----------
    fields : N dictionaries of EMAN2's fields.
    phase_shift : radians to part from the amplitude contrast; NaN where the file does not say,
        then ampcont from 0 to 100 is amplitude contrast alone and anything else phase shift alone.
    scale, others : what stands beside EMAN2's CTF.
    """
    columns = {name: np.array([float(f[name]) for f in fields]) for name in CTF_NUMBERS}
    total = _phase_of_ampcont(columns["ampcont"])
    plain = (columns["ampcont"] >= 0) & (columns["ampcont"] <= 100)
    phase_shift = np.where(np.isfinite(phase_shift), phase_shift, np.where(plain, 0.0, total))
    return ctf_of_columns(
        {
            "defocus_u": 1e4 * (columns["defocus"] + columns["dfdiff"] / 2),
            "defocus_v": 1e4 * (columns["defocus"] - columns["dfdiff"] / 2),
            "defocus_angle": np.radians(columns["dfang"]),
            "voltage": columns["voltage"],
            "spherical_aberration": columns["cs"],
            "amplitude_contrast": np.sin(np.clip(total - phase_shift, -np.pi / 2, np.pi / 2)),
            "phase_shift": phase_shift,
            "b_factor": columns["bfactor"],
            "scale": scale,
            **others,
        }
    )


def _phase_of_ampcont(ampcont: np.ndarray) -> np.ndarray:
    """Return asin(w) + φ in radians."""
    fraction = np.asarray(ampcont, np.float64) / 100
    middle = np.arcsin(np.clip(fraction, -1, 1))
    above = np.pi - np.arcsin(np.clip(2 - fraction, -1, 1))
    below = -np.pi - np.arcsin(np.clip(-2 - fraction, -1, 1))
    return np.where(fraction > 1, above, np.where(fraction < -1, below, middle))


def _ampcont_of_phase(phase: np.ndarray) -> np.ndarray:
    phase = (phase + np.pi) % (2 * np.pi) - np.pi
    middle = np.sin(phase)
    above, below = 2 - middle, -2 - middle
    return 100 * np.where(phase > np.pi / 2, above, np.where(phase < -np.pi / 2, below, middle))


def fields_from_ctf(ctf: CTFParams, pixel_size: Float[np.ndarray, "particles"]) -> list[dict[str, Any]]:
    """Return EMAN2's fields of the CTF of particles; `pixel_size` in Å."""
    u, v = (np.asarray(values, np.float64) for values in (ctf.defocus_u, ctf.defocus_v))
    columns = (
        (u + v) / 2e4,
        (u - v) / 1e4,
        np.degrees(ctf.defocus_angle),
        ctf.b_factor,
        _ampcont_of_phase(np.arcsin(ctf.amplitude_contrast) + ctf.phase_shift),
        ctf.voltage,
        ctf.spherical_aberration,
        pixel_size,
    )
    rows = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return [
        {
            **{n: float(f"{value:.7g}") for n, value in zip(CTF_NUMBERS, row, strict=True)},
            "dsbg": 0.0,
            "background": [],
            "snr": [],
        }
        for row in rows
    ]


def parse_transform(value: Any, where: str) -> Float[np.ndarray, "3 4"]:
    """Return the matrix of a Transform given as JSON dictionary, text, or list of 12."""
    if isinstance(value, dict):
        value = value.get("matrix")
    try:
        if isinstance(value, str):
            value = json.loads(value)
        matrix = np.asarray(value, np.float64).reshape(3, 4)
    except (ValueError, TypeError):
        raise DataError(f"{where}: not a Transform; expected a matrix of 12 numbers.") from None
    return matrix


def pose_from_transforms(
    matrices: Float[np.ndarray, "particles 3 4"], source: str
) -> tuple[Float[np.ndarray, "particles 3 3"], Float[np.ndarray, "particles 2"]]:
    """Return rotations and shifts, in pixels, of Transforms.

    A mirrored Transform projects like the proper rotation whose third row has the other sign.

    Raises
    ------
    DataError : when a Transform scales or shears.
    """
    rotation = matrices[:, :, :3].copy()
    rotation[:, 2] = np.cross(rotation[:, 0], rotation[:, 1])
    error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).reshape(len(rotation), -1)
    bad = np.flatnonzero(~(error.max(axis=1, initial=0.0) < 1e-3))
    if len(bad):
        raise DataError(
            f"{source}: particle {bad[0] + 1}: xform.projection is not a rotation (it scales or is "
            f"not finite); align the particles again."
        )
    return rotation, matrices[:, :2, 3].copy()


def matrices_from_pose(pose: Pose, pixel_size: Float[np.ndarray, "particles"]) -> Float[np.ndarray, "particles 3 4"]:
    """Return the Transforms of poses; `pixel_size` in Å."""
    matrices = np.zeros((len(pixel_size), 3, 4))
    matrices[:, :, :3] = pose.rotation
    matrices[:, :2, 3] = np.asarray(pose.shift, np.float64) / np.asarray(pixel_size)[:, None]
    return matrices
