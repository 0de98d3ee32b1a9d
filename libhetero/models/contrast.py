"""The contrast of each particle: how strongly it shows the molecule, and whether it shows it at all.

A particle's image is X = α T P + noise, and the noise of Fourier pixel k has power 1 / w(k). Of one image,

    α̂ = Σ w Re(conj(T P) X) / Σ w |T P|²,      σ = (2 Σ w |T P|²)^(-1/2)

are the contrast of highest likelihood and its standard deviation. Over the set the α̂ of particle i is drawn from

    (1 - π) [(1 - ω) N(μ, s² + σ_i²) + ω N(μ, t² + σ_i²)] + π N(0, σ_i²)

μ is the mean contrast and s its spread; a part ω of the particles, where the set has them, strays further (t, `STRAY`
of the mean), so that faint or strong particles are no junk. Junk, the part π, shows nothing of the molecule. π and ω
are 0 unless the likelihood says otherwise (`SIGNIFICANT`). The evidence of a particle for the molecule,

    E_i = log [(1 - ω) N(α̂; μ, s² + σ²) + ω N(α̂; μ, t² + σ²)] - log N(α̂; 0, σ²)      at max(α̂, 0),

is log p(X | molecule) - log p(X | noise alone), its contrast integrated over, and the probability that it is junk is
1 / (1 + exp(E_i) (1 - π) / π). Where σ is about 1 the images say nothing either way, and nothing is called junk.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from scipy.optimize import OptimizeResult, minimize
from scipy.special import logsumexp

from libhetero.physics.arrays import AnyArray

STRAY = 0.4  # of the mean contrast: how far those stray that stray further than the others
SIGNIFICANT = 6.0  # nats of likelihood that a further kind of particle must be worth; by chance in one set of 4000
MOST_JUNK, MOST_STRAY = 0.9, 0.3
MOST_FITTED = 10_000  # particles, every so many of more

Weight = float | Float[AnyArray, "*#pixels"]
Number = float | Float[AnyArray, ""]


@dataclass(frozen=True)
class ContrastPrior:
    """What the set says of a particle's contrast before its image is looked at.

    Parameters
    ----------
    mean : μ, of the particles that are no junk.
    spread : s, the standard deviation of contrast among them.
    junk : π, the part of the set that shows nothing.
    stray : ω, the part of the others whose contrast strays further.
    """

    mean: Number = 1.0
    spread: Number = 0.0
    junk: Number = 0.0
    stray: float = 0.0


def estimate_contrast(
    expected: Complex[AnyArray, "*pixels"], image: Complex[AnyArray, "*pixels"], weight: Weight = 1.0
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return α̂ and σ of one particle.

    Parameters
    ----------
    expected : T P, its noise-free image at contrast 1.
    image : X, at the same frequencies, each of which counts once.
    weight : w, over the power of the noise of a Fourier pixel; 0 where nothing is compared.
    """
    seen = jnp.sum(weight * jnp.real(jnp.conj(expected) * image))
    power = jnp.maximum(jnp.sum(weight * (jnp.real(expected) ** 2 + jnp.imag(expected) ** 2)), 1e-20)
    return seen / power, 1 / jnp.sqrt(2 * power)


