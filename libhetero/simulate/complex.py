"""Complexes made from a seed: no file is needed to simulate a particle set.

A complex is one core and a number of pieces on its surface, each a self-avoiding chain of
beads, one per residue at the density of folded protein (`chain`). The outline of a piece is a
union of balls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from libhetero.errors import ConfigurationError
from libhetero.records import Gaussians
from libhetero.simulate.chain import CUBE, connected_part, cube_centres, fill_with_chain

RESIDUE_MASS = 110.0  # Da
RESIDUE_SCATTERING = 22.6  # Å, electron scattering of a mean residue (C5 H8 N1.4 O1.5) at s = 0
BEAD_SIGMA = 2.0  # Å, a residue with its thermal motion
MOST_PIECES = 12


@dataclass(frozen=True, eq=False)
class Complex:
    """Beads or atoms as Gaussians, each belonging to one piece.

    Parameters
    ----------
    gaussians : NumPy arrays; position (A, 3) Å centred, amplitude (A,), sigma (A,) Å.
    piece : (A,) int32; 0 is the core.
    """

    gaussians: Gaussians
    piece: Int[np.ndarray, "beads"]

    @property
    def pieces(self) -> int:
        """Number of pieces, the core included."""
        return int(self.piece.max()) + 1

    @property
    def diameter(self) -> float:
        """Diameter of the sphere about the origin that holds every centre, Å."""
        return 2 * float(np.linalg.norm(self.gaussians.position, axis=1).max())

    @property
    def mass(self) -> float:
        """Mass in kDa, taking the amplitudes for electron scattering of protein."""
        return float(self.gaussians.amplitude.sum()) / RESIDUE_SCATTERING * RESIDUE_MASS / 1000


@dataclass(frozen=True, eq=False)
class _Balls:
    """An outline: the union of balls with these centres (B, 3) and radii (B,), Å."""

    centre: Float[np.ndarray, "balls 3"]
    radius: Float[np.ndarray, "balls"]

    def region(self, points: Float[np.ndarray, "*cubes 3"]) -> Bool[np.ndarray, "*cubes"]:
        """Return which points (..., 3) lie inside."""
        inside = np.zeros(points.shape[:-1], bool)
        for centre, radius in zip(self.centre, self.radius, strict=True):
            inside |= np.sum((points - centre) ** 2, axis=-1) < radius**2
        return inside

    def surface(self, direction: Float[np.ndarray, "3"]) -> float:
        """Return how far the outline reaches from the origin along `direction`, Å."""
        along = self.centre @ direction
        across = np.sum(self.centre**2, axis=1) - along**2
        return float(np.max(along + np.sqrt(np.maximum(self.radius**2 - across, 0))))


def generate_complex(seed: int, pieces: int = 3, diameter: float = 110.0, sigma: float = BEAD_SIGMA) -> Complex:
    """Make a core with `pieces` optional pieces attached at well separated places of its surface.

    Parameters
    ----------
    seed : the same seed gives the same complex.
    pieces : number of pieces besides the core, 0 to 12.
    diameter : Å, of the whole; the pieces reach up to it. Protein of 80 to 300 Å is realistic.
    sigma : Å, width of each bead.

    Raises
    ------
    ConfigurationError : for a number of pieces or a diameter outside the range.
    """
    if not 0 <= pieces <= MOST_PIECES:
        raise ConfigurationError(
            f"pieces: expected 0 to {MOST_PIECES} for the built-in complex, got {pieces}; "
            "use an atomic model with --pdb for more."
        )
    if not 40 <= diameter <= 400:
        raise ConfigurationError(
            f"diameter of the built-in complex: expected 40 to 400 Å, got {diameter:g}; "
            "choose another --box or --apix, or give --diameter."
        )
    rng = np.random.default_rng(seed)
    core_radius = 0.5 * diameter / (1.8 if pieces else 1.12)
    core = _core_outline(rng, core_radius)
    directions = _spread_directions(rng, pieces)
    outlines = [_piece_outline(rng, core, core_radius, d, directions) for d in directions]
    points = cube_centres(_cubes_across(diameter))
    regions = _disjoint_regions(points, core, outlines, directions)
    chains = [fill_with_chain(region, seed, rng) for region, seed in regions]
    return _join(rng, chains, sigma)


def generate_member(seed: int, k: int, diameter: float = 110.0, sigma: float = BEAD_SIGMA) -> Complex:
    """Make one of clearly different complexes of one piece each: compact, long, bent and branched ones.

    Parameters
    ----------
    seed : the same seed and k give the same complex.
    k : which one; it chooses how bent and how branched it is.
    diameter : Å, of the largest extent.
    sigma : Å, width of each bead.
    """
    rng = np.random.default_rng([seed, k])
    balls = _branched_outline(rng, lobes=3 + k % 4, turn=(k * 0.618) % 1.0)
    middle = _bounding_centre(balls)
    extent = np.max(np.linalg.norm(balls.centre - middle, axis=1) + balls.radius)
    scale = 0.5 * diameter / extent
    outline = _Balls((balls.centre - middle) * scale, balls.radius * scale)
    points = cube_centres(_cubes_across(diameter))
    region, start = _one_region(points, outline.region(points), outline.centre[0])
    return _join(rng, [fill_with_chain(region, start, rng)], sigma)


def _branched_outline(rng: np.random.Generator, lobes: int, turn: float) -> _Balls:
    """Grow a tree of overlapping balls; `turn` 0 to 1 leads from straight to folded."""
    centres, radii = [np.zeros(3)], [1.0]
    direction = _unit(rng.normal(size=3))
    for _ in range(1, lobes):
        direction = _unit((1 - turn) * direction + turn * 1.5 * _unit(rng.normal(size=3)))
        parent = len(centres) - 1 if rng.random() < 0.75 else int(rng.integers(len(centres)))
        radius = rng.uniform(0.55, 1.0)
        centres.append(centres[parent] + 0.85 * (radii[parent] + radius) * direction)
        radii.append(radius)
    return _Balls(np.array(centres), np.array(radii))


def _bounding_centre(balls: _Balls) -> np.ndarray:
    """Return roughly the centre of the smallest sphere about the balls (walk to the farthest)."""
    middle = balls.centre.mean(axis=0)
    for step in range(1, 200):
        reach = np.linalg.norm(balls.centre - middle, axis=1) + balls.radius
        middle = middle + (balls.centre[reach.argmax()] - middle) / (step + 1)
    return middle


def _core_outline(rng: np.random.Generator, radius: float) -> _Balls:
    """Return a lobed core: one ball and three smaller ones that break its symmetry."""
    directions = _spread_directions(rng, 3)
    centre = [np.zeros(3)] + [rng.uniform(0.35, 0.55) * radius * d for d in directions]
    lobes = rng.uniform(0.5, 0.65, size=3) * radius
    return _Balls(np.array(centre), np.concatenate([[0.85 * radius], lobes]))


def _piece_outline(
    rng: np.random.Generator, core: _Balls, core_radius: float, direction: np.ndarray, directions: np.ndarray
) -> _Balls:
    """Return a two-lobed piece that sits on the core's surface in `direction`."""
    cosine = np.clip(directions @ direction, -1, 1)
    others = np.arccos(np.sort(cosine)[-2]) if len(directions) > 1 else np.pi
    room = np.sin(min(others, np.pi / 2) / 2)
    surface = core.surface(direction)
    radius = min(0.8 * core_radius, 0.9 * room * surface) * rng.uniform(0.95, 1.05)
    tangent = _unit(np.cross(direction, rng.normal(size=3)))
    middle = direction * (surface + 0.3 * radius)
    lobe = middle + 0.5 * radius * _unit(tangent + direction)
    return _Balls(np.array([middle, lobe]), np.array([radius, rng.uniform(0.65, 0.8) * radius]))


