"""A starting mixture from a map or from an atomic model.

Centres are k-means centres of the density above a threshold; then position, amplitude and width of
every Gaussian are refined against the map by gradient descent on

    1 - ⟨V, G⟩ / sqrt(⟨V, V⟩⟨G, G⟩),

the correlation of the two low-passed maps, and the amplitudes are scaled so that ⟨V, G⟩ = ⟨G, G⟩.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from sklearn.cluster import KMeans

from libhetero.errors import ConfigurationError, DataError
from libhetero.physics.correlation import fourier_shell_correlation
from libhetero.physics.gaussians import gaussians_to_volume
from libhetero.records import Gaussians

MOST_VOXELS = 60_000


@dataclass(frozen=True, eq=False)
class FittedMixture:
    """A mixture and how well it explains its map.

    Parameters
    ----------
    gaussians : position and sigma in Å.
    correlation : of the two maps, 0 to 1.
    fsc : (n // 2,), of the two maps.
    """

    gaussians: Gaussians
    correlation: float
    fsc: np.ndarray


def default_threshold(volume: Float[np.ndarray, "n n n"]) -> float:
    """Return mean + 2 standard deviations of the map's voxels, capped at half of its maximum."""
    return float(min(volume.mean() + 2 * volume.std(), 0.5 * volume.max()))


def default_count(volume: Float[np.ndarray, "n n n"], threshold: float, spacing: float) -> int:
    """Return how many Gaussians `spacing` voxels apart fill what lies above the threshold, 64 to 4096."""
    inside = int(np.sum(volume > threshold))
    return int(np.clip(round(inside / spacing**3), 64, 4096))


def place_gaussians(
    volume: Float[np.ndarray, "n n n"], pixel_size: float, count: int, threshold: float, seed: int
) -> Gaussians:
    """Spread `count` Gaussians over the density above a threshold.

    Parameters
    ----------
    volume : (z, y, x), origin n // 2.
    pixel_size : Å.
    count : number of Gaussians.
    threshold : density level.
    seed : of k-means and of the choice of voxels in large maps.

    Returns
    -------
    sigma half the mean distance to the nearest neighbour; equal amplitudes.

    Raises
    ------
    DataError : if fewer voxels than Gaussians lie above the threshold.
    """
    n = volume.shape[0]
    voxels = np.argwhere(volume > threshold)
    if len(voxels) < count:
        raise DataError(
            f"the map has {len(voxels)} voxels above the threshold {threshold:.4g}; expected at "
            f"least {count}, one a Gaussian. Lower --threshold or --ngauss."
        )
    spacing = (len(voxels) / count) ** (1 / 3) * pixel_size
    weight = volume[tuple(voxels.T)] - threshold
    rng = np.random.default_rng(seed)
    if len(voxels) > MOST_VOXELS:
        kept = rng.choice(len(voxels), MOST_VOXELS, replace=False)
        voxels, weight = voxels[kept], weight[kept]
    fit = KMeans(count, n_init=1, random_state=seed).fit(voxels, sample_weight=weight)
    position = (fit.cluster_centers_[:, ::-1] - n // 2) * pixel_size
    amplitude = np.full(count, float(volume[volume > threshold].sum()) / count)
    return Gaussians(
        position.astype(np.float32),
        amplitude.astype(np.float32),
        np.full(count, 0.5 * spacing, np.float32),
    )


def fit_mixture(
    volume: Float[np.ndarray, "n n n"],
    pixel_size: float,
    start: Gaussians,
    steps: int = 200,
    report: Callable[[int, float], None] | None = None,
) -> FittedMixture:
    """Refine a mixture against a map; see the module's equation.

    Parameters
    ----------
    volume : (z, y, x), origin n // 2.
    pixel_size : Å.
    start : from `place_gaussians`, or any mixture near the map.
    steps : of Adam; each learns positions in units of a voxel, amplitudes and widths as logarithms.
    report : called with (step, correlation) now and then.

    Raises
    ------
    ConfigurationError : if the fit diverges (a sign that map and mixture do not overlap).
    """
    n = volume.shape[0]
    target = jnp.asarray(volume, jnp.float32)
    target = target - jnp.mean(target)
    schedule = optax.cosine_decay_schedule(0.05, steps, 0.05)
    optimiser = optax.adam(schedule)

    def loss(raw: Gaussians) -> Array:
        made = gaussians_to_volume(_from_raw(raw, pixel_size), n, pixel_size)
        made = made - jnp.mean(made)
        return 1 - jnp.vdot(made, target) / jnp.sqrt(jnp.vdot(made, made) * jnp.vdot(target, target))

    @jax.jit
    def step(raw: Gaussians, state: optax.OptState) -> tuple[Gaussians, optax.OptState, Array]:
        value, gradient = jax.value_and_grad(loss)(raw)
        updates, state = optimiser.update(gradient, state, raw)
        return optax.apply_updates(raw, updates), state, value

    raw = Gaussians(
        jnp.asarray(start.position) / pixel_size, jnp.log(start.amplitude), jnp.log(start.sigma)
    )
    state = optimiser.init(raw)
    for number in range(steps):
        raw, state, value = step(raw, state)
        if report is not None and (number % 20 == 19 or number + 1 == steps):
            report(number + 1, 1 - float(value))
    return _scaled(_from_raw(raw, pixel_size), np.asarray(target), pixel_size)


def _from_raw(raw: Gaussians, pixel_size: float) -> Gaussians:
    """Return Å and linear amplitudes; no Gaussian is narrower than a third of a voxel."""
    sigma = jnp.maximum(jnp.exp(raw.sigma), pixel_size / 3)
    return Gaussians(raw.position * pixel_size, jnp.exp(raw.amplitude), sigma)


def _scaled(fitted: Gaussians, target: np.ndarray, pixel_size: float) -> FittedMixture:
    made = np.asarray(gaussians_to_volume(fitted, target.shape[0], pixel_size))
    centred = made - made.mean()
    overlap, power = float(np.vdot(centred, target)), float(np.vdot(centred, centred))
    if not np.isfinite(overlap) or overlap <= 0:
        raise ConfigurationError(
            "the Gaussians do not overlap the map (correlation not above 0); "
            "is the contrast inverted? Give a map with bright protein, or another --threshold."
        )
    correlation = overlap / np.sqrt(power * float(np.vdot(target, target)))
    amplitude = np.asarray(fitted.amplitude) * (overlap / power)
    gaussians = Gaussians(np.asarray(fitted.position), amplitude, np.asarray(fitted.sigma))
    level = target + made.mean()  # the mean of a map is not fitted, so it must not count
    fsc = np.asarray(fourier_shell_correlation(jnp.asarray(level), jnp.asarray(made)))
    return FittedMixture(gaussians, float(correlation), fsc)