def contrast_posterior(
    estimate: Float[AnyArray, "*batch"], deviation: Float[AnyArray, "*batch"], prior: ContrastPrior
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Return mean and standard deviation of α given its image, for a particle that is no junk and does not stray.

    Parameters
    ----------
    estimate, deviation : α̂ and σ.
    prior : of the set.
    """
    gain = prior.spread**2 / (prior.spread**2 + jnp.square(deviation))
    return jnp.asarray(prior.mean + gain * (estimate - prior.mean)), jnp.sqrt(gain) * deviation


def contrast_evidence(
    estimate: Float[AnyArray, "*batch"], deviation: Float[AnyArray, "*batch"], prior: ContrastPrior
) -> Float[Array, "*batch"]:
    """Return E, log p(X | molecule) - log p(X | noise alone), nats.

    Parameters
    ----------
    estimate, deviation : α̂ and σ.
    prior : of the set.
    """
    seen, variance = jnp.maximum(estimate, 0), jnp.square(deviation)

    def over_noise(share: float, spread: Number) -> Array:
        wide = spread**2 + variance
        said = jnp.square(seen) / variance - jnp.square(seen - prior.mean) / wide
        return np.log(max(share, 1e-30)) + 0.5 * (said - jnp.log(wide / variance))

    usual = over_noise(1 - prior.stray, prior.spread)
    return jnp.logaddexp(usual, over_noise(prior.stray, STRAY * prior.mean)) if prior.stray else usual


def junk_probability(
    estimate: Float[AnyArray, "*batch"], deviation: Float[AnyArray, "*batch"], prior: ContrastPrior
) -> Float[Array, "*batch"]:
    """Return the probability that a particle shows nothing of the molecule; exactly 0 where the set has no junk.

    Parameters
    ----------
    estimate, deviation : α̂ and σ.
    prior : of the set.
    """
    return junk_given_evidence(contrast_evidence(estimate, deviation, prior), prior)


def junk_given_evidence(evidence: Float[AnyArray, "*batch"], prior: ContrastPrior) -> Float[Array, "*batch"]:
    """Return the same, given log p(X | model) - log p(X | noise alone), nats, however that was found."""
    if prior.junk <= 0:
        return jnp.zeros_like(evidence)
    return jax.nn.sigmoid(float(np.log(prior.junk) - np.log1p(-prior.junk)) - evidence)


def fit_contrast(estimate: Float[np.ndarray, "particles"], deviation: Float[np.ndarray, "particles"]) -> ContrastPrior:
    """Return the mean, the spread, the junk and the strays under which a set's estimates are most likely.

    Parameters
    ----------
    estimate, deviation : α̂ and σ of each particle; those that are not finite are left out. Where they do not say
        that the mean is above 0, the answer is that of particles which are all alike.
    """
    usable = np.isfinite(estimate) & np.isfinite(deviation) & (deviation > 0)
    every = max(int(np.count_nonzero(usable)) // MOST_FITTED, 1)
    fit = _Fit(*(np.asarray(values, np.float64)[usable][::every] for values in (estimate, deviation)))
    if len(fit.estimate) < 2 or not fit.mean > 0:
        return ContrastPrior()
    kinds = ((False, False), (True, False), (False, True), (True, True))
    found = [fit.best(junk, stray) for junk, stray in kinds]
    best = min(zip(found, kinds, strict=True), key=lambda pair: pair[0].fun + SIGNIFICANT * sum(pair[1]))[0]
    mean, variance, junk, stray = best.x
    return ContrastPrior(float(mean), float(np.sqrt(variance)), float(junk), float(stray))


class _Fit:
    """The likelihood of a set's estimates and its maximum, over (μ, s², π, ω)."""

    def __init__(self, estimate: np.ndarray, deviation: np.ndarray) -> None:
        self.estimate, self.noise = estimate, deviation**2
        self.mean = float(np.average(estimate, weights=1 / self.noise)) if len(estimate) else 0.0
        residual = (estimate - self.mean) ** 2 - self.noise
        self.variance = max(float(np.mean(residual)), 1e-4 * self.mean**2) if len(estimate) else 0.0

    def best(self, junk: bool, stray: bool) -> OptimizeResult:
        """Return the best of several starts, as SciPy's result: `fun` is minus the log-likelihood."""
        most = (MOST_JUNK * junk, MOST_STRAY * stray)
        bounds = [(1e-3 * self.mean, None), (0.0, 4 * self.mean**2 + 4 * self.variance), (0, most[0]), (0, most[1])]
        starts = [(0.02 * junk, 1.0), (0.5, 2.0)] if junk else [(0.0, 1.0)]
        found = []
        for part, factor in starts:
            first = (factor * self.mean, min(self.variance, (0.3 * factor * self.mean) ** 2), part, 0.02 * stray)
            found.append(minimize(self.misfit, first, jac=True, method="L-BFGS-B", bounds=bounds))
        return min(found, key=lambda result: result.fun)

    def misfit(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the log-likelihood, and its gradient."""
        mean, variance, junk, stray = parameters
        shares = np.array([(1 - junk) * (1 - stray), (1 - junk) * stray, junk])
        wide = np.stack([variance + self.noise, (STRAY * self.mean) ** 2 + self.noise, self.noise])
        off = self.estimate - np.array([mean, mean, 0.0])[:, None]
        density = -0.5 * (off**2 / wide + np.log(wide))
        total = logsumexp(density + np.log(np.maximum(shares, 1e-300))[:, None], axis=0)
        ratio = np.exp(np.minimum(density - total, 300.0))  # of each kind's density to that of all
        part = shares[:, None] * ratio
        in_shares = ratio.sum(axis=1)
        gradient = (
            np.sum(part[:2] * off[:2] / wide[:2]),
            0.5 * np.sum(part[0] * (off[0] ** 2 / wide[0] - 1) / wide[0]),
            in_shares @ np.array([stray - 1, -stray, 1]),
            in_shares @ np.array([junk - 1, 1 - junk, 0]),
        )
        return -float(total.sum()), -np.array(gradient)
