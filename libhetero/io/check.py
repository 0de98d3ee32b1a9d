"""What a particle set must be before work starts on it; readers only report what files say."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from libhetero.errors import DataError
from libhetero.io.images import open_stack
from libhetero.io.stack import missing_image
from libhetero.records import CTFParams, ParticleSet, Pose


def check_particles(particles: ParticleSet, *, need_pose: bool, need_ctf: bool) -> None:
    """Check that a set can be worked on: its stacks, boxes, poses and CTF.

    Parameters
    ----------
    particles : the set.
    need_pose, need_ctf : whether the work to come needs them.

    Raises
    ------
    DataError : one line for the first thing that is wrong.
    """
    name = describe_source(particles)
    if len(particles) == 0:
        raise DataError(f"{name}: no particles in it; expected at least one.")
    _check_stacks(particles, name)
    if particles.pose is not None:
        _check_pose(particles.pose, name)
    elif need_pose:
        raise DataError(
            f"{name}: the particles have no poses; expected angles and shifts. Refine them first, "
            f"{other_table(particles)}or give cryoDRGN's with --poses."
        )
    if particles.ctf is not None:
        _check_ctf(particles.ctf, name)
    elif need_ctf:
        raise DataError(
            f"{name}: the particles have no CTF; expected defocus, voltage, Cs and amplitude "
            f"contrast. Fit them first, {other_table(particles)}or give cryoDRGN's with --ctf."
        )


def other_table(particles: ParticleSet) -> str:
    """Return, of a .cs, that another table of its job may hold what is missing; "" of other formats."""
    is_cs = particles.source is not None and particles.source.format == "cs"
    return "join the table of its job that has them with --passthrough, " if is_cs else ""


def describe_source(particles: ParticleSet) -> str:
    """Return the name of the file that a set was read from, for messages."""
    source = particles.source
    if source is not None:
        path = source.data if isinstance(source.data, str) else getattr(source.data, "path", None)
        if path is not None:
            return str(path)
    return particles.files[0] if particles.files else "particles"


def _check_stacks(particles: ParticleSet, name: str) -> None:
    for file_id, here in particles.rows_by_file():
        stack = open_stack(particles.files[file_id])
        stack.close()
        rows, columns = stack.shape
        first = int(particles.image_index[here].min()) + 1
        if rows != columns:
            raise DataError(
                f"{stack.path}: image {first} is {rows} × {columns}; particles must be square. "
                f"Extract or clip them to a square box."
            )
        if rows % 2:
            raise DataError(
                f"{stack.path}: the box is {rows} pixels, odd; expected an even box. "
                f"Extract or clip the particles to {rows - 1} or {rows + 1}."
            )
        boxes = np.unique(particles.box_size[here])
        if len(boxes) != 1 or boxes[0] != rows:
            raise DataError(
                f"{name}: it says a box of {boxes[-1]} pixels, {stack.path} holds images of "
                f"{rows}; give the stack that the list was made from."
            )
        highest = int(particles.image_index[here].max())
        if highest >= stack.count:
            raise DataError(missing_image(stack, highest))
    if not np.all(particles.pixel_size > 0):
        raise DataError(f"{name}: pixel size {particles.pixel_size.min():g} Å; give it with --apix.")


def _check_pose(pose: Pose, name: str) -> None:
    rotation = np.asarray(pose.rotation, np.float64)
    error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    good = (error < 1e-3) & np.isfinite(pose.shift).all(axis=1)
    if not good.all():
        raise DataError(
            f"{name}: particle {int(np.argmin(good)) + 1} has a pose that is not finite or not a "
            f"rotation ({int((~good).sum())} in all); remove it or refine the poses again."
        )


def _check_ctf(ctf: CTFParams, name: str) -> None:
    for field, column in ctf.columns().items():
        values = np.asarray(column)
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise DataError(
                f"{name}: particle {row + 1}: {field} of the CTF is {values[row]}; expected a "
                f"number. Remove the particle or fit its CTF again."
            )
    if ctf.magnification is not None:
        _check_magnification(ctf.magnification, name)
    for field, low, high in (("voltage", 1.0, 5000.0), ("amplitude_contrast", -1.0, 1.0)):
        values = np.asarray(getattr(ctf, field))
        if not ((values >= low) & (values <= high)).all():
            raise DataError(
                f"{name}: {field} of the CTF runs from {values.min():g} to {values.max():g}; "
                f"expected {low:g} to {high:g}. Mend the list."
            )


def _check_magnification(magnification: np.ndarray, name: str) -> None:
    stretch = np.linalg.svd(np.asarray(magnification, np.float64), compute_uv=False)
    good = (stretch > 0.5).all(axis=1) & (stretch < 2).all(axis=1) & (np.linalg.det(magnification) > 0)
    if not good.all():
        row = int(np.argmin(good))
        numbers = ", ".join(f"{number:g}" for number in np.ravel(magnification[row]))
        raise DataError(
            f"{name}: particle {row + 1}: the magnification matrix is [{numbers}]; expected one near [1, 0, 0, 1]. "
            f"Estimate it again, or remove it from the list."
        )


def odd_ctf_values(ctf: CTFParams) -> list[str]:
    """Return one line for each parameter whose values are unlikely, usually a wrong unit."""
    mean = (np.asarray(ctf.defocus_u) + ctf.defocus_v) / 2
    plausible: list[tuple[str, Any, float, float, str]] = [
        ("defocus", mean, 500.0, 100000.0, "Å, underfocus positive"),
        ("astigmatism", np.abs(np.asarray(ctf.defocus_u) - ctf.defocus_v), 0.0, 10000.0, "Å"),
        ("voltage", ctf.voltage, 80.0, 400.0, "kV"),
        ("spherical aberration", ctf.spherical_aberration, 0.0, 5.0, "mm"),
        ("amplitude contrast", ctf.amplitude_contrast, 0.0, 0.4, "as a fraction"),
        ("B-factor", ctf.b_factor, 0.0, 1000.0, "Å²"),
        ("scale", ctf.scale, 0.01, 10.0, "1 when absent"),
    ]
    if ctf.beam_tilt is not None:
        plausible.append(("beam tilt", 1e3 * np.linalg.norm(ctf.beam_tilt, axis=1), 0.0, 5.0, "mrad"))
    if ctf.magnification is not None:
        stretch = np.linalg.svd(ctf.magnification, compute_uv=False)
        plausible.append(("magnification", stretch, 0.95, 1.05, "in every direction"))
    lines = []
    for name, values, low, high, unit in plausible:
        values = np.asarray(values)
        if values.size and not ((values >= low) & (values <= high)).all():
            lines.append(f"CTF: {name} from {values.min():g} to {values.max():g}; usual are {low:g} to {high:g} {unit}")
    return lines


def pixel_size_disagreements(particles: ParticleSet) -> list[str]:
    """Return one line if headers of stacks state another pixel size than the list (beyond 1 %)."""
    wrong = []
    for file_id, here in particles.rows_by_file():
        if not os.path.exists(particles.files[file_id]):
            continue
        stack = open_stack(particles.files[file_id])
        stack.close()
        size = particles.pixel_size[here[0]]
        if stack.pixel_size > 0 and abs(stack.pixel_size / size - 1) > 0.01:
            wrong.append((stack, size))
    if not wrong:
        return []
    stack, size = wrong[0]
    return [
        f"pixel size {size:g} Å is used, the header of {stack.path} says {stack.pixel_size:g} Å"
        f"{f' (so it is of {len(wrong)} stacks)' if len(wrong) > 1 else ''}"
    ]
