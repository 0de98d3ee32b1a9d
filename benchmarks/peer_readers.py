"""What a peer reads of lists, told in numbers: run by the Python of the peer's own environment, without libhetero.

    PYTHON peer_readers.py PEER FOLDER LIST …

PEER is cryodrgn, recovar, aspire, starfile, cryosparc, or union for what cryosparc-tools makes of several tables.
FOLDER/NAME.npz of list NAME holds `error`, or, as far as the peer reads it, `rotation` (N, 3, 3), or `angles` (N, 3)
degrees (rot, tilt, psi), or `rotation_vector` (N, 3); `shift` (N, 2) Å, model to image; `defocus_u`, `defocus_v` Å,
`defocus_angle`, `phase_shift` degrees, `voltage` kV, `spherical_aberration` mm, `amplitude_contrast`, `b_factor` Å²,
`pixel_size` Å; `half`, `group`; and `pixel_sum`, the sum of every image's pixels. Stacks are looked for from the
current folder.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
from typing import Any

import numpy as np

CTF = (
    "defocus_u",
    "defocus_v",
    "defocus_angle",
    "voltage",
    "spherical_aberration",
    "amplitude_contrast",
    "phase_shift",
)
STAR = {
    "defocus_u": "rlnDefocusU",
    "defocus_v": "rlnDefocusV",
    "defocus_angle": "rlnDefocusAngle",
    "voltage": "rlnVoltage",
    "spherical_aberration": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "phase_shift": "rlnPhaseShift",
    "b_factor": "rlnCtfBfactor",
    "half": "rlnRandomSubset",
    "group": "rlnOpticsGroup",
    "pixel_size": "rlnImagePixelSize",
}
SPARC = {
    "defocus_u": "ctf/df1_A",
    "defocus_v": "ctf/df2_A",
    "voltage": "ctf/accel_kv",
    "spherical_aberration": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "b_factor": "ctf/bfactor",
    "pixel_size": "blob/psize_A",
    "half": "alignments3D/split",
    "group": "ctf/exp_group_id",
    "uid": "uid",
}

Found = dict[str, np.ndarray]


def pixel_sums(names: list[str]) -> np.ndarray:
    """Return the sum of each image, named as 000001@stack; plain MRC of float32."""
    stacks: dict[str, np.ndarray] = {}
    sums = []
    for name in names:
        number, _, path = name.partition("@")
        if path not in stacks:
            header = np.fromfile(path, "<i4", 256)
            stacks[path] = np.fromfile(path, "<f4", offset=1024 + int(header[23])).reshape(-1, header[1], header[0])
        sums.append(stacks[path][int(number) - 1].sum(dtype=np.float64))
    return np.array(sums)


def cryodrgn(path: str) -> Found:
    """Read by cryoDRGN's parsers and its image source."""
    from cryodrgn.commands import parse_ctf_csparc, parse_ctf_star, parse_pose_csparc, parse_pose_star
    from cryodrgn.source import ImageSource

    sparc = path.endswith(".cs")
    source = ImageSource.from_file(path, datadir=os.getcwd() if sparc else "", lazy=False)
    found: Found = {"pixel_sum": np.asarray(source.images()).sum(axis=(1, 2), dtype=np.float64)}
    box = ["-D", str(source.D)]
    with open(path, "rb") as file:
        old = not sparc and b"_rlnImageSize" not in file.read()  # RELION 3.0 says neither box nor pixel size
    size = ["--Apix", str(_relion30_pixel_size(path))] if old else []
    _parsed(
        parse_pose_csparc if sparc else parse_pose_star, [path, "-o", "pose.pkl", *(box if sparc or old else []), *size]
    )
    with open("pose.pkl", "rb") as file:
        found["rotation"], translation = pickle.load(file)
    if "without_ctf" in path:
        return found
    _parsed(parse_ctf_csparc if sparc else parse_ctf_star, [path, "-o", "ctf.pkl", *box, *size])
    with open("ctf.pkl", "rb") as file:
        table = np.asarray(pickle.load(file), np.float64)
    found |= dict(zip(CTF, table[:, 2:9].T, strict=True))
    found["pixel_size"] = table[:, 1]
    found["shift"] = -np.asarray(translation) * (table[:, 0] * table[:, 1])[:, None]
    return found


def _relion30_pixel_size(path: str) -> float:
    """Return detector pixel size over magnification of the first particle, in Å."""
    with open(path) as file:
        lines = file.read().splitlines()
    labels = [line.split()[0] for line in lines if line.startswith("_rln")]
    first = next(line.split() for line in lines if "@" in line)
    detector, magnification = (float(first[labels.index(f"_rln{x}")]) for x in ("DetectorPixelSize", "Magnification"))
    return 1e4 * detector / magnification


def _parsed(command: Any, arguments: list[str]) -> None:
    """Run one of cryoDRGN's commands in this process."""
    parser = argparse.ArgumentParser()
    command.add_args(parser)
    command.main(parser.parse_args(arguments))


