"""Regions as files: table, pseudo-atoms, map, masks and a ChimeraX script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int

from libhetero.analysis.region_masks import SOFT_EDGE, mask_reach, region_mask, typical_spacing
from libhetero.analysis.regions import CORE, UNASSIGNED, Regions
from libhetero.errors import DataError
from libhetero.files import remove_figures, remove_stale, replacing
from libhetero.io import read_gaussians, write_gaussians, write_gaussians_pdb, write_volume
from libhetero.io.tables import read_numbers
from libhetero.pipelines.run.folder import Run
from libhetero.records import Gaussians
from libhetero.report.style import colour_of

CHANGES = "regions_changes.txt"
MASK_SUFFIXES = (".mrc", ".hdf")


def write_region_files(run: Run, neutral: Gaussians, regions: Regions) -> list[Path]:
    """Write the regions and return the paths.

    regions.txt, regions.pdb, regions.mrc (the density of all Gaussians), masks/region_NN.mrc and
    .hdf, regions.cxc, which opens them, and regions_changes.txt, how much each Gaussian changes and its place in the
    plane in which they were clustered.

    Parameters
    ----------
    run : with box size (pixels) and pixel size (Å) of its model.
    neutral : N Gaussians, Å.
    regions : of the same Gaussians; region 00 is the constant core.
    """
    folder, box, apix = run.folder, run.model.box_size, run.model.pixel_size
    table, atoms, density, script = (folder / f"regions.{suffix}" for suffix in ("txt", "pdb", "mrc", "cxc"))
    write_gaussians(table, neutral, box, apix, group=regions.label)
    centre = (box // 2) * apix
    chain = np.where(regions.label < 0, regions.count + 1, regions.label)
    write_gaussians_pdb(atoms, neutral, b_factor=regions.label.astype(float), chain=chain, origin=(centre,) * 3)
    write_volume(density, np.asarray(run.model.volume(neutral, box, apix)), apix)
    masks = _write_masks(folder, np.asarray(neutral.position), regions, mask_reach(neutral), box, apix)
    with replacing(script) as beside:
        beside.write_text(_chimerax(regions, masks, folder), encoding="utf-8")
    return [table, atoms, density, script, _write_changes(folder, regions), *masks]


def _write_changes(folder: Path, regions: Regions) -> Path:
    """Write index, size of change and place in the plane of each Gaussian; 0 0 for those that are in no plane."""
    columns = [np.arange(len(regions.label)), np.nan_to_num(regions.size), np.nan_to_num(regions.embedding)]
    with replacing(folder / CHANGES) as beside:
        header = "Gaussian, change, x, y (0 0: not in the plane)"
        np.savetxt(beside, np.column_stack(columns), fmt=("%d", "%.6g", "%.6g", "%.6g"), header=header)
    return folder / CHANGES


def _write_masks(
    folder: Path, position: np.ndarray, regions: Regions, radius: float, box: int, apix: float
) -> list[Path]:
    (folder / "masks").mkdir(exist_ok=True)
    remove_masks(folder)
    paths = []
    for region in range(regions.count + 1):
        members = regions.members(region)
        if len(members) == 0:
            continue
        mask = region_mask(position[members], box, apix, radius, SOFT_EDGE * apix)
        for suffix in MASK_SUFFIXES:
            paths.append(folder / "masks" / f"region_{region:02d}{suffix}")
            write_volume(paths[-1], mask, apix)
    return paths


def remove_masks(folder: Path) -> None:
    """Remove the masks that an earlier segmentation left."""
    remove_stale(folder / "masks", *(f"region_*{suffix}" for suffix in MASK_SUFFIXES))


def remove_region_files(folder: Path) -> None:
    """Remove all that an earlier segmentation left of regions of Gaussians."""
    remove_masks(folder)
    remove_stale(folder, *(f"regions.{suffix}" for suffix in ("txt", "pdb", "mrc", "cxc")), CHANGES)
    remove_figures(folder, "regions.png", "regions_embedding.png", "regions_eps.png")


def _chimerax(regions: Regions, masks: list[Path], folder: Path) -> str:
    """Return a ChimeraX script: map, Gaussians coloured by region, masks as see-through surfaces."""
    lines = [
        "# open with ChimeraX; regions are chains: A the constant core, B region 1, C region 2 …",
        "open regions.pdb id 1",
        "hide #1 cartoons",
        "style #1 sphere",
        "show #1 atoms",
    ]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    for region in range(regions.count + 1):
        lines.append(f"color #1/{letters[region % 62]} {colour_of(region)}")
    lines += ["open regions.mrc id 2", "volume #2 color #b4b4b4", "transparency #2 80"]
    shown = [path for path in masks if path.suffix == ".mrc"]
    for number, path in enumerate(shown, start=3):
        region = int(path.stem.split("_")[1])
        lines += [
            f"open {path.relative_to(folder)} id {number}",
            f"volume #{number} level 0.5 color {colour_of(region)}",
            f"transparency #{number} 70",
        ]
    return "\n".join([*lines, "view", ""])


def check_mixture(path: str | Path, run: Run, neutral: Gaussians) -> None:
    """Refuse a file laid out as regions.txt that is of other Gaussians than a run's, or of them in another order.

    Training moves Gaussians, by less than from one to the next; those of another run lie anywhere in the molecule.

    Parameters
    ----------
    run : with box size (pixels) and pixel size (Å) of its model.
    neutral : N Gaussians of the run, Å; the file has as many.

    Raises
    ------
    DataError : where most Gaussians of the file are farther from the run's than these are from one another.
    """
    found = read_gaussians(path, run.model.box_size, run.model.pixel_size).position
    position = np.asarray(neutral.position)
    away, spacing = float(np.median(np.linalg.norm(found - position, axis=1))), typical_spacing(position)
    if away > max(spacing, 0.01):
        raise DataError(
            f"{path}: Gaussians lie {away:.3g} Å from the run's, which are {spacing:.3g} Å apart; expected the run's "
            "own in their order. Give regions that were made of this run."
        )


def read_labels(path: str | Path, gaussians: int) -> Int[np.ndarray, "gaussians"]:
    """Return the region of each Gaussian from a file laid out as regions.txt; 0 the core, -1 none.

    Raises
    ------
    DataError : if it is no such file, is of another number of Gaussians, or leaves out the number of a region.
    """
    label = read_numbers(path, "x y z amp sigma and region", least=6, most=6, whole=(5,))[:, -1].astype(np.int64)
    if len(label) != gaussians:
        raise DataError(
            f"{path}: {len(label)} Gaussians; expected the run's {gaussians}. Give regions that were made of this run."
        )
    numbers = np.unique(label[label > CORE])
    if label.min() < UNASSIGNED or not np.array_equal(numbers, np.arange(1, len(numbers) + 1)) or not len(numbers):
        shown = ", ".join(map(str, np.unique(label)[:8]))
        raise DataError(
            f"{path}: regions {shown}; expected 0 for the constant core, -1 for none, and regions 1, 2 … without gaps."
        )
    return label
