"""Regions as rigid bodies made of patches, and what of them, and of the whole, may change.

Normal equations are formed for changes of patches of Gaussians. What a region does (more or less amplitude, a
displacement, a rotation about its centre), and what the whole does (contrast, shift, rotation), are sums of such
changes: columns of a matrix T, with which H → Tᵀ H T and g → Tᵀ g.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from libhetero.analysis.region_evidence import AMPLITUDE, MOTION, TURN, WHOLE, Equations

PATCHES = 32  # about so many of about one size, whatever the regions
BODY = 4  # patches that make a body whose every rotation is seen


@dataclass(frozen=True, eq=False)
class RegionPatches:
    """Patches of Gaussians, each within one region.

    Parameters
    ----------
    patch : of each Gaussian.
    region : of each patch; 0 for what is in none.
    centre : of each patch, Å.
    """

    patch: Int[np.ndarray, "gaussians"]
    region: Int[np.ndarray, "patches"]
    centre: Float[np.ndarray, "patches 3"]


def split_regions(position: Float[np.ndarray, "gaussians 3"], label: Int[np.ndarray, "gaussians"]) -> RegionPatches:
    """Divide each region, and what is in none, into patches by k-means of places.

    Parameters
    ----------
    position : of the Gaussians, Å.
    label : their regions, as `libhetero.analysis.regions.Regions` has them.
    """
    from sklearn.cluster import KMeans

    label = np.maximum(label, WHOLE)
    patch = np.full(len(label), -1)
    region: list[int] = []
    centre: list[np.ndarray] = []
    for one in np.unique(label):
        inside = np.flatnonzero(label == one)
        parts = max(1, round(PATCHES * len(inside) / len(label)))
        wanted = min(parts, len(np.unique(position[inside], axis=0)))
        group = KMeans(wanted, n_init=1, random_state=0).fit(position[inside]).labels_
        for number in np.unique(group):
            members = inside[group == number]
            patch[members] = len(region)
            region.append(int(one))
            centre.append(position[members].mean(axis=0))
    return RegionPatches(patch, np.array(region), np.array(centre, np.float64))


def rigid_equations(
    hessian: Float[np.ndarray, "particles columns columns"],
    gradient: Float[np.ndarray, "particles columns"],
    patches: RegionPatches,
) -> Equations:
    """Return what particles say of regions and of the whole, from what they say of patches.

    Parameters
    ----------
    hessian, gradient : H and g of displacement along x, y and z (Å) and relative amplitude of every patch, in this
        order.
    patches : the patches.
    """
    columns, kind, region = [], [], []
    for one in range(int(patches.region.max()) + 1):
        member = np.ones(len(patches.region), bool) if one == WHOLE else patches.region == one
        for name, column in _rigid_changes(member, patches.centre):
            columns.append(column.ravel())
            kind.append(name)
            region.append(one)
    change = np.stack(columns, axis=1).astype(np.float32)
    return Equations(change.T @ (hessian @ change), gradient @ change, np.array(kind), np.array(region))


def _rigid_changes(member: np.ndarray, centre: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Return what a body of patches may do, (4, patches): three displacements, a relative amplitude.

    A rotation counts by the root mean square displacement of the patches, Å.
    """
    found = [(AMPLITUDE, np.concatenate([np.zeros((3, len(member))), member[None]]))]
    for axis in range(3):
        moved = np.zeros((4, len(member)))
        moved[axis] = member
        found.append((MOTION, moved))
    arm = (centre - centre[member].mean(axis=0)) * member[:, None]
    if member.sum() < BODY:
        return found
    for direction in np.eye(3):
        turned = np.cross(direction, arm).T
        size = np.sqrt(np.square(turned).sum() / member.sum())
        if size > 0:
            found.append((TURN, np.concatenate([turned / size, np.zeros((1, len(member)))])))
    return found
