"""Where lists hold the CTF: one row a parameter, which every reader and writer walks.

A parameter that a format has no column for is `absent` there. EMAN2's own object mixes some parameters
(`libhetero.io.eman`); those that it cannot hold, or not apart, are keys of ours beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from libhetero.records import CTFParams


@dataclass(frozen=True)
class CTFColumn:
    """A parameter of the CTF in files.

    Parameters
    ----------
    field : of `CTFParams`, in its unit.
    star : RELION's label.
    cs : cryoSPARC's column.
    cryodrgn : column of cryoDRGN's table; None where it has none.
    eman2 : key of ours beside EMAN2's CTF; None where EMAN2's CTF holds it.
    in_degrees : RELION and cryoDRGN write this angle in degrees.
    of_group : one value for an optics group.
    absent : what a list means that does not say; None where there is no CTF without it.
    """

    field: str
    star: str
    cs: str
    cryodrgn: int | None = None
    eman2: str | None = None
    in_degrees: bool = False
    of_group: bool = False
    absent: float | None = None

    def in_file(self, ctf: CTFParams) -> np.ndarray:
        """Return the values as RELION and cryoDRGN write them."""
        values = np.asarray(getattr(ctf, self.field))
        return np.degrees(values) if self.in_degrees else values


CTF_COLUMNS = (
    CTFColumn("defocus_u", "rlnDefocusU", "ctf/df1_A", 2),
    CTFColumn("defocus_v", "rlnDefocusV", "ctf/df2_A", 3),
    CTFColumn("defocus_angle", "rlnDefocusAngle", "ctf/df_angle_rad", 4, in_degrees=True),
    CTFColumn("voltage", "rlnVoltage", "ctf/accel_kv", 5, of_group=True),
    CTFColumn("spherical_aberration", "rlnSphericalAberration", "ctf/cs_mm", 6, of_group=True),
    CTFColumn(
        "amplitude_contrast", "rlnAmplitudeContrast", "ctf/amp_contrast", 7, "hetero_amplitude_contrast", of_group=True
    ),
    CTFColumn(
        "phase_shift", "rlnPhaseShift", "ctf/phase_shift_rad", 8, "hetero_phase_shift", in_degrees=True, absent=0.0
    ),
    CTFColumn("b_factor", "rlnCtfBfactor", "ctf/bfactor", 10, absent=0.0),
    CTFColumn("scale", "rlnCtfScalefactor", "ctf/scale", 9, "hetero_scale", absent=1.0),
)
OF_GROUP = tuple(column for column in CTF_COLUMNS if column.of_group)
BESIDE_EMAN2 = {column.eman2: column for column in CTF_COLUMNS if column.eman2 is not None}


def lacking(values: Mapping[str, np.ndarray | None]) -> list[CTFColumn]:
    """Return the parameters without which there is no CTF and that a file, by `values`, does not hold."""
    return [column for column in CTF_COLUMNS if column.absent is None and values.get(column.field) is None]


def ctf_of_columns(values: Mapping[str, np.ndarray | None], degrees: bool = False) -> CTFParams:
    """Return the CTF of N particles, float32.

    Parameters
    ----------
    values : (N,) by field, none of them `lacking`; None, or no entry, where the file does not say.
    degrees : whether angles are as RELION and cryoDRGN write them.
    """
    arrays = {}
    for column in CTF_COLUMNS:
        found = values.get(column.field)
        if found is None:
            found = np.full_like(values["defocus_u"], column.absent, np.float64)
        with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which `check_particles` refuses
            arrays[column.field] = np.asarray(np.radians(found) if degrees and column.in_degrees else found, np.float32)
    return CTFParams(**arrays)


def beside_eman2(ctf: CTFParams) -> list[dict[str, float]]:
    """Return, for each of N particles, the keys that stand beside EMAN2's CTF, without those that say nothing."""
    amplitude, phase_shift = np.asarray(ctf.amplitude_contrast), np.asarray(ctf.phase_shift)
    in_ampcont = (phase_shift == 0) & (amplitude >= 0)  # which EMAN2's CTF then holds as it is
    columns = []
    for key, column in BESIDE_EMAN2.items():
        values = np.asarray(getattr(ctf, column.field))
        told = ~in_ampcont if column.field == "amplitude_contrast" else values != column.absent
        columns.append((key, told, values))
    return [{key: float(values[i]) for key, told, values in columns if told[i]} for i in range(len(phase_shift))]
