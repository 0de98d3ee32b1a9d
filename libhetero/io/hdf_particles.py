"""Particles as an EMAN2 .hdf stack: pixels, with pose and CTF in the header of each image."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from libhetero.errors import DataError
from libhetero.files import absolute_path
from libhetero.io import eman, hdf
from libhetero.io.aberrations import KEYS, aberration_keys
from libhetero.io.ctf_columns import BESIDE_EMAN2, beside_eman2
from libhetero.io.entries import Entries
from libhetero.io.lst import entries_from_values, series_keys
from libhetero.io.mrc_particles import copy_blocks
from libhetero.io.stack import missing_image
from libhetero.records import ParticleSet, SourceTable


def read_hdf(path: str | os.PathLike) -> Entries:
    """Read every image of a stack with the pose and CTF of its header."""
    stack = hdf.HdfStack(path)
    count, missing = stack.count, stack.missing()
    stack.close()
    if missing is not None:
        raise DataError(missing_image(stack, missing))
    values = hdf.read_headers(path, range(count))
    rows = np.arange(count)
    source = SourceTable("hdf", str(path), rows)
    return entries_from_values(values, (absolute_path(path),), np.zeros(count, int), rows, source, path)


def write_hdf(
    path: str | os.PathLike, particles: ParticleSet, images: Iterable[Float[np.ndarray, "count n n"]] | None
) -> None:
    """Write a stack; attributes of an .hdf it was read from are kept."""
    blocks = copy_blocks(particles) if images is None else images
    n, index = particles.uniform_box_size(), 0
    with hdf.HdfWriter(path, float(particles.pixel_size[0])) as writer:
        for block in blocks:
            for image in np.reshape(block, (-1, n, n)):
                if index == len(particles):
                    raise DataError(f"{path}: more images came than the {index} expected.")
                writer.write(image, _attributes(particles, index))
                index += 1
        if index != len(particles):
            raise DataError(f"{path}: {index} images were written; expected {len(particles)}.")


def _attributes(particles: ParticleSet, i: int) -> dict[str, Any]:
    """Return the header of particle i: its source's, and our records over it."""
    source, pixel_size = particles.source, float(particles.pixel_size[i])
    values: dict[str, Any] = {}
    if source is not None and source.format == "hdf":
        values = hdf.all_attributes(source.data, int(source.rows[i]))
    values.update({f"apix_{axis}": pixel_size for axis in "xyz"})
    if particles.pose is not None:
        pose = particles.pose.take([i])
        values["xform.projection"] = eman.matrices_from_pose(pose, np.array([pixel_size]))[0]
    if particles.ctf is not None:
        ctf = particles.ctf.take([i])
        fields = eman.fields_from_ctf(ctf, np.array([pixel_size]))[0]
        values["ctf"] = _ctf_string(values.get("ctf"), fields)
        for key in (*BESIDE_EMAN2, *KEYS):
            values.pop(key, None)
        values.update({**beside_eman2(ctf)[0], **aberration_keys(ctf)[0]})
    if particles.phase_flipped:
        values["ctf_phase_flipped"] = 1
    if particles.contrast:
        values["hetero_contrast"] = particles.contrast
    if particles.half_set is not None:
        values["hetero_half"] = int(particles.half_set[i])
    if particles.group is not None:
        values.setdefault("ptcl3d_id", int(particles.group[i]))
        values |= series_keys(particles, i)
    return values


def _ctf_string(old: Any, fields: dict[str, Any]) -> str:
    """Return the CTF string, with the background and SNR curves of the one it replaces."""
    if isinstance(old, str):
        kept = eman.parse_ctf_string(old, "header")
        fields = {**fields, **{key: kept[key] for key in ("dsbg", "background", "snr")}}
    return eman.format_ctf_string(fields)
