"""What a map says about itself: where its molecule is, and to which resolution it can be trusted.

Where: the map is smoothed over 5 Å (one voxel at least), which takes most of the noise and little of
the molecule. Its background is what is left after repeatedly leaving out whatever stands out; the
molecule is what exceeds the background by 6 of its standard deviations and 8 % of the molecule's own
level, in pieces of at least 1 % of the largest. A piece that only every other particle holds is half
as dense and well above both; loose noise is below both.

How far: the reliability of shell s is the correlation expected with another map of as many particles,

    C_s = 2 h_s / (1 + h_s)                     h the FSC of two half-maps, or without them
    C_s = 1 - N_s / P_s                         P the map's power, N that of the background alone,

and 0 from where the map ends: the first shell in which h would be below 0.143.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from libhetero.errors import DataError
from libhetero.physics.correlation import fourier_shell_correlation, shell_sum
from libhetero.physics.fourier import fourier_volume
from libhetero.physics.masks import cosine_edge

SMOOTHING = 5.0  # Å
ABOVE_NOISE = 6.0
ABOVE_SOLVENT = 0.08
LEAST_PIECE = 0.01
LEAST_KNOWN = 0.9
FEWEST_VOXELS = 64
HALF_MAP_END = 0.143
END = 2 * HALF_MAP_END / (1 + HALF_MAP_END)
EMPTY = 1e-10  # of the map's power: a shell that a low-pass filter emptied


def smoothed(volume: Float[np.ndarray, "n n n"], pixel_size: float) -> np.ndarray:
    """Return the map convolved with a Gaussian of 5 Å, one voxel at least."""
    width = max(SMOOTHING / pixel_size, 1.0)
    return ndimage.gaussian_filter(np.asarray(volume, np.float32), width, mode="wrap")


def background(
    volume: Float[np.ndarray, "n n n"], known: Bool[np.ndarray, "n n n"] | None = None
) -> tuple[float, float]:
    """Return level and standard deviation of what is no molecule; 0 deviation for a noiseless map.

    Of the voxels inside the box's sphere, those more than 3 deviations off are left out until none is.
    Where a mask has set a tenth of them to one value, the little solvent that may be left does not show
    this way: that value is the level, and the voxels below it give the deviation.

    Parameters
    ----------
    volume : (z, y, x).
    known : voxels that no mask has set; None for those that differ from the box's corner.
    """
    n = volume.shape[0]
    axis = np.arange(n) - n // 2
    sphere = np.sqrt((axis**2)[:, None, None] + (axis**2)[:, None] + axis**2) < n / 2
    corner = float(volume[0, 0, 0])
    known = (volume != corner if known is None else known) & sphere
    values = volume[known]
    if len(values) < LEAST_KNOWN * np.count_nonzero(sphere):
        below = corner - values[values < corner]
        return corner, float(np.sqrt(np.mean(below**2))) if len(below) > FEWEST_VOXELS else 0.0
    for _ in range(50):
        level = float(np.median(values))
        deviation = 1.4826 * float(np.median(np.abs(values - level)))
        kept = values[np.abs(values - level) <= 3 * deviation]
        if len(kept) == len(values) or deviation == 0:
            break
        values = kept
    return level, deviation


def default_threshold(volume: Float[np.ndarray, "n n n"], known: Bool[np.ndarray, "n n n"] | None = None) -> float:
    """Return the level of a smoothed map above which there is molecule; see the module's docstring.

    Parameters
    ----------
    volume : smoothed.
    known : as in `background`.
    """
    level, deviation = background(volume, known)
    if not volume.max() > level:
        return level
    floor = level + ABOVE_NOISE * deviation
    floor = floor if (volume > floor).any() else level
    molecule = float(np.percentile(volume[volume > level + 0.1 * (volume.max() - level)], 75))
    return max(floor, level + ABOVE_SOLVENT * (molecule - level))


def molecule_mask(
    volume: Float[np.ndarray, "n n n"], pixel_size: float, threshold: float | None = None
) -> Bool[np.ndarray, "n n n"]:
    """Return the voxels of the molecule.

    Parameters
    ----------
    volume : (z, y, x), as it is (not smoothed).
    pixel_size : Å.
    threshold : density level of the map as it is, taken at its word; None to find it.

    Raises
    ------
    DataError : if no voxel is above the threshold.
    """
    if threshold is not None:
        inside = np.asarray(volume) > threshold
        level = threshold
    else:
        smooth = smoothed(volume, pixel_size)
        level = default_threshold(smooth, np.asarray(volume) != volume[0, 0, 0])
        inside = _large_pieces(smooth > level)
    if not inside.any():
        raise DataError(
            f"the map has 0 voxels above the threshold {level:.4g}; expected a molecule, bright on "
            "dark. Lower --threshold, or invert the map."
        )
    return inside


def _large_pieces(inside: Bool[np.ndarray, "n n n"]) -> Bool[np.ndarray, "n n n"]:
    """Drop the connected pieces (faces, edges and corners touch) of less than 1 % of the largest."""
    labels, count = ndimage.label(inside, np.ones((3, 3, 3)))
    if count < 2:
        return inside
    sizes = np.bincount(labels.reshape(-1))[1:]
    return np.isin(labels, 1 + np.flatnonzero(sizes >= LEAST_PIECE * sizes.max()))


def reliability(
    volume: Float[np.ndarray, "n n n"],
    inside: Bool[np.ndarray, "n n n"],
    half_maps: tuple[np.ndarray, np.ndarray] | None = None,
) -> Float[np.ndarray, "shells"]:
    """Return C of the module's equations, (n // 2,), 0 to 1; the shells of `fourier_shell_correlation`.

    Parameters
    ----------
    volume : (z, y, x).
    inside : `molecule_mask`.
    half_maps : two maps of half of the particles each; None to use the background.
    """
    n = volume.shape[0]
    power = _power(volume - volume.mean())
    if half_maps is not None:
        half = np.asarray(fourier_shell_correlation(*(jnp.asarray(one) for one in half_maps)))
        half = np.clip(half, 0, 1)
        found = 2 * half / (1 + half)
    else:
        outside = np.asarray(1 - cosine_edge(ndimage.distance_transform_edt(~inside).astype(np.float32), 1.0, 4.0))
        share = float(np.mean(outside**2))
        noise = np.zeros(n // 2)
        if share > 0.01:
            level, _ = background(volume)
            noise = _power((volume - level) * outside) / share
        found = np.clip(1 - noise / np.maximum(power, 1e-30), 0, 1)
    found[power < EMPTY * power.sum()] = 0
    found[:2] = 1  # shell 0 is empty, and 1 is DC, which is not compared
    ends = np.flatnonzero(found < END)
    if len(ends):
        found[max(ends[0], 2) :] = 0
    return found


def signal_power(volume: Float[np.ndarray, "n n n"], trust: Float[np.ndarray, "shells"]) -> Float[np.ndarray, "shells"]:
    """Return the mean |F|² of the voxels of each shell, as much of it as is trusted, (n // 2,)."""
    voxels = shell_sum(jnp.ones((len(volume), len(volume), len(volume) // 2 + 1)))
    return _power(volume - volume.mean()) / np.maximum(np.asarray(voxels, np.float64), 1) * trust


def _power(volume: np.ndarray) -> np.ndarray:
    fourier = fourier_volume(jnp.asarray(volume, jnp.float32))
    return np.asarray(shell_sum(jnp.abs(fourier) ** 2), np.float64)


def symmetry_agreement(
    volume: Float[np.ndarray, "n n n"], pixel_size: float, operators: Float[np.ndarray, "copies 3 3"], most: int = 4
) -> float:
    """Return the least correlation of the smoothed map with itself turned by an operator.

    The mean of each spherical shell, which every rotation leaves as it is, is taken off first.

    Parameters
    ----------
    operators : of its symmetry, the identity first.
    most : operators tried, spread over all but the identity.
    """
    smooth = smoothed(volume, pixel_size).astype(np.float64)
    centre = np.full(3, volume.shape[0] // 2)
    radius = np.linalg.norm(np.indices(smooth.shape) - centre[:, None, None, None], axis=0)
    shell = np.round(radius).astype(int).ravel()

    def without_shell_means(volume: np.ndarray) -> np.ndarray:
        values = volume.ravel()
        return values - (np.bincount(shell, values) / np.maximum(np.bincount(shell), 1))[shell]

    tried = np.unique(np.linspace(1, len(operators) - 1, min(most, len(operators) - 1)).astype(int))
    found = []
    for operator in np.asarray(operators, np.float64)[tried]:
        backwards = operator[::-1, ::-1]  # arrays are (z, y, x)
        turned = ndimage.affine_transform(smooth, backwards, centre - backwards @ centre, order=1)
        found.append(np.corrcoef(without_shell_means(turned), without_shell_means(smooth))[0, 1])
    return float(min(found))