def _cubes_across(diameter: float) -> int:
    return int(np.ceil(diameter / CUBE)) + 2


def _disjoint_regions(
    points: np.ndarray, core: _Balls, outlines: list[_Balls], directions: np.ndarray
) -> list[tuple[np.ndarray, tuple[int, int, int]]]:
    """Return each piece's own cubes, the core's first, and the cube where its chain starts."""
    core_region, seed = _one_region(points, core.region(points), np.zeros(3))
    regions = [(core_region, seed)]
    surface = ndimage.binary_dilation(core_region) & ~core_region
    nearest = np.argmax(points @ directions.T, axis=-1) if outlines else None
    for k, outline in enumerate(outlines):
        place = core.surface(directions[k]) * directions[k]
        seed = _nearest(points, surface & (nearest == k), place)
        region = outline.region(points) & ~core_region & (nearest == k)
        region[seed] = True
        regions.append((connected_part(region, seed), seed))
    return regions


def _one_region(points: np.ndarray, region: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the largest connected part of a region and its cube nearest to `start`."""
    labels, _ = ndimage.label(region)
    region = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return region, _nearest(points, region, start)


def _nearest(points: np.ndarray, region: np.ndarray, place: np.ndarray) -> tuple[int, int, int]:
    """Return the cube of a region whose centre lies nearest to `place`."""
    distance = np.where(region, np.sum((points - place) ** 2, axis=-1), np.inf)
    x, y, z = np.unravel_index(distance.argmin(), distance.shape)
    return int(x), int(y), int(z)


def _join(rng: np.random.Generator, chains: list[np.ndarray], sigma: float) -> Complex:
    """Label the chains, centre them by mass and give each residue its weight."""
    position = np.concatenate(chains)
    piece = np.repeat(np.arange(len(chains)), [len(chain) for chain in chains])
    amplitude = RESIDUE_SCATTERING * rng.uniform(0.7, 1.3, size=len(position))
    position = position - np.average(position, axis=0, weights=amplitude)
    gaussians = Gaussians(
        position.astype(np.float32), amplitude.astype(np.float32), np.full(len(position), sigma, np.float32)
    )
    return Complex(gaussians, piece.astype(np.int32))


def _spread_directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return unit vectors pushed apart from one another, (count, 3)."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for _ in range(200 if count > 1 else 0):
        difference = directions[:, None] - directions[None]
        square = np.sum(difference**2, axis=-1) + np.eye(count)
        directions = directions + 0.05 * np.sum(difference / square[..., None] ** 1.5, axis=1)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
