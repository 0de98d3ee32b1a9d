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
DIGITS = 9  # what a float32 takes to come back the same
SAME_PHASE = 1e-3  # radians; near ±90° EMAN2's ampcont, a float32, says no more


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
    raise DataError(f"{where}: ctf: '{text[:40]}' is not an EMAN2 CTF; fit the CTF again with EMAN2.")


def _counted(field: str) -> list[float]:
    """Return the numbers of `3,1,0.5,0.25`: a count, then so many values."""
    count, *values = field.split(",")
    return [float(value) for value in values[: max(int(count), 0)]]


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
    amplitude_contrast: Float[np.ndarray, "particles"] | None = None,
    **others: Float[np.ndarray, "particles"],
) -> CTFParams:
    """Return the CTF of N particles.

    Parameters
    ----------
    fields : N dictionaries of EMAN2's fields.
    phase_shift : radians to part from the amplitude contrast; NaN where the file does not say,
        then ampcont from 0 to 100 is amplitude contrast alone and anything else phase shift alone.
    amplitude_contrast : what stands beside EMAN2's CTF for a particle with a phase shift, so that both come back
        exactly; NaN (or None for all) where nothing does. Where EMAN2 has since fitted another ampcont, the phase
        shift has changed and the amplitude contrast is what it was.
    scale, others : what stands beside EMAN2's CTF.
    """
    columns = {name: np.array([float(f[name]) for f in fields]) for name in CTF_NUMBERS}
    amplitude, phase_shift = _parted(columns["ampcont"], amplitude_contrast, phase_shift)
    return ctf_of_columns(
        {
            "defocus_u": 1e4 * (columns["defocus"] + columns["dfdiff"] / 2),
            "defocus_v": 1e4 * (columns["defocus"] - columns["dfdiff"] / 2),
            "defocus_angle": np.radians(columns["dfang"]),
            "voltage": columns["voltage"],
            "spherical_aberration": columns["cs"],
            "amplitude_contrast": amplitude,
            "phase_shift": phase_shift,
            "b_factor": columns["bfactor"],
            "scale": scale,
            **others,
        }
    )


def _parted(
    ampcont: Float[np.ndarray, "particles"],
    amplitude: Float[np.ndarray, "particles"] | None,
    phase_shift: Float[np.ndarray, "particles"],
) -> tuple[Float[np.ndarray, "particles"], Float[np.ndarray, "particles"]]:
    """Return amplitude contrast and phase shift of EMAN2's one angle, by what stands beside it (NaN: nothing)."""
    total = _phase_of_ampcont(ampcont)
    plain = (ampcont >= 0) & (ampcont <= 100)
    stated = np.full(len(total), np.nan) if amplitude is None else np.clip(amplitude, -1, 1)
    known = np.isfinite(stated)
    left = _wrapped(total - np.arcsin(np.where(known, stated, 0.0)))
    phase = np.where(np.isfinite(phase_shift), phase_shift, np.where(known | plain, 0.0, total))
    phase = np.where(known & (np.abs(_wrapped(left - phase)) > SAME_PHASE), left, phase)
    apart = np.sin(np.clip(_wrapped(total - phase), -np.pi / 2, np.pi / 2))
    # Without a phase shift ampcont is the amplitude contrast in percent: no sine of an arcsine need be taken.
    return np.where(known, stated, np.where(plain & (phase == 0), ampcont / 100, apart)), phase


def _wrapped(angle: np.ndarray) -> np.ndarray:
    """Return an angle in radians between -π and π."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _phase_of_ampcont(ampcont: np.ndarray) -> np.ndarray:
    """Return asin(w) + φ in radians."""
    fraction = np.asarray(ampcont, np.float64) / 100
    middle = np.arcsin(np.clip(fraction, -1, 1))
    above = np.pi - np.arcsin(np.clip(2 - fraction, -1, 1))
    below = -np.pi - np.arcsin(np.clip(-2 - fraction, -1, 1))
    return np.where(fraction > 1, above, np.where(fraction < -1, below, middle))


def _ampcont_of_phase(phase: np.ndarray) -> np.ndarray:
    phase = _wrapped(phase)
    middle = np.sin(phase)
    above, below = 2 - middle, -2 - middle
    return 100 * np.where(phase > np.pi / 2, above, np.where(phase < -np.pi / 2, below, middle))


def fields_from_ctf(ctf: CTFParams, pixel_size: Float[np.ndarray, "particles"]) -> list[dict[str, Any]]:
    """Return EMAN2's fields of the CTF of particles; `pixel_size` in Å."""
    names = ("defocus_u", "defocus_v", "defocus_angle", "amplitude_contrast", "phase_shift")
    u, v, angle, amplitude, phase = (np.asarray(getattr(ctf, name), np.float64) for name in names)
    columns = (
        (u + v) / 2e4,
        (u - v) / 1e4,
        np.degrees(angle),
        ctf.b_factor,
        np.where(phase == 0, 100 * amplitude, _ampcont_of_phase(np.arcsin(amplitude) + phase)),
        ctf.voltage,
        ctf.spherical_aberration,
        pixel_size,
    )
    rows = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    return [
        {
            **{n: float(f"{value:.{DIGITS}g}") for n, value in zip(CTF_NUMBERS, row, strict=True)},
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
        return np.asarray(value, np.float64).reshape(3, 4)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise DataError(f"{where}: xform.projection is no Transform; expected a matrix of 12 numbers.") from None


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
