"""What made-up particles say of the changes of patches: every image a few numbers, every patch a pattern in them."""

import numpy as np

from libhetero.analysis.region_columns import RegionPatches

NUMBERS = 40  # of an image


def bodies(rng, regions=3, patches=4):
    """Return patches of a core (region 0) and of some regions, which lie along different directions."""
    region = np.repeat(np.arange(regions + 1), patches)
    away = np.concatenate([np.zeros((1, 3)), np.eye(3)[:regions]])
    return RegionPatches(np.arange(len(region)), region, 12 * rng.normal(size=(len(region), 3)) + 50 * away[region])


def equations(rng, patches, change):
    """Return H and g of particles whose patches change by (particles, 4 · patches): x, y, z in Å and amplitude.

    Images are seen from all sides: displacements along the view show nothing. Noise has variance 1.
    """
    count = len(patches.region)
    pattern = 2.0 * rng.normal(size=(len(change), count, NUMBERS))
    frame = np.linalg.qr(rng.normal(size=(len(change), 3, 3)))[0][:, :2]
    frequency = 0.15 * rng.normal(size=(len(change), 2, NUMBERS))
    moved = np.einsum("nva,nkp,nvp->nakp", frame, pattern, frequency).reshape(len(change), 3 * count, NUMBERS)
    shown = np.concatenate([moved, np.roll(pattern, 1, axis=2)], axis=1)
    image = np.einsum("ncp,nc->np", shown, change) + rng.normal(size=(len(change), NUMBERS))
    return shown @ shown.swapaxes(1, 2), np.einsum("ncp,np->nc", shown, image)
