"""The mean mixture of each class of each region, or of the ends of a continuum, and the maps of what differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from libhetero.files import remove_stale
from libhetero.io import write_gaussians, write_volume
from libhetero.pipelines.decoding.gaussians import stream_mixtures
from libhetero.pipelines.regions.particles import RegionClasses
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.telling.progress import tracked

FAINT = 1e-3  # weight, of the mean amplitude, that the place of an absent Gaussian still has


@dataclass(frozen=True, eq=False)
class ClassMixtures:
    """What the classes of one region look like.

    Parameters
    ----------
    region : its number, from 1.
    label : (classes,) their numbers, rising.
    name : what each is called in files, class_00, class_01 …, or low and high for the ends of a continuum.
    count : (classes,) particles of each.
    mean : Gaussians with a leading axis of classes, Å.
    """

    region: int
    label: np.ndarray
    name: tuple[str, ...]
    count: np.ndarray
    mean: Gaussians

    @property
    def continuous(self) -> bool:
        """Whether they are the ends of a continuum."""
        return self.name[0] == "low"


def class_mixtures(
    run: Run,
    latent: np.ndarray,
    found: Sequence[RegionClasses],
    batch_size: int,
    progress: Callable[[float], None] | None = None,
) -> list[ClassMixtures]:
    """Decode all particles and average their mixtures over each class of each region.

    Amplitudes are averaged as they are, so that the mean mixture has the mean density; positions
    and widths are weighted by amplitude, as those of an absent Gaussian mean nothing.

    Parameters
    ----------
    latent : of every particle.
    found : classes of each region; particles in none count nowhere.
    batch_size : particles decoded at once.
    progress : called with the fraction done.
    """
    if not found:
        return []
    names = [np.unique(item.shown[item.shown >= 0]) for item in found]
    member = np.concatenate(
        [item.shown[:, None] == name for item, name in zip(found, names, strict=True)], axis=1
    ).astype(np.float32)
    total: list[np.ndarray] = []
    place = 0
    blocks = stream_mixtures(run, latent, batch_size)
    for block in tracked(blocks, len(latent), "averaging classes", lambda one: len(one.sigma), progress):
        weight = member[place : place + len(block.sigma)].T
        place += len(block.sigma)
        part = _weighted_sums(block, weight)
        total = [a + b for a, b in zip(total, part, strict=True)] if total else part
    count = member.sum(axis=0)
    mean = _means(total, count)
    ends = np.cumsum([len(name) for name in names])
    return [
        ClassMixtures(
            item.region,
            name,
            tuple(item.name(int(one)) for one in name),
            count[end - len(name) : end].astype(int),
            mean.take(slice(end - len(name), end)),
        )
        for item, name, end in zip(found, names, ends, strict=True)
    ]


def _weighted_sums(block: Gaussians, weight: np.ndarray) -> list[np.ndarray]:
    """Return Σ a, Σ w, Σ w p and Σ w σ of each class, w the amplitude where it is positive."""
    amplitude = np.asarray(block.amplitude, np.float32)
    present = np.maximum(amplitude, FAINT * np.abs(amplitude).mean(axis=0) + 1e-12)
    columns = [amplitude, present, present[..., None] * block.position, present * block.sigma]
    return [
        (weight @ column.reshape(len(column), -1)).astype(np.float64).reshape(-1, *column.shape[1:])
        for column in columns
    ]


def _means(total: list[np.ndarray], count: np.ndarray) -> Gaussians:
    amplitude, present, position, sigma = total
    return Gaussians(
        position=(position / present[..., None]).astype(np.float32),
        amplitude=(amplitude / count[:, None]).astype(np.float32),
        sigma=(sigma / present).astype(np.float32),
    )


def write_class_mixtures(run: Run, mixtures: Sequence[ClassMixtures]) -> dict[int, list[Path]]:
    """Write each class's mean mixture and the map of each class less that of the one before.

    `volumes/region_NN_class_MM.txt` (EMAN2 Gaussians) and `volumes/region_NN_class_MM_minus_LL.mrc`; of a continuum
    `volumes/region_NN_low.txt`, `region_NN_high.txt` and `region_NN_high_minus_low.mrc`.

    Returns
    -------
    Paths by region: of every class its Gaussians, then the differences.
    """
    folder, box, apix = run.folder / "volumes", run.model.box_size, run.model.pixel_size
    remove_class_mixtures(run.folder)
    folder.mkdir(exist_ok=True)
    volume = jax.jit(lambda mixture: run.model.volume(mixture, box, apix))
    written: dict[int, list[Path]] = {}
    for item in mixtures:
        stem = f"region_{item.region:02d}_"
        texts, differences, before = [], [], None
        for place, name in enumerate(item.name):
            texts.append(folder / f"{stem}{name}.txt")
            write_gaussians(texts[-1], item.mean.take(place), box, apix)
            density = np.asarray(volume(item.mean.take(place)))
            if before is not None:
                less = item.name[place - 1].removeprefix("class_")
                differences.append(folder / f"{stem}{name}_minus_{less}.mrc")
                write_volume(differences[-1], density - before, apix)
            before = density
        written[item.region] = texts + differences
    return written


def remove_class_mixtures(folder: Path) -> None:
    """Remove what an earlier segmentation of a run left of the mixtures of classes."""
    names = ("class_*", "low", "high")
    remove_stale(
        folder / "volumes",
        *(f"region_*_{name}.txt" for name in names),
        "region_*_class_*_minus_*.mrc",
        "region_*_high_minus_low.mrc",
    )