def recovar(path: str) -> Found:
    """Read by recovar's loader of data sets and its readers of metadata."""
    from recovar.data_io.cryoem_dataset import load_dataset
    from recovar.data_io.image_loader import ImageLoader
    from recovar.data_io.metadata_readers import auto_parse_ctf, auto_parse_poses

    dataset = load_dataset(path, datadir=os.getcwd(), lazy=False)
    box = dataset.grid_size
    rotation, translation = auto_parse_poses(path, box)
    table = auto_parse_ctf(path, box)
    images = np.asarray(ImageLoader.from_file(path, datadir=os.getcwd()).images())
    found = dict(zip(("pixel_size", *CTF), table.T, strict=True))
    found |= {"rotation": rotation, "shift": -translation * (box * table[:, :1])}
    if dataset.n_images != len(rotation):
        raise ValueError(f"load_dataset finds {dataset.n_images} images")
    found["pixel_sum"] = images.reshape(len(images), -1).sum(axis=1, dtype=np.float64)
    return found


def aspire(path: str) -> Found:
    """Read by ASPIRE's RelionSource."""
    from aspire.source import RelionSource

    source = RelionSource(path, data_folder=os.getcwd())
    size = float(source.pixel_size)
    found: Found = {
        "angles": np.rad2deg(source.angles),
        "shift": -np.asarray(source.offsets) * size,
        "pixel_sum": source.images[:].asnumpy().sum(axis=(1, 2), dtype=np.float64),
        "pixel_size": np.full(source.n, size),
    }
    filters = [source.unique_filters[i] for i in source.filter_indices]
    if hasattr(filters[0], "voltage"):
        for name, attribute in zip(
            CTF, ("defocus_u", "defocus_v", "defocus_ang", "voltage", "Cs", "alpha"), strict=False
        ):
            found[name] = np.array([getattr(one, attribute) for one in filters], np.float64)
        found["defocus_angle"] = np.rad2deg(found["defocus_angle"])
    return found


def starfile(path: str) -> Found:
    """Read by the starfile package."""
    import starfile as package

    blocks = package.read(path, always_dict=True)
    particles = blocks.get("particles", next(reversed(blocks.values())))
    if "optics" in blocks:
        particles = particles.merge(blocks["optics"], on="rlnOpticsGroup", how="left", suffixes=("", "_optics"))
    found = {name: particles[label].to_numpy(np.float64) for name, label in STAR.items() if label in particles}
    found["angles"] = particles[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(np.float64)
    if "rlnOriginXAngst" in particles:
        found["shift"] = -particles[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(np.float64)
    else:
        size = 1e4 * particles["rlnDetectorPixelSize"] / particles["rlnMagnification"]
        found["pixel_size"] = size.to_numpy(np.float64)
        found["shift"] = -particles[["rlnOriginX", "rlnOriginY"]].to_numpy(np.float64) * found["pixel_size"][:, None]
    found["pixel_sum"] = pixel_sums([str(name) for name in particles["rlnImageName"]])
    return found


def cryosparc(path: str) -> Found:
    """Read by cryosparc-tools."""
    from cryosparc.dataset import Dataset

    rows = Dataset.load(path)
    held = set(rows.fields())
    found: dict[str, Any] = {name: np.asarray(rows[field]) for name, field in SPARC.items() if field in held}
    for name, field in (("defocus_angle", "ctf/df_angle_rad"), ("phase_shift", "ctf/phase_shift_rad")):
        if field in held:
            found[name] = np.rad2deg(np.asarray(rows[field], np.float64))
    size = np.asarray(rows["alignments3D/psize_A"], np.float64)
    found["rotation_vector"] = np.asarray(rows["alignments3D/pose"], np.float64)
    found["shift"] = -np.asarray(rows["alignments3D/shift"], np.float64) * size[:, None]
    if "half" in found:
        found["half"] = found["half"] + 1
    names = zip(rows["blob/idx"], rows["blob/path"], strict=True)
    found["pixel_sum"] = pixel_sums([f"{int(index) + 1}@{path}" for index, path in names])
    return found


def union(paths: list[str]) -> Found:
    """Return how many rows the union of tables has, by cryosparc-tools, and how many they have."""
    from cryosparc.dataset import Dataset

    tables = [Dataset.load(path) for path in paths]
    return {"rows": np.array([len(Dataset.union(*tables)), sum(map(len, tables))])}


PEERS = {"cryodrgn": cryodrgn, "recovar": recovar, "aspire": aspire, "starfile": starfile, "cryosparc": cryosparc}


def main(arguments: list[str]) -> int:
    """Read lists by one peer, or the union of several tables."""
    peer, folder, *paths = arguments
    if peer == "union":
        np.savez(os.path.join(folder, "union.npz"), **union(paths))
        return 0
    for path in paths:
        try:
            found = PEERS[peer](path)
        except BaseException as error:  # a peer may end the process, too
            found = {"error": np.array(f"{type(error).__name__}: {error}")}
        np.savez(os.path.join(folder, f"{os.path.basename(path)}.npz"), **found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
