"""A self-avoiding chain of beads that fills a region of space at the density of protein.

Space is cut into cubes of 2 × 2 × 2 beads, one bead per residue, 5.13 Å apart: 135 Å³ each. In
every cube the eight beads form a ring; rings of neighbouring cubes merge where an edge of
one faces a parallel edge of the other. Merging along a random tree gives one ring through
all beads of a region, never crossing itself; cutting one edge makes it a chain. Small random
displacements then remove the regularity of the lattice.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

RESIDUE_VOLUME = 135.0  # Å³ of folded protein, 110 Da at 1.35 g/cm³
SPACING = RESIDUE_VOLUME ** (1 / 3)  # Å between beads
CUBE = 2 * SPACING  # Å
JITTER = 0.6  # Å, largest displacement along each axis

Bead = tuple[int, int, int]

_RING = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 0, 1), (0, 0, 1))
_AXES = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))


def cube_centres(cubes: int) -> Float[np.ndarray, "cubes cubes cubes 3"]:
    """Return the centres of cubes³ cubes about the origin, Å."""
    axis = (np.arange(cubes) - (cubes - 1) / 2) * CUBE
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def connected_part(region: Bool[np.ndarray, "cubes cubes cubes"], seed: Bead) -> Bool[np.ndarray, "cubes cubes cubes"]:
    """Return the cubes of a region that are joined to cube `seed` through faces."""
    labels, _ = ndimage.label(region)
    return labels == labels[tuple(seed)]


def fill_with_chain(
    region: Bool[np.ndarray, "cubes cubes cubes"], seed: Bead, rng: np.random.Generator
) -> Float[np.ndarray, "beads 3"]:
    """Lead one chain through the cubes of a region.

    Parameters
    ----------
    region : connected through faces.
    seed : the cube where the chain begins.
    rng : random numbers.

    Returns
    -------
    Å from the centre of the grid; 8 beads in every cube.
    """
    links, waiting, filled = _ring_of(seed, 0), _open_faces(seed, region), {seed}
    while waiting:
        old, new = waiting.pop(int(rng.integers(len(waiting))))
        if new in filled or not _merge(links, old, new, rng):
            continue
        filled.add(new)
        waiting += [face for face in _open_faces(new, region) if face[1] not in filled]
    beads = np.array(_walk(links, _twice(seed))).astype(float)
    beads = (beads - (2 * region.shape[0] - 1) / 2) * SPACING
    return beads + rng.uniform(-JITTER, JITTER, size=beads.shape)


def _ring_of(cube: Bead, orientation: int) -> dict[Bead, list[Bead]]:
    """Return each bead of a cube with its two neighbours along one of the rings of a cube."""
    axes, flips = _AXES[orientation % 6], orientation // 6
    ring = []
    for corner in _RING:
        x, y, z = (corner[axis] ^ (flips >> axis & 1) for axis in axes)
        ring.append(_add(_twice(cube), (x, y, z)))
    return {bead: [ring[i - 1], ring[(i + 1) % 8]] for i, bead in enumerate(ring)}


def _open_faces(cube: Bead, region: np.ndarray) -> list[tuple[Bead, Bead]]:
    """Return (cube, neighbour) for the neighbours through a face that lie in the region."""
    faces = []
    for axis in range(3):
        for step in (-1, 1):
            x, y, z = (at + step * (number == axis) for number, at in enumerate(cube))
            if 0 <= (x, y, z)[axis] < region.shape[axis] and region[x, y, z]:
                faces.append((cube, (x, y, z)))
    return faces


def _merge(links: dict[Bead, list[Bead]], old: Bead, new: Bead, rng: np.random.Generator) -> bool:
    """Join a fresh cube to the ring through the face it shares with `old`; False if it cannot."""
    step = (new[0] - old[0], new[1] - old[1], new[2] - old[2])
    inner = [bead for bead in _beads(old) if _add(bead, step) not in _beads(old)]
    edges = [(a, b) for a in inner for b in links[a] if b in inner and a < b]
    if not edges:
        return False
    one, two = edges[int(rng.integers(len(edges)))]
    far_one, far_two = _add(one, step), _add(two, step)
    orientations = rng.permutation(48)
    rings = (_ring_of(new, int(orientation)) for orientation in orientations)
    ring = next(ring for ring in rings if far_two in ring[far_one])
    links.update(ring)
    _relink(links, one, two, far_one)
    _relink(links, two, one, far_two)
    _relink(links, far_one, far_two, one)
    _relink(links, far_two, far_one, two)
    return True


def _beads(cube: Bead) -> set[Bead]:
    return {_add(_twice(cube), corner) for corner in _RING}


def _twice(bead: Bead) -> Bead:
    return (2 * bead[0], 2 * bead[1], 2 * bead[2])


def _add(bead: Bead, step: Bead) -> Bead:
    return (bead[0] + step[0], bead[1] + step[1], bead[2] + step[2])


def _relink(links: dict[Bead, list[Bead]], bead: Bead, old: Bead, new: Bead) -> None:
    links[bead][links[bead].index(old)] = new


def _walk(links: dict[Bead, list[Bead]], start: Bead) -> list[Bead]:
    """Return the beads in the order of the ring, from `start`."""
    path, previous = [start], start
    current = links[start][0]
    while current != start:
        path.append(current)
        ahead = links[current][0] if links[current][0] != previous else links[current][1]
        previous, current = current, ahead
    return path
